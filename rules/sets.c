/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The sets of a program: what is the same is kept once.
 *
 * A value that refers to names is looked up by these first, so that the
 * thousandth rule with a large set costs nothing; everything else by content.
 * What may be replaced is never the same as something else.
 */
#include "sets.h"

#include <stdlib.h>
#include <string.h>

#include "mem.h"

#define FIRST_SLOTS 64

void fw_ir_set_done(struct fw_ir_set *set)
{
	fw_ranges_done(&set->v4);
	fw_ranges_done(&set->v6);
	fw_ranges_done(&set->port);
	*set = (struct fw_ir_set){ 0 };
}

/* ---- by content ---------------------------------------------------------- */

static bool same_ranges(const struct fw_ranges *a, const struct fw_ranges *b)
{
	return a->n == b->n &&
	       (a->n == 0 || memcmp(a->r, b->r, a->n * sizeof(*a->r)) == 0);
}

static bool same(const struct fw_ir_set *a, const struct fw_ir_set *b)
{
	return a->has_self == b->has_self && same_ranges(&a->v4, &b->v4) &&
	       same_ranges(&a->v6, &b->v6) && same_ranges(&a->port, &b->port);
}

static uint64_t hash_ranges(uint64_t hash, const struct fw_ranges *ranges)
{
	return fw_mem_quick_hash(hash, ranges->n ? (void *)ranges->r : "",
				 ranges->n * sizeof(*ranges->r));
}

static uint32_t hash_set(const struct fw_ir_set *set)
{
	uint64_t hash = FW_HASH_SEED + set->has_self;

	hash = hash_ranges(hash, &set->v4);
	hash = hash_ranges(hash, &set->v6);
	return (uint32_t)hash_ranges(hash, &set->port);
}

/* Where a set is in the table, or the free place where it belongs. */
static struct fw_set_slot *find_slot(const struct fw_set_pool *pool,
				     uint32_t hash, const struct fw_ir_set *set)
{
	size_t i = hash & (pool->n_slots - 1);

	while (pool->slots[i].number &&
	       (pool->slots[i].hash != hash ||
		!same(&pool->sets[pool->slots[i].number - 1], set)))
		i = (i + 1) & (pool->n_slots - 1);
	return &pool->slots[i];
}

static bool widen(struct fw_set_pool *pool)
{
	size_t n = pool->n_slots ? pool->n_slots * 2 : FIRST_SLOTS;
	struct fw_set_slot *slots;
	size_t i, k;

	while (!pool->n_slots && n < pool->n_expected)
		n *= 2;

	slots = calloc(n, sizeof(*slots));
	if (!slots)
		return false;
	for (i = 0; i < pool->n_slots; i++) {
		if (!pool->slots[i].number)
			continue;
		k = pool->slots[i].hash & (n - 1);
		while (slots[k].number)
			k = (k + 1) & (n - 1);
		slots[k] = pool->slots[i];
	}
	free(pool->slots);
	pool->slots = slots;
	pool->n_slots = n;
	return true;
}

static bool copy_ranges(struct fw_arena *arena, const struct fw_ranges *from,
			struct fw_ranges *to)
{
	*to = (struct fw_ranges){ 0 };
	if (!from->n)
		return true;
	to->r = fw_arena_alloc(arena, from->n * sizeof(*to->r));
	if (!to->r)
		return false;
	memcpy(to->r, from->r, from->n * sizeof(*to->r));
	to->n = from->n;
	return true;
}

static bool append(struct fw_set_pool *pool, const struct fw_ir_set *set)
{
	struct fw_ir_set *sets;
	struct fw_ir_set *copy;

	sets = fw_mem_grow_from(pool->n_expected, pool->sets, pool->n,
				sizeof(*sets));
	if (!sets)
		return false;
	pool->sets = sets;
	copy = &sets[pool->n];
	*copy = (struct fw_ir_set){ .has_self = set->has_self };
	if (!copy_ranges(pool->arena, &set->v4, &copy->v4) ||
	    !copy_ranges(pool->arena, &set->v6, &copy->v6) ||
	    !copy_ranges(pool->arena, &set->port, &copy->port))
		return false;
	pool->n++;
	pool->n_ranges += set->v4.n + set->v6.n + set->port.n;
	return true;
}

static int32_t out_of_memory(struct fw_scope *scope)
{
	scope->c->rep.is_broken = true;
	return FW_SET_FAILED;
}

/* Together with the other sets of the program it must not be too much. */
static bool has_room(struct fw_set_pool *pool, struct fw_scope *scope,
		     const struct fw_ir_set *set, struct fw_span at)
{
	size_t n = set->v4.n + set->v6.n + set->port.n;

	if (pool->n_ranges + n <= FW_MAX_RANGES)
		return true;
	/* Once: all rules that follow would say the same. */
	if (!pool->is_full) {
		fw_report_error(
			&scope->c->rep, at,
			"the sets of all rules have more than %u ranges",
			FW_MAX_RANGES);
	}
	pool->is_full = true;
	return false;
}

int32_t fw_set_pool_add(struct fw_set_pool *pool, struct fw_scope *scope,
			const struct fw_ir_set *set, struct fw_span at)
{
	uint32_t hash = hash_set(set);
	struct fw_set_slot *slot;

	if (pool->n * 2 >= pool->n_slots && !widen(pool))
		return out_of_memory(scope);
	slot = find_slot(pool, hash, set);
	if (slot->number)
		return (int32_t)slot->number - 1;
	if (!has_room(pool, scope, set, at))
		return FW_SET_FAILED;
	if (!append(pool, set))
		return out_of_memory(scope);
	*slot = (struct fw_set_slot){ hash, (uint32_t)pool->n };
	return (int32_t)pool->n - 1;
}

/* ---- by names ------------------------------------------------------------ */

static void put_key(struct fw_str *key, const void *data, size_t n)
{
	if (n)
		fw_str_add(key, data, n);
}

/* Everything that the content follows from, as bytes. */
static bool make_key(struct fw_str *key, enum fw_field field,
		     const struct fw_parts *parts)
{
	const struct fw_value *v = &parts->literals;
	size_t i;

	fw_str_clear(key);
	put_key(key, &field, sizeof(field));
	put_key(key, &v->has_self, sizeof(v->has_self));
	put_key(key, &parts->n_refs, sizeof(parts->n_refs));
	for (i = 0; i < parts->n_refs; i++) {
		put_key(key, &parts->refs[i].symbol,
			sizeof(parts->refs[i].symbol));
	}
	put_key(key, &v->v4.n, sizeof(v->v4.n));
	put_key(key, v->v4.r, v->v4.n * sizeof(*v->v4.r));
	put_key(key, v->v6.r, v->v6.n * sizeof(*v->v6.r));
	return !key->is_broken;
}

/* As a set; the ranges stay those of the value. */
static struct fw_ir_set set_of(enum fw_field field,
			       const struct fw_value *value)
{
	if (field == FW_FIELD_PORT)
		return (struct fw_ir_set){ .port = value->v4 };
	return (struct fw_ir_set){
		.v4 = value->v4,
		.v6 = value->v6,
		.has_self = value->has_self,
	};
}

static int32_t add_value(struct fw_set_pool *pool, struct fw_scope *scope,
			 enum fw_field field, const struct fw_value *value,
			 struct fw_span at)
{
	const struct fw_ir_set set = set_of(field, value);

	return fw_set_pool_add(pool, scope, &set, at);
}

/* ---- what may be replaced ------------------------------------------------ */

static int32_t get_symbol(struct fw_set_pool *pool, struct fw_scope *scope,
			  enum fw_field field, struct fw_symbol *symbol);

/* The sets that are part of a value. */
static bool add_from(struct fw_set_pool *pool, struct fw_scope *scope,
		     enum fw_field field, const struct fw_parts *parts,
		     struct fw_set_origin *origin)
{
	size_t i;

	origin->from = fw_arena_alloc(pool->arena,
				      parts->n_refs * sizeof(*origin->from));
	if (!origin->from) {
		(void)out_of_memory(scope);
		return false;
	}
	for (i = 0; i < parts->n_refs; i++) {
		struct fw_symbol *symbol = parts->refs[i].symbol;
		int32_t number;

		if (!fw_symbol_is_variable(symbol))
			continue;
		number = get_symbol(pool, scope, field, symbol);
		if (number == FW_SET_FAILED)
			return false;
		origin->from[origin->n++] = number;
	}
	return true;
}

/* What stands there besides sets. */
static bool add_own(struct fw_set_pool *pool, enum fw_field field,
		    const struct fw_parts *parts, struct fw_set_origin *origin)
{
	struct fw_value value = { 0 };
	struct fw_ir_set own;
	bool is_good;
	size_t i;

	is_good = fw_value_add(&value, &parts->literals) == 0;
	for (i = 0; i < parts->n_refs && is_good; i++) {
		const struct fw_symbol *symbol = parts->refs[i].symbol;

		if (!fw_symbol_is_variable(symbol))
			is_good = fw_value_add(&value, symbol->values[field]) ==
				  0;
	}
	fw_value_merge(&value);
	own = set_of(field, &value);
	is_good = is_good && copy_ranges(pool->arena, &own.v4, &origin->v4) &&
		  copy_ranges(pool->arena, &own.v6, &origin->v6) &&
		  copy_ranges(pool->arena, &own.port, &origin->port);
	origin->has_self = own.has_self;
	fw_value_done(&value);
	return is_good;
}

static struct fw_set_origin *
make_origin(struct fw_set_pool *pool, struct fw_scope *scope,
	    enum fw_field field, const struct fw_parts *parts, bool is_name)
{
	struct fw_set_origin *origin;

	origin = fw_arena_alloc(pool->arena, sizeof(*origin));
	if (!origin) {
		(void)out_of_memory(scope);
		return NULL;
	}
	origin->is_name = is_name;
	if (!parts->n_refs)
		return origin;
	if (!add_from(pool, scope, field, parts, origin))
		return NULL;
	if (origin->n && !add_own(pool, field, parts, origin)) {
		(void)out_of_memory(scope);
		return NULL;
	}
	return origin;
}

static int32_t add_variable(struct fw_set_pool *pool, struct fw_scope *scope,
			    enum fw_field field, const struct fw_value *value,
			    const struct fw_set_origin *origin,
			    struct fw_span at)
{
	const struct fw_ir_set set = set_of(field, value);

	if (!origin || !has_room(pool, scope, &set, at))
		return FW_SET_FAILED;
	if (!append(pool, &set))
		return out_of_memory(scope);
	pool->sets[pool->n - 1].origin = origin;
	return (int32_t)pool->n - 1;
}

/* The set of a name: that of a named set is known beforehand. */
static int32_t get_symbol(struct fw_set_pool *pool, struct fw_scope *scope,
			  enum fw_field field, struct fw_symbol *symbol)
{
	int32_t number;

	if (symbol->is_set)
		return (int32_t)symbol->number;
	if (symbol->content)
		return (int32_t)symbol->content - 1;
	number = add_variable(
		pool, scope, field, symbol->values[field],
		make_origin(pool, scope, field, symbol->parts, true),
		symbol->name);
	if (number != FW_SET_FAILED)
		symbol->content = (uint32_t)number + 1;
	return number;
}

static void add_named(struct fw_set_pool *pool, struct fw_scope *scope,
		      struct fw_symbol *symbol)
{
	enum fw_field field = fw_symbol_field(symbol);
	const struct fw_value *value = fw_symbol_value(scope, symbol, field);
	struct fw_ir_set set = { 0 };

	if (value)
		set = set_of(field, value);
	if (!has_room(pool, scope, &set, symbol->name))
		set = (struct fw_ir_set){ 0 };
	if (!append(pool, &set))
		(void)out_of_memory(scope);
}

void fw_set_pool_add_named(struct fw_set_pool *pool, struct fw_scope *scope)
{
	struct fw_symbols *sets = &scope->sets;
	size_t i;

	for (i = 0; i < sets->n && !scope->c->rep.is_broken; i++)
		add_named(pool, scope, &sets->s[i]);
	/* They may refer to each other: all have to be there. */
	for (i = 0; i < sets->n && scope->c->rep.diag->errors == 0 &&
		    !scope->c->rep.is_broken;
	     i++) {
		const struct fw_symbol *symbol = &sets->s[i];

		/* Addresses with ports stay what the rules say. */
		if (symbol->holds_pairs)
			continue;
		pool->sets[i].origin =
			make_origin(pool, scope, fw_symbol_field(symbol),
				    symbol->parts, true);
	}
}

static bool is_only_name(const struct fw_parts *parts)
{
	const struct fw_value *own = &parts->literals;

	return parts->n_refs == 1 && !own->v4.n && !own->v6.n && !own->has_self;
}

/* Work out a value that was not seen before. */
static int32_t build(struct fw_set_pool *pool, struct fw_scope *scope,
		     enum fw_field field, const struct fw_parts *parts,
		     struct fw_span at)
{
	const struct fw_set_origin *origin;
	struct fw_value value = { 0 };
	int32_t number = FW_SET_FAILED;

	if (parts->has_set && is_only_name(parts))
		return get_symbol(pool, scope, field, parts->refs[0].symbol);
	if (!fw_parts_value(scope, field, parts, &value)) {
		/* reported */
	} else if (parts->has_set) {
		origin = make_origin(pool, scope, field, parts, false);
		number = add_variable(pool, scope, field, &value, origin, at);
	} else {
		number = add_value(pool, scope, field, &value, at);
	}
	fw_value_done(&value);
	return number;
}

/* The same, to be remembered by the key. */
static int32_t build_once(struct fw_set_pool *pool, struct fw_scope *scope,
			  enum fw_field field, const struct fw_parts *parts,
			  struct fw_span at)
{
	int32_t number = build(pool, scope, field, parts, at);
	char *key;

	if (number == FW_SET_FAILED)
		return number;
	key = fw_arena_text(&scope->c->arena, pool->key.s, pool->key.n);
	if (!key || fw_index_add(&pool->by_names, key, pool->key.n,
				 (uint32_t)number) < 0)
		return out_of_memory(scope);
	return number;
}

void fw_set_pool_expect(const struct fw_set_pool *pool, enum fw_field field,
			const struct fw_parts *parts)
{
	struct fw_ir_set set;

	if ((field != FW_FIELD_ADDRESS && field != FW_FIELD_PORT) ||
	    parts->n_refs || !pool->n_slots)
		return;
	set = set_of(field, &parts->literals);
	__builtin_prefetch(&pool->slots[hash_set(&set) & (pool->n_slots - 1)]);
}

int32_t fw_set_pool_get(struct fw_set_pool *pool, struct fw_scope *scope,
			enum fw_field field, const struct fw_parts *parts,
			struct fw_span at)
{
	uint32_t i;

	if (!parts->n_refs)
		return add_value(pool, scope, field, &parts->literals, at);
	if (pool->is_full)
		return FW_SET_FAILED;
	if (!make_key(&pool->key, field, parts))
		return out_of_memory(scope);
	i = fw_index_find(&pool->by_names, pool->key.s, pool->key.n);
	if (i != FW_INDEX_NONE)
		return (int32_t)i;
	return build_once(pool, scope, field, parts, at);
}

void fw_set_pool_fix(const struct fw_set_pool *pool, struct fw_scope *scope,
		     int32_t number)
{
	const struct fw_set_origin *origin = pool->sets[number].origin;
	size_t i;

	if (!origin)
		return;
	if ((size_t)number < scope->sets.n)
		scope->sets.s[number].is_fixed = true;
	for (i = 0; i < origin->n; i++)
		fw_set_pool_fix(pool, scope, origin->from[i]);
}

void fw_set_pool_done(struct fw_set_pool *pool)
{
	free(pool->sets);
	free(pool->slots);
	fw_index_done(&pool->by_names);
	fw_str_done(&pool->key);
	*pool = (struct fw_set_pool){ 0 };
}
