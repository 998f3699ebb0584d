# SPDX-License-Identifier: GPL-2.0-only
"""strongSwan in namespaces of the lab: charon, the daemon of IKE, configured by swanctl.

Files and sockets are in the lab's directory, and processes in its namespaces: all goes with
the lab, however it ends. Nothing of the machine's own strongSwan is touched.
"""

import os
import re
import subprocess

from .ipsec import states
from .netns import patience, wait_for

# `random` reads /dev/random; the rest is the least for IKEv2 with a secret.
STRONGSWAN = """\
charon-systemd {{
	load = random nonce aes sha1 sha2 hmac kdf gmp kernel-netlink socket-default vici
	install_routes = no
	install_virtual_ip = no
	delete_rekeyed_delay = {delay}
	journal {{
		default = -1
	}}
	filelog {{
		lab {{
			path = {folder}/log
			default = 1
			flush_line = yes
		}}
	}}
	plugins {{
		vici {{
			socket = {uri}
		}}
	}}
}}
swanctl {{
	load = random
}}
"""
# `unique` is off: the lab has a name for each end, not for each family.
CONNECTION = """\
	{name} {{
		version = 2
		local_addrs = {local}
		remote_addrs = {remote}
		proposals = aes128-sha256-modp2048
		encap = {encap}
		mobike = no
		unique = never
		rekey_time = 0
		dpd_delay = 0
		local {{
			auth = psk
			id = {local}
		}}
		remote {{
			auth = psk
			id = {remote}
		}}
		children {{
			{name} {{
				local_ts = {local_ts}
				remote_ts = {remote_ts}
				mode = {mode}
				esp_proposals = {proposals}
				reqid = {reqid}
				replay_window = {window}
				rekey_time = {rekey_time}
				life_time = 2h
				start_action = none
			}}
		}}
	}}
"""
DEFAULTS = {"mode": "tunnel", "encap": "no", "proposals": "aes128gcm16", "reqid": 1,
            "window": 64, "rekey_time": 0}


class Charon:
    """The daemon of one namespace."""

    def __init__(self, lab, ns, delay=1):
        """`delay`: for how many seconds an SA takes packets after it was replaced."""
        self.ns = ns
        self.folder = lab.dir / f"charon-{ns.name}"
        self.folder.mkdir(mode=0o700)
        self.uri = f"unix://{self.folder}/vici"
        self._connections = {}
        config = self.folder / "strongswan.conf"
        config.write_text(STRONGSWAN.format(folder=self.folder, uri=self.uri, delay=delay),
                          encoding="ascii")
        self._env = dict(os.environ, STRONGSWAN_CONF=str(config), SWANCTL_DIR=str(self.folder))
        self._process = ns.popen("charon-systemd", env=self._env, stdout=subprocess.DEVNULL)
        wait_for(lambda: self._process.poll() is not None or (self.folder / "vici").exists(), 10,
                 "charon")
        assert self._process.poll() is None, self.log()

    def swanctl(self, *argv, check=True):
        """Run swanctl; returns what it said, or raises AssertionError with charon's log."""
        done = self.ns.run("swanctl", *argv, "--uri", self.uri, env=self._env, check=False,
                           timeout=60)
        if check and done.returncode != 0:
            # It looks for certificates, too, and has no word against it.
            errors = re.sub(r"opening directory .*\n", "", done.stderr)
            raise AssertionError(f"swanctl {' '.join(map(str, argv))}: {done.stdout}{errors}\n"
                                 f"{self.log()}")
        return done.stdout

    def load(self, name, outer, inner, **options):
        """One more connection, of addresses (local, remote), or another one of this name."""
        self._connections[name] = CONNECTION.format(
            name=name, local=outer[0], remote=outer[1], local_ts=inner[0], remote_ts=inner[1],
            **DEFAULTS | options)
        config = self.folder / "swanctl.conf"
        config.write_text("connections {\n" + "".join(self._connections.values()) + "}\n"
                          "secrets {\n\tike-lab {\n\t\tsecret = \"of the lab\"\n\t}\n}\n",
                          encoding="ascii")
        self.swanctl("--load-all", "--noprompt", "--file", config)

    def unload_all(self):
        """No connection any more."""
        for name in self._connections:
            self.swanctl("--terminate", "--ike", name, "--force", check=False)
        self._connections = {}
        config = self.folder / "swanctl.conf"
        config.write_text("", encoding="ascii")
        self.swanctl("--load-all", "--noprompt", "--file", config)

    def log(self):
        """The last lines that charon has written."""
        path = self.folder / "log"
        return "\n".join(path.read_text("utf-8", "replace").splitlines()[-40:]
                         ) if path.exists() else ""

    def close(self):
        """End it; it deletes its SAs and policies."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.communicate(timeout=patience(10))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


class Pair:
    """Two daemons and the connections between them; the first opens and rekeys."""

    def __init__(self, lab, a, b, delay=1):
        self.a = Charon(lab, a, delay)
        try:
            self.b = Charon(lab, b, delay)
        except BaseException:
            self.a.close()
            raise

    def up(self, outer, inner, name="lab", **options):
        """Open a connection; `outer` and `inner` are (address of a, address of b).

        Returns once each end has an SA in each direction.
        """
        self.a.load(name, outer, inner, **options)
        self.b.load(name, outer[::-1], inner[::-1], **options)
        self.a.swanctl("--initiate", "--child", name, "--timeout", f"{patience(10):.0f}")
        wait_for(lambda: all(self._has_both(end.ns, outer) for end in (self.a, self.b)), 5,
                 "SAs in both directions")

    @staticmethod
    def _has_both(ns, outer):
        found = {(x.src, x.dst) for x in states(ns)}
        return {outer, outer[::-1]} <= found

    def spis(self, outer):
        """SPIs of what `a` sends to b, as a knows them."""
        return {x.spi for x in states(self.a.ns) if (x.src, x.dst) == outer}

    def rekey(self, outer, name="lab"):
        """Replace the SAs of a connection; returns once a sends by the new one only."""
        before = self.spis(outer)
        self.a.swanctl("--rekey", "--child", name)
        wait_for(lambda: (now := self.spis(outer)) and not now & before, 10,
                 "the new SA alone")

    def down(self):
        """No connections, SAs and policies any more, at either end."""
        for end in (self.a, self.b):
            end.unload_all()
            for what in ("policy", "state"):
                end.ns.run("ip", "xfrm", what, "flush")

    def log(self):
        """What both have said last."""
        return f"a:\n{self.a.log()}\nb:\n{self.b.log()}"

    def close(self):
        """End both."""
        self.a.close()
        self.b.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
