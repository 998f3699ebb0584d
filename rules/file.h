/* SPDX-License-Identifier: GPL-2.0-only */

/* Getting the files that a rule file names. */
#pragma once

#include "compiler.h"

#define FW_MAX_FILES 1024u
#define FW_MAX_PATH  4095u /* bytes */

/**
 * @brief Get a file through the callback, once.
 *
 * @param c   compiler
 * @param at  the path in the text, without quotes
 * @return the number of the file, or -EINVAL after an error was reported
 */
int fw_file_get(struct fw_compiler *c, struct fw_span at);

/**
 * @brief Is there room to look at a file?  Reports an error if there is not.
 *
 * @param c     compiler; counts the bytes
 * @param at    where the file is named
 * @param file  its number
 */
bool fw_file_begin(struct fw_compiler *c, struct fw_span at, uint32_t file);

/** @brief Check that a file is text that can be parsed, or report an error. */
bool fw_file_is_text(struct fw_compiler *c, uint32_t file);
