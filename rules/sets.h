/* SPDX-License-Identifier: GPL-2.0-only */

/* The sets of a program: what is the same is kept once. */
#pragma once

#include "index.h"
#include "resolve.h"

struct fw_set_pool {
	struct fw_ir_set *sets;
	size_t n;
	size_t n_cells;		 /* of the image, for all of them */
	struct fw_index by_text; /* canonical text and field -> set */
	struct fw_index by_hash; /* of the content -> the first such set */
	char **keys;		 /* of both */
	size_t n_keys;
};

#define FW_SET_FAILED (-2) /* an error was reported */

/**
 * @brief The set of a value that stands in a rule.
 *
 * @param pool   sets
 * @param scope  names
 * @param field  FW_FIELD_ADDRESS or FW_FIELD_PORT
 * @param parts  the value
 * @param text   its canonical text
 * @param at     its place, for errors
 * @return its index, or FW_SET_FAILED
 */
int32_t fw_set_pool_get(struct fw_set_pool *pool, struct fw_scope *scope,
			enum fw_field field, const struct fw_parts *parts,
			const char *text, struct fw_span at);

/**
 * @brief Add a set; its memory is taken.
 *
 * @return its index, or that of one like it, or FW_SET_FAILED
 */
int32_t fw_set_pool_add(struct fw_set_pool *pool, struct fw_scope *scope,
			struct fw_ir_set *set, struct fw_span at);

void fw_set_pool_done(struct fw_set_pool *pool);

/** @brief Cells of the image that a set and its boundaries take. */
size_t fw_ir_set_cells(const struct fw_ir_set *set);

void fw_ir_set_done(struct fw_ir_set *set);
