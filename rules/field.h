/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * What can be matched: how each kind of value is read and printed. A new kind
 * is a new row of the table in field.c.
 */
#pragma once

#include "scope.h"
#include "str.h"

#define FW_PROTO_ICMP  1
#define FW_PROTO_TCP   6
#define FW_PROTO_UDP   17
#define FW_PROTO_ICMP6 58

/* Elements of a list as they are printed: "a" or "{ a, b }". */
struct fw_list {
	struct fw_str *str; /* borrowed; what is in it already stays */
	size_t start;	    /* of the list in it */
	size_t n;
};

/** @brief A list at the end of a string. */
struct fw_list fw_list_at(struct fw_str *str);

/** @brief Start the next element. */
struct fw_str *fw_list_next(struct fw_list *list);

/** @brief Close the list. */
void fw_list_end(struct fw_list *list);

/** @brief The name of a field with its article: "an address". */
const char *fw_field_name(enum fw_field field);

/** @brief Is this word a port or a range of ports? */
bool fw_field_is_port(const char *s, size_t len);

/** @brief Add what a word means to a value, or report an error. */
bool fw_field_parse(struct fw_scope *scope, enum fw_field field,
		    struct fw_span at, struct fw_value *value);

/** @brief Print the elements of a merged value. */
void fw_field_print(const struct fw_scope *scope, enum fw_field field,
		    const struct fw_value *value, struct fw_list *list);

/**
 * @brief Add what a word means as the code of an ICMP type, or report an error.
 *
 * @param scope  names
 * @param at     the word
 * @param type4  the type of ICMP, or -1
 * @param type6  the type of ICMPv6, or -1
 * @param value  receives the codes
 */
bool fw_field_parse_code(struct fw_scope *scope, struct fw_span at, int type4,
			 int type6, struct fw_value *value);

/** @brief Print codes of a type. */
void fw_field_print_codes(const struct fw_value *value, int type4, int type6,
			  struct fw_list *list);
