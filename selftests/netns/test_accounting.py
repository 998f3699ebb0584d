# SPDX-License-Identifier: GPL-2.0-only
"""`option flow-accounting on`: packets and bytes of each flow are those that were sent."""

import re
import time

import pytest
from scapy.all import IP, Ether, IPv6, Raw

from lab.lab import CLIENT, CLIENT_MAC, SERVER, WAN, WAN_MAC
from lab.netns import wait_for
from lab.traffic import TcpEcho, UdpEcho, ping, tcp_connect, tcp_talk, tcp_try, udp_try

pytestmark = pytest.mark.alternate
both = pytest.mark.parametrize("family", [4, 6])
ON = "option flow-accounting on\n"
RULES = ("default in drop\ndefault out drop\ndefault forward drop\n"
         "accept forward wan -> lan proto { tcp, udp } to port 7 label through\n"
         "accept in on wan proto udp to self port 9 label self\n"
         "accept out proto udp to port 7 label mine\n"
         "accept forward wan -> lan proto 253 label other\n"
         "accept forward wan -> lan proto icmp type echo-request label pings\n")
IP_HEADER = {4: 20, 6: 40}
KEYS = ("original_packets", "original_bytes", "reply_packets", "reply_bytes")


def counts(lab, protocol, port=None):
    """What is counted of the one flow of a protocol, with this port of its opener."""
    flows = [f for f in lab.flows() if f["protocol"] == protocol and
             port in (None, f["original"].get("source_port"))]
    assert len(flows) == 1, flows
    return tuple(flows[0][key] for key in KEYS)


@both
@pytest.mark.parametrize("way", ["through", "in", "out"])
def test_udp(lab, family, way):
    """So many datagrams there and back, forwarded, to the firewall and from it."""
    lab.load(ON + RULES)
    where, to, port, client = {"through": (lab.server, SERVER[family], 7, lab.client),
                               "in": (lab.firewall, WAN[family], 9, lab.client),
                               "out": (lab.server, SERVER[family], 7, lab.firewall)}[way]
    with UdpEcho(where, to, port):
        total = 0
        for i in range(30):
            size = 1 + 40 * i
            assert udp_try(client, to, port, size=size, source=("", 20030)) == "ok"
            total += IP_HEADER[family] + 8 + size
            if i == 15:
                lab.load(ON + RULES)  # the next packet is judged again
    assert counts(lab, "udp", 20030) == (30, total, 30, total)


def plain_segments(lab, on_off):
    """Segments as they are on the wire, or none at all, from and to client and server."""
    for ns in (lab.client, lab.server):
        ns.run("ethtool", "-K", "eth0", "tso", on_off, "gso", on_off, "gro", on_off)


def sent(lab, ns):
    """Packets and bytes that the interface of a namespace has sent, without Ethernet.

    Those to veth with XDP are counted by the other end, a little later and without it.
    """
    time.sleep(0.3)
    line = ns.run("cat", "/proc/net/dev").stdout.split("eth0:")[1].splitlines()[0].split()
    return int(line[9]), int(line[8]) - (14 * int(line[9]) if lab.mode == "tc" else 0)


@pytest.fixture
def transfer(own_lab):
    """Sends a text there and back; returns the flow's port and what interfaces have sent."""
    def run(family, text):
        with TcpEcho(own_lab.server, SERVER[family], 7):
            assert tcp_try(own_lab.client, SERVER[family], 7) == "ok"  # neighbours are known
            before = [sent(own_lab, ns) for ns in (own_lab.client, own_lab.server)]
            with tcp_connect(own_lab.client, SERVER[family], 7) as s:
                s.settimeout(20)
                assert tcp_talk(s, text)
                port = s.getsockname()[1]
                after = [sent(own_lab, ns) for ns in (own_lab.client, own_lab.server)]
                there, back = ((a[0] - b[0], a[1] - b[1]) for a, b in zip(after, before))
                return there + back, counts(own_lab, "tcp", port)
    return run


@both
def test_tcp(own_lab, transfer, family):
    """What the interfaces of both ends say that they sent; a little else may be among it."""
    own_lab.load(ON + RULES)
    plain_segments(own_lab, "off")
    interfaces, counted = transfer(family, b"x" * 300000)
    assert counted[0] > 200 and counted[1] > 300000
    for mine, theirs in zip(counted, interfaces):
        # neighbour discovery, the end of the connection before
        assert theirs * 0.98 - 400 <= mine <= theirs, (counted, interfaces)


@both
def test_large_segments(own_lab, transfer, family):
    """Of an skb that holds many segments, each is counted with its headers."""
    own_lab.load(ON + RULES)
    plain_segments(own_lab, "on")
    size = 300000
    _, counted = transfer(family, b"x" * size)
    header = IP_HEADER[family] + 32  # timestamps; a SYN has more
    for packets, total in (counted[:2], counted[2:]):
        assert packets >= size // 1460, counted
        # options of the SYN; segments that a slow machine makes TCP repeat
        assert 0 <= total - size - header * packets <= 5000, counted


@both
def test_echo_and_other_protocols(lab, family):
    """Flows in our own table."""
    lab.load(ON + RULES)
    lab.fwctl("flows", "kill", "all")
    assert ping(lab.client, SERVER[family], 5, 100)
    size = 5 * (IP_HEADER[family] + 8 + 100)
    protocol = "icmp" if family == 4 else "icmp6"
    flow = next(f for f in lab.flows() if f["protocol"].startswith(protocol[:4]))
    assert tuple(flow[key] for key in KEYS) == (5, size, 5, size)
    ip = IP(src=CLIENT[4], dst=SERVER[4], proto=253) if family == 4 else \
        IPv6(src=CLIENT[6], dst=SERVER[6], nh=253)
    frame = bytes(Ether(src=CLIENT_MAC, dst=WAN_MAC) / ip / Raw(bytes(100)))
    lab.client.send_raw("eth0", [frame] * 7)

    def seen():
        found = [f for f in lab.flows() if f["protocol"] == "253"]
        return found and found[0]["original_packets"] == 7
    wait_for(seen, 3, "seven packets")
    assert counts(lab, "253")[:2] == (7, 7 * (IP_HEADER[family] + 100))


def test_shown_and_sorted(lab):
    """Four columns more, order by what was counted; nothing of it while it is off."""
    lab.load(ON + RULES)
    with UdpEcho(lab.server, SERVER[4], 7), UdpEcho(lab.server, SERVER[6], 7):
        for family, port, packets, size in ((4, 20001, 1, 1000), (6, 20002, 3, 10),
                                            (4, 20003, 2, 100)):
            for _ in range(packets):
                assert udp_try(lab.client, SERVER[family], 7, size=size, source=("", port)) == "ok"

        def order(*words):
            flows = lab.fwctl("show", "flows", "proto", "udp", *words, "--json").rows
            return [f["original"]["source_port"] - 20000 for f in flows]
        assert order("sort", "bytes") == [1, 3, 2]
        assert order("sort", "packets") == [2, 3, 1]
        assert order("sort", "packets", "reverse") == [1, 3, 2]
        text = lab.fwctl("show", "flows", "port", "20001").out
        assert re.search(r"RULE +PACKETS +BYTES +REPLY PACKETS +REPLY BYTES$", text, re.M), text
        assert re.search(r"through +1 +1028 +1 +1028$", text, re.M), text
        text = lab.fwctl("show", "flows", "port", "20001", "--wide").out
        assert re.search(r"conntrack +1 +1028 +1 +1028$", text, re.M), text

        lab.load(RULES)
        assert "PACKETS" not in lab.fwctl("show", "flows").out
        assert not any(key in f for f in lab.flows() for key in KEYS)
        done = lab.fwctl("show", "flows", "sort", "bytes", check=False)
        assert done.exit == 1 and "option flow-accounting on" in done.err, done
        assert udp_try(lab.client, SERVER[4], 7, source=("", 20001)) == "ok"
        assert udp_try(lab.client, SERVER[4], 7, source=("", 20009)) == "ok"
        lab.load(ON + RULES)
        assert counts(lab, "udp", 20001) == (1, 1028, 1, 1028)
        assert counts(lab, "udp", 20009) == (0, 0, 0, 0)


@both
def test_kernel_counts_its_own(own_lab, family):
    """Where the kernel tracks, its counters are shown, if it has any."""
    lab = own_lab
    lab.load(ON + "option conntrack-hooks on\n" + RULES)
    with UdpEcho(lab.server, SERVER[family], 7):
        for acct, want in ((0, None), (1, IP_HEADER[family] + 8 + 50)):
            lab.firewall.sysctl(net__netfilter__nf_conntrack_acct=acct)
            for _ in range(3):
                assert udp_try(lab.client, SERVER[family], 7, size=50,
                               source=("", 20010 + acct)) == "ok"
            many = (3, 3 * want) * 2 if want else (None,) * 4
            assert counts(lab, "udp", 20010 + acct) == many
        assert "?" in lab.fwctl("show", "flows", "port", "20010").out


def test_closed_flow_is_forgotten(lab):
    """A tuple that is used again begins from nothing."""
    lab.load(ON + RULES)
    with UdpEcho(lab.server, SERVER[4], 7):
        for n in (3, 1):
            for _ in range(n):
                assert udp_try(lab.client, SERVER[4], 7, size=1, source=("", 20020)) == "ok"
            assert counts(lab, "udp", 20020) == (n, 29 * n, n, 29 * n)
            lab.fwctl("flows", "kill", "port", "20020")
