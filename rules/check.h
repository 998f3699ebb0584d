/* SPDX-License-Identifier: GPL-2.0-only */

/* From the syntax tree to meaning, and everything that can be wrong with it. */
#pragma once

#include "ast.h"
#include "scope.h"
#include "sets.h"

#define FW_MAX_LABEL  63
#define FW_MAX_PREFIX 63

/* One term of a rule, understood. */
struct fw_term {
	struct fw_span at;
	bool is_given; /* and is not `any` */
	bool is_negated;
	bool has_set; /* an @set is part of it: its content may change */
	/* Canonical, without '!', in the texts of the scope; len 0: not given */
	uint32_t text_off, text_len;
	struct fw_value value; /* of protocols, zones, types and codes */
	int32_t set;	       /* of addresses and ports */
	/* Of addresses with ports; NULL: none. The scope keeps them. */
	const struct fw_pair_rows *pairs;
};

/* A rule, understood: what lower.c turns into a row. */
struct fw_checked_rule {
	const struct fw_ast_rule *ast;
	struct fw_span at;
	struct fw_term terms[FW_TERM_MAX];
	uint64_t protos[4];	/* all zero: any */
	uint8_t families;	/* FW_FAMILY_* */
	uint8_t given_families; /* whatever named sets hold */
};

/**
 * @brief Understand a rule, or report what is wrong with it.
 *
 * @param scope  names
 * @param pool   receives the sets of the rule
 * @param ast    the rule, as long as `ret` is used
 * @param at     its place
 * @param ret    zeroed by the caller; freed by fw_checked_rule_done(), also on
 *               failure
 */
bool fw_check_rule(struct fw_scope *scope, struct fw_set_pool *pool,
		   const struct fw_ast_rule *ast, struct fw_span at,
		   struct fw_checked_rule *ret);

void fw_checked_rule_done(struct fw_checked_rule *rule);

/** @brief The text of a term of the rule that was checked last, text_len bytes. */
static inline const char *fw_term_text(const struct fw_scope *scope,
				       const struct fw_term *term)
{
	return term->text_len ? scope->texts.s + term->text_off : "";
}

/**
 * @brief Enter all names of the tree; check everything that is not a rule.
 *
 * @param scope    receives the names
 * @param ast      the tree
 * @param program  receives zones, defaults, options
 */
void fw_check_statements(struct fw_scope *scope, const struct fw_ast *ast,
			 struct fw_program *program);

/** @brief Warn of names that nothing uses. */
void fw_check_unused(struct fw_scope *scope);
