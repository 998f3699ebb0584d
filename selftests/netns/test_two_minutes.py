# SPDX-License-Identifier: GPL-2.0-only
"""What only waiting can show: idle connections live on, half-open ones are gone."""

import pytest

from lab.lab import SERVER
from lab.netns import wait_for
from lab.packets import TCP, frame, ip
from lab.traffic import TcpEcho, tcp_connect, tcp_talk

RULES = ("default in drop\ndefault out drop\ndefault forward drop\n"
         "accept forward wan -> lan proto tcp to port 7 label echo\n")
NOBODY = {4: "192.0.2.77", 6: "2001:db8:1::77"}
UNUSED = {4: "198.51.100.77", 6: "2001:db8:2::77"}


@pytest.mark.waits
@pytest.mark.modes("xdp")
def test_idle_and_half_open(own_lab):
    """After two minutes of silence: talkers still talk, half-open flows are gone."""
    lab = own_lab
    lab.load(RULES)
    lab.fwctl("status")
    talkers = []
    with TcpEcho(lab.server, SERVER[4], 7), TcpEcho(lab.server, SERVER[6], 7):
        for family in (4, 6):
            talkers.append(tcp_connect(lab.client, SERVER[family], 7))
            assert tcp_talk(talkers[-1])
            # SYN_RECV: the answer gets lost. SYN_SENT: there is no answer.
            lab.client.send_raw("eth0", [
                frame(ip(family, src=NOBODY[family]) / TCP(sport=4000, dport=7, flags="S")),
                frame(ip(family, dst=UNUSED[family]) / TCP(sport=4001, dport=7, flags="S"))])
        wait_for(lambda: len(lab.conntrack()) >= 4, 5, "the entries")
        wait_for(lambda: len(lab.conntrack()) == 2, 125, "the half-open flows to go", 1)
        left = min(int(line.split()[2]) for line in lab.conntrack())
        assert left > 86400
        # The first timeout of an entry is at most two minutes; let it pass as well.
        idle = 432000 - left
        wait_for(lambda: 432000 - min(int(x.split()[2]) for x in lab.conntrack()) > 121, 130,
                 f"two minutes of silence, {idle} s of them over", 1)
        for s in talkers:
            assert tcp_talk(s)
            s.close()
