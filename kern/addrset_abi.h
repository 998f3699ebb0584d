/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The compiled form of a set of addresses, shared by compiler and programs.
 *
 * A trie over the boundaries of the set (the first address of each range and the
 * first one behind it; an address is a member if an odd number of boundaries is
 * not above it). A node looks at the bits of the address that tell its
 * boundaries apart: it knows what they have in common, and the entry is found
 * by the bits that follow. An entry is a leaf of at most 16 words, or another
 * node where a leaf would be longer: whatever the set, a lookup reads at most
 * FW_ADDRSET_DEPTH nodes and one leaf.
 *
 * Where nearly all members are single addresses, spread evenly, the leaves of a
 * root lie one behind the other, all of the same length, without entries: one
 * place is read, and no branch is taken that would be hard to predict.
 *
 * IPv6 addresses are two halves: nodes over the upper one, and where more than
 * a few boundaries share it, nodes over the lower one. IPv4 addresses are an
 * upper half below 2^32.
 */
#pragma once

#include <linux/types.h>

/* A node; 2^bits entries of 32 bits lie at `entries`, or as many direct leaves. */
struct fw_addrset_node {
	__u64 first;   /* what all boundaries have in common: half >> shift */
	__u64 lanes;   /* one in each lane of a word of its leaves */
	__u32 entries; /* offset in the image */
	__u32 span;    /* 2^bits */
	__u8 shift;    /* of the half, leaves what selects the entry; 0..63 */
	__u8 drop;     /* lowest bits of the half that are 0 in each boundary */
	__u8 top;      /* uppermost bit of a lane, always free: 15, 31 or 63 */
	__u8 is_low;   /* it looks at the lower half */
	__u8 is_before; /* addresses before all that begin so are members */
	__u8 is_behind; /* those behind */
	__u8 is_direct; /* see FW_ADDRSET_DIRECT_WORDS */
	__u8 pad;
};

/* What an offset of a set stands for. */
struct fw_addrset {
	struct fw_addrset_node v4;
	struct fw_addrset_node v6;
};

/*
 * All IPv4 addresses of a set that has few: a hash without collisions. A byte by the
 * first bits of the product says how far those that share them are shifted. A place
 * that is nobody's has another member in it.
 */
struct fw_addrset_hash {
	__u64 seed;   /* is multiplied by the address as it lies in memory */
	__u32 shifts; /* offset in the image: __u8 by product >> bucket */
	__u32 places; /* __be32 by (product >> place) + the shift; 0: no hash */
	__u32 mask;   /* of places */
	__u8 bucket;
	__u8 place;
	__u8 pad[2];
};

#define FW_ADDRSET_FEW 8192 /* addresses: the places are 64 KiB at most */

/*
 * An entry: words of 8 bytes between the set and the leaf or node, how many
 * words the leaf has, and its kind. Entry i is for addresses that go on with i
 * after what is common.
 */
#define FW_ADDRSET_OFF(entry)	((entry) & 0x1ffffffu)
#define FW_ADDRSET_WORDS(entry) ((entry) >> 25 & 31)
#define FW_ADDRSET_KIND(entry)	((entry) >> 30)
#define FW_ADDRSET_MAX_OFF	0x1ffffffu

enum fw_addrset_kind {
	/* Lanes are boundaries, compared with the bits of the half from `drop`
	 * to `shift`; what lies before them is no member. */
	FW_ADDRSET_OUTSIDE,
	FW_ADDRSET_INSIDE, /* the same, what lies before them is a member */
	FW_ADDRSET_SINGLE, /* lanes are the members themselves */
	FW_ADDRSET_REF,	   /* see FW_ADDRSET_NODE */
};

/* What a REF refers to, in place of the number of words. */
#define FW_ADDRSET_NODE		0
#define FW_ADDRSET_WIDE_SINGLE	0  /* + n: n whole addresses, members */
#define FW_ADDRSET_WIDE_OUTSIDE 8  /* + n: n whole boundaries */
#define FW_ADDRSET_WIDE_INSIDE	16 /* + n */

/*
 * A direct leaf has so many words, its lanes are members; those that are not needed
 * say one of them again. If the uppermost bit of the first lane is set, a node is asked
 * instead: the upper half of the first word says where, as an entry does. Only roots
 * of IPv4 have such leaves, and what is outside of them is no member.
 */
#define FW_ADDRSET_DIRECT_WORDS 4

#define FW_ADDRSET_LEAF_WORDS 16
#define FW_ADDRSET_WIDE_MAX   8 /* in a leaf, of 16 bytes each */

/*
 * A node below another one selects by at least this many bits, unless fewer are
 * left: at most 16 nodes a half, and one where the halves meet. The first ones below
 * the root, where most sets end, may select by one less.
 */
#define FW_ADDRSET_MIN_BITS 4
#define FW_ADDRSET_FREE	    2
#define FW_ADDRSET_DEPTH \
	(2 * ((64 + 2) / FW_ADDRSET_MIN_BITS) + 1 + FW_ADDRSET_FREE)

#ifndef __cplusplus
_Static_assert(sizeof(struct fw_addrset_node) == 32, "fw_addrset_node");
_Static_assert(sizeof(struct fw_addrset) == 64, "fw_addrset");
#endif
