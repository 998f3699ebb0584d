/* SPDX-License-Identifier: GPL-2.0-only */

/* Rules that can never match because an earlier one decides first. */
#pragma once

#include "scope.h"

/* What the rules so far decide. Zeroed is empty. */
struct fw_shadow {
	struct fw_index by_match; /* the fields of a match -> row */
	void **keys;
	struct fw_span *places; /* per row */
	size_t n;
	/* Row + 1 that matches everything of a direction, per list. */
	uint32_t everything[2][FW_DIR_MAX];
};

/**
 * @brief Warn if the last row of a program is shadowed; remember it.
 *
 * @param shadow   the rows before it
 * @param scope    where to warn
 * @param program  its last row is the new one
 * @param at       place of the rule
 */
void fw_shadow_check(struct fw_shadow *shadow, struct fw_scope *scope,
		     const struct fw_program *program, struct fw_span at);

void fw_shadow_done(struct fw_shadow *shadow);
