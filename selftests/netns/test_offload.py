# SPDX-License-Identifier: GPL-2.0-only
"""`option offload`: XDP forwards what the stack would have sent, and no longer than it would.

Frames get into a veth device from XDP only if its other end polls, so GRO is on at the
client and at the server.
"""

import collections
import contextlib
import os
import random
import re
import socket
import threading
import time

import pytest

from lab.lab import CLIENT, LAN, SERVER, SERVER_MAC, WAN
from lab.netns import patience, wait_for
from lab.packets import (ICMP, IP, TCP, UDP, Ether, IPOption, IPv6, IPv6ExtHdrDestOpt, Raw,
                         fragment, frame, from_server, ip)
from lab.traffic import Connection, Flood, TcpEcho, UdpEcho, tcp_connect, tcp_talk, udp_try

pytestmark = [pytest.mark.modes("xdp"), pytest.mark.needs("netdev")]
both = pytest.mark.parametrize("family", [4, 6])

DENY = "default in drop\ndefault out accept\ndefault forward drop\n"
THROUGH = "accept forward wan -> lan proto { tcp, udp } to port { 7, 80 } label through\n"
OFF = DENY + THROUGH
ON = OFF + "option offload on\n"
PORT = 4000


# ---- helpers -------------------------------------------------------------------------------


def poll(lab, on_off="on"):
    """Have the outer ends of the lab's wires take frames from XDP, or no longer."""
    for ns in (lab.client, lab.server):
        ns.run("ethtool", "-K", "eth0", "gro", on_off)


@pytest.fixture(name="fast")
def fast_lab(lab):
    """The lab with ends that poll, and without flows of the test before."""
    poll(lab)
    lab.firewall.sysctl(net__netfilter__nf_conntrack_tcp_be_liberal=0)
    lab.load(OFF)
    lab.fwctl("flows", "kill", "all")
    yield lab
    poll(lab)


def states(lab):
    """Interface -> (does it offload, why not)."""
    return {i["name"]: (i["offload"]["on"], i["offload"]["why"])
            for i in lab.status()["interfaces"] if i["offload"]}


def load(lab, rules=ON):
    """Load rules with offload, which both interfaces can."""
    lab.load(rules)
    wait_for(lambda: all(on for on, _ in states(lab).values()), 3, "both to offload")


class Flow:
    """A UDP flow that was answered, and what crafted frames of it become behind the firewall."""

    def __init__(self, lab, family, port=PORT, service=7):
        self.lab, self.family, self.port, self.service = lab, family, port, service
        self._stack = contextlib.ExitStack()
        kind = (socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
        self.near = self._stack.enter_context(lab.client.socket(*kind))
        self.far = self._stack.enter_context(lab.server.socket(*kind))
        self.near.bind((CLIENT[family], port))
        self.far.bind((SERVER[family], service))
        self.answer()

    def answer(self):
        """One datagram there and one back."""
        self.near.sendto(b"there", (SERVER[self.family], self.service))
        _, peer = self.far.recvfrom(100)
        self.far.sendto(b"back", peer)
        self.near.recv(100)

    def packet(self, payload=b"", back=False, **fields):
        """One datagram of the flow."""
        if back:
            head = ip(self.family, SERVER[self.family], CLIENT[self.family], **fields)
            return head / UDP(sport=self.service, dport=self.port) / Raw(payload)
        return ip(self.family, **fields) / UDP(sport=self.port, dport=self.service) / Raw(payload)

    def frames(self, n, size=20, **fields):
        """Frames from the client, told apart by their payload."""
        return [frame(self.packet(b"%06d" % i + bytes(size), **fields)) for i in range(n)]

    def close(self):
        """Close the sockets."""
        self._stack.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def hops(family, n):
    """TTL or hop limit."""
    return {"ttl": n} if family == 4 else {"hlim": n}


def pass_all(lab, frames, back=False, iface="eth0"):
    """What comes out for each of these frames, in order of their numbers; all have to come."""
    there, here = (lab.client, lab.server) if back else (lab.server, lab.client)
    number = re.compile(rb"\d{6}")
    wanted = {number.search(f)[0] for f in frames}
    with there.sniffer(iface) as sniffer:
        for at in range(0, len(frames), 50):
            here.send_raw("eth0", frames[at:at + 50])
        found = {}

        def all_came():
            for kind, data in sniffer.read():
                match = number.search(data)
                if kind != 4 and match:
                    found[match[0]] = data
            return wanted <= found.keys()
        wait_for(all_came, 5, "all frames behind the firewall")
        return [found[key] for key in sorted(wanted)]


def settled(lab, silence=0.4):
    """The counters when nothing has come for a while: an ACK may be late."""
    last, since = lab.counters(), time.monotonic()
    end = since + patience(5)
    while time.monotonic() - since < silence and time.monotonic() < end:
        time.sleep(0.02)
        now = lab.counters()
        if now.values != last.values:
            last, since = now, time.monotonic()
    return last


def offloaded(gained, iface="fw-wan"):
    """Packets that XDP has forwarded, of what came in by an interface."""
    return gained.get("offloaded", "xdp", iface)


# ---- established flows ------------------------------------------------------------------------


@both
def test_off_unless_asked(fast, family):
    """Without the option nothing is."""
    with UdpEcho(fast.server, SERVER[family], 7):
        before = fast.counters()
        for _ in range(5):
            assert udp_try(fast.client, SERVER[family], 7, source=("", PORT)) == "ok"
    assert not offloaded(fast.counters() - before, None)
    assert not states(fast)


@both
def test_udp(fast, family):
    """A conversation; the first two packets take the long way."""
    load(fast)
    with UdpEcho(fast.server, SERVER[family], 7):
        before = fast.counters()
        for _ in range(30):
            assert udp_try(fast.client, SERVER[family], 7, size=200, source=("", PORT)) == "ok"
        gained = fast.counters() - before
    assert offloaded(gained, "fw-wan") > 20 and offloaded(gained, "fw-lan") > 20, gained
    assert not gained.drops(), gained
    # Nothing else sees them.
    assert gained.get("established", "egress", "fw-lan") < 10, gained


@both
def test_tcp(fast, family):
    """A lot both ways, and the end is seen."""
    load(fast)
    with TcpEcho(fast.server, SERVER[family], 7):
        before = fast.counters()
        with tcp_connect(fast.client, SERVER[family], 7) as s:
            s.settimeout(patience(20))
            assert tcp_talk(s, bytes(300_000))
            port = s.getsockname()[1]
        gained = fast.counters() - before
        assert offloaded(gained, "fw-wan") > 100 and offloaded(gained, "fw-lan") > 100, gained
        assert not gained.drops(), gained
        wait_for(lambda: "TIME_WAIT" in str([x for x in fast.flows()
                                             if x["original"]["source_port"] == port]), 3,
                 "the end of the connection in the table")


@both
def test_first(fast, family):
    """`first`: UDP that nobody answers."""
    load(fast, OFF + "option offload first\n")
    with Flow(fast, family):  # neighbours
        pass
    before = fast.counters()
    frames = [frame(ip(family) / UDP(sport=PORT + 1, dport=7) / Raw(b"%06d" % i))
              for i in range(50)]
    pass_all(fast, frames)
    assert offloaded(fast.counters() - before) > 40


@both
def test_unanswered_is_not(fast, family):
    """`on`: not before the answer."""
    load(fast)
    with Flow(fast, family):
        pass
    before = fast.counters()
    pass_all(fast, [frame(ip(family) / UDP(sport=PORT + 1, dport=7) / Raw(b"%06d" % i))
                    for i in range(50)])
    assert not offloaded(fast.counters() - before)


@both
def test_rule_says_otherwise(fast, family):
    """The clause of a rule overrides the option, both ways."""
    for option, clause, is_on in (("on", "off", False), ("off", "on", True)):
        fast.load(f"{DENY}option offload {option}\naccept forward wan -> lan proto udp to port 7 "
                  f"offload {clause}\naccept forward wan -> lan proto tcp\n")
        fast.fwctl("flows", "kill", "all")
        with Flow(fast, family) as flow:
            before = fast.counters()
            pass_all(fast, flow.frames(40))
            assert (offloaded(fast.counters() - before) > 30) == is_on


@both
@pytest.mark.parametrize("back", [False, True], ids=["there", "back"])
def test_same_as_the_stack(fast, family, back):
    """Random packets: addresses of Ethernet, TTL, checksums and all else to the byte."""
    rng = random.Random(7)

    def make(flow):
        frames = []
        for i in range(300):
            fields = hops(family, rng.randrange(2, 256))
            fields["tos" if family == 4 else "tc"] = rng.choice((0, 1, 2, 0x10, 0xb8, 0xfc))
            if family == 4:
                fields |= {"id": rng.randrange(65536), "flags": rng.choice((0, 2))}
            else:
                fields["fl"] = rng.randrange(1 << 20)
            payload = b"%06d" % i + rng.randbytes(rng.randrange(0, 1400))
            packet = flow.packet(payload, back, **fields)
            if family == 4 and rng.random() < 0.2:
                packet[UDP].chksum = 0
            frames.append((from_server if back else frame)(packet))
        return frames

    outcomes = []
    for text in (OFF, ON):
        rng.seed(7)
        fast.load(text)
        fast.fwctl("flows", "kill", "all")
        with Flow(fast, family) as flow:
            frames = make(flow)
            before = fast.counters()
            outcomes.append(pass_all(fast, frames, back))
            gained = fast.counters() - before
    assert offloaded(gained, "fw-lan" if back else "fw-wan") > 280, gained
    assert outcomes[0] == outcomes[1]


@both
def test_segments_same_as_the_stack(fast, family):
    """TCP segments of an open connection, with options and without."""
    with contextlib.ExitStack() as stack:
        outcomes = []
        for text in (OFF, ON):
            fast.load(text)
            fast.fwctl("flows", "kill", "all")
            c = Connection(stack, fast.client, fast.server, SERVER[family], 7)
            assert c.says(True)
            port = c.near.getsockname()[1]
            rng = random.Random(8)
            frames = [frame(ip(family, **hops(family, rng.randrange(2, 256)))
                            / TCP(sport=9, dport=7, flags=rng.choice(("A", "PA", "AE", "AC")),
                                  seq=rng.randrange(1 << 32), ack=rng.randrange(1 << 32),
                                  options=rng.choice(([], [("NOP", None), ("NOP", None)])))
                            / Raw(b"%06d" % i)) for i in range(200)]
            # The flow's port differs from one connection to the next: put it in, as a NAT would.
            frames = [with_port(f, port) for f in frames]
            before = fast.counters()
            came = pass_all(fast, frames)
            gained = fast.counters() - before
            outcomes.append([with_port(f, 9) for f in came])
            c.give_up()
        assert offloaded(gained) > 180, gained
        assert outcomes[0] == outcomes[1]


def with_port(data, port):
    """A TCP frame from another port, with its right checksum."""
    packet = Ether(data)
    packet[TCP].sport = port
    del packet[TCP].chksum
    return bytes(packet)


# ---- what is special takes the long way ------------------------------------------------------


@both
def test_last_hop(fast, family):
    """TTL 1: the firewall says so, and traceroute is the same."""
    load(fast)
    with Flow(fast, family) as flow, fast.client.sniffer("eth0") as sniffer:
        pass_all(fast, flow.frames(5))
        before = fast.counters()
        fast.client.send_raw("eth0", [frame(flow.packet(b"last", **hops(family, 1)))])

        def is_told(data):
            packet = Ether(data)
            if family == 4:
                return ICMP in packet and packet[ICMP].type == 11 and packet[IP].src == WAN[4]
            return IPv6 in packet and packet[IPv6].nh == 58 and bytes(packet[IPv6].payload)[0] == 3
        sniffer.wait(is_told, 3, "time exceeded")
        assert not offloaded(fast.counters() - before)


@both
def test_mtu_of_the_way_out(fast, family):
    """What does not fit is told so; what does goes on by XDP."""
    load(fast)
    with Flow(fast, family) as flow, fast.client.sniffer("eth0") as sniffer:
        fast.firewall.run("ip", "link", "set", "fw-lan", "mtu", "1300")
        try:
            time.sleep(patience(0.2))
            df = {"flags": "DF"} if family == 4 else {}
            pass_all(fast, flow.frames(5, 1000, **df))
            before = fast.counters()
            fast.client.send_raw("eth0", [frame(flow.packet(bytes(1400), **df))])

            def is_told(data):
                packet = Ether(data)
                if family == 4:
                    return (ICMP in packet and (packet[ICMP].type, packet[ICMP].code) == (3, 4)
                            and packet[ICMP].nexthopmtu == 1300)
                return IPv6 in packet and packet[IPv6].nh == 58 and \
                    bytes(packet[IPv6].payload)[0] == 2
            sniffer.wait(is_told, 3, "packet too big")
            assert not offloaded(fast.counters() - before)
            before = fast.counters()
            pass_all(fast, flow.frames(10, 1000, **df))
            assert offloaded(fast.counters() - before) >= 8
        finally:
            fast.firewall.run("ip", "link", "set", "fw-lan", "mtu", "1500")


@both
def test_two_processors(fast, family):
    """Each remembers for itself; both at once lose and mix up nothing."""
    load(fast)
    with Flow(fast, family) as one, Flow(fast, family, PORT + 1, 80) as other, \
            fast.server.sniffer("eth0") as sniffer:
        before = fast.counters()
        sent = [flow.frames(1000) for flow in (one, other)]

        def send(cpu):
            os.sched_setaffinity(0, {cpu})  # of this thread
            with fast.client.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
                s.bind(("eth0", 0))
                for data in sent[cpu]:
                    s.send(data)
        threads = [threading.Thread(target=send, args=(cpu,)) for cpu in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        number = re.compile(rb"\d{6}")

        def found():
            """How often each frame came."""
            came = (data[-34:] for kind, data in sniffer.read() if kind != 4)
            return collections.Counter(data for data in came if number.search(data))
        wait_for(lambda: sum(found().values()) >= 2000, 10, "all frames behind the firewall")
        assert len(found()) == 2000 and set(found().values()) == {1}
        # a packet a second to the next hop is the stack's
        assert 1980 <= offloaded(fast.counters() - before) <= 2000


@pytest.fixture(name="jumbo")
def jumbo_lab(fast):
    """The lab with an MTU of 9000 all the way: such frames are in several buffers."""
    def set_mtu(mtu):
        for ns, name in ((fast.client, "eth0"), (fast.firewall, "fw-wan"),
                         (fast.firewall, "fw-lan"), (fast.server, "eth0")):
            ns.run("ip", "link", "set", name, "mtu", str(mtu))
    set_mtu(9000)
    yield fast
    set_mtu(1500)


@both
def test_jumbo_frames(jumbo, family):
    """Whole and as the stack sends them, both ways, beside small ones of the flow."""
    seen = {}
    for rules in (OFF, ON):
        if rules == ON:
            load(jumbo, ON)
        else:
            jumbo.load(OFF)
        with Flow(jumbo, family) as flow:
            before = jumbo.counters()
            for back in (False, True):
                frames = [(from_server if back else frame)(flow.packet(
                    b"%06d" % i + bytes(8800 if i % 2 else 60), back)) for i in range(20)]
                seen.setdefault(back, []).append(pass_all(jumbo, frames, back))
            gained = jumbo.counters() - before
            if rules == ON:
                assert offloaded(gained) > 15 and offloaded(gained, "fw-lan") > 15
            else:
                assert not offloaded(gained)
        jumbo.fwctl("flows", "kill", "all")
    for by_stack, by_xdp in seen.values():
        assert by_stack == by_xdp


def special(flow, what):
    """One frame of an established flow that XDP does not forward."""
    family, udp = flow.family, UDP(sport=flow.port, dport=7)
    if what == "options":
        if family == 4:
            return frame(ip(4, options=[IPOption(b"\x94\x04\x00\x00")]) / udp / Raw(b"000001"))
        return frame(ip(6) / IPv6ExtHdrDestOpt() / udp / Raw(b"000001"))
    if what == "fragment":
        return frame(fragment(family, 0, True, bytes(udp) + b"000001" + bytes(2)))
    raise ValueError(what)


@both
@pytest.mark.parametrize("what", ["options", "fragment"])
def test_special(fast, family, what):
    """The stack forwards it."""
    load(fast)
    with Flow(fast, family) as flow:
        pass_all(fast, flow.frames(5))
        before = fast.counters()
        pass_all(fast, [special(flow, what)])
        assert not offloaded(fast.counters() - before)


@both
@pytest.mark.parametrize("flags", ["FA", "RA", "R"])
def test_end_of_a_connection(fast, family, flags):
    """FIN and RST take the long way, so the table sees them."""
    load(fast)
    with contextlib.ExitStack() as stack:
        c = Connection(stack, fast.client, fast.server, SERVER[family], 7)
        for _ in range(5):
            assert c.says(True)
        before = settled(fast)
        port = c.near.getsockname()[1]
        segment = ip(family) / TCP(sport=port, dport=7, flags=flags, seq=1, ack=1)
        fast.client.send_raw("eth0", [frame(segment)])
        gained = fast.gain(before, lambda g: g.get("established", "xdp", "fw-wan") == 1)
        assert not offloaded(gained)
        c.give_up()


@both
def test_not_for_us(fast, family):
    """A frame to somebody else's Ethernet address is not the firewall's to forward."""
    load(fast)
    with Flow(fast, family) as flow, fast.server.sniffer("eth0") as sniffer:
        pass_all(fast, flow.frames(5))
        before = fast.counters()
        fast.client.send_raw("eth0", [frame(flow.packet(b"strayed"), dst="02:00:00:00:0f:0f")])
        time.sleep(patience(0.3))
        assert not sniffer.count(lambda data: b"strayed" in data)
        assert not offloaded(fast.counters() - before)


@both
def test_unwritten_checksums(fast, family):
    """A sender on this machine that leaves checksums to its device: nothing arrives broken."""
    load(fast)
    fast.client.run("ethtool", "-K", "eth0", "tx", "on")
    try:
        with UdpEcho(fast.server, SERVER[family], 7), TcpEcho(fast.server, SERVER[family], 80):
            before = fast.counters()
            for size in (1, 20, 300, 1200):
                for _ in range(5):
                    assert udp_try(fast.client, SERVER[family], 7, size=size,
                                   source=("", PORT)) == "ok"
            with tcp_connect(fast.client, SERVER[family], 80) as s:
                s.settimeout(patience(10))
                assert tcp_talk(s, bytes(100_000))
            gained = fast.counters() - before
            assert offloaded(gained, "fw-wan") < 5, gained
            assert offloaded(gained, "fw-lan") > 20, gained  # the server writes them
    finally:
        fast.client.run("ethtool", "-K", "eth0", "tx", "off")


# ---- never longer than it is true --------------------------------------------------------------


class Stream:
    """Datagrams of a flow, many a second, and when the last one came to where they are seen."""

    def __init__(self, flow, pps=200):
        self.flow = flow
        self._flood = Flood(flow.lab.client, "eth0", flow.frames(50), pps)

    def __enter__(self):
        self._flood.__enter__()
        wait_for(lambda: offloaded(self.flow.lab.counters()) > 20, 5, "packets by XDP")
        return self

    def __exit__(self, *args):
        self._flood.__exit__(*args)


def gap(ns, iface, match, seconds=2.0):
    """How long after now the last matching frame came, if none comes in the end; else None."""
    start, last = time.monotonic(), 0.0
    with ns.sniffer(iface) as sniffer:
        seen = 0
        while time.monotonic() - start < patience(seconds):
            n = sniffer.count(match)
            if n != seen:
                seen, last = n, time.monotonic() - start
            time.sleep(0.02)
    return last


def is_ours(flow):
    """Frames of the stream."""
    number = re.compile(rb"\d{6}")
    return lambda data: bool(number.search(data)) and flow.port.to_bytes(2, "big") in data


@both
def test_neighbour_changes(fast, family):
    """The server gets another Ethernet address; so do the packets, within a second."""
    load(fast)
    other = "02:00:00:00:02:99"
    with Flow(fast, family) as flow, Stream(flow):
        fast.firewall.run("ip", "neigh", "replace", SERVER[family], "lladdr", other, "dev",
                          "fw-lan")
        try:
            old = bytes.fromhex(SERVER_MAC.replace(":", ""))
            late = gap(fast.server, "eth0", lambda f: f[:6] == old and is_ours(flow)(f))
            assert late < patience(1.0)
            new = bytes.fromhex(other.replace(":", ""))
            with fast.server.sniffer("eth0") as sniffer:
                sniffer.wait(lambda f: f[:6] == new and is_ours(flow)(f), 2)
        finally:
            fast.firewall.run("ip", "neigh", "replace", SERVER[family], "lladdr", SERVER_MAC,
                              "dev", "fw-lan", "nud", "reachable")


@both
def test_route_changes(fast, family):
    """Unreachable: nothing more comes within a second, and the sender is told."""
    load(fast)
    six = ["-6"] if family == 6 else []
    route = ["unreachable", SERVER[family]]
    with Flow(fast, family) as flow, Stream(flow):
        fast.firewall.run("ip", *six, "route", "add", *route)
        try:
            assert gap(fast.server, "eth0", is_ours(flow)) < patience(1.0)
        finally:
            fast.firewall.run("ip", *six, "route", "del", *route)
        with fast.server.sniffer("eth0") as sniffer:
            sniffer.wait(is_ours(flow), 2, "packets when there is a route again")


@both
def test_routing_rule_changes(fast, family):
    """The same by `ip rule`."""
    load(fast)
    six = ["-6"] if family == 6 else []
    rule = ["from", CLIENT[family], "unreachable"]
    with Flow(fast, family) as flow, Stream(flow):
        fast.firewall.run("ip", *six, "rule", "add", *rule)
        try:
            assert gap(fast.server, "eth0", is_ours(flow)) < patience(1.0)
        finally:
            fast.firewall.run("ip", *six, "rule", "del", *rule)


@both
def test_link_goes_down(fast, family):
    """And comes back."""
    load(fast)
    with Flow(fast, family) as flow, Stream(flow):
        fast.firewall.run("ip", "link", "set", "fw-lan", "down")
        assert gap(fast.server, "eth0", is_ours(flow), 1.0) < patience(1.0)
        fast.firewall.run("ip", "link", "set", "fw-lan", "up")
        fast.firewall.run("ip", "address", "replace", f"{LAN[6]}/64", "dev", "fw-lan", "nodad")
        with fast.server.sniffer("eth0") as sniffer:
            sniffer.wait(is_ours(flow), 5, "packets over a link that is up again")
        wait_for(lambda: offloaded(fast.counters()) > 0, 3)


@both
def test_other_end_polls_no_longer(fast, family):
    """Then the stack takes over, and nothing is lost for good."""
    load(fast)
    with Flow(fast, family) as flow, Stream(flow):
        fast.server.run("ethtool", "-K", "eth0", "gro", "off")
        wait_for(lambda: not states(fast)["fw-lan"][0], 2, "the firewall to notice")
        assert "gro on" in states(fast)["fw-lan"][1]
        time.sleep(patience(0.1))
        before = fast.counters()
        with fast.server.sniffer("eth0") as sniffer:
            wait_for(lambda: sniffer.count(is_ours(flow)) > 50, 3, "packets by the stack")
        assert not offloaded(fast.counters() - before)


@both
@pytest.mark.parametrize("how", ["reload", "kill", "keep"])
def test_flow_is_cut(fast, family, how):
    """By rules that do not accept it any more, or by `flows kill` where none accepts new ones."""
    load(fast)
    with Flow(fast, family) as flow, Stream(flow):
        if how == "kill":
            fast.load(ON.replace("7, 80", "80") + "option on-reload keep\n")
            fast.fwctl("flows", "kill", "all")
        elif how == "reload":
            fast.load(ON.replace("7, 80", "80"))
        else:
            fast.load(ON.replace("7, 80", "80") + "option on-reload keep\n")
        late = gap(fast.server, "eth0", is_ours(flow), 1.5)
        assert (late < patience(1.0)) == (how != "keep")


@both
def test_reloads_lose_nothing(fast, family):
    """A reload that changes nothing for the flow: XDP goes on with it."""
    load(fast)
    with Flow(fast, family) as flow, Stream(flow):
        for _ in range(3):
            fast.load(ON)
            before = fast.counters()
            gained = fast.gain(before, lambda g: offloaded(g) > 30)
            assert not gained.drops(), gained


@both
def test_daemon_dies(fast, family):
    """What is cut or changed then is noticed all the same."""
    load(fast)
    six = ["-6"] if family == 6 else []
    with Flow(fast, family) as flow, Stream(flow):
        pid = fast.daemon_pid()
        fast.firewall.run("kill", "-9", pid)
        wait_for(lambda: fast.daemon_pid() is None, 3)
        with fast.server.sniffer("eth0") as sniffer:
            wait_for(lambda: sniffer.count(is_ours(flow)) > 50, 3, "packets without a daemon")
        fast.firewall.run("ip", *six, "route", "add", "unreachable", SERVER[family])
        try:
            assert gap(fast.server, "eth0", is_ours(flow)) < patience(1.0)
        finally:
            fast.firewall.run("ip", *six, "route", "del", "unreachable", SERVER[family])
        assert fast.status()["loaded"]  # a new daemon


@both
def test_outlives_its_timeout(fast, family):
    """The table keeps what XDP forwards."""
    load(fast, ON + "timeout udp-stream 2s\ntimeout udp 2s\n")
    with Flow(fast, family) as flow, Stream(flow, 50):
        time.sleep(patience(5))
        assert [f for f in fast.flows() if f["original"].get("source_port") == PORT]
        before = fast.counters()
        gained = fast.gain(before, lambda g: offloaded(g) > 20)
        assert not gained.get("new"), gained


@both
def test_neighbour_is_kept(fast, family):
    """A packet a second goes by the stack, so the kernel goes on asking for the neighbour."""
    load(fast)
    with Flow(fast, family) as flow, Stream(flow):
        before = fast.counters()
        time.sleep(patience(2.5))
        gained = fast.counters() - before
        assert 1 <= gained.get("established", "xdp", "fw-wan") <= 20 * patience(1), gained


# ---- counters --------------------------------------------------------------------------------


@both
def test_counters_are_the_same(fast, family):
    """Of the flow, and of its rule."""
    seen = []
    for text in (OFF, ON):
        fast.load(text + "option flow-accounting on\n")
        fast.fwctl("flows", "kill", "all")
        with Flow(fast, family) as flow:
            rule = fast.rule("through")
            pass_all(fast, flow.frames(60, 100))
            pass_all(fast, [from_server(flow.packet(b"%06d" % i, back=True)) for i in range(40)],
                     back=True)
            found = [f for f in fast.flows() if f["original"].get("source_port") == PORT]
            after = fast.rule("through")
            seen.append([found[0][key] for key in ("original_packets", "original_bytes",
                                                   "reply_packets", "reply_bytes")]
                        + [after[key] - rule[key] for key in ("packets", "bytes", "flows")])
    assert seen[0] == seen[1]
    assert seen[0][0] == 61 and seen[0][2] == 41


def test_explain(fast):
    """It says so, and does nothing; the way out is that of the route, and no hook is there."""
    load(fast)
    with Flow(fast, 4) as flow:
        pass_all(fast, flow.frames(5))
        with fast.server.sniffer("eth0") as sniffer:
            before = fast.counters()
            words = f"in fw-wan udp {CLIENT[4]}:{PORT} to {SERVER[4]}:7"
            said = fast.fwctl("explain", "--json", words).json
            assert (said["verdict"], said["reason"]) == ("accept", "offloaded"), said
            assert [step["hook"] for step in said["steps"]] == ["xdp"], said
            assert said["route"]["interface"] == "fw-lan", said
            said = fast.fwctl("explain", "--json", words + " ttl 1").json
            assert said["reason"] == "established", said
            time.sleep(patience(0.2))
            assert not sniffer.count(lambda f: flow.port.to_bytes(2, "big") in f)
            assert not offloaded(fast.counters() - before)


# ---- what hinders ------------------------------------------------------------------------------


def words(lab, name):
    """Why an interface does not offload."""
    return states(lab)[name][1] or ""


def test_load_warns(fast):
    """Of interfaces that cannot, at their place."""
    said = fast.fwctl("load", fast.rules(ON, "tc"))
    assert "rules.conf:1:" in said.err and "mode tc" in said.err, said
    assert not states(fast)["fw-wan"][0]
    fast.load(ON, "xdp-generic")
    assert "generic" in words(fast, "fw-wan")


def test_status_and_doctor_say_why(fast):
    """Each of it, and in JSON."""
    load(fast)
    poll(fast, "off")
    wait_for(lambda: "gro on" in words(fast, "fw-wan"), 3)
    assert "gro on" in fast.fwctl("status").out
    doctor = fast.fwctl("doctor", "--json").json
    found = {i["name"]: i["offload"] for i in doctor["interfaces"]}
    assert "gro on" in found["fw-wan"]["why"] and not found["fw-wan"]["on"]
    poll(fast)
    wait_for(lambda: states(fast)["fw-wan"][0], 3)
    fast.firewall.sysctl(net__ipv4__ip_forward=0, net__ipv6__conf__all__forwarding=0)
    try:
        assert "forward" in words(fast, "fw-lan")
    finally:
        fast.firewall.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)


@both
@pytest.mark.needs("esp")
def test_ipsec_policies(fast, family):
    """Route lookups of XDP do not see them: all goes by the stack."""
    load(fast)
    net = {4: "10.9.0.0/16", 6: "2001:db8:9::/48"}[family]
    with Flow(fast, family) as flow:
        pass_all(fast, flow.frames(5))
        fast.firewall.run("ip", "xfrm", "policy", "add", "dir", "fwd", "src", net, "dst", net,
                          "action", "block")
        try:
            assert "IPsec" in words(fast, "fw-wan")
            time.sleep(patience(0.1))
            before = fast.counters()
            pass_all(fast, flow.frames(20))
            assert not offloaded(fast.counters() - before)
        finally:
            fast.firewall.run("ip", "xfrm", "policy", "flush")
        time.sleep(patience(0.1))
        before = fast.counters()
        pass_all(fast, flow.frames(20))
        assert offloaded(fast.counters() - before) > 10


@both
@pytest.mark.parametrize("mark", ["7", "0/7"])
def test_rules_for_marks(fast, family, mark):
    """Routing may depend on what nftables would mark: all goes by the stack, as long as it may."""
    load(fast)
    rule = [f"-{family}", "rule", "add", "fwmark", mark, "table", "100"]
    with Flow(fast, family) as flow:
        pass_all(fast, flow.frames(5))
        fast.firewall.run("ip", *rule)
        try:
            wait_for(lambda: "marks" in words(fast, "fw-wan"), 3)
            time.sleep(patience(0.1))
            before = fast.counters()
            pass_all(fast, flow.frames(20))
            assert not offloaded(fast.counters() - before)
        finally:
            rule[2] = "del"
            fast.firewall.run("ip", *rule)
        wait_for(lambda: states(fast)["fw-wan"][0], 3)
        time.sleep(patience(0.1))
        before = fast.counters()
        pass_all(fast, flow.frames(20))
        assert offloaded(fast.counters() - before) > 10


HOOKS = """\
table inet lab_hooks {
	chain forward {
		type filter hook forward priority filter;
		ct state invalid counter drop
	}
}
"""
MASQUERADE = """\
table inet lab_hooks {
	chain out {
		type nat hook postrouting priority srcnat;
		oifname "fw-lan" masquerade
	}
}
"""


@contextlib.contextmanager
def nft(lab, text):
    """Somebody's table."""
    lab.firewall.run("nft", "-f", "-", input=text)
    try:
        yield
    finally:
        lab.firewall.run("nft", "delete", "table", "inet", "lab_hooks")


@both
def test_translated_is_not(fast, family):
    """Masquerade: the packets of the flow go by the stack, and arrive."""
    with nft(fast, MASQUERADE):
        load(fast)
        before = fast.counters()
        with UdpEcho(fast.server, SERVER[family], 7):
            for _ in range(20):
                assert udp_try(fast.client, SERVER[family], 7, source=("", PORT)) == "ok"
        assert not offloaded(fast.counters() - before, None)


@both
@pytest.mark.parametrize("liberal", [0, 1])
def test_beside_hooks(fast, family, liberal):
    """TCP only if the kernel forgives packets that it does not see; UDP anyway."""
    fast.firewall.sysctl(net__netfilter__nf_conntrack_tcp_be_liberal=liberal)
    with nft(fast, HOOKS), contextlib.ExitStack() as stack:
        load(fast)
        c = Connection(stack, fast.client, fast.server, SERVER[family], 80)
        assert c.says(True)
        before = fast.counters()
        for _ in range(30):
            assert c.says(True)
        gained = fast.counters() - before
        assert (offloaded(gained) > 20) == bool(liberal), gained
        with UdpEcho(fast.server, SERVER[family], 7):
            def talk(n):
                before = fast.counters()
                for _ in range(n):
                    assert udp_try(fast.client, SERVER[family], 7, source=("", PORT)) == "ok"
                return offloaded(fast.counters() - before)
            # The kernel takes it for a stream when it has gone on for two seconds.
            wait_for(lambda: talk(5) >= 4, 5, "UDP by XDP", 0.2)
            assert talk(30) > 20
        for _ in range(30):
            assert c.says(False)
        c.give_up()


# ---- VLANs ---------------------------------------------------------------------------------------


@pytest.fixture(name="tagged")
def tagged_lab(own_lab):
    """Client and server behind VLAN devices, each with a tag of its own or with none."""
    lab = own_lab
    poll(lab)

    def build(tag_in, tag_out):
        sides = ((lab.client, "eth0", CLIENT, "fw-wan", WAN, tag_in),
                 (lab.server, "eth0", SERVER, "fw-lan", LAN, tag_out))
        for ns, iface, theirs, parent, ours, tag in sides:
            if not tag:
                continue
            for where, below, addresses in ((ns, iface, theirs), (lab.firewall, parent, ours)):
                where.run("ip", "address", "flush", "dev", below)
                where.run("ip", "link", "add", "link", below, "name", f"{below}.{tag}", "type",
                          "vlan", "id", tag)
                where.run("ip", "link", "set", f"{below}.{tag}", "up")
                where.run("ip", "address", "add", f"{addresses[4]}/24", "dev", f"{below}.{tag}")
                where.run("ip", "address", "add", f"{addresses[6]}/64", "dev", f"{below}.{tag}",
                          "nodad")
            for v6, gateway in (([], ours[4]), (["-6"], ours[6])):
                ns.run("ip", *v6, "route", "replace", "default", "via", gateway)
        return lab
    return build


@both
@pytest.mark.needs("vlan")
@pytest.mark.parametrize("tag_in, tag_out", [(5, 0), (0, 6), (5, 6), (5, 5)],
                         ids=["pop", "push", "rewrite", "keep"])
def test_vlan(tagged, family, tag_in, tag_out):
    """Tags come off, on, or change, as the stack does it with its VLAN devices."""
    lab = tagged(tag_in, tag_out)
    zones = "".join(f"interface {zone}v = {parent}.{tag}\n"
                    for zone, parent, tag in (("wan", "fw-wan", tag_in), ("lan", "fw-lan", tag_out))
                    if tag)
    wan, lan = "wanv" if tag_in else "wan", "lanv" if tag_out else "lan"
    rules = zones + ON.replace("wan -> lan", f"{wan} -> {lan}")
    outcomes = []
    for text in (rules.replace("option offload on\n", ""), rules):
        lab.load(text)
        lab.fwctl("flows", "kill", "all")
        with Flow(lab, family) as flow:
            rng = random.Random(9)
            frames = [frame(flow.packet(b"%06d" % i + rng.randbytes(rng.randrange(1200)),
                                        **hops(family, rng.randrange(2, 256))),
                            (tag_in,) if tag_in else ()) for i in range(100)]
            before = lab.counters()
            # A device that takes off this tag alone.
            there = f"eth0.{tag_out}" if tag_out else "eth0"
            outcomes.append(pass_all(lab, frames, iface=there))
            gained = lab.counters() - before
    iface = f"fw-wan.{tag_in}" if tag_in else "fw-wan"
    assert offloaded(gained, iface) > 90, gained
    assert outcomes[0] == outcomes[1]


@both
@pytest.mark.needs("vlan")
def test_tag_of_nobody(fast, family):
    """A tag without a VLAN device: the stack would not forward it, nor does XDP."""
    load(fast)
    with Flow(fast, family) as flow, fast.server.sniffer("eth0") as sniffer:
        pass_all(fast, flow.frames(5))
        before = fast.counters()
        fast.client.send_raw("eth0", [frame(flow.packet(b"nobody"), (9,))])
        time.sleep(patience(0.3))
        assert not sniffer.count(lambda data: b"nobody" in data)
        assert not offloaded(fast.counters() - before, None)
