# SPDX-License-Identifier: GPL-2.0-only
"""The control socket of a fwctld with rules, asked for whatever comes to mind.

selftests/fuzz does it millions of times, to a daemon without rules; here each verb gets as
far as it would in life. Nothing that is asked may end the daemon or cost it anything.
"""

import json
import random

import pytest

from lab.control import connect, send_request, take_frame
from lab.lab import CLIENT, SERVER, WAN
from lab.netns import SLOWNESS, wait_for
from lab.packets import UDP, frame, ip, stream

RULES = ("default in drop\ndefault out accept\ndefault forward drop\n"
         "set some { 192.0.2.7, 2001:db8::/64 }\n"
         "drop in from @some label some\n"
         "accept forward wan -> lan proto udp to port { 7, 9 } label echo log\n")
ROUNDS = 50 if SLOWNESS > 1 else 250
# Each verb that does not end the rules, and arguments that it takes.
VERBS = {
    "status": {}, "rules": {}, "sets": {}, "rule-counts": {},
    "flows": {"words": ["proto", "udp", "sort", "age"]},
    "flows-kill": {"words": ["rule", "echo"]},
    "monitor": {"words": ["drops", "from", "192.0.2.0/24"]},
    "capture": {"words": ["zone", "wan"], "snaplen": 64, "reasons": "rule,default"},
    "top-flows": {"interval": 100},
    "explain": {"interface": "fw-wan", "out": False,
                "frame": frame(ip(4) / UDP(sport=1, dport=7)).hex()},
    "set-replace": {"set": "some", "file": "some.txt", "dry_run": True},
    "load": {"texts": [{"name": "rules.conf", "size": 12}]},
}
WORDS = ("all proto tcp udp icmp from to 192.0.2.2 2001:db8::1 10.0.0.0/33 port 7 1-2 state "
         "ESTABLISHED rule echo nobody zone wan lan sort bytes reverse count family ipv4 ipv6 "
         "interface fw-wan reason default drops flows").split() + ["", "\0", "\n", "x" * 5000]


def strange(rng, depth=0):
    """Any value of JSON."""
    kind = rng.randrange(9 if depth < 3 else 7)
    if kind < 7:
        return (None, True, -1, 2 ** 63 - 1, 1e308, rng.choice(WORDS), "\u20ac" * 30)[kind]
    values = [strange(rng, depth + 1) for _ in range(rng.randrange(4))]
    return values if kind == 7 else {rng.choice(WORDS): value for value in values}


def changed(rng, args):
    """Arguments of which some are others, or words in another order."""
    args = json.loads(json.dumps(args))
    for key in list(args):
        chance = rng.randrange(5)
        if chance == 0:
            args[key] = strange(rng)
        elif chance == 1:
            del args[key]
        elif isinstance(args[key], list):
            args[key] = rng.choices(WORDS, k=rng.randrange(40))
        elif isinstance(args[key], str) and chance == 2:
            at = rng.randrange(len(args[key]) + 1)
            args[key] = args[key][:at] + rng.choice(WORDS) + args[key][at:]
    return args


def ask(lab, verb, args, reads=True):
    """Ask; the reply, or what a list or stream begins with."""
    with connect(lab) as client:
        send_request(client, lab, verb, args)
        return take_frame(client) if reads else None


@pytest.mark.modes("xdp")
@pytest.mark.slow
def test_strange_arguments(own_lab):
    """Every request has an answer, and the daemon is as it was."""
    lab = own_lab
    lab.load(RULES)
    lab.client.send_raw("eth0", stream(50, 4, 7, SERVER[4]))
    for verb, args in VERBS.items():  # what it needs once stays
        assert ask(lab, verb, args), verb
    pid, fds, rng = lab.daemon_pid(), lab.daemon_fds(), random.Random("strange")
    for i in range(ROUNDS):
        verb = rng.choice(list(VERBS))
        args = changed(rng, VERBS[verb])
        answer = ask(lab, verb, args, reads=i % 7)
        if i % 7:
            assert answer and ("items" in answer or "status" in answer), (verb, args, answer)
    assert lab.daemon_pid() == pid
    wait_for(lambda: lab.daemon_fds() <= fds, 5, "descriptors to be closed")
    assert lab.status()["daemon"]["monitors"] == 0
    before = lab.counters()
    lab.client.send_raw("eth0", [frame(ip(4, src=CLIENT[4], dst=WAN[4]) / UDP(sport=1, dport=2)),
                                 frame(ip(4) / UDP(sport=1, dport=7))])
    gained = lab.gain(before, lambda c: c.drops() and c.get("new"))
    assert gained.drops() == {"default": 1}, gained
