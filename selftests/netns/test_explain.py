# SPDX-License-Identifier: GPL-2.0-only
"""fwctl explain: each packet is explained before it is sent, and fares as was said.

The hosts on both sides hear nothing, so that what is counted is what is sent.
"""

import collections
import contextlib
import itertools
import json
import os
import pathlib
import random
import signal
import socket
import struct
import time

import pytest

from lab import bpf
from lab.lab import CLIENT, CLIENT_MAC, REASONS, SERVER, WAN, WAN_MAC
from lab.netns import SLOWNESS, wait_for
from lab.packets import (BAD, TAGS, TCP, UDP, Ether, IPOption, Raw, echo_reply, echo_request,
                         fragment, frame, from_server, icmp_error, ip)
from lab.traffic import family_of, ping

both = pytest.mark.parametrize("family", [4, 6])
all_modes = pytest.mark.modes("xdp", "tc", "xdp-generic")
ACCEPT = "default in accept\ndefault out accept\ndefault forward accept\n"
DENY = "default in drop\ndefault out drop\ndefault forward drop\n"
RULES = (DENY + "set blocked { 192.0.2.66, 2001:db8:1::66 }\n"
         "drop stateless in from @blocked label blocked\n"
         "drop stateless forward from @blocked label blocked-through\n"
         "accept stateless forward proto udp to port 9 label nine\n"
         "accept stateless in proto udp to port 9 label nine-in\n"
         "accept forward wan -> lan proto { tcp, udp } to port { 22, 53, 80 } label services\n"
         "accept forward proto icmp type echo-request label pings\n"
         "accept in on wan proto { tcp, udp } to self port { 22, 53 } label to-us\n"
         "accept in proto icmp type echo-request label pings-in\n"
         "reject forward proto tcp to port 25 label no-mail\n"
         "accept forward proto sctp label sctp log\n"
         "accept out label out\n")
OTHER_SIDE = {"fw-wan": "fw-lan", "fw-lan": "fw-wan"}
IS_SLOW = SLOWNESS > 1
PACKETS = 80 if IS_SLOW else 250  # in each mode, of which there are three
ports = itertools.count(41000)
IMAGE_GEN = 8  # where struct fw_image_head has the generation
LIMIT = pathlib.Path("/proc/sys/net/netfilter/nf_conntrack_max")
CROWD = 64


class Explained:
    """What `fwctl explain` says of one packet."""

    def __init__(self, result):
        self.exit, self.json = result.exit, json.loads(result.out) if result.out else None

    @property
    def counts(self):
        """How each hook would count it: {(interface, hook, reason): 1}."""
        return collections.Counter((step.get("counts_for") or step["interface"], step["hook"],
                                    step["reason"]) for step in self.json["steps"])

    @property
    def drops(self):
        """The reason it is dropped for, or None."""
        last = self.json["steps"][-1]
        return last["reason"] if REASONS[last["reason"]] else None

    @property
    def flows(self):
        """The flows that hooks have found."""
        return [step["flow"] for step in self.json["steps"] if step.get("flow")]

    @property
    def expires(self):
        """Its flow may be gone before the packet is there; not all tell when."""
        return any(flow.get("left", 9) <= 1 for flow in self.flows)

    def __repr__(self):
        return json.dumps(self.json, indent=1)


def explain(lab, *words):
    """Explain a packet; the exit status says what the verdict does."""
    said = Explained(lab.fwctl("explain", "--json", *words, check=False))
    assert said.exit == (0 if said.json["verdict"] == "accept" else 5), said
    return said


def explain_frame(lab, data, iface="fw-wan"):
    """The same of the bytes of a frame that comes in."""
    return explain(lab, "--hex", data.hex(), "in", iface)


def of_packet(counters, iface):
    """Without what this host says itself: it answers where the packet came from."""
    noise = ("non-ip", "essential", "own-reply")
    back = [(iface, "egress"), (OTHER_SIDE[iface], "xdp"), (OTHER_SIDE[iface], "ingress")]
    if iface == "fw-wan":
        back.append(("v10", "egress"))
    return {k: v for k, v in counters.values.items() if k[2] not in noise and k[:2] not in back}


def told(lab, counts):
    """Whether TC finds the metadata of generic XDP is the kernel's affair."""
    def reason(hook, name):
        is_open = lab.mode == "xdp-generic" and hook == "ingress" and not REASONS[name]
        return "accept" if is_open else name
    return {(iface, hook, reason(hook, name)): n for (iface, hook, name), n in counts.items()
            if name not in ("non-ip", "essential")}


def has_expired(said, now):
    """What a packet was to be judged by is gone: its flow, or the first fragment's record."""
    if said.json["reason"] == "fragment":
        return now.drops == "fragment-orphan"
    return said.flows and not now.flows


def agree(lab, data, iface="fw-wan", is_again=False):
    """Explain a frame, send it: it is counted as was said. Returns what was said."""
    said = explain_frame(lab, data, iface)
    end = time.monotonic() + 5
    while said.expires and time.monotonic() < end:
        time.sleep(0.1)
        said = explain_frame(lab, data, iface)
    before = lab.counters()
    sender = lab.client if iface == "fw-wan" else lab.server
    sender.send_raw("eth0", [data])
    expected = told(lab, said.counts)
    met = {k[:2] for k in expected}

    def is_as_said(gained):
        counts = told(lab, of_packet(gained, iface))
        # What this host says late about a packet before is none of this one's doing: had
        # this one come that far, the hooks before would have counted otherwise, too.
        return {k: v for k, v in counts.items() if k[1] != "egress" or k[:2] in met} == expected
    try:
        gained = lab.gain(before, is_as_said)
    except AssertionError as error:
        if is_again or not has_expired(said, explain_frame(lab, data, iface)):
            raise AssertionError(f"{data.hex()}: {error}\n{said}") from None
        return agree(lab, data, iface, is_again=True)
    assert gained is not None
    return said


def wait_for_silence(lab, silence=1.5):
    """Hosts say which groups they are in once more when an interface changes."""
    last, since = None, time.monotonic()
    end = since + 10 * silence
    while time.monotonic() - since < silence and time.monotonic() < end:
        now = lab.counters().values
        if now != last:
            last, since = now, time.monotonic()
        time.sleep(0.1)


@pytest.fixture(scope="module")
def deaf(module_lab):
    """Client and server know their neighbours, and hear nothing any more."""
    lab = module_lab
    lab.load(ACCEPT, mode="tc")
    fds = []
    for family in (4, 6):
        assert ping(lab.client, SERVER[family]) and ping(lab.client, WAN[family])
    for ns in (lab.client, lab.server):
        with ns.inside():
            program = bpf.program(bpf.XDP, bpf.XDP_DROP)
            fds += [program, bpf.attach_xdp(program, "eth0")]
    wait_for_silence(lab)
    yield lab
    for fd in fds:
        os.close(fd)


@pytest.fixture
def quiet(lab, deaf):
    """The lab of a test whose hosts hear nothing."""
    assert deaf is lab
    return lab


# ---- it does what it says ------------------------------------------------------------------


@all_modes
@pytest.mark.parametrize("tags", TAGS.values(), ids=TAGS.keys())
@both
def test_bad_packets(quiet, family, tags):
    """All that no rule can allow, for its reason, at the first hook."""
    quiet.load_once(ACCEPT)
    for bad in BAD[::4] if IS_SLOW else BAD:
        if family in bad.families:
            said = agree(quiet, frame(bad.build(family), tags))
            assert said.drops == bad.reason, (bad.name, said)
            assert len(said.json["steps"]) == 1


def random_addresses(rng, family):
    """Source, destination and by which interface the packet comes in."""
    client, server = CLIENT[family], SERVER[family]
    blocked = {4: "192.0.2.66", 6: "2001:db8:1::66"}[family]
    return rng.choice([(client, server, "fw-wan")] * 6 + [(server, client, "fw-lan")] * 4 +
                      [(client, WAN[family], "fw-wan")] * 3 + [(blocked, server, "fw-wan"),
                                                               (blocked, WAN[family], "fw-wan"),
                                                               (WAN[family], server, "fw-wan"),
                                                               (server, server, "fw-wan")])


def random_layer(rng, family, src, dst):
    """What IP carries; few ports, so that flows go on."""
    port = rng.choice([9, 22, 22, 25, 53, 53, 80, 81])
    sport = rng.choice([9, 40001, 40002])
    if dst == CLIENT[family]:
        port, sport = sport, port
    kind = rng.randrange(10)
    if kind < 4:
        flags = rng.choice(["S", "S", "S", "S", "SA", "SA", "A", "A", "PA", "FA", "R", "RA",
                            "FPU", "SF"])
        return TCP(sport=sport, dport=port, flags=flags, seq=1000, ack=1)
    if kind < 7:
        return UDP(sport=sport, dport=port)
    if kind < 8:
        reply = rng.randrange(2)
        return (echo_reply if reply else echo_request)(family, 5, src=src, dst=dst).payload
    quoted = ip(family, src=dst, dst=src) / rng.choice([TCP, UDP])(sport=port, dport=sport)
    return icmp_error(family, quoted, src, dst).payload


def random_frame(rng, family):
    """The bytes of a frame, and by which interface it comes in."""
    src, dst, iface = random_addresses(rng, family)
    packet = ip(family, src, dst) / random_layer(rng, family, src, dst)
    if rng.randrange(12) == 0:
        offset = rng.choice([0, 2, 40])
        packet = fragment(family, offset, offset == 0,
                          struct.pack("!HHHH", 40001, 53, 400, 0) + bytes(16),
                          rng.randrange(3), src=src, dst=dst)
    tags = (10,) if rng.randrange(8) == 0 else ()
    return (frame if iface == "fw-wan" else from_server)(packet, tags), iface


@all_modes
@pytest.mark.slow
def test_random_packets(quiet):
    """Packets of flows that come and go, both ways, through and to this host."""
    quiet.load(RULES)
    rng = random.Random(quiet.mode)
    seen = collections.Counter()
    for i in range(PACKETS):
        if i == PACKETS // 2:
            # flows of the rules before are judged again, some are denied
            quiet.load(RULES.replace("{ 22, 53, 80 }", "{ 53, 80 }"))
        data, iface = random_frame(rng, rng.choice([4, 6]))
        said = agree(quiet, data, iface)
        seen.update(step["reason"] for step in said.json["steps"])
    print(seen)
    often = ("established", "new", "rule", "default", "tcp-no-syn", "related", "stateless",
             "icmp-unrelated", "fragment-orphan", "reject")
    for reason in () if IS_SLOW else often:
        assert seen[reason], reason


@both
def test_reload_cuts(quiet, family):
    """A flow that new rules deny; and the packet behind, whose flow is gone."""
    rule = "accept forward wan -> lan proto tcp to port 22 label ssh\n"
    quiet.load(DENY + rule)
    port = next(ports)
    opens = frame(ip(family) / TCP(sport=port, dport=22, flags="S"))
    said = agree(quiet, opens)
    assert [s["opens"] for s in said.json["steps"] if s["opens"]] == ["fwctl"], said
    assert agree(quiet, opens).json["reason"] == "established"
    quiet.load(DENY)
    assert agree(quiet, opens).drops == "reload"
    assert agree(quiet, opens).drops in ("default", "reload")


@both
def test_options_that_drop(quiet, family):
    """What an option drops: fragments, IP options, frames that are no IP."""
    quiet.load(ACCEPT + "option fragments drop\noption ip-options drop\noption non-ip drop\n")
    head = struct.pack("!HHHH", 1, 53, 1000, 0) + bytes(56)
    assert agree(quiet, frame(fragment(family, 0, True, head))).drops == "fragment-option"
    alien = bytes(Ether(src=CLIENT_MAC, dst=WAN_MAC, type=0x88b5) / Raw(bytes(50)))
    assert agree(quiet, alien).drops == "non-ip-drop"
    if family == 4:
        packet = ip(4, options=[IPOption(b"\x94\x04\x00\x00")]) / UDP(sport=1, dport=53)
        assert agree(quiet, frame(packet)).drops == "ip-options-drop"
    deep = frame(ip(family) / UDP(sport=1, dport=53), (30, 20, 10))
    assert agree(quiet, deep).drops == "vlan-depth"


@both
def test_antispoof(quiet, family):
    """An address of the other side."""
    quiet.load(ACCEPT + "antispoof on wan strict\n")
    other = {4: "198.51.100.77", 6: "2001:db8:2::77"}[family]
    packet = ip(family, src=other, dst=WAN[family]) / UDP(sport=1, dport=53)
    assert agree(quiet, frame(packet)).drops == "antispoof"


@both
def test_reject_limit(quiet, family):
    """Explain does not look at how many have been sent: it says reject, and the rest is silent."""
    quiet.load(DENY + "reject forward proto tcp to port 25 label no-mail\n")
    data = frame(ip(family) / TCP(sport=next(ports), dport=25, flags="S"))
    before = quiet.counters()
    assert explain_frame(quiet, data).drops == "reject"
    quiet.client.send_raw("eth0", [data] * 3000)
    gained = quiet.gain(before, lambda c: c.get("reject") + c.get("reject-limit") >= 3000)
    assert gained.get("reject-limit") and set(gained.drops()) == {"reject", "reject-limit"}
    assert explain_frame(quiet, data).drops == "reject"


# ---- what is wrong with the tables -------------------------------------------------------------


@contextlib.contextmanager
def image(lab):
    """Where the running rules are; they are put back behind the block."""
    outer = bpf.Slot(bpf.pinned(next(lab.pin_dir.rglob("rulesets"))))
    inner = outer.inner()
    saved = inner.read()
    try:
        yield outer, inner
    finally:
        inner.write(saved)
        outer.write(struct.pack("<I", inner.fd))
        os.close(inner.fd)
        os.close(outer.fd)


def agree_without_tables(lab, data):
    """The same where the programs do not know their interfaces, and count for none."""
    said = explain_frame(lab, data)
    assert [step["hook"] for step in said.json["steps"]] == [lab.hook], said
    before = lab.counters()
    lab.client.send_raw("eth0", [data])
    gained = lab.gain(before, lambda c: c.get(said.drops))
    assert gained.drops() == {said.drops: gained.get(said.drops, lab.hook, "other")}, gained
    return said


@all_modes
@both
def test_no_rules(quiet, family):
    """No rules at all: all is dropped."""
    quiet.load(ACCEPT)
    with image(quiet) as (outer, _):
        outer.clear()
        data = frame(ip(family) / UDP(sport=1, dport=53))
        assert agree_without_tables(quiet, data).drops == "no-rules"


@all_modes
@both
def test_internal(quiet, family):
    """Rules of a generation that the tables of interfaces know nothing of."""
    quiet.load(ACCEPT)
    with image(quiet) as (_, inner):
        value = bytearray(inner.read())
        gen, = struct.unpack_from("<I", value, IMAGE_GEN)
        struct.pack_into("<I", value, IMAGE_GEN, gen + 2)
        inner.write(bytes(value))
        data = frame(ip(family) / UDP(sport=1, dport=53))
        assert agree_without_tables(quiet, data).drops == "internal"


@pytest.fixture
def made(quiet):
    """Makes an entry of conntrack; deleted behind the test."""
    yield lambda *words: quiet.firewall.run("conntrack", "-I", "-t", "60", "-p", "udp", *words)
    quiet.firewall.run("conntrack", "-F")


@both
def test_table_insert(quiet, made, family):
    """By somebody's NAT another flow has the answers that ours would have."""
    quiet.load(ACCEPT)
    port, other = next(ports), {4: "203.0.113.77", 6: "2001:db8:9::77"}[family]
    made("-s", CLIENT[family], "-d", other, "--sport", port, "--dport", "53",
         "--dst-nat", SERVER[family])
    packet = ip(family) / UDP(sport=port, dport=53)
    assert agree(quiet, frame(packet)).drops == "table-insert"
    packet = ip(family) / UDP(sport=port, dport=54)
    assert agree(quiet, frame(packet)).drops is None


@contextlib.contextmanager
def stopped_daemon(lab):
    """Within the block fwctld does nothing, and what it has said of room holds no more."""
    pid = lab.daemon_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(3.2)  # HOLDS_MS of user/fill.c
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.fixture
def crowded(quiet, made):
    """A table that is full of entries of which none is evicted; it is so of all namespaces."""
    usual = LIMIT.read_text(encoding="ascii")
    for i in range(CROWD):
        made("-s", "203.0.113.1", "-d", "203.0.113.2", "--sport", 1 + i, "--dport", "9",
             "-u", "SEEN_REPLY,ASSURED")
    yield lambda: LIMIT.write_text(str(len(quiet.conntrack())), encoding="ascii")
    LIMIT.write_text(usual, encoding="ascii")


@pytest.mark.needs("vm")
def test_table_pressure_and_full(quiet, crowded):
    """Whether the kernel refuses another entry nobody knows: explain says that it may."""
    quiet.load(ACCEPT)
    data = frame(ip(4) / UDP(sport=next(ports), dport=53))
    assert not explain_frame(quiet, data).json["notes"]
    crowded()
    before, said = quiet.counters(), explain_frame(quiet, data)
    if said.drops is None:  # fwctld has not seen yet that it is tight
        assert "the kernel may refuse one more" in said.json["notes"][0], said
        quiet.client.send_raw("eth0", [data])
        gained = quiet.gain(before, lambda c: c.drops())
        assert set(gained.drops()) <= {"table-full", "table-pressure"}, gained
    wait_for(lambda: explain_frame(quiet, data).drops == "table-pressure", 5, "pressure")
    assert agree(quiet, data).drops == "table-pressure"
    with stopped_daemon(quiet):
        before = quiet.counters()
        quiet.client.send_raw("eth0", [data])
        quiet.gain(before, lambda c: c.get("table-full"))


@both
def test_fragments(quiet, family):
    """The first lets others in, one that overlaps it is dropped."""
    quiet.load(ACCEPT)
    head = struct.pack("!HHHH", next(ports), 53, 1000, 0) + bytes(56)
    ident = next(ports)

    def part(offset, more):
        return frame(fragment(family, offset, more, head if offset == 0 else bytes(64), ident))
    assert agree(quiet, part(8, True)).drops == "fragment-orphan"
    assert agree(quiet, part(0, True)).json["verdict"] == "accept"
    assert agree(quiet, part(8, True)).json["steps"][-1]["reason"] == "fragment"
    assert agree(quiet, part(4, True)).drops == "fragment-bad"


@both
def test_established_by_the_other_side(quiet, family):
    """An answer, of which the flow is shown as it is."""
    quiet.load(DENY + "accept forward wan -> lan proto udp to port 53 label dns\n")
    port = next(ports)
    agree(quiet, frame(ip(family) / UDP(sport=port, dport=53)))
    answer = from_server(ip(family, SERVER[family], CLIENT[family]) / UDP(sport=53, dport=port))
    said = agree(quiet, answer, "fw-lan")
    flow = said.json["steps"][0]["flow"]
    assert flow["is_reply"] and flow["original"]["source_port"] == port, said
    wait_for(lambda: explain_frame(quiet, answer, "fw-lan").json["steps"][0]["flow"].get("rule")
             == "dns")


@pytest.fixture
def vlan_device(quiet):
    """A VLAN device of the firewall, and somebody behind it."""
    run = quiet.firewall.run
    run("ip", "link", "add", "link", "fw-wan", "name", "v10", "type", "vlan", "id", "10")
    run("ip", "address", "add", "203.0.113.1/24", "dev", "v10")
    run("ip", "link", "set", "v10", "up")
    run("ip", "neighbour", "add", "203.0.113.2", "lladdr", CLIENT_MAC, "dev", "v10")
    yield "interface guests = v10 { mode tc }\n"
    run("ip", "link", "del", "v10")


@pytest.mark.needs("vlan")
def test_vlan_device(quiet, vlan_device):
    """Below it and on it, in and out; and what no device takes."""
    quiet.load(vlan_device + DENY + "accept in on guests proto udp to self port 53\n"
               "accept forward lan -> guests proto udp to port 53\n")
    wait_for_silence(quiet)
    to_us = ip(4, src="203.0.113.2", dst="203.0.113.1") / UDP(sport=next(ports), dport=53)
    said = agree(quiet, frame(to_us, (10,)))
    assert [s["interface"] for s in said.json["steps"]][-2:] == ["fw-wan", "v10"], said
    assert said.json["verdict"] == "accept"
    by_name = explain(quiet, "in v10 udp 203.0.113.2:7 to 203.0.113.1:53")
    assert [s["interface"] for s in by_name.json["steps"]] == [
        s["interface"] for s in said.json["steps"]]
    out = ip(4, src=SERVER[4], dst="203.0.113.2") / UDP(sport=next(ports), dport=53)
    said = agree(quiet, from_server(out), "fw-lan")
    assert [s["interface"] for s in said.json["steps"]][-2:] == ["v10", "fw-wan"], said
    assert said.json["route"]["interface"] == "v10"
    said = agree(quiet, frame(to_us, (11,)))
    assert said.drops == "default" or "no device" in said.json["notes"][0], said


@pytest.mark.needs("xdpxfrm")
@pytest.mark.modes("xdp", "xdp-generic")
@both
def test_esp(quiet, family):
    """Of an SPI that nobody has keys for, of one that waits for them, and of IKE."""
    quiet.load(ACCEPT + "option esp-unknown-spi drop\n")
    head = ip(family, dst=WAN[family], **{"proto" if family == 4 else "nh": 50})
    natt = ip(family, dst=WAN[family]) / UDP(sport=4500, dport=4500)
    body = (next(ports)).to_bytes(4, "big") + bytes(60)
    assert agree(quiet, frame(head / Raw(body))).drops == "esp-unknown-spi"
    assert agree(quiet, frame(natt / Raw(body))).drops == "esp-unknown-spi"
    assert agree(quiet, frame(natt / Raw(bytes(60)))).json["verdict"] == "accept"
    spi = str(int.from_bytes(body[:4], "big"))
    quiet.firewall.run("ip", "xfrm", "state", "allocspi", "src", CLIENT[family], "dst",
                       WAN[family], "proto", "esp", "min", spi, "max", spi)
    assert agree(quiet, frame(head / Raw(body))).json["verdict"] == "accept"
    quiet.firewall.run("ip", "xfrm", "state", "flush")


@pytest.mark.needs("xdpxfrm")
@pytest.mark.needs("esp")
@pytest.mark.modes("xdp", "xdp-generic")
@both
def test_esp_replay(quiet, family):
    """Behind the window, and the number 0, of a state that has moved on."""
    quiet.load(ACCEPT + "option esp-unknown-spi drop\n")
    spi = next(ports)
    quiet.firewall.run("ip", "xfrm", "state", "add", "src", CLIENT[family], "dst", WAN[family],
                       "proto", "esp", "spi", str(spi), "mode", "transport", "replay-window", "32",
                       "replay-seq", "100", "aead", "rfc4106(gcm(aes))", "0x" + "5a" * 20, "128")
    head = ip(family, dst=WAN[family], **{"proto" if family == 4 else "nh": 50})

    def numbered(seq):
        return frame(head / Raw(spi.to_bytes(4, "big") + seq.to_bytes(4, "big") + bytes(60)))
    for seq in (0, 1, 68):
        assert agree(quiet, numbered(seq)).drops == "esp-replay"
    for seq in (69, 100, 101, 0xffffffff):
        assert agree(quiet, numbered(seq)).json["verdict"] == "accept"
    quiet.firewall.run("ip", "xfrm", "state", "flush")


@both
def test_ipsec_clear(quiet, family):
    """A promise: what would leave in clear, and does not; and what is said of SAs."""
    quiet.load(DENY + "accept out proto udp to port 443 via ipsec label safe\n"
               "accept in proto udp to self port 53 via ipsec reqid 7 label in\n")
    port, ends = next(ports), {4: ("{}:{}", "{}:443"), 6: ("[{}]:{}", "[{}]:443")}[family]
    said = explain(quiet, "out fw-wan udp " + ends[0].format(WAN[family], port) + " to " +
                   ends[1].format(CLIENT[family]))
    assert said.drops == "ipsec-clear" and "in clear" in said.json["notes"][0], said
    assert said.json["steps"][-1]["rule"] == "safe", said
    before = quiet.counters()
    with quiet.firewall.socket(family_of(CLIENT[family]), socket.SOCK_DGRAM) as s:
        s.bind((WAN[family], port))
        with contextlib.suppress(PermissionError):
            s.sendto(b"in clear", (CLIENT[family], 443))
    gained = quiet.gain(before, lambda c: c.drops())
    assert gained.drops() == {"ipsec-clear": 1}, gained
    ask = (f"in fw-wan udp {ends[0].format(CLIENT[family], port)} to "
           f"{ends[1].format(WAN[family])[:-3]}53")
    assert explain(quiet, ask).drops == "default"
    assert explain(quiet, f"{ask} via ipsec reqid 8").drops == "default"
    said = explain(quiet, f"{ask} via ipsec reqid 7")
    assert said.json["verdict"] == "accept" and not said.json["notes"], said
    assert said.json["steps"][-1]["rule"] == "in", said


# Which test explains and sends a packet that is dropped for it.
PRODUCED = {
    "rule": test_random_packets, "default": test_random_packets, "reject": test_random_packets,
    "tcp-no-syn": test_random_packets, "icmp-unrelated": test_random_packets,
    "reject-limit": test_reject_limit, "reload": test_reload_cuts,
    "vlan-depth": test_options_that_drop, "fragment-option": test_options_that_drop,
    "non-ip-drop": test_options_that_drop, "ip-options-drop": test_options_that_drop,
    "antispoof": test_antispoof, "fragment-orphan": test_fragments,
    "fragment-bad": test_fragments, "no-rules": test_no_rules, "internal": test_internal,
    "table-insert": test_table_insert, "esp-unknown-spi": test_esp,
    "esp-replay": test_esp_replay, "ipsec-clear": test_ipsec_clear,
    # In virtual machines: the size of the table is that of all namespaces. What is full takes
    # an entry if the kernel finds another to evict, so that explain says "may".
    "table-full": test_table_pressure_and_full, "table-pressure": test_table_pressure_and_full,
}


def test_every_reason_is_produced():
    """No reason to drop a packet is left without a test."""
    produced = set(PRODUCED) | {bad.reason for bad in BAD}
    assert produced == {name for name, is_drop in REASONS.items() if is_drop}


# ---- and does nothing ------------------------------------------------------------------------


@all_modes
def test_nothing_is_counted(quiet):
    """Neither packets nor rules nor flows; nothing is logged, no monitor sees a thing."""
    quiet.load(RULES)
    for family in (4, 6):
        agree(quiet, frame(ip(family) / TCP(sport=next(ports), dport=22, flags="S")))

    def picture():
        entries = {" ".join(w for w in line.split() if not w.isdigit())
                   for line in quiet.conntrack()}
        return (quiet.counters().values, quiet.show("rules")), entries

    def log():  # how full the table is depends on all namespaces
        return [line for line in quiet.daemon_log().splitlines()
                if "the connection table" not in line]
    rng = random.Random(7)
    for _ in range(5):  # hosts speak up now and then; what explain did would show each time
        wait_for_silence(quiet)
        (before, entries), logged = picture(), log()
        for _ in range(40):
            data, iface = random_frame(rng, rng.choice([4, 6]))
            explain_frame(quiet, data, iface)
        explain(quiet, "in fw-wan sctp 192.0.2.2 to 198.51.100.2")
        assert log() == logged
        after, more = picture()
        if after == before and more <= entries:  # some may end meanwhile
            return
    assert after == before and more <= entries


# ---- what is said -----------------------------------------------------------------------------


def test_rule_set_and_line(quiet):
    """The rule, where it stands, the set that it names; for people, too."""
    quiet.load(RULES)
    said = explain(quiet, "in fw-wan tcp 192.0.2.66 to 198.51.100.2:80")
    step = said.json["steps"][-1]
    assert said.drops == "rule" and step["rule"] == "blocked-through"
    assert step["source"] == "drop stateless forward from @blocked label blocked-through"
    assert step["file"].endswith("rules.conf") and step["line"] == 8
    assert [s["name"] for s in step["sets"]] == ["blocked"]
    text = quiet.fwctl("explain", "in fw-wan tcp 192.0.2.66 to 198.51.100.2:80", check=False).out
    assert "rules.conf:8: drop stateless forward from @blocked" in text, text
    assert "set @blocked" in text and "dropped: rule" in text, text


def test_log_reject_and_route(quiet):
    """What else would happen."""
    quiet.load(RULES)
    said = explain(quiet, "in fw-wan sctp 192.0.2.2 to 198.51.100.2")
    assert any(s.get("logged") for s in said.json["steps"]), said
    assert said.json["route"] == {"kind": "forward", "interface": "fw-lan", "error": None}
    said = explain(quiet, "in fw-wan tcp 192.0.2.2 to 198.51.100.2:25")
    assert said.json["verdict"] == "reject" and said.drops == "reject"
    said = explain(quiet, "in fw-wan tcp 192.0.2.2 to 192.0.2.1:22")
    assert said.json["route"]["kind"] == "local"
    said = explain(quiet, "in fw-wan tcp 192.0.2.2 to 198.51.100.2:80 ttl 1")
    assert said.json["route"]["kind"] == "none" and "TTL" in said.json["notes"][0]
    said = explain(quiet, "out fw-wan udp 192.0.2.1 to 192.0.2.2:53")
    assert [s["hook"] for s in said.json["steps"]] == ["egress"]
    assert said.json["steps"][0]["rule"] == "out"


def test_words_are_the_frame(quiet, tmp_path):
    """A description, the bytes of it and a capture file of it are one."""
    quiet.load(RULES)
    words = explain(quiet, "in fw-wan udp 192.0.2.2:41000 to 198.51.100.2:53 vlan 10")
    data = frame(ip(4) / UDP(sport=41000, dport=53), (10,))
    by_hex = explain_frame(quiet, data)
    path = tmp_path / "one.pcap"
    head = struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1)
    other = bytes(60)
    path.write_bytes(head + b"".join(struct.pack("<IIII", 0, 0, len(d), len(d)) + d
                                     for d in (other, data)))
    by_file = explain(quiet, "--pcap", path, "--frame", "2", "in", "fw-wan")
    assert words.json["steps"] == by_hex.json["steps"] == by_file.json["steps"]
    done = quiet.fwctl("explain", "--pcap", path, "--frame", "3", "in", "fw-wan", check=False)
    assert done.exit == 2 and "fewer frames" in done.err


@pytest.mark.parametrize("words, complaint, caret", [
    ("fw-wan tcp 192.0.2.2 to 192.0.2.1:22", "begin with 'in' or 'out'", "fw-wan"),
    ("in fw-wan foo 192.0.2.2 to 192.0.2.1", "what protocol?", "foo"),
    ("in fw-wan tcp 192.0.2.300 to 192.0.2.1:22", "this is no address", "192.0.2.300"),
    ("in fw-wan tcp 192.0.2.2 -", "the shell has taken", "-"),
    ("in fw-wan tcp 192.0.2.2 to 192.0.2.1:22 flags syn,foo", "flags takes", "syn,foo"),
    ("in fw-wan udp 192.0.2.2 to 2001:db8::1", "not of one family", "2001:db8::1"),
])
def test_mistakes(quiet, words, complaint, caret):
    """What is wrong is shown, and what would be right."""
    done = quiet.fwctl("explain", words, check=False)
    assert done.exit == 2 and complaint in done.err, done
    assert done.err.splitlines()[-1].strip() == "^" + "~" * (len(caret) - 1), done


def test_refusals(quiet):
    """An interface that is not there; one that has no programs lets all through."""
    quiet.load(RULES)
    done = quiet.fwctl("explain", "in nowhere udp 192.0.2.2 to 192.0.2.1:53", check=False)
    assert done.exit == 1 and "no interface is called 'nowhere'" in done.err
    said = explain(quiet, "in lo udp 127.0.0.1 to 127.0.0.1:53")
    assert not said.json["steps"] and "no program of fwctl" in said.json["notes"][-1]


def test_after_growth(quiet):
    """Rules that outgrow their programs are explained by others."""
    quiet.load(RULES)
    assert explain(quiet, "in fw-wan udp 192.0.2.2 to 198.51.100.2:53").drops is None
    many = "".join(f"drop forward proto udp to 203.0.{i >> 8}.{i & 255} port {1 + i % 999}\n"
                   for i in range(6000))
    quiet.load(DENY + many + "accept forward proto udp to port 53\n")
    agree(quiet, frame(ip(4) / UDP(sport=next(ports), dport=53)))
    assert explain(quiet, "in fw-wan udp 192.0.2.2 to 203.0.113.9:53").json["verdict"] == "accept"
