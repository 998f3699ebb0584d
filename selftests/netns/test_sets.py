# SPDX-License-Identifier: GPL-2.0-only
"""`fwctl set replace`: other content for a set of the running rules, and nothing else."""

import os
import signal

import pytest

from lab.lab import CLIENT, SERVER, WAN, Lab, plain_build
from lab.netns import patience, wait_for
from lab.packets import stream
from lab.traffic import Flood, TcpEcho, UdpEcho, cut, tcp_connect, tcp_talk, tcp_try, udp_try

both = pytest.mark.parametrize("family", [4, 6])
DENY = "default in drop\ndefault out drop\ndefault forward drop\n"
ECHO = "accept forward wan -> lan proto { tcp, udp } to port 7 label echo\n"
BLOCK = "drop forward wan -> lan from @block label blocked\n"
NOBODY = "203.0.113.1\n2001:db8:bad::/48\n"


def replace(lab, name, lines, check=True, *more):
    """Replace a set by lines of text."""
    return lab.fwctl("set", "replace", name, "--file", lab.write("new.txt", lines), *more,
                     check=check)


def shown(lab, name):
    """What `show sets` says of a set."""
    return next(s for s in lab.show("sets")["sets"] if s["name"] == name)


def kill_daemon(lab):
    """kill -9."""
    os.kill(lab.daemon_pid(), signal.SIGKILL)
    wait_for(lambda: lab.daemon_pid() is None, 5, "fwctld to be gone")


@both
def test_flow_is_cut(lab, family):
    """A flow from an address that is in the set now is cut as by a load; others go on."""
    lab.load(DENY + "set block { 203.0.113.1 }\n" + BLOCK + ECHO)
    generation = lab.generation()
    with TcpEcho(lab.server, SERVER[family], 7), tcp_connect(lab.client, SERVER[family], 7) as s:
        assert tcp_talk(s)
        echo = lab.rule("echo")
        replace(lab, "block", NOBODY)
        assert tcp_talk(s)
        assert lab.generation() == generation + 1
        before = lab.counters()
        replace(lab, "block", NOBODY + CLIENT[family] + "\n")
        s.settimeout(patience(0.3))
        assert not tcp_talk(s)
        cut(s)
        lab.gain(before, lambda c: c.get("reload") >= 1)
    with TcpEcho(lab.server, SERVER[family], 7):
        assert tcp_try(lab.client, SERVER[family], 7, timeout=0.2) == "timeout"
        assert lab.rule("blocked")["packets"] >= 1
        replace(lab, "block", NOBODY)
        assert tcp_try(lab.client, SERVER[family], 7) == "ok"
    # Labels keep their counters through all of it.
    assert lab.rule("echo")["flows"] > echo["flows"]
    assert lab.rule("blocked")["packets"] >= 1


@both
def test_under_flood(lab, family):
    """Each packet is judged by the old content or the new, whichever its size: they agree
    about every packet of the flood and about nothing else."""
    rest = "".join(f"10.{i >> 7}.{i % 128 * 2}.1\n2001:db8:{0x4000 + i:x}::/50\n"
                   for i in range(4096))
    contents = [lab.write(f"{i}.txt", text) for i, text in enumerate((
        f"{CLIENT[family]}\n",
        rest + "192.0.2.0/24\n2001:db8:1::/64\n",
        "0.0.0.0/0\n::/0\n",
        "192.0.2.2-192.0.2.77\n2001:db8:1::-2001:db8:1::ffff\n"))]
    lab.load("set side { 192.0.2.0/25, 2001:db8:1::/65 }\n"
             "define sides = { @side, 203.0.113.0/24 }\n" + DENY +
             "drop stateless in on wan proto udp from @side to port 2000 label deny\n"
             "accept stateless in on wan proto udp from $sides to port 1000 label allow\n"
             "drop stateless in on wan proto udp from !@side label never\n")
    frames = [f for pair in zip(stream(2000, family, 1000, WAN[family]),
                                stream(2000, family, 2000, WAN[family])) for f in pair]
    labels = ("allow", "deny", "never")
    before, old = lab.counters(), {label: lab.rule(label)["packets"] for label in labels}
    with Flood(lab.client, "eth0", frames, 8000) as flood:
        for i in range(60):
            lab.fwctl("set", "replace", "side", "--file", contents[i % 4])
    wait_for(lambda: sum(lab.rule(label)["packets"] - old[label] for label in labels)
             >= flood.sent, 5, "all packets to be judged")
    judged = {label: lab.rule(label)["packets"] - old[label] for label in labels}
    half = flood.sent // 2
    # What XDP has accepted just before a switch TC judges again, by the other content.
    again = judged["allow"] - (flood.sent - half)
    assert 0 <= again <= 60 and judged["deny"] == half and not judged["never"], judged
    assert (lab.counters() - before).drops() == {"rule": half}


@both
def test_all_that_it_is_part_of(lab, family):
    """Sets and defines that include it, lists, negations, and sets of ports."""
    lab.load(DENY + "set inner { 203.0.113.1 }\n"
             "set outer { @inner, 203.0.113.9 }\n"
             "define defined = { @inner, 203.0.113.7 }\n"
             "set web { 80 }\n"
             "accept in on wan proto udp from @outer to port 1 label outer\n"
             "accept in on wan proto udp from { @inner, 203.0.113.8 } to port 2 label list\n"
             "accept in on wan proto udp from $defined to port 3 label defined\n"
             "accept in on wan proto udp from !@inner to port 4 label not\n"
             "accept in on wan proto udp to port { @web, 9 } label web\n"
             "accept out proto udp\n")
    labels = {1: "outer", 2: "list", 3: "defined", 4: "not", 5: "web"}

    def accepted():
        old = {label: lab.rule(label)["flows"] for label in labels.values()}
        for port in labels:
            udp_try(lab.client, WAN[family], port, timeout=0.05)
        return {label for label in old if lab.rule(label)["flows"] > old[label]}

    assert accepted() == {"not"}
    replace(lab, "inner", CLIENT[family] + "\n")
    assert accepted() == {"outer", "list", "defined"}
    replace(lab, "web", "5\n7-8 # more\n")
    assert accepted() == {"outer", "list", "defined", "web"}
    replace(lab, "inner", "")
    assert accepted() == {"not", "web"}
    sets = {name: shown(lab, name) for name in ("inner", "outer", "web")}
    assert [sets[name]["replaced_by"] for name in sets] == [
        str(lab.dir / "new.txt"), None, str(lab.dir / "new.txt")], sets
    assert (sets["inner"]["ipv4"], sets["outer"]["ipv4"], sets["web"]["ports"]) == (0, 1, 2)


@both
def test_survives_the_daemon(lab, family):
    """In force also when the daemon has died; the next load reads the rule file."""
    path = lab.write("block.txt", NOBODY)
    text = DENY + f'set block {{ file "{path}" }}\n' + BLOCK + ECHO
    lab.load(text)
    with TcpEcho(lab.server, SERVER[family], 7):
        assert tcp_try(lab.client, SERVER[family], 7) == "ok"
        replace(lab, "block", CLIENT[family] + "\n")
        generation = lab.generation()
        kill_daemon(lab)
        assert tcp_try(lab.client, SERVER[family], 7, timeout=0.2) == "timeout"
        status = lab.status()["rules"]
        assert status["generation"] == generation
        assert status["replaced_sets"] == [{"set": "block", "file": str(lab.dir / "new.txt")}]
        assert "set 'block' by " in lab.fwctl("status").out
        assert shown(lab, "block")["replaced_by"] == str(lab.dir / "new.txt")
        assert tcp_try(lab.client, SERVER[family], 7, timeout=0.2) == "timeout"
        # The new daemon replaces it again, and once more after another death.
        replace(lab, "block", NOBODY)
        assert tcp_try(lab.client, SERVER[family], 7) == "ok"
        kill_daemon(lab)
        replace(lab, "block", CLIENT[family] + "\n")
        assert tcp_try(lab.client, SERVER[family], 7, timeout=0.2) == "timeout"
        lab.load(text)
        assert tcp_try(lab.client, SERVER[family], 7) == "ok"
        assert shown(lab, "block")["replaced_by"] is None
        assert lab.status()["rules"]["replaced_sets"] == []


@both
def test_mistakes(lab, family):
    """Each with its exit status and where it is; the running rules stay as they are."""
    lab.load(DENY + "set block { 203.0.113.1 }\nset web { 7 }\n" + BLOCK +
             "accept forward wan -> lan proto tcp to port @web label echo\n")
    good = lab.write("good.txt", CLIENT[family] + "\n")
    open_to_all = lab.write("open.txt", CLIENT[family] + "\n")
    open_to_all.chmod(0o666)
    cases = [
        (("blokc", good), 1, "no set 'blokc', did you mean 'block'?"),
        (("something-else", good), 1, "no set 'something-else', see fwctl show sets"),
        (("block", lab.dir / "none.txt"), 1, "none.txt': No such file"),
        (("block", lab.dir), 1, "is a directory"),
        (("block", open_to_all), 1, "can be written to by others"),
        (("web", good), 1, "good.txt:1:1: error: set 'web' holds ports"),
        (("block", lab.write("ports.txt", "# web\n80\n")), 1,
         "ports.txt:2:1: error: set 'block' holds addresses"),
        (("block", lab.write("bad.txt", "192.0.2.2\n  192.0.2.2/24 # oops\nx y\n")), 1,
         "bad.txt:2:3: error: '192.0.2.2/24' has bits set behind its prefix\n"
         " 2 |   192.0.2.2/24 # oops\n"
         "   |   ^~~~~~~~~~~~\n"
         "hint: the network is 192.0.2.0/24"),
    ]
    with TcpEcho(lab.server, SERVER[family], 7), tcp_connect(lab.client, SERVER[family], 7) as s:
        assert tcp_talk(s)
        generation, sets = lab.generation(), lab.show("sets")
        for (name, path), status, text in cases:
            result = lab.fwctl("set", "replace", name, "--file", path, check=False)
            assert result.exit == status and text in result.err, (result, text)
        result = replace(lab, "block", "192.0.2.2\nx\ny\n", False, "--json")
        assert result.exit == 1 and result.json["errors"] == 2, result
        assert [m["line"] for m in result.json["messages"]] == [2, 3]
        assert result.json["messages"][0]["file"] == str(lab.dir / "new.txt")
        for argv in (("set", "replace", "block"), ("set",), ("set", "replace"),
                     ("show", "sets", "--file", good)):
            assert lab.fwctl(*argv, check=False).exit == 2, argv
        assert lab.fwctl("set", "replace", "block", "--file", good, "--dry-run").exit == 0
        assert (lab.generation(), lab.show("sets")) == (generation, sets)
        assert tcp_talk(s)


@pytest.mark.modes("tc")
def test_nothing_loaded(own_lab):
    """No daemon and no rules: exit status 3, and nobody is started."""
    result = replace(own_lab, "block", NOBODY, False)
    assert result.exit == 3 and "nothing is loaded" in result.err, result
    assert own_lab.daemon_pid() is None


@pytest.mark.modes("tc")
def test_standard_input(lab):
    """`--file -` reads standard input; the answer says what is in the set."""
    lab.load(DENY + "set block { 203.0.113.1 }\n" + BLOCK + ECHO)
    result = lab.fwctl("set", "replace", "@block", "--file", "-", "--json", input=NOBODY)
    assert result.json == {"set": "block", "ipv4": 1, "ipv6": 1, "ports": 0, "file": "stdin",
                           "generation": lab.generation()}, result
    assert shown(lab, "block")["replaced_by"] == "stdin"


def large_set(lab, family, large):
    lab.load(DENY + "set block { 203.0.113.1 }\n" + BLOCK + ECHO)
    with TcpEcho(lab.server, SERVER[family], 7), tcp_connect(lab.client, SERVER[family], 7) as s:
        assert tcp_talk(s)
        before = lab.counters()
        replace(lab, "block", large)
        assert shown(lab, "block")["ipv4"] == 60000
        assert tcp_talk(s)
        for i in range(6):
            replace(lab, "block", large if i % 2 else NOBODY)
        warm = lab.daemon_memory(), lab.daemon_fds()
        for i in range(12):
            replace(lab, "block", large if i % 2 else NOBODY)
        assert lab.daemon_fds() <= warm[1] + 2
        assert lab.daemon_memory() < warm[0] * 1.3 + 4096, (warm, lab.daemon_memory())
        assert tcp_talk(s)
        assert not (lab.counters() - before).drops()
        replace(lab, "block", large + CLIENT[family] + "\n")
        s.settimeout(patience(0.3))
        assert not tcp_talk(s)
        cut(s)


@both
@pytest.mark.modes("xdp", "tc")
def test_large_set(mode, family):
    """A set that needs larger programs, while a connection talks; nothing piles up."""
    large = "".join(f"10.{i >> 15}.{i >> 7 & 255}.{i % 128 * 2}\n" for i in range(60000))
    with Lab(plain_build()) as lab:  # a sanitizer keeps what is freed
        lab.mode = mode
        large_set(lab, family, large)


@pytest.mark.modes("tc")
def test_twin(lab):
    """Replacing one set leaves a twin with the same content alone."""
    same = "{ 203.0.113.1 }\n"
    lab.load(DENY + f"set block {same}set other {same}"
             "drop forward wan -> lan from @block label one\n"
             "drop forward wan -> lan from @other label other\n" + ECHO)
    with UdpEcho(lab.server, SERVER[4], 7):
        replace(lab, "other", CLIENT[4] + "\n")
        assert udp_try(lab.client, SERVER[4], 7, timeout=0.2) == "timeout"
        assert lab.rule("other")["packets"] and not lab.rule("one")["packets"]
        replace(lab, "other", NOBODY)
        assert udp_try(lab.client, SERVER[4], 7) == "ok"
