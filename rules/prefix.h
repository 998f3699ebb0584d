/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Which prefixes contain which: all that are of interest, as a tree.
 *
 * Prefixes are entered first, then linked; a number that fw_prefixes_add() gave
 * is a name for a node of the tree from then on.
 */
#pragma once

#include "ranges.h"

/* A block of numbers of a power of two in size and alignment. */
struct fw_prefix {
	uint64_t hi, lo;   /* its first number */
	unsigned int host; /* bits that are free below it, 0..128 */
};

/* Zeroed is empty. */
struct fw_prefixes {
	struct fw_prefix *p; /* as entered */
	size_t n;
	uint32_t *node;	  /* of each as entered; after linking */
	uint32_t *parent; /* of each node; the parent of the root is itself */
};

#define FW_PREFIX_ROOT 0u

/** @brief The smallest prefix that holds two numbers and all between them. */
struct fw_prefix fw_prefix_around(struct fw_u128 first, struct fw_u128 last);

/**
 * @brief Enter a prefix.
 *
 * @param ret  its number, counted from 0
 * @return 0, -E2BIG or -ENOMEM
 */
int fw_prefixes_add(struct fw_prefixes *prefixes, struct fw_prefix prefix,
		    uint32_t *ret);

/**
 * @brief Make the tree. What was entered first must contain all: it is the root.
 *
 * @return 0 or -ENOMEM
 */
int fw_prefixes_link(struct fw_prefixes *prefixes);

void fw_prefixes_done(struct fw_prefixes *prefixes);
