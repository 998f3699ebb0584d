/* SPDX-License-Identifier: GPL-2.0-only */

/* Memory that is freed all at once: the syntax tree lives in one. */
#pragma once

#include <stddef.h>

struct fw_arena_block;

struct fw_arena {
	struct fw_arena_block *head;
};

/** @brief Zeroed memory, or NULL without memory. */
void *fw_arena_alloc(struct fw_arena *arena, size_t size);

void fw_arena_done(struct fw_arena *arena);
