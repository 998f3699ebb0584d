/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Tables of what this host has, its interfaces and its addresses, that are
 * looked up for each packet: the only value of the map `host`.
 *
 * A table has all its entries in sight: a key is in one place or not at all. The
 * uppermost bits of its hash name its bucket, the next ones a place, moved on by
 * the shift that is common to the keys of that bucket; shifts are chosen so that
 * no two keys meet (hash and displace, Pagh 1999). No packet makes that longer,
 * whatever addresses it bears. A bucket without keys has the shift 0, and most
 * strangers end there, in 2 KiB that a cache holds.
 *
 * There are two tables of each kind, and a byte that says which one is looked
 * into. User space writes the other one, then picks it with one store, which a
 * packet sees or does not, and leaves the first alone until no packet can be at
 * work with it (user/hosttab.c).
 */
#pragma once

#include "kern/abi.h"

#define FW_IFACE_SLOTS (FW_MAX_IFACES * 2)
#define FW_SELF_SLOTS  (FW_MAX_SELF * 2)

#define FW_HOST_TABLES	    2 /* of each kind */
#define FW_HOST_PICKS	    4
#define FW_HOST_BUCKET_BITS 11
#define FW_HOST_BUCKETS	    (1 << FW_HOST_BUCKET_BITS)
#define FW_HOST_PLACE_BITS  13 /* the next ones, or the lower part of them */

/* What user space puts into the tables. */
struct fw_iface_entry {
	struct fw_iface_key key;
	struct fw_iface value;
};

struct fw_self_entry {
	struct fw_addr addr;
	__u32 flags; /* FW_SELF_* */
};

/* A slot of zeroes is nobody's. Seeds are odd. */
struct fw_iface_slot {
	__u64 key; /* fw_iface_word() */
	struct fw_iface value;
};

struct fw_iface_table {
	__u64 seed;
	__u32 gen; /* of the rules that it is for; 0: none */
	__u32 pad;
	__u8 shift[FW_HOST_BUCKETS];
	struct fw_iface_slot at[FW_IFACE_SLOTS];
};

struct fw_self4_table {
	__u64 seed;
	__u8 shift[FW_HOST_BUCKETS];
	__u64 at[FW_SELF_SLOTS]; /* the address as it lies in memory, flags << 32 */
};

struct fw_self6_slot {
	struct fw_addr addr;
	__u32 flags;
	__u32 pad;
};

struct fw_self6_table {
	__u64 seed[2];
	__u8 shift[FW_HOST_BUCKETS];
	struct fw_self6_slot at[FW_SELF_SLOTS];
};

struct fw_self_table {
	struct fw_self4_table v4;
	struct fw_self6_table v6;
};

struct fw_host {
	/*
	 * By generation, its last two bits: that of the next one is another byte,
	 * also where the numbers begin again.
	 */
	__u8 iface_pick[FW_HOST_PICKS];
	__u8 self_pick;
	__u8 watch; /* FW_WATCH_*: records of that, please */
	__u16 snap; /* so many bytes of a packet at most: FW_CAPTURE_MAX or less */
	/*
	 * Another number each time that a route, a neighbour, a link, an address, an
	 * XFRM policy, a set or what is offloaded has changed, or a flow was cut:
	 * nothing that `flow_cache` has from before is true any more.
	 */
	__u32 offload_epoch;
	__u32 iface_epoch; /* another number each time that a table of interfaces was */
	/*
	 * The generation of the running rules, if a packet of a flow that the hook before
	 * knows needs no more of them (fw_image_lets_known()). 0: it does, or other rules
	 * take their place at this moment.
	 */
	__u32 known_gen;
	__u32 pad;
	struct fw_iface_table ifaces[FW_HOST_TABLES];
	struct fw_self_table selves[FW_HOST_TABLES];
	/* Records of flows that `events` had no room for, ever; programs write. */
	__u64 lost_records
		__attribute__((aligned(64))); /* away from what packets read */
};

static inline __u64 fw_iface_word(__u32 ifindex, __u16 vlan)
{
	return (__u64)vlan << 32 | ifindex;
}

static inline __u64 fw_iface_hash(const struct fw_iface_table *t, __u64 word)
{
	return word * t->seed;
}

/* Of an address as it lies in memory. */
static inline __u64 fw_self4_hash(const struct fw_self4_table *t, __be32 addr)
{
	return addr * t->seed;
}

/*
 * Of both halves. A product says little of the uppermost bits of what is
 * multiplied. There are the last bytes of an address, where neighbours differ: so
 * one half is folded, and the bytes of the other one change places.
 */
static inline __u64 fw_self6_hash(const struct fw_self6_table *t, __u64 upper,
				  __u64 lower)
{
	__u64 hash = lower * t->seed[0];

	hash ^= hash >> 32;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	upper = __builtin_bswap64(upper);
#endif
	return (hash + upper) * t->seed[1];
}

static inline __u64 fw_host_bucket(__u64 hash)
{
	return hash >> (64 - FW_HOST_BUCKET_BITS);
}

/* Among so many slots, a power of two. */
static inline __u64 fw_host_place(__u64 hash, __u64 shift, __u64 slots)
{
	return ((hash >> (64 - FW_HOST_BUCKET_BITS - FW_HOST_PLACE_BITS)) +
		shift) &
	       (slots - 1);
}

#ifndef __cplusplus
_Static_assert(sizeof(struct fw_iface_key) == 8, "fw_iface_key");
_Static_assert(sizeof(struct fw_iface_entry) == 24, "fw_iface_entry");
_Static_assert(sizeof(struct fw_self_entry) == 24, "fw_self_entry");
_Static_assert(sizeof(struct fw_iface_slot) == 24, "fw_iface_slot");
_Static_assert(sizeof(struct fw_self6_slot) == 24, "fw_self6_slot");
_Static_assert(!(FW_IFACE_SLOTS & (FW_IFACE_SLOTS - 1)) &&
		       FW_IFACE_SLOTS <= 1 << FW_HOST_PLACE_BITS,
	       "places of interfaces");
_Static_assert(!(FW_SELF_SLOTS & (FW_SELF_SLOTS - 1)) &&
		       FW_SELF_SLOTS <= 1 << FW_HOST_PLACE_BITS,
	       "places of addresses");
_Static_assert(FW_MARK_GEN_MAX % FW_HOST_PICKS != 1 % FW_HOST_PICKS &&
		       FW_HOST_PICKS > 1,
	       "a generation and the next one have a byte each");
#endif
