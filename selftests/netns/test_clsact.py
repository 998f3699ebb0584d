# SPDX-License-Identifier: GPL-2.0-only
"""Without TCX our programs are clsact filters, beside those of other people."""

import json
import os

import pytest

from lab import bpf
from lab.cleanup import BPFFS
from lab.lab import SERVER
from lab.traffic import TcpEcho, tcp_connect, tcp_talk, tcp_try

pytestmark = [pytest.mark.needs("notcx"), pytest.mark.modes("tc", "xdp")]
DENY = "default in drop\ndefault out drop\ndefault forward drop\n"
ECHO = "accept forward wan -> lan proto tcp to port 7 label echo\n"
TC_ACT_UNSPEC = -1  # goes on to the next filter


def filters(lab, hook):
    """(preference, name of its program) of each filter of fw-wan."""
    shown = json.loads(lab.firewall.run("tc", "-j", "filter", "show", "dev", "fw-wan",
                                        hook).stdout or "[]")
    return sorted((f["pref"], f["options"].get("bpf_name", "")) for f in shown if "options" in f)


def qdisc(lab):
    """True if fw-wan has a clsact qdisc."""
    return "clsact" in lab.firewall.run("tc", "qdisc", "show", "dev", "fw-wan").stdout


@pytest.fixture
def foreign(lab):
    """Adds somebody else's filter to both hooks of fw-wan, with the qdisc if need be."""
    lab.unload()
    path = BPFFS / f"{lab.name}-foreign"
    fd = bpf.program(bpf.SCHED_CLS, TC_ACT_UNSPEC)
    bpf.pin(fd, path)
    os.close(fd)

    def add(pref):
        if not qdisc(lab):
            lab.firewall.run("tc", "qdisc", "add", "dev", "fw-wan", "clsact")
        for hook in ("ingress", "egress"):
            lab.firewall.run("tc", "filter", "add", "dev", "fw-wan", hook, "pref", pref,
                             "protocol", "all", "bpf", "direct-action", "object-pinned", path)
    yield add
    lab.unload()
    lab.firewall.run("tc", "qdisc", "del", "dev", "fw-wan", "clsact", check=False)
    path.unlink()


def check_filtering(lab):
    """Port 7 is answered, port 8 is not."""
    with TcpEcho(lab.server, SERVER[4], 7), TcpEcho(lab.server, SERVER[6], 7):
        for target in SERVER.values():
            before = lab.counters()
            with tcp_connect(lab.client, target, 7) as s:
                assert tcp_talk(s, bytes(20000))
            gained = lab.counters() - before
            assert not gained.drops() and gained.get("new", "egress", "fw-lan"), gained
            assert tcp_try(lab.client, target, 8, timeout=0.2) == "timeout"
            lab.gain(before, lambda c: c.get("default", lab.hook, "fw-wan") >= 1)


@pytest.mark.parametrize("pref", [1, 7])
def test_filter_that_was_there_first(lab, foreign, pref):
    """Ours comes beside it, also after a reload, and goes without it."""
    foreign(pref)
    theirs = {hook: filters(lab, hook) for hook in ("ingress", "egress")}
    assert all(theirs.values()), theirs
    result = lab.fwctl("load", lab.rules(DENY + ECHO), check=False)
    if pref == 1 and result.exit != 0:
        # A filter in front of ours could accept what we deny: refused, with its place.
        assert result.exit in (1, 4) and "fw-wan" in result.err, result
    else:
        assert result.exit == 0, result
        for _ in range(2):
            check_filtering(lab)
            assert all(len(filters(lab, hook)) > len(theirs[hook]) for hook in theirs)
            lab.load(DENY + ECHO + "accept in proto icmp\n")
        assert {i["tcx"] for i in lab.status()["interfaces"]} == {False}
    lab.unload()
    assert {hook: filters(lab, hook) for hook in ("ingress", "egress")} == theirs
    assert qdisc(lab)


def test_filter_that_came_later(lab, foreign):
    """The qdisc that we made stays if somebody else uses it when we go."""
    lab.load(DENY + ECHO)
    foreign(9)
    check_filtering(lab)
    lab.unload()
    for hook in ("ingress", "egress"):
        assert [pref for pref, _ in filters(lab, hook)] == [9]
    assert qdisc(lab)


def test_alone(lab, foreign):
    """Nobody else there: the qdisc goes with us."""
    del foreign
    assert not qdisc(lab)
    lab.load(DENY + ECHO)
    assert qdisc(lab)
    check_filtering(lab)
    lab.unload()
    assert not qdisc(lab)


def test_qdisc_that_was_there_first(lab, foreign):
    """Somebody's clsact qdisc without filters stays."""
    del foreign
    lab.firewall.run("tc", "qdisc", "add", "dev", "fw-wan", "clsact")
    lab.load(DENY + ECHO)
    lab.unload()
    assert qdisc(lab) and not filters(lab, "ingress") and not filters(lab, "egress")
