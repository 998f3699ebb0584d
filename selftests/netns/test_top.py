# SPDX-License-Identifier: GPL-2.0-only
"""fwctl top: rates of what is sent, on a terminal and as text."""

import re
import signal
import subprocess
import threading
import time

import pytest

from lab.lab import SERVER, WAN
from lab.netns import patience, wait_for
from lab.packets import UDP, frame, ip, stream
from lab.screen import Screen
from lab.traffic import UdpEcho, udp_try

pytestmark = pytest.mark.modes("tc")
RULES = ("option flow-accounting on\n"
         "default in drop\ndefault out accept\ndefault forward drop\n"
         "drop in on wan proto udp to port 9 label nine\n"
         "drop in on wan proto udp to port 10 label ten\n"
         "accept forward wan -> lan proto udp to port 7 label echo\n")
KEYS = {"up": "\x1bOA", "down": "\x1bOB", "page down": "\x1b[6~", "page up": "\x1b[5~"}


class Traffic:
    """So many datagrams a second for ports of the firewall; a context manager."""

    def __init__(self, lab, rates):
        self._lab, self._rates = lab, rates
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        frames = {port: frame(ip(4, dst=WAN[4]) / UDP(sport=1, dport=port))
                  for port in self._rates}
        sent, start = dict.fromkeys(self._rates, 0), time.monotonic()
        while not self._stop.wait(0.02):
            for port, rate in self._rates.items():
                due = int((time.monotonic() - start) * rate) - sent[port]
                self._lab.client.send_raw("eth0", [frames[port]] * due)
                sent[port] += due

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._stop.set()
        self._thread.join()


def top(lab, *words, **kwargs):
    """fwctl top on a terminal."""
    return Screen(lab.firewall, lab.binary("fwctl"), "top", *words, env=lab.environment(),
                  **kwargs)


def number(text):
    """12.3k and the like."""
    units = {"k": 1e3, "M": 1e6, "G": 1e9}
    return float(text.rstrip("kMG")) * units.get(text[-1], 1)


def row(lines, name):
    """The numbers behind a name; None: there is no such row, or no rate yet."""
    for line in lines:
        if line.startswith(name + " "):
            words = line[len(name):].split()
            return None if "-" in words else [number(w) for w in words if w[0].isdigit()]
    return None


def names(lines):
    """First words of the rows."""
    return [line.split()[0] for line in lines[3:-1] if line] or [""]


def blocks(text):
    """What --batch printed: (title, lines) of each look."""
    parts = re.split(r"^# ", text, flags=re.M)[1:]
    return [(part.splitlines()[0], part.splitlines()[1:]) for part in parts]


def test_rates(own_lab):
    """Of rules, reasons and interfaces, as fast as packets are sent."""
    lab = own_lab
    lab.load(RULES)
    with Traffic(lab, {9: 200, 10: 50}), top(lab, "--interval", "0.5") as screen:
        size = 28 * 200

        def is_right(lines):
            nine, ten = row(lines, "nine"), row(lines, "ten")
            return (nine and ten and 150 < nine[0] < 250 and 35 < ten[0] < 65 and
                    0.75 * size < nine[1] < 2 * size)
        lines = screen.wait(is_right, 10)
        assert "[1 rules]" in lines[1] and lines[2].startswith("RULE"), lines
        assert names(lines)[:2] == ["nine", "ten"]
        assert "conntrack" in lines[0] and "every 0.5 s" in lines[0]
        screen.press("3")
        screen.wait(lambda lines: "[3 drops]" in lines[1] and
                    200 < (row(lines, "rule") or [0])[0] < 300, 10)
        screen.press("2")
        screen.wait(lambda lines: "[2 interfaces]" in lines[1] and
                    200 < (row(lines, "fw-wan ingress") or [0])[0] < 300, 10)
        screen.press("q")
        assert screen.end() == 0 and screen.is_restored()


def test_keys(own_lab):
    """Views, order, scrolling, pause, help and the size of the window."""
    lab = own_lab
    rules = "".join(f"drop in on wan proto udp to port {1000 + i} label r{i:02}\n"
                    for i in range(40))
    lab.load(RULES + rules)
    lab.client.send_raw("eth0", [frame(ip(4, dst=WAN[4]) / UDP(sport=1, dport=1000 + i))
                                 for i in range(40) for _ in range(i + 1)])
    wait_for(lambda: lab.rule("r39")["packets"] == 40, 5)
    with top(lab, "--interval", "0.2") as screen:
        screen.press("<")  # by name
        screen.wait(lambda lines: "RULEv" in lines[2] and "r01" in names(lines)[1:3])
        screen.press("r")
        screen.wait(lambda lines: "RULE^" in lines[2] and names(lines)[:2] == ["r39", "r38"])
        screen.press("ssss")  # rates, then packets
        screen.wait(lambda lines: "PACKETSv" in lines[2] and
                    [n for n in names(lines) if n[0] == "r"][:2] == ["r39", "r38"])
        first = names(screen.lines)
        screen.press(KEYS["down"] + KEYS["down"])
        screen.wait(lambda lines: names(lines)[0] == first[2])
        screen.press(KEYS["page down"])
        screen.wait(lambda lines: first[0] not in names(lines) and "r00" in names(lines))
        screen.press(KEYS["page up"] + KEYS["page up"])
        screen.wait(lambda lines: names(lines) == first)
        screen.resize(10, 60)
        screen.wait(lambda lines: names(lines) == first[:6] and "q quit" in lines[-1])
        screen.resize(50, 140)
        screen.wait(lambda lines: len(names(lines)) >= 40 and "q quit" in lines[-1])
        screen.resize(3, 10)
        screen.resize(24, 100)
        screen.wait(lambda lines: names(lines) == first)
        screen.press("h")
        screen.wait(lambda lines: any("Shift-Tab" in line for line in lines))
        screen.press("?")
        screen.wait(lambda lines: names(lines) == first)
        screen.press(" ")
        screen.wait(lambda lines: "[paused]" in lines[0])
        before = lab.rule("nine")["packets"]
        lab.client.send_raw("eth0", list(stream(500, 4, 9, WAN[4])))
        wait_for(lambda: lab.rule("nine")["packets"] >= before + 500, 5)
        time.sleep(0.6)
        assert "nine" not in names(screen.lines)
        screen.press(" ")
        screen.wait(lambda lines: names(lines)[0] == "nine")
        screen.press("\t")
        screen.wait(lambda lines: "[2 interfaces]" in lines[1])
        screen.press("\x1b[Z\x1b[Z")
        screen.wait(lambda lines: "[5 flows]" in lines[1])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals(own_lab, number):
    """The terminal is given back, however it ends."""
    own_lab.load(RULES)
    with top(own_lab, "drops") as screen:
        screen.wait(lambda lines: "[3 drops]" in lines[1])
        screen.process.send_signal(number)
        assert screen.end() == 0 and screen.is_restored()


def test_flows_and_sources(own_lab):
    """The busiest of both, by what the flows have counted."""
    lab = own_lab
    lab.load(RULES)
    stop = threading.Event()

    def talk(port, size, pause):
        while not stop.wait(pause):
            udp_try(lab.client, SERVER[4], 7, size=size, source=("", port))

    threads = [threading.Thread(target=talk, args=args)
               for args in ((20001, 1000, 0.02), (20002, 100, 0.05))]
    with UdpEcho(lab.server, SERVER[4], 7):
        for thread in threads:
            thread.start()
        try:
            with top(lab, "flows", "--interval", "0.5", columns=130) as screen:
                def is_right(lines):
                    rows = [line for line in lines if line.startswith("udp ")]
                    return (len(rows) == 2 and ":20001 ->" in rows[0] and ":20002 ->" in rows[1]
                            and rows[0].endswith(" echo") and "[5 flows]" in lines[1])
                screen.wait(is_right, 10)
                screen.press("4")
                lines = screen.wait(lambda lines: "[4 sources]" in lines[1] and
                                    (row(lines, "192.0.2.2") or [0])[0] > 10, 10)
                assert row(lines, "192.0.2.2")[2] >= 2, lines
                screen.press("q")
                assert screen.end() == 0
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    lab.load(RULES.replace("accounting on", "accounting off"))
    with top(lab, "flows", "--interval", "0.2") as screen:
        screen.wait(lambda lines: "option flow-accounting on" in lines[-1])


def test_daemon_restarts(own_lab):
    """It says that the daemon is gone, starts none itself, and goes on with the next one."""
    lab = own_lab
    lab.load(RULES)
    for view in ("rules", "flows"):
        lab.status()
        with top(lab, view, "--interval", "0.2") as screen:
            screen.wait(lambda lines: "conntrack" in lines[0])
            lab.firewall.run("kill", "-9", lab.daemon_pid())
            screen.wait(lambda lines: "daemon gone, waiting" in lines[-1])
            time.sleep(0.5)
            assert not lab.daemon_pid()
            lab.status()
            screen.wait(lambda lines: "daemon gone" not in lines[-1])
            # one that does not answer keeps nobody from leaving
            lab.firewall.run("kill", "-STOP", lab.daemon_pid())
            time.sleep(0.5)
            screen.press("q")
            assert screen.end() == 0 and screen.is_restored()
            lab.firewall.run("kill", "-CONT", lab.daemon_pid())


def test_batch(own_lab):
    """Text for scripts: so many looks, numbers in full."""
    lab = own_lab
    lab.load(RULES)
    with Traffic(lab, {9: 100}):
        out = lab.fwctl("top", "--batch", "--count", "3", "--interval", "0.5").out
    looks = blocks(out)
    assert len(looks) == 3 and all(title.startswith("rules: flows ") for title, _ in looks)
    for _, lines in looks:
        assert re.match(r"RULE +PKT/S +BYTE/S +FLOW/S +PACKETS +BYTES +FLOWS$", lines[0])
        assert 70 < row(lines, "nine")[0] < 130, lines
    for view in ("interfaces", "drops", "sources", "flows"):
        out = lab.fwctl("top", view, "--batch", "--count", "1", "--interval", "0.2").out
        assert blocks(out)[0][0].startswith(view + ":"), out
    with lab.firewall.popen(lab.binary("fwctl"), "top", "--batch", "--interval", "0.1",
                            env=lab.environment(), stderr=subprocess.PIPE) as process:
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(patience(5)) == 0 and not process.stderr.read()


def test_costs_nothing_when_nobody_looks(own_lab):
    """Memory and descriptors of the daemon go back; a fifth watcher of flows is told."""
    lab = own_lab
    lab.load(RULES)
    descriptors = lab.daemon_fds()
    screens = [top(lab, "flows", "--interval", "0.2") for _ in range(5)]
    wait_for(lambda: any("are watching" in s.lines[-1] for s in screens), 5)
    for screen in screens:
        screen.press("q")
        assert screen.end() == 0
        screen.__exit__()
    wait_for(lambda: lab.daemon_fds() <= descriptors, 5)  # a load may not have closed all


def test_refused(own_lab):
    """What makes no sense is said at once, in a line."""
    lab = own_lab
    for words, exit_status, text in (
            (["nonsense", "--batch"], 2, "is no view"), (["rules"], 2, "needs a terminal"),
            (["--count", "3"], 2, "--count is for --batch"),
            (["--batch", "--count", "0"], 2, "from 1 on"),
            (["--batch", "--interval", "x"], 2, "--interval takes seconds"),
            (["--batch", "--json"], 2, "--json"),
            (["--batch"], 3, "nothing is loaded")):
        done = lab.fwctl("top", *words, check=False)
        assert done.exit == exit_status and text in done.err, (words, done)
