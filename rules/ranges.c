/* SPDX-License-Identifier: GPL-2.0-only */

/* Sets of 128-bit numbers as sorted ranges. */
#include "ranges.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "range_sort.h"

static int compare(uint64_t a_hi, uint64_t a_lo, uint64_t b_hi, uint64_t b_lo)
{
	if (a_hi != b_hi)
		return a_hi < b_hi ? -1 : 1;
	return (a_lo > b_lo) - (a_lo < b_lo);
}

int fw_ranges_add(struct fw_ranges *ranges, struct fw_u128 first,
		  struct fw_u128 last)
{
	struct fw_range *r;

	r = fw_mem_grow(ranges->r, ranges->n, sizeof(*r));
	if (!r)
		return -ENOMEM;
	ranges->r = r;
	r[ranges->n++] = (struct fw_range){
		.first_hi = first.hi,
		.first_lo = first.lo,
		.last_hi = last.hi,
		.last_lo = last.lo,
	};
	return 0;
}

int fw_ranges_add_small(struct fw_ranges *ranges, uint64_t first, uint64_t last)
{
	const struct fw_u128 from = { .lo = first };
	const struct fw_u128 to = { .lo = last };

	return fw_ranges_add(ranges, from, to);
}

int fw_ranges_add_all(struct fw_ranges *ranges, const struct fw_ranges *more)
{
	size_t i;
	int r;

	for (i = 0; i < more->n; i++) {
		const struct fw_range *m = &more->r[i];

		r = fw_ranges_add(ranges,
				  (struct fw_u128){ m->first_hi, m->first_lo },
				  (struct fw_u128){ m->last_hi, m->last_lo });
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- merging ------------------------------------------------------------- */

/* Does `next`, which starts no earlier, overlap or touch the end of `range`? */
static bool joins(const struct fw_range *range, const struct fw_range *next)
{
	uint64_t hi = range->last_hi;
	uint64_t lo = range->last_lo + 1;

	if (lo == 0 && ++hi == 0)
		return true; /* nothing lies behind the last number */
	return compare(next->first_hi, next->first_lo, hi, lo) <= 0;
}

void fw_ranges_merge(struct fw_ranges *ranges)
{
	struct fw_range *r = ranges->r;
	size_t i, n = 0;

	if (ranges->n < 2)
		return;
	fw_range_sort(r, ranges->n);
	for (i = 1; i < ranges->n; i++) {
		if (!joins(&r[n], &r[i])) {
			r[++n] = r[i];
		} else if (compare(r[i].last_hi, r[i].last_lo, r[n].last_hi,
				   r[n].last_lo) > 0) {
			r[n].last_hi = r[i].last_hi;
			r[n].last_lo = r[i].last_lo;
		}
	}
	ranges->n = n + 1;
}

bool fw_ranges_has(const struct fw_ranges *ranges, struct fw_u128 value)
{
	size_t low = 0, high = ranges->n;

	/* Find how many ranges start at or below the value. */
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct fw_range *r = &ranges->r[middle];

		if (compare(r->first_hi, r->first_lo, value.hi, value.lo) <=
		    0) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	if (low == 0)
		return false;
	return compare(value.hi, value.lo, ranges->r[low - 1].last_hi,
		       ranges->r[low - 1].last_lo) <= 0;
}

bool fw_ranges_is(const struct fw_ranges *ranges, struct fw_u128 first,
		  struct fw_u128 last)
{
	return ranges->n == 1 && ranges->r[0].first_hi == first.hi &&
	       ranges->r[0].first_lo == first.lo &&
	       ranges->r[0].last_hi == last.hi &&
	       ranges->r[0].last_lo == last.lo;
}

void fw_ranges_done(struct fw_ranges *ranges)
{
	free(ranges->r);
	*ranges = (struct fw_ranges){ 0 };
}
