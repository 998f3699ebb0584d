/* SPDX-License-Identifier: GPL-2.0-only */

/* Memory that is freed all at once: the syntax tree lives in one. */
#include "arena.h"

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/*
 * Large blocks are fresh pages: what is not used costs nothing. Each is twice the
 * one before: large ones can be backed by huge pages.
 */
#define FIRST_BLOCK   ((size_t)1 << 20)
#define LARGEST_BLOCK ((size_t)16 << 20)
#define ALIGN	      alignof(max_align_t)

struct fw_arena_block {
	struct fw_arena_block *next;
	size_t used, size;
	alignas(max_align_t) unsigned char data[];
};

static struct fw_arena_block *new_block(size_t size)
{
	struct fw_arena_block *block;

	if (size > SIZE_MAX - sizeof(*block))
		return NULL;
	block = calloc(1, sizeof(*block) + size);
	if (block)
		block->size = size;
	return block;
}

static size_t next_size(const struct fw_arena *arena)
{
	if (!arena->head)
		return FIRST_BLOCK;
	return arena->head->size < LARGEST_BLOCK ? arena->head->size * 2
						 : LARGEST_BLOCK;
}

static void *take(struct fw_arena *arena, size_t size, size_t align)
{
	struct fw_arena_block *block = arena->head;
	size_t off = block ? (block->used + align - 1) / align * align : 0;
	size_t usual = next_size(arena);
	bool is_large = size > usual / 4;

	if (block && off <= block->size && block->size - off >= size) {
		block->used = off + size;
		return block->data + off;
	}
	block = new_block(is_large ? size : usual);
	if (!block)
		return NULL;
	block->used = size;
	if (is_large && arena->head) {
		/* A block of its own; the last one has room still. */
		block->next = arena->head->next;
		arena->head->next = block;
	} else {
		block->next = arena->head;
		arena->head = block;
	}
	return block->data;
}

void *fw_arena_alloc(struct fw_arena *arena, size_t size)
{
	return take(arena, size, ALIGN);
}

char *fw_arena_text(struct fw_arena *arena, const char *s, size_t n)
{
	char *copy = take(arena, n + 1, 1);

	if (copy && n)
		memcpy(copy, s, n);
	return copy;
}

struct fw_arena_mark fw_arena_mark(const struct fw_arena *arena)
{
	const struct fw_arena_block *block = arena->head;

	return (struct fw_arena_mark){ block, block ? block->used : 0 };
}

void fw_arena_rewind(struct fw_arena *arena, struct fw_arena_mark mark)
{
	struct fw_arena_block *block = arena->head;

	if (!block || block != mark.block)
		return;
	memset(block->data + mark.used, 0, block->used - mark.used);
	block->used = mark.used;
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
