/* SPDX-License-Identifier: GPL-2.0-only */

/* Tokens to the syntax tree. */
#pragma once

#include "ast.h"
#include "compiler.h"

#define FW_MAX_INCLUDE_DEPTH 16
#define FW_MAX_LIST_DEPTH    16
#define FW_MAX_ITEMS	     (4u << 20) /* in lists; not in files */
#define FW_MAX_OTHERS	     (1u << 20) /* statements that are no rules */

/**
 * @brief Parse the first file of `c` and all that it includes.
 *
 * Errors are reported; what could be read is in the tree all the same.
 */
void fw_parse(struct fw_compiler *c, struct fw_ast *ret);

/** @brief Is this a word of the language, which no name may be? */
bool fw_parse_is_reserved(const char *word, size_t len);
