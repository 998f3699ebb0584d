# SPDX-License-Identifier: GPL-2.0-only
"""A full connection table refuses new flows, says so, and harms no running one."""

import pathlib

import pytest

from lab.lab import SERVER
from lab.packets import stream
from lab.traffic import TcpEcho, UdpEcho, cut, tcp_connect, tcp_talk, tcp_try, udp_try

pytestmark = pytest.mark.needs("vm")
families = pytest.mark.parametrize("family", [4, 6])
# Global: no other namespace can make connections either while it is low.
LIMIT = pathlib.Path("/proc/sys/net/netfilter/nf_conntrack_max")
RULES = ("default in drop\ndefault out drop\ndefault forward drop\n"
         "accept forward wan -> lan proto { tcp, udp } to port { 7, 9 } label echo\n")
ROOM = 64


@pytest.fixture
def limit():
    """Sets the size of the table; puts it back."""
    before = LIMIT.read_text(encoding="ascii")
    yield lambda n: LIMIT.write_text(str(n), encoding="ascii")
    LIMIT.write_text(before, encoding="ascii")


@families
def test_table_full(lab, limit, family):
    """New flows die for `table-full`; old ones go on; room makes everything well again."""
    lab.load(RULES)
    target = SERVER[family]
    with TcpEcho(lab.server, target, 7), UdpEcho(lab.server, target, 7), \
            tcp_connect(lab.client, target, 7) as s:
        assert tcp_talk(s)
        assert udp_try(lab.client, target, 7, source=("", 4007)) == "ok"
        usual = int(LIMIT.read_text(encoding="ascii"))
        limit(ROOM)
        before = lab.counters()
        lab.client.send_raw("eth0", stream(4 * ROOM, family, 9, target))
        gained = lab.gain(before, lambda c: c.get("new", "ingress") + c.get("new", "egress")
                          + c.get("table-full") >= 4 * ROOM)
        assert set(gained.drops()) == {"table-full"}, gained
        # Some of the oldest may have been evicted for new ones, never all.
        assert gained.drops()["table-full"] > ROOM, gained
        assert len(lab.conntrack()) <= ROOM + 1

        before = lab.counters()
        assert tcp_try(lab.client, target, 7, timeout=0.3) == "timeout"
        gained = lab.gain(before, lambda c: c.drops())
        assert set(gained.drops()) == {"table-full"}, gained
        before = lab.counters()
        for _ in range(3):
            assert tcp_talk(s, bytes(20000))
        gained = lab.counters() - before
        assert not gained.drops(), gained
        assert "table-full" in lab.fwctl("status").out

        limit(usual)
        assert tcp_try(lab.client, target, 7) == "ok"
        limit(ROOM)
        assert tcp_try(lab.client, target, 7, timeout=0.3) == "timeout"
        cut(s)  # or its end, that no flow answers for, is repeated into the next test
        lab.firewall.run("conntrack", "-F")
        assert tcp_try(lab.client, target, 7) == "ok"
        assert udp_try(lab.client, target, 7) == "ok"
