# SPDX-License-Identifier: GPL-2.0-only
"""bpf(2): programs of two instructions, for what a kernel can do and for others', and maps."""

import ctypes
import mmap
import os
import pathlib
import platform
import re
import socket
import struct

SYS_BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]
MAP_LOOKUP, MAP_UPDATE, MAP_DELETE = 1, 2, 3
PROG_LOAD, OBJ_PIN, OBJ_GET, PROG_GET_FD_BY_ID, LINK_CREATE = 5, 6, 7, 13, 28
MAP_GET_FD_BY_ID, OBJ_GET_INFO = 14, 15
MAP_INFO_VALUE_SIZE = 12  # in struct bpf_map_info
SCHED_CLS, XDP, NETFILTER = 3, 6, 32
TCX_INGRESS, TCX_EGRESS = 46, 47
TCX_FIRST = 8  # BPF_F_BEFORE
SKB_TC_INDEX = 44  # in struct __sk_buff
XDP_DRIVER = 4  # XDP_FLAGS_DRV_MODE
ATTACH_XDP, ATTACH_NETFILTER = 37, 45
NFPROTO_IPV4, LOCAL_IN, NF_ACCEPT = 2, 1, 1
XDP_DROP, XDP_PASS, TCX_NEXT = 1, 2, -1

_libc = ctypes.CDLL(None, use_errno=True)


def _bpf(command, attributes):
    """One bpf(2) call; returns the new descriptor."""
    size = max(len(attributes), 128)
    buffer = ctypes.create_string_buffer(attributes, size)
    fd = _libc.syscall(SYS_BPF, command, buffer, size)
    if fd < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return fd


def _load(kind, *instructions, attach=0):
    """Load a program of (opcode, registers, offset, immediate); its descriptor."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("<BBhi", *x) for x in instructions))
    licence = ctypes.create_string_buffer(b"GPL")
    return _bpf(PROG_LOAD, struct.pack("<IIQQ44xI", kind, len(instructions),
                                       ctypes.addressof(code), ctypes.addressof(licence), attach))


def program(kind, verdict, attach=0):
    """Load a program that does nothing but return `verdict`; its descriptor.

    Some types are loaded for one kind of place (`attach`).
    """
    return _load(kind, (0xb7, 0, 0, verdict), (0x95, 0, 0, 0), attach=attach)


def indexing(offset):
    """Load one for TC that copies two bytes of the frame to tc_index; its descriptor."""
    return _load(SCHED_CLS,
                 (0xbf, 0x16, 0, 0),              # r6 = r1
                 (0x28, 0, 0, offset),            # r0 = the two bytes, LD_ABS
                 (0x63, 0x06, SKB_TC_INDEX, 0),   # r6->tc_index = r0
                 (0xb7, 0, 0, TCX_NEXT), (0x95, 0, 0, 0))


def altering(offset, value):
    """Load one for TC that writes two bytes, in network order, into the frame; its descriptor."""
    value = socket.htons(value)
    return _load(SCHED_CLS,
                 (0x6a, 10, -8, value),           # the two bytes, on the stack
                 (0xb7, 2, 0, offset),
                 (0xbf, 0xa3, 0, 0), (0x07, 3, 0, -8),  # r3 = where they are
                 (0xb7, 4, 0, 2), (0xb7, 5, 0, 0),
                 (0x85, 0, 0, 9),                 # bpf_skb_store_bytes()
                 (0xb7, 0, 0, TCX_NEXT), (0x95, 0, 0, 0))


def helpers():
    """Every helper that the installed header knows: name -> number."""
    text = pathlib.Path("/usr/include/linux/bpf.h").read_text(encoding="utf-8")
    mapper = re.search(r"define ___?_?BPF_FUNC_MAPPER\(FN.*?\n\n", text, re.S)[0]
    numbered = re.findall(r"FN\((\w+), (\d+)", mapper)
    if not numbered:  # before Linux 6.2 they stand in the order of their numbers
        names = re.findall(r"\tFN\((\w+)\)", mapper)
        numbered = [(name, number) for number, name in enumerate(names)]
    return {f"bpf_{name}": int(number) for name, number in numbered if name != "unspec"}


def may_call(kind, helper):
    """Would the verifier let a program of this type call the helper, given right arguments?"""
    code = ctypes.create_string_buffer(struct.pack("<BBhi", 0x85, 0, 0, helper)
                                       + struct.pack("<BBhi", 0x95, 0, 0, 0))
    licence = ctypes.create_string_buffer(b"GPL")
    log = ctypes.create_string_buffer(1 << 16)
    try:
        os.close(_bpf(PROG_LOAD, struct.pack(
            "<IIQQIIQ", kind, 2, ctypes.addressof(code), ctypes.addressof(licence),
            1, len(log), ctypes.addressof(log))))
    except OSError:
        # "unknown func" up to Linux 6.9, later "program of this type cannot use helper"
        return not re.search(rb"(unknown|invalid) func|cannot use helper", log.value)
    return True


def program_of(number):
    """The descriptor of a loaded program, by its id."""
    return _bpf(PROG_GET_FD_BY_ID, struct.pack("<I", number))


def pin(fd, path):
    """Pin a descriptor in a bpf file system."""
    name = ctypes.create_string_buffer(str(path).encode())
    _bpf(OBJ_PIN, struct.pack("<QI", ctypes.addressof(name), fd))


def pinned(path):
    """The descriptor of what is pinned there."""
    name = ctypes.create_string_buffer(str(path).encode())
    return _bpf(OBJ_GET, struct.pack("<QII", ctypes.addressof(name), 0, 0))


def pinned_link(path):
    """(type, id, id of its program) of a pinned link."""
    fd, info = pinned(path), ctypes.create_string_buffer(256)
    try:
        _bpf(OBJ_GET_INFO, struct.pack("<IIQ", fd, len(info), ctypes.addressof(info)))
    finally:
        os.close(fd)
    return struct.unpack_from("<III", info.raw)


class Slot:
    """The first element of an array map; of an array of maps, what it refers to."""

    def __init__(self, fd):
        self.fd, self._key = fd, ctypes.create_string_buffer(4)
        info = ctypes.create_string_buffer(256)
        _bpf(OBJ_GET_INFO, struct.pack("<IIQ", fd, len(info), ctypes.addressof(info)))
        self._size, = struct.unpack_from("<I", info.raw, MAP_INFO_VALUE_SIZE)

    def _do(self, command, value=None):
        _bpf(command, struct.pack("<IIQQQ", self.fd, 0, ctypes.addressof(self._key),
                                  ctypes.addressof(value) if value else 0, 0))

    def read(self):
        """The value; of an array of maps four bytes, the id of the map."""
        value = ctypes.create_string_buffer(self._size)
        self._do(MAP_LOOKUP, value)
        return value.raw

    def write(self, data):
        """Another value; of an array of maps four bytes, the descriptor of a map."""
        self._do(MAP_UPDATE, ctypes.create_string_buffer(data, self._size))

    def clear(self):
        """An array of maps refers to none there."""
        self._do(MAP_DELETE)

    def inner(self):
        """The element of the map that this one refers to."""
        return Slot(_bpf(MAP_GET_FD_BY_ID, self.read()))


def read_mapped(path, size):
    """The first bytes of a pinned array that can be mapped."""
    fd = pinned(path)
    try:
        with mmap.mmap(fd, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ) as mapped:
            return mapped[:size]
    finally:
        os.close(fd)


def attach_tcx(fd, iface, where=TCX_INGRESS, flags=0):
    """Link a program to an interface by TCX; OSError before Linux 6.6."""
    return _bpf(LINK_CREATE, struct.pack("<IIII", fd, socket.if_nametoindex(iface), where, flags))


def attach_xdp(fd, iface):
    """Link a program to the XDP hook of an interface's driver, until the link is closed."""
    return _bpf(LINK_CREATE, struct.pack("<IIII", fd, socket.if_nametoindex(iface), ATTACH_XDP,
                                         XDP_DRIVER))


def attach_netfilter(fd, priority=-170):
    """Link a program to LOCAL_IN of IPv4, until the link is closed; OSError before Linux 6.4."""
    return _bpf(LINK_CREATE, struct.pack("<IIIIIIiI", fd, 0, ATTACH_NETFILTER, 0, NFPROTO_IPV4,
                                         LOCAL_IN, priority, 0))
