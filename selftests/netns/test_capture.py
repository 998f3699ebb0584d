# SPDX-License-Identifier: GPL-2.0-only
"""fwctl capture: packets that are dropped or logged, in a pcapng file."""

import fcntl
import os
import signal
import struct
import subprocess
import time

import pytest

from lab.bpf import read_mapped
from lab.capture import Capture, packets_so_far, read_frames, read_statistics
from lab.lab import CLIENT, SERVER, WAN
from lab.monitor import Monitor
from lab.netns import patience, wait_for
from lab.packets import TCP, UDP, Raw, bad_udp_length, frame, from_server, ip, martian, stream
from lab.traffic import udp_try

both = pytest.mark.parametrize("family", [4, 6])
every_mode = pytest.mark.modes("xdp", "xdp-generic", "tc")
DENY = "default in drop\ndefault out accept\ndefault forward drop\n"  # lines 3 to 5
RULES = DENY + """\
drop in on wan proto udp to port 9 label nine
reject in on wan proto udp to port 10 label ten
drop in on wan proto udp to port 11 log "eleven:" label eleven
accept in on wan proto udp to port 12 log label twelve
drop out on wan proto udp to port 13 label out
drop forward lan -> wan proto udp to port 14 label back
"""


def to_us(family, port, tags=(), size=0, **fields):
    """A datagram for the firewall."""
    return frame(ip(family, dst=WAN[family], **fields) /
                 UDP(sport=1000 + port, dport=port) / Raw(bytes(range(256)) * (size // 256)), tags)


def drop(lab, frames):
    """Send frames of the client, and wait until each is dropped."""
    before = lab.counters()
    lab.client.send_raw("eth0", frames)
    lab.gain(before, lambda c: sum(c.drops().values()) >= len(frames))


@every_mode
@both
def test_drops(lab, family):
    """Each with its very bytes, interface, direction, hook, reason, rule and its place."""
    lab.load(RULES)
    file = lab.dir / "rules.conf"
    reject_hook = "ingress"
    sent = {
        f"drop-rule {lab.hook} in {file}:6 label nine": to_us(family, 9, size=512),
        f"drop-reject {reject_hook} in {file}:7 label ten": to_us(family, 10),
        f"drop-rule {lab.hook} in {file}:8 label eleven": to_us(family, 11),
        f"drop-default {lab.hook} label default-in": to_us(family, 99),
        f"drop-martian {lab.hook}": frame(martian(family)),
        f"drop-tcp-null {lab.hook}": frame(ip(family) / TCP(sport=1, dport=1, flags="")),
        f"drop-bad-l4 {lab.hook}": frame(bad_udp_length(family)),
    }
    begin = time.time()
    with Capture(lab) as capture:
        drop(lab, list(sent.values()))
        lab.client.send_raw("eth0", [to_us(family, 12)])
        frames = capture.frames()
    assert {f.comment: f.data for f in frames} == sent
    for found in frames:
        assert (found.interface, found.direction, found.link) == ("fw-wan", "in", "ethernet"), found
        assert found.length == len(found.data), found
        assert begin - 1 < found.time_ns / 1e9 < time.time() + 1, found
    assert [f.time_ns for f in frames] == sorted(f.time_ns for f in frames)
    assert read_statistics(capture.path) == {"fw-wan": (len(sent), 0)}
    assert capture.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.needs("tshark")
@both
def test_tshark(lab, family):
    """It reads what it is fed while it comes, and filters by what a capture says."""
    lab.load(RULES)
    with Capture(lab, path="-", text=False) as capture:
        drop(lab, [to_us(family, 9), to_us(family, 99), frame(martian(family))])
        capture.process.send_signal(signal.SIGINT)
        data, _ = capture.process.communicate(timeout=patience(10))
    shown = subprocess.run(
        ["tshark", "-n", "-r", "-", "-Y", 'frame.comment contains "martian"', "-T", "fields",
         "-e", "frame.interface_name", "-e", "frame.comment"],
        input=data, capture_output=True, check=True, timeout=patience(30)).stdout.decode()
    assert shown == f"fw-wan\tdrop-martian {lab.hook}\n"


@every_mode
@both
@pytest.mark.parametrize("tags", [(10,), (20, 10)], ids=["802.1Q", "802.1ad+802.1Q"])
def test_tags(lab, family, tags):
    """Tags are where they were on the wire, also where the kernel keeps one beside."""
    lab.load(RULES)
    sent = [to_us(family, 9, tags), to_us(family, 99, tags)]
    with Capture(lab) as capture:
        drop(lab, sent)
        frames = capture.frames()
    assert [f.data for f in frames] == sent
    assert [f.length for f in frames] == [len(s) for s in sent]


@both
def test_out(lab, family):
    """What leaves: from this host, and from elsewhere."""
    lab.load(RULES)
    with Capture(lab) as capture:
        assert udp_try(lab.firewall, CLIENT[family], 13, timeout=0.1) != "ok"
        lab.server.send_raw("eth0", [from_server(ip(family, SERVER[family], CLIENT[family]) /
                                                 UDP(sport=1, dport=14) / Raw(b"back"))])
        with Monitor(lab, "drops") as monitor:
            lab.server.send_raw("eth0", [from_server(ip(family, SERVER[family], CLIENT[family]) /
                                                     UDP(sport=1, dport=14) / Raw(b"again"))])
            monitor.wait(rule="back")
        frames = capture.frames()
    file = lab.dir / "rules.conf"
    assert {f.comment for f in frames} == {f"drop-rule egress in {file}:10 label out",
                                           f"drop-rule egress in {file}:11 label back"}
    assert {(f.interface, f.direction) for f in frames} == {("fw-wan", "out")}
    assert frames[-2].data.endswith(b"back") and frames[-1].data.endswith(b"again")


@both
def test_matches(lab, family):
    """What rules with `log` decide, both ways."""
    lab.load(RULES)
    file = lab.dir / "rules.conf"
    sent = [to_us(family, port) for port in (9, 11, 12, 99)]
    many = {kind: Capture(lab, *kind.split())
            for kind in ("drops", "matches", "all", "port 12 all")}
    try:
        lab.client.send_raw("eth0", sent)
        wait_for(lambda: lab.rule("twelve")["packets"] and lab.rule("default-in")["packets"], 5)
        eleven = f"drop-rule {lab.hook} in {file}:8 label eleven"
        twelve = f"accept-new ingress in {file}:9 label twelve"
        others = [f"drop-rule {lab.hook} in {file}:6 label nine",
                  f"drop-default {lab.hook} label default-in"]
        expected = {"drops": [eleven, *others], "matches": [eleven, twelve],
                    "all": [eleven, twelve, *others], "port 12 all": [twelve]}
        for kind, capture in many.items():
            frames = capture.frames()
            assert sorted(f.comment for f in frames) == sorted(expected[kind]), kind
            for found in frames:
                assert found.data in sent and found.direction == "in"
    finally:
        for capture in many.values():
            capture.close()


@every_mode
@both
def test_large(own_lab, family):
    """Frames of several pages, and only as much of them as is wanted."""
    lab = own_lab
    for namespace, iface in ((lab.client, "eth0"), (lab.firewall, "fw-wan")):
        namespace.run("ip", "link", "set", iface, "mtu", "9000")
    lab.load(RULES)
    sent = [to_us(family, 9, size=size) for size in (0, 256, 1536, 2048, 8192)]
    with Capture(lab) as whole, Capture(lab, "--snaplen", "60", "--count", "3") as part:
        drop(lab, sent)
        frames = part.frames(None)
        assert [f.data for f in frames] == [s[:60] for s in sent[:3]]
        assert [f.length for f in frames] == [len(s) for s in sent[:3]]
        assert [f.data for f in whole.frames()] == sent


@both
def test_filters(lab, family):
    """Each sees what it has asked for, and no more; reasons as a capture calls them, too."""
    lab.load(RULES)
    expected = {
        ("port", "9"): ["nine"], ("interface", "fw-lan"): [], ("zone", "wan", "rule", "nine"):
        ["nine"], ("--reason", "default,tcp-null"): ["default-in", "null"],
        ("reason", "default", "drops"): ["default-in"],
        ("--reason", "drop-tcp-null", "from", CLIENT[family]): ["null"],
        ("from", SERVER[family]): []}
    many = {words: Capture(lab, *words) for words in expected}
    try:
        drop(lab, [to_us(family, 9), to_us(family, 99),
                   frame(ip(family) / TCP(sport=1, dport=1, flags=""))])
        found = {words: sorted(f.comment.split()[-1] if "label" in f.comment else "null"
                               for f in capture.frames()) for words, capture in many.items()}
        assert found == expected
    finally:
        for capture in many.values():
            capture.close()


@pytest.mark.needs("tun")
@pytest.mark.modes("tc")
def test_without_ethernet(own_lab):
    """A device without Ethernet headers gets an interface of its own link type."""
    lab = own_lab
    lab.firewall.run("ip", "tuntap", "add", "tun9", "mode", "tun")
    lab.firewall.run("ip", "address", "add", "10.9.0.1/24", "dev", "tun9")
    lab.firewall.run("ip", "link", "set", "tun9", "up")
    lab.firewall.run("ip", "link", "set", "tun9", "multicast", "off")
    with lab.firewall.inside():
        tun = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(tun, 0x400454ca, struct.pack("16sH22x", b"tun9", 0x1001))  # TUN, NO_PI
    try:
        lab.load(DENY + "interface tun = tun9 { mode tc }\ndrop in on tun proto udp to port 9\n"
                 "drop out on tun proto udp to port 13 label out\n")
        inward = bytes(ip(4, "10.9.0.2", "10.9.0.1") / UDP(sport=1, dport=9) / Raw(b"inward"))
        with Capture(lab) as capture:
            drop_before = lab.counters()
            os.write(tun, inward)
            assert udp_try(lab.firewall, "10.9.0.2", 13, timeout=0.1) != "ok"
            drop(lab, [to_us(4, 9)])
            lab.gain(drop_before, lambda c: sum(c.drops().values()) >= 3)
            frames = capture.frames()
    finally:
        os.close(tun)
    assert [(f.interface, f.link, f.direction) for f in frames if f.interface == "tun9"] == [
        ("tun9", "raw", "in"), ("tun9", "raw", "out")]
    assert frames[0].data == inward
    assert [f.link for f in frames if f.interface == "fw-wan"] == ["ethernet"]


@pytest.mark.modes("tc")
def test_slow_reader(own_lab):
    """Who does not read loses packets; they are counted, and the others lose none."""
    lab, count = own_lab, 3000
    lab.load(RULES)
    packets = [to_us(4, 9, size=1024)] * 100
    with Capture(lab) as good, Capture(lab, path="-", text=False) as slow:
        for sent in range(100, count + 1, 100):
            before = lab.counters()
            lab.client.send_raw("eth0", packets)
            lab.gain(before, lambda c: c.get("rule") == 100)
            wait_for(lambda n=sent: packets_so_far(good.path) >= n, 5, "a fast reader")
        assert len(good.frames()) == count
        slow.process.send_signal(signal.SIGINT)
        data, complaints = slow.process.communicate(timeout=patience(10))
        assert slow.process.returncode == 0, complaints
    path = lab.dir / "slow.pcapng"
    path.write_bytes(data)
    (delivered, lost), = read_statistics(path).values()
    assert len(read_frames(path)) == delivered
    assert delivered + lost == count and lost > 100, (delivered, lost)
    assert f"fwctl: {delivered} packets captured, {lost} lost" in complaints.decode()


@pytest.mark.modes("xdp")
@both
def test_flood(own_lab, family):
    """Captured and lost add up to the flood; all of it is of that interface."""
    lab, count = own_lab, 30000
    lab.load(RULES)
    with Capture(lab) as capture:
        before = lab.counters()
        lab.client.send_raw("eth0", stream(count, family, 9, WAN[family]))
        lab.gain(before, lambda c: c.get("rule") == count, deadline=20)
        time.sleep(patience(0.5))  # until fwctld has read it all, and counted
        status, complaints = capture.end()
    assert status == 0, complaints
    (delivered, lost), = read_statistics(capture.path).values()
    assert delivered + lost == count and delivered, (delivered, lost)


def watched(lab):
    """What the programs are told to report: FW_WATCH_*, behind five bytes of `host`."""
    return read_mapped(lab.pin_dir / "v1/maps/host", 6)[5]


@pytest.mark.modes("tc")
def test_nothing_without_captures(own_lab):
    """Programs are asked for what somebody wants, and no longer; nor is the ring open."""
    lab = own_lab
    lab.load(RULES)
    fds = lab.daemon_fds()
    assert watched(lab) == 0
    with Capture(lab, "matches") as matches:
        assert watched(lab) == 4
        with Capture(lab), Monitor(lab, "drops"):
            assert watched(lab) == 7
        wait_for(lambda: watched(lab) == 4, 5)
        matches.end()
    wait_for(lambda: watched(lab) == 0, 5)
    wait_for(lambda: lab.daemon_fds() == fds, 3)
    with Capture(lab):
        subprocess.run(["kill", "-KILL", str(lab.daemon_pid())], check=True)
        assert watched(lab) == 2
        assert lab.status()["daemon"]["captures"] == 0
        assert watched(lab) == 0


@both
def test_leftovers(own_lab, family):
    """A capture begins with itself, also if fwctld has died in another one."""
    lab = own_lab
    lab.load(RULES)
    with Capture(lab) as capture:
        drop(lab, [to_us(family, 9)])
        pid = lab.daemon_pid()
        os.kill(pid, signal.SIGSTOP)
        lab.client.send_raw("eth0", [to_us(family, 9)] * 5)
        time.sleep(0.2)
        os.kill(pid, signal.SIGKILL)
        status, complaints = capture.end(None)
        assert status == 3 and "fwctl: fwctld has ended\n" in complaints
        assert len(read_frames(capture.path)) == 1
    lab.client.send_raw("eth0", [to_us(family, 9)] * 3)
    time.sleep(0.2)
    with Capture(lab) as capture:
        drop(lab, [to_us(family, 99)])
        assert [f.comment for f in capture.frames()] == [
            f"drop-default {lab.hook} label default-in"]


@pytest.mark.modes("xdp")
@both
def test_stateless_set(lab, family):
    """Captured also where XDP drops by the address alone."""
    bad = {4: "203.0.113.7", 6: "2001:db8:77::7"}[family]
    lab.load(DENY + f"set bad {{ {bad} }}\ndrop stateless in from @bad label bad\n")
    sent = to_us(family, 5, src=bad)
    with Capture(lab) as capture:
        drop(lab, [sent])
        found, = capture.frames()
    assert found.data == sent and found.comment.endswith(":7 label bad")


def test_how_it_ends(own_lab):
    """Each way leaves a file that can be read."""
    lab = own_lab
    lab.load(RULES)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        with Capture(lab) as capture:
            drop(lab, [to_us(4, 9)])
            assert len(capture.frames(number)) == 1
    with Capture(lab) as capture:
        assert capture.frames() == []
    done = lab.fwctl("capture", "/dev/full", check=False)
    assert (done.exit, done.err) == (
        1, "fwctl: cannot write to '/dev/full': No space left on device\n")
    with Capture(lab, path="-") as capture:
        capture.process.stdout.close()
        capture.process.stdout = None
        assert capture.end(None)[0] == 0
    wait_for(lambda: lab.status()["daemon"]["captures"] == 0, 5)
    with Capture(lab) as capture:
        drop(lab, [to_us(4, 9)])
        lab.unload()
        status, complaints = capture.end(None)
        assert status == 3 and "the rules have been unloaded" in complaints
        assert len(read_frames(capture.path)) == 1
    done = lab.fwctl("capture", lab.dir / "none", check=False)
    assert (done.exit, done.err) == (3, "fwctl: nothing is loaded\n")
    assert not (lab.dir / "none").exists()


@pytest.mark.modes("tc")
def test_reload(own_lab):
    """It goes on with new rules, also with larger programs, and shows where these stand."""
    lab = own_lab
    lab.load(RULES)
    many = "".join(f"drop in proto tcp to port {n} label r{n}\n" for n in range(1, 9000))
    with Capture(lab) as capture:
        drop(lab, [to_us(4, 9)])
        lab.load(RULES.replace("drop in on wan proto udp to port 9", many +
                               "drop in on wan proto udp to port 9", 1))
        drop(lab, [to_us(4, 9)])
        assert [f.comment.split(":")[1].split()[0] for f in capture.frames()] == ["6", "9005"]


@pytest.mark.modes("tc")
def test_what_is_wrong(lab):
    """Wrong words are refused with what would be right, and no file is made."""
    lab.load(RULES)
    path = lab.dir / "wrong.pcapng"
    for words, status, text in (
            ([], 2, "needs a FILE"),
            ([path, "--reason", "marsian"], 2, "did you mean 'martian'"),
            ([path, "--reason", "rule,xyzzyplugh"], 2, "no reason is called 'xyzzyplugh'"),
            ([path, "dorps"], 2, "'dorps' says nothing about a flow"),
            ([path, "drops", "matches"], 2, "'matches' says nothing about a flow"),
            ([path, "state", "established"], 2, "only flows have a state"),
            ([path, "--count", "0"], 2, "--count takes a number"),
            ([path, "--snaplen", "20000"], 2, "--snaplen takes 1 to 16384"),
            ([path, "rule", "nobody"], 1, "see fwctl show rules"),
            (["/nowhere/there", "drops"], 1, "cannot write to '/nowhere/there'")):
        done = lab.fwctl("capture", *words, check=False)
        assert done.exit == status and text in done.err, (words, done)
        assert not path.exists()
    done = lab.fwctl("monitor", "--count", "1", check=False)
    assert done.exit == 2 and "does not take --count" in done.err
    with_terminal = subprocess.run(
        ["script", "-qec", " ".join(map(str, lab.firewall.argv(
            lab.binary("fwctl"), "capture", "-"))), "/dev/null"], env=lab.environment(),
        capture_output=True, text=True, check=False, timeout=patience(10))
    assert with_terminal.returncode == 1 and "is a terminal" in with_terminal.stdout
    many = [Capture(lab, path=lab.dir / f"{n}.pcapng") for n in range(16)]
    try:
        done = lab.fwctl("capture", path, check=False)
        assert done.exit == 1 and "16 captures" in done.err, done
    finally:
        for capture in many:
            capture.close()


@both
def test_beside_a_monitor(lab, family):
    """Beside a monitor each gets what it wants, whoever ends first."""
    lab.load(RULES)
    with Monitor(lab, "drops") as monitor:
        with Capture(lab, "matches") as capture:
            drop(lab, [to_us(family, 9), to_us(family, 11)])
            assert len(capture.frames()) == 1
        drop(lab, [to_us(family, 99)])
        monitor.wait(rule="default-in")
        assert len(monitor.of(event="drop")) == 3
