/* SPDX-License-Identifier: GPL-2.0-only */

/* What interfaces and rules have counted, on all CPUs together. */
#pragma once

#include "kern/abi.h"
#include "user/datapath.h"

/* Sums over all CPUs. */
struct fw_stats {
	struct fw_counter by[FW_MAX_IFSLOTS][FW_HOOK_MAX][FW_STATS_REASONS];
};

/** @brief Read all counters of interfaces. */
void fw_stats_read(const struct fw_datapath *dp, struct fw_stats *ret);

/** @brief Read one rule counter; 0, or -ENOENT if there is no such slot. */
int fw_stats_rule(const struct fw_datapath *dp, uint32_t slot,
		  struct fw_rule_counter *ret);

/**
 * @brief Zero a rule counter, before its slot gets a new label.
 *
 * One that no map has needs nothing.
 */
void fw_stats_rule_clear(const struct fw_datapath *dp, uint32_t slot);

/** @brief Zero all counters of an interface slot, before it is used again. */
void fw_stats_iface_clear(const struct fw_datapath *dp, uint32_t slot);
