# SPDX-License-Identifier: GPL-2.0-only
"""Connections that are older than the first rules live on; what is none of them does not."""

import contextlib
import socket
import time

import pytest

from lab.lab import CLIENT, SERVER, WAN
from lab.netns import patience
from lab.stranger import Stranger
from lab.traffic import Connection, TcpEcho, tcp_try

both = pytest.mark.parametrize("family", [4, 6])
# One rule for each of the three; the answers are in no rule.
RULES = ("default in drop\ndefault out drop\ndefault forward drop\n"
         "accept in on wan proto tcp to self port 22 label ssh\n"
         "accept out on wan proto { tcp, udp } to port 443 label mine\n"
         "accept forward wan -> lan proto tcp to port 7 label echo\n")

TRACKS = "table inet lab { chain c { type filter hook input priority 0; ct state new accept; }; }"


@pytest.fixture
def fresh(own_lab):
    """A lab where nothing was ever loaded."""
    own_lab.adopt = "60s"
    return own_lab


def connections(lab, stack, family):
    """An incoming, an outgoing and a forwarded connection, by the label of their rule."""
    return {
        "ssh": Connection(stack, lab.client, lab.firewall, WAN[family], 22),
        "mine": Connection(stack, lab.firewall, lab.client, CLIENT[family], 443),
        "echo": Connection(stack, lab.client, lab.server, SERVER[family], 7),
    }


@both
@pytest.mark.parametrize("opener_first", [True, False])
def test_survive_the_first_load(fresh, family, opener_first):
    """In, out and forwarded, whoever speaks first: nothing is lost, and all are ours then."""
    lab = fresh
    with contextlib.ExitStack() as stack:
        old = connections(lab, stack, family)
        lab.load(RULES)
        before = lab.counters()
        for label, connection in old.items():
            assert connection.says(opener_first), (label, lab.counters() - before)
        assert not (lab.counters() - before).drops()
        flows = {f["rule"]: f for f in lab.flows()}
        assert flows.keys() == old.keys(), flows
        assert {f["state"] for f in flows.values()} == {"ESTABLISHED"}, flows
        port = {f["original"]["destination_port"] for f in flows.values()}
        assert port == {22, 443, 7}, flows
        for connection in old.values():
            assert connection.says(not opener_first)
            connection.give_up()


@both
def test_denied_ones_end(fresh, family):
    """What no rule accepts in either direction is not adopted."""
    lab = fresh
    with contextlib.ExitStack() as stack:
        old = connections(lab, stack, family)
        lab.load("default in drop\ndefault out drop\n")
        before = lab.counters()
        for connection in old.values():
            connection.give_up()
            assert not connection.says(True)
        lab.gain(before, lambda c: c.get("tcp-no-syn") >= 3)
        assert not lab.flows()


@both
@pytest.mark.parametrize("where", ["here", "behind"])
def test_nobody_opens_what_is_denied(fresh, family, where):
    """What the rules let out is no way in: an ACK that passes for an answer opens no door."""
    lab = fresh
    host, address = ((lab.firewall, WAN[family]) if where == "here"
                     else (lab.server, SERVER[family]))
    with TcpEcho(host, address, 22), Stranger(lab, address, 443, 22) as stranger:
        lab.load("default in drop\ndefault out accept\n"
                 "default forward drop\naccept forward lan -> wan\n")
        before = lab.counters()
        stranger.says("A", 1000, 1000)
        lab.gain(before, lambda c: c.get("established") + c.get("tcp-no-syn") >= 1)
        stranger.says("S", 1000)
        stranger.says("S", 1000 + 2**30)
        lab.gain(before, lambda c: c.get("default") == 2)
        with pytest.raises(AssertionError):
            stranger.hears("A", 0.5)


@both
@pytest.mark.parametrize("opener_first", [True, False])
def test_who_listens_has_not_opened(fresh, family, opener_first):
    """What rules let out is what this host has opened, not all it takes part in."""
    lab = fresh
    with contextlib.ExitStack() as stack:
        old = connections(lab, stack, family)
        old["denied"] = Connection(stack, lab.client, lab.firewall, WAN[family], 23)
        for port in (22, 23):
            stack.enter_context(TcpEcho(lab.firewall, WAN[family], port))
        lab.load("default in drop\ndefault out drop\n"
                 "accept in on wan proto tcp to self port 22 label ssh\n"
                 "accept out label mine\n")
        before = lab.counters()
        old["denied"].give_up()
        assert not old["denied"].says(opener_first)
        lab.gain(before, lambda c: c.get("tcp-no-syn") >= 1)
        assert old["ssh"].says(opener_first) and old["mine"].says(opener_first)
        assert {f["rule"] for f in lab.flows()} == {"ssh", "mine"}
        for connection in old.values():
            connection.give_up()


@both
@pytest.mark.parametrize("how", ["off", "later", "reload"])
def test_window(fresh, family, how):
    """Off: nothing is adopted. Later: what was silent until then is not. A second load goes
    on with the window of the first, and opens none of its own."""
    lab = fresh
    lab.adopt = {"off": "off", "later": "1s", "reload": "60s"}[how]
    with contextlib.ExitStack() as stack:
        old = connections(lab, stack, family)
        lab.load(RULES)
        if how == "reload":
            lab.load(RULES + "# again\n")
            assert old["ssh"].says(True)
            lab.adopt = "off"
            lab.load(RULES)
            assert old["ssh"].says(True)
            lab.adopt = "60s"
            lab.load(RULES)
            del old["ssh"]
        elif how == "later":
            time.sleep(1.2)
        before = lab.counters()
        for connection in old.values():
            connection.give_up()
            assert not connection.says(True)
        lab.gain(before, lambda c: c.get("tcp-no-syn", lab.hook) >= 1)


@both
def test_killed_is_not_adopted(fresh, family):
    """flows kill ends a connection for good, in the window too."""
    lab = fresh
    with contextlib.ExitStack() as stack:
        old = connections(lab, stack, family)["ssh"]
        lab.load(RULES)
        assert old.says(True)
        assert lab.fwctl("flows", "kill", "rule", "ssh").out == "1 flow killed\n"
        old.give_up()
        assert not old.says(True) and not old.says(False)
        assert not lab.flows()


@both
@pytest.mark.parametrize("is_known", [True, False])
def test_where_the_kernel_tracks(fresh, family, is_known):
    """What it has seen from the start lives on; what it does not know, and may not pick up,
    passes while connections are adopted, and leaves nothing."""
    lab = fresh

    def track():
        lab.firewall.run("nft", "-f", "-", input=TRACKS)
        lab.firewall.sysctl(net__netfilter__nf_conntrack_tcp_loose=0)

    with contextlib.ExitStack() as stack:
        if is_known:
            track()
        old = connections(lab, stack, family)
        if not is_known:
            track()
        lab.load(RULES)
        before = lab.counters()
        for label, connection in old.items():
            assert connection.says(True), (label, lab.counters() - before)
        assert len(lab.flows()) == (len(old) if is_known else 0)
        if not is_known:
            lab.adopt = "off"
            lab.load(RULES)
            for connection in old.values():
                connection.give_up()
                assert not connection.says(True)
            lab.gain(before, lambda c: c.get("tcp-no-syn") >= 2)


@both
def test_udp_answers(fresh, family):
    """A socket here is connected: its answers pass, strangers' datagrams do not."""
    lab = fresh
    kind = socket.AF_INET if family == 4 else socket.AF_INET6
    with lab.firewall.socket(kind, socket.SOCK_DGRAM) as mine, \
            lab.client.socket(kind, socket.SOCK_DGRAM) as server, \
            lab.firewall.socket(kind, socket.SOCK_DGRAM) as service:
        server.bind((CLIENT[family], 443))
        mine.connect((CLIENT[family], 443))
        mine.send(b"ask")
        service.bind((WAN[family], 161))
        peer = server.recvfrom(10)[1]
        mine.settimeout(patience(2))
        service.settimeout(patience(0.3))
        lab.load(RULES)
        before = lab.counters()
        # rules accept `out` to port 443, but nobody here has asked from port 161
        server.sendto(b"attack", (WAN[family], 161))
        with pytest.raises(TimeoutError):
            service.recv(10)
        lab.gain(before, lambda c: c.get("default", "ingress", "fw-wan") == 1)
        server.sendto(b"tell", peer)
        assert mine.recv(10) == b"tell"
        flow, = lab.flows()
        assert (flow["rule"], flow["direction"], flow["state"]) == ("mine", "out", "REPLIED")
        mine.send(b"more")
        assert server.recv(10) == b"more"


@both
def test_daemon_dies_in_the_window(fresh, family):
    """The window belongs to the rules, not to the daemon."""
    lab = fresh
    with contextlib.ExitStack() as stack:
        old = connections(lab, stack, family)
        lab.load(RULES)
        lab.firewall.run("kill", "-9", str(lab.daemon_pid()))
        assert old["ssh"].says(True)
        lab.load(RULES + "# again\n")
        assert old["echo"].says(False)
        with TcpEcho(lab.server, SERVER[family], 8):
            assert tcp_try(lab.client, SERVER[family], 8, timeout=0.3) == "timeout"
