/* SPDX-License-Identifier: GPL-2.0-only */

/* From words, lists and names to values. */
#pragma once

#include "scope.h"

#define FW_MAX_NAME_DEPTH 32
#define FW_MAX_ENTRIES	  (4u << 20) /* ranges of all names together */

/* A define or set that a value refers to. */
struct fw_ref {
	struct fw_symbol *symbol;
};

/* A value as it stands in one place: names it refers to, and the rest. */
struct fw_parts {
	struct fw_ref *refs; /* sorted, each once */
	size_t n_refs;
	struct fw_value literals; /* merged */
	bool has_set;		  /* some of the names are sets, or hold some */
	const struct fw_symbol *owner; /* whose value it is; NULL: a rule's */
	bool is_mixed; /* and it was reported: some have ports, some not */
};

void fw_parts_done(struct fw_parts *parts);

/** @brief Check that all names in defines and sets exist and end somewhere. */
void fw_resolve_names(struct fw_scope *scope);

/**
 * @brief Understand a text with one entry a line, or report errors.
 *
 * @param scope  names
 * @param field  FW_FIELD_ADDRESS or FW_FIELD_PORT
 * @param file   number of the text
 * @param parts  receives the entries, not merged
 */
bool fw_resolve_lines(struct fw_scope *scope, enum fw_field field,
		      uint32_t file, struct fw_parts *parts);

/** @brief The first entry of such a text, the only one; len 0: it has none. */
struct fw_span fw_resolve_first(const struct fw_text *text, uint32_t file);

/**
 * @brief Understand a value as a field, or report errors.
 *
 * @param scope  names
 * @param field  what is wanted
 * @param item   the value
 * @param ret    zeroed by the caller; freed by fw_parts_done(), also on failure
 */
bool fw_resolve(struct fw_scope *scope, enum fw_field field,
		const struct fw_item *item, struct fw_parts *ret);

/**
 * @brief The value of all parts together, merged but for pairs.
 *
 * @param scope  names
 * @param field  as what they were resolved
 * @param parts  from fw_resolve()
 * @param ret    zeroed by the caller; freed by fw_value_done(), also on failure
 */
bool fw_parts_value(struct fw_scope *scope, enum fw_field field,
		    const struct fw_parts *parts, struct fw_value *ret);

/** @brief Is `any` among the parts? */
bool fw_parts_is_any(enum fw_field field, const struct fw_parts *parts);

/** @brief Append the canonical text to a string. */
void fw_parts_text(const struct fw_scope *scope, enum fw_field field,
		   const struct fw_parts *parts, struct fw_str *str);

/** @brief As what a set can be used. */
static inline enum fw_field fw_symbol_field(const struct fw_symbol *set)
{
	if (set->holds_pairs)
		return FW_FIELD_PAIR;
	return set->holds_ports ? FW_FIELD_PORT : FW_FIELD_ADDRESS;
}

/** @brief What a name stands for as a field; NULL after an error. */
const struct fw_value *fw_symbol_value(struct fw_scope *scope,
				       struct fw_symbol *symbol,
				       enum fw_field field);
