# SPDX-License-Identifier: GPL-2.0-only
"""A hundred thousand flows: lists of them come at once, and cost others nothing."""

import json
import signal
import subprocess
import time

import pytest

from lab.lab import SERVER, plain_build
from lab.netns import SLOWNESS, patience, wait_for
from lab.packets import stream

pytestmark = [pytest.mark.modes("tc"), pytest.mark.slow]
RULES = ("default in accept\ndefault out accept\ndefault forward drop\n"
         "accept forward wan -> lan proto udp label through\n")
MANY = 100000 if SLOWNESS < 2 else 20000


def insert(lab, first, count):
    """Entries of anybody, from 10.0.0.0 + first on."""
    lines = (f"-I -p udp -s 10.{i >> 16}.{i >> 8 & 255}.{i & 255} -d 10.200.0.1 --sport 1000 "
             f"--dport {1 + i % 7} -t 3000\n" for i in range(first, first + count))
    lab.firewall.run("conntrack", "-R", lab.write("entries", "".join(lines)))


def in_kernel(lab):
    """How many entries conntrack(8) counts."""
    return int(lab.firewall.run("conntrack", "-C").stdout)


def counted(lab, *words):
    """How many fwctl counts."""
    return int(lab.fwctl("show", "flows", "count", *words).out)


def reader(lab, *words):
    """A `show flows` that is read by nobody yet."""
    return lab.firewall.popen(lab.binary("fwctl"), "show", "flows", *words,
                              env=lab.environment(), stderr=subprocess.PIPE)


@pytest.fixture(name="many")
def _many(own_lab):
    lab = own_lab
    lab.load(RULES)
    insert(lab, 0, MANY)
    wait_for(lambda: counted(lab) == MANY, 30, "a picture of all of them")
    return lab


def source(row):
    """The number of an entry of insert()."""
    a, b, c = map(int, row["original"]["source"].split(".")[1:])
    return a << 16 | b << 8 | c


def test_complete(many):
    """Each once, as many as the kernel has; filters and orders pick among all of them."""
    rows = many.fwctl("show", "flows", "--json").rows
    assert len(rows) == in_kernel(many) == MANY
    assert {source(r) for r in rows} == set(range(MANY))
    lines = many.fwctl("show", "flows").out.splitlines()
    assert len(lines) == MANY + 1 and lines[0].startswith("PROTO ")
    assert not [line for line in lines[1:] if not line.startswith("udp ")]
    assert counted(many, "port", "3") == len(range(2, MANY, 7))
    found = many.fwctl("show", "flows", "from", "10.0.7.0/24", "sort", "from", "reverse",
                       "--json").rows
    assert [source(r) for r in found] == list(range(0x7ff, 0x6ff, -1))
    assert not any("order" in row for row in found)


def test_first_line(many):
    """It is there long before the last one, in both forms; and nobody else waits."""
    for words in ([], ["--json"]):
        with reader(many, *words) as process:
            start = time.monotonic()
            assert process.stdout.readline()
            first = time.monotonic() - start
            answers = []
            while process.poll() is None and len(answers) < 3:
                begin = time.monotonic()
                assert many.rule("through")
                answers.append(time.monotonic() - begin)
                for _ in range(MANY // 10):
                    process.stdout.readline()
            process.stdout.read()
            whole = time.monotonic() - start
            assert process.wait(patience(30)) == 0
        assert first < whole / 4, (first, whole)
        # A client that is started and answered, while the list is on its way.
        assert answers and min(answers) < whole / 2, (answers, whole)


def test_readers_that_have_had_enough(many):
    """`| head` ends without a word; the daemon goes on."""
    for words in ([], ["--json"], ["sort", "from"]):
        with reader(many, *words) as process:
            assert process.stdout.readline()
            process.stdout.close()
            assert process.wait(patience(30)) == 0
            assert process.stderr.read() == ""
    shell = "set -o pipefail; '{}' show flows | head -n 3".format(many.binary("fwctl"))
    done = many.firewall.run("bash", "-c", shell, env=many.environment(), check=False)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 3 and not done.stderr, done
    wait_for(lambda: many.rule("through"), 3)


def test_slow_readers(many):
    """They cost the daemon next to nothing, however many; all they get is still right."""
    memory, descriptors = many.daemon_memory(), many.daemon_fds()
    readers = [reader(many, "--json") for _ in range(16)]
    for process in readers:
        process.stdout.readline()
    readers[0].send_signal(signal.SIGSTOP)
    done = many.fwctl("show", "flows", check=False)
    assert done.exit == 1 and "end one" in done.err, done
    insert(many, MANY, MANY // 2)  # the table grows under them
    if many.build == plain_build():  # a sanitizer keeps what is freed
        assert many.daemon_memory() - memory < 30 << 10, "KiB, half of it for the new flows"
    start = time.monotonic()
    while time.monotonic() - start < 11:  # longer than the patience with others
        assert many.status()["loaded"]
        time.sleep(1)
    readers[0].send_signal(signal.SIGCONT)
    rest = [source(json.loads(line)) for line in readers[0].stdout]
    assert readers[0].wait(patience(10)) == 0
    old = [n for n in rest if n < MANY]
    assert len(set(rest)) == len(rest) and len(old) == MANY - 1, (len(rest), len(old))
    for process in readers[1:]:
        process.terminate()
        process.communicate()
    readers[0].stderr.close()
    # A dump has two of its own, and may have been at work when they were counted.
    wait_for(lambda: many.daemon_fds() <= descriptors, 5, "the daemon to let go")


def test_while_flows_go(many):
    """The table shrinks during the walk: those that stay are all there, once each."""
    keep = MANY // 10
    with reader(many, "--json") as process:
        first = process.stdout.readline()
        many.firewall.run("conntrack", "-F")
        insert(many, 0, keep)
        wait_for(lambda: counted(many) == keep, 15, "a picture of the few")
        seen = [source(json.loads(line)) for line in (first, *process.stdout)]
        assert process.wait(patience(30)) == 0
    assert len(set(seen)) == len(seen)
    shown = {source(r) for r in many.fwctl("show", "flows", "--json").rows}
    assert shown == set(range(keep))


def test_unloaded_meanwhile(many):
    """Who reads a list of rules that are gone is told so."""
    with reader(many, "--json") as process:
        assert process.stdout.readline()
        many.unload()
        process.stdout.read()
        assert process.wait(patience(15)) == 3
        assert "fwctl: " in process.stderr.read()


def test_new_daemon(many):
    """One that has just started answers when it has a picture."""
    many.client.send_raw("eth0", list(stream(1, 4, 7, SERVER[4])))
    wait_for(lambda: counted(many, "rule", "through") == 1, 10, "our own flow")
    many.firewall.run("kill", "-9", many.daemon_pid())
    wait_for(lambda: not many.daemon_pid(), 5)
    assert counted(many) == MANY + 1
