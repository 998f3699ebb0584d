# SPDX-License-Identifier: GPL-2.0-only
"""reject, stateless rules, sets, logging: what a verdict does beyond pass and drop."""

import pytest

from lab.lab import CLIENT, SERVER, WAN
from lab.netns import patience, wait_for
from lab.packets import UDP, frame, ip, stream
from lab.traffic import TcpEcho, UdpEcho, cut, tcp_connect, tcp_talk, tcp_try, udp_try

both = pytest.mark.parametrize("family", [4, 6])
DENY = "default in drop\ndefault out drop\ndefault forward drop\n"
ACCEPT = "default in accept\ndefault out accept\ndefault forward accept\n"


@both
@pytest.mark.parametrize("target", ["self", "forward"])
def test_reject(lab, family, target):
    """TCP gets a reset, UDP port unreachable; at once, and counted."""
    direction, to = ("in on wan", WAN) if target == "self" else ("forward on wan", SERVER)
    lab.load(ACCEPT + f"reject {direction} proto {{ tcp, udp }} to port 7 label no\n")
    before, rule = lab.counters(), lab.rule("no")["packets"]
    assert tcp_try(lab.client, to[family], 7) == "refused"
    assert udp_try(lab.client, to[family], 7) == "refused"
    gained = lab.gain(before, lambda c: c.get("reject") >= 2)
    assert gained.drops() == {"reject": 2}, gained
    assert gained.get("own-reply") >= 1, gained
    assert lab.rule("no")["packets"] - rule == 2


@both
def test_reject_leaving(lab, family):
    """A rule that needs the leaving interface rejects at egress."""
    lab.load(ACCEPT + "reject forward wan -> lan proto { tcp, udp } to port 7\n")
    before = lab.counters()
    assert tcp_try(lab.client, SERVER[family], 7) == "refused"
    assert udp_try(lab.client, SERVER[family], 7) == "refused"
    gained = lab.counters() - before
    assert gained.get("reject", "egress", "fw-lan") == 2, gained


@both
def test_reject_outgoing(lab, family):
    """A local program learns at once that it may not."""
    lab.load(ACCEPT + "reject out proto { tcp, udp } to port 7\n")
    assert tcp_try(lab.firewall, CLIENT[family], 7) in ("refused", "unreachable")
    assert udp_try(lab.firewall, CLIENT[family], 7) in ("refused", "unreachable")


@both
def test_reject_is_limited(lab, family):
    """A flood is dropped silently beyond the limit."""
    lab.load(ACCEPT + "reject in on wan proto udp to port 7\n")
    before = lab.counters()
    lab.client.send_raw("eth0", stream(2000, family, 7, WAN[family]))
    gained = lab.gain(before, lambda c: c.get("reject") + c.get("reject-limit") == 2000)
    assert gained.get("reject-limit") > 0 and gained.get("reject") > 0, gained


@both
def test_no_reject_of_resets(lab, family):
    """A reset or an ICMP error is never answered by another one."""
    from lab.packets import TCP, icmp_error
    lab.load(ACCEPT + "reject stateless in on wan to self\n")
    with lab.client.sniffer("eth0") as sniffer:
        before = lab.counters()
        error = icmp_error(family, ip(family) / UDP(sport=1, dport=2), dst=WAN[family])
        lab.client.send_raw("eth0", [
            frame(ip(family, dst=WAN[family]) / TCP(sport=5, dport=7, flags="R")),
            frame(error)])
        lab.gain(before, lambda c: sum(c.drops().values()) == 2)
        answer = (lambda f: f[23] in (1, 6) and f[12:14] == b"\x08\0") if family == 4 else (
            lambda f: f[20] == 6 or f[54] in (1, 3))
        assert not sniffer.count(answer)


@both
def test_stateless_drop_cuts_running_flow(lab, family):
    """`drop stateless` is judged before the state is asked."""
    accept = "accept forward wan -> lan proto tcp to port 7 label echo\n"
    lab.load(DENY + accept)
    with TcpEcho(lab.server, SERVER[family], 7), tcp_connect(lab.client, SERVER[family], 7) as s:
        assert tcp_talk(s)
        lab.load(DENY + f"drop stateless in from {CLIENT[family]} label other\n"
                 f"drop stateless forward from {CLIENT[family]} label cut\n" + accept)
        before = lab.counters()
        s.settimeout(patience(0.3))
        assert not tcp_talk(s)
        cut(s)
        gained = lab.gain(before, lambda c: c.get("rule", lab.hook, "fw-wan") >= 1)
        assert gained.get("established", iface="fw-wan") == 0, gained
        assert lab.rule("cut")["packets"] >= 1


@both
def test_stateless_accept_makes_no_state(lab, family):
    """Both directions need a rule, and no entry appears."""
    lab.load(DENY + "accept stateless forward proto udp to port 7\n"
             "accept stateless forward proto udp from port 7\n")
    before = lab.counters()
    with UdpEcho(lab.server, SERVER[family], 7):
        assert udp_try(lab.client, SERVER[family], 7) == "ok"
    gained = lab.counters() - before
    assert gained.get("stateless", lab.hook) == 2, gained
    assert gained.get("new") == 0, gained
    assert not [line for line in lab.conntrack() if "dport=7 " in line]


@both
def test_blocklist(lab, family):
    """A set from a file, with comments, negated elsewhere."""
    lab.write("blocklist.txt", "# bad people\n203.0.113.0/24\n192.0.2.64-192.0.2.79 # us\n"
              "2001:db8:1::40/124\n\n2001:db8:bad::/48\n")
    lab.load('set blocklist { file "blocklist.txt" }\n' + ACCEPT
             + "drop stateless in on wan from @blocklist label known-bad\n"
             "drop stateless forward on wan from @blocklist label known-bad-through\n")
    inside = {4: "192.0.2.65", 6: "2001:db8:1::4f"}[family]
    outside = {4: "192.0.2.80", 6: "2001:db8:1::50"}[family]
    before = lab.counters()
    lab.client.send_raw("eth0", [
        frame(ip(family, src=source) / UDP(sport=9, dport=53)) for source in (inside, outside)])
    gained = lab.gain(before, lambda c: c.get("rule", lab.hook) >= 1)
    assert gained.drops() == {"rule": 1}, gained
    assert lab.rule("known-bad-through")["packets"] >= 1


@both
def test_negated_address(lab, family):
    """`from !NET`."""
    own = {4: "192.0.2.0/24", 6: "2001:db8:1::/64"}[family]
    lab.load(ACCEPT + f"drop forward on wan from !{own} label stranger\n")
    stranger = {4: "203.0.113.7", 6: "2001:db8:77::7"}[family]
    before = lab.counters()
    lab.client.send_raw("eth0", [frame(ip(family, src=stranger) / UDP(sport=9, dport=53)),
                                 frame(ip(family) / UDP(sport=9, dport=53))])
    gained = lab.gain(before, lambda c: c.drops())
    assert gained.drops() == {"rule": 1}, gained


@pytest.mark.modes("xdp")
def test_log(lab):
    """`log` says what was dropped, with its prefix."""
    lab.load(ACCEPT + 'drop in on wan proto udp to port 7 log "unwanted: " label no\n')
    assert udp_try(lab.client, WAN[4], 7, timeout=0.1) == "timeout"
    wait_for(lambda: "unwanted: " in lab.daemon_log(), 3, "the log line")
    line = next(x for x in lab.daemon_log().splitlines() if "unwanted: " in x)
    assert CLIENT[4] in line and WAN[4] in line, line


@pytest.mark.modes("xdp")
def test_non_ip(lab):
    """Frames that are not IP pass, unless `option non-ip drop`."""
    other = bytes.fromhex("020000000101" "020000000102" "88b5") + bytes(50)
    for option, reason in (("", "non-ip"), ("option non-ip drop\n", "non-ip-drop")):
        lab.load(option + ACCEPT)
        before = lab.counters()
        lab.client.send_raw("eth0", [other])
        lab.gain(before, lambda c, r=reason: c.get(r, lab.hook, "fw-wan") == 1)
