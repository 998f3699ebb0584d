/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * What XDP needs to forward packets of established flows by itself: where an
 * interface really sends, and what it remembers of a flow (kern/offload.h).
 */
#pragma once

#include "kern/abi.h"

#define FW_MAX_OFFLOAD_OUT 4096 /* interfaces that routes may name */
#define FW_OFFLOAD_HOPS	   1024 /* rows of `offload_hops`, a power of two */

/*
 * `offload_out`: ifindex that a route names -> the device that sends its packets, and
 * the tag that they get. A VLAN device sends by the one below it. What is not in
 * the map is left to the stack. User space writes; `offload_devs` has an entry
 * for tx_ifindex before, and for as long as this one is there.
 */
struct fw_offload_out {
	__u32 tx_ifindex;
	__u16 vlan;	   /* VID, without priority; 0: untagged */
	__be16 vlan_proto; /* ETH_P_8021Q or ETH_P_8021AD; 0: untagged */
	__u32 flags;	   /* FW_OUT_* */
};

#define FW_OUT_FRAGS 0x1 /* tx_ifindex takes frames in several pieces */

/*
 * `flow_cache`: a packet of an established flow, and what becomes of the next one
 * like it: XDP forwards it, or passes it with the note that it is of an established flow.
 * Entries are of one CPU each, which alone reads and writes them, one
 * CPU after the other (struct fw_base). None is believed that is of other rules,
 * of another epoch of this host, or older than seven eighths of a second.
 */
struct fw_cached_flow {
	/* what the packets have, as it lies in them */
	__u64 addr[4]; /* IPv4: the first one, both addresses */
	__u64 l4;      /* FW_CACHED_L4() */
	__u64 from;    /* rx_ifindex, VID << 32 */
	__u64 to;      /* the address of this host on the link */
	/* as long as it is true */
	__u32 gen; /* 0: nobody's entry */
	__u32 epoch;
	__u32 jiffies; /* when it was written, the lower half */
	/* how they go on */
	__u32 tx_ifindex; /* 0: they are the stack's, all of them */
	__u32 stat;  /* of `stats`, of the first CPU: they are counted there */
	__u16 flags; /* FW_CACHED_* */
	__u16 mark; /* FW_CACHED_PASSES: what TC egress is told, see kern/transit.h */
	union {
		struct {
			__u8 macs[12]; /* destination, source */
			__u32 tx_tag;  /* as it lies in a frame; 0: none */
			__u32 mtu; /* bytes from the IP header on, at most */
		};
		struct fw_meta note; /* FW_CACHED_PASSES: what TC is told */
	};
	/* FW_CACHED_PASSES: as long as the kernel's entry is as it was (kern/alive.h) */
	__u64 ct;    /* its address */
	__u32 half;  /* of its mark: generation and progress */
	__u32 reply; /* 1: the packets are against the opener's direction */
};

#define FW_CACHED_L4(ports, proto, dscp, is_v6)                        \
	((__u64)(ports) | (__u64)(proto) << 32 | (__u64)(dscp) << 40 | \
	 (__u64)(is_v6) << 48)

#define FW_CACHED_PARTIAL 0x01 /* their checksums may not be written yet */
#define FW_CACHED_FRAGS	  0x02 /* the device takes frames in several pieces */
#define FW_CACHED_COUNTS  0x04 /* packets and bytes of the flow are counted */
#define FW_CACHED_REPLY	  0x08 /* of the side that did not open the flow */
#define FW_CACHED_PASSES \
	0x10 /* the stack gets them, and nobody has to ask why */

/* Places that a flow may have, side by side: an element of `flow_cache`. */
#define FW_CACHED_WAYS 8u

/* As many, where nothing is forwarded: it is cheaper not to find a flow. */
#define FW_CACHED_FEW_WAYS 2u

struct fw_cached_group {
	struct fw_cached_flow way[FW_CACHED_WAYS];
};

/* Flows in `flow_cache` for each CPU, a power of two, and of all of them, about. */
struct fw_flow_cache_size {
	__u32 least, most, all;
};

/* If rules ask for offload. */
#define FW_FLOW_CACHE_OFFLOAD \
	((struct fw_flow_cache_size){ 4096, 262144, 524288 })
/* If only verdicts are remembered. */
#define FW_FLOW_CACHE_VERDICTS \
	((struct fw_flow_cache_size){ 1024, 16384, 65536 })

static __inline__ __u32 fw_flow_cache_entries(struct fw_flow_cache_size size,
					      __u32 cpus)
{
	__u32 n = size.most;

	while (n > size.least && n * (__u64)cpus > size.all)
		n /= 2;
	return n;
}

#ifndef __cplusplus
_Static_assert(sizeof(struct fw_offload_out) == 12, "fw_offload_out");
_Static_assert(sizeof(struct fw_cached_flow) == 128, "fw_cached_flow");
#endif
