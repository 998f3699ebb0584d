/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Rules of the syntax tree, packed: there may be a hundred thousand, and most have
 * few of the things that one can have.
 */
#pragma once

#include "arena.h"
#include "ast.h"

/* One rule at a time as it was written; its terms refer to the words. */
struct fw_ast_view {
	struct fw_ast_rule rule;
	struct fw_item words[FW_TERM_MAX];
};

/**
 * @brief Append a rule to the tree.
 *
 * @param arena  where it lives
 * @param mark   of the arena, before anything of the rule was allocated: what the
 *               packed rule does without is given back
 * @param at     from its first to its last token, in one file
 * @return       false without memory
 */
bool fw_ast_add_rule(struct fw_arena *arena, struct fw_arena_mark mark,
		     struct fw_ast *ast, struct fw_span at,
		     const struct fw_ast_rule *rule);

/** @brief Unpack a rule; the view refers to the tree and to itself. */
void fw_ast_view_rule(const struct fw_packed_rule *packed,
		      struct fw_ast_view *ret);
