/* SPDX-License-Identifier: GPL-2.0-only */

/* One frame out of a capture file, as tcpdump -w writes it. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/**
 * @brief Read a frame; one without an Ethernet header gets one.
 *
 * @param number  counted from 1
 * @param frame   room for `size` bytes
 * @param reterr  on failure one line for the user, malloc()ed
 * @return 0, -ENOENT if there are fewer frames, -EBADMSG if it is no such file,
 *         -EMSGSIZE if there is no room, or another negative errno
 */
int fw_pcapfile_read(const char *path, unsigned long number, uint8_t *frame,
		     size_t size, uint32_t *ret_len, char **reterr);
