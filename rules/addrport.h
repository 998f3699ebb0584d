/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Sets of addresses with ports in the language: how they are read, and what
 * rules that use them are lowered to.
 */
#pragma once

#include "check.h"

/* Matches of all rules together, beyond one a rule. */
#define FW_MAX_MORE_ROWS 262144

/* One way to fulfil a term: one of some addresses, and one of some ports. */
struct fw_pair_row {
	int32_t addr, port; /* sets of the program */
	bool is_negated;    /* none of the addresses */
};

/* All ways of a term; at least one. */
struct fw_pair_rows {
	struct fw_pair_row *rows;
	size_t n;
	uint8_t families; /* FW_FAMILY_* that the addresses leave */
	bool is_empty;	  /* the set holds nothing */
	bool is_never;	  /* no packet fulfils the term */
};

/* ---- reading: addrport.c ---- */

/** @brief Is this line of a file an address with a port, right or wrong? */
bool fw_addrport_is_pair(const char *s, size_t len);

/** @brief Does a term name sets of addresses with ports? */
bool fw_addrport_is_in(const struct fw_scope *scope,
		       const struct fw_item *item);

/** @brief Add what an FW_ITEM_PAIR means, or report errors. */
bool fw_addrport_add(struct fw_scope *scope, const struct fw_item *item,
		     struct fw_parts *parts);

/** @brief Add what the line of a file means, or report an error. */
bool fw_addrport_read(struct fw_scope *scope, struct fw_span entry,
		      struct fw_parts *parts);

/** @brief Report a value without port where others have one; once. */
bool fw_addrport_refuse_portless(struct fw_scope *scope, struct fw_span at,
				 struct fw_parts *parts);

/** @brief Report an address with a port where `field` is wanted; once. */
bool fw_addrport_refuse_port(struct fw_scope *scope, enum fw_field field,
			     struct fw_span at, struct fw_parts *parts);

/** @brief Merge the pairs of a value, or report that they are too many. */
bool fw_addrport_merge(struct fw_scope *scope, struct fw_span at,
		       struct fw_value *value);

/* ---- lowering: addrport_rows.c ---- */

/**
 * @brief What a term that names sets of addresses with ports is lowered to.
 *
 * Found once for all rules that say the same.
 *
 * @param scope  names; keeps what is returned
 * @param pool   receives the sets
 * @param term   its text and place
 * @param parts  the names
 * @param port   the term of the ports of the same side, which must hold as well
 * @return the ways, or NULL after an error
 */
const struct fw_pair_rows *fw_addrport_rows(struct fw_scope *scope,
					    struct fw_set_pool *pool,
					    const struct fw_term *term,
					    const struct fw_parts *parts,
					    const struct fw_term *port);

/**
 * @brief Make as many rows of the last row of a program as its terms of
 *        addresses with ports need.
 *
 * @param scope    where to report that they are too many
 * @param pool     their sets
 * @param rule     the rule of the row
 * @param program  its last row is the first one of the rule
 * @param places   of the rows
 */
void fw_addrport_expand(struct fw_scope *scope, const struct fw_set_pool *pool,
			const struct fw_checked_rule *rule,
			struct fw_program *program, struct fw_span **places);

/**
 * @brief The content of a named set that holds pairs.
 *
 * @param scope   names
 * @param pool    receives the sets
 * @param symbol  the set
 * @param arena   of the program
 * @param ret     its counts and pairs are filled in
 * @return false after an error
 */
bool fw_addrport_content(struct fw_scope *scope, struct fw_set_pool *pool,
			 struct fw_symbol *symbol, struct fw_arena *arena,
			 struct fw_named_set *ret);
