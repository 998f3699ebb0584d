# SPDX-License-Identifier: GPL-2.0-only
"""A host beside the client that no kernel is behind: over TCP it says what it likes."""

import socket

from .lab import CLIENT_MAC
from .netns import wait_for
from .packets import IP, TCP, Ether, IPv6, frame, ip

STRANGER = {4: "192.0.2.6", 6: "2001:db8:1::6"}


class Stranger:
    """One pair of ports of it and of a host; a context manager."""

    def __init__(self, lab, host, sport, dport):
        self._family = 6 if ":" in host else 4
        self._host, self._sport, self._dport = host, sport, dport
        self._client = lab.client
        lab.firewall.run("ip", "neighbour", "replace", STRANGER[self._family], "lladdr",
                         CLIENT_MAC, "dev", "fw-wan", "nud", "permanent")
        self._sniffer = lab.client.sniffer("eth0")
        self._heard = 0

    def says(self, flags, seq=0, ack=0, data=b""):
        """Send one segment."""
        segment = TCP(sport=self._sport, dport=self._dport, flags=flags, seq=seq % 2**32,
                      ack=ack % 2**32)
        self._client.send_raw("eth0", [frame(
            ip(self._family, STRANGER[self._family], self._host) / segment / data)])

    def _answers(self):
        family = {4: IP, 6: IPv6}[self._family]
        for kind, data in self._sniffer.read():
            packet = Ether(data)
            if kind == socket.PACKET_OUTGOING or TCP not in packet or family not in packet:
                continue
            tcp = packet[TCP]
            if (packet[family].src, tcp.sport, tcp.dport) == (self._host, self._dport,
                                                              self._sport):
                yield tcp

    def hears(self, flags, deadline=2.0):
        """Wait for the next segment with these flags; returns it."""
        def find():
            return next((t for t in list(self._answers())[self._heard:]
                         if str(t.flags) == flags), None)
        found = wait_for(find, deadline, f"{flags} from {self._host}")
        self._heard = len(list(self._answers()))
        return found

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._sniffer.close()
