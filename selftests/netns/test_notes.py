# SPDX-License-Identifier: GPL-2.0-only
"""What our hooks write on a packet for those behind them: read once, and not from elsewhere.

tc_index comes along from another namespace, whose owner writes there what he likes.
"""

import os
import struct

import pytest

from lab import bpf
from lab.lab import SERVER, WAN
from lab.packets import UDP, frame, ip

VALUES = 1 << 16  # of tc_index
HEADERS = {4: 14 + 20 + 8, 6: 14 + 40 + 8}
LEAVING = "default forward accept\ndrop forward wan -> lan proto udp to port 9 label no\n"

pytestmark = pytest.mark.needs("tcx")
both = pytest.mark.parametrize("family", [4, 6])
modes = pytest.mark.modes("xdp", "tc")


def every_value(family):
    """A packet for each value of tc_index: the client's hook takes it from the payload."""
    head = frame(ip(family) / UDP(sport=40000, dport=9) / bytes(2))[:HEADERS[family]]
    return [head + struct.pack("!H", value) for value in range(VALUES)]


@pytest.fixture
def noted(lab, family):
    """The client writes tc_index on all that it sends."""
    with lab.client.inside():
        program = bpf.indexing(HEADERS[family])
        link = bpf.attach_tcx(program, "eth0", bpf.TCX_EGRESS)
    yield lab
    os.close(link)
    os.close(program)


@modes
@both
def test_foreign_notes(noted, family):
    """No value of tc_index lets a packet pass, neither as an answer of ours nor as judged."""
    noted.load(LEAVING)
    before = noted.counters()
    noted.client.send_raw("eth0", every_value(family))
    gained = noted.gain(before, lambda c: c.get("rule", "egress", "fw-lan") >= VALUES)
    assert gained.drops() == {"rule": VALUES}, gained
    assert not gained.get("own-reply") and not gained.get("established"), gained


@pytest.mark.modes("xdp", "xdp-generic", "tc")
@both
def test_judged_once(lab, family):
    """What XDP has judged TC does not judge again: a rule without state counts it once."""
    lab.load("default in drop\ndefault out accept\ndefault forward drop\n"
             "accept stateless in proto udp to port 9 label here\n"
             "accept stateless forward proto udp to port 9 label through\n")
    for label, to in (("here", WAN[family]), ("through", SERVER[family])):
        packet = frame(ip(family, dst=to) / UDP(sport=40000, dport=9) / bytes(20))
        before, packets = lab.counters(), lab.rule(label)["packets"]
        lab.client.send_raw("eth0", [packet] * 5)
        lab.gain(before, lambda c: sum(c.get(reason, "ingress", "fw-wan")
                                       for reason in ("stateless", "judged-by-xdp")) >= 5)
        assert lab.rule(label)["packets"] - packets == 5, lab.counters() - before
