/* SPDX-License-Identifier: GPL-2.0-only */

/* Sets of 128-bit numbers as sorted ranges. */
#pragma once

#include <stdbool.h>

#include "rules.h"

/* A 128-bit number; IPv4 addresses, ports and other small ones in `lo`. */
struct fw_u128 {
	uint64_t hi, lo;
};

/**
 * @brief Append a range; the list is in no order until fw_ranges_merge().
 *
 * @return 0 or -ENOMEM
 */
int fw_ranges_add(struct fw_ranges *ranges, struct fw_u128 first,
		  struct fw_u128 last);

/** @brief Append a range of small numbers. */
int fw_ranges_add_small(struct fw_ranges *ranges, uint64_t first,
			uint64_t last);

/** @brief Append all of `more`. */
int fw_ranges_add_all(struct fw_ranges *ranges, const struct fw_ranges *more);

/** @brief Sort; join what overlaps or touches. */
void fw_ranges_merge(struct fw_ranges *ranges);

/** @brief Is a number a member?  The list must be merged. */
bool fw_ranges_has(const struct fw_ranges *ranges, struct fw_u128 value);

/** @brief Does the merged list consist of this one range? */
bool fw_ranges_is(const struct fw_ranges *ranges, struct fw_u128 first,
		  struct fw_u128 last);

void fw_ranges_done(struct fw_ranges *ranges);
