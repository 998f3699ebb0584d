/* SPDX-License-Identifier: GPL-2.0-only */

/* What the names of a rule file stand for. */
#pragma once

#include "ast.h"
#include "compiler.h"
#include "index.h"
#include "pairs.h"
#include "ranges.h"
#include "str.h"

/* What a value may be used as. */
enum fw_field {
	FW_FIELD_ADDRESS,
	FW_FIELD_PORT,
	FW_FIELD_PROTO,
	FW_FIELD_ZONE,
	FW_FIELD_ICMP,	/* types that mean the same in both families */
	FW_FIELD_ICMP4, /* types of ICMP alone */
	FW_FIELD_ICMP6, /* types of ICMPv6 alone */
	FW_FIELD_PAIR,	/* addresses with ports */
	FW_FIELD_MAX
};

/*
 * What a word or list means as some field. Addresses and ICMP types fill both
 * lists; ports, protocols and zones (by number) only the first one; addresses
 * with ports none of them.
 */
struct fw_value {
	struct fw_ranges v4;
	struct fw_ranges v6;
	struct fw_pairs *pairs; /* of FW_FIELD_PAIR; NULL: none */
	bool has_self;
	bool is_any;
};

void fw_value_done(struct fw_value *value);

/** @brief Merge both lists, but not the pairs. */
void fw_value_merge(struct fw_value *value);

/** @brief Append all of another value. @return 0 or -ENOMEM */
int fw_value_add(struct fw_value *value, const struct fw_value *more);

enum fw_symbol_state {
	FW_SYMBOL_NEW,
	FW_SYMBOL_OPEN, /* its own value is being looked at */
	FW_SYMBOL_GOOD,
	FW_SYMBOL_BAD, /* an error was reported */
};

struct fw_parts;

/* A zone, define or set. */
struct fw_symbol {
	struct fw_span name;
	const struct fw_item *item; /* NULL: a zone */
	uint32_t number;	    /* in the order of declaration */
	enum fw_symbol_state state;
	unsigned int height; /* names below it: 0 if it refers to none */
	bool is_set;
	bool is_used;
	/* What a set holds, by its first element: addresses, ports or both. */
	bool has_kind;
	bool holds_ports;
	bool holds_pairs;
	bool has_sets; /* a define: sets are part of it, however deep */
	bool is_fixed; /* part of addresses with ports: never replaced */
	uint32_t
		replaced; /* a set: file with its content instead, +1; 0: none */
	/* If the content may be replaced: what it is made of, once worked out. */
	struct fw_parts *parts;
	uint32_t content; /* of a define: number of its set + 1; 0: not yet */
	/* As each field, once somebody asked. */
	struct fw_value *values[FW_FIELD_MAX];
	bool has_failed[FW_FIELD_MAX];
};

struct fw_symbols {
	struct fw_symbol *s;
	size_t n;
	struct fw_index index; /* name -> number */
	const char *sigil;     /* "$", "@" or "" */
	const char *kind;      /* "define", "set", "interface" */
};

/* What terms of addresses with ports were lowered to, see addrport.h. */
struct fw_pair_cache {
	struct fw_index index; /* term -> its number */
	struct fw_pair_rows **rows;
	size_t n;
	size_t n_more_rows; /* of all rules, beyond one a rule */
};

/** @brief May what a name stands for be replaced while the rules run? */
static inline bool fw_symbol_is_variable(const struct fw_symbol *symbol)
{
	return symbol->is_set || symbol->has_sets;
}

struct fw_scope {
	struct fw_compiler *c;
	struct fw_symbols zones, defines, sets;
	size_t n_entries; /* of the values of all names */
	struct fw_pair_cache pair_cache;
	struct fw_str texts; /* of the terms of the rule that is looked at */
};

void fw_scope_init(struct fw_scope *scope, struct fw_compiler *c);
void fw_scope_done(struct fw_scope *scope);

/**
 * @brief Enter a name, or report why it cannot be one.
 *
 * @return its number, or -EINVAL
 */
int fw_scope_add(struct fw_scope *scope, struct fw_symbols *symbols,
		 struct fw_span name, const struct fw_item *item);

/** @brief Find a name as it stands in the text without sigil; NULL if none. */
struct fw_symbol *fw_scope_find(const struct fw_scope *scope,
				const struct fw_symbols *symbols,
				struct fw_span name);

/** @brief Find what a $define or @set item stands for, or report an error. */
struct fw_symbol *fw_scope_lookup(struct fw_scope *scope,
				  const struct fw_item *item);

/** @brief Hint at a define or set of this or a similar name. */
bool fw_scope_hint(struct fw_scope *scope, struct fw_span word);

/** @brief The name behind the $ or @ of an item. */
struct fw_span fw_item_name(const struct fw_item *item);
