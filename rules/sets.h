/* SPDX-License-Identifier: GPL-2.0-only */

/* The sets of a program: what is the same is kept once. */
#pragma once

#include "index.h"
#include "origin.h"
#include "resolve.h"
#include "str.h"

/* A place of the table by content. */
struct fw_set_slot {
	uint32_t hash;
	uint32_t number; /* of the set + 1; 0: free */
};

struct fw_set_pool {
	struct fw_ir_set *sets;
	size_t n;
	size_t n_expected;	   /* room for them from the beginning */
	size_t n_ranges;	   /* of all of them */
	bool is_full;		   /* and that was reported */
	struct fw_arena *arena;	   /* of the program: ranges live there */
	struct fw_set_slot *slots; /* by content; at most half full */
	size_t n_slots;		   /* a power of two, or 0 */
	struct fw_index by_names;  /* names and literals of a value -> set */
	struct fw_str key;	   /* the last one that was looked up */
};

#define FW_SET_FAILED (-2) /* an error was reported */

/* Ranges of all sets of a program together, after merging. */
#define FW_MAX_RANGES (4u << 20)

/**
 * @brief The set of a value that stands in a rule.
 *
 * @param pool   sets
 * @param scope  names
 * @param field  FW_FIELD_ADDRESS or FW_FIELD_PORT
 * @param parts  the value
 * @param at     its place, for errors
 * @return its index, or FW_SET_FAILED
 */
int32_t fw_set_pool_get(struct fw_set_pool *pool, struct fw_scope *scope,
			enum fw_field field, const struct fw_parts *parts,
			struct fw_span at);

/**
 * @brief The set of that value will be asked for soon: its place in a table that
 *        no cache holds is fetched meanwhile.
 */
void fw_set_pool_expect(const struct fw_set_pool *pool, enum fw_field field,
			const struct fw_parts *parts);

/**
 * @brief Add a set; its ranges are copied.
 *
 * @return its index, or that of one like it, or FW_SET_FAILED
 */
int32_t fw_set_pool_add(struct fw_set_pool *pool, struct fw_scope *scope,
			const struct fw_ir_set *set, struct fw_span at);

/**
 * @brief Add the contents of all named sets, as what may be replaced.
 *
 * To be called before anything else: the numbers of these sets are those of the
 * names, in the order of declaration. One that is wrong is empty here.
 */
void fw_set_pool_add_named(struct fw_set_pool *pool, struct fw_scope *scope);

/** @brief Named sets that are part of a set are never replaced. */
void fw_set_pool_fix(const struct fw_set_pool *pool, struct fw_scope *scope,
		     int32_t number);

/** @brief Free the tables; sets that were not taken stay in the arena. */
void fw_set_pool_done(struct fw_set_pool *pool);

/** @brief Free a set that is not in a pool. */
void fw_ir_set_done(struct fw_ir_set *set);
