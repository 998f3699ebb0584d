/* SPDX-License-Identifier: GPL-2.0-only */

/* The busiest flows and sources of two walks over the flow table. */
#include "user/topcount.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "user/util.h"

#define FLOWS	131072u /* remembered; powers of two */
#define SOURCES 32768u
#define PROBES	8u

/* What a flow had counted when it was seen last. */
struct cell {
	uint64_t key; /* 0: unused */
	uint64_t packets, bytes;
	uint64_t round;
};

struct fw_topcount {
	struct cell cells[FLOWS];
	struct fw_top_source sources[SOURCES];
	struct fw_top_flow flows[FW_TOP_MOST];
	struct fw_top_source best[2 * FW_TOP_MOST];
	size_t n_flows, n_best;
	uint64_t seed;
	uint64_t round;
	uint64_t begin_ns, before_ns; /* of this walk and the one before */
	uint64_t left_out;
	bool is_counted;
};

struct fw_topcount *fw_topcount_new(void)
{
	struct fw_topcount *top = calloc(1, sizeof(*top));

	if (top && getrandom(&top->seed, sizeof(top->seed), 0) !=
			   (ssize_t)sizeof(top->seed)) {
		free(top);
		return NULL;
	}
	if (top)
		top->round = 1; /* 0: a flow has not been seen */
	return top;
}

void fw_topcount_free(struct fw_topcount *top)
{
	free(top);
}

void fw_topcount_begin(struct fw_topcount *top, uint64_t now_ns)
{
	top->round++;
	top->before_ns = top->begin_ns;
	top->begin_ns = now_ns;
	top->n_flows = top->n_best = 0;
	top->left_out = 0;
	top->is_counted = false;
	memset(top->sources, 0, sizeof(top->sources));
}

/* Who chooses tuples does not know the seed; a mistake is a wrong rate, no more. */
static uint64_t mix(uint64_t hash, const void *data, size_t n)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < n; i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3u;
	hash ^= hash >> 29;
	return hash * 0x9e3779b97f4a7c15u;
}

static struct cell *find_cell(struct fw_topcount *top, uint64_t key)
{
	struct cell *room = NULL;

	for (unsigned int i = 0; i < PROBES; i++) {
		struct cell *cell = &top->cells[((key >> 20) + i) % FLOWS];

		if (cell->key == key)
			return cell;
		/* Of a flow that is gone, or was not there. */
		if (!room && (!cell->key || cell->round + 1 < top->round))
			room = cell;
	}
	if (room)
		*room = (struct cell){ .key = key };
	return room;
}

static uint64_t gained(uint64_t now, uint64_t before)
{
	return now > before ? now - before : 0;
}

/* What a flow has counted since the walk before; nothing if that is not known. */
static void compare_counts(struct fw_topcount *top, const struct fw_flow *flow,
			   struct fw_top_flow *ret)
{
	const struct fw_flow_counts *c = &flow->counts;
	uint64_t packets = c->packets[0] + c->packets[1];
	uint64_t bytes = c->bytes[0] + c->bytes[1];
	uint64_t key =
		mix(top->seed, &flow->orig, sizeof(flow->orig)) + flow->zone;
	struct cell *cell = find_cell(top, key | 1);

	if (!cell) {
		top->left_out++;
		return;
	}
	/* It was there in the walk before, or has been opened since then. */
	if (cell->round + 1 == top->round ||
	    (top->before_ns && flow->opened_ns > top->before_ns)) {
		ret->packets = gained(packets, cell->packets);
		ret->bytes = gained(bytes, cell->bytes);
	}
	cell->packets = packets;
	cell->bytes = bytes;
	cell->round = top->round;
}

static void add_source(struct fw_topcount *top, const struct fw_top_flow *flow)
{
	const struct fw_tuple *orig = &flow->flow.orig;
	uint64_t key = mix(top->seed, &orig->saddr, sizeof(orig->saddr));

	for (unsigned int i = 0; i < PROBES; i++) {
		struct fw_top_source *source =
			&top->sources[((key >> 20) + i) % SOURCES];

		if (source->family && (source->family != orig->family ||
				       memcmp(&source->addr, &orig->saddr,
					      sizeof(source->addr)) != 0))
			continue;
		source->addr = orig->saddr;
		source->family = orig->family;
		source->packets += flow->packets;
		source->bytes += flow->bytes;
		source->flows++;
		return;
	}
	top->left_out++;
}

static bool is_busier(const struct fw_top_flow *a, const struct fw_top_flow *b)
{
	return a->bytes > b->bytes ||
	       (a->bytes == b->bytes && a->packets > b->packets);
}

/* Into its place; the last one may fall out. */
static void offer_flow(struct fw_topcount *top, const struct fw_top_flow *flow)
{
	size_t at;

	if (top->n_flows == FW_TOP_MOST &&
	    !is_busier(flow, &top->flows[FW_TOP_MOST - 1]))
		return;
	if (top->n_flows < FW_TOP_MOST)
		top->n_flows++;
	for (at = top->n_flows - 1; at && is_busier(flow, &top->flows[at - 1]);
	     at--)
		top->flows[at] = top->flows[at - 1];
	top->flows[at] = *flow;
}

void fw_topcount_add(struct fw_topcount *top, const struct fw_flow *flow)
{
	struct fw_top_flow entry = { .flow = *flow };

	if (flow->is_counted) {
		top->is_counted = true;
		compare_counts(top, flow, &entry);
	}
	add_source(top, &entry);
	if (entry.packets)
		offer_flow(top, &entry);
}

/* ---- the lists ---------------------------------------------------------------------- */

static bool has_more_bytes(const struct fw_top_source *a,
			   const struct fw_top_source *b)
{
	return a->bytes > b->bytes;
}

static bool has_more_flows(const struct fw_top_source *a,
			   const struct fw_top_source *b)
{
	return a->flows > b->flows;
}

/* The best of all sources into `list`, which has room for FW_TOP_MOST. */
static size_t pick(const struct fw_topcount *top, struct fw_top_source *list,
		   bool (*is_better)(const struct fw_top_source *a,
				     const struct fw_top_source *b))
{
	const struct fw_top_source nothing = { 0 };
	size_t n = 0, at;

	for (size_t i = 0; i < SOURCES; i++) {
		const struct fw_top_source *s = &top->sources[i];

		if (!is_better(s, n == FW_TOP_MOST ? &list[n - 1] : &nothing))
			continue;
		n += n < FW_TOP_MOST;
		for (at = n - 1; at && is_better(s, &list[at - 1]); at--)
			list[at] = list[at - 1];
		list[at] = *s;
	}
	return n;
}

static bool is_in(const struct fw_top_source *list, size_t n,
		  const struct fw_top_source *source)
{
	for (size_t i = 0; i < n; i++) {
		if (list[i].family == source->family &&
		    memcmp(&list[i].addr, &source->addr,
			   sizeof(source->addr)) == 0)
			return true;
	}
	return false;
}

void fw_topcount_end(struct fw_topcount *top)
{
	struct fw_top_source most[FW_TOP_MOST];
	size_t n, n_bytes;

	n_bytes = top->n_best = pick(top, top->best, has_more_bytes);
	n = pick(top, most, has_more_flows);
	for (size_t i = 0; i < n; i++) {
		if (!is_in(top->best, n_bytes, &most[i]))
			top->best[top->n_best++] = most[i];
	}
}

double fw_topcount_seconds(const struct fw_topcount *top)
{
	return top->before_ns ? (double)(top->begin_ns - top->before_ns) / 1e9
			      : 0;
}

const struct fw_top_flow *fw_topcount_flows(const struct fw_topcount *top,
					    size_t *ret_n)
{
	*ret_n = top->n_flows;
	return top->flows;
}

const struct fw_top_source *fw_topcount_sources(const struct fw_topcount *top,
						size_t *ret_n)
{
	*ret_n = top->n_best;
	return top->best;
}

uint64_t fw_topcount_left_out(const struct fw_topcount *top)
{
	return top->left_out;
}

bool fw_topcount_is_counted(const struct fw_topcount *top)
{
	return top->is_counted;
}
