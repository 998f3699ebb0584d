# SPDX-License-Identifier: GPL-2.0-only
"""iperf3 through a firewall: client and server are namespaces, all devices set alike.

Native XDP switches off the segmentation offload of a veth's other end, and senders have to
write their checksums where XDP forwards. So all are compared without both; and those that
do without XDP a second time with both, as a veth is unless somebody changes it. XDP on a veth
has each segment that a stack sends copied first, which XDP in the driver of a network card
does not: so there is a comparison with XDP_PASS in front of all that do without XDP, too.
"""

import contextlib
import os
import random

from bench.rules.measure import spread
from bench.rules.peer import DEVICE, Refused
from bench.rules.track import attach_xdp
from lab import bpf
from lab.lab import SERVER, Lab
from lab.traffic import Iperf

DEVICES = (DEVICE, "fw-lan")
# name: title, offloads of the ends, of the firewall
SETTINGS = {
    "no-tso": ("TSO off", ("tx", "off", "gro", "on"), ("tx", "off", "gro", "off")),
    "no-tso-gro": ("TSO off, GRO of the firewall on", ("tx", "off", "gro", "on"),
                   ("tx", "off", "gro", "on")),
    "no-tso-pass": ("TSO off, XDP on all firewalls", ("tx", "off", "gro", "on"),
                    ("tx", "off", "gro", "off")),
    "tso": ("TSO on", ("tx", "on", "tso", "on", "gro", "off"),
            ("tx", "on", "tso", "on", "gro", "off")),
}


class TcpStation:
    """A peer between a client and a server."""

    def __init__(self, peer_class, build):
        self._stack = contextlib.ExitStack()
        self._fds = []
        try:
            self.lab = self._stack.enter_context(Lab(build))
            self.peer = peer_class(self.lab)
            missing = self.peer.missing()
            if missing:
                raise Refused(missing)
            self.set("no-tso")  # a veth end that takes frames from XDP, before it is asked for
            path = self.peer.write()
            self._stack.callback(self.peer.stop)
            self.peer.start()
            self.peer.install(path)
            self._stack.callback(self.peer.remove)
        except BaseException:
            self.close()
            raise

    def close(self):
        """Unload, and remove the lab."""
        self._pass(False)
        self._stack.close()

    def refuses(self, setting):
        """Why this peer has no figure with these settings, or None."""
        return "XDP switches it off" if setting == "tso" and self.peer.xdp else None

    def set(self, setting):
        """The offloads of all devices, and XDP_PASS."""
        _, ends, firewall = SETTINGS[setting]
        self._pass(setting == "no-tso-pass" and not self.peer.xdp)
        for ns in (self.lab.client, self.lab.server):
            ns.run("ethtool", "-K", "eth0", *ends)
        for device in DEVICES:
            self.lab.firewall.run("ethtool", "-K", device, *firewall)

    def _pass(self, is_wanted):
        while self._fds:
            os.close(self._fds.pop())
        if is_wanted:
            self._fds = [attach_xdp(self.lab.firewall, device, bpf.XDP_PASS)
                         for device in DEVICES]

    def run(self, setting, family, seconds):
        """Bits a second that the server has received."""
        self.set(setting)
        if self.peer.offloads:
            self.peer.ready()
            before = self.lab.counters().get("offloaded")
        report = Iperf(self.lab.client, self.lab.server, SERVER[family], seconds).result()
        if self.peer.offloads and self.lab.counters().get("offloaded") - before < 1000:
            raise AssertionError(f"{self.peer.name}: TCP was not offloaded")
        return report["end"]["sum_received"]["bits_per_second"]


class Tcp:
    """Measures stations by turns."""

    def __init__(self, stations, seconds, trials):
        self.stations, self.seconds, self.trials = stations, seconds, trials

    def points(self, family, setting):
        """{peer: point, or why there is none}."""
        rates = {name: [] for name in self.stations}
        found = {}
        for trial in range(self.trials):
            order = list(self.stations)
            random.Random(f"{family} {setting} {trial}").shuffle(order)
            for name in order:
                if name in found:
                    continue
                reason = self.stations[name].refuses(setting)
                try:
                    if reason:
                        raise Refused(reason)
                    rates[name].append(self.stations[name].run(setting, family, self.seconds))
                except (Refused, AssertionError) as e:
                    found[name] = e
        return {name: found.get(name) or {"bps": spread(rates[name])} for name in self.stations}
