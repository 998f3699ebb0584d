# SPDX-License-Identifier: GPL-2.0-only
"""The control socket of fwctld, spoken to without fwctl: user/proto.h says how.

It costs a hundredth of a process with sanitizers, which matters to who waits for a counter.
"""

import contextlib
import json
import socket
import struct

from .netns import patience


def connect(lab):
    """A connection to the control socket, with a timeout so that no test hangs."""
    client = socket.socket(socket.AF_UNIX)
    try:
        client.settimeout(patience(10))
        client.connect(str(lab.run_dir / "fwctl.sock"))
    except BaseException:
        client.close()
        raise
    return client


def take_frame(client):
    """The next frame, or None at the end."""
    def take(n):
        parts = []
        while n and (more := client.recv(n)):
            parts.append(more)
            n -= len(more)
        return b"".join(parts)
    head = take(4)
    if len(head) < 4:
        return None
    size, = struct.unpack(">I", head)
    body = take(size)
    return json.loads(body) if len(body) == size else None


def send_request(client, lab, verb, args):
    """Send a whole request."""
    body = json.dumps({"version": 1, "verb": verb, "netns": lab.firewall.inode,
                       "args": args}).encode()
    client.sendall(struct.pack(">I", len(body)) + body)


def ask(lab, verb):
    """The result of a request with its rows, as fwctl prints it with --json.

    None if nobody listens, or fwctld has anything else to say: fwctl can tell what.
    """
    rows = []
    with contextlib.suppress(FileNotFoundError, ConnectionError):
        with connect(lab) as client:
            send_request(client, lab, verb, {})
            while frame := take_frame(client):
                rows += frame.get("items", [])
                if "result" in frame:
                    result = frame["result"]
                    if "list" in result:
                        result[result.pop("list")] = rows
                    return result
                if "error" in frame:
                    break
    return None
