/* SPDX-License-Identifier: GPL-2.0-only */

/* Ownership by scope, and arrays that grow. */
#include "mem.h"

#include <string.h>

#define FIRST_CAPACITY 4

void *fw_mem_grow(void *array, size_t n, size_t size)
{
	if (n == 0)
		return realloc(array, FIRST_CAPACITY * size);
	if (n < FIRST_CAPACITY || (n & (n - 1)) != 0)
		return array;
	if (n > SIZE_MAX / 2 / size)
		return NULL;
	return realloc(array, n * 2 * size);
}

void *fw_mem_grow_from(size_t expected, void *array, size_t n, size_t size)
{
	size_t first = expected > FIRST_CAPACITY ? expected : FIRST_CAPACITY;
	size_t times;

	if (n && n < first)
		return array;
	/* full at `first`, and each time that it has doubled */
	times = n / first;
	if (n % first || (times & (times - 1)) != 0)
		return array;
	if (n > SIZE_MAX / 2 / size || first > SIZE_MAX / size)
		return NULL;
	return realloc(array, (n ? n * 2 : first) * size);
}

char *fw_mem_dup(const char *s, size_t n)
{
	char *copy;

	copy = malloc(n + 1);
	if (!copy)
		return NULL;
	if (n)
		memcpy(copy, s, n);
	copy[n] = '\0';
	return copy;
}

uint64_t fw_mem_hash(uint64_t seed, const void *data, size_t n)
{
	const unsigned char *p = data;
	uint64_t hash = seed;
	size_t i;

	for (i = 0; i < n; i++) {
		hash ^= p[i];
		hash *= 0x100000001b3u;
	}
	return hash;
}

static uint64_t fold(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t fw_mem_quick_hash(uint64_t seed, const void *data, size_t n)
{
	const unsigned char *p = data;
	uint64_t hash = seed ^ n;
	uint64_t word;

	for (; n >= sizeof(word); n -= sizeof(word), p += sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		hash = fold(hash ^ word, 0x9e3779b97f4a7c15u);
	}
	word = 0;
	memcpy(&word, p, n);
	return fold(hash ^ word, 0xd6e8feb86659fd93u);
}
