/* SPDX-License-Identifier: GPL-2.0-only */

/* Which prefixes contain which: all that are of interest, as a tree. */
#include "prefix.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "range_sort.h"

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

/* ---- the tree ------------------------------------------------------------ */

static bool contains(const struct fw_prefix *outer,
		     const struct fw_prefix *inner)
{
	struct fw_u128 free = ones(outer->host);

	return outer->hi == (inner->hi & ~free.hi) &&
	       outer->lo == (inner->lo & ~free.lo);
}

static bool is_same(const struct fw_prefix *a, const struct fw_prefix *b)
{
	return a->hi == b->hi && a->lo == b->lo && a->host == b->host;
}

/*
 * Number the nodes in order; a stack of open ones gives each its parent. `order` has as
 * last number of each prefix {by how much it is narrower than all, its number}: those that
 * contain others stand before them.
 */
static void link_sorted(struct fw_prefixes *prefixes,
			const struct fw_range *order, uint32_t *nodes)
{
	const struct fw_prefix *all = prefixes->p;
	uint32_t top = FW_PREFIX_ROOT;
	uint32_t n = 0;
	size_t i;

	for (i = 0; i < prefixes->n; i++) {
		uint32_t number = (uint32_t)order[i].last_lo;
		const struct fw_prefix *p = &all[number];

		if (n && is_same(p, &all[nodes[n - 1]])) {
			prefixes->node[number] = n - 1;
			continue;
		}
		while (n && !contains(&all[nodes[top]], p))
			top = prefixes->parent[top];
		nodes[n] = number;
		prefixes->parent[n] = top;
		prefixes->node[number] = n;
		top = n++;
	}
}

int fw_prefixes_link(struct fw_prefixes *prefixes)
{
	_cleanup_free_ struct fw_range *order = NULL;
	_cleanup_free_ uint32_t *nodes = NULL; /* one prefix of each */
	size_t n = prefixes->n;
	size_t i;

	order = malloc((n + 1) * sizeof(*order));
	nodes = malloc((n + 1) * sizeof(*nodes));
	prefixes->node = calloc(n + 1, sizeof(*prefixes->node));
	prefixes->parent = calloc(n + 1, sizeof(*prefixes->parent));
	if (!order || !nodes || !prefixes->node || !prefixes->parent)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		const struct fw_prefix *p = &prefixes->p[i];

		order[i] = (struct fw_range){ p->hi, p->lo, 128 - p->host, i };
	}
	fw_range_sort(order, n);
	link_sorted(prefixes, order, nodes);
	return 0;
}

void fw_prefixes_done(struct fw_prefixes *prefixes)
{
	free(prefixes->p);
	free(prefixes->node);
	free(prefixes->parent);
	*prefixes = (struct fw_prefixes){ 0 };
}
