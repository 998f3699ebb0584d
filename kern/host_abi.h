/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Tables of what this host has, its interfaces and its addresses, that are
 * looked up for each packet.
 *
 * A table is the only value of an array map, written once, before its outer map
 * knows it, and never changed after. So it can be laid out with all its entries
 * in sight: a key is in one place or not at all. Its hash says where, moved on
 * by the shift that is common to the keys of one bucket; shifts are chosen so
 * that no two keys meet (hash and displace, Pagh 1999). No packet makes that
 * longer, whatever addresses it bears. A new table replaces the old one in one
 * update, which a packet sees or does not.
 *
 * Hashes and places start at bits 51 and 38 of a hash: at most 8192 slots. Only
 * the first `mask` + 1 of them are in use, so that a small table stays small in
 * a cache.
 */
#pragma once

#include "kern/abi.h"

#define FW_IFACE_SLOTS (FW_MAX_IFACES * 2)
#define FW_SELF_SLOTS  (FW_MAX_SELF * 2)

struct fw_host_head {
	__u64 seed;
	__u32 mask;
	__u32 gen; /* interfaces: of the rules that they are for */
};

/* An entry of zeroes is nobody's. */
struct fw_iface_entry {
	struct fw_iface_key key;
	struct fw_iface value;
};

struct fw_self_entry {
	struct fw_addr addr;
	__u32 flags; /* FW_SELF_* */
};

struct fw_iface_table {
	struct fw_host_head head;
	__u16 shift[FW_IFACE_SLOTS];
	struct fw_iface_entry at[FW_IFACE_SLOTS];
};

struct fw_self_table {
	struct fw_host_head head;
	__u16 shift[FW_SELF_SLOTS];
	struct fw_self_entry at[FW_SELF_SLOTS];
};

/* Of an address as two words, as it lies in memory. */
static inline __u64 fw_host_hash(const struct fw_host_head *head, __u64 first,
				 __u64 second)
{
	__u64 h = (second ^ head->seed) * 0x9e3779b97f4a7c15ull;

	h ^= h >> 32;
	return (h + first) * 0xd6e8feb86659fd93ull;
}

static inline __u64 fw_host_hash_iface(const struct fw_host_head *head,
				       __u32 ifindex, __u16 vlan)
{
	return fw_host_hash(head, 0, (__u64)vlan << 32 | ifindex);
}

/* Where its shift is. */
static inline __u32 fw_host_bucket(const struct fw_host_head *head, __u64 hash)
{
	return (__u32)(hash >> 51) & head->mask;
}

static inline __u32 fw_host_place(const struct fw_host_head *head, __u64 hash,
				  __u32 shift)
{
	return ((__u32)(hash >> 38) + shift) & head->mask;
}

#ifndef __cplusplus
_Static_assert(sizeof(struct fw_iface_key) == 8, "fw_iface_key");
_Static_assert(sizeof(struct fw_iface_entry) == 24, "fw_iface_entry");
_Static_assert(sizeof(struct fw_self_entry) == 24, "fw_self_entry");
_Static_assert(FW_IFACE_SLOTS <= 8192 && FW_SELF_SLOTS <= 8192, "13 bits");
#endif
