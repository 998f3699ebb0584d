/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Sets of addresses with ports: what rules that use them are lowered to.
 *
 * Addresses that have the same ports are a group, and one row a group says all:
 * `to @set` is a row for each, with its addresses and its ports. `to !@set` is a
 * row for what is in no group, with all ports, and one for each group with all
 * ports but its own. Ports that the rule names itself make all of them narrower.
 *
 * `self` is in no group, for its addresses may be in any of them, or in none.
 * What is in a group and not `self` is what is neither `self` nor outside the
 * group, and that a row can say: none of these. So a negated group is two rows:
 * of its addresses with the ports that neither it nor `self` has, and of those
 * that are not `self` with the ports that it has not.
 */
#include "addrport.h"

#include <stdlib.h>
#include <string.h>

#include "ir.h"
#include "mem.h"
#include "origin.h"

/* ---- lists of ports ------------------------------------------------------ */

static int ports_or(const struct fw_ranges *a, const struct fw_ranges *b,
		    struct fw_ranges *ret)
{
	if (fw_ranges_add_all(ret, a) < 0 || fw_ranges_add_all(ret, b) < 0)
		return -1;
	fw_ranges_merge(ret);
	return 0;
}

/* Those of `a` that are in `b`. */
static int ports_and(const struct fw_ranges *a, const struct fw_ranges *b,
		     struct fw_ranges *ret)
{
	size_t i = 0, k = 0;

	while (i < a->n && k < b->n) {
		const struct fw_range *x = &a->r[i], *y = &b->r[k];
		uint64_t first =
			x->first_lo > y->first_lo ? x->first_lo : y->first_lo;
		uint64_t last =
			x->last_lo < y->last_lo ? x->last_lo : y->last_lo;

		if (first <= last && fw_ranges_add_small(ret, first, last) < 0)
			return -1;
		if (x->last_lo < y->last_lo) {
			i++;
		} else {
			k++;
		}
	}
	return 0;
}

static int ports_not(const struct fw_ranges *a, struct fw_ranges *ret)
{
	uint64_t next = 0;
	size_t i;

	for (i = 0; i < a->n; i++) {
		if (a->r[i].first_lo > next &&
		    fw_ranges_add_small(ret, next, a->r[i].first_lo - 1) < 0)
			return -1;
		next = a->r[i].last_lo + 1;
	}
	return next > UINT16_MAX ? 0
				 : fw_ranges_add_small(ret, next, UINT16_MAX);
}

static bool same_ports(const struct fw_ranges *a, const struct fw_ranges *b)
{
	return a->n == b->n &&
	       (!a->n || memcmp(a->r, b->r, a->n * sizeof(*a->r)) == 0);
}

/* ---- lists of addresses -------------------------------------------------- */

/* The addresses that are in none of the ranges, which are merged. */
static int addresses_not(const struct fw_ranges *a, struct fw_u128 top,
			 struct fw_ranges *ret)
{
	struct fw_u128 next = { 0 };
	size_t i;

	for (i = 0; i < a->n; i++) {
		const struct fw_range *r = &a->r[i];
		struct fw_u128 last = { r->first_hi, r->first_lo - 1 };

		last.hi -= r->first_lo == 0;
		if ((r->first_hi != next.hi || r->first_lo != next.lo) &&
		    fw_ranges_add(ret, next, last) < 0)
			return -1;
		if (r->last_hi == top.hi && r->last_lo == top.lo)
			return 0;
		next = (struct fw_u128){ r->last_hi, r->last_lo + 1 };
		next.hi += next.lo == 0;
	}
	return fw_ranges_add(ret, next, top);
}

static int set_not(const struct fw_ir_set *set, struct fw_ir_set *ret)
{
	const struct fw_u128 top_v4 = { .lo = UINT32_MAX };
	const struct fw_u128 top_v6 = { UINT64_MAX, UINT64_MAX };

	if (addresses_not(&set->v4, top_v4, &ret->v4) < 0)
		return -1;
	return addresses_not(&set->v6, top_v6, &ret->v6);
}

/* ---- groups -------------------------------------------------------------- */

/* Addresses of each list of ports; `self` is among them by its flag. */
struct groups {
	const struct fw_pairs *pairs;
	struct fw_ir_set *sets;
	size_t n;
};

static void groups_done(struct groups *groups)
{
	size_t i;

	for (i = 0; groups->sets && i < groups->n; i++)
		fw_ir_set_done(&groups->sets[i]);
	free(groups->sets);
}

static int add_range(struct fw_ir_set *set, const struct fw_pair *p)
{
	if (p->kind == FW_PAIR_SELF) {
		set->has_self = true;
		return 0;
	}
	return fw_ranges_add(
		p->kind == FW_PAIR_V4 ? &set->v4 : &set->v6,
		(struct fw_u128){ p->range.first_hi, p->range.first_lo },
		(struct fw_u128){ p->range.last_hi, p->range.last_lo });
}

static bool make_groups(struct fw_scope *scope, const struct fw_pairs *pairs,
			struct groups *ret)
{
	size_t i;

	ret->pairs = pairs;
	ret->n = pairs ? pairs->n_ports : 0;
	ret->sets = calloc(ret->n + 1, sizeof(*ret->sets));
	for (i = 0; ret->sets && pairs && i < pairs->n; i++) {
		const struct fw_pair *p = &pairs->pairs[i];

		if (add_range(&ret->sets[p->ports], p) < 0)
			break;
	}
	if (ret->sets && (!pairs || i == pairs->n))
		return true;
	scope->c->rep.is_broken = true;
	return false;
}

/* ---- rows of a term ------------------------------------------------------ */

struct build {
	struct fw_scope *scope;
	struct fw_set_pool *pool;
	struct fw_span at;
	struct groups groups;
	struct fw_pair_row *rows;
	size_t n;
};

static void build_done(struct build *b)
{
	groups_done(&b->groups);
	free(b->rows);
}

static bool out_of_memory(const struct build *b)
{
	b->scope->c->rep.is_broken = true;
	return false;
}

/* The addresses are a set of the pool already. */
static bool add_numbers(struct build *b, int32_t addr, bool is_negated,
			const struct fw_ranges *ports)
{
	const struct fw_ir_set port = { .port = *ports };
	struct fw_pair_row row = { .addr = addr, .is_negated = is_negated };
	struct fw_pair_row *rows;

	row.port = fw_set_pool_add(b->pool, b->scope, &port, b->at);
	if (row.port < 0)
		return false;
	rows = fw_mem_grow(b->rows, b->n, sizeof(*rows));
	if (!rows)
		return out_of_memory(b);
	b->rows = rows;
	rows[b->n++] = row;
	return true;
}

static bool add_row(struct build *b, const struct fw_ir_set *addresses,
		    bool is_negated, const struct fw_ranges *ports)
{
	int32_t addr;

	addr = fw_set_pool_add(b->pool, b->scope, addresses, b->at);
	return addr >= 0 && add_numbers(b, addr, is_negated, ports);
}

/* What has at least one port. */
static bool add_useful(struct build *b, const struct fw_ir_set *addresses,
		       bool is_negated, const struct fw_ranges *ports)
{
	return !ports->n || add_row(b, addresses, is_negated, ports);
}

/* All addresses that are in some group, without `self`. */
static bool unite(struct build *b, struct fw_ir_set *ret)
{
	size_t i;

	for (i = 0; i < b->groups.n; i++) {
		const struct fw_ir_set *set = &b->groups.sets[i];

		if (fw_ranges_add_all(&ret->v4, &set->v4) < 0 ||
		    fw_ranges_add_all(&ret->v6, &set->v6) < 0)
			return out_of_memory(b);
	}
	fw_ranges_merge(&ret->v4);
	fw_ranges_merge(&ret->v6);
	return true;
}

static const struct fw_ranges *all_ports(void)
{
	static struct fw_range range = { .last_lo = UINT16_MAX };
	static const struct fw_ranges all = { .r = &range, .n = 1 };

	return &all;
}

/* What is in no group; `of_self`: NULL, or the ports of `self`. */
static bool add_others(struct build *b, const struct fw_ranges *of_self)
{
	struct fw_ir_set all = { 0 };
	struct fw_ranges ports = { 0 };
	bool is_good;

	is_good = unite(b, &all);
	if (of_self) {
		is_good =
			is_good &&
			(ports_not(of_self, &ports) == 0 || out_of_memory(b)) &&
			add_useful(b, &all, true, &ports);
		all.has_self = true;
	}
	is_good = is_good && add_row(b, &all, true, all_ports());
	fw_ranges_done(&ports);
	fw_ir_set_done(&all);
	return is_good;
}

/* The addresses of a group that are not `self`. */
static bool add_without_self(struct build *b, const struct fw_ir_set *set,
			     const struct fw_ranges *ports)
{
	struct fw_ir_set others = { .has_self = true };
	bool is_good;

	is_good = set_not(set, &others) == 0 || out_of_memory(b);
	is_good = is_good && add_useful(b, &others, true, ports);
	fw_ir_set_done(&others);
	return is_good;
}

static bool add_negated_group(struct build *b, size_t i,
			      const struct fw_ranges *of_self)
{
	struct fw_ir_set set = b->groups.sets[i]; /* its ranges are borrowed */
	const struct fw_ranges *own = &b->groups.pairs->ports[i];
	struct fw_ranges denied = { 0 }, ports = { 0 }, rest = { 0 };
	bool is_good;

	set.has_self = false;
	if (!set.v4.n && !set.v6.n)
		return true;
	is_good = (ports_or(own, of_self ? of_self : own, &denied) == 0 &&
		   ports_not(&denied, &ports) == 0 &&
		   ports_not(own, &rest) == 0) ||
		  out_of_memory(b);
	is_good =
		is_good && add_useful(b, &set, false, &ports) &&
		(same_ports(&ports, &rest) || add_without_self(b, &set, &rest));
	fw_ranges_done(&denied);
	fw_ranges_done(&ports);
	fw_ranges_done(&rest);
	return is_good;
}

static bool add_rows(struct build *b, bool is_negated)
{
	const struct fw_ranges *of_self = NULL;
	size_t i;

	for (i = 0; i < b->groups.n && is_negated; i++) {
		if (b->groups.sets[i].has_self)
			of_self = &b->groups.pairs->ports[i];
	}
	if (is_negated && !add_others(b, of_self))
		return false;
	for (i = 0; i < b->groups.n; i++) {
		if (!(is_negated ? add_negated_group(b, i, of_self)
				 : add_row(b, &b->groups.sets[i], false,
					   &b->groups.pairs->ports[i])))
			return false;
	}
	return true;
}

/* A rule has a row, also if it matches nothing: no address at all. */
static bool add_never(struct build *b)
{
	const struct fw_ir_set nothing = { 0 };

	return add_row(b, &nothing, false, all_ports());
}

static uint8_t families_of(const struct fw_pairs *pairs, bool is_negated)
{
	static const uint8_t families[] = {
		[FW_PAIR_SELF] = FW_FAMILY_IPV4 | FW_FAMILY_IPV6,
		[FW_PAIR_V4] = FW_FAMILY_IPV4,
		[FW_PAIR_V6] = FW_FAMILY_IPV6,
	};
	uint8_t found = 0;
	size_t i;

	for (i = 0; pairs && !is_negated && i < pairs->n; i++)
		found |= families[pairs->pairs[i].kind];
	/* An empty set matches nothing, whatever the family. */
	return found ? found : families[FW_PAIR_SELF];
}

/* ---- rows that are known ------------------------------------------------- */

/*
 * All that the rows follow from; the texts of terms are canonical.
 *
 * @param port  NULL: any
 */
static char *key_of(struct fw_scope *scope, const struct fw_term *term,
		    const struct fw_term *port, size_t *ret_len)
{
	int32_t number = port ? port->set : -1;
	char *key;

	*ret_len = term->text_len + 2 + sizeof(number);
	key = fw_compiler_alloc(scope->c, *ret_len);
	if (!key)
		return NULL;
	memcpy(key, fw_term_text(scope, term), term->text_len);
	key[term->text_len] = (char)term->is_negated;
	key[term->text_len + 1] = (char)(port && port->is_negated);
	memcpy(key + term->text_len + 2, &number, sizeof(number));
	return key;
}

static bool keep(struct build *b, const char *key, size_t len,
		 struct fw_pair_rows *rows)
{
	struct fw_pair_cache *cache = &b->scope->pair_cache;
	struct fw_pair_rows **all;

	rows->is_never |= b->n == 0;
	if (!b->n && !add_never(b))
		return false;
	rows->n = b->n;
	rows->rows = fw_compiler_alloc(b->scope->c, b->n * sizeof(*b->rows));
	all = fw_mem_grow(cache->rows, cache->n, sizeof(struct fw_pair_rows *));
	if (all)
		cache->rows = all;
	if (!all || !rows->rows ||
	    fw_index_add(&cache->index, key, len, (uint32_t)cache->n) < 0)
		return out_of_memory(b);
	memcpy(rows->rows, b->rows, b->n * sizeof(*b->rows));
	all[cache->n++] = rows;
	return true;
}

/* The pairs of all names; what is returned is `own` or belongs to a name. */
static bool pairs_of(struct fw_scope *scope, const struct fw_term *term,
		     const struct fw_parts *parts, struct fw_value *own,
		     const struct fw_pairs **ret)
{
	if (parts->n_refs == 1) {
		*ret = parts->refs[0].symbol->values[FW_FIELD_PAIR]->pairs;
		return true;
	}
	if (!fw_parts_value(scope, FW_FIELD_PAIR, parts, own) ||
	    !fw_addrport_merge(scope, term->at, own))
		return false;
	*ret = own->pairs;
	return true;
}

/* With any port. */
static bool find_rows(struct build *b, const struct fw_term *term,
		      const struct fw_parts *parts, struct fw_pair_rows *ret)
{
	const struct fw_pairs *pairs;
	struct fw_value own = { 0 };
	bool is_good;

	is_good = pairs_of(b->scope, term, parts, &own, &pairs) &&
		  make_groups(b->scope, pairs, &b->groups) &&
		  add_rows(b, term->is_negated);
	if (is_good) {
		ret->families = families_of(pairs, term->is_negated);
		ret->is_empty = b->groups.n == 0;
	}
	b->groups.pairs = NULL;
	fw_value_done(&own);
	return is_good;
}

static bool wanted_ports(struct build *b, const struct fw_term *port,
			 struct fw_ranges *ret)
{
	const struct fw_ranges *ranges = &b->pool->sets[port->set].port;

	return (port->is_negated ? ports_not(ranges, ret)
				 : fw_ranges_add_all(ret, ranges)) == 0 ||
	       out_of_memory(b);
}

/* Those rows with the ports that the rule names. */
static bool narrow_rows(struct build *b, const struct fw_pair_rows *rows,
			const struct fw_term *port, struct fw_pair_rows *ret)
{
	struct fw_ranges wanted = { 0 };
	bool is_good = wanted_ports(b, port, &wanted);
	size_t i;

	for (i = 0; i < rows->n && is_good; i++) {
		const struct fw_pair_row *row = &rows->rows[i];
		struct fw_ranges ports = { 0 };

		is_good = ports_and(&b->pool->sets[row->port].port, &wanted,
				    &ports) == 0 ||
			  out_of_memory(b);
		if (is_good && ports.n)
			is_good = add_numbers(b, row->addr, row->is_negated,
					      &ports);
		fw_ranges_done(&ports);
	}
	fw_ranges_done(&wanted);
	ret->families = rows->families;
	ret->is_empty = rows->is_empty;
	ret->is_never = rows->is_never;
	return is_good;
}

/*
 * Rows that are known, or new ones: of the names, or of rows with any port.
 *
 * @param rows  NULL: there is no port
 */
static const struct fw_pair_rows *
rows_of(struct fw_scope *scope, struct fw_set_pool *pool,
	const struct fw_term *term, const struct fw_parts *parts,
	const struct fw_pair_rows *rows, const struct fw_term *port)
{
	__attribute__((cleanup(build_done))) struct build b = {
		.scope = scope,
		.pool = pool,
		.at = term->at,
	};
	struct fw_pair_rows *new_rows;
	uint32_t number;
	size_t len;
	char *key;

	key = key_of(scope, term, rows ? port : NULL, &len);
	if (!key)
		return NULL;
	number = fw_index_find(&scope->pair_cache.index, key, len);
	if (number != FW_INDEX_NONE)
		return scope->pair_cache.rows[number];
	new_rows = fw_compiler_alloc(scope->c, sizeof(*new_rows));
	if (!new_rows ||
	    !(rows ? narrow_rows(&b, rows, port, new_rows)
		   : find_rows(&b, term, parts, new_rows)) ||
	    !keep(&b, key, len, new_rows))
		return NULL;
	return new_rows;
}

const struct fw_pair_rows *fw_addrport_rows(struct fw_scope *scope,
					    struct fw_set_pool *pool,
					    const struct fw_term *term,
					    const struct fw_parts *parts,
					    const struct fw_term *port)
{
	const struct fw_pair_rows *rows;

	rows = rows_of(scope, pool, term, parts, NULL, NULL);
	if (!rows || !port->is_given)
		return rows;
	return rows_of(scope, pool, term, parts, rows, port);
}

/* ---- rows of a rule ------------------------------------------------------ */

static void set_source(struct fw_ir_row *row, const struct fw_pair_row *pair)
{
	row->src = pair->addr;
	row->l4a = pair->port;
	row->flags &= ~(uint32_t)(FW_ROW_NOT_SRC | FW_ROW_NOT_SPORT);
	if (pair->is_negated)
		row->flags |= FW_ROW_NOT_SRC;
}

static void set_destination(struct fw_ir_row *row,
			    const struct fw_pair_row *pair)
{
	row->dst = pair->addr;
	row->l4b = pair->port;
	row->flags &= ~(uint32_t)(FW_ROW_NOT_DST | FW_ROW_NOT_DPORT);
	if (pair->is_negated)
		row->flags |= FW_ROW_NOT_DST;
}

/* The number of rows, or 0 if they are too many. */
static size_t count(struct fw_scope *scope, const struct fw_checked_rule *rule,
		    const struct fw_pair_rows *src,
		    const struct fw_pair_rows *dst)
{
	struct fw_pair_cache *cache = &scope->pair_cache;
	size_t n = (src ? src->n : 1) * (dst ? dst->n : 1);

	if (n - 1 <= FW_MAX_MORE_ROWS - cache->n_more_rows) {
		cache->n_more_rows += n - 1;
		return n;
	}
	fw_report_error(
		&scope->c->rep, rule->at,
		"the sets of addresses with ports take %zu matches here, more than %d with those of the rules before",
		n, FW_MAX_MORE_ROWS);
	fw_report_hint(
		&scope->c->rep,
		src && dst
			? "two such sets in one rule take the product of both"
			: "a set takes a match for each group of addresses that have the same ports");
	return 0;
}

void fw_addrport_expand(struct fw_scope *scope, const struct fw_set_pool *pool,
			const struct fw_checked_rule *rule,
			struct fw_program *program, struct fw_span **places)
{
	const struct fw_pair_rows *src = rule->terms[FW_TERM_SRC].pairs;
	const struct fw_pair_rows *dst = rule->terms[FW_TERM_DST].pairs;
	struct fw_ir_row *row = &program->rows[program->n_rows - 1];
	const struct fw_ir_row first = *row;
	size_t i, n;

	if (!src && !dst)
		return;
	n = count(scope, rule, src, dst);
	for (i = 0; i < n; i++) {
		if (i)
			row = fw_program_add_row(program, places, rule->at);
		if (!row) {
			scope->c->rep.is_broken = true;
			return;
		}
		*row = first;
		if (src)
			set_source(row, &src->rows[i / (dst ? dst->n : 1)]);
		if (dst)
			set_destination(row, &dst->rows[i % dst->n]);
		row->families = fw_families_now(pool->sets, row);
	}
}

/* ---- named sets ---------------------------------------------------------- */

static void count_ranges(const struct fw_pairs *pairs, struct fw_named_set *ret)
{
	size_t i;

	for (i = 0; i < pairs->n; i++) {
		ret->v4 += pairs->pairs[i].kind == FW_PAIR_V4;
		ret->v6 += pairs->pairs[i].kind == FW_PAIR_V6;
	}
	ret->ports = pairs->n_port_ranges;
}

bool fw_addrport_content(struct fw_scope *scope, struct fw_set_pool *pool,
			 struct fw_symbol *symbol, struct fw_arena *arena,
			 struct fw_named_set *ret)
{
	__attribute__((cleanup(groups_done))) struct groups groups = { 0 };
	const struct fw_value *value;
	size_t i;

	value = fw_symbol_value(scope, symbol, FW_FIELD_PAIR);
	if (!value || !make_groups(scope, value->pairs, &groups))
		return false;
	*ret = (struct fw_named_set){ .set = -1, .n_pairs = groups.n };
	if (value->pairs)
		count_ranges(value->pairs, ret);
	ret->pairs =
		fw_arena_alloc(arena, (groups.n + 1) * sizeof(*ret->pairs));
	if (!ret->pairs) {
		scope->c->rep.is_broken = true;
		return false;
	}
	for (i = 0; i < groups.n; i++) {
		const struct fw_ir_set port = {
			.port = value->pairs->ports[i]
		};
		struct fw_ir_pair *pair = &ret->pairs[i];

		pair->addr = fw_set_pool_add(pool, scope, &groups.sets[i],
					     symbol->name);
		if (pair->addr < 0)
			return false;
		pair->port = fw_set_pool_add(pool, scope, &port, symbol->name);
		if (pair->port < 0)
			return false;
	}
	return true;
}
