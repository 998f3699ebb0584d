# SPDX-License-Identifier: GPL-2.0-only
"""`option esp-steer`: which CPU the packets of an SA go on at, and that they keep their order."""

import contextlib
import itertools
import json
import os
import pathlib
import socket
import struct

import pytest

from lab.ipsec import KEY
from lab.lab import CLIENT, WAN
from lab.netns import wait_for
from lab.packets import UDP, Raw, frame, ip
from lab.percpu import allocspi
from lab.traffic import Iperf, family_of, http

families = pytest.mark.parametrize("family", [4, 6])
native = pytest.mark.modes("xdp")
knows = pytest.mark.needs("xdpxfrm")
CPUS = len(os.sched_getaffinity(0))
two = pytest.mark.skipif(CPUS < 2, reason="needs two CPUs")
pytestmark = [knows, two]
RULES = "default in accept\ndefault out accept\ndefault forward accept\n"
STEER = RULES + "option esp-steer 0-1\n"
KERNEL = 4  # exit status
SOL_PACKET, PACKET_FANOUT, PACKET_FANOUT_CPU = 263, 18, 2
SO_INCOMING_CPU, SO_RCVBUFFORCE = 49, 33
ONLINE = pathlib.Path("/sys/devices/system/cpu/cpu1/online")
spis = itertools.count(0x7000)
groups = itertools.count(1)


# ---- packets without keys ---------------------------------------------------------------------


def esp(family, spi, seq, size=40):
    """As it is on the wire; nobody can decrypt it."""
    body = spi.to_bytes(4, "big") + seq.to_bytes(4, "big") + bytes(size)
    return frame(ip(family, dst=WAN[family], **{"proto" if family == 4 else "nh": 50}) /
                 Raw(body))


def in_udp(family, spi, seq, size=40):
    """The same in UDP."""
    body = spi.to_bytes(4, "big") + seq.to_bytes(4, "big") + bytes(size)
    return frame(ip(family, dst=WAN[family]) / UDP(sport=4500, dport=4500) / Raw(body))


KINDS = {"esp": esp, "udp": in_udp}


def larval(lab, family, spi):
    """A state that has an SPI and no keys, at the firewall."""
    lab.firewall.run("ip", "xfrm", "state", "allocspi", "src", CLIENT[family], "dst", WAN[family],
                     "proto", "esp", "min", str(spi), "max", str(spi))


class Taps:
    """What the firewall's eth0 takes in, by the CPU that it is taken in at."""

    def __init__(self, lab):
        self.sockets = []
        group = next(groups) | PACKET_FANOUT_CPU << 16
        with lab.firewall.inside():
            for _ in range(2):
                s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
                s.bind(("fw-wan", 3))
                s.setsockopt(SOL_PACKET, PACKET_FANOUT, group)
                s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 23)
                s.setblocking(False)
                self.sockets.append(s)
        self.found = [[], []]

    def read(self):
        """[[(SPI, sequence number), ...] of each CPU], in the order they came."""
        for s, found in zip(self.sockets, self.found):
            with contextlib.suppress(BlockingIOError):
                while True:
                    data, (_, proto, kind, *_) = s.recvfrom(65536)
                    head = spi_of(data, proto) if kind == 0 else None
                    if head:
                        found.append(head)
        return self.found

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for s in self.sockets:
            s.close()


def spi_of(data, proto):
    """(SPI, sequence number) of a frame of ESP, or of ESP in UDP; None of others."""
    at, kind = {0x800: (34, 23), 0x86dd: (54, 20)}.get(proto, (0, 0))
    if not at or data[kind] not in (50, 17):
        return None
    if data[kind] == 17:
        if data[at + 2:at + 4] != struct.pack("!H", 4500):
            return None
        at += 8
    return struct.unpack_from("!II", data, at)


@pytest.fixture
def clean(lab):
    """The lab; no state is left behind."""
    yield lab
    lab.firewall.run("ip", "xfrm", "state", "flush")


def shown(lab):
    """({SPI: CPU}, {CPU: packets}) as `fwctl show ipsec` has them."""
    found = lab.show("ipsec")
    return ({int(a["spi"], 16): a["cpu"] for a in found["associations"]},
            {c["cpu"]: c["packets"] for c in found["steering"]})


def gained(before, after):
    """Packets by CPU, of two answers."""
    return {cpu: n - before.get(cpu, 0) for cpu, n in after.items()}


def seen(counters):
    """Packets that XDP has judged."""
    return sum(n for (iface, hook, _), n in counters.values.items()
               if (iface, hook) == ("fw-wan", "xdp"))


@native
@families
@pytest.mark.parametrize("kind", KINDS)
def test_two_on_two(clean, family, kind):
    """Two associations go to two CPUs, all packets of one to the same one, in their order."""
    a, b = next(spis), next(spis)
    clean.load(STEER)
    larval(clean, family, a)
    larval(clean, family, b)
    before = shown(clean)[1]
    stream = [KINDS[kind](family, spi, seq) for seq in range(1, 201) for spi in (a, b)]
    stranger = KINDS[kind](family, 0xdead, 1)
    with Taps(clean) as taps:
        clean.client.send_raw("eth0", stream + [stranger])
        wait_for(lambda: sum(map(len, taps.read())) >= len(stream) + 1, 5, "the packets")
        cpus, after = shown(clean)
        assert sorted((cpus[a], cpus[b])) == [0, 1], cpus
        assert gained(before, after) == {0: 200, 1: 200}
        for spi in (a, b):
            assert [h for h in taps.found[cpus[spi]] if h[0] == spi] == [
                (spi, seq) for seq in range(1, 201)]
            assert not [h for h in taps.found[1 - cpus[spi]] if h[0] == spi]


@native
@families
def test_frames_of_several_buffers(clean, family):
    """MTU 9000: what comes in pieces is whole behind the queue."""
    spi = next(spis)
    clean.load(STEER)
    for ns, name in ((clean.client, "eth0"), (clean.firewall, "fw-wan")):
        ns.run("ip", "link", "set", name, "mtu", "9000")
    larval(clean, family, spi)
    try:
        with Taps(clean) as taps:
            frames = [esp(family, spi, seq, 8000) for seq in range(1, 51)]
            clean.client.send_raw("eth0", frames)
            wait_for(lambda: sum(map(len, taps.read())) >= 50, 5, "the packets")
            cpu = shown(clean)[0][spi]
            assert taps.found[cpu] == [(spi, seq) for seq in range(1, 51)]
    finally:
        for ns, name in ((clean.client, "eth0"), (clean.firewall, "fw-wan")):
            ns.run("ip", "link", "set", name, "mtu", "1500")


@native
@families
def test_rules_go_on(clean, family):
    """What is steered is judged, counted and logged as without; what is dropped goes nowhere."""
    spi = next(spis)
    larval(clean, family, spi)
    rules = [verdict + " in proto esp label x" for verdict in (
        "accept stateless", "accept", "drop stateless", "drop", "reject")]
    for options, rule in itertools.product(("", "option flow-accounting on\n"), rules):
        found = []
        for steer in ("", "option esp-steer 0-1\n"):
            clean.load(RULES + rule + "\n" + options + steer)
            before, rule_before = clean.counters(), clean.rule("x")
            clean.client.send_raw("eth0", [esp(family, spi, n) for n in range(5)])
            clean.gain(before, lambda c: seen(c) >= 5)
            wait_for(lambda: clean.rule("x")["packets"] > rule_before["packets"])
            # a flow of the rules before it is cut for that
            found.append((sum((clean.counters() - before).drops().values()),
                          clean.rule("x")["packets"] - rule_before["packets"]))
        assert found[0] == found[1], (options, rule, found)


@pytest.mark.modes("xdp", "xdp-generic", "tc")
def test_where_it_is_refused_or_idle(clean, mode):
    """CPUs that this machine cannot have; interfaces that cannot; no option, no queue."""
    path = clean.rules(RULES + "option esp-steer 0,1000-1001\n")
    refused = clean.fwctl("load", path, check=False)
    assert refused.exit == KERNEL and not refused.out, refused
    message, source, caret = refused.err.splitlines()
    place, text = message.split(": error: ")
    assert place.startswith(f"{path}:") and place.endswith(":18"), place
    assert text.startswith("this machine cannot have the CPU 1000-1001: it has 0-"), text
    assert source.endswith("option esp-steer 0,1000-1001") and caret.endswith("^" + "~" * 10)

    done = clean.fwctl("load", clean.rules(STEER))
    wan, = [i for i in clean.status()["interfaces"] if i["name"] == "fw-wan"]
    assert wan["steering"]["on"] == (mode == "xdp"), wan
    assert ("no interface steers" in done.err) == (mode != "xdp"), done
    doctor = json.loads(clean.fwctl("doctor", "--json").out)["interfaces"]
    assert [i["steering"] for i in doctor if i["name"] == "fw-wan"] == [wan["steering"]]
    spi = next(spis)
    larval(clean, 4, spi)
    before, counters = shown(clean)[1], clean.counters()
    clean.client.send_raw("eth0", [esp(4, spi, n) for n in range(3)])
    clean.gain(counters, lambda c: c.get("default") + c.get("new") + c.get("established") >= 3)
    assert sum(gained(before, shown(clean)[1]).values()) == (3 if mode == "xdp" else 0)
    assert {c["cpu"] for c in clean.show("ipsec")["steering"] if c["chosen"]} == {0, 1}
    clean.load(RULES)
    wan, = [i for i in clean.status()["interfaces"] if i["name"] == "fw-wan"]
    assert wan["steering"] is None
    assert not [c for c in clean.show("ipsec")["steering"] if c["chosen"]]


def steering(lab):
    """What `fwctl status` says of fw-wan."""
    found, = [i["steering"] for i in lab.status()["interfaces"] if i["name"] == "fw-wan"]
    return found


@native
@pytest.mark.needs("vlan")
def test_tags_are_not_lost(clean):
    """With a VLAN device, whose tags may be beside the packet, nothing is steered."""
    spi = next(spis)
    larval(clean, 4, spi)
    clean.load(STEER)
    assert steering(clean)["on"]
    clean.firewall.run("ip", "link", "add", "link", "fw-wan", "name", "fw-v5", "type", "vlan",
                       "id", "5")
    try:
        wait_for(lambda: not steering(clean)["on"])
        assert "VLAN devices" in steering(clean)["why"]
        before, packets = clean.counters(), shown(clean)[1]
        clean.client.send_raw("eth0", [esp(4, spi, 1)])
        clean.gain(before, lambda c: seen(c) >= 1)
        assert shown(clean)[1] == packets
    finally:
        clean.firewall.run("ip", "link", "del", "fw-v5")
    wait_for(lambda: steering(clean)["on"])
    clean.client.send_raw("eth0", [esp(4, spi, 2)])
    wait_for(lambda: sum(gained(packets, shown(clean)[1]).values()) == 1)


@native
@families
def test_unwritten_checksum(clean, family):
    """A sender on this machine leaves the checksum to the device: its datagrams arrive."""
    spi = next(spis)
    larval(clean, family, spi)
    clean.load(STEER)
    clean.client.run("ethtool", "-K", "eth0", "tx", "on")
    try:
        with clean.firewall.socket(family_of(WAN[family]), socket.SOCK_DGRAM) as s, \
                clean.client.socket(family_of(WAN[family]), socket.SOCK_DGRAM) as c:
            s.bind((WAN[family], 4500))
            s.settimeout(5)
            data = spi.to_bytes(4, "big") + bytes(40)
            c.sendto(data, (WAN[family], 4500))
            assert s.recv(100) == data
            clean.client.run("ethtool", "-K", "eth0", "tx", "off")
            before = shown(clean)[1]
            c.sendto(data, (WAN[family], 4500))
            assert s.recv(100) == data
            assert sum(gained(before, shown(clean)[1]).values()) == 1
    finally:
        clean.client.run("ethtool", "-K", "eth0", "tx", "off")


@native
def test_beside_the_other_option(clean):
    """Unknown SPIs are dropped, known ones steered; with steering alone nobody is told."""
    spi = next(spis)
    larval(clean, 4, spi)
    clean.load(STEER + "option esp-unknown-spi drop\n")
    before, cpus = clean.counters(), shown(clean)[1]
    clean.client.send_raw("eth0", [esp(4, spi, 1), esp(4, 0xbeef, 1)])
    found = clean.gain(before, lambda c: c.drops())
    assert found.drops() == {"esp-unknown-spi": 1}
    wait_for(lambda: sum(gained(cpus, shown(clean)[1]).values()) == 1)
    clean.load(STEER)
    before = clean.counters()
    clean.client.send_raw("eth0", [esp(4, 0xbeef, 1)])
    found = clean.gain(before, lambda c: seen(c) >= 1)
    assert not found.drops()


@native
def test_the_list_is_obeyed(clean):
    """One CPU alone, then the other; a daemon that dies, and the next one, change nothing."""
    spi = next(spis)
    larval(clean, 4, spi)
    for cpu in (1, 0):
        clean.load(RULES + f"option esp-steer {cpu}\n")
        clean.client.send_raw("eth0", [esp(4, spi, 1)])
        wait_for(lambda cpu=cpu: shown(clean)[0][spi] == cpu)
    before = shown(clean)[1]
    os.kill(clean.daemon_pid(), 9)
    with Taps(clean) as taps:
        clean.client.send_raw("eth0", [esp(4, spi, 2)] * 3)
        wait_for(lambda: len(taps.read()[0]) == 3)
    cpus, after = shown(clean)
    assert cpus[spi] == 0 and gained(before, after)[0] == 3


@native
def test_queue_is_gone(clean):
    """A CPU that is chosen and has no queue, as between two steps of the daemon's: packets stay."""
    a, b = next(spis), next(spis)
    larval(clean, 4, a)
    larval(clean, 4, b)
    clean.load(STEER)
    clean.client.send_raw("eth0", [esp(4, a, 1), esp(4, b, 1)])
    wait_for(lambda: all(shown(clean)[0][spi] is not None for spi in (a, b)))
    cpus, before = shown(clean)
    gone = a if cpus[a] == 1 else b
    clean.firewall.run("bpftool", "map", "delete", "pinned",
                       clean.pin_dir / "v1/maps/esp_cpus", "key", "1", "0", "0", "0")
    with Taps(clean) as taps:
        clean.client.send_raw("eth0", [esp(4, gone, seq) for seq in range(2, 12)])
        wait_for(lambda: sum(map(len, taps.read())) == 10, 5, "the packets")
    assert gained(before, shown(clean)[1]) == {0: 0, 1: 0}


@native
def test_shown(clean):
    """As a table, and as metrics; nothing of it without the option."""
    clean.unload()
    clean.load(RULES)
    assert "STEERED" not in clean.fwctl("show", "ipsec").out
    spi = next(spis)
    larval(clean, 4, spi)
    clean.load(STEER)
    clean.client.send_raw("eth0", [esp(4, spi, seq) for seq in range(3)])
    wait_for(lambda: sum(shown(clean)[1].values()) == 3)
    cpu = shown(clean)[0][spi]
    table, by_cpu = clean.fwctl("show", "ipsec").out.split("\n\n")
    at = table.splitlines()[0].index("  CPU") + 4
    assert table.splitlines()[1][at] == str(cpu), table
    rows = [line.split() for line in by_cpu.splitlines()]
    assert rows == [["CPU", "STEERED", "TO", "PACKETS"], ["0", "yes", str(3 * (cpu == 0))],
                    ["1", "yes", str(3 * (cpu == 1))]], by_cpu
    text = http(clean.firewall, "/metrics")[2]
    for other in (0, 1):
        assert f'fwctl_ipsec_steered_packets_total{{cpu="{other}"}} {3 * (cpu == other)}\n' in text
    clean.load(RULES + f"option esp-steer {1 - cpu}\n")
    assert f"{cpu}  no longer" in clean.fwctl("show", "ipsec").out


@native
def test_explain_is_not_moved(clean):
    """To ask what would become of a packet moves none, and says the same."""
    spi = next(spis)
    larval(clean, 4, spi)
    said = []
    for text in (RULES, STEER):
        clean.load(text + "accept in proto esp label through\n")
        before = shown(clean)[1]
        said.append(json.loads(clean.fwctl(
            "explain", "--json", f"in fw-wan esp {CLIENT[4]} to {WAN[4]}").out)["verdict"])
        assert not any(gained(before, shown(clean)[1]).values())
    assert said[0] == said[1]


@native
@pytest.mark.needs("xfrmpcpu")
def test_made_for_a_cpu(clean):
    """One that the kernel has for a CPU goes there; not to one that is not of the list."""
    first, *others = (next(spis) for _ in range(4))
    with clean.firewall.inside():
        for spi in (first, *others):
            allocspi(CLIENT[4], WAN[4], spi, 1)
    clean.load(STEER)
    clean.client.send_raw("eth0", [esp(4, spi, 1) for spi in (first, *others)])
    wait_for(lambda: [shown(clean)[0][spi] for spi in (first, *others)] == [1] * 4)
    clean.load(RULES + "option esp-steer 0\n")
    clean.client.send_raw("eth0", [esp(4, first, 2)])
    wait_for(lambda: shown(clean)[0][first] == 0)


# ---- CPUs that come and go: not on a machine of others -------------------------------------------


@pytest.fixture
def second_cpu():
    """It is there again at the end."""
    yield ONLINE
    ONLINE.write_text("1", "ascii")


def chosen(lab):
    """The CPUs that are steered to."""
    return {c["cpu"] for c in lab.show("ipsec")["steering"] if c["chosen"]}


@native
@pytest.mark.needs("vm")
def test_hotplug(clean, second_cpu):
    """Who was on a CPU that goes is on another one; when it comes back they share again."""
    numbers = [next(spis) for _ in range(3)]
    for spi in numbers:
        larval(clean, 4, spi)
    clean.load(STEER)
    seq = itertools.count(1)

    def send(some, places):
        with Taps(clean) as taps:
            clean.client.send_raw("eth0", [esp(4, spi, next(seq)) for spi in some
                                           for _ in range(20)])
            wait_for(lambda: sum(map(len, taps.read())) >= 20 * len(some), 5, "the packets")
        cpus = shown(clean)[0]
        assert {cpus[spi] for spi in some} == places, cpus
    send(numbers[:2], {0, 1})
    second_cpu.write_text("0", "ascii")
    wait_for(lambda: chosen(clean) == {0}, 5, "the CPU to be left")
    send(numbers, {0})
    second_cpu.write_text("1", "ascii")
    wait_for(lambda: chosen(clean) == {0, 1}, 5, "the CPU to be used again")
    send(numbers, {0, 1})
    # its thread is its own again: what is sent there is worked off there
    at = shown(clean)[0]
    with Taps(clean) as taps:
        clean.client.send_raw("eth0", [esp(4, spi, next(seq)) for spi in numbers])
        wait_for(lambda: sum(map(len, taps.read())) == 3, 5, "the packets")
        assert [{spi for spi, _ in found} for found in taps.found] == [
            {spi for spi in numbers if at[spi] == cpu} for cpu in (0, 1)]


@native
@pytest.mark.needs("vm")
def test_loaded_while_it_is_away(clean, second_cpu):
    """Offline CPUs may be named; nothing is steered where none is there; no daemon, no change."""
    spi = next(spis)
    larval(clean, 4, spi)
    second_cpu.write_text("0", "ascii")
    clean.load(RULES + "option esp-steer 1\n")
    assert not chosen(clean) and "no CPU of option esp-steer is online" in clean.daemon_log()
    before = clean.counters()
    clean.client.send_raw("eth0", [esp(4, spi, 1)])
    clean.gain(before, lambda c: seen(c) >= 1)
    assert shown(clean)[0][spi] is None
    os.kill(clean.daemon_pid(), 9)
    second_cpu.write_text("1", "ascii")
    wait_for(lambda: chosen(clean) == {1}, 5, "the CPU to be used")
    clean.client.send_raw("eth0", [esp(4, spi, 2)])
    wait_for(lambda: shown(clean)[0][spi] == 1)


# ---- with keys ---------------------------------------------------------------------------------


def protect(lab, family, spi, port):
    """What the client sends to a UDP port of the firewall is ESP, by an SA of its own."""
    src, dst = CLIENT[family], WAN[family]
    for ns in (lab.firewall, lab.client):
        ns.run("ip", "xfrm", "state", "add", "src", src, "dst", dst, "proto", "esp", "spi",
               hex(spi), "reqid", port, "mode", "transport", "replay-window", "128", *KEY["esp"])
    lab.client.run("ip", "xfrm", "policy", "update", "src", src, "dst", dst, "proto", "udp",
                   "dport", port, "dir", "out", "tmpl", "proto", "esp", "reqid", port, "mode",
                   "transport")


@pytest.fixture
def sealed(clean, family):
    """The lab; two ports of the firewall have an SA each: {port: SPI}."""
    clean.ports = {port: next(spis) for port in (5201, 5202)}
    for port, spi in clean.ports.items():
        protect(clean, family, spi, port)
    yield clean
    for what in ("policy", "state"):
        clean.client.run("ip", "xfrm", what, "flush")


@native
@families
@pytest.mark.needs("esp")
def test_decrypted_there(sealed, family):
    """The socket says at which CPU the datagram arrived."""
    sealed.load(STEER)
    for port, spi in sealed.ports.items():
        with sealed.firewall.socket(family_of(WAN[family]), socket.SOCK_DGRAM) as s, \
                sealed.client.socket(family_of(WAN[family]), socket.SOCK_DGRAM) as c:
            s.bind((WAN[family], port))
            c.bind((CLIENT[family], port))
            s.connect((CLIENT[family], port))  # one that is not connected does not know
            c.connect((WAN[family], port))
            s.settimeout(5)
            for n in range(10):
                c.send(b"%d" % n)
                assert s.recv(100) == b"%d" % n
                assert s.getsockopt(socket.SOL_SOCKET, SO_INCOMING_CPU) == shown(sealed)[0][spi]
    cpus = shown(sealed)[0]
    assert sorted(cpus[spi] for spi in sealed.ports.values()) == [0, 1]


@native
@families
@pytest.mark.needs("esp", "iperf3")
@pytest.mark.slow
def test_order(sealed, family):
    """Two streams at the same time: each at its CPU, and in order; nothing counts as replayed."""
    sealed.load(STEER + "option esp-unknown-spi drop\n")
    before, packets = sealed.counters(), shown(sealed)[1]
    flows = [Iperf(sealed.client, sealed.firewall, WAN[family], 3, port, rate="4M",
                   options=("-u", "-l", "1000")) for port in sealed.ports]
    for flow in flows:
        udp = flow.result()["end"]["streams"][0]["udp"]
        assert udp["packets"] > 100 and not udp["out_of_order"], udp
    assert not (sealed.counters() - before).drops()
    cpus, after = shown(sealed)
    assert sorted(cpus[spi] for spi in sealed.ports.values()) == [0, 1], cpus
    assert min(gained(packets, after).values()) > 100, (packets, after)
