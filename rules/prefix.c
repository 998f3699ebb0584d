/* SPDX-License-Identifier: GPL-2.0-only */

/* Which prefixes contain which: all that are of interest, as a tree. */
#include "prefix.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

/* The number whose low bits are ones. */
static struct fw_u128 ones(unsigned int bits)
{
	return (struct fw_u128){
		.hi = bits > 64 ? UINT64_MAX >> (128 - bits) : 0,
		.lo = bits >= 64 ? UINT64_MAX : ((uint64_t)1 << bits) - 1,
	};
}

struct fw_prefix fw_prefix_around(struct fw_u128 first, struct fw_u128 last)
{
	struct fw_prefix prefix = { 0 };
	struct fw_u128 free;

	if (first.hi != last.hi) {
		prefix.host =
			128 - (unsigned int)__builtin_clzll(first.hi ^ last.hi);
	} else if (first.lo != last.lo) {
		prefix.host =
			64 - (unsigned int)__builtin_clzll(first.lo ^ last.lo);
	}
	free = ones(prefix.host);
	prefix.hi = first.hi & ~free.hi;
	prefix.lo = first.lo & ~free.lo;
	return prefix;
}

int fw_prefixes_add(struct fw_prefixes *prefixes, struct fw_prefix prefix,
		    uint32_t *ret)
{
	struct fw_prefix *p;

	if (prefixes->n >= UINT32_MAX)
		return -E2BIG;
	p = fw_mem_grow(prefixes->p, prefixes->n, sizeof(*p));
	if (!p)
		return -ENOMEM;
	prefixes->p = p;
	p[prefixes->n] = prefix;
	*ret = (uint32_t)prefixes->n++;
	return 0;
}

/* What is sorted: a prefix and its number. */
struct entry {
	struct fw_prefix prefix;
	uint32_t number;
};

/* Those that contain others stand before them. */
static int compare(const void *a, const void *b)
{
	const struct fw_prefix *x = &((const struct entry *)a)->prefix;
	const struct fw_prefix *y = &((const struct entry *)b)->prefix;

	if (x->hi != y->hi)
		return x->hi < y->hi ? -1 : 1;
	if (x->lo != y->lo)
		return x->lo < y->lo ? -1 : 1;
	return (x->host < y->host) - (x->host > y->host);
}

/* ---- sorting ------------------------------------------------------------- */

#define MAX_DIGIT 11
#define MANY	  4096 /* as many pay for counters of the widest digit */
#define FEW	  16   /* as few are put in order one by one */

/* The number of low bits in which they differ at all. */
static unsigned int differing_bits(const struct entry *e, size_t n)
{
	uint64_t hi = 0, lo = 0;
	size_t i;

	for (i = 1; i < n; i++) {
		hi |= e[i].prefix.hi ^ e[0].prefix.hi;
		lo |= e[i].prefix.lo ^ e[0].prefix.lo;
	}
	if (hi)
		return 128 - (unsigned int)__builtin_clzll(hi);
	return lo ? 64 - (unsigned int)__builtin_clzll(lo) : 0;
}

static size_t digit_of(const struct entry *e, unsigned int shift, size_t mask)
{
	uint64_t word = e->prefix.hi >> (shift & 63);

	if (shift < 64) {
		word = e->prefix.lo >> shift;
		if (shift)
			word |= e->prefix.hi << (64 - shift);
	}
	return word & mask;
}

static void sort_few(struct entry *e, size_t n)
{
	size_t i, k;

	for (i = 1; i < n; i++) {
		struct entry moving = e[i];

		for (k = i; k > 0 && compare(&moving, &e[k - 1]) < 0; k--)
			e[k] = e[k - 1];
		e[k] = moving;
	}
}

/*
 * By the highest digit in which they differ, then each heap by itself. Every
 * level uses up at least six of 128 bits. `spare` is as long.
 */
static void sort(struct entry *e, struct entry *spare, size_t n)
{
	uint32_t ends[1u << MAX_DIGIT];
	unsigned int width = n < MANY ? 6 : MAX_DIGIT;
	size_t n_digits = (size_t)1 << width;
	unsigned int bits, shift;
	size_t i, start = 0;

	if (n <= FEW) {
		sort_few(e, n);
		return;
	}
	bits = differing_bits(e, n);
	if (!bits) {
		qsort(e, n, sizeof(*e), compare);
		return;
	}
	shift = bits > width ? bits - width : 0;
	memset(ends, 0, n_digits * sizeof(*ends));
	for (i = 0; i < n; i++)
		ends[digit_of(&e[i], shift, n_digits - 1)]++;
	for (i = 0; i < n_digits; i++) {
		start += ends[i];
		ends[i] = (uint32_t)start - ends[i];
	}
	for (i = 0; i < n; i++)
		spare[ends[digit_of(&e[i], shift, n_digits - 1)]++] = e[i];
	memcpy(e, spare, n * sizeof(*e));
	for (start = 0, i = 0; i < n_digits; start = ends[i++]) {
		if (ends[i] - start > 1)
			sort(e + start, spare + start, ends[i] - start);
	}
}

/* ---- the tree ------------------------------------------------------------ */

static bool contains(const struct fw_prefix *outer,
		     const struct fw_prefix *inner)
{
	struct fw_u128 free = ones(outer->host);

	return outer->hi == (inner->hi & ~free.hi) &&
	       outer->lo == (inner->lo & ~free.lo);
}

/* Number the nodes in order; a stack of open ones gives each its parent. */
static void link_sorted(struct fw_prefixes *prefixes,
			const struct entry *entries, struct fw_prefix *nodes)
{
	uint32_t top = FW_PREFIX_ROOT;
	uint32_t n = 0;
	size_t i;

	for (i = 0; i < prefixes->n; i++) {
		const struct entry *e = &entries[i];

		if (i && compare(e, e - 1) == 0) {
			prefixes->node[e->number] = n - 1;
			continue;
		}
		while (n && !contains(&nodes[top], &e->prefix))
			top = prefixes->parent[top];
		nodes[n] = e->prefix;
		prefixes->parent[n] = top;
		prefixes->node[e->number] = n;
		top = n++;
	}
}

int fw_prefixes_link(struct fw_prefixes *prefixes)
{
	_cleanup_free_ struct entry *entries = NULL, *spare = NULL;
	_cleanup_free_ struct fw_prefix *nodes = NULL;
	size_t n = prefixes->n;
	size_t i;

	entries = malloc((n + 1) * sizeof(*entries));
	spare = malloc((n + 1) * sizeof(*spare));
	nodes = malloc((n + 1) * sizeof(*nodes));
	prefixes->node = calloc(n + 1, sizeof(*prefixes->node));
	prefixes->parent = calloc(n + 1, sizeof(*prefixes->parent));
	if (!entries || !spare || !nodes || !prefixes->node ||
	    !prefixes->parent)
		return -ENOMEM;
	for (i = 0; i < n; i++)
		entries[i] = (struct entry){ prefixes->p[i], (uint32_t)i };
	sort(entries, spare, n);
	link_sorted(prefixes, entries, nodes);
	return 0;
}

void fw_prefixes_done(struct fw_prefixes *prefixes)
{
	free(prefixes->p);
	free(prefixes->node);
	free(prefixes->parent);
	*prefixes = (struct fw_prefixes){ 0 };
}
