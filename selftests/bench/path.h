/* SPDX-License-Identifier: GPL-2.0-only */

/* What path.c and path.bpf.c agree on. */
#pragma once

/* How the packets of one run differ; offsets in bytes from the frame's start. */
struct path_vary {
	__u32 addr;    /* the first one, host order: the last 32 bits of it */
	__u32 n_addrs; /* a power of two */
	__u32 step;    /* from one address to the next */
	__u32 addr_at;
	__u32 port;    /* the first one, host order */
	__u32 n_ports; /* a power of two */
	__u32 port_at;
	__u32 check_at; /* checksum of an IPv4 header; 0: there is none */
	__u32 sum;	/* of the rest of that header */
	__u32 ttl_at;	/* what is forwarded is given back its TTL, */
	__u8 macs[12];	/* and addresses; 0: it is not forwarded */
};

#define PATH_MAX_OFF 127
