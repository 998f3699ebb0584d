# SPDX-License-Identifier: GPL-2.0-only
"""The programs for IPsec in transport mode: when they are attached, and what they leave alone.

What they do to packets that come out of an SA is in test_ipsec.py: few kernels have ESP.
"""

import contextlib
import json
import os
import resource
import signal

import pytest

from lab import bpf
from lab.lab import CLIENT, WAN
from lab.netns import sh, wait_for
from lab.traffic import TcpEcho, UdpEcho, ping, tcp_connect, tcp_talk, tcp_try, udp_try

pytestmark = pytest.mark.needs("nfprog", "xfrm")
LINKS = [f"local-{way}-{family}" for way in ("in", "out") for family in ("ipv4", "ipv6")]
PROGRAMS = ["fw_local_in", "fw_local_out"]
SAID = "cannot attach the programs for IPsec in transport mode"
NEAR, FAR = "198.18.7.1", "198.18.7.2"  # nobody's
RULES = """\
default in drop
default out drop
default forward drop
accept in on wan proto { tcp, udp } to self port 7
accept out on wan proto { tcp, udp } to any port 7
"""


def policy(lab, way="add"):
    """An XFRM policy that no packet of the lab meets."""
    tail = ["tmpl", "proto", "esp", "reqid", "1", "mode", "transport"] if way == "add" else []
    lab.firewall.run("ip", "xfrm", "policy", way, "src", NEAR, "dst", FAR,
                     "dir", "out", *tail)


def attached(lab):
    """Pin of each link that is there -> (id, id of its program)."""
    found = {}
    for path in (lab.pin_dir / "v1" / "links").glob("local-*"):
        with contextlib.suppress(FileNotFoundError):  # its name was one for a moment
            found[path.name] = bpf.pinned_link(path)[1:]
    return found


def loaded(lab):
    """Names of the programs of netfilter that the kernel has for this daemon, sorted."""
    pin = lab.pin_dir / "v1" / "maps" / "host"
    host = json.loads(sh("bpftool", "-j", "map", "show", "pinned", str(pin)).stdout)["id"]
    return sorted(prog["name"] for prog in json.loads(sh("bpftool", "-j", "prog", "show").stdout)
                  if prog.get("name", "").startswith("fw_local_")
                  and host in prog.get("map_ids", []))


def await_loaded(lab, names):
    """Wait until just these are loaded: the kernel frees a program some time after its end."""
    wait_for(lambda: loaded(lab) == names, 15, "programs of netfilter")


def await_links(lab, names, seconds=3.0):
    """Wait until just these are attached."""
    wait_for(lambda: sorted(attached(lab)) == sorted(names), seconds, "links of netfilter")
    return attached(lab)


def kill(lab):
    """The daemon ends as it never should."""
    os.kill(lab.daemon_pid(), signal.SIGKILL)
    wait_for(lambda: lab.daemon_pid() is None, 5, "the end of the daemon")


def test_come_with_a_policy_and_go_with_the_last(own_lab):
    """Who has no IPsec has no such programs, not even loaded, and is told nothing."""
    lab = own_lab
    lab.load(RULES)
    assert not attached(lab)
    assert not loaded(lab)
    assert lab.status()["ipsec_transport"] == "unused"
    assert "ipsec" not in lab.fwctl("status").out
    policy(lab)
    await_links(lab, LINKS)
    assert lab.status()["ipsec_transport"] == "judged"
    assert "transport-mode SAs are judged" in lab.fwctl("status").out
    assert loaded(lab) == PROGRAMS
    policy(lab, "delete")
    await_links(lab, [], 15)
    assert lab.status()["ipsec_transport"] == "unused"
    await_loaded(lab, [])
    assert not list((lab.pin_dir / "v1" / "progs").glob("fw_local_*"))


@pytest.mark.parametrize("word", ["via", "not via"])
def test_there_before_the_first_association(own_lab, word):
    """Rules that ask for IPsec have them attached; they go with the last such rule."""
    lab = own_lab
    asking = RULES + f"accept in on wan proto tcp to self port 8 {word} ipsec\n"
    lab.load(asking)
    before = await_links(lab, LINKS, 0)
    kill(lab)
    assert lab.status()["ipsec_transport"] == "judged"
    policy(lab)
    policy(lab, "delete")
    lab.load(asking + "accept in on wan proto tcp to self port 9\n")
    assert attached(lab) == before
    lab.load(RULES)
    await_links(lab, [], 0)
    assert lab.status()["ipsec_transport"] == "unused"


def test_there_before_the_rules(own_lab):
    """An SA that is only being negotiated, before the first load."""
    lab = own_lab
    lab.firewall.run("ip", "xfrm", "state", "allocspi", "src", NEAR, "dst", FAR,
                     "proto", "esp", "mode", "transport")
    lab.load(RULES)
    await_links(lab, LINKS, 0)


@pytest.mark.parametrize("family", [4, 6])
def test_other_traffic_is_left_alone(own_lab, family):
    """What came out of no SA is counted at the same hooks as without them."""
    lab = own_lab
    lab.load(RULES)
    gains = []
    for has_programs in (False, True):
        if has_programs:
            policy(lab)
            await_links(lab, LINKS)
        before = lab.counters()
        with TcpEcho(lab.firewall, WAN[family], 7), TcpEcho(lab.client, CLIENT[family], 7), \
                UdpEcho(lab.firewall, WAN[family], 7):
            assert udp_try(lab.client, WAN[family], 7, size=3000) == "ok"
            assert tcp_try(lab.client, WAN[family], 7) == "ok"
            assert tcp_try(lab.firewall, CLIENT[family], 7) == "ok"
        gained = lab.counters() - before
        assert not gained.drops(), gained
        # Neighbours are asked for but once.
        gains.append({(hook, reason) for _, hook, reason in gained.values
                      if reason not in ("essential", "non-ip")})
        before = lab.counters()
        assert not ping(lab.client, WAN[family], timeout=0.3)
        gained = lab.gain(before, lambda c: c.drops())
        assert set(gained.drops()) == {"default"}, gained
    assert gains[0] == gains[1]
    assert ping(lab.firewall, "127.0.0.1")


def test_survive_the_daemon(own_lab):
    """Killed and started again: the very same links. They go with the rules."""
    lab = own_lab
    lab.load(RULES)
    policy(lab)
    before = await_links(lab, LINKS)
    kill(lab)
    assert attached(lab) == before
    assert lab.status()["ipsec_transport"] == "judged"
    assert attached(lab) == before
    lab.load(RULES + "accept in on wan proto tcp to self port 8\n")
    assert attached(lab) == before
    lab.unload()
    assert not lab.pin_dir.exists()


def test_missed_while_no_daemon_ran(own_lab):
    """The next daemon looks first."""
    lab = own_lab
    lab.load(RULES)
    kill(lab)
    policy(lab)
    assert not attached(lab)
    assert lab.status()["ipsec_transport"] == "judged"
    await_links(lab, LINKS, 0)


def larger(factor):
    """Rules that outgrow the programs for those before."""
    return RULES + "".join(
        f"accept in on wan proto tcp from 10.{i >> 8 & 255}.{i & 255}.1 to self port 9\n"
        for i in range(4500 * factor))


def test_loaded_when_they_are_needed(own_lab):
    """Whatever came before: a load, larger rules, another daemon."""
    lab = own_lab
    lab.load(RULES)
    lab.load(RULES + "accept in on wan proto tcp to self port 8\n")
    lab.load(larger(1))
    assert not loaded(lab)
    kill(lab)
    assert lab.status()["ipsec_transport"] == "unused"
    assert not loaded(lab)
    policy(lab)
    links = await_links(lab, LINKS)
    assert loaded(lab) == PROGRAMS
    lab.load(larger(1) + "accept in on wan proto tcp to self port 8\n")
    kill(lab)
    assert lab.status()["ipsec_transport"] == "judged"
    assert attached(lab) == links
    lab.load(larger(2))
    assert len(await_links(lab, LINKS)) == len(LINKS)
    await_loaded(lab, PROGRAMS)
    policy(lab, "delete")
    await_links(lab, [], 15)
    await_loaded(lab, [])
    lab.load(larger(4))
    assert not loaded(lab)
    policy(lab)
    await_links(lab, LINKS)


def test_cannot_be_loaded(own_lab):
    """Without descriptors there are no programs: it is said once, and tried again."""
    lab = own_lab
    lab.load(RULES)
    assert lab.status()["ipsec_transport"] == "unused"
    pid, few = lab.daemon_pid(), lab.daemon_fds() + 8
    _, most = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE, (few, most))
    policy(lab)
    wait_for(lambda: SAID in lab.daemon_log(), 5, "words about it")
    assert not attached(lab) and not loaded(lab)
    assert lab.status()["ipsec_transport"] == "unjudged"
    assert "not judged by rules" in lab.fwctl("status").out
    lab.load(RULES + "accept in on wan proto tcp to self port 8\n")
    assert lab.status()["ipsec_transport"] == "unjudged"
    assert lab.daemon_log().count(SAID) == 1
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    await_links(lab, LINKS, 15)
    assert lab.status()["ipsec_transport"] == "judged"


def test_larger_rules_have_other_programs(own_lab):
    """Programs for larger rules take over here, too, though such links cannot be changed."""
    lab = own_lab
    lab.load(RULES)
    policy(lab)
    before = await_links(lab, LINKS)
    with TcpEcho(lab.firewall, WAN[4], 7), tcp_connect(lab.client, WAN[4], 7) as s:
        for factor in (1, 2):
            lab.load(larger(factor))
            after = await_links(lab, LINKS)
            assert not set(before.values()) & set(after.values())
            assert len({prog for _, prog in after.values()}) == 2
            before = after
            assert tcp_talk(s)
    lab.unload()
    assert not lab.pin_dir.exists()


@pytest.mark.parametrize("family", [4, 6])
def test_explain_says_that_there_is_more(own_lab, family):
    """An ESP packet is not all that has to be accepted."""
    lab = own_lab
    lab.load(RULES + "accept in on wan proto esp\n")
    said = lab.fwctl("explain", "in", "fw-wan", "esp", CLIENT[family], "to", WAN[family])
    assert "in transport mode is judged once more" in said.out
    said = lab.fwctl("explain", "in", "fw-wan", "udp", CLIENT[family], "to",
                     f"{WAN[family]}:7" if family == 4 else f"[{WAN[family]}]:7")
    assert "transport mode" not in said.out
