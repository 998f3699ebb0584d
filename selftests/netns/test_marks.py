# SPDX-License-Identifier: GPL-2.0-only
"""`option mark-mask`: our bits of the conntrack mark are where the rules say, others survive."""

import re

import pytest

from lab.lab import SERVER
from lab.netns import wait_for
from lab.traffic import TcpEcho, UdpEcho, tcp_connect, tcp_talk, udp_try

pytestmark = pytest.mark.alternate
both = pytest.mark.parametrize("family", [4, 6])
RULES = ("default in drop\ndefault out accept\ndefault forward drop\n"
         "accept forward wan -> lan proto { tcp, udp } to port 7 label through\n")
UPPER = "option mark-mask 0xffff0000\n"
MIDDLE = "option mark-mask 0x00ffff00\n"
LOWER = "option mark-mask 0x0000ffff\n"
ESTABLISHED = 3  # enum fw_tcp_state
# Somebody else's marks, in the other half
MARKER = """\
table inet lab_marker {
	chain forward {
		type filter hook forward priority filter;
		ct mark set ct mark and 0x0000ffff or 0x12340000
	}
}
"""


def marks(lab, proto="tcp"):
    """Marks of all entries of a protocol, by source port."""
    found = {}
    for line in lab.conntrack("-p", proto):
        port = re.search(r"sport=(\d+)", line)
        mark = re.search(r"mark=(\d+)", line)
        found[int(port[1])] = int(mark[1]) if mark else 0
    return found


def mark_of(lab, s):
    """The mark of a connected socket's flow."""
    return marks(lab)[s.getsockname()[1]]


def set_mark(lab, family, s, mark):
    """As an operator does by hand."""
    lab.firewall.run("conntrack", "-U", "-f", f"ipv{family}", "-p", "tcp", "--sport",
                     s.getsockname()[1], "--mark", str(mark))


def ours(lab, shift, state):
    """Our bits of a flow of the running rules."""
    return (lab.generation() << 4 | state) << shift


@both
@pytest.mark.parametrize("option, shift", [(UPPER, 16), (MIDDLE, 8), (LOWER, 0)])
def test_bits_of_others_survive(own_lab, family, option, shift):
    """Handshake, data, a load and the end of a connection change our bits alone."""
    lab = own_lab
    others = 0x5aa55aa5 & ~(0xffff << shift) & 0xffffffff
    lab.load(option + RULES)
    with TcpEcho(lab.server, SERVER[family], 7), tcp_connect(lab.client, SERVER[family], 7) as s:
        assert tcp_talk(s)
        assert mark_of(lab, s) == ours(lab, shift, ESTABLISHED)
        set_mark(lab, family, s, mark_of(lab, s) | others)
        assert tcp_talk(s)
        lab.load(option + RULES)
        assert tcp_talk(s)
        assert mark_of(lab, s) == ours(lab, shift, ESTABLISHED) | others
        shown = {f["original"]["source_port"]: f["mark"] for f in lab.flows()}
        assert shown == marks(lab)
        port = s.getsockname()[1]
    wait_for(lambda: marks(lab)[port] >> shift & 0xf not in (0, ESTABLISHED), 3,
             "the flow to end")
    assert marks(lab)[port] & ~(0xffff << shift) == others


@both
def test_beside_nftables(own_lab, family):
    """Chains that mark connections in the other half, where the kernel tracks."""
    lab = own_lab
    lab.firewall.run("nft", "-f", lab.write("marker.nft", MARKER))
    lab.load(LOWER + RULES)
    with TcpEcho(lab.server, SERVER[family], 7), UdpEcho(lab.server, SERVER[family], 7), \
            tcp_connect(lab.client, SERVER[family], 7) as s:
        for _ in range(2):
            assert tcp_talk(s)
            assert mark_of(lab, s) == ours(lab, 0, 0) | 0x12340000
            lab.load(LOWER + RULES)
        assert udp_try(lab.client, SERVER[family], 7, source=("", 20007)) == "ok"
        assert marks(lab, "udp")[20007] == ours(lab, 0, 0) | 0x12340000


@both
def test_marks_move_with_a_load(own_lab, family):
    """Connections live on when the bits move, and what is left behind is others' again."""
    lab = own_lab
    lab.load(RULES)
    sockets = []
    with TcpEcho(lab.server, SERVER[family], 7):
        for option, shift in ((LOWER, 0), (UPPER, 16), (LOWER, 0), ("", 16)):
            for _ in range(5):
                sockets.append(tcp_connect(lab.client, SERVER[family], 7))
                assert tcp_talk(sockets[-1])
            silent = sockets[::2]
            lab.load(option + RULES)
            before = (lab.generation() - 1) << 4 | ESTABLISHED
            assert {mark_of(lab, s) for s in silent[-1:]} == {before << shift}
            assert all(tcp_talk(s) for s in sockets)
            assert set(marks(lab).values()) == {ours(lab, shift, ESTABLISHED)}
            assert {f["state"] for f in lab.flows()} == {"ESTABLISHED"}
        done = lab.fwctl("load", lab.rules(MIDDLE + RULES), check=False)
        assert done.exit != 0 and "has bits in common with 0x00ffff00" in done.err, done
        assert "option mark-mask 0x00ffff00" in done.err, done
        assert all(tcp_talk(s) for s in sockets)
        for s in sockets:
            s.close()


def test_bits_are_taken_and_given_back(lab):
    """What others had where ours will be is cleared; kill and on-reload kill find ours there."""
    lab.load(RULES)
    with TcpEcho(lab.server, SERVER[4], 7), tcp_connect(lab.client, SERVER[4], 7) as s:
        assert tcp_talk(s)
        set_mark(lab, 4, s, mark_of(lab, s) | 0xbeef)
        lab.load(LOWER + RULES)
        assert tcp_talk(s)
        assert mark_of(lab, s) == ours(lab, 0, ESTABLISHED)
        before = lab.counters()
        lab.load("option on-reload kill\n" + RULES)
        assert not tcp_talk(s)
        lab.gain(before, lambda gained: gained.get("reload"))
    with TcpEcho(lab.server, SERVER[4], 7), tcp_connect(lab.client, SERVER[4], 7) as s:
        lab.load(LOWER + RULES)
        assert tcp_talk(s)
        lab.fwctl("flows", "kill", "port", "7")
        assert s.getsockname()[1] not in marks(lab)
    lab.load(RULES)
