/* SPDX-License-Identifier: GPL-2.0-only */

/* A socket is read ahead on a thread, while what was read before is looked at. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

struct fw_readahead;

/* Bytes that a datagram may have; the kernel builds pieces of a dump of up to 32 KiB. */
#define FW_READAHEAD_SIZE (64u << 10)

/**
 * @brief Read a datagram without waiting.
 *
 * @return its length, or a negative errno; -EAGAIN: none is there
 */
typedef ssize_t (*fw_receive_fn)(int fd, void *buf, size_t size);

/**
 * @brief Begin to read.
 *
 * @param fd  borrowed; only the thread reads it from now on
 * @return 0 or a negative errno
 */
int fw_readahead_begin(int fd, fw_receive_fn receive,
		       struct fw_readahead **ret);

/** @brief Read no more, and forget what nobody has taken; NULL is ignored. */
void fw_readahead_end(struct fw_readahead *ahead);

/** @brief A descriptor that is readable while there is something to take. */
int fw_readahead_fd(const struct fw_readahead *ahead);

/**
 * @brief Take the next datagram, in the order in which they came.
 *
 * @param ret_buf  it; valid until the next call
 * @return its length; -EAGAIN if none has come yet; another negative errno of reading,
 *         after which nothing more comes
 */
ssize_t fw_readahead_take(struct fw_readahead *ahead, const void **ret_buf);
