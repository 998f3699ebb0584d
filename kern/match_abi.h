/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The compiled rules inside the image: what rules/match.c writes and
 * kern/match.h walks.
 *
 * Rules are divided into chains by kind (stateless or not), direction and
 * family. A chain is a list of tables, ordered by the lowest rule number in
 * them, so that a walk ends where nothing better can follow. A table is a hash
 * of masked addresses to references; a reference leads to entries, or by cuts
 * (a few bits of the packet select the next reference) to shorter lists of
 * entries. What an entry cannot say is in a term, looked at if all else agrees.
 * How a rule ends is in its entries too: the one that agrees is all that is read.
 *
 * Everything is in host order, addresses too.
 * Offsets are in bytes from the start of the image.
 */
#pragma once

#include "kern/abi.h"
#include "kern/addrset_abi.h"

#define FW_MATCH_CHAINS 12
#define FW_MATCH_CHAIN(is_stateless, is_v6, dir) \
	((is_stateless) * 6u + (is_v6) * 3u + (dir))
#define FW_MATCH_CHAIN_IS_V6(number) ((number) / 3 & 1)

/* Ways to ask for the entering interface; entries name each by a bit. */
#define FW_MATCH_MAX_ZONES 16

/*
 * What kern/front.h asks first of all: one set splits the stateless chains of what comes
 * in and of what is forwarded, or one of them, and its members are dropped. In [0] what
 * comes in, in [1] what is forwarded.
 */
struct fw_match_front {
	__u32 set;    /* struct fw_addrset; 0: not so */
	__u32 is_dst; /* of destinations */
	__u32 slot
		[2]; /* counter of the rule that drops a member; 0: none does */
	__u64 zones[2];		    /* that it has to come in by; 0: any */
	struct fw_addrset_hash few; /* IPv4, if there is one */
};

struct fw_match_head {
	/* struct fw_match_table[], or FW_CHAIN_SPLIT; 0: no rule */
	__u32 chain[FW_MATCH_CHAINS];
	__u32 slots; /* __u32[]: counters by rule number, for a later daemon */
	__u32 none;  /* FW_END_NONE, but the verifier does not know it */
	__u32 default_slot[FW_DIR_MAX];
	__u8 default_verdict[FW_DIR_MAX]; /* enum fw_verdict */
	__u8 default_flags[FW_DIR_MAX];	  /* as a rule's */
	__u8 pad[2];
	__u32 n_in_zones;
	__u32 in_wanted; /* FW_MATCH_ZONES_SHIFT: ways that are not negated */
	__u64 in_zones[FW_MATCH_MAX_ZONES];
	__u8 classes[256];		/* bit of FW_MATCH_CLASS, by protocol */
	struct fw_match_front front[2]; /* IPv4, IPv6 */
};

static inline const struct fw_match_head *
fw_image_rules(const struct fw_image_head *head)
{
	return (const struct fw_match_head *)(const void *)((const char *)head +
							    FW_IMAGE_RULES);
}

/* In the offset of a chain: it is that of a struct fw_match_split. */
#define FW_CHAIN_SPLIT 1u

/* A set of addresses is asked first, and decides on the tables. */
struct fw_match_split {
	__u32 set; /* of kern/addrset.h */
	__u32 is_dst;
	__u32 tables[2]; /* not a member, a member; 0: no rule */
	__u32 is_drop; /* members of these zones are dropped, whatever they send */
	__u32 slot;    /* counter of the rule that does it */
	__u64 zones; /* 0: all */
};

/*
 * How a rule ends. As numbers, ends are in the order of their rules.
 *   31..12  number of the rule
 *   11..8   FW_RESULT_LOG, FW_RESULT_STATELESS, FW_RESULT_OFFLOADS
 *   7       FW_END_TERM
 *   6..0    enum fw_verdict
 */
#define FW_END_RULE_SHIFT  12
#define FW_END_FLAGS_SHIFT 8
#define FW_END_FLAGS_MASK  0xfu
#define FW_END_TERM	   0x80u	/* the rule has a term: ask its row */
#define FW_END_NONE	   FW_RULE_NONE /* behind all rules */
#define FW_END_HOW	   0xfffu	/* all but the number */
#define FW_END_STATELESS(verdict) \
	(FW_RESULT_STATELESS << FW_END_FLAGS_SHIFT | (verdict))
#define FW_MATCH_MAX_RULES (1u << (32 - FW_END_RULE_SHIFT))

/* A rule with a term. */
struct fw_match_row {
	__u32 term; /* struct fw_match_term */
	__u32 slot; /* counter */
	__u32 end;
};

/*
 * IPv4 uses mask[0], of {saddr << 32 | daddr}; IPv6 all: saddr, daddr, two words
 * each.
 */
struct fw_match_table {
	__u32 next;  /* end of the first rule in the next one, or FW_END_NONE */
	__u32 slots; /* __u64[]: references; not of `any` */
	__u32 shift; /* of the hash that leaves the number of the slot */
	__u32 is_any; /* there is one slot, whatever the addresses are */
	union {
		__u64 mask[4];
		__u64 any; /* its reference */
	};
};

/* A chain of at most so many entries is one list without any hash. */
#define FW_MATCH_SMALL 8

/* Entries that one step of the walk looks at. */
#define FW_MATCH_STEP 8

/*
 * A reference, 0: nothing.
 *   63..44  number of the first rule, as in its end
 *   43..32  of a list that a slot holds alone: signature, bits of its hash
 *           of a cut: byte of struct fw_key, lowest bit, number of bits less one
 *   31..4   offset of entries, or of the references of a cut
 *   3       0: the signature has to agree
 *   2..0    entries, or one of the kinds
 */
#define FW_REF_END_SHIFT   32
#define FW_REF_EXTRA_SHIFT 32
#define FW_REF_EXTRA_MASK  0xfffu
#define FW_REF_ALIGN	   16
#define FW_REF_ANY	   8 /* whatever the hash is */
#define FW_REF_KIND_MASK   7u
#define FW_REF_MAX_ENTRIES 5
#define FW_REF_LONG	   6 /* entries behind a struct fw_match_long */
#define FW_REF_CUT	   7
#define FW_CUT_BYTE_SHIFT  6
#define FW_CUT_BIT_SHIFT   3
#define FW_MATCH_MAX_CUTS  8 /* one after the other */

/* The entries of a list that is too long for its reference. */
struct fw_match_long {
	__u32 n;
	__u32 pad[3];
};

/*
 * What a packet lacks is a set of bits, computed once; an entry that needs one
 * of them does not match.
 */
#define FW_NEED_PORTS	     0x01
#define FW_NEED_ICMP	     0x02
#define FW_NEED_SRC_SELF     0x04
#define FW_NEED_DST_SELF     0x08
#define FW_NEED_SRC_NOT_SELF 0x10
#define FW_NEED_DST_NOT_SELF 0x20
#define FW_NEED_PLAIN	     0x40 /* not an essential message */
#define FW_MATCH_HAS_TERM    0x80 /* nothing lacks it: the row has a term */
#define FW_MATCH_CLASS_SHIFT 8	  /* 8 bits: this class of protocols not */
#define FW_MATCH_CLASSES     8
#define FW_MATCH_ZONES_SHIFT 16 /* 16 bits: this way to ask must agree */

/*
 * Ports of an entry, or type << 8 | code as destination with FW_NEED_ICMP: the
 * lowest and the highest of the source, then of the destination, from the
 * uppermost 16 bits on (see fw_match_ports()).
 */
#define FW_MATCH_PORTS_MASK 0x0000ffff0000ffffull

/*
 * What entries of both families begin with. A prefix is compared by shifting out
 * what is behind it. `slot` is the counter of the rule, with FW_END_TERM the
 * offset of its struct fw_match_row.
 */
struct fw_match_entry {
	__u64 ports;
	__u32 need;
	__u32 end;
	__u32 slot;
	__u8 shift[4]; /* IPv4: of source and destination, 32: any address */
};

struct fw_match_v4 {
	struct fw_match_entry e;
	__u64 addr; /* saddr << 32 | daddr */
};

struct fw_match_v6 {
	struct fw_match_entry e; /* shift: FW_MATCH_SHIFT_ALL or below 64 */
	__u64 pad;
	__u64 addr[4]; /* as struct fw_match_table.mask */
};

/* First by the lower six bits, then by those above: 63 and one more. */
#define FW_MATCH_SHIFT_ALL 0x7f

/* What an entry cannot say. Zones, sets and protocols that are 0: any. */
struct fw_match_term {
	__u64 in_zones, out_zones;
	__u64 protos[4];
	__u32 src, dst;	    /* of kern/addrset.h; see FW_TERM_SRC, _DST */
	__u32 sport, dport; /* struct fw_match_bounds; ICMP: types by family */
	__u32 flags; /* FW_TERM_*, FW_ROW_ICMP, _IPSEC, FW_ROW_NOT_* of sets, _IPSEC */
	__u32 reqid; /* with FW_ROW_IPSEC; 0: any */
};

#define FW_TERM_SRC	 0x10000 /* there is a set, though perhaps empty */
#define FW_TERM_DST	 0x20000
#define FW_TERM_SRC_SELF 0x40000 /* `self` is a member too */
#define FW_TERM_DST_SELF 0x80000
#define FW_TERM_PROMISE	 0x100000 /* FW_ROW_IPSEC: else the packet is dropped */

/*
 * Where membership of a set of ports changes: a port is a member if the number
 * of boundaries not above it is odd. `top` is a power of two; boundaries from
 * the n-th on to the (2 * top - 1)-th are 65536: above every port.
 */
struct fw_match_bounds {
	__u32 top;
	__u32 at[];
};
#define FW_MATCH_MAX_BOUNDS_LOG 17

static inline __u64 fw_match_ports(__u16 sport_lo, __u16 sport_hi,
				   __u16 dport_lo, __u16 dport_hi)
{
	return (__u64)sport_hi << 48 | (__u64)sport_lo << 32 |
	       (__u32)dport_hi << 16 | dport_lo;
}

/*
 * Of addresses as struct fw_match_v4.addr and fw_match_v6.addr have them. The
 * uppermost bits number the slot, those of FW_REF_EXTRA are the signature.
 */
static __always_inline __u64 fw_match_hash(const __u64 addr[4],
					   const __u64 mask[4], int is_v4)
{
	__u64 h = addr[0] & mask[0];

	if (!is_v4) {
		h *= 0x9e3779b97f4a7c15ull;
		h += (addr[1] & mask[1]) * 0xd6e8feb86659fd93ull;
		h ^= h >> 32;
		h += (addr[2] & mask[2]) * 0xff51afd7ed558ccdull;
		h += (addr[3] & mask[3]) * 0xc4ceb9fe1a85ec53ull;
	}
	h ^= h >> 32;
	return h * 0xd6e8feb86659fd93ull;
}

#ifndef __cplusplus
_Static_assert(sizeof(struct fw_match_head) == 584, "fw_match_head");
_Static_assert(sizeof(struct fw_match_row) == 12, "fw_match_row");
_Static_assert(sizeof(struct fw_match_table) == 48, "fw_match_table");
_Static_assert(sizeof(struct fw_match_v4) == 32, "fw_match_v4");
_Static_assert(sizeof(struct fw_match_v6) == 64, "fw_match_v6");
_Static_assert(sizeof(struct fw_match_term) == 72, "fw_match_term");
#endif
