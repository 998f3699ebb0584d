/* SPDX-License-Identifier: GPL-2.0-only */

/* Memory that is freed all at once: the syntax tree lives in one. */
#pragma once

#include <stddef.h>

struct fw_arena_block;

/* Zeroed is empty. */
struct fw_arena {
	struct fw_arena_block *head;
};

/** @brief Zeroed memory for any type, or NULL without memory. */
void *fw_arena_alloc(struct fw_arena *arena, size_t size);

/** @brief A copy of `n` bytes with a NUL behind them, or NULL without memory. */
char *fw_arena_text(struct fw_arena *arena, const char *s, size_t n);

/* How far an arena is filled. */
struct fw_arena_mark {
	const struct fw_arena_block *block;
	size_t used;
};

struct fw_arena_mark fw_arena_mark(const struct fw_arena *arena);

/**
 * @brief Give back what was allocated since a mark.
 *
 * Nothing happens if a new block was needed since: it is freed with all the others.
 */
void fw_arena_rewind(struct fw_arena *arena, struct fw_arena_mark mark);

void fw_arena_done(struct fw_arena *arena);
