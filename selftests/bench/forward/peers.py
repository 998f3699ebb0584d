# SPDX-License-Identifier: GPL-2.0-only
"""Who forwards: the stack alone, and firewalls that let in what one side opens."""

from bench.rules import iptables, nft
from bench.rules.case import Rules
from bench.rules.fwctl import Fwctl as FwctlRules
from bench.rules.peer import DEVICE, Load, Peer, Refused
from lab.netns import wait_for

N_RULES = 1000

STATEFUL = """\
table inet forward {{
	chain c {{
		type filter hook forward priority 0; policy drop;
		ct state established accept
		iifname "{device}" ct state new accept
	}}
}}
"""

LINEAR = """\
table {ip} forward {{
	chain c {{
		type filter hook forward priority 0; policy accept;
{rules}	}}
}}
"""

IPTABLES = """\
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT
-A FORWARD -i {device} -m conntrack --ctstate NEW -j ACCEPT
COMMIT
"""

FWCTL = """\
interface wan = {device} {{ mode {mode} }}
interface lan = fw-lan {{ mode {mode} }}
option offload {offload}
default in accept
default out accept
default forward drop
accept forward wan -> lan
"""


class Nobody(Peer):
    """No firewall."""

    name = "none"
    title = "no firewall"
    tracks = False  # whether there is an entry in the connection table for each flow
    xdp = False     # whether it is attached to XDP, which switches TSO of the other end off
    offloads = False

    def missing(self):
        return None

    def write(self, case=None):
        return None

    def install(self, path):
        return Load(0, 0)

    def remove(self):
        """Nothing to do."""


class NftStateful(nft.Nft):
    """nftables: what is established is accepted, and what one side opens."""

    name = "nft"
    title = "nftables, `ct state established`"
    tracks, xdp, offloads = True, False, False

    def write(self, case=None):
        return self.file(STATEFUL.format(device=DEVICE))

    def remove(self):
        self.run("nft", "flush", "ruleset")


class NftRules(NftStateful):
    """nftables: rules that match nothing here, one a line; without state."""

    name = "nft-rules"
    title = f"nftables, {N_RULES} rules, no state"
    tracks = False

    def write(self, case=None):
        text = ""
        for family, ip in ((4, "ip"), (6, "ip6")):
            rules = (rule._replace(verdict="drop") for rule in Rules(family, N_RULES).rules)
            text += LINEAR.format(ip=ip, rules="".join(
                nft.NftLinear.line(family, rule) for rule in rules))
        return self.file(text)


class IptablesStateful(iptables.Iptables):
    """iptables-legacy: the same as nftables."""

    name = "iptables"
    title = "iptables-legacy, `--ctstate ESTABLISHED`"
    tracks, xdp, offloads = True, False, False
    tools = ("iptables-legacy", "ip6tables-legacy")

    def write(self, case=None):
        return self.file(IPTABLES.format(device=DEVICE))

    def install(self, path):
        loads = [self.timed(f"{tool}-restore", path) for tool in self.tools]
        return Load(sum(x.seconds for x in loads), max(x.rss for x in loads))

    def remove(self):
        for tool in self.tools:
            self.run(tool, "-P", "FORWARD", "ACCEPT")
            self.run(tool, "-F", "FORWARD")


class Fwctl(FwctlRules):
    """fwctl in XDP; what is let in goes up the stack."""

    name = "fwctl"
    title = "fwctl, mode xdp"
    hook, mode, offload = "xdp", "xdp", "off"
    tracks, xdp, offloads = True, True, False

    def write(self, case=None):
        return self.file(FWCTL.format(device=DEVICE, mode=self.mode, offload=self.offload))

    def start(self):
        """The first load starts the daemon."""

    def install(self, path):
        return self.timed(self.lab.binary("fwctl"), "load", path)

    def remove(self):
        self.lab.unload()


class FwctlTc(Fwctl):
    """fwctl behind the making of an skb."""

    name = "fwctl-tc"
    title = "fwctl, mode tc"
    hook, mode = "stack", "tc"
    xdp = False


class FwctlOffload(Fwctl):
    """fwctl, and XDP forwards what is established."""

    name = "fwctl-offload"
    title = "fwctl, `option offload on`"
    offload = "on"
    offloads = True

    def install(self, path):
        load = super().install(path)
        self.ready()
        return load

    def ready(self):
        """Wait until XDP forwards by both interfaces; Refused says what hinders it."""
        try:
            wait_for(lambda: not self._hindrance(), 5, "XDP to forward")
        except AssertionError:
            raise Refused(f"XDP does not forward: {self._hindrance()}") from None

    def _hindrance(self):
        found = {x["name"]: x["offload"] for x in self.lab.show("interfaces")["interfaces"]
                 if x["name"] in (DEVICE, "fw-lan")}
        return "; ".join(f"{name}: {x.get('why')}" for name, x in found.items() if not x["on"]) \
            or ("" if len(found) == 2 else "the interfaces are not shown")


PEERS = {cls.name: cls for cls in (Nobody, NftStateful, IptablesStateful, NftRules, Fwctl,
                                   FwctlTc, FwctlOffload)}
