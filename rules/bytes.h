/* SPDX-License-Identifier: GPL-2.0-only */

/* A buffer that grows, in which objects are known by their offsets. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroed by whoever makes it: empty. */
struct fw_bytes {
	unsigned char *data; /* malloc()ed or lent; moves when it grows */
	size_t size;	     /* bytes in use */
	size_t capacity;
	bool is_lent;
};

/* What fw_bytes_reserve() returns without memory: no offset. */
#define FW_BYTES_FAILED UINT32_MAX

/* No buffer grows beyond what programs in the kernel can address. */
#define FW_BYTES_MAX (1u << 29)

/**
 * @brief Append zeroed bytes.
 *
 * Pointers into the buffer that were taken before are void afterwards.
 *
 * @param bytes  the buffer
 * @param size   how many bytes; 0 is fine
 * @param align  of their offset, a power of two
 * @return the offset of the first one; FW_BYTES_FAILED without memory, or
 *         beyond FW_BYTES_MAX (the buffer is as it was)
 */
uint32_t fw_bytes_reserve(struct fw_bytes *bytes, size_t size, size_t align);

/**
 * @brief Take memory for so many bytes in all: until then nothing is copied.
 *
 * Too much costs nothing, as pages that are not written to are not there; without
 * memory the buffer is as it was, and grows when it has to.
 */
void fw_bytes_expect(struct fw_bytes *bytes, size_t size);

/**
 * @brief Have an empty buffer begin in memory of the caller, with whatever is there.
 *
 * It goes on in memory of its own if that does not suffice.
 */
void fw_bytes_lend(struct fw_bytes *bytes, unsigned char *room, size_t len);

/** @brief The object at an offset; valid until the buffer grows. */
static inline void *fw_bytes_at(const struct fw_bytes *bytes, uint32_t off)
{
	return bytes->data + off;
}

/** @brief Free what it holds and zero it; a zeroed one is fine. */
void fw_bytes_done(struct fw_bytes *bytes);
