/* SPDX-License-Identifier: GPL-2.0-only */

/* Memory for many things of one size. */
#include "user/pool.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define CHUNK_SIZE ((size_t)2 << 20) /* and where one begins: a huge page */

struct free_thing {
	struct free_thing *next;
};

struct fw_chunk {
	struct fw_chunk *next, *prev; /* of those that have room */
	struct free_thing *free;
	size_t n_used;
	size_t n_begun; /* things that were ever used; behind them all is zero */
};

void fw_pool_init(struct fw_pool *pool, size_t size)
{
	*pool = (struct fw_pool){ .size = size };
}

#ifdef __SANITIZE_ADDRESS__

/* Each for itself, so that the sanitizer sees what is used when it should not be. */
void *fw_pool_take(struct fw_pool *pool)
{
	return calloc(1, pool->size);
}

void fw_pool_put(struct fw_pool *pool, void *thing)
{
	(void)pool;
	free(thing);
}

void fw_pool_done(struct fw_pool *pool)
{
	(void)pool;
}

#else

/* ---- chunks ------------------------------------------------------------------- */

static size_t capacity(const struct fw_pool *pool)
{
	return (CHUNK_SIZE - sizeof(struct fw_chunk)) / pool->size;
}

static struct fw_chunk *chunk_of(void *thing)
{
	return (struct fw_chunk *)((uintptr_t)thing & ~(CHUNK_SIZE - 1));
}

static bool is_full(const struct fw_pool *pool, const struct fw_chunk *chunk)
{
	return chunk->n_used == capacity(pool);
}

static void list_add(struct fw_pool *pool, struct fw_chunk *chunk)
{
	chunk->prev = NULL;
	chunk->next = pool->roomy;
	if (chunk->next)
		chunk->next->prev = chunk;
	pool->roomy = chunk;
}

static void list_remove(struct fw_pool *pool, struct fw_chunk *chunk)
{
	if (chunk->next)
		chunk->next->prev = chunk->prev;
	if (chunk->prev)
		chunk->prev->next = chunk->next;
	else
		pool->roomy = chunk->next;
}

/* Twice as much has a place for it; what is before and behind that goes back. */
static void *map_aligned(void)
{
	char *at = mmap(NULL, 2 * CHUNK_SIZE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t before;

	if (at == MAP_FAILED)
		return NULL;
	before = -(uintptr_t)at & (CHUNK_SIZE - 1);
	if (before)
		(void)munmap(at, before);
	(void)munmap(at + before + CHUNK_SIZE, CHUNK_SIZE - before);
	return at + before;
}

static struct fw_chunk *chunk_new(struct fw_pool *pool)
{
	struct fw_chunk *chunk = map_aligned();

	if (!chunk)
		return NULL;
	/* Few things take as many pages as they need. */
	if (pool->n_chunks)
		(void)madvise(chunk, CHUNK_SIZE, MADV_HUGEPAGE);
	list_add(pool, chunk);
	pool->n_chunks++;
	return chunk;
}

static void chunk_free(struct fw_pool *pool, struct fw_chunk *chunk)
{
	list_remove(pool, chunk);
	pool->n_chunks--;
	(void)munmap(chunk, CHUNK_SIZE);
}

/* ---- things --------------------------------------------------------------------- */

void *fw_pool_take(struct fw_pool *pool)
{
	struct fw_chunk *chunk = pool->roomy;
	void *thing;

	if (!chunk)
		chunk = chunk_new(pool);
	if (!chunk)
		return NULL;
	thing = chunk->free;
	if (thing) {
		chunk->free = chunk->free->next;
		memset(thing, 0, pool->size);
	} else {
		thing = (char *)(chunk + 1) + chunk->n_begun++ * pool->size;
	}
	chunk->n_used++;
	if (is_full(pool, chunk))
		list_remove(pool, chunk);
	return thing;
}

void fw_pool_put(struct fw_pool *pool, void *thing)
{
	struct free_thing *free_thing = thing;
	struct fw_chunk *chunk;

	if (!thing)
		return;
	chunk = chunk_of(thing);
	if (is_full(pool, chunk))
		list_add(pool, chunk);
	free_thing->next = chunk->free;
	chunk->free = free_thing;
	chunk->n_used--;
	if (!chunk->n_used && (chunk->next || chunk->prev))
		chunk_free(pool, chunk);
}

void fw_pool_done(struct fw_pool *pool)
{
	while (pool->roomy)
		chunk_free(pool, pool->roomy);
}

#endif
