/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Is an address in a compiled set?  See addrset_abi.h for what is walked.
 *
 * Lanes of a word are compared at once: with its uppermost bit set, a lane of
 * the address less the lane of the boundary keeps that bit exactly if the
 * boundary is not above, and nothing is borrowed from the next lane. Likewise
 * the bit alone less (address ^ member), where they are equal.
 *
 * Needs no helper and no kernel: the tests run the same code.
 */
#pragma once

#include "kern/abi.h"
#include "kern/addrset_abi.h"
#include "kern/image.h"
#include "kern/likely.h"

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ADDRSET_HOST32(v) __builtin_bswap32(v)
#define ADDRSET_HOST64(v) __builtin_bswap64(v)
#else
#define ADDRSET_HOST32(v) (v)
#define ADDRSET_HOST64(v) (v)
#endif

struct addrset_leaf {
	__u64 word[FW_ADDRSET_LEAF_WORDS];
};

_Static_assert(sizeof(struct addrset_leaf) <= FW_IMAGE_SLACK, "slack");

/* A leaf of whole addresses or boundaries. */
static __always_inline bool addrset_wide(const struct addrset_leaf *leaf,
					 __u32 what, __u64 hi, __u64 lo)
{
	const __u32 n = (what - 1) % FW_ADDRSET_WIDE_MAX + 1;
	bool single = what <= FW_ADDRSET_WIDE_OUTSIDE;
	bool has = what > FW_ADDRSET_WIDE_INSIDE;

	for (__u32 i = 0; i < FW_ADDRSET_WIDE_MAX; i++) {
		__u64 at_hi = leaf->word[2 * i];
		__u64 at_lo = leaf->word[2 * i + 1];

		if (i >= n)
			break;
		if (single) {
			if (((at_hi ^ hi) | (at_lo ^ lo)) == 0)
				return true;
		} else if (at_hi < hi || (at_hi == hi && at_lo <= lo)) {
			has = !has;
		}
	}
	return has;
}

/* What of a half a node looks at, in each lane of a word. */
static __always_inline __u64 addrset_spread(const struct fw_addrset_node *node,
					    __u64 half)
{
	return ((half & ((1ull << (node->shift & 63)) - 1)) >>
		(node->drop & 63)) *
	       node->lanes;
}

/* A leaf of lanes; `half` is what its node looks at. */
static __always_inline bool addrset_lanes(const struct addrset_leaf *leaf,
					  __u32 entry,
					  const struct fw_addrset_node *node,
					  __u64 half)
{
	__u64 lanes = addrset_spread(node, half);
	__u64 tops = node->lanes << (node->top & 63);
	__u64 single = 0 - (__u64)(entry >> 31); /* all ones, or 0 */
	__u64 from = tops | (lanes & ~single);
	const __u32 n = FW_ADDRSET_WORDS(entry);
	__u64 odd = 0;

	lanes &= single;
	for (__u32 i = 0; i < FW_ADDRSET_LEAF_WORDS; i++) {
		if (i >= n)
			break;
		odd ^= from - (leaf->word[i] ^ lanes);
	}
	odd &= tops;
	if (single) /* in one word at most */
		return odd;
	odd ^= odd >> 32;
	odd ^= odd >> 16;
	return (odd >> 15 ^ entry >> 30) & 1;
}

/*
 * An IPv4 address in a set whose root has direct leaves: true if they say whether it is
 * a member; else the node that knows is *node_off.
 */
static __always_inline bool addrset_direct(const void *base, __u32 off,
					   __u64 addr, __u32 *node_off,
					   bool *ret)
{
	const struct fw_addrset_node *root =
		image_at(base, *node_off, struct fw_addrset_node);
	const struct addrset_leaf *leaf;
	__u64 at, tops, lanes, found = 0;

	if (!root->is_direct)
		return false;
	at = (addr >> (root->shift & 63)) - root->first;
	*ret = false;
	if (at >= root->span) /* none is a member */
		return true;
	leaf = image_at(base,
			root->entries + 8 * FW_ADDRSET_DIRECT_WORDS * (__u32)at,
			struct addrset_leaf);
	lanes = addrset_spread(root, addr);
	tops = root->lanes << (root->top & 63);
	if (unlikely(leaf->word[0] >> (root->top & 63) & 1)) {
		*node_off = off + 8 * (__u32)(leaf->word[0] >> 32);
		return false;
	}
	for (__u32 i = 0; i < FW_ADDRSET_DIRECT_WORDS; i++)
		found |= tops - (leaf->word[i] ^ lanes);
	*ret = found & tops;
	return true;
}

static __always_inline bool addrset_find(const void *base, __u32 off,
					 __u32 node_off, __u64 hi, __u64 lo)
{
#pragma GCC unroll 1
	for (int i = 0; i < FW_ADDRSET_DEPTH; i++) {
		const struct fw_addrset_node *node =
			image_at(base, node_off, struct fw_addrset_node);
		__u64 half = hi ^ ((hi ^ lo) & (0 - (__u64)node->is_low));
		__u64 from = half >> (node->shift & 63);
		__u64 at = from - node->first;
		__u32 entry, to;

		/* `first` is a multiple of `span`: what wraps is not below it. */
		if (at >= node->span)
			return from < node->first ? node->is_before
						  : node->is_behind;
		entry = *image_at(base, node->entries + 4 * (__u32)at, __u32);
		to = off + 8 * FW_ADDRSET_OFF(entry);
		if (FW_ADDRSET_KIND(entry) != FW_ADDRSET_REF)
			return addrset_lanes(
				image_at(base, to, struct addrset_leaf), entry,
				node, half);
		if (FW_ADDRSET_WORDS(entry) != FW_ADDRSET_NODE)
			return addrset_wide(
				image_at(base, to, struct addrset_leaf),
				FW_ADDRSET_WORDS(entry), hi, lo);
		node_off = to;
	}
	return false; /* not an image of ours */
}

/* Is an IPv4 address, in host order, in the set at an offset of the image? */
static __always_inline bool addrset_has4(const void *base, __u32 off,
					 __u64 addr)
{
	__u32 node = off + offsetof(struct fw_addrset, v4);
	bool has;

	if (addrset_direct(base, off, addr, &node, &has))
		return has;
	return addrset_find(base, off, node, addr, 0);
}

/* The same of an IPv6 address, in two halves. */
static __always_inline bool addrset_has6(const void *base, __u32 off, __u64 hi,
					 __u64 lo)
{
	return addrset_find(base, off, off + offsetof(struct fw_addrset, v6),
			    hi, lo);
}

/* Is an IPv4 address, as it lies in memory, in a set that has such a hash? */
static __always_inline bool
addrset_has_few(const void *base, const struct fw_addrset_hash *h, __be32 addr)
{
	__u64 product = addr * h->seed;
	__u32 at = h->shifts + (__u32)(product >> (h->bucket & 63));
	__u64 place = (product >> (h->place & 63)) + *image_at(base, at, __u8);

	at = h->places + 4 * ((__u32)place & h->mask);
	return *image_at(base, at, __be32) == addr;
}

/*
 * Is key->daddr (dst) or key->saddr in the set at an offset of the image?
 * Offset 0: no address is. By address only: whoever asks knows of `self`.
 * One search serves both families: of two the verifier would walk each.
 * Inline, as a call costs as much as a small set; some 330 instructions.
 */
static __always_inline bool addrset_has(const void *base, __u32 off,
					const struct fw_key *key, bool dst)
{
	const struct fw_addr *a = dst ? &key->daddr : &key->saddr;
	const fw_addr_half *half = (const void *)a;
	__u64 hi = ADDRSET_HOST32(a->w[3]), lo = 0;
	__u32 node = off + offsetof(struct fw_addrset, v4);
	bool has;

	if (!off)
		return false;
	if (key->family != FW_AF_IPV4) {
		hi = ADDRSET_HOST64(half[0]);
		lo = ADDRSET_HOST64(half[1]);
		node = off + offsetof(struct fw_addrset, v6);
	} else if (addrset_direct(base, off, hi, &node, &has)) {
		return has;
	}
	return addrset_find(base, off, node, hi, lo);
}
