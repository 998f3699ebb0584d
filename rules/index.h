/* SPDX-License-Identifier: GPL-2.0-only */

/* A hash table from bytes to a number. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct fw_index_entry;

/* Zeroed is empty. Keys are borrowed and must outlive the table. */
struct fw_index {
	struct fw_index_entry *entries;
	size_t capacity; /* a power of two, or 0 */
	size_t n;
};

#define FW_INDEX_NONE UINT32_MAX

/** @brief The number stored under a key, or FW_INDEX_NONE. */
uint32_t fw_index_find(const struct fw_index *index, const void *key,
		       size_t len);

/**
 * @brief Store a number under a key that is not in the table yet.
 *
 * @return 0 or -ENOMEM
 */
int fw_index_add(struct fw_index *index, const void *key, size_t len,
		 uint32_t value);

void fw_index_done(struct fw_index *index);
