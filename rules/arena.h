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

void fw_arena_done(struct fw_arena *arena);
