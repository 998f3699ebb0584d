/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Texts that go along with a request: a file in memory, into which the kernel copies
 * what they are read from. The client maps it, and so does the daemon.
 */
#pragma once

#include "rules/rules.h"

/* Zeroed is empty. It stays where it is while there are texts of it. */
struct fw_textfile {
	int fd_plus_1; /* of a memfd; 0: none yet */
	size_t bytes;
};

/**
 * @brief Add a regular file.
 *
 * @param fd   at its beginning
 * @param max  bytes that it may have
 * @param ret  receives data and owner; its name is left alone
 * @return 0, -EFBIG, or another negative errno
 */
int fw_textfile_read(struct fw_textfile *file, int fd, size_t max,
		     struct fw_text *ret);

/**
 * @brief Where a text is in the file, with a NUL behind it; it is added if need be.
 *
 * @return 0 or a negative errno
 */
int fw_textfile_place(struct fw_textfile *file, const struct fw_text *text,
		      size_t *ret_at);

/**
 * @brief The file, which nobody can change any more (FW_PROTO_SEALS).
 *
 * @return a descriptor, borrowed, or a negative errno
 */
int fw_textfile_seal(struct fw_textfile *file);

/** @brief Close it; texts of it stay readable. */
void fw_textfile_done(struct fw_textfile *file);
