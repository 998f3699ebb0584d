/* SPDX-License-Identifier: GPL-2.0-only */

/* Reads the per-CPU counters; the only caller of lookups on per-CPU maps. */
#pragma once

#include "kern/abi.h"
#include "user/datapath.h"

/* Sums over all CPUs. */
struct fw_stats {
	struct fw_counter by[FW_MAX_IFSLOTS][FW_HOOK_MAX][FW_STATS_REASONS];
};

/** @brief Read all counters of interfaces; 0 or a negative errno. */
int fw_stats_read(const struct fw_datapath *dp, struct fw_stats *ret);

/** @brief Read one rule counter; 0 or a negative errno. */
int fw_stats_rule(const struct fw_datapath *dp, uint32_t slot,
		  struct fw_rule_counter *ret);

/**
 * @brief Zero `n` rule counters, before their slots get new labels.
 *
 * @param slots  in ascending order; those that no map has need nothing
 */
int fw_stats_rules_clear(const struct fw_datapath *dp, const uint32_t *slots,
			 size_t n);

/**
 * @brief Copy rule counters from one map into another, as many as both have.
 *
 * CPU by CPU; exact as long as nobody writes either of them.
 *
 * @return 0 or a negative errno
 */
int fw_stats_rules_copy(int from, int to);

/** @brief Zero all counters of an interface slot, before it is used again. */
int fw_stats_iface_clear(const struct fw_datapath *dp, uint32_t slot);
