/* SPDX-License-Identifier: GPL-2.0-only */

/* The mask of `option mark-mask`: which 16 bits of a conntrack mark are ours. */
#include "parser.h"

#include <ctype.h>

#include "diag.h"

#define DIGITS_MAX 8

static uint32_t digit(char c)
{
	return (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
}

/* 0x and hexadecimal digits, of 32 bits at most. */
static bool read_mask(const char *s, size_t len, uint32_t *ret)
{
	size_t i;

	if (len < 3 || len > 2 + DIGITS_MAX || s[0] != '0' || s[1] != 'x')
		return false;
	*ret = 0;
	for (i = 2; i < len; i++) {
		if (!isxdigit((unsigned char)s[i]))
			return false;
		*ret = *ret << 4 | digit(s[i]);
	}
	return true;
}

/* Where 16 bits begin that are meant, by the lowest bit that was given. */
static uint8_t nearest(uint32_t mask)
{
	int lowest = mask ? __builtin_ctz(mask) : FW_MARK_SHIFT;

	return (uint8_t)(lowest < FW_MARK_SHIFT ? lowest : FW_MARK_SHIFT);
}

bool fw_parser_mark_mask(struct fw_parser *p, uint8_t *ret_shift)
{
	struct fw_reporter *rep = &p->c->rep;
	uint32_t mask, right;
	struct fw_span at;

	if (!fw_parser_expect(p, FW_TOKEN_WORD, "a mask such as 0x0000ffff"))
		return false;
	at = p->last;
	if (!read_mask(fw_span_text(&p->c->sources, at), at.len, &mask)) {
		fw_report_error(rep, at, "'%.*s' is not a mask of 32 bits",
				FW_QUOTE(rep, at));
		fw_report_hint(
			rep, "write 0x and up to 8 digits, such as 0x0000ffff");
		return false;
	}
	*ret_shift = nearest(mask);
	right = FW_MARK_HALF << *ret_shift;
	if (mask == right)
		return true;
	fw_report_error(rep, at, "'%.*s' is not a mask of 16 bits side by side",
			FW_QUOTE(rep, at));
	fw_report_hint(rep, "did you mean '0x%08x'?", right);
	return false;
}
