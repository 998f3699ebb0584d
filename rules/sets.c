/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The sets of a program: what is the same is kept once.
 *
 * First by the text of the value, so that the thousandth rule with a large set
 * costs nothing; then by content.
 */
#include "sets.h"

#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "str.h"

void fw_ir_set_done(struct fw_ir_set *set)
{
	fw_ranges_done(&set->v4);
	fw_ranges_done(&set->v6);
	fw_ranges_done(&set->port);
	*set = (struct fw_ir_set){ 0 };
}

static size_t cells_of(const struct fw_ranges *ranges, size_t per_cell)
{
	/* At most two boundaries each: where it starts and behind its end. */
	return (2 * ranges->n + per_cell - 1) / per_cell;
}

size_t fw_ir_set_cells(const struct fw_ir_set *set)
{
	return 1 + cells_of(&set->v4, FW_V4_PER_CELL) +
	       cells_of(&set->v6, FW_V6_PER_CELL) +
	       cells_of(&set->port, FW_PORT_PER_CELL);
}

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
	hash = fw_mem_hash(hash, &ranges->n, sizeof(ranges->n));
	if (!ranges->n)
		return hash;
	return fw_mem_hash(hash, ranges->r, ranges->n * sizeof(*ranges->r));
}

static uint64_t hash_set(const struct fw_ir_set *set)
{
	uint64_t hash = FW_HASH_SEED + set->has_self;

	hash = hash_ranges(hash, &set->v4);
	hash = hash_ranges(hash, &set->v6);
	return hash_ranges(hash, &set->port);
}

/* Append; the set is taken only on success. */
static bool append(struct fw_set_pool *pool, struct fw_ir_set *set)
{
	struct fw_ir_set *sets;

	sets = fw_mem_grow(pool->sets, pool->n, sizeof(*sets));
	if (!sets)
		return false;
	pool->sets = sets;
	sets[pool->n++] = *set;
	pool->n_cells += fw_ir_set_cells(set);
	return true;
}

/* The keys of the table must not move: each hash has its own little memory. */
static bool remember_hash(struct fw_set_pool *pool, uint64_t hash,
			  uint32_t number)
{
	char *key = fw_mem_dup((const char *)&hash, sizeof(hash));
	char **keys;

	keys = fw_mem_grow(pool->keys, pool->n_keys, sizeof(*keys));
	if (keys)
		pool->keys = keys;
	if (!key || !keys) {
		free(key);
		return false;
	}
	keys[pool->n_keys++] = key;
	return fw_index_add(&pool->by_hash, key, sizeof(hash), number) == 0;
}

int32_t fw_set_pool_add(struct fw_set_pool *pool, struct fw_scope *scope,
			struct fw_ir_set *set, struct fw_span at)
{
	uint64_t hash = hash_set(set);
	uint32_t i;

	i = fw_index_find(&pool->by_hash, &hash, sizeof(hash));
	if (i != FW_INDEX_NONE && same(&pool->sets[i], set)) {
		fw_ir_set_done(set);
		return (int32_t)i;
	}
	if (pool->n_cells + fw_ir_set_cells(set) > FW_MAX_CELLS) {
		fw_report_error(&scope->c->rep, at,
				"the sets of all rules need more than %u MB",
				FW_MAX_CELLS / 1024 * FW_CELL_SIZE / 1024);
		fw_ir_set_done(set);
		return FW_SET_FAILED;
	}
	if (!append(pool, set)) {
		scope->c->rep.is_broken = true;
		fw_ir_set_done(set);
		return FW_SET_FAILED;
	}
	if (i == FW_INDEX_NONE &&
	    !remember_hash(pool, hash, (uint32_t)pool->n - 1)) {
		scope->c->rep.is_broken = true;
		return FW_SET_FAILED;
	}
	return (int32_t)pool->n - 1;
}

static bool remember_text(struct fw_set_pool *pool, char *key, int32_t number)
{
	char **keys;

	keys = fw_mem_grow(pool->keys, pool->n_keys, sizeof(*keys));
	if (!keys) {
		free(key);
		return false;
	}
	pool->keys = keys;
	keys[pool->n_keys++] = key;
	return fw_index_add(&pool->by_text, key, strlen(key),
			    (uint32_t)number) == 0;
}

/* Build the set of a value that was not seen before. */
static int32_t build(struct fw_set_pool *pool, struct fw_scope *scope,
		     enum fw_field field, const struct fw_parts *parts,
		     struct fw_span at)
{
	struct fw_value value = { 0 };
	struct fw_ir_set set = { 0 };

	if (!fw_parts_value(scope, field, parts, &value)) {
		fw_value_done(&value);
		return FW_SET_FAILED;
	}
	if (field == FW_FIELD_ADDRESS) {
		set.v4 = value.v4;
		set.v6 = value.v6;
		set.has_self = value.has_self;
	} else {
		set.port = value.v4;
	}
	return fw_set_pool_add(pool, scope, &set, at);
}

int32_t fw_set_pool_get(struct fw_set_pool *pool, struct fw_scope *scope,
			enum fw_field field, const struct fw_parts *parts,
			const char *text, struct fw_span at)
{
	struct fw_str str = { 0 };
	int32_t number;
	uint32_t i;
	char *key;

	fw_str_addf(&str, "%d %s", (int)field, text);
	key = fw_str_take(&str);
	if (!key) {
		scope->c->rep.is_broken = true;
		return FW_SET_FAILED;
	}
	i = fw_index_find(&pool->by_text, key, strlen(key));
	if (i != FW_INDEX_NONE) {
		free(key);
		return (int32_t)i;
	}
	number = build(pool, scope, field, parts, at);
	if (number == FW_SET_FAILED) {
		free(key);
		return number;
	}
	if (!remember_text(pool, key, number)) {
		scope->c->rep.is_broken = true;
		return FW_SET_FAILED;
	}
	return number;
}

void fw_set_pool_done(struct fw_set_pool *pool)
{
	size_t i;

	for (i = 0; i < pool->n; i++)
		fw_ir_set_done(&pool->sets[i]);
	for (i = 0; i < pool->n_keys; i++)
		free(pool->keys[i]);
	free(pool->sets);
	free(pool->keys);
	fw_index_done(&pool->by_text);
	fw_index_done(&pool->by_hash);
	*pool = (struct fw_set_pool){ 0 };
}
