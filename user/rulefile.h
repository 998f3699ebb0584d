/* SPDX-License-Identifier: GPL-2.0-only */

/* Rule files from the disk, and whether one may trust them. */
#pragma once

#include <stdbool.h>

#include "rules/rules.h"
#include "user/textfile.h"

/* What standard input is called in messages. */
#define FW_STDIN_NAME "stdin"

struct fw_rulefiles {
	bool is_strict;	   /* for a load: only root's and the caller's files */
	bool is_untrusted; /* a file was refused because of its owner or mode */
	char error[160];   /* of the last file that could not be read */
	/* Receives regular files that are read; NULL: they have memory of their own. */
	struct fw_textfile *into;
};

/**
 * @brief Read one file; a fw_read_fn with a struct fw_rulefiles as context.
 *
 * Regular files only, up to the size of a request; "-" is standard input.
 */
int fw_rulefile_read(void *ctx, const char *name, struct fw_text *ret,
		     const char **reterr);

/**
 * @brief The name under which the daemon shall know a file: an absolute one.
 *
 * @return malloc()ed, or NULL without memory
 */
char *fw_rulefile_absolute(const char *name);
