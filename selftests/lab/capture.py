# SPDX-License-Identifier: GPL-2.0-only
"""A running `fwctl capture`, and what is in its file: by a reader of our own and by tshark."""

import json
import pathlib
import shutil
import signal
import struct
import subprocess
from typing import NamedTuple

from .netns import patience, wait_for

SECTION, INTERFACE, STATISTICS, PACKET = 0x0a0d0d0a, 1, 5, 6
COMMENT, IF_NAME, IF_TSRESOL, EPB_FLAGS, ISB_IFDROP, ISB_USRDELIV = 1, 2, 9, 2, 5, 8
LINKS = {1: "ethernet", 101: "raw"}
TSHARK_LINKS = {"1": "ethernet", "7": "raw"}
DIRECTIONS = {1: "in", 2: "out"}


class Frame(NamedTuple):
    """A packet of a file."""

    data: bytes
    length: int  # of the packet
    time_ns: int
    interface: str
    link: str
    direction: str
    comment: str


def read_blocks(path):
    """(type, body) of each block of a file, whose framing is right to its end."""
    data = pathlib.Path(path).read_bytes()
    at, blocks = 0, []
    while at < len(data):
        kind, size = struct.unpack_from("=II", data, at)
        assert size % 4 == 0 and size >= 12, (at, size)
        assert struct.unpack_from("=I", data, at + size - 4) == (size,), at
        blocks.append((kind, data[at + 8:at + size - 4]))
        at += size
    assert blocks[0][0] == SECTION
    return blocks


def _options(body, at):
    """Options of a block, from an offset of its body on."""
    found = {}
    while at < len(body):
        code, size = struct.unpack_from("=HH", body, at)
        found[code] = body[at + 4:at + 4 + size]
        at += 4 + (size + 3) // 4 * 4
    return found


def _interface(body):
    """Name and link type."""
    found = _options(body, 8)
    assert found[IF_TSRESOL] == b"\x09"
    return found.get(IF_NAME, b"").decode(), LINKS[struct.unpack_from("=H", body)[0]]


def _packet(body, interfaces):
    number, high, low, size, length = struct.unpack_from("=5I", body)
    found = _options(body, 20 + (size + 3) // 4 * 4)
    return Frame(body[20:20 + size], length, high << 32 | low, *interfaces[number],
                 DIRECTIONS[struct.unpack("=I", found[EPB_FLAGS])[0]], found[COMMENT].decode())


def _by_tshark(path):
    """The same as tshark sees it, which complains of nothing."""
    done = subprocess.run(["tshark", "-n", "-r", str(path), "-T", "json", "-x"],
                          capture_output=True, text=True, check=False, timeout=patience(30))
    complaints = [line for line in done.stderr.splitlines() if not line.startswith("Running as")]
    assert done.returncode == 0 and not complaints, done.stderr
    frames = []
    for packet in json.loads(done.stdout):
        layers = packet["_source"]["layers"]
        fields = layers["frame"]
        flags = fields["frame.packet_flags_tree"]["frame.packet_flags_direction"]
        frames.append(Frame(
            bytes.fromhex(layers["frame_raw"][0]), int(fields["frame.len"]),
            int(fields["frame.time_epoch"].replace(".", "")),  # nine digits
            fields["frame.interface_id_tree"]["frame.interface_name"],
            TSHARK_LINKS[fields["frame.encap_type"]], DIRECTIONS[int(flags, 0)],
            layers["pkt_comment"]["frame.comment"]))
    return frames


def read_frames(path):
    """All packets of a file. Where there is tshark, it sees the same."""
    interfaces, frames = [], []
    for kind, body in read_blocks(path):
        if kind == INTERFACE:
            interfaces.append(_interface(body))
        elif kind == PACKET:
            frames.append(_packet(body, interfaces))
    if shutil.which("tshark"):
        assert _by_tshark(path) == frames
    return frames


def packets_so_far(path):
    """How many packets are in a file that is being written, the last of which may not be whole."""
    data, at, found = path.read_bytes(), 0, 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from("=II", data, at)
        at += size
        found += kind == PACKET and at <= len(data)
    return found


def read_statistics(path):
    """By name of the interface: (packets in the file, packets lost)."""
    interfaces, statistics = [], {}
    for kind, body in read_blocks(path):
        if kind == INTERFACE:
            interfaces.append(_interface(body))
        elif kind == STATISTICS:
            found = _options(body, 12)
            name, _ = interfaces[struct.unpack_from("=I", body)[0]]
            delivered, lost = statistics.get(name, (0, 0))
            statistics[name] = (delivered + struct.unpack("=Q", found[ISB_USRDELIV])[0],
                                lost + struct.unpack("=Q", found[ISB_IFDROP])[0])
    return statistics


class Capture:
    """Captures from the moment it is made; a context manager."""

    def __init__(self, lab, *words, path=None, **kwargs):
        self._lab = lab
        self.path = path or lab.dir / f"capture-{id(self)}.pcapng"
        others = self._running()
        kwargs = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | kwargs
        self.process = subprocess.Popen(  # pylint: disable=consider-using-with
            lab.firewall.argv(lab.binary("fwctl"), "capture", str(self.path), *words),
            env=lab.environment(), **kwargs)
        wait_for(lambda: self._running() > others, 5, "a capture")

    def _running(self):
        return self._lab.status()["daemon"]["captures"]

    def end(self, number=signal.SIGINT):
        """End it by a signal, or wait for its end (None); the exit status and complaints."""
        if number is not None:
            self.process.send_signal(number)
        _, complaints = self.process.communicate(timeout=patience(10))
        return self.process.returncode, complaints

    def frames(self, number=signal.SIGINT):
        """End it, and read what is in the file."""
        status, complaints = self.end(number)
        assert status == 0, complaints
        found = read_frames(self.path)
        plural = "" if len(found) == 1 else "s"
        assert complaints.startswith(f"fwctl: {len(found)} packet{plural} captured"), complaints
        return found

    def close(self):
        """End it, however it is."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=patience(5))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
