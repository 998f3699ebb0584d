/* SPDX-License-Identifier: GPL-2.0-only */

/* A buffer that grows, in which objects are known by their offsets. */
#include "bytes.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY 4096

static int grow(struct fw_bytes *bytes, size_t size)
{
	size_t capacity = bytes->capacity ? bytes->capacity : FIRST_CAPACITY;
	unsigned char *data;

	while (capacity < size)
		capacity *= 2;
	data = realloc(bytes->is_lent ? NULL : bytes->data, capacity);
	if (!data)
		return -1;
	if (bytes->is_lent)
		memcpy(data, bytes->data, bytes->size);
	bytes->is_lent = false;
	bytes->data = data;
	bytes->capacity = capacity;
	return 0;
}

uint32_t fw_bytes_reserve(struct fw_bytes *bytes, size_t size, size_t align)
{
	size_t off = (bytes->size + align - 1) & ~(align - 1);

	if (size > FW_BYTES_MAX || off > FW_BYTES_MAX - size)
		return FW_BYTES_FAILED;
	if (off + size > bytes->capacity && grow(bytes, off + size) < 0)
		return FW_BYTES_FAILED;
	if (off + size > bytes->size)
		memset(bytes->data + bytes->size, 0, off + size - bytes->size);
	bytes->size = off + size;
	return (uint32_t)off;
}

void fw_bytes_expect(struct fw_bytes *bytes, size_t size)
{
	if (!bytes->is_lent && size > bytes->capacity && size <= FW_BYTES_MAX)
		(void)grow(bytes, size);
}

void fw_bytes_lend(struct fw_bytes *bytes, unsigned char *room, size_t len)
{
	*bytes = (struct fw_bytes){ .data = room,
				    .capacity = len,
				    .is_lent = true };
}

void fw_bytes_done(struct fw_bytes *bytes)
{
	if (!bytes->is_lent)
		free(bytes->data);
	*bytes = (struct fw_bytes){ 0 };
}
