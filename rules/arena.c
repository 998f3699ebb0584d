/* SPDX-License-Identifier: GPL-2.0-only */

/* Memory that is freed all at once: the syntax tree lives in one. */
#include "arena.h"

#include <assert.h>
#include <stdalign.h>
#include <stdlib.h>

#define BLOCK_SIZE 65536u
#define ALIGN	   alignof(max_align_t)

struct fw_arena_block {
	struct fw_arena_block *next;
	size_t used;
	alignas(max_align_t) unsigned char data[BLOCK_SIZE];
};

void *fw_arena_alloc(struct fw_arena *arena, size_t size)
{
	size_t need = (size + ALIGN - 1) / ALIGN * ALIGN;
	struct fw_arena_block *block = arena->head;
	void *p;

	assert(need <= BLOCK_SIZE);
	if (!block || BLOCK_SIZE - block->used < need) {
		block = calloc(1, sizeof(*block));
		if (!block)
			return NULL;
		block->next = arena->head;
		arena->head = block;
	}
	p = block->data + block->used;
	block->used += need;
	return p;
}

void fw_arena_done(struct fw_arena *arena)
{
	struct fw_arena_block *block = arena->head;

	while (block) {
		struct fw_arena_block *next = block->next;

		free(block);
		block = next;
	}
	arena->head = NULL;
}
