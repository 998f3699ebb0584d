/* SPDX-License-Identifier: GPL-2.0-only */

/* Ownership by scope, and the few helpers that every file of user/ needs. */
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static inline void fw_freep(void *p)
{
	free(*(void **)p);
}

static inline void fw_closep(const int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

#define _cleanup_free_	__attribute__((cleanup(fw_freep)))
#define _cleanup_close_ __attribute__((cleanup(fw_closep)))

static inline int take_fd(int *fd)
{
	int r = *fd;

	*fd = -1;
	return r;
}

#define take_ptr(p)                               \
	({                                        \
		__typeof__(p) take_ptr_tmp = (p); \
		(p) = NULL;                       \
		take_ptr_tmp;                     \
	})

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/** @brief Nanoseconds of CLOCK_MONOTONIC, the clock that BPF stamps with. */
static inline uint64_t fw_now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/**
 * @brief Format into fresh memory.
 *
 * @param ret_text  receives the text, or NULL without memory; an earlier value
 *                  is freed. NULL: nothing happens
 */
void fw_errorf(char **ret_text, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/**
 * @brief Read a file of /proc or /sys, which is there at once, as text.
 *
 * @param size  bytes of `text`, the terminator's too; more of the file is left out
 * @return 0 or a negative errno
 */
int fw_read_text(const char *path, char *text, size_t size);

/** @brief Read the one number in a file of /proc or /sys; 0 or a negative errno. */
int fw_read_number(const char *path, uint64_t *ret);

/** @brief The ending that makes a noun fit a number: "" or "s". */
static inline const char *fw_plural(long long n)
{
	return n == 1 ? "" : "s";
}
