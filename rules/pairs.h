/* SPDX-License-Identifier: GPL-2.0-only */

/* Addresses with ports: lists of pairs, and what they say together. */
#pragma once

#include "index.h"
#include "ranges.h"

enum fw_pair_kind {
	FW_PAIR_SELF, /* all addresses of this host; no range */
	FW_PAIR_V4,
	FW_PAIR_V6,
};

/* Some addresses, each with all ports of one list. */
struct fw_pair {
	struct fw_range range;
	uint32_t ports; /* number of the list */
	uint32_t kind;	/* enum fw_pair_kind */
};

/*
 * In no order until fw_pairs_merge(). Behind it pairs are sorted by kind and
 * address, those of one kind do not overlap, and those that touch differ in
 * their ports; lists of ports are numbered as they appear, each is there once.
 */
struct fw_pairs {
	struct fw_pair *pairs;
	size_t n;
	struct fw_ranges *ports; /* merged, none of them empty */
	size_t n_ports;
	size_t n_port_ranges;	    /* of all lists */
	struct fw_index by_content; /* list of ports -> number */
};

/* What merging may cost: ranges of ports that are looked at. */
#define FW_MAX_PAIR_STEPS (16u << 20)

/** @brief A new list without pairs; NULL without memory. */
struct fw_pairs *fw_pairs_new(void);

/** @brief Free a list; NULL is fine. */
void fw_pairs_free(struct fw_pairs *pairs);

/**
 * @brief Append addresses with ports; without ports nothing is appended.
 *
 * @param pairs  list
 * @param kind   of the addresses; FW_PAIR_SELF ignores them
 * @param range  the addresses
 * @param ports  merged; copied
 * @return 0 or -ENOMEM
 */
int fw_pairs_add(struct fw_pairs *pairs, enum fw_pair_kind kind,
		 const struct fw_range *range, const struct fw_ranges *ports);

/** @brief Append all of `more`. @return 0 or -ENOMEM */
int fw_pairs_add_all(struct fw_pairs *pairs, const struct fw_pairs *more);

/**
 * @brief Sort; where pairs overlap, the addresses have the ports of all of them.
 *
 * The time grows with the pairs, and where many overlap with the lists of ports
 * of all that do.
 *
 * @param pairs  list; freed and replaced
 * @return 0, -E2BIG if that is more than FW_MAX_PAIR_STEPS, or -ENOMEM; the list
 *         says what it said after an error
 */
int fw_pairs_merge(struct fw_pairs **pairs);
