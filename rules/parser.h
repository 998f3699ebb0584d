/* SPDX-License-Identifier: GPL-2.0-only */

/* What the parts of the parser share; only parse*.c includes this. */
#pragma once

#include "ast.h"
#include "compiler.h"
#include "lex.h"

struct fw_parser {
	struct fw_compiler *c;
	struct fw_ast *ast;
	struct fw_lexer lex;
	struct fw_token token; /* the next one, not consumed yet */
	struct fw_span last;   /* the one consumed before it */
	unsigned int open;     /* braces open in this statement */
	const struct fw_parser *includer;
	unsigned int depth; /* of includes */
};

/* A word of the language and what it stands for. */
struct fw_keyword {
	const char *word;
	int value;
};

/** @brief Consume the next token and return its place. */
struct fw_span fw_parser_take(struct fw_parser *p);

/** @brief Consume the next token if it is of a kind. */
bool fw_parser_accept(struct fw_parser *p, enum fw_token_kind kind);

/** @brief Does a span hold exactly this text? */
bool fw_parser_is(const struct fw_parser *p, struct fw_span at,
		  const char *word);

/** @brief Consume the next token, which is a word, if it is this one. */
bool fw_parser_take_word(struct fw_parser *p, const char *word);

/* Nearly all that are not this word begin otherwise. */
static inline bool fw_parser_begins_as(const struct fw_parser *p,
				       const char *word)
{
	return p->token.kind == FW_TOKEN_WORD &&
	       p->lex.data[p->token.at.off] == *word;
}

/** @brief Is the next token this word? */
static inline bool fw_parser_at_word(const struct fw_parser *p,
				     const char *word)
{
	return fw_parser_begins_as(p, word) &&
	       fw_parser_is(p, p->token.at, word);
}

/** @brief Consume the next token if it is this word. */
static inline bool fw_parser_accept_word(struct fw_parser *p, const char *word)
{
	return fw_parser_begins_as(p, word) && fw_parser_take_word(p, word);
}

/** @brief Consume a token of this kind, or report what was expected. */
bool fw_parser_expect(struct fw_parser *p, enum fw_token_kind kind,
		      const char *what);

/** @brief Report that something else was expected than the next token. */
void fw_parser_unexpected(struct fw_parser *p, const char *what);

/** @brief Consume a word or a string; the place is that without quotes. */
bool fw_parser_expect_text(struct fw_parser *p, const char *what,
			   struct fw_span *ret);

/**
 * @brief Consume one word out of a table, or report the nearest one.
 *
 * @param p      parser
 * @param words  the table, ended by a NULL word
 * @param what   the choice in words: "'in', 'out' or 'forward'"
 * @param ret    value of the word
 */
bool fw_parser_choose(struct fw_parser *p, const struct fw_keyword *words,
		      const char *what, int *ret);

/** @brief Report a word of later versions; false if it is none. */
bool fw_parser_refuse_later(struct fw_parser *p, const char *const *later);

/** @brief Hint what other firewalls call what we call otherwise. */
bool fw_parser_hint_habit(struct fw_parser *p, struct fw_span at);

/** @brief A new node of a list; NULL after an error. */
struct fw_item *fw_parser_item(struct fw_parser *p, enum fw_item_kind kind,
			       struct fw_span at);

/** @brief Does the next token start a statement? */
bool fw_parser_at_statement(const struct fw_parser *p);

/**
 * @brief Skip commas and newlines between two elements of a list.
 *
 * A newline before a word that starts a statement means that the brace was
 * forgotten, which is reported.
 *
 * @param p                 parser
 * @param open              place of the opening brace
 * @param ret_is_separated  was there anything?
 * @return false after an error
 */
bool fw_parser_separators(struct fw_parser *p, struct fw_span open,
			  bool *ret_is_separated);

/*
 * What an element of a list may be besides an ordinary value. Returns whether
 * it was such an element; *ret is NULL if that was wrong. Only sets have such
 * elements, and only in them an address may be followed by its port.
 */
typedef bool (*fw_special_fn)(struct fw_parser *p, struct fw_item **ret);

/** @brief { a, b }, as deep as `depth` already; NULL after an error. */
struct fw_item *fw_parser_list(struct fw_parser *p, const char *what,
			       fw_special_fn special, unsigned int depth);

/** @brief A value: word, $define, @set or { list }; NULL after an error. */
struct fw_item *fw_parser_value(struct fw_parser *p, const char *what);

/** @brief A value, perhaps negated. */
bool fw_parser_term(struct fw_parser *p, const char *what,
		    struct fw_ast_term *ret);

/** @brief The rest of a rule after its verdict. */
bool fw_parser_rule(struct fw_parser *p, struct fw_ast_rule *rule);

/**
 * @brief Consume a duration of one second at least, or report what is wrong.
 *
 * @param p     parser
 * @param what  what is expected, in words
 * @param max   seconds
 * @param ret   seconds
 */
bool fw_parser_duration(struct fw_parser *p, const char *what, uint32_t max,
			uint32_t *ret);

/** @brief The rest of a `timeout` statement. */
bool fw_parser_timeout(struct fw_parser *p, struct fw_ast_timeout *timeout);

/**
 * @brief Consume a mask of 16 bits side by side, or report what is wrong.
 *
 * @param p          parser
 * @param ret_shift  its lowest bit
 */
bool fw_parser_mark_mask(struct fw_parser *p, uint8_t *ret_shift);

/** @brief The CPUs of `option esp-steer`, or report what is wrong. */
bool fw_parser_steer(struct fw_parser *p, struct fw_ast_option *option);

/**
 * @brief The number behind 'reqid', the next token, or report what is wrong.
 *
 * @param rule  receives number and place; says if it is 'not via ipsec'
 */
bool fw_parser_reqid(struct fw_parser *p, struct fw_ast_rule *rule);

/** @brief Is this a word that starts a clause of a rule? */
bool fw_parser_is_clause(const char *word, size_t len);
