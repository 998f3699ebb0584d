/* SPDX-License-Identifier: GPL-2.0-only */

/* The canonical text of statements, and the names that are made of it. */
#pragma once

#include "check.h"

/** @brief Append the rule in one line, without its label, to a string. */
void fw_canon_rule(const struct fw_scope *scope,
		   const struct fw_checked_rule *rule, struct fw_str *str);

/** @brief `define NAME = VALUE` in one line; NULL without memory. */
char *fw_canon_define(const struct fw_scope *scope,
		      const struct fw_symbol *symbol);

/**
 * @brief A name for a rule that has no label: readable, and stable as long as
 *        its text is.
 *
 * @param scope  names
 * @param rule   the rule
 * @param text   from fw_canon_rule(), not in `str`
 * @param len    bytes of it
 * @param str    the name is appended to it
 */
void fw_canon_label(const struct fw_scope *scope,
		    const struct fw_checked_rule *rule, const char *text,
		    size_t len, struct fw_str *str);
