/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Addresses with ports: lists of pairs, and what they say together.
 *
 * Merging walks over the addresses in ascending order. Pairs of the same
 * addresses become one first, so that of prefixes only few overlap. Those that
 * overlap no other one are copied. Of those that do, the ones at work in each
 * stretch of addresses are known, and the stretch has the ports of all of them.
 */
#include "pairs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

#define NO_LIST UINT32_MAX

/* ---- lists --------------------------------------------------------------- */

struct fw_pairs *fw_pairs_new(void)
{
	return calloc(1, sizeof(struct fw_pairs));
}

void fw_pairs_free(struct fw_pairs *pairs)
{
	size_t i;

	if (!pairs)
		return;
	for (i = 0; i < pairs->n_ports; i++)
		fw_ranges_done(&pairs->ports[i]);
	free(pairs->ports);
	free(pairs->pairs);
	fw_index_done(&pairs->by_content);
	free(pairs);
}

/* The number of a list of ports that is not empty, entered if it is new. */
static int number_of(struct fw_pairs *pairs, const struct fw_ranges *ports,
		     uint32_t *ret)
{
	size_t size = ports->n * sizeof(*ports->r);
	struct fw_ranges copy = { 0 };
	struct fw_ranges *lists;

	*ret = fw_index_find(&pairs->by_content, ports->r, size);
	if (*ret != FW_INDEX_NONE)
		return 0;
	lists = fw_mem_grow(pairs->ports, pairs->n_ports, sizeof(*lists));
	if (!lists)
		return -ENOMEM;
	pairs->ports = lists;
	*ret = (uint32_t)pairs->n_ports;
	if (fw_ranges_add_all(&copy, ports) < 0 ||
	    fw_index_add(&pairs->by_content, copy.r, size, *ret) < 0) {
		fw_ranges_done(&copy);
		return -ENOMEM;
	}
	lists[pairs->n_ports++] = copy;
	pairs->n_port_ranges += copy.n;
	return 0;
}

static int append(struct fw_pairs *pairs, const struct fw_pair *pair)
{
	struct fw_pair *more;

	more = fw_mem_grow(pairs->pairs, pairs->n, sizeof(*more));
	if (!more)
		return -ENOMEM;
	pairs->pairs = more;
	more[pairs->n++] = *pair;
	return 0;
}

int fw_pairs_add(struct fw_pairs *pairs, enum fw_pair_kind kind,
		 const struct fw_range *range, const struct fw_ranges *ports)
{
	struct fw_pair pair = { .kind = kind };
	int r;

	if (ports->n == 0)
		return 0;
	if (kind != FW_PAIR_SELF)
		pair.range = *range;
	r = number_of(pairs, ports, &pair.ports);
	if (r < 0)
		return r;
	return append(pairs, &pair);
}

int fw_pairs_add_all(struct fw_pairs *pairs, const struct fw_pairs *more)
{
	size_t i;
	int r;

	for (i = 0; i < more->n; i++) {
		const struct fw_pair *p = &more->pairs[i];

		r = fw_pairs_add(pairs, (enum fw_pair_kind)p->kind, &p->range,
				 &more->ports[p->ports]);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- order --------------------------------------------------------------- */

static int compare(struct fw_u128 a, struct fw_u128 b)
{
	if (a.hi != b.hi)
		return a.hi < b.hi ? -1 : 1;
	return (a.lo > b.lo) - (a.lo < b.lo);
}

static struct fw_u128 first_of(const struct fw_pair *p)
{
	return (struct fw_u128){ p->range.first_hi, p->range.first_lo };
}

static struct fw_u128 last_of(const struct fw_pair *p)
{
	return (struct fw_u128){ p->range.last_hi, p->range.last_lo };
}

static int compare_pairs(const void *a, const void *b)
{
	const struct fw_pair *x = a;
	const struct fw_pair *y = b;
	int r;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	r = compare(first_of(x), first_of(y));
	if (r)
		return r;
	r = compare(last_of(x), last_of(y));
	if (r)
		return r;
	return (x->ports > y->ports) - (x->ports < y->ports);
}

static int compare_ends(const void *a, const void *b)
{
	return compare(last_of(*(const struct fw_pair *const *)a),
		       last_of(*(const struct fw_pair *const *)b));
}

static void sort(struct fw_pairs *pairs)
{
	size_t i;

	for (i = 1; i < pairs->n; i++) {
		if (compare_pairs(&pairs->pairs[i - 1], &pairs->pairs[i]) > 0)
			break;
	}
	if (i < pairs->n)
		qsort(pairs->pairs, pairs->n, sizeof(*pairs->pairs),
		      compare_pairs);
}

static struct fw_u128 next_to(struct fw_u128 n)
{
	n.lo++;
	n.hi += n.lo == 0;
	return n;
}

static struct fw_u128 before(struct fw_u128 n)
{
	n.hi -= n.lo == 0;
	n.lo--;
	return n;
}

/* ---- merging ------------------------------------------------------------- */

struct merge {
	struct fw_pairs *in;
	struct fw_pairs *out;
	uint32_t *numbers; /* of lists of `in` in `out`, or NO_LIST */
	uint32_t *counts;  /* pairs at work, by their list of `in` */
	uint32_t *at;	   /* where a list stands in `active` */
	uint32_t *active;  /* lists with such pairs, in no order */
	size_t n_active;
	struct fw_ranges ports; /* of a stretch */
	uint64_t steps;
};

/* Add the ports of a list of `in` to those collected. */
static int collect(struct merge *m, uint32_t list)
{
	m->steps += m->in->ports[list].n;
	if (m->steps > FW_MAX_PAIR_STEPS)
		return -E2BIG;
	return fw_ranges_add_all(&m->ports, &m->in->ports[list]);
}

/* The pairs from `from` on that have the same addresses; what is behind them. */
static size_t equal_end(const struct fw_pairs *in, size_t from)
{
	const struct fw_pair *first = &in->pairs[from];
	size_t i;

	for (i = from + 1; i < in->n; i++) {
		if (in->pairs[i].kind != first->kind ||
		    memcmp(&in->pairs[i].range, &first->range,
			   sizeof(first->range)) != 0)
			break;
	}
	return i;
}

/* The pairs from `from` to `to` - 1, of the same addresses, as one list. */
static int join_equal(struct merge *m, size_t from, size_t to, uint32_t *ret)
{
	const struct fw_pair *p = m->in->pairs;
	size_t i;
	int r;

	*ret = p[from].ports;
	if (p[to - 1].ports == *ret)
		return 0;
	m->ports.n = 0;
	for (i = from; i < to; i++) {
		if (i > from && p[i].ports == p[i - 1].ports)
			continue;
		r = collect(m, p[i].ports);
		if (r < 0)
			return r;
	}
	fw_ranges_merge(&m->ports);
	return number_of(m->in, &m->ports, ret);
}

/* Each stretch of addresses once; what the pairs mean stays. */
static int join_all_equal(struct merge *m)
{
	struct fw_pairs *in = m->in;
	size_t i, to, n = 0;
	uint32_t ports;
	int r = 0;

	for (i = 0; i < in->n; i = to) {
		to = equal_end(in, i);
		/* After an error the others are only moved. */
		ports = in->pairs[i].ports;
		if (r == 0)
			r = join_equal(m, i, to, &ports);
		if (r < 0) {
			memmove(&in->pairs[n], &in->pairs[i],
				(to - i) * sizeof(*in->pairs));
			n += to - i;
			continue;
		}
		in->pairs[n] = in->pairs[i];
		in->pairs[n++].ports = ports;
	}
	in->n = n;
	return r;
}

static int out_number(struct merge *m, uint32_t list, uint32_t *ret)
{
	int r = 0;

	if (m->numbers[list] == NO_LIST)
		r = number_of(m->out, &m->in->ports[list], &m->numbers[list]);
	*ret = m->numbers[list];
	return r;
}

/* Append a stretch of addresses, or make the last one longer. */
static int put(struct merge *m, const struct fw_pair *pair)
{
	struct fw_pair *last = m->out->pairs;

	if (last && m->out->n) {
		last += m->out->n - 1;
		if (last->kind == pair->kind && last->ports == pair->ports &&
		    compare(next_to(last_of(last)), first_of(pair)) == 0) {
			last->range.last_hi = pair->range.last_hi;
			last->range.last_lo = pair->range.last_lo;
			return 0;
		}
	}
	return append(m->out, pair);
}

static void begin(struct merge *m, uint32_t list)
{
	if (m->counts[list]++)
		return;
	m->at[list] = (uint32_t)m->n_active;
	m->active[m->n_active++] = list;
}

static void end(struct merge *m, uint32_t list)
{
	uint32_t moved;

	if (--m->counts[list])
		return;
	moved = m->active[--m->n_active];
	m->active[m->at[list]] = moved;
	m->at[moved] = m->at[list];
}

/* The list of all ports that are at work. */
static int join_active(struct merge *m, uint32_t *ret)
{
	size_t i;
	int r;

	if (m->n_active == 1)
		return out_number(m, m->active[0], ret);
	m->ports.n = 0;
	for (i = 0; i < m->n_active; i++) {
		r = collect(m, m->active[i]);
		if (r < 0)
			return r;
	}
	fw_ranges_merge(&m->ports);
	r = number_of(m->out, &m->ports, ret);
	/* As many would not find room among the sets of a program. */
	return r == 0 && m->out->n_port_ranges > FW_MAX_PAIR_STEPS / 4 ? -E2BIG
								       : r;
}

/* Pairs `from` to `to` - 1, each of which overlaps another one of them. */
static int split(struct merge *m, size_t from, size_t to,
		 const struct fw_pair **ends)
{
	const struct fw_pair *p = m->in->pairs;
	struct fw_u128 at = first_of(&p[from]);
	size_t i, k, n = to - from;
	int r;

	for (i = 0; i < n; i++)
		ends[i] = &p[from + i];
	qsort(ends, n, sizeof(*ends), compare_ends);
	for (i = from, k = 0; k < n;) {
		struct fw_pair out = { .kind = p[from].kind };
		struct fw_u128 last;

		while (i < to && compare(first_of(&p[i]), at) == 0)
			begin(m, p[i++].ports);
		last = last_of(ends[k]);
		if (i < to && compare(before(first_of(&p[i])), last) < 0)
			last = before(first_of(&p[i]));
		r = join_active(m, &out.ports);
		if (r < 0)
			return r;
		out.range = (struct fw_range){ at.hi, at.lo, last.hi, last.lo };
		r = put(m, &out);
		if (r < 0)
			return r;
		while (k < n && compare(last_of(ends[k]), last) == 0)
			end(m, ends[k++]->ports);
		at = next_to(last);
	}
	return 0;
}

/* One that overlaps no other one. */
static int copy(struct merge *m, size_t i)
{
	struct fw_pair out = m->in->pairs[i];
	int r;

	r = out_number(m, out.ports, &out.ports);
	return r < 0 ? r : put(m, &out);
}

/* The pairs from `from` on that overlap one another; what is behind them. */
static size_t cluster_end(const struct fw_pairs *in, size_t from)
{
	struct fw_u128 last = last_of(&in->pairs[from]);
	size_t i;

	for (i = from + 1; i < in->n; i++) {
		const struct fw_pair *p = &in->pairs[i];

		if (p->kind != in->pairs[from].kind ||
		    compare(first_of(p), last) > 0)
			break;
		if (compare(last_of(p), last) > 0)
			last = last_of(p);
	}
	return i;
}

static int merge(struct merge *m)
{
	_cleanup_free_ const struct fw_pair **ends = NULL;
	size_t i, to;
	int r = 0;

	ends = malloc((m->in->n + 1) * sizeof(*ends));
	if (!ends)
		return -ENOMEM;
	for (i = 0; i < m->in->n && r == 0; i = to) {
		to = cluster_end(m->in, i);
		r = to == i + 1 ? copy(m, i) : split(m, i, to, ends);
	}
	return r;
}

static void merge_done(struct merge *m)
{
	free(m->numbers);
	free(m->counts);
	free(m->at);
	free(m->active);
	fw_ranges_done(&m->ports);
	fw_pairs_free(m->out);
}

static int alloc_lists(struct merge *m)
{
	size_t n = m->in->n_ports + 1;

	m->out = fw_pairs_new();
	m->numbers = malloc(n * sizeof(*m->numbers));
	m->counts = calloc(n, sizeof(*m->counts));
	m->at = calloc(n, sizeof(*m->at));
	m->active = calloc(n, sizeof(*m->active));
	if (!m->out || !m->numbers || !m->counts || !m->at || !m->active)
		return -ENOMEM;
	memset(m->numbers, 0xff, n * sizeof(*m->numbers));
	return 0;
}

int fw_pairs_merge(struct fw_pairs **pairs)
{
	__attribute__((cleanup(merge_done))) struct merge m = { .in = *pairs };
	int r;

	sort(*pairs);
	r = join_all_equal(&m);
	if (r < 0)
		return r;
	r = alloc_lists(&m);
	if (r < 0)
		return r;
	r = merge(&m);
	if (r < 0)
		return r;
	fw_pairs_free(*pairs);
	*pairs = take_ptr(m.out);
	return 0;
}
