/* SPDX-License-Identifier: GPL-2.0-only */

/* Many ranges into order, by their digits from the uppermost one that tells them apart. */
#include "range_sort.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

static int compare_numbers(uint64_t a_hi, uint64_t a_lo, uint64_t b_hi,
			   uint64_t b_lo)
{
	if (a_hi != b_hi)
		return a_hi < b_hi ? -1 : 1;
	return (a_lo > b_lo) - (a_lo < b_lo);
}

static int compare(const void *a, const void *b)
{
	const struct fw_range *x = a;
	const struct fw_range *y = b;
	int r;

	r = compare_numbers(x->first_hi, x->first_lo, y->first_hi, y->first_lo);
	if (r)
		return r;
	return compare_numbers(x->last_hi, x->last_lo, y->last_hi, y->last_lo);
}

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

static void insert(struct fw_range *r, size_t n)
{
	struct fw_range moving;
	size_t i, k;

	for (i = 1; i < n; i++) {
		moving = r[i];
		for (k = i; k > 0 && compare(&moving, &r[k - 1]) < 0; k--)
			r[k] = r[k - 1];
		r[k] = moving;
	}
}

/*
 * By the highest digit in which they differ, then each heap by itself. Every
 * level uses up at least six of 128 bits. `spare` is as long.
 */
static void sort(struct fw_range *r, struct fw_range *spare, size_t n)
{
	uint32_t ends[1u << MAX_DIGIT];
	unsigned int width = n < MANY ? 6 : MAX_DIGIT;
	size_t n_digits = (size_t)1 << width;
	unsigned int bits, shift;
	size_t i, start = 0;

	if (n <= FEW) {
		insert(r, n);
		return;
	}
	bits = differing_bits(r, n);
	if (!bits) {
		qsort(r, n, sizeof(*r), compare);
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
			sort(r + start, spare + start, ends[i] - start);
	}
}

static bool is_sorted(const struct fw_range *r, size_t n)
{
	size_t i;

	for (i = 1; i < n; i++) {
		if (compare(&r[i - 1], &r[i]) > 0)
			return false;
	}
	return true;
}

void fw_range_sort(struct fw_range *ranges, size_t n)
{
	_cleanup_free_ struct fw_range *spare = NULL;

	if (is_sorted(ranges, n))
		return;
	if (n > FEW && n <= UINT32_MAX)
		spare = malloc(n * sizeof(*spare));
	if (spare || n <= FEW)
		sort(ranges, spare, n);
	else
		qsort(ranges, n, sizeof(*ranges), compare);
}
