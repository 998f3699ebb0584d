/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Memory for many things of one size, without a byte more for each, and with few
 * entries in the processor's table of pages.
 *
 * What is given back is used again first; a chunk that is empty goes back to the
 * kernel, unless it is the only one with room.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct fw_chunk;

struct fw_pool {
	size_t size;		/* of one thing; a multiple of 8 */
	struct fw_chunk *roomy; /* chunks that have room; a list */
	size_t n_chunks;
};

/** @brief An empty pool; nothing is allocated yet. */
void fw_pool_init(struct fw_pool *pool, size_t size);

/** @brief Room for one thing, all zero, or NULL without memory. */
void *fw_pool_take(struct fw_pool *pool);

/** @brief Give one back; NULL does nothing. When all are back, no memory is left but one chunk. */
void fw_pool_put(struct fw_pool *pool, void *thing);

/** @brief Forget a pool to which all things were given back. */
void fw_pool_done(struct fw_pool *pool);
