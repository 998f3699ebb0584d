/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The sets of a program: what is the same is kept once.
 *
 * A value that refers to names is looked up by these first, so that the
 * thousandth rule with a large set costs nothing; everything else by content.
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

static uint64_t hash_set(const struct fw_ir_set *set)
{
	uint64_t hash = FW_HASH_SEED + set->has_self;

	hash = hash_ranges(hash, &set->v4);
	hash = hash_ranges(hash, &set->v6);
	return hash_ranges(hash, &set->port);
}

/* Where a set is in the table, or the free place where it belongs. */
static struct fw_set_slot *find_slot(const struct fw_set_pool *pool,
				     uint64_t hash, const struct fw_ir_set *set)
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

	sets = fw_mem_grow(pool->sets, pool->n, sizeof(*sets));
	if (!sets)
		return false;
	pool->sets = sets;
	copy = &sets[pool->n];
	copy->has_self = set->has_self;
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

int32_t fw_set_pool_add(struct fw_set_pool *pool, struct fw_scope *scope,
			const struct fw_ir_set *set, struct fw_span at)
{
	size_t n = set->v4.n + set->v6.n + set->port.n;
	uint64_t hash = hash_set(set);
	struct fw_set_slot *slot;

	if (pool->n * 2 >= pool->n_slots && !widen(pool))
		return out_of_memory(scope);
	slot = find_slot(pool, hash, set);
	if (slot->number)
		return (int32_t)slot->number - 1;
	if (pool->n_ranges + n > FW_MAX_RANGES) {
		/* Once: all rules that follow would say the same. */
		if (!pool->is_full) {
			fw_report_error(
				&scope->c->rep, at,
				"the sets of all rules have more than %u ranges",
				FW_MAX_RANGES);
		}
		pool->is_full = true;
		return FW_SET_FAILED;
	}
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

static int32_t add_value(struct fw_set_pool *pool, struct fw_scope *scope,
			 enum fw_field field, const struct fw_value *value,
			 struct fw_span at)
{
	struct fw_ir_set set = { 0 };

	if (field == FW_FIELD_ADDRESS) {
		set.v4 = value->v4;
		set.v6 = value->v6;
		set.has_self = value->has_self;
	} else {
		set.port = value->v4;
	}
	return fw_set_pool_add(pool, scope, &set, at);
}

/* Work out a value that was not seen before and remember it by its key. */
static int32_t build(struct fw_set_pool *pool, struct fw_scope *scope,
		     enum fw_field field, const struct fw_parts *parts,
		     struct fw_span at)
{
	struct fw_value value = { 0 };
	int32_t number = FW_SET_FAILED;
	char *key;

	if (fw_parts_value(scope, field, parts, &value))
		number = add_value(pool, scope, field, &value, at);
	fw_value_done(&value);
	if (number == FW_SET_FAILED)
		return number;
	key = fw_arena_text(&scope->c->arena, pool->key.s, pool->key.n);
	if (!key || fw_index_add(&pool->by_names, key, pool->key.n,
				 (uint32_t)number) < 0)
		return out_of_memory(scope);
	return number;
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
	return build(pool, scope, field, parts, at);
}

void fw_set_pool_done(struct fw_set_pool *pool)
{
	free(pool->sets);
	free(pool->slots);
	fw_index_done(&pool->by_names);
	fw_str_done(&pool->key);
	*pool = (struct fw_set_pool){ 0 };
}
