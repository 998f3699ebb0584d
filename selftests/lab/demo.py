# SPDX-License-Identifier: GPL-2.0-only
"""scripts/demo: real traffic through the firewall, and what became of it.

Each row of ROWS is sent over IPv4 and over IPv6. A row is right if what happened
and who decided, by the counters of fwctl, are what the row says.
"""

import os
import signal
import socket
import sys
from typing import Callable, NamedTuple

from .lab import CLIENT, LAN, SERVER, TOP, WAN, Lab
from .netns import wait_for
from .packets import (TCP, UDP, echo_reply, fragment, frame, icmp_error, ip, spoofed_self, tcp,
                      unknown_error)
from .traffic import TcpEcho, UdpEcho, ping, tcp_connect, tcp_talk, tcp_try, udp_try

RULES = TOP / "rules" / "examples" / "demo.conf"
METRICS = ("127.0.0.1", 9477)
METRICS_SHOWN = ("fwctl_drops_total", "fwctl_rule_packets_total", "fwctl_mirror_flows",
                 "fwctl_conntrack_entries")


class Row(NamedTuple):
    """One thing that is sent, what should come of it, and who should decide."""

    sent: str
    should: str
    send: Callable  # (lab, family) -> what happened, in the words of `should`
    decided: str


# ---- what is sent --------------------------------------------------------------------

WORDS = {"ok": "answered", "timeout": "silence", True: "answered", False: "silence"}


def talk(attempt, source, target, port):
    """TCP or UDP from one namespace to an address of another one."""
    def send(lab, family):
        word = attempt(getattr(lab, source), target[family], port, timeout=0.4)
        return WORDS.get(word, word)
    return send


def pinged(source, target, size=56):
    """Ping from one namespace to an address of another one."""
    return lambda lab, family: WORDS[
        ping(getattr(lab, source), target[family], 1, size, 0.4)]


def crafted(build):
    """What no honest stack sends, from the client; is it dropped?"""
    def send(lab, family):
        before = lab.counters()
        lab.client.send_raw("eth0", [frame(build(family))])
        try:
            lab.gain(before, lambda c: c.drops(), 1)
        except AssertionError:
            return "passed"
        return "dropped"
    return send


def wrong_error(family):
    """An ICMP error that nobody asked for, about a connection that never was."""
    return unknown_error(family)


def half_handshake(lab, family):
    """A SYN from an address where nobody will hear the SYN-ACK."""
    nobody = {4: "192.0.2.77", 6: "2001:db8:1::77"}[family]
    lab.client.send_raw("eth0", [frame(
        ip(family, src=nobody) / TCP(sport=4000, dport=80, flags="S", seq=1))])
    line = wait_for(lambda: next((x for x in lab.conntrack() if f"src={nobody} " in x), None), 2,
                    "an entry")
    seconds = int(line.split()[2])
    return "gone in 120 s" if seconds <= 120 else f"stays {seconds} s"


def idle_connection(lab, family):
    """A connection that was established may be silent for long."""
    with tcp_connect(lab.client, SERVER[family], 80) as s:
        tcp_talk(s)
        port = f"sport={s.getsockname()[1]}"
        line = wait_for(lambda: next((x for x in lab.conntrack() if port in x.split()
                                      and "ESTABLISHED" in x), None), 2, "ESTABLISHED")
    seconds = int(line.split()[2])
    return "lives on" if seconds > 86400 else f"gone in {seconds} s"


def refused_by_server(lab, family):
    """UDP to a port where the server does not listen: its ICMP error comes back."""
    return udp_try(lab.client, SERVER[family], 5353, timeout=0.6)


ROWS = [
    Row("TCP  client → server, port 80", "answered", talk(tcp_try, "client", SERVER, 80),
        "rule web"),
    Row("UDP  client → server, port 53", "answered", talk(udp_try, "client", SERVER, 53),
        "rule dns"),
]


# ---- how it is judged ------------------------------------------------------------------


class Look:
    """All counters at one moment."""

    def __init__(self, lab):
        self.packets = lab.counters()
        self.rules = {r["label"]: r["packets"] + r["flows"] for r in lab.show("rules")["rules"]}


def deciders(before, after):
    """Who decided between two looks, as the table says it."""
    gained = after.packets - before.packets
    labels = [f"rule {label}" if not label.startswith("default-") else label
              for label, n in after.rules.items() if n != before.rules.get(label, 0)]
    drops = gained.drops()
    reasons = {(reason, hook) for (_, hook, reason), n in gained.values.items()
               if n and reason in drops}
    words = []
    for reason, hook in sorted(reasons):
        if reason in ("rule", "default"):
            words += [f"{label} at {hook}" for label in labels]
        elif reason == "reject":
            words += [f"{label}, reject" for label in labels]
        else:
            words.append(f"{reason} at {hook}")
    return ", ".join(words or labels)


def play(lab, row, family):
    """Send one row; returns (what happened, who decided)."""
    before = Look(lab)
    try:
        happened = row.send(lab, family)
    except (OSError, AssertionError) as e:
        happened = str(e).partition("\n")[0] or type(e).__name__
    return happened, deciders(before, Look(lab))


def both(values):
    """One text for IPv4 and IPv6, two if they differ."""
    return values[0] if values[0] == values[1] else f"IPv4: {values[0]}; IPv6: {values[1]}"


# ---- what is printed -------------------------------------------------------------------


class Screen:
    """Aligned columns; colour where there is a terminal that wants it."""

    WIDTHS = (36, 14, 14, 0)

    def __init__(self):
        self._colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def paint(self, code, text):
        """Text in a colour, or as it is."""
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text

    def head(self, text):
        """A heading with room above it."""
        print("\n" + self.paint("1", text), flush=True)

    def line(self, mark, *cells):
        """One line of the table."""
        text = "  ".join(c.ljust(w) for c, w in zip(cells, self.WIDTHS)).rstrip()
        print(f"{mark} {text}", flush=True)

    def verdict(self, is_right):
        """A tick or a cross."""
        return self.paint("32", "✔") if is_right else self.paint("31", "✘")


def show_table(lab, screen):
    """Send all rows; returns how many went wrong."""
    wrong = 0
    screen.line(" ", "sent, over IPv4 and IPv6", "should happen", "happened", "decided by")
    for row in ROWS:
        results = [play(lab, row, family) for family in (4, 6)]
        happened, decided = (both([r[i] for r in results]) for i in (0, 1))
        is_right = happened == row.should and decided == row.decided
        wrong += not is_right
        if not is_right and decided != row.decided:
            decided += f"  (should be: {row.decided})"
        screen.line(screen.verdict(is_right), row.sent, row.should, happened, decided)
    return wrong


def show_replies(lab, screen):
    """Replies are answered by XDP, not by TC: the counters say so."""
    gained = lab.counters()
    at_xdp = gained.get("established", "xdp", "fw-lan")
    at_tc = gained.get("established", "ingress", "fw-lan")
    screen.line(screen.verdict(at_xdp and not at_tc), "replies of all those", "found by XDP",
                f"{at_xdp} XDP, {at_tc} TC", "established at xdp")
    return 0 if at_xdp and not at_tc else 1


def first_lines(text, n):
    """The first lines of a listing, and how many more there are."""
    lines = text.rstrip().splitlines()
    print("\n".join(lines[:n]))
    if len(lines) > n:
        print(f"… {len(lines) - n} more")


def show_flows(lab, screen):
    """The flow table and the kernel's own view of it."""
    screen.head("fwctl show flows")
    first_lines(lab.fwctl("show", "flows").out, 9)
    screen.head("conntrack -L, without any nftables or iptables rule")
    first_lines("\n".join(x for x in lab.conntrack() if x.startswith("tcp")), 2)


def show_counters(lab, screen):
    """What was dropped, and why."""
    screen.head("drops, by reason and hook (fwctl status)")
    rows = {}
    for (_, hook, reason), n in lab.counters().values.items():
        rows.setdefault(reason, {}).setdefault(hook, 0)
        rows[reason][hook] += n
    drops = lab.counters().drops()
    for reason in sorted(drops, key=drops.get, reverse=True):
        where = ", ".join(f"{hook} {n}" for hook, n in sorted(rows[reason].items()))
        print(f"  {reason:18} {drops[reason]:6}   {where}")


def show_metrics(lab, screen):
    """A piece of /metrics."""
    screen.head("http://%s:%d/metrics" % METRICS)
    with lab.firewall.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
        s.connect(METRICS)
        s.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        body = b""
        while more := s.recv(65536):
            body += more
    lines = [x for x in body.decode().splitlines()
             if x.startswith(METRICS_SHOWN) and not x.endswith(" 0")]
    shown = [x for name in METRICS_SHOWN for x in lines if x.startswith(name)][:8]
    print("\n".join(shown) or "nothing")
    return 0 if shown else 1


def run(screen):
    """The whole demonstration; returns how many things were not as they should be."""
    with Lab() as lab:
        print("client (eth0) ── fw-wan [firewall] fw-lan ── (eth0) server, network namespaces\n"
              f"$ fwctl load {RULES.relative_to(TOP)}")
        loaded = lab.fwctl("load", RULES)
        first_lines(loaded.out + loaded.err, 3)
        print()
        with TcpEcho(lab.server, "::", 80), UdpEcho(lab.server, "::", 53), \
                TcpEcho(lab.client, "::", 80):
            wrong = show_table(lab, screen)
        wrong += show_replies(lab, screen)
        show_flows(lab, screen)
        show_counters(lab, screen)
        wrong += show_metrics(lab, screen)
        return wrong


def end(signum, _frame):
    """A signal ends the lab like any other way out."""
    signal.signal(signum, signal.SIG_IGN)
    sys.exit(128 + signum)


def main():
    for sig in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(sig, end)
    screen = Screen()
    try:
        wrong = run(screen)
    except (AssertionError, OSError) as e:
        print(f"demo: {e}", file=sys.stderr)
        sys.exit(1)
    text = "everything as it should be" if not wrong else f"{wrong} not as it should be"
    print("\n" + screen.verdict(not wrong), text)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
