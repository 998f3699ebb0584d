/* SPDX-License-Identifier: GPL-2.0-only */

/* Bytes to tokens, each with its place. */
#pragma once

#include "source.h"

enum fw_token_kind {
	FW_TOKEN_END,
	FW_TOKEN_NEWLINE, /* or ';' */
	FW_TOKEN_WORD,	  /* keyword, name, number, address, range */
	FW_TOKEN_STRING,  /* "..." */
	FW_TOKEN_DEFINE,  /* $name */
	FW_TOKEN_SET,	  /* @name */
	FW_TOKEN_OPEN,	  /* { */
	FW_TOKEN_CLOSE,	  /* } */
	FW_TOKEN_COMMA,
	FW_TOKEN_EQUALS,
	FW_TOKEN_NOT,	/* ! */
	FW_TOKEN_ARROW, /* -> */
	FW_TOKEN_BAD,	/* no token; a string that is not closed */
};

struct fw_token {
	enum fw_token_kind kind;
	struct fw_span at; /* quotes, $ and @ included */
};

struct fw_lexer {
	const char *data;
	uint32_t file;
	uint32_t off;
	uint32_t len;
};

void fw_lex_init(struct fw_lexer *lex, const struct fw_sources *sources,
		 uint32_t file);

/** @brief The next token; END again and again after the last one. */
struct fw_token fw_lex_next(struct fw_lexer *lex);

/** @brief Could this stand in a word (not as its quoted form)? */
bool fw_lex_is_word(const char *s, size_t len);
