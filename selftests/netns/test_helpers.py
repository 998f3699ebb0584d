# SPDX-License-Identifier: GPL-2.0-only
"""FTP beside fwctl: what the kernel's helper reads lets data connections through, and no more."""

import contextlib

import pytest

from lab.ftp import FtpClient, FtpServer
from lab.lab import CLIENT, LAN, SERVER, WAN
from lab.netns import patience
from lab.traffic import TcpEcho, cut, tcp_connect, tcp_try

pytestmark = [pytest.mark.needs("ftp"), pytest.mark.alternate]
both = pytest.mark.parametrize("family", [4, 6])
modes = pytest.mark.parametrize("passive", [True, False], ids=["passive", "active"])
DENY = "default in drop\ndefault out drop\ndefault forward drop\n"
# No rule for data connections, nor for anything that answers.
FORWARD = DENY + "accept forward wan -> lan proto tcp to port ftp label ftp\n"
HELPER = """\
table inet lab_helper {
	ct helper ftp {
		type "ftp" protocol tcp;
	}
	chain in {
		type filter hook prerouting priority filter;
		tcp dport 21 ct helper set "ftp"
	}
	chain out {
		type filter hook output priority filter;
		tcp dport 21 ct helper set "ftp"
	}
}
"""
MASQUERADE = """\
table inet lab_nat {
	chain out {
		type nat hook postrouting priority srcnat;
		oifname "fw-lan" masquerade
	}
}
"""
DNAT = """\
table inet lab_dnat {
	chain in {
		type nat hook prerouting priority dstnat;
		iifname "fw-wan" meta nfproto ipv4 tcp dport 21 dnat ip to %s
		iifname "fw-wan" meta nfproto ipv6 tcp dport 21 dnat ip6 to %s
	}
}
""" % (SERVER[4], SERVER[6])


@pytest.fixture
def ftp_lab(lab):
    """The lab without nftables; nothing is adopted."""
    lab.adopt = "off"
    lab.firewall.run("nft", "flush", "ruleset")
    yield lab
    lab.firewall.run("nft", "flush", "ruleset")


def nft(lab, *texts):
    """Add to the firewall's nftables rules."""
    for text in texts:
        lab.firewall.run("nft", "-f", lab.write("rules.nft", text))


@both
@modes
@pytest.mark.parametrize("first", ["nft", "fwctl"])
def test_through_a_router(ftp_lab, family, passive, first):
    """Both modes, both ways; data bear the label of the control connection."""
    lab = ftp_lab
    if first == "nft":
        lab.unload()
        nft(lab, HELPER)
    lab.load(FORWARD)
    if first == "fwctl":
        nft(lab, HELPER)
    before, opened = lab.counters(), lab.rule("ftp")["flows"]
    with FtpServer(lab.server, SERVER[family]), \
            FtpClient(lab.client, SERVER[family], passive) as client:
        for _ in range(3):
            assert client.fetch(), lab.counters() - before
            assert client.store()
        gained = lab.counters() - before
        assert not gained.drops(), gained
        flows = [f for f in lab.flows() if f["protocol"] == "tcp"]
        assert len(flows) == 7 and {f["rule"] for f in flows} == {"ftp"}, flows
        assert lab.rule("ftp")["flows"] - opened == 7


@both
@modes
def test_without_helper(ftp_lab, family, passive):
    """Nobody reads what the two agree on, so the rules have to."""
    lab = ftp_lab
    lab.load(FORWARD)
    with FtpServer(lab.server, SERVER[family]), \
            FtpClient(lab.client, SERVER[family], passive) as client:
        assert client.attempt() is not True
        lab.load(FORWARD + "accept forward proto tcp to port 1024-65535 label data\n")
    with FtpServer(lab.server, SERVER[family]), \
            FtpClient(lab.client, SERVER[family], passive) as client:
        assert client.fetch()


@both
@modes
def test_opened_before_fwctl(ftp_lab, family, passive):
    """A session that is older than the rules, in the middle of which they are loaded again."""
    lab = ftp_lab
    lab.unload()
    nft(lab, HELPER)
    with FtpServer(lab.server, SERVER[family]), \
            FtpClient(lab.client, SERVER[family], passive) as client:
        assert client.fetch()
        lab.load(FORWARD)
        before = lab.counters()
        assert client.fetch(), lab.counters() - before
        lab.load(FORWARD + "# again\n")
        assert client.fetch() and client.store()
        assert not (lab.counters() - before).drops(), lab.counters() - before


@both
@modes
def test_reload_during_transfer(ftp_lab, family, passive):
    """Data go on while the control connection is silent; rules that deny that end both."""
    lab = ftp_lab
    nft(lab, HELPER)
    lab.load(FORWARD)
    with FtpServer(lab.server, SERVER[family]), \
            FtpClient(lab.client, SERVER[family], passive) as client:
        data = client.start()
        assert data.recv(10)
        before = lab.counters()
        for i in range(3):
            lab.load(FORWARD + f"# {i}\n")
            for _ in range(100):
                assert data.recv(1 << 16)
        assert not (lab.counters() - before).drops(), lab.counters() - before
        lab.load(DENY + "accept forward wan -> lan proto tcp to port 7\n")
        cut(data)
        data.settimeout(patience(0.4))
        with pytest.raises(TimeoutError):
            while data.recv(1 << 16):
                pass
        data.close()
        gained = lab.counters() - before
        assert gained.drops().keys() >= {"reload"}, gained
        cut(client.sock)


@both
@modes
@pytest.mark.parametrize("nat", [MASQUERADE, DNAT, MASQUERADE + DNAT],
                         ids=["masquerade", "dnat", "dnat-masquerade"])
def test_translated(ftp_lab, family, passive, nat):
    """The helper translates what the two agree on, too."""
    lab = ftp_lab
    nft(lab, HELPER, nat)
    target = WAN if "dnat" in nat else SERVER
    lab.load(DENY + "accept in on wan proto tcp to self port ftp label ftp\n"
             "accept forward wan -> lan proto tcp to port ftp label ftp2\n")
    before = lab.counters()
    with FtpServer(lab.server, SERVER[family]) as server, \
            FtpClient(lab.client, target[family], passive) as client:
        for i in range(3):
            assert client.fetch(), lab.counters() - before
            assert client.store(), lab.counters() - before
            lab.load(DENY + "accept in on wan proto tcp to self port ftp label ftp\n"
                     f"accept forward wan -> lan proto tcp to port ftp label ftp2\n# {i}\n")
        seen = LAN if "masquerade" in nat else CLIENT
        assert set(server.seen) == {seen[family]}
        gained = lab.counters() - before
        assert not gained.drops(), gained


@both
@modes
@pytest.mark.parametrize("who", ["server", "client"])
def test_of_the_firewall_itself(ftp_lab, family, passive, who):
    """The host that filters is the server, or the client."""
    lab = ftp_lab
    nft(lab, HELPER)
    if who == "server":
        here, there, address = lab.firewall, lab.client, WAN[family]
        lab.load(DENY + "accept in on wan proto tcp to self port ftp label ftp\n")
    else:
        here, there, address = lab.client, lab.firewall, CLIENT[family]
        lab.load(DENY + "accept out on wan proto tcp to port ftp label ftp\n")
    before = lab.counters()
    with FtpServer(here, address), FtpClient(there, address, passive) as client:
        for i in range(2):
            assert client.fetch(), lab.counters() - before
            assert client.store(), lab.counters() - before
        gained = lab.counters() - before
        assert not gained.drops(), gained
        # ingress has judged the first packets: nobody stands behind it
        assert bool(gained.get("related")) == (passive == (who == "server")), gained


@both
def test_only_what_was_announced(ftp_lab, family):
    """Another port, another host, and the port once it has been used up, stay closed."""
    lab = ftp_lab
    nft(lab, HELPER)
    lab.load(FORWARD)
    with FtpServer(lab.server, SERVER[family]), contextlib.ExitStack() as stack, \
            FtpClient(lab.client, SERVER[family]) as client:
        with lab.client.inside():
            host, port = client.makepasv()
        assert host == SERVER[family]
        stack.enter_context(TcpEcho(lab.server, SERVER[family], port + 1))
        before = lab.counters()
        assert tcp_try(lab.client, host, port + 1, timeout=0.2) == "timeout"
        # the client is another one now
        other = {4: "192.0.2.9", 6: "2001:db8:1::9"}[family]
        lab.client.run("ip", "address", "add", f"{other}/{24 if family == 4 else 64}", "dev",
                       "eth0", *(["nodad"] if family == 6 else []))
        try:
            assert tcp_try(lab.client, host, port, timeout=0.2, source=(other, 0)) == "timeout"
        finally:
            lab.client.run("ip", "address", "del", f"{other}/{24 if family == 4 else 64}", "dev",
                           "eth0")
        assert set((lab.counters() - before).drops()) == {"default"}
        with tcp_connect(lab.client, host, port) as data:
            cut(data)
        assert tcp_try(lab.client, host, port, timeout=0.2) == "timeout"


@both
def test_killed_and_gone(ftp_lab, family):
    """`flows kill` of the session ends its data connections, and what it has announced."""
    lab = ftp_lab
    nft(lab, HELPER)
    lab.load(FORWARD)
    with FtpServer(lab.server, SERVER[family]):
        client = FtpClient(lab.client, SERVER[family])
        data = client.start()
        assert data.recv(10)
        second = FtpClient(lab.client, SERVER[family])
        with lab.client.inside():
            host, port = second.makepasv()
        assert len(lab.flows()) == 3, lab.flows()
        assert lab.fwctl("flows", "kill", "rule", "ftp").out == "3 flows killed\n"
        data.settimeout(patience(0.4))
        with pytest.raises(TimeoutError):
            while data.recv(1 << 16):
                pass
        assert tcp_try(lab.client, host, port, timeout=0.2) == "timeout"
        for s in (data, client.sock, second.sock):
            cut(s)
            s.close()


@both
@modes
def test_nftables_goes_away(ftp_lab, family, passive):
    """Its rules go in the middle of a session, and come back: new sessions work."""
    lab = ftp_lab
    nft(lab, HELPER)
    lab.load(FORWARD)
    with FtpServer(lab.server, SERVER[family]), contextlib.ExitStack() as stack:
        client = stack.enter_context(FtpClient(lab.client, SERVER[family], passive))
        assert client.fetch()
        second = stack.enter_context(FtpClient(lab.client, SERVER[family], passive))
        data = stack.enter_context(second.start())
        lab.firewall.run("nft", "flush", "ruleset")
        for _ in range(100):
            assert data.recv(1 << 16)
        assert client.voidcmd("NOOP")
        nft(lab, HELPER)
        for _ in range(100):
            assert data.recv(1 << 16)
        assert client.voidcmd("NOOP")
        cut(data)
        again = stack.enter_context(FtpClient(lab.client, SERVER[family], passive))
        assert again.fetch()
