/* SPDX-License-Identifier: GPL-2.0-only */

/* Sets of 128-bit numbers as sorted ranges. */
#include "ranges.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

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

static int compare_ranges(const void *a, const void *b)
{
	const struct fw_range *x = a;
	const struct fw_range *y = b;
	int r;

	r = compare(x->first_hi, x->first_lo, y->first_hi, y->first_lo);
	if (r)
		return r;
	return compare(x->last_hi, x->last_lo, y->last_hi, y->last_lo);
}

/* ---- sorting ------------------------------------------------------------- */

#define MAX_DIGIT 11
#define MANY	  4096 /* as many pay for counters of the widest digit */
#define FEW	  24   /* as few are put in order one by one */

/* The number of low bits in which the first numbers differ at all. */
static unsigned int differing_bits(const struct fw_range *r, size_t n)
{
	uint64_t hi = 0, lo = 0;
	size_t i;

	for (i = 1; i < n; i++) {
		hi |= r[i].first_hi ^ r[0].first_hi;
		lo |= r[i].first_lo ^ r[0].first_lo;
	}
	if (hi)
		return 128 - (unsigned int)__builtin_clzll(hi);
	return lo ? 64 - (unsigned int)__builtin_clzll(lo) : 0;
}

/* The bits from `shift` on of the first number. */
static size_t digit_at(const struct fw_range *r, unsigned int shift,
		       size_t mask)
{
	uint64_t word = r->first_hi >> (shift & 63);

	if (shift < 64) {
		word = r->first_lo >> shift;
		if (shift)
			word |= r->first_hi << (64 - shift);
	}
	return word & mask;
}

static void insert_ranges(struct fw_range *r, size_t n)
{
	struct fw_range moving;
	size_t i, k;

	for (i = 1; i < n; i++) {
		moving = r[i];
		for (k = i; k > 0 && compare_ranges(&moving, &r[k - 1]) < 0;
		     k--)
			r[k] = r[k - 1];
		r[k] = moving;
	}
}

/*
 * By the highest digit in which they differ, then each heap by itself. Every
 * level uses up at least six of 128 bits. `spare` is as long.
 */
static void sort_ranges(struct fw_range *r, struct fw_range *spare, size_t n)
{
	uint32_t ends[1u << MAX_DIGIT];
	unsigned int width = n < MANY ? 6 : MAX_DIGIT;
	size_t n_digits = (size_t)1 << width;
	unsigned int bits, shift;
	size_t i, start = 0;

	if (n <= FEW) {
		insert_ranges(r, n);
		return;
	}
	bits = differing_bits(r, n);
	if (!bits) {
		qsort(r, n, sizeof(*r), compare_ranges);
		return;
	}
	shift = bits > width ? bits - width : 0;
	memset(ends, 0, n_digits * sizeof(*ends));
	for (i = 0; i < n; i++)
		ends[digit_at(&r[i], shift, n_digits - 1)]++;
	for (i = 0; i < n_digits; i++) {
		start += ends[i];
		ends[i] = (uint32_t)start - ends[i];
	}
	for (i = 0; i < n; i++)
		spare[ends[digit_at(&r[i], shift, n_digits - 1)]++] = r[i];
	memcpy(r, spare, n * sizeof(*r));
	for (start = 0, i = 0; i < n_digits; start = ends[i++]) {
		if (ends[i] - start > 1)
			sort_ranges(r + start, spare + start, ends[i] - start);
	}
}

static void sort(struct fw_ranges *ranges)
{
	_cleanup_free_ struct fw_range *spare = NULL;

	if (ranges->n > FEW && ranges->n <= UINT32_MAX)
		spare = malloc(ranges->n * sizeof(*spare));
	if (spare || ranges->n <= FEW) {
		sort_ranges(ranges->r, spare, ranges->n);
	} else {
		qsort(ranges->r, ranges->n, sizeof(*ranges->r), compare_ranges);
	}
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

static bool is_sorted(const struct fw_ranges *ranges)
{
	size_t i;

	for (i = 1; i < ranges->n; i++) {
		if (compare_ranges(&ranges->r[i - 1], &ranges->r[i]) > 0)
			return false;
	}
	return true;
}

void fw_ranges_merge(struct fw_ranges *ranges)
{
	struct fw_range *r = ranges->r;
	size_t i, n = 0;

	if (ranges->n < 2)
		return;
	if (!is_sorted(ranges))
		sort(ranges);
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
