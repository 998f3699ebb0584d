/* SPDX-License-Identifier: GPL-2.0-only */

/* What the generator of live traffic and its programs share. */
#pragma once

#include <linux/types.h>

#define TRAFFIC_KEYS 131072 /* different packets at most */

/* Frames that the kernel hands to the receiver at once. */
#define TRAFFIC_BATCH 64

/* Frames as long as the shortest ones that hold a TCP header; longer ones at most. */
#define TRAFFIC_SIZE_4	 60
#define TRAFFIC_SIZE_6	 74
#define TRAFFIC_SIZE_MAX 1514

/* What differs from packet to packet; all but `proto` in network byte order. */
struct traffic_key4 {
	__u32 saddr, daddr;
	__u16 sport, dport;
	__u8 proto; /* TCP or UDP */
	__u8 pad[3];
};

struct traffic_key6 {
	__u32 saddr[4], daddr[4];
	__u16 sport, dport;
	__u8 proto;
	__u8 pad[3];
};
