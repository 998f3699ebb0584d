/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Where the daemon's memory comes from, and when it goes back.
 *
 * What is large has pages of its own, which go back when it is freed. A load would
 * have the kernel clear each page anew that way, of what the compiler has freed a
 * moment ago, and most would be small ones: a heap of a thread, and what is not
 * aligned, gets no huge pages. So all threads share the one heap that does, and
 * while a load goes on, it keeps what is freed.
 */
#include "user/heap.h"

#include <malloc.h>

#define MMAP_BYTES (1 << 20)
#define TRIM_BYTES (128 << 10) /* glibc's own */

/* Above that, an array that grows is moved by the kernel rather than copied. */
#define BUSY_MMAP_BYTES (8 << 20)
#define BUSY_TRIM_BYTES (512 << 20)

void fw_heap_init(void)
{
	(void)mallopt(M_ARENA_MAX, 1);
	(void)mallopt(M_MMAP_THRESHOLD, MMAP_BYTES);
	(void)mallopt(M_TRIM_THRESHOLD, TRIM_BYTES);
}

void fw_heap_begin(void)
{
	(void)mallopt(M_MMAP_THRESHOLD, BUSY_MMAP_BYTES);
	(void)mallopt(M_TRIM_THRESHOLD, BUSY_TRIM_BYTES);
}

void fw_heap_end(void)
{
	(void)mallopt(M_MMAP_THRESHOLD, MMAP_BYTES);
	(void)mallopt(M_TRIM_THRESHOLD, TRIM_BYTES);
	/* A hundred thousand rules leave a hundred megabytes in free lists. */
	(void)malloc_trim(0);
}
