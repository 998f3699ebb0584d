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
 * like it. Entries are of one CPU each, which alone reads and writes them, one
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
	__u8 macs[12];	  /* destination, source */
	__u32 tx_tag;	  /* as it lies in a frame; 0: none */
	__u32 mtu;	  /* bytes from the IP header on, at most */
	__u32 stat;  /* of `stats`, of the first CPU: they are counted there */
	__u16 flags; /* FW_CACHED_* */
	__u16 pad;
	__u32 pad2[7];
};

#define FW_CACHED_L4(ports, proto, dscp, is_v6)                        \
	((__u64)(ports) | (__u64)(proto) << 32 | (__u64)(dscp) << 40 | \
	 (__u64)(is_v6) << 48)

#define FW_CACHED_PARTIAL 0x01 /* their checksums may not be written yet */
#define FW_CACHED_FRAGS	  0x02 /* the device takes frames in several pieces */
#define FW_CACHED_COUNTS  0x04 /* packets and bytes of the flow are counted */
#define FW_CACHED_REPLY	  0x08 /* of the side that did not open the flow */

/* Places that a flow may have, side by side: an element of `flow_cache`. */
#define FW_CACHED_WAYS 8u

struct fw_cached_group {
	struct fw_cached_flow way[FW_CACHED_WAYS];
};

/* Flows in `flow_cache` for each CPU, a power of two, if rules ask for offload. */
#define FW_FLOW_CACHE_ALL 524288u /* of all CPUs, about */
#define FW_FLOW_CACHE_MIN 4096u
#define FW_FLOW_CACHE_MAX 262144u

static __inline__ __u32 fw_flow_cache_entries(__u32 cpus)
{
	__u32 n = FW_FLOW_CACHE_MAX;

	while (n > FW_FLOW_CACHE_MIN && n * (__u64)cpus > FW_FLOW_CACHE_ALL)
		n /= 2;
	return n;
}

#ifndef __cplusplus
_Static_assert(sizeof(struct fw_offload_out) == 12, "fw_offload_out");
_Static_assert(sizeof(struct fw_cached_flow) == 128, "fw_cached_flow");
#endif
