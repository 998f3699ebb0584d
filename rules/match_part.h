/* SPDX-License-Identifier: GPL-2.0-only */

/* What the files of the classifier's compiler share. */
#pragma once

#include "ir.h"
#include "kern/match_abi.h"
#include "match.h"

/*
 * A single match: what one entry can say. Host order; an IPv4 address is in the
 * upper 32 bits of `hi`, so that bit 0 is the first bit of either family.
 * Bits behind the prefix are 0.
 */
struct fw_match_part {
	uint64_t addr[2][2]; /* source, destination: hi, lo */
	uint32_t rule;
	uint32_t need;			 /* FW_NEED_*, FW_MATCH_HAS_TERM */
	uint16_t port_lo[2], port_hi[2]; /* source, destination (or ICMP) */
	uint8_t len[2];			 /* bits of the prefixes */
	uint16_t end;			 /* of the rule, see fw_match_end() */
	uint32_t slot;			 /* its counter */
};

struct fw_match_chain {
	struct fw_match_part *parts; /* in the order of their rules */
	size_t n;
	size_t n_expected; /* room for them from the beginning */
};

/* One way to ask for the entering interface. */
struct fw_match_zones {
	uint64_t zones;
	bool is_negated;
};

/* Everything that is known while an image is built. */
struct fw_match_builder {
	const struct fw_program *program;
	const uint32_t *slots; /* counters, by rule */
	struct fw_bytes *bytes;
	struct fw_match_stats stats;
	struct fw_match_chain chains[FW_MATCH_CHAINS];
	struct fw_match_zones zones[FW_MATCH_MAX_ZONES];
	uint32_t n_zones;
	uint32_t *terms;   /* offset by rule; 0: none */
	uint32_t *rows;	   /* struct fw_match_row by rule; 0: none */
	uint32_t *sets;	   /* struct fw_addrset by set; 0: not built yet */
	uint32_t *bounds;  /* struct fw_match_bounds by 2 * set + negated */
	void **hulls;	   /* by 2 * set + (IPv6) */
	uint32_t *by_hash; /* terms already written; open addressing */
	size_t n_by_hash, by_hash_capacity;
	size_t extra_parts; /* that may still be made beyond one a rule */
};

/* The number of the first bits of a 64-bit word. */
static inline uint64_t fw_match_mask64(unsigned int len)
{
	return len == 0 ? 0 : len >= 64 ? UINT64_MAX : UINT64_MAX << (64 - len);
}

/* The first bits of an address. */
static inline void fw_match_mask128(unsigned int len, uint64_t ret[2])
{
	ret[0] = fw_match_mask64(len);
	ret[1] = len <= 64 ? 0 : fw_match_mask64(len - 64);
}

/* How a rule ends but for its number, see FW_END_VERDICT_SHIFT. */
static inline uint16_t fw_match_end_of(const struct fw_ir_row *row)
{
	uint32_t flags = fw_row_result_flags(row);

	return (uint16_t)(flags << FW_END_FLAGS_SHIFT | row->verdict);
}

/* How a rule ends. */
static inline uint32_t fw_match_end(const struct fw_match_builder *b,
				    uint32_t rule)
{
	return rule << FW_END_RULE_SHIFT |
	       fw_match_end_of(&b->program->rows[rule]);
}

/* ---- match_part.c ---- */

/**
 * @brief Take all rows of the program apart into the parts of the chains.
 *
 * @return 0, -E2BIG or -ENOMEM
 */
int fw_match_take_apart(struct fw_match_builder *b);

/* ---- match_term.c ---- */

/**
 * @brief Write a term, or find the same one; sets b->terms[rule].
 *
 * @return 0, -E2BIG or -ENOMEM
 */
int fw_match_add_term(struct fw_match_builder *b, uint32_t rule,
		      const struct fw_match_term *term);

/**
 * @brief The compiled form of a set of addresses, written once.
 *
 * @return 0, -E2BIG or -ENOMEM
 */
int fw_match_add_set(struct fw_match_builder *b, int32_t set,
		     uint32_t *ret_off);

/** @brief The compiled form of a set of ports, or of those not in it. */
int fw_match_add_bounds(struct fw_match_builder *b, int32_t set,
			bool is_negated, uint32_t *ret_off);

/* Classes of protocols, see FW_MATCH_CLASS_SHIFT. */
uint8_t fw_match_class(uint8_t proto);

/**
 * @brief The classes that a row's protocols are in.
 *
 * @param ret_exact  false: not all protocols of these classes are the row's
 */
uint8_t fw_match_row_classes(const uint64_t protos[4], bool *ret_exact);

/* ---- match_split.c ---- */

/**
 * @brief Write a chain: its tables, or those of both sides of a split.
 *
 * @param ret_off  what the head of the image says of it
 * @return 0, -E2BIG or -ENOMEM
 */
int fw_match_add_chain(struct fw_match_builder *b, bool is_v6,
		       const struct fw_match_chain *chain, uint32_t *ret_off);

/**
 * @brief What kern/front.h asks for a family.
 *
 * @param head  with all chains
 * @return 0, or -ENOMEM
 */
int fw_match_add_front(struct fw_match_builder *b,
		       const struct fw_match_head *head, bool is_v6,
		       struct fw_match_front *ret);

/* ---- match_table.c ---- */

/**
 * @brief Write the tables of some parts, in the order of their rules.
 *
 * @param ret_off  offset of the first one; 0: there is no part
 * @return 0, -E2BIG or -ENOMEM
 */
int fw_match_add_tables(struct fw_match_builder *b, bool is_v6,
			const struct fw_match_chain *chain, uint32_t *ret_off);

/* ---- match_entry.c ---- */

/* How long the longest list of a table is. */
struct fw_match_depth {
	uint32_t entries;
	uint32_t rule; /* the first one of the longest list */
};

/** @brief A reference of one of the kinds, without anything in its upper bits. */
__u64 fw_match_ref(uint32_t kind, uint32_t off, uint32_t rule);

/**
 * @brief Write parts as a list of entries.
 *
 * @param list   numbers of parts in ascending order
 * @param n      how many, at least 1
 * @param depth  raised to the length of this list
 * @return 0 or -ENOMEM
 */
int fw_match_add_list(struct fw_match_builder *b, bool is_v6,
		      const struct fw_match_part *parts, const uint32_t *list,
		      size_t n, __u64 *ret_ref, struct fw_match_depth *depth);

/* ---- match_tree.c ---- */

/**
 * @brief Write the entries of one slot, with cuts before them if they are many.
 *
 * @param list     numbers of parts in ascending order; may be shortened
 * @param n        how many, at least 1
 * @param room     memory that cuts may take, in entries, beyond the list's own
 * @param ret_ref  the reference, without a signature
 * @param depth    raised to the depth of this tree
 * @return 0 or -ENOMEM
 */
int fw_match_add_tree(struct fw_match_builder *b, bool is_v6,
		      const struct fw_match_part *parts, uint32_t *list,
		      size_t n, size_t room, __u64 *ret_ref,
		      struct fw_match_depth *depth);
