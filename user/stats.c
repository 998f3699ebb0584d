/* SPDX-License-Identifier: GPL-2.0-only */

/* What interfaces and rules have counted, on all CPUs together. */
#include "user/stats.h"

#include <errno.h>
#include <string.h>

#include "user/counters.h"

/* Counters of one interface slot. */
#define PER_SLOT ((uint32_t)FW_HOOK_MAX * FW_STATS_REASONS)

/* Both are words of 64 bits, in this order. */
_Static_assert(sizeof(struct fw_counter) == 2 * sizeof(__u64), "fw_counter");
_Static_assert(sizeof(struct fw_rule_counter) == 3 * sizeof(__u64),
	       "fw_rule_counter");

void fw_stats_read(const struct fw_datapath *dp, struct fw_stats *ret)
{
	const struct fw_counters *counters = fw_datapath_stats(dp);
	struct fw_counter *sums = &ret->by[0][0][0];
	uint64_t used = fw_datapath_slots(dp);

	memset(ret, 0, sizeof(*ret));
	for (uint32_t i = 0; i < FW_STATS_ENTRIES; i++) {
		if (used >> (i / PER_SLOT) & 1)
			fw_counters_add(counters, i, (__u64 *)&sums[i]);
	}
}

int fw_stats_rule(const struct fw_datapath *dp, uint32_t slot,
		  struct fw_rule_counter *ret)
{
	const struct fw_counters *now = fw_datapath_rule_stats(dp);
	const struct fw_counters *before = fw_datapath_stats_before(dp);
	struct fw_rule_counter sum = { 0 };

	if (slot >= now->n)
		return -ENOENT;
	fw_counters_add(now, slot, (__u64 *)&sum);
	/* The map before may have had fewer slots. */
	if (slot < before->n)
		fw_counters_add(before, slot, (__u64 *)&sum);
	*ret = sum;
	return 0;
}

void fw_stats_rule_clear(const struct fw_datapath *dp, uint32_t slot)
{
	const struct fw_counters *now = fw_datapath_rule_stats(dp);
	const struct fw_counters *before = fw_datapath_stats_before(dp);

	if (slot < now->n)
		fw_counters_clear(now, slot);
	if (slot < before->n)
		fw_counters_clear(before, slot);
}

void fw_stats_iface_clear(const struct fw_datapath *dp, uint32_t slot)
{
	const struct fw_counters *counters = fw_datapath_stats(dp);

	for (uint32_t i = 0; i < PER_SLOT; i++)
		fw_counters_clear(counters, slot * PER_SLOT + i);
}
