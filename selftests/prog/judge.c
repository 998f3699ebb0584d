/* SPDX-License-Identifier: GPL-2.0-only */

/* The interpreter for programs of many rules; see judge.h. */
#include "judge.h"

#include <arpa/inet.h>
#include <stdlib.h>

/*
 * Hulls of eight rows: a value v lies between first and last exactly if
 * v - first <= last - first. IPv6 addresses by their first 32 bits.
 */
#define LANES 8
typedef uint32_t lanes __attribute__((vector_size(LANES * 4)));
typedef uint64_t words __attribute__((vector_size(LANES * 4)));

enum field {
	FIELD_SRC,
	FIELD_DST,
	FIELD_SPORT,
	FIELD_DPORT,
	FIELD_MAX,
};

struct hull {
	lanes first, span;
};

struct block {
	struct hull field[FIELD_MAX];
};

struct judge {
	const struct fw_program *program;
	struct block *blocks[2]; /* IPv4, IPv6 */
	size_t n;
};

/* ---- hulls --------------------------------------------------------------- */

static void set_hull(struct hull *hull, size_t lane, uint64_t first,
		     uint64_t last)
{
	hull->first[lane] = (uint32_t)first;
	hull->span[lane] = (uint32_t)(last - first);
}

static void address_hull(const struct fw_program *p, int32_t set,
			 bool is_negated, bool is_v6, struct hull *hull,
			 size_t lane)
{
	const struct fw_ranges *r;

	set_hull(hull, lane, 0, UINT32_MAX);
	if (set < 0 || is_negated || p->sets[set].has_self)
		return;
	r = is_v6 ? &p->sets[set].v6 : &p->sets[set].v4;
	if (!r->n)
		return;
	if (is_v6)
		set_hull(hull, lane, r->r[0].first_hi >> 32,
			 r->r[r->n - 1].last_hi >> 32);
	else
		set_hull(hull, lane, r->r[0].first_lo, r->r[r->n - 1].last_lo);
}

static void port_hull(const struct fw_program *p, int32_t set, bool is_other,
		      struct hull *hull, size_t lane)
{
	const struct fw_ranges *r;

	set_hull(hull, lane, 0, UINT16_MAX);
	if (set < 0 || is_other)
		return;
	r = &p->sets[set].port;
	if (r->n)
		set_hull(hull, lane, r->r[0].first_lo, r->r[r->n - 1].last_lo);
}

static void row_hulls(const struct fw_program *p, const struct fw_ir_row *row,
		      bool is_v6, struct block *block, size_t lane)
{
	uint32_t flags = row->flags;
	struct hull *f = block->field;

	address_hull(p, row->src, flags & FW_ROW_NOT_SRC, is_v6, &f[FIELD_SRC],
		     lane);
	address_hull(p, row->dst, flags & FW_ROW_NOT_DST, is_v6, &f[FIELD_DST],
		     lane);
	port_hull(p, row->l4a, flags & (FW_ROW_ICMP | FW_ROW_NOT_SPORT),
		  &f[FIELD_SPORT], lane);
	port_hull(p, row->l4b, flags & (FW_ROW_ICMP | FW_ROW_NOT_DPORT),
		  &f[FIELD_DPORT], lane);
}

struct judge *judge_new(const struct fw_program *program)
{
	struct judge *judge = calloc(1, sizeof(*judge));
	size_t i, v6;

	if (!judge)
		abort();
	judge->program = program;
	judge->n = (program->n_rows + LANES - 1) / LANES;
	for (v6 = 0; v6 < 2; v6++) {
		judge->blocks[v6] = aligned_alloc(
			sizeof(lanes), (judge->n + 1) * sizeof(struct block));
		if (!judge->blocks[v6])
			abort();
		for (i = 0; i < program->n_rows; i++)
			row_hulls(program, &program->rows[i], v6,
				  &judge->blocks[v6][i / LANES], i % LANES);
	}
	return judge;
}

void judge_free(struct judge *judge)
{
	free(judge->blocks[0]);
	free(judge->blocks[1]);
	free(judge);
}

/* ---- asking -------------------------------------------------------------- */

/* A bit for each row of the block whose hull the packet does not miss. */
static unsigned int candidates(const struct block *block,
			       const uint32_t value[FIELD_MAX])
{
	lanes in = ~(lanes){ 0 };
	unsigned int bits = 0;
	words any;

	for (int i = 0; i < FIELD_MAX; i++) {
		const struct hull *h = &block->field[i];

		in &= (lanes)(value[i] - h->first <= h->span);
	}
	any = (words)in;
	if (!(any[0] | any[1] | any[2] | any[3]))
		return 0;
	for (unsigned int i = 0; i < LANES; i++)
		bits |= (in[i] & 1) << i;
	return bits;
}

/* True: the row decides. What it says of the leaving interface is kept. */
static bool ask_row(const struct judge *judge, size_t row,
		    const struct fw_key *key, bool stateless,
		    struct fw_result *ret)
{
	struct fw_program one = *judge->program;
	struct fw_result res;

	one.rows += row;
	one.n_rows = 1;
	fw_interpret(&one, key, stateless, &res);
	ret->flags |= res.flags & FW_RESULT_MAYBE;
	if (res.rule != 0)
		return false;
	ret->rule = (uint32_t)row;
	ret->verdict = res.verdict;
	ret->flags |= res.flags;
	ret->names_reqid = res.names_reqid;
	return true;
}

static void ask_default(const struct judge *judge, const struct fw_key *key,
			bool stateless, struct fw_result *ret)
{
	struct fw_program none = *judge->program;
	uint8_t flags = ret->flags;

	none.n_rows = 0;
	fw_interpret(&none, key, stateless, ret);
	ret->flags |= flags;
}

void judge_ask(const struct judge *judge, const struct fw_key *key,
	       bool stateless, struct fw_result *ret)
{
	bool is_v6 = key->family == FW_AF_IPV6;
	const uint32_t value[FIELD_MAX] = {
		ntohl(key->saddr.w[is_v6 ? 0 : 3]),
		ntohl(key->daddr.w[is_v6 ? 0 : 3]),
		key->sport,
		key->dport,
	};
	size_t i, row;

	*ret = (struct fw_result){ .rule = FW_RULE_NONE };
	for (i = 0; i < judge->n; i++) {
		unsigned int bits = candidates(&judge->blocks[is_v6][i], value);

		for (; bits; bits &= bits - 1) {
			row = i * LANES + (unsigned int)__builtin_ctz(bits);
			if (row < judge->program->n_rows &&
			    ask_row(judge, row, key, stateless, ret))
				return;
		}
	}
	ask_default(judge, key, stateless, ret);
}
