/* SPDX-License-Identifier: GPL-2.0-only */

/* What follows from the content of sets for the rows that have them. */
#include "origin.h"

#include "ranges.h"

#define BOTH_FAMILIES (FW_FAMILY_IPV4 | FW_FAMILY_IPV6)

void fw_ir_set_free_heap(struct fw_ir_set *set)
{
	if (!set->is_heap)
		return;
	fw_ranges_done(&set->v4);
	fw_ranges_done(&set->v6);
	fw_ranges_done(&set->port);
}

static bool is_everything(const struct fw_ranges *ranges, bool is_v6)
{
	struct fw_u128 first = { 0 };
	struct fw_u128 last = { .lo = UINT32_MAX };

	if (is_v6)
		last = (struct fw_u128){ UINT64_MAX, UINT64_MAX };
	return fw_ranges_is(ranges, first, last);
}

uint8_t fw_set_families(const struct fw_ir_set *set, bool is_negated)
{
	uint8_t families = 0;

	if (is_negated) {
		if (!is_everything(&set->v4, false))
			families |= FW_FAMILY_IPV4;
		if (!is_everything(&set->v6, true))
			families |= FW_FAMILY_IPV6;
		return families;
	}
	if (set->v4.n || set->has_self)
		families |= FW_FAMILY_IPV4;
	if (set->v6.n || set->has_self)
		families |= FW_FAMILY_IPV6;
	/* An empty set matches nothing, whatever the family. */
	return families ? families : BOTH_FAMILIES;
}

uint8_t fw_families_now(const struct fw_ir_set *sets,
			const struct fw_ir_row *row)
{
	uint8_t families = row->given_families;

	if (row->src >= 0) {
		families &= fw_set_families(&sets[row->src],
					    row->flags & FW_ROW_NOT_SRC);
	}
	if (row->dst >= 0) {
		families &= fw_set_families(&sets[row->dst],
					    row->flags & FW_ROW_NOT_DST);
	}
	return families ? families : row->given_families;
}
