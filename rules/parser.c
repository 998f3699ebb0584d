/* SPDX-License-Identifier: GPL-2.0-only */

/* What the parts of the parser share: tokens, words, values and lists. */
#include "parser.h"

#include <string.h>

#include "mem.h"
#include "parse.h"

/* ---- tokens -------------------------------------------------------------- */

bool fw_parser_is(const struct fw_parser *p, struct fw_span at,
		  const char *word)
{
	const char *s = fw_span_text(&p->c->sources, at);

	return at.len && *s == *word && at.len == strlen(word) &&
	       memcmp(s, word, at.len) == 0;
}

struct fw_span fw_parser_take(struct fw_parser *p)
{
	if (p->token.kind == FW_TOKEN_OPEN) {
		p->open++;
	} else if (p->token.kind == FW_TOKEN_CLOSE && p->open > 0) {
		p->open--;
	}
	p->last = p->token.at;
	p->token = fw_lex_next(&p->lex);
	return p->last;
}

bool fw_parser_accept(struct fw_parser *p, enum fw_token_kind kind)
{
	if (p->token.kind != kind)
		return false;
	fw_parser_take(p);
	return true;
}

bool fw_parser_take_word(struct fw_parser *p, const char *word)
{
	if (!fw_parser_is(p, p->token.at, word))
		return false;
	fw_parser_take(p);
	return true;
}

/* Why no token starts here; the first row that fits, NULL fits all. */
static const char *explain_bad(const char *s)
{
	static const struct {
		char c;
		const char *text;
	} reasons[] = {
		{ '"', "the string is not closed before the end of the line" },
		{ '\\',
		  "a rule stands on one line; only a { list } may go on on the next one" },
		{ '$', "'$' is followed by the name of a define" },
		{ '@', "'@' is followed by the name of a set" },
		{ '(', "lists are written in braces: { a, b }" },
		{ '[',
		  "lists are written in braces: { a, b }; IPv6 addresses stand alone" },
		{ '<', "sets are written @name" },
		{ '%',
		  "addresses have no zone index; name the interface with 'on'" },
		{ '*', "patterns are not available in this version" },
		{ '\'', "strings are written in double quotes" },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(reasons); i++) {
		if (reasons[i].c == s[0])
			return reasons[i].text;
	}
	return "this has no meaning here";
}

void fw_parser_unexpected(struct fw_parser *p, const char *what)
{
	struct fw_reporter *rep = &p->c->rep;
	struct fw_span at = p->token.at;

	switch (p->token.kind) {
	case FW_TOKEN_END:
		fw_report_error(rep, at,
				"expected %s, found the end of the file", what);
		break;
	case FW_TOKEN_NEWLINE:
		fw_report_error(
			rep, at, "expected %s, found the end of the %s", what,
			fw_parser_is(p, at, ";") ? "statement" : "line");
		break;
	case FW_TOKEN_BAD:
		fw_report_error(rep, at, "%s",
				explain_bad(fw_span_text(rep->sources, at)));
		break;
	case FW_TOKEN_WORD:
	case FW_TOKEN_STRING:
	case FW_TOKEN_DEFINE:
	case FW_TOKEN_SET:
	case FW_TOKEN_OPEN:
	case FW_TOKEN_CLOSE:
	case FW_TOKEN_COMMA:
	case FW_TOKEN_EQUALS:
	case FW_TOKEN_NOT:
	case FW_TOKEN_ARROW:
		fw_report_error(rep, at, "expected %s, found '%.*s'", what,
				FW_QUOTE(rep, at));
		break;
	}
}

bool fw_parser_expect(struct fw_parser *p, enum fw_token_kind kind,
		      const char *what)
{
	if (fw_parser_accept(p, kind))
		return true;
	fw_parser_unexpected(p, what);
	return false;
}

bool fw_parser_expect_text(struct fw_parser *p, const char *what,
			   struct fw_span *ret)
{
	if (p->token.kind == FW_TOKEN_STRING) {
		*ret = fw_parser_take(p);
		ret->off++;
		ret->len -= 2;
		return true;
	}
	if (!fw_parser_expect(p, FW_TOKEN_WORD, what))
		return false;
	*ret = p->last;
	return true;
}

/* ---- words --------------------------------------------------------------- */

/* What other firewalls call it. */
static const struct {
	const char *word;
	const char *hint;
} habits[] = {
	{ "allow", "the verdict is called 'accept'" },
	{ "pass", "the verdict is called 'accept'" },
	{ "permit", "the verdict is called 'accept'" },
	{ "block", "the verdict is called 'drop'" },
	{ "deny", "the verdict is called 'drop'; 'reject' tells the sender" },
	{ "input", "the direction is called 'in'" },
	{ "output", "the direction is called 'out'" },
	{ "fwd", "the direction is called 'forward'" },
	{ "port", "write 'to port' or 'from port'" },
	{ "dport", "write 'to port'" },
	{ "sport", "write 'from port'" },
	{ "src", "write 'from'" },
	{ "saddr", "write 'from'" },
	{ "dst", "write 'to'" },
	{ "daddr", "write 'to'" },
	{ "iif", "write 'on'" },
	{ "iifname", "write 'on'" },
	{ "ipsec", "write 'via ipsec'" },
	{ "reqid", "write 'via ipsec reqid N'" },
	{ "quick", "the first rule that matches always decides" },
	{ "timeout", "it is a statement of its own: timeout udp 30s" },
	{ "keep", "rules keep state unless they are 'stateless'" },
	{ "tcp", "write 'proto tcp'" },
	{ "udp", "write 'proto udp'" },
	{ "icmp", "write 'proto icmp'" },
	{ "icmp6", "write 'proto icmp6'" },
	{ "inet", "rules are for both families; 'family ipv4' narrows" },
	{ "inet6", "write 'family ipv6'" },
	{ "ip", "rules are for both families; 'family ipv4' narrows" },
	{ "ip6", "write 'family ipv6'" },
};

bool fw_parser_hint_habit(struct fw_parser *p, struct fw_span at)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(habits); i++) {
		if (fw_parser_is(p, at, habits[i].word)) {
			fw_report_hint(&p->c->rep, "%s", habits[i].hint);
			return true;
		}
	}
	return false;
}

bool fw_parser_refuse_later(struct fw_parser *p, const char *const *later)
{
	size_t i;

	if (p->token.kind != FW_TOKEN_WORD)
		return false;
	for (i = 0; later[i]; i++) {
		if (!fw_parser_at_word(p, later[i]))
			continue;
		fw_report_error(&p->c->rep, p->token.at,
				"'%s' is not available in this version",
				later[i]);
		return true;
	}
	return false;
}

bool fw_parser_choose(struct fw_parser *p, const struct fw_keyword *words,
		      const char *what, int *ret)
{
	const struct fw_keyword *k;
	struct fw_nearest nearest;

	for (k = words; k->word; k++) {
		if (fw_parser_accept_word(p, k->word)) {
			*ret = k->value;
			return true;
		}
	}
	fw_parser_unexpected(p, what);
	if (p->token.kind != FW_TOKEN_WORD ||
	    fw_parser_hint_habit(p, p->token.at))
		return false;
	nearest = fw_nearest_to(fw_span_text(&p->c->sources, p->token.at),
				p->token.at.len);
	for (k = words; k->word; k++)
		fw_nearest_try_word(&nearest, k->word);
	fw_report_nearest(&p->c->rep, &nearest, "");
	return false;
}

/* ---- values -------------------------------------------------------------- */

struct fw_item *fw_parser_item(struct fw_parser *p, enum fw_item_kind kind,
			       struct fw_span at)
{
	struct fw_item *item;

	if (p->ast->n_items++ >= FW_MAX_ITEMS) {
		fw_report_error(&p->c->rep, at,
				"the lists have more than %u elements",
				FW_MAX_ITEMS);
		fw_report_hint(
			&p->c->rep,
			"put addresses into a file: set NAME { file \"addresses.txt\" }");
		p->lex.off = p->lex.len; /* there is no end in sight */
		return NULL;
	}
	item = fw_compiler_alloc(p->c, sizeof(*item));
	if (!item)
		return NULL;
	item->kind = kind;
	item->at = at;
	return item;
}

bool fw_parser_separators(struct fw_parser *p, struct fw_span open,
			  bool *ret_is_separated)
{
	bool has_comma = false;

	*ret_is_separated = false;
	for (;;) {
		if (p->token.kind == FW_TOKEN_NEWLINE) {
			fw_parser_take(p);
			if (fw_parser_at_statement(p))
				break;
		} else if (p->token.kind == FW_TOKEN_COMMA && !has_comma) {
			fw_parser_take(p);
			has_comma = true;
		} else {
			if (p->token.kind == FW_TOKEN_END)
				break;
			return true;
		}
		*ret_is_separated = true;
	}
	fw_report_error(&p->c->rep, open, "the '{' is never closed");
	p->open = 0;
	return false;
}

static struct fw_item *parse_value(struct fw_parser *p, const char *what,
				   fw_special_fn special, unsigned int depth);

/* ADDRESS port PORT: the address has been read. */
static struct fw_item *parse_pair(struct fw_parser *p, struct fw_item *address,
				  unsigned int depth)
{
	struct fw_item *pair;

	fw_parser_take(p);
	address->next = parse_value(p, "a port", NULL, depth);
	if (!address->next)
		return NULL;
	pair = fw_parser_item(p, FW_ITEM_PAIR,
			      fw_span_join(address->at, p->last));
	if (pair)
		pair->first = address;
	return pair;
}

/* What stands between two elements of a list is missing. */
static void not_separated(struct fw_parser *p)
{
	fw_parser_unexpected(p, "',' or '}'");
	if (fw_parser_at_word(p, "port")) {
		fw_report_hint(
			&p->c->rep,
			"addresses with ports stand in a set: set NAME { 192.0.2.1 port 443 }");
	}
}

struct fw_item *fw_parser_list(struct fw_parser *p, const char *what,
			       fw_special_fn special, unsigned int depth)
{
	struct fw_span open = fw_parser_take(p);
	struct fw_item *list = fw_parser_item(p, FW_ITEM_LIST, open);
	struct fw_item **tail;
	bool is_separated;

	if (!list)
		return NULL;
	if (depth > FW_MAX_LIST_DEPTH) {
		fw_report_error(&p->c->rep, open,
				"lists are nested deeper than %d",
				FW_MAX_LIST_DEPTH);
		return NULL;
	}
	tail = &list->first;
	while (p->token.kind == FW_TOKEN_NEWLINE)
		fw_parser_take(p);
	while (p->token.kind != FW_TOKEN_CLOSE) {
		*tail = parse_value(p, what, special, depth);
		if (*tail && special && fw_parser_at_word(p, "port"))
			*tail = parse_pair(p, *tail, depth);
		if (!*tail)
			return NULL;
		tail = &(*tail)->next;
		if (!fw_parser_separators(p, open, &is_separated))
			return NULL;
		if (!is_separated && p->token.kind != FW_TOKEN_CLOSE) {
			not_separated(p);
			return NULL;
		}
	}
	fw_parser_take(p);
	list->at = fw_span_join(open, p->last);
	return list;
}

static struct fw_item *parse_value(struct fw_parser *p, const char *what,
				   fw_special_fn special, unsigned int depth)
{
	struct fw_item *item = NULL;

	if (special && special(p, &item))
		return item;
	if (p->token.kind == FW_TOKEN_OPEN)
		return fw_parser_list(p, what, special, depth + 1);
	if (p->token.kind == FW_TOKEN_WORD)
		return fw_parser_item(p, FW_ITEM_WORD, fw_parser_take(p));
	if (p->token.kind == FW_TOKEN_DEFINE)
		return fw_parser_item(p, FW_ITEM_DEFINE, fw_parser_take(p));
	if (p->token.kind == FW_TOKEN_SET)
		return fw_parser_item(p, FW_ITEM_SET, fw_parser_take(p));
	if (p->token.kind == FW_TOKEN_NOT && depth > 0) {
		fw_report_error(&p->c->rep, p->token.at,
				"'!' stands inside a list");
		fw_report_hint(&p->c->rep, "negate the whole list: !{ ... }");
		return NULL;
	}
	fw_parser_unexpected(p, what);
	return NULL;
}

struct fw_item *fw_parser_value(struct fw_parser *p, const char *what)
{
	return parse_value(p, what, NULL, 0);
}

bool fw_parser_term(struct fw_parser *p, const char *what,
		    struct fw_ast_term *ret)
{
	struct fw_span start = p->token.at;

	ret->is_negated = fw_parser_accept(p, FW_TOKEN_NOT);
	if (p->token.kind == FW_TOKEN_NOT) {
		fw_report_error(&p->c->rep, p->token.at, "'!' is given twice");
		return false;
	}
	ret->item = fw_parser_value(p, what);
	ret->at = fw_span_join(start, p->last);
	return ret->item != NULL;
}
