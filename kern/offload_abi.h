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
};

/*
 * `flow_cache`: a packet of an established flow, and what becomes of the next one
 * like it. Entries are of one CPU each, which alone reads and writes them, one
 * CPU after the other (struct fw_base). None is believed that is of other rules,
 * of another epoch of this host, or older than half a second.
 */
struct fw_cached_flow {
	/* as the packet has them; IPv4: the first word */
	struct fw_addr saddr;
	struct fw_addr daddr;
	__u32 ports; /* the first four bytes behind the IP header */
	__u32 rx_ifindex;
	__u32 rx_tag; /* as it lies in the frame, VID alone; 0: none */
	__u8 proto;
	__u8 family; /* FW_AF_*; 0: nobody's entry */
	__u8 flags;  /* FW_CACHED_* */
	__u8 pad;
	/* as long as it is true */
	__u32 gen;
	__u32 epoch;
	__u32 jiffies; /* when it was written, the lower half */
	__u32 slot;    /* of `stats`: counted there */
	/* how it goes on */
	__u32 tx_ifindex;
	__u32 tx_tag; /* as rx_tag */
	__u8 dmac[6];
	__u8 smac[6];
	__u32 mtu; /* bytes from the IP header on, at most */
	__u32 pad2[10];
};

#define FW_CACHED_PARTIAL 0x01 /* checksums may not be written yet */
#define FW_CACHED_REPLY	  0x02 /* of the side that did not open the flow */

/* Entries of `flow_cache` for each CPU, a power of two. */
#define FW_FLOW_CACHE_ALL 131072u /* of all CPUs, about */
#define FW_FLOW_CACHE_MIN 4096u
#define FW_FLOW_CACHE_MAX 65536u

static __inline__ __u32 fw_flow_cache_entries(__u32 cpus)
{
	__u32 n = FW_FLOW_CACHE_MAX;

	while (n > FW_FLOW_CACHE_MIN && n * (__u64)cpus > FW_FLOW_CACHE_ALL)
		n /= 2;
	return n;
}

#ifndef __cplusplus
_Static_assert(sizeof(struct fw_offload_out) == 8, "fw_offload_out");
_Static_assert(sizeof(struct fw_cached_flow) == 128, "fw_cached_flow");
#endif
