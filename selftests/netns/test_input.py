# SPDX-License-Identifier: GPL-2.0-only
"""Whatever FILE is: a clear message or success, never a crash, and nothing half-done."""

import os
import random
import re

import pytest

from lab.lab import SERVER
from lab.traffic import TcpEcho, tcp_try

pytestmark = pytest.mark.modes("xdp")
DENY = "default in drop\ndefault out drop\ndefault forward drop\n"
ECHO = "accept forward wan -> lan proto tcp to port 7 label echo\n"
PLACE = re.compile(r"^(\S+):(\d+):(\d+): error: (.+)$", re.MULTILINE)

MISTAKES = """\
interface wan = fw-wan { mode xdp }
interface lan = fw-lan { mode xdp }
acept in proto tcp to port 80
accept in proto tcp to port 70000
accept in proto tpc to port 80
accept in on wann proto tcp to port 80
accept in from 192.0.2.300 to self
accept in from 192.0.2.0/33 to self
accept in proto tcp to port $web
drop in from @nobody
default sideways drop
accept in proto tcp to port 90-80
"""
WRONG_LINES = set(range(3, 13))


@pytest.fixture
def running(lab):
    """The lab with rules that run; checks afterwards that they still do, unchanged."""
    lab.load(DENY + ECHO)
    generation, shown = lab.generation(), lab.fwctl("show", "rules").out
    yield lab
    assert lab.generation() == generation
    assert names(lab.fwctl("show", "rules").out) == names(shown)
    with TcpEcho(lab.server, SERVER[4], 7):
        assert tcp_try(lab.client, SERVER[4], 7) == "ok"
        assert tcp_try(lab.client, SERVER[4], 8, timeout=0.1) == "timeout"


def names(text):
    """Words of a listing without its numbers."""
    return re.findall(r"[a-z][a-z-]+", text)


def refused(lab, path):
    """`check` and `load` both refuse the file with a message; returns that of load."""
    for verb in ("check", "load"):
        result = lab.fwctl(verb, path, check=False, timeout=60)
        assert result.exit == 1, result
        assert result.err.strip(), result
    return result.err


def test_ten_mistakes(running):
    """Ten messages with place and caret, one for each wrong line; nothing changes."""
    message = refused(running, running.write("wrong.conf", MISTAKES))
    places = PLACE.findall(message)
    assert len(places) == 10, message
    assert {int(line) for _, line, _, _ in places} == WRONG_LINES, message
    assert all(name.endswith("wrong.conf") for name, *_ in places), message
    assert len(re.findall(r"^ *\| *\^~*", message, re.MULTILINE)) == 10, message
    for word, suggestion in (("acept", "accept"), ("tpc", "tcp"), ("wann", "wan")):
        assert word in message and suggestion in message, message


def test_one_mistake_in_an_include(running):
    """A message names the file that is wrong."""
    running.write("part.conf", "accept in proto tcp to port http80\n")
    message = refused(running, running.write("whole.conf", 'include "part.conf"\n' + DENY))
    assert "part.conf:1:" in message, message


def test_random_megabyte(running):
    """A million bytes of noise."""
    data = random.Random(1).randbytes(1 << 20)
    refused(running, running.write("noise.conf", data))


def test_random_words(running):
    """Noise made of the language's own words: accepted or refused, never a crash."""
    words = ("accept drop reject in out forward from to port proto { } , -> ! $x @y 192.0.2.1 "
             '::1/64 80 - define set interface = label log "x " # option default').split()
    words += ["\n"] * 3
    rng = random.Random(2)
    for i in range(30):
        text = " ".join(rng.choice(words) for _ in range(400))
        result = running.fwctl("check", running.write(f"words{i}.conf", text), check=False,
                               timeout=20)
        assert result.exit in (0, 1), result


def test_directory(running):
    """A directory."""
    message = refused(running, running.dir)
    assert "directory" in message, message


def test_missing(running):
    """A file that is not there."""
    message = refused(running, running.dir / "missing.conf")
    assert "missing.conf" in message, message


def test_unreadable(running):
    """A file without permission to read, for a user who has no say."""
    path = running.write("secret.conf", DENY)
    path.chmod(0)
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    done = running.firewall.run(*as_nobody, running.binary("fwctl"), "check", path, check=False,
                                env={**running.environment(), "ASAN_OPTIONS": "detect_leaks=0"})
    assert done.returncode in (1, 126), done  # 126: cannot even run a binary of root's
    if done.returncode == 1:
        assert "ermission" in done.stderr, done
    # Root may read it all the same: then it is a file like any other.
    assert running.fwctl("check", path, check=False).exit in (0, 1)


@pytest.mark.parametrize("name", ["fifo", "zero", "full", "socket"])
def test_special_files(running, name):
    """Pipes, devices and sockets are refused at once, not read for ever."""
    path = running.dir / name
    if name == "fifo":
        os.mkfifo(path)
    elif name == "socket":
        import socket
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(str(path))
    else:
        path = f"/dev/{name}"
    refused(running, path)


def test_include_of_itself(running):
    """A loop of includes ends with a message."""
    path = running.write("loop.conf", 'include "loop.conf"\n' + DENY)
    refused(running, path)


def test_long_line_and_nul(running):
    """A line of a megabyte; a zero byte."""
    refused(running, running.write("long.conf", "accept in from " + "1" * (1 << 20) + "\n"))
    refused(running, running.write("nul.conf", b"accept in\0 proto tcp\n"))


def test_deep_nesting(running):
    """Braces without end."""
    refused(running, running.write("deep.conf", "define x = " + "{" * 100000 + "\n"))


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "\ufeff\n", "\r\n\r\n"],
                         ids=["empty", "newlines", "comment", "bom", "crlf"])
def test_almost_empty(lab, text):
    """A file that says nothing: success or a message."""
    lab.load(DENY + ECHO)
    result = lab.fwctl("check", lab.write("empty.conf", text), check=False)
    assert result.exit == 0 or (result.exit == 1 and result.err.strip()), result
    result = lab.fwctl("load", lab.dir / "empty.conf", check=False)
    assert result.exit == 0 or (result.exit == 1 and result.err.strip()), result


@pytest.mark.parametrize("kind", ["rules", "set", "comments"])
def test_hundred_thousand_lines(lab, kind):
    """Loaded, or refused with the limit named; the rules that ran go on if refused."""
    lab.load(DENY + ECHO)
    addresses = [f"10.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}" for i in range(100000)]
    head = "interface wan = fw-wan { mode xdp }\ninterface lan = fw-lan { mode xdp }\n"
    if kind == "rules":
        text = head + "".join(f"drop in from {a}\n" for a in addresses)
    elif kind == "set":
        lab.write("many.txt", "\n".join(a for a in addresses[::2]) + "\n" * 50000)
        text = head + 'set many { file "many.txt" }\ndrop stateless in from @many label many\n'
    else:
        text = head + "# hello\n" * 100000 + DENY + ECHO
    result = lab.fwctl("load", lab.write("big.conf", text), check=False, timeout=120)
    assert result.exit in (0, 1), str(result)[:2000]
    assert len(result.err) < 100000
    if result.exit == 1:
        assert kind == "rules" and "16384" in result.err.replace(" ", ""), result.err[:2000]
        with TcpEcho(lab.server, SERVER[4], 7):
            assert tcp_try(lab.client, SERVER[4], 7) == "ok"


def test_usage(lab):
    """Wrong usage is exit 2 with a message."""
    for argv in ([], ["nonsense"], ["load"], ["load", "a", "b"], ["show"], ["show", "nonsense"],
                 ["--nonsense"]):
        result = lab.fwctl(*argv, check=False)
        assert result.exit == 2 and result.err.strip(), (argv, result)
    shown = re.findall(r"^ +show (\w+)", lab.fwctl("--help").out, re.MULTILINE)
    told = lab.fwctl("show", check=False).err
    assert len(shown) >= 5 and all(word in told for word in shown), (shown, told)


def test_help_and_version(lab):
    """Asked for help, it helps."""
    for argv in (["--help"], ["--version"]):
        result = lab.fwctl(*argv, check=False)
        assert result.exit == 0 and result.out.strip(), (argv, result)


def test_canonical_form(lab):
    """What `check` prints is a rule file that prints the same again."""
    lab.write("block.txt", "203.0.113.0/24\n")
    path = lab.rules('set b { file "block.txt" }\ndefine web = { 80, 443 }\n' + DENY + ECHO
                     + "drop stateless in on wan from @b label bad\n"
                     "accept in on wan proto tcp to self port $web label web\n")
    printed = lab.fwctl("check", "--print", path).out
    again = lab.fwctl("check", "--print", lab.write("again.conf", printed)).out
    assert again == printed and "web" in printed
