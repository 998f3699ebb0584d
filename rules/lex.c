/* SPDX-License-Identifier: GPL-2.0-only */

/* Bytes to tokens, each with its place. */
#include "lex.h"

#include <string.h>

static bool is_word_char(char c)
{
	static const bool is_one[UINT8_MAX + 1] = {
		['a' ... 'z'] = true, ['A' ... 'Z'] = true,
		['0' ... '9'] = true, ['_'] = true,
		['.'] = true,	      [':'] = true,
		['/'] = true,	      ['-'] = true,
	};

	return is_one[(unsigned char)c];
}

/* Bytes that no token starts with; a run of them is one bad token. */
static bool is_bad_char(char c)
{
	static const char good[] = " \t\r\n;#\"$@{},=!";

	return !is_word_char(c) && !memchr(good, c, sizeof(good) - 1);
}

static char char_at(const struct fw_lexer *lex, uint32_t off)
{
	if (off < lex->len)
		return lex->data[off];
	return '\0';
}

static bool is_arrow(const struct fw_lexer *lex, uint32_t off)
{
	return char_at(lex, off) == '-' && char_at(lex, off + 1) == '>';
}

static void skip_blanks(struct fw_lexer *lex)
{
	const char *newline;

	while (lex->off < lex->len) {
		switch (lex->data[lex->off]) {
		case ' ':
		case '\t':
		case '\r':
			lex->off++;
			break;
		case '#':
			newline = memchr(lex->data + lex->off, '\n',
					 lex->len - lex->off);
			lex->off = newline ? (uint32_t)(newline - lex->data)
					   : lex->len;
			break;
		default:
			return;
		}
	}
}

/* Offset behind the word characters that start at `off`. */
static uint32_t word_end(const struct fw_lexer *lex, uint32_t off)
{
	const char *data = lex->data, *p = data + off, *end = data + lex->len;
	const char *start = p;

	for (; p < end && is_word_char(*p); p++) {
		/* The end of an arrow is no word character. */
	}
	if (p < end && *p == '>' && p > start && p[-1] == '-')
		p--;
	return (uint32_t)(p - data);
}

/* Offset behind the closing quote, or of the end of the line without one. */
static uint32_t string_end(const struct fw_lexer *lex, uint32_t off,
			   enum fw_token_kind *ret_kind)
{
	*ret_kind = FW_TOKEN_BAD;
	for (off++; off < lex->len && lex->data[off] != '\n'; off++) {
		if (lex->data[off] == '"') {
			*ret_kind = FW_TOKEN_STRING;
			return off + 1;
		}
	}
	return off;
}

static uint32_t bad_end(const struct fw_lexer *lex, uint32_t off)
{
	do {
		off++;
	} while (off < lex->len && is_bad_char(lex->data[off]));
	return off;
}

static uint32_t scan(const struct fw_lexer *lex, enum fw_token_kind *ret_kind)
{
	static const struct {
		char c;
		enum fw_token_kind kind;
	} single[] = {
		{ '\n', FW_TOKEN_NEWLINE }, { ';', FW_TOKEN_NEWLINE },
		{ '{', FW_TOKEN_OPEN },	    { '}', FW_TOKEN_CLOSE },
		{ ',', FW_TOKEN_COMMA },    { '=', FW_TOKEN_EQUALS },
		{ '!', FW_TOKEN_NOT },
	};
	uint32_t off = lex->off;
	char c = lex->data[off];
	size_t i;

	for (i = 0; i < sizeof(single) / sizeof(single[0]); i++) {
		if (single[i].c == c) {
			*ret_kind = single[i].kind;
			return off + 1;
		}
	}
	if (is_arrow(lex, off)) {
		*ret_kind = FW_TOKEN_ARROW;
		return off + 2;
	}
	if (c == '"')
		return string_end(lex, off, ret_kind);
	if (is_word_char(c)) {
		*ret_kind = FW_TOKEN_WORD;
		return word_end(lex, off);
	}
	if ((c == '$' || c == '@') && word_end(lex, off + 1) > off + 1) {
		*ret_kind = c == '$' ? FW_TOKEN_DEFINE : FW_TOKEN_SET;
		return word_end(lex, off + 1);
	}
	*ret_kind = FW_TOKEN_BAD;
	return bad_end(lex, off);
}

void fw_lex_init(struct fw_lexer *lex, const struct fw_sources *sources,
		 uint32_t file)
{
	static const char mark[] = "\xef\xbb\xbf"; /* as some editors write */
	const struct fw_text *text = &sources->texts[file];

	*lex = (struct fw_lexer){
		.data = text->data,
		.file = file,
		.len = (uint32_t)text->len,
	};
	if (text->len >= 3 && memcmp(text->data, mark, 3) == 0)
		lex->off = 3;
}

struct fw_token fw_lex_next(struct fw_lexer *lex)
{
	struct fw_token token = { .kind = FW_TOKEN_END };
	uint32_t start;

	skip_blanks(lex);
	start = lex->off;
	if (start < lex->len)
		lex->off = scan(lex, &token.kind);
	token.at = (struct fw_span){ lex->file, start, lex->off - start };
	return token;
}

bool fw_lex_is_word(const char *s, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		if (!is_word_char(s[i]) ||
		    (s[i] == '-' && i + 1 < len && s[i + 1] == '>'))
			return false;
	}
	return len > 0;
}
