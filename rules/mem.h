/* SPDX-License-Identifier: GPL-2.0-only */

/* Ownership by scope, and arrays that grow. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

static inline void fw_mem_freep(void *p)
{
	free(*(void **)p);
}

#define _cleanup_free_ __attribute__((cleanup(fw_mem_freep)))

#ifndef take_ptr
#define take_ptr(p)                               \
	({                                        \
		__typeof__(p) take_ptr_tmp = (p); \
		(p) = NULL;                       \
		take_ptr_tmp;                     \
	})
#endif

#ifndef ARRAY_SIZE
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#endif

/**
 * @brief Make room for one more element.
 *
 * The capacity follows from `n` alone: 4, then powers of two. An array that
 * grows only through this function needs no field for it.
 *
 * @param array  NULL, or what an earlier call returned
 * @param n      elements in use
 * @param size   bytes of one
 * @return the array, perhaps moved; NULL without memory (`array` is intact)
 */
void *fw_mem_grow(void *array, size_t n, size_t size);

/**
 * @brief The same for an array that may well have `expected` elements: that many
 *        it has room for from the beginning. Pages not used cost nothing, those that
 *        an array leaves behind as it grows do.
 *
 * @param expected  the same in all calls for an array; less than 4 count as 4
 */
void *fw_mem_grow_from(size_t expected, void *array, size_t n, size_t size);

/** @brief Copy `n` bytes and append a NUL; NULL without memory. */
char *fw_mem_dup(const char *s, size_t n);

/* FNV-1a; `seed` is FW_HASH_SEED or an earlier result to go on from. */
#define FW_HASH_SEED 0xcbf29ce484222325u
uint64_t fw_mem_hash(uint64_t seed, const void *data, size_t n);

/*
 * Several times faster than FNV-1a; for tables in memory only, never for what
 * people see: another machine may give another number.
 */
uint64_t fw_mem_quick_hash(uint64_t seed, const void *data, size_t n);
