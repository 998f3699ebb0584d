/* SPDX-License-Identifier: GPL-2.0-only */

/* From checked rules to the flat intermediate form. */
#pragma once

#include "check.h"

/**
 * @brief Check and lower all rules of a tree.
 *
 * @param scope    names
 * @param ast      the tree
 * @param pool     receives the sets
 * @param program  receives the rows
 * @return the place of each row, owned by the caller; NULL if there are none
 */
struct fw_span *fw_lower_rules(struct fw_scope *scope, const struct fw_ast *ast,
			       struct fw_set_pool *pool,
			       struct fw_program *program);

/** @brief Lower named sets; before the rules, see fw_set_pool_add_named(). */
void fw_lower_sets(struct fw_scope *scope, struct fw_set_pool *pool,
		   struct fw_program *program);

/** @brief Lower defines, which have no rows of their own. */
void fw_lower_defines(struct fw_scope *scope, struct fw_program *program);
