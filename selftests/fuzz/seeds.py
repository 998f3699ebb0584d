#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Make the seeds of the fuzz targets anew: selftests/fuzz/*_corpus.

Run as root. What netlink sends is recorded from the kernel, of entries that conntrack(8)
makes in a network namespace of its own; the rest is what users type and clients send.
"""

import json
import pathlib
import socket
import struct
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
EVENTS, DUMP, ANSWERS, MARK, CARRY, DELETE, BEGIN, SWEEP = range(8)
NETFILTER, CT_GET = 12, 0x101
LABELS = "abcdefghijkl"


def write(target, name, data):
    """One seed."""
    folder = HERE / f"{target}_corpus"
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)


def part(data):
    """Bytes with their length in front, as fuzz_part() takes them."""
    return struct.pack("<H", len(data)) + data


# ---- netlink ----------------------------------------------------------------------------------

ENTRIES = [
    "-s 192.0.2.1 -d 198.51.100.1 -p tcp --sport 1025 --dport 80 --state ESTABLISHED -u ASSURED",
    "-s 192.0.2.1 -d 198.51.100.1 -p tcp --sport 1026 --dport 80 --state SYN_SENT -m 0x00100001",
    "-s 2001:db8::1 -d 2001:db8::2 -p tcp --sport 1025 --dport 22 --state TIME_WAIT",
    "-s 192.0.2.1 -d 198.51.100.1 -p udp --sport 53 --dport 53 -u SEEN_REPLY",
    "-s 2001:db8::1 -d 2001:db8::2 -p udp --sport 1 --dport 2 -n 2001:db8::9",
    "-s 192.0.2.1 -d 198.51.100.1 -p icmp --icmp-type 8 --icmp-code 0 --icmp-id 7",
    "-s 2001:db8::1 -d 2001:db8::2 -p icmpv6 --icmpv6-type 128 --icmpv6-code 0 --icmpv6-id 7",
    "-s 192.0.2.1 -d 198.51.100.1 -p gre --srckey 1 --dstkey 2",
    "-s 192.0.2.1 -d 198.51.100.1 -p sctp --sport 5 --dport 6 --state ESTABLISHED "
    "--orig-vtag 1 --reply-vtag 2",
    "-s 192.0.2.1 -d 198.51.100.1 -p dccp --sport 5 --dport 6 --state OPEN --role client",
    "-s 192.0.2.1 -d 198.51.100.1 -p 89",
    "-s 192.0.2.7 -d 203.0.113.1 -p udp --sport 9 --dport 9 --src-nat 203.0.113.5 -w 3",
]


def receive(sock):
    """All datagrams that wait."""
    datagrams = []
    while True:
        try:
            datagrams.append(sock.recv(1 << 16, socket.MSG_DONTWAIT))
        except BlockingIOError:
            return datagrams


def dump():
    """The datagrams of a dump, with the number and the port that the target expects."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETFILTER)
    sock.sendto(struct.pack("=IHHIIBBH", 20, CT_GET, 0x301, 1, 0, 0, 0, 0), (0, 0))
    whole = []
    for datagram in receive(sock):
        data, at = bytearray(datagram), 0
        while at < len(data):
            struct.pack_into("=I", data, at + 12, 0)
            at += struct.unpack_from("=I", data, at)[0] + 3 & ~3
        whole.append(bytes(data))
    return whole


def netlink():
    """Events, dumps and refusals of a table with all kinds of entries."""
    subprocess.run(["sysctl", "-qw", "net.netfilter.nf_conntrack_acct=1",
                    "net.netfilter.nf_conntrack_timestamp=1"], check=True)
    events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETFILTER)
    events.bind((0, 7))
    for words in ENTRIES:
        subprocess.run(["conntrack", "-I", "-t", "100", *words.split()], check=False,
                       capture_output=True)
    subprocess.run(["conntrack", "-U", "-m", "5"], check=False, capture_output=True)
    dumped = b"".join(bytes([DUMP]) + part(d) for d in dump())
    subprocess.run(["conntrack", "-D", "-p", "tcp"], check=False, capture_output=True)
    told = receive(events)
    assert len(told) >= len(ENTRIES), len(told)
    for i, datagram in enumerate(told):
        write("ctnl", f"event-{i:02}", bytes([EVENTS]) + part(datagram))
    joined = b"".join(told)
    write("ctnl", "events-joined", bytes([EVENTS]) + part(joined))
    write("ctnl", "resync", bytes([BEGIN]) + part(b"") +
          b"".join(bytes([EVENTS]) + part(d) for d in told[:9]) + dumped +
          b"".join(bytes([EVENTS]) + part(d) for d in told[9:]) + bytes([SWEEP]) + part(b"\1\2"))
    for name, step in (("mark", MARK), ("carry", CARRY), ("delete", DELETE)):
        write("ctnl", name, bytes([step]) + dumped[1:])
    extack = struct.pack("=HH", 5 + 4, 1) + b"what\0" + bytes(3)
    head = struct.pack("=IHHII", 36 + len(extack), 2, 0x300, 1, 0)
    refusal = head + struct.pack("=iIHHII", -22, 20, CT_GET, 5, 1, 0) + extack
    write("ctnl", "refusal", bytes([DUMP]) + part(refusal) + bytes([ANSWERS]) + part(refusal))


# ---- the control protocol ---------------------------------------------------------------------

def frame(value):
    """A value as it goes over the socket."""
    data = json.dumps(value).encode()
    return struct.pack(">I", len(data)) + data


def request(verb, **args):
    """A request as fwctl makes it."""
    return frame({"version": 1, "verb": verb, "netns": 42, "args": args})


def control():
    """What clients send: alone, in pieces, several, with files, and wrong."""
    verbs = {
        "status": {}, "rules": {}, "flows": {"words": ["proto", "tcp", "sort", "age"]},
        "monitor": {"words": ["drops", "from", "192.0.2.0/24"]}, "list": {}, "stream": {"n": 1},
        "explain": {"interface": "eth0", "out": False, "frame": "00" * 60},
        "capture": {"words": [], "snaplen": 64, "reasons": "rule,default"},
        "top-flows": {"interval": 1000}, "set-replace": {"set": "blocked", "file": "f"},
        "load": {"texts": [{"name": "rules.conf", "size": 46}]},
        "echo": {"text": "gr\u00fc\u00dfe\0\n", "number": 1e300, "list": [[], {}, None, True]},
    }
    sent = {name: request(name, **args) for name, args in verbs.items()}
    for name, data in sent.items():
        write("control", name, b"\1" + part(data))
    data = sent["echo"] + sent["list"] + sent["stream"] + sent["echo"]
    write("control", "several", b"\0" + part(data))
    write("control", "hangs-up", b"\4" + part(data))
    write("control", "in-pieces", b"\0" + b"".join(part(data[i:i + 7])
                                                 for i in range(0, len(data), 7)))
    for mode in (2, 3):
        write("control", f"load-{mode}", bytes([mode]) + part(sent["load"]))
    write("control", "other-version", b"\0" + part(frame({"version": 2, "verb": "echo",
                                                        "netns": 42, "args": {}})))
    write("control", "too-long", b"\0" + part(b"\x7f\xff\xff\xff{}"))
    write("control", "twice", b"\0" + part(frame({})[:-1] + b'"a":1,"a":2}'))


TUPLE = {"source": "192.0.2.1", "source_port": 1025, "destination": "2001:db8::1",
         "destination_port": 80}
ECHO = {"source": "192.0.2.1", "destination": "192.0.2.2", "type": 8, "code": 0, "id": 7}
FLOW = {"protocol": "tcp", "family": "ipv4", "original": TUPLE, "reply": ECHO, "age": 100,
        "left": 432000, "state": "ESTABLISHED", "interface": "eth0", "rule": "web", "mark": 5,
        "replied": True, "assured": True, "direction": "in", "table": "conntrack",
        "original_packets": 1, "original_bytes": 60, "reply_packets": None, "order": "0001"}
EVENT = {"time": 1.5e9, "event": "drop", "interface": "eth0", "hook": "xdp", "direction": None,
         "verdict": "drop", "reason": "rule", "rule": "bad", "length": 60, "tcp_flags": "SA",
         "logged": True, "prefix": "p", "file": "rules.conf", "line": 3, "protocol": "tcp",
         "family": "ipv4", "packet": TUPLE, "original": TUPLE, "reply": ECHO,
         "data": "AAAA", "captured": 3, "link": "ethernet"}
STEP = {"hook": "xdp", "interface": "eth0", "verdict": "drop", "reason": "rule", "text": "denied",
        "rule": "web", "file": "rules.conf", "line": 3, "source": "drop in", "logged": True,
        "sets": [{"name": "blocked", "file": "f", "line": 1}], "opens": "fwctl",
        "counts_for": "v10", "flow": {"original": TUPLE, "is_reply": True, "state": "NEW",
                                      "rule": "r"}}
MESSAGE = {"severity": "error", "file": "rules.conf", "line": 1, "column": 2, "end": 4,
           "text": "what?", "source": "drop im"}


def reply(**result):
    """A daemon that is content."""
    return frame({"version": 1, "status": 0, "result": result})


def client():
    """What daemons answer to each subcommand, as text and as JSON."""
    refusal = frame({"version": 1, "status": 1, "error": "f:1:2: no", "messages": [MESSAGE]})
    route = {"kind": "forward", "interface": "eth1", "error": None}
    answers = [
        reply(verdict="drop", reason="rule", steps=[STEP], notes=["a note"], route=route),
        frame({"items": []}) + frame({"items": [EVENT, {**FLOW, "event": "flow-opened",
                                                        "time": 1}]}) +
        frame({"items": [{"event": "lost", "count": 3, "time": 2}]}) +
        frame({"version": 1, "status": 3, "error": "fwctld has ended"}),
        frame({"items": [{"label": "a", "packets": 1, "bytes": 2, "flows": 3, "file": "f",
                          "line": 1, "text": "accept in"}]}) + reply(list="rules"),
        frame({"items": [FLOW]}) + reply(list="flows", stale=True),
        frame({"items": [FLOW, FLOW]}) + reply(list="flows", count=2),
        frame({"items": [{"name": "s", "ipv4": 1, "ipv6": 2, "ports": 3, "file": "f", "line": 1,
                          "replaced_by": "g"}]}) + reply(list="sets"),
        None, None, None,
        reply(killed=2, stale=False),
        frame({"items": []}) + frame({"items": [EVENT]}),
        reply(rules=1, sets=1, generation=2, not_covered=[{"name": "eth9", "error": "down"}],
              messages=[MESSAGE]),
    ]
    status = status_reply()
    for i, letter in enumerate(LABELS[:len(answers)]):
        data = answers[i] or status
        write("client", f"text-{letter}", letter.encode() + data)
        write("client", f"json-{letter}", letter.upper().encode() + data)
        write("client", f"refusal-{letter}", letter.encode() + refusal)
    write("client", "early-end", b"d" + frame({"items": [FLOW]})[:-9])


def status_reply():
    """What `fwctl status --json` shows, which is what the daemon says."""
    return reply(loaded=True, version="0.1.0", pid=1, generation=3, rules=2, clients=1, uptime=5,
                 interfaces=[{"name": "eth0", "zone": "wan", "mode": "xdp", "index": 2,
                              "error": None, "packets": 1, "hooks": ["xdp", "ingress"]}],
                 flows={"count": 1, "in_sync": True}, timeouts={"udp": 30},
                 warnings=["something"], last_load={"seconds": 0.1})


# ---- words --------------------------------------------------------------------------------------

WORDS = {
    "a": ["in fw-wan tcp 192.0.2.2:41000 -> 198.51.100.2:53 flags S,A ttl 9 length 99 vlan 10",
          "out eth0 udp from [2001:db8::1]:5 to [2001:db8::2]:53 fragment first",
          "in eth0 icmp echo-request 192.0.2.1 -> 192.0.2.2 id 7",
          "in eth0 icmp destination-unreachable 192.0.2.1 -> 192.0.2.2 code port-unreachable "
          "about udp 192.0.2.2:1 -> 192.0.2.1:2",
          "in eth0 89 2001:db8::1 -> 2001:db8::2 fragment 8 more"],
    "b": ["in eth0", "out a-name-of-fifteen"],
    "d": ["proto tcp,udp from 192.0.2.0/24 to 2001:db8::/32 port 22-80 state ESTABLISHED "
          "rule web zone wan sort bytes reverse", "count ipv6 all"],
    "e": ["drops reason rule,default interface eth0 from 192.0.2.1", "flows proto icmp rule r"],
    "f": ["drops accepted reason tcp-no-syn", "zone wan"],
    "g": ["rule,default,tcp-no-syn", "invalid"],
    "h": [json.dumps([MESSAGE])],
    "i": ["AAECAwQ=", "AAEC"],
    "j": ["gr\u00fc\u00dfe", json.dumps("gr\u00fc\u00dfe")],
    "k": ["application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3,*/*;q=0.1", "*/*"],
}


def words():
    """What users type."""
    for letter, texts in WORDS.items():
        for i, text in enumerate(texts):
            write("words", f"{letter}-{i}", letter.encode() + text.encode())
    packet = bytes(range(60))
    for name, order, magic, link in (("little", "<", 0xa1b2c3d4, 1), ("big", ">", 0xa1b23c4d, 101)):
        head = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link)
        data = head + 2 * (struct.pack(order + "IIII", 0, 0, 60, 60) + packet)
        write("words", f"c-{name}", b"c\1" + data)


# ---- HTTP ---------------------------------------------------------------------------------------

def http():
    """Requests that are answered, refused, joined and cut."""
    def ask(line, *headers):
        return "\r\n".join((line, "Host: a", *headers, "", "")).encode()
    accept = "Accept: application/openmetrics-text; version=1.0.0; q=0.9, text/plain; q=0.5"
    sent = {
        "metrics": ask("GET /metrics HTTP/1.1"), "open": ask("GET /metrics HTTP/1.1", accept),
        "health": ask("GET /healthz?a=%41&b HTTP/1.0", "Connection: keep-alive"),
        "head": ask("HEAD /metrics HTTP/1.1"), "none": ask("GET /%2e%2e/etc HTTP/1.1"),
        "post": ask("POST /metrics HTTP/1.1", "Content-Length: 5") + b"hello",
        "chunked": ask("PUT / HTTP/1.1", "Transfer-Encoding: chunked", "Expect: 100-continue") +
        b"5\r\nhello\r\n0\r\n\r\n",
        "cookie": ask("OPTIONS * HTTP/1.1", "Cookie: a=b; c", "Range: bytes=0-1", "Upgrade: x"),
        "proxy": ask("GET http://b/metrics HTTP/1.1"), "connect": ask("CONNECT b:1 HTTP/1.1"),
        "folded": ask("GET /metrics HTTP/1.1", "X: a\r\n b"), "old": b"GET /metrics\r\n\r\n",
        "binary": b"\x16\x03\x01\0\xa5\1" + bytes(40),
    }
    for name, data in sent.items():
        write("http", name, b"\0" + part(data) + part(sent["metrics"]))
    write("http", "pipelined", b"\0" + part(b"".join(sent.values())) + part(sent["metrics"] * 3))
    write("http", "pieces", b"\2" + b"".join(part(sent["open"][i:i + 9]) for i in range(0, 99, 9)))
    write("http", "hangs-up", b"\3" + part(sent["metrics"]) + part(sent["open"][:30]))


def sad():
    """Security associations as XFRM sends them, with a key that nobody may keep."""
    secret = b"\x5e\xc2\xe7\x5e" * 5

    def attr(kind, value):
        data = struct.pack("=HH", 4 + len(value), kind) + value
        return data.ljust((len(data) + 3) & ~3, b"\0")

    def message(kind, family, *attrs):
        info = (bytes(56) + socket.inet_aton("198.51.100.1") + bytes(12) +
                struct.pack("=IB3x", 0x01eeffc0, 50) + socket.inet_aton("192.0.2.1") + bytes(12) +
                struct.pack("=8Q", *[2**64 - 1] * 4, 100, 200, 0, 0) +
                struct.pack("=4Q", 700, 7, 1000, 1001) + struct.pack("=5I", 1, 2, 3, 0, 42) +
                struct.pack("=HBBB7x", family, 1, 32, 128))
        body = info + b"".join(attrs)
        return struct.pack("=IHHII", 16 + len(body), kind, 2, 1, 0) + body
    alg = b"cbc(aes)".ljust(64, b"\0") + struct.pack("=I", 160)
    keys = [attr(18, alg + struct.pack("=I", 128) + secret), attr(2, alg + secret),
            attr(20, alg + struct.pack("=I", 96) + secret)]
    rest = [attr(4, struct.pack("=HHHxx16x", 2, 0x9411, 0x9411)),
            attr(21, struct.pack("=II", 5, 255)),
            attr(23, struct.pack("=7I", 1, 0, 9, 0, 0, 32, 511)), attr(31, struct.pack("=I", 9)),
            attr(33, b"\1")]
    write("sad", "larval", message(16, 2))
    write("sad", "all", message(16, 10, *keys, *rest))
    write("sad", "many", b"".join(message(26, f, k, *rest[i:]) for i, (f, k) in enumerate(
        zip((2, 10, 2), keys))))
    write("sad", "gone", struct.pack("=IHHII", 40, 17, 0, 1, 0) + bytes(24))
    write("sad", "short", message(16, 2)[:100])


def main():
    """All of them; netlink in a network namespace of its own."""
    if sys.argv[1:]:
        netlink()
        return
    control()
    client()
    words()
    http()
    sad()
    subprocess.run(["unshare", "-n", sys.executable, __file__, "netlink"], check=True)


if __name__ == "__main__":
    main()
