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
from .packets import (TCP, UDP, echo_reply, fragment, frame, ip, spoofed_self, tcp,
                      unknown_error)
from .traffic import TcpEcho, UdpEcho, ping, tcp_connect, tcp_talk, tcp_try, udp_try

RULES = TOP / "rules" / "examples" / "demo.conf"
METRICS = ("127.0.0.1", 9477)
METRICS_SHOWN = ("fwctl_drops_total", "fwctl_rule_packets_total", "fwctl_rule_flows_total",
                 "fwctl_mirror_flows", "fwctl_conntrack_entries")


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


def blocked(family):
    """From an address of the blocklist."""
    source = {4: "203.0.113.130", 6: "2001:db8:bad::1"}[family]
    return ip(family, src=source) / UDP(sport=4000, dport=53)


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


ROWS = [
    Row("TCP  client → server port 80", "answered", talk(tcp_try, "client", SERVER, 80),
        "rule web"),
    Row("       then silent for hours", "lives on", idle_connection, "rule web"),
    Row("       half a handshake", "gone in 120 s", half_handshake, "rule web"),
    Row("UDP  client → server port 53", "answered", talk(udp_try, "client", SERVER, 53),
        "rule dns"),
    Row("ping client → server", "answered", pinged("client", SERVER), "rule ping-through"),
    Row("       with 60 000 bytes", "answered", pinged("client", SERVER, 60000),
        "rule ping-through"),
    Row("ping client → firewall", "answered", pinged("client", WAN), "rule ping"),
    Row("TCP  client → firewall port 22", "answered", talk(tcp_try, "client", WAN, 22),
        "rule ssh"),
    Row("TCP  server → client port 80", "answered", talk(tcp_try, "server", CLIENT, 80),
        "rule outbound"),
    Row("UDP  server → client, closed port", "refused", talk(udp_try, "server", CLIENT, 9),
        "rule outbound; ICMP error related"),
    Row("TCP  firewall → server port 80", "answered", talk(tcp_try, "firewall", SERVER, 80),
        "default-out"),
    Row("TCP  client → server port 8080", "silence", talk(tcp_try, "client", SERVER, 8080),
        "default-forward at xdp"),
    Row("TCP  client → server port 23", "refused", talk(tcp_try, "client", SERVER, 23),
        "rule no-telnet at egress, reject"),
    Row("UDP  client → firewall port 53", "silence", talk(udp_try, "client", WAN, 53),
        "default-in at xdp"),
    Row("ping firewall's far side", "answered", pinged("client", LAN), "rule ping"),
    Row("UDP  from a blocklisted address", "dropped", crafted(blocked), "rule blocked at xdp"),
    Row("UDP  from the firewall's own address", "dropped", crafted(spoofed_self),
        "spoofed-self at xdp"),
    Row("TCP  without SYN", "dropped", crafted(lambda f: tcp(f, "A")), "tcp-no-syn at xdp"),
    Row("TCP  FIN+PSH+URG (XMAS)", "dropped", crafted(lambda f: tcp(f, "FPU")),
        "tcp-xmas at xdp"),
    Row("TCP  without flags (NULL)", "dropped", crafted(lambda f: tcp(f, "")),
        "tcp-null at xdp"),
    Row("ICMP error about no known flow", "dropped", crafted(unknown_error),
        "icmp-unrelated at xdp"),
    Row("ICMP echo reply nobody asked for", "dropped", crafted(lambda f: echo_reply(f, 4242)),
        "icmp-no-request at xdp"),
    Row("fragment without a first one", "dropped",
        crafted(lambda f: fragment(f, 100, False, bytes(64))), "fragment-orphan at xdp"),
]


# ---- how it is judged ------------------------------------------------------------------


class Look:
    """All counters at one moment."""

    def __init__(self, lab):
        self.packets = lab.counters()
        rules = lab.show("rules")["rules"]
        self.used = {r["label"]: r["packets"] + r["flows"] for r in rules}
        self.denying = {r["label"] for r in rules
                        if {"drop", "reject"} & set(r["text"].split()[:3])}

    def since(self, older):
        """Labels that were used, written as in the table: those that accept, that deny."""
        labels = [x for x, n in self.used.items() if n != older.used.get(x, 0)]
        words = {x: x if x.startswith("default-") else f"rule {x}" for x in labels}
        return ([words[x] for x in labels if x not in self.denying],
                [words[x] for x in labels if x in self.denying])


def deciders(before, after, expected):
    """Who decided between two looks, as the table says it."""
    gained = after.packets - before.packets
    accepting, denying = after.since(before)
    # What the hosts say to each other by themselves is accepted by a default, too.
    accepting = [x for x in accepting if x.startswith("rule ")] or accepting
    words = []
    for hook, reason in sorted({(h, r) for (_, h, r), n in gained.values.items() if n}):
        if reason in ("rule", "default"):
            words += [f"{label} at {hook}" for label in denying]
        elif reason == "reject":
            words += [f"{label} at {hook}, reject" for label in denying]
        elif reason in gained.drops():
            words.append(f"{reason} at {hook}")
    # A host that was given up on complains late, about what another row has sent.
    if not words and gained.get("related") and "related" in expected:
        accepting = [f"{label}; ICMP error related" for label in accepting]
    return ", ".join(words or accepting)


def play(lab, row, family):
    """Send one row; returns (what happened, who decided)."""
    before = Look(lab)
    try:
        happened = row.send(lab, family)
    except (OSError, AssertionError) as e:
        happened = str(e).partition("\n")[0] or type(e).__name__
    return happened, deciders(before, Look(lab), row.decided)


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
    """The flow table and the kernel's own view of it, while two connections are open."""
    with tcp_connect(lab.client, SERVER[4], 80) as s4, tcp_connect(lab.client, SERVER[6], 80) as s6:
        tcp_talk(s4)
        tcp_talk(s6)
        entries = wait_for(lambda: [x for x in lab.conntrack() if "ESTABLISHED" in x], 3)
        screen.head("fwctl show flows")
        title, *flows = lab.fwctl("show", "flows").out.splitlines()
        flows.sort(key=lambda x: "ESTABLISHED" not in x)
        first_lines("\n".join([title, *flows]), 7)
        screen.head("conntrack -L, without any nftables or iptables rule")
        print("\n".join(entries[:2]))


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
    shown = [x for name in METRICS_SHOWN
             for x in [y for y in lines if y.startswith(name)][:2]]
    print("\n".join(shown) or "nothing")
    return 0 if shown else 1


def run(screen):
    """The whole demonstration; returns how many things were not as they should be."""
    with Lab() as lab:
        print("client (eth0) ── fw-wan [firewall] fw-lan ── (eth0) server, network namespaces\n"
              f"$ fwctl load {RULES.relative_to(TOP)}")
        loaded = lab.fwctl("load", RULES)
        first_lines((loaded.out + loaded.err).replace(f"{TOP}/", ""), 3)
        print()
        with TcpEcho(lab.server, "::", 80), UdpEcho(lab.server, "::", 53), \
                TcpEcho(lab.client, "::", 80), TcpEcho(lab.firewall, "::", 22):
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
