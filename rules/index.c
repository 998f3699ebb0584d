/* SPDX-License-Identifier: GPL-2.0-only */

/* A hash table from bytes to a number: open addressing, at most half full. */
#include "index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

#define FIRST_CAPACITY 64

struct fw_index_entry {
	const void *key; /* NULL: free */
	size_t len;
	uint64_t hash;
	uint32_t value;
};

uint32_t fw_index_find(const struct fw_index *index, const void *key,
		       size_t len)
{
	uint64_t hash;
	size_t i;

	if (!index->capacity)
		return FW_INDEX_NONE;
	hash = fw_mem_quick_hash(FW_HASH_SEED, key, len);
	for (i = hash & (index->capacity - 1); index->entries[i].key;
	     i = (i + 1) & (index->capacity - 1)) {
		const struct fw_index_entry *e = &index->entries[i];

		if (e->hash == hash && e->len == len &&
		    memcmp(e->key, key, len) == 0)
			return e->value;
	}
	return FW_INDEX_NONE;
}

static void place(struct fw_index_entry *entries, size_t capacity,
		  const struct fw_index_entry *entry)
{
	size_t i = entry->hash & (capacity - 1);

	while (entries[i].key)
		i = (i + 1) & (capacity - 1);
	entries[i] = *entry;
}

static int widen(struct fw_index *index)
{
	size_t capacity =
		index->capacity ? index->capacity * 2 : FIRST_CAPACITY;
	struct fw_index_entry *entries;
	size_t i;

	entries = calloc(capacity, sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	for (i = 0; i < index->capacity; i++) {
		if (index->entries[i].key)
			place(entries, capacity, &index->entries[i]);
	}
	free(index->entries);
	index->entries = entries;
	index->capacity = capacity;
	return 0;
}

int fw_index_add(struct fw_index *index, const void *key, size_t len,
		 uint32_t value)
{
	struct fw_index_entry entry = {
		.key = key,
		.len = len,
		.hash = fw_mem_quick_hash(FW_HASH_SEED, key, len),
		.value = value,
	};
	int r;

	if (index->n * 2 >= index->capacity) {
		r = widen(index);
		if (r < 0)
			return r;
	}
	place(index->entries, index->capacity, &entry);
	index->n++;
	return 0;
}

void fw_index_done(struct fw_index *index)
{
	free(index->entries);
	*index = (struct fw_index){ 0 };
}
