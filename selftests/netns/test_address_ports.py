# SPDX-License-Identifier: GPL-2.0-only
"""Sets of addresses with ports: what they pass and drop, and that a rule stays one rule."""

import os
import signal

import pytest

from lab.lab import CLIENT, SERVER, WAN
from lab.netns import wait_for
from lab.packets import UDP, frame, ip
from lab.traffic import TcpEcho, tcp_try

both = pytest.mark.parametrize("family", [4, 6])
DENY = "default in drop\ndefault out drop\ndefault forward drop\n"
ACCEPT = "default in accept\ndefault out accept\ndefault forward accept\n"
SERVICES = (f"set services {{ {SERVER[4]} port 7, {SERVER[6]} port {{ 7, 9 }}\n"
            f"203.0.113.0/24 port 1-65535, self port 5 }}\n")


def datagram(family, dport, **addresses):
    """A datagram from the client to the server."""
    return frame(ip(family, **addresses) / UDP(sport=4000, dport=dport))


@both
def test_flow(lab, family):
    """A flow to an entry passes; the address with another port does not."""
    lab.load(SERVICES + DENY + "accept forward proto tcp to @services label service\n")
    flows = lab.rule("service")["flows"]
    with TcpEcho(lab.server, SERVER[family], 7), TcpEcho(lab.server, SERVER[family], 8):
        assert tcp_try(lab.client, SERVER[family], 7) == "ok"
        assert tcp_try(lab.client, SERVER[family], 8, timeout=0.2) == "timeout"
    assert lab.rule("service")["flows"] == flows + 1
    assert [f["rule"] for f in lab.flows() if f["direction"] == "forward"] == ["service"]


def test_negated(lab):
    """What is in no entry: other addresses, and other ports of the same ones."""
    lab.load(SERVICES + ACCEPT + "drop forward on wan proto udp to !@services label other\n"
             "drop in on wan proto udp to !@services label own\n")
    before, packets = lab.counters(), [lab.rule(x)["packets"] for x in ("other", "own")]
    lab.client.send_raw("eth0", [
        datagram(4, 7), datagram(6, 9), datagram(6, 7),              # in it
        datagram(4, 9), datagram(6, 8), datagram(4, 7, src=CLIENT[4], dst="198.51.100.77"),
        datagram(4, 5, dst=WAN[4]), datagram(6, 5, dst=WAN[6]),      # `self`
        datagram(4, 7, dst=WAN[4]), datagram(6, 9, dst=WAN[6])])
    gained = lab.gain(before, lambda c: c.get("rule") >= 5)
    assert gained.drops() == {"rule": 5}, gained
    assert lab.rule("other")["packets"] == packets[0] + 3
    assert lab.rule("own")["packets"] == packets[1] + 2


def test_source(lab):
    """`from @set` looks at the source."""
    lab.load(f"set senders {{ {CLIENT[4]} port 4000, {CLIENT[6]} port 1 }}\n" + ACCEPT
             + "drop forward on wan proto udp from @senders label sender\n")
    before, packets = lab.counters(), lab.rule("sender")["packets"]
    lab.client.send_raw("eth0", [datagram(4, 9), datagram(6, 9)])
    lab.gain(before, lambda c: c.get("rule") == 1)
    assert lab.rule("sender")["packets"] == packets + 1


@pytest.mark.modes("xdp")
def test_one_rule(lab):
    """Several rows are one line, one counter, one name in logs; also after a restart."""
    rules = (SERVICES + ACCEPT
             + 'drop forward on wan proto udp to @services label hit log "seen:"\n'
             + "drop forward on wan proto udp to port 99\n")
    shown = lab.fwctl("check", "--json", lab.rules(rules)).json
    assert (shown["rules"], shown["sets"]) == (2, 1), shown
    lab.load(rules)
    before = lab.counters()
    packets = [datagram(4, 7), datagram(6, 7), datagram(6, 9), datagram(4, 7, dst="203.0.113.9")]
    lab.client.send_raw("eth0", packets)
    lab.gain(before, lambda c: c.get("rule") == len(packets))

    def check(packets):
        lines = lab.show("rules")["rules"]
        assert [x["packets"] for x in lines if not x["default"]] == [packets, 0], lines
        assert lab.status()["rules"]["rules"] == 2
        [line] = lab.show("sets")["sets"]
        assert (line["ipv4"], line["ipv6"], line["ports"]) == (2, 1, 5), line

    check(len(packets))
    wait_for(lambda: lab.daemon_log().count("seen: drop") == len(packets), 3, "the log")
    assert lab.daemon_log().count("rule hit") == len(packets)
    os.kill(lab.daemon_pid(), signal.SIGKILL)
    wait_for(lambda: lab.daemon_pid() is None, 3, "its end")
    lab.client.send_raw("eth0", packets)
    wait_for(lambda: lab.rule("hit")["packets"] == 2 * len(packets), 5, "both counts")
    check(2 * len(packets))


def test_reload(lab):
    """The counter of a rule goes on when its set has other groups; a denied flow is cut."""
    rule = DENY + "accept forward proto tcp to @services label service\n"
    lab.load(f"set services {{ {SERVER[4]} port 7 }}\n" + rule)
    flows = lab.rule("service")["flows"]
    with TcpEcho(lab.server, SERVER[4], 7):
        assert tcp_try(lab.client, SERVER[4], 7) == "ok"
        lab.load(SERVICES + rule)
        assert tcp_try(lab.client, SERVER[4], 7) == "ok"
        assert lab.rule("service")["flows"] == flows + 2
        lab.load(f"set services {{ {SERVER[4]} port 9, {SERVER[6]} port 7 }}\n" + rule)
        assert tcp_try(lab.client, SERVER[4], 7, timeout=0.2) == "timeout"
