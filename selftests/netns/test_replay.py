# SPDX-License-Identifier: GPL-2.0-only
"""Packets of a real SA that come again, or in another order: what XDP knows of its window."""

import random
import socket

import pytest

from lab.ipsec import (INNER, Sa, address_inside, connect, disconnect, receives_in_udp,
                       xfrm_stat)
from lab.lab import CLIENT, WAN, WAN_MAC, Lab
from lab.netns import wait_for
from lab.traffic import family_of

pytestmark = [pytest.mark.needs("esp", "xdpxfrm"), pytest.mark.modes("xdp", "xdp-generic")]
families = pytest.mark.parametrize("family", [4, 6])
RULES = ("option esp-unknown-spi drop\ndefault in drop\ndefault out accept\ndefault forward drop\n"
         "accept in on wan proto esp\naccept in on wan proto udp to self port { 7, 4500 }\n")
REPLAY = "esp-replay"
SO_RCVBUFFORCE = 33
COUNT = 200
NOWHERE = "02:00:00:00:09:09"
KINDS = {"short": Sa(window=32), "esn": Sa(window=64, esn=True), "wide": Sa(window=256, esn=True),
         "udp": Sa(window=64, esn=True, port=4500)}


@pytest.fixture(scope="module")
def sa_lab():
    """The lab with inner addresses."""
    with Lab() as lab:
        address_inside(lab)
        yield lab
        lab.unload()
        assert not lab.sanitizer_reports(), lab.sanitizer_reports()


@pytest.fixture
def tunnel(sa_lab, mode, family, kind):
    """A tunnel from the client to the firewall."""
    sa_lab.mode, sa = mode, KINDS[kind]
    disconnect(sa_lab)
    ends = CLIENT[family], WAN[family]
    connect(sa_lab.client, sa_lab.firewall, ends,
            (INNER["client"][family], INNER["firewall"][family]), "tunnel", sa=sa)
    sa_lab.load(RULES)
    sa_lab.refused_before = refused_ever(sa_lab)
    if sa.port:
        with receives_in_udp(sa_lab.firewall, WAN[family], sa.port):
            yield sa_lab
    else:
        yield sa_lab
    disconnect(sa_lab)


class Sink:
    """Takes datagrams inside of the tunnel; how many there were."""

    def __init__(self, lab, family):
        self._s = lab.firewall.socket(family_of(INNER["firewall"][family]), socket.SOCK_DGRAM)
        self._s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
        self._s.bind((INNER["firewall"][family], 7))
        self._s.setblocking(False)
        self._count = 0

    def count(self):
        """Datagrams so far."""
        try:
            while self._s.recv(2048):
                self._count += 1
        except BlockingIOError:
            return self._count

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._s.close()


def undelivered(lab, family, count):
    """ESP of so many datagrams, in order, as frames that the firewall has not seen yet."""
    neighbour = ["neighbour", "replace", WAN[family], "dev", "eth0", "nud", "permanent", "lladdr"]
    lab.client.run("ip", f"-{family}", *neighbour, NOWHERE)
    target, source = INNER["firewall"][family], INNER["client"][family]
    mac = bytes.fromhex(NOWHERE.replace(":", ""))
    with lab.client.sniffer("eth0") as sniffer, \
            lab.client.socket(family_of(target), socket.SOCK_DGRAM) as s:
        s.bind((source, 0))
        for i in range(count):
            s.sendto(b"%d" % i, (target, 7))
        found = [f for kind, f in sniffer.read() if kind == 4 and f[:6] == mac]
    lab.client.run("ip", f"-{family}", *neighbour, WAN_MAC)
    assert len(found) == count
    return [bytes.fromhex(WAN_MAC.replace(":", "")) + f[6:] for f in found]


def shuffled(frames, window):
    """Late by less than the window, each."""
    rng = random.Random(1)
    places = {i: i + rng.randrange(window // 2) for i in range(len(frames))}
    return [frames[i] for i in sorted(places, key=lambda i: (places[i], -i))]


def refused(lab):
    """Packets that XFRM has refused since the tunnel was made, for their number or because
    they are not genuine."""
    return refused_ever(lab) - lab.refused_before


def refused_ever(lab):
    """The same since there is the lab."""
    found = xfrm_stat(lab.firewall)
    return found.get("XfrmInStateSeqError", 0) + found.get("XfrmInStateProtoError", 0)


@families
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.alternate
def test_reordered_and_replayed(tunnel, family, kind):
    """Out of order within the window all arrive; of the same again none does. XDP knows those
    of the window, and those behind it unless they may be numbers of the next 2^32."""
    window = KINDS[kind].window
    frames = undelivered(tunnel, family, COUNT + window)
    with Sink(tunnel, family) as sink:
        before = tunnel.counters()
        tunnel.client.send_raw("eth0", shuffled(frames, window))
        wait_for(lambda: sink.count() == len(frames), 5, "all datagrams")
        gained = tunnel.counters() - before
        assert not gained.drops() and not refused(tunnel), (gained, xfrm_stat(tunnel.firewall))

        before = tunnel.counters()
        tunnel.client.send_raw("eth0", frames[COUNT:])
        gained = tunnel.gain(before, lambda c: c.get(REPLAY, "xdp") >= window)
        assert gained.drops() == {REPLAY: window}, gained

        before = tunnel.counters()
        tunnel.client.send_raw("eth0", frames[:COUNT])
        if KINDS[kind].esn:
            wait_for(lambda: refused(tunnel) == COUNT, 5, "XFRM")
            assert not (tunnel.counters() - before).drops()
        else:
            gained = tunnel.gain(before, lambda c: c.get(REPLAY, "xdp") >= COUNT)
            assert gained.drops() == {REPLAY: COUNT} and not refused(tunnel), gained
        assert sink.count() == len(frames)
