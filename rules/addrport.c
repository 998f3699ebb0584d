/* SPDX-License-Identifier: GPL-2.0-only */

/* Sets of addresses with ports: how their entries are read. */
#include "addrport.h"

#include <errno.h>
#include <string.h>

#include "field.h"
#include "mem.h"

/* ---- which are which ----------------------------------------------------- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* The bytes before the next blank. */
static size_t word_len(const char *s, size_t len)
{
	size_t n = 0;

	while (n < len && !is_blank(s[n]))
		n++;
	return n;
}

static size_t blank_len(const char *s, size_t len)
{
	size_t n = 0;

	while (n < len && is_blank(s[n]))
		n++;
	return n;
}

bool fw_addrport_is_pair(const char *s, size_t len)
{
	size_t n = word_len(s, len);

	n += blank_len(s + n, len - n);
	return word_len(s + n, len - n) == 4 && memcmp(s + n, "port", 4) == 0;
}

bool fw_addrport_is_in(const struct fw_scope *scope, const struct fw_item *item)
{
	const struct fw_symbols *symbols = &scope->sets;
	const struct fw_symbol *symbol;
	const struct fw_item *sub;

	switch (item->kind) {
	case FW_ITEM_LIST:
		for (sub = item->first; sub; sub = sub->next) {
			if (fw_addrport_is_in(scope, sub))
				return true;
		}
		return false;
	case FW_ITEM_DEFINE:
		symbols = &scope->defines;
		/* fall through */
	case FW_ITEM_SET:
		symbol = fw_scope_find(scope, symbols, fw_item_name(item));
		return symbol && symbol->state == FW_SYMBOL_GOOD &&
		       symbol->holds_pairs;
	case FW_ITEM_WORD:
	case FW_ITEM_FILE:
	case FW_ITEM_PAIR:
		break;
	}
	return false;
}

bool fw_addrport_refuse_portless(struct fw_scope *scope, struct fw_span at,
				 struct fw_parts *parts)
{
	struct fw_reporter *rep = &scope->c->rep;

	if (parts->is_mixed)
		return false;
	parts->is_mixed = true;
	if (parts->owner && parts->owner->is_set) {
		fw_report_error(
			rep, at,
			"'%.*s' has no port, but the first entry of the set has one",
			FW_QUOTE(rep, at));
		fw_report_hint(
			rep,
			"in a set all entries have ports or none has; write '%.*s port PORT'",
			FW_QUOTE(rep, at));
		return false;
	}
	fw_report_error(rep, at,
			"'%.*s' has no port, but others in this list have one",
			FW_QUOTE(rep, at));
	fw_report_hint(
		rep,
		"a list holds addresses or sets of addresses with ports, never both; write a rule for each");
	return false;
}

bool fw_addrport_refuse_port(struct fw_scope *scope, enum fw_field field,
			     struct fw_span at, struct fw_parts *parts)
{
	struct fw_reporter *rep = &scope->c->rep;

	if (parts->is_mixed)
		return false;
	parts->is_mixed = true;
	if (!parts->owner) {
		fw_report_error(rep, at, "'%.*s' has a port already",
				FW_QUOTE(rep, at));
		return false;
	}
	if (field == FW_FIELD_PORT) {
		fw_report_error(
			rep, at,
			"'%.*s' has an address, but the first entry of the set is a port",
			FW_QUOTE(rep, at));
		fw_report_hint(
			rep,
			"a set holds addresses, ports, or addresses with ports");
		return false;
	}
	fw_report_error(
		rep, at,
		"'%.*s' has a port, but the first entry of the set has none",
		FW_QUOTE(rep, at));
	fw_report_hint(rep, "in a set all entries have ports or none has");
	return false;
}

/* ---- entries ------------------------------------------------------------- */

static bool add_ranges(struct fw_pairs *pairs, enum fw_pair_kind kind,
		       const struct fw_ranges *addresses,
		       const struct fw_ranges *ports)
{
	size_t i;

	for (i = 0; i < addresses->n; i++) {
		if (fw_pairs_add(pairs, kind, &addresses->r[i], ports) < 0)
			return false;
	}
	return true;
}

static bool add_pairs(struct fw_scope *scope, struct fw_parts *parts,
		      const struct fw_value *addresses,
		      const struct fw_ranges *ports)
{
	struct fw_pairs **pairs = &parts->literals.pairs;

	if (!*pairs)
		*pairs = fw_pairs_new();
	if (*pairs &&
	    (!addresses->has_self ||
	     fw_pairs_add(*pairs, FW_PAIR_SELF, NULL, ports) == 0) &&
	    add_ranges(*pairs, FW_PAIR_V4, &addresses->v4, ports) &&
	    add_ranges(*pairs, FW_PAIR_V6, &addresses->v6, ports))
		return true;
	scope->c->rep.is_broken = true;
	return false;
}

/* `any` would hide the ports of all entries; it was meant for the rule. */
static bool check_any(struct fw_scope *scope, struct fw_span at, bool is_any)
{
	if (!is_any)
		return true;
	fw_report_error(&scope->c->rep, at, "'any' cannot be in a set");
	fw_report_hint(&scope->c->rep,
		       "for ports of any address write a rule with 'port'");
	return false;
}

/* What pairs are made of is not worked out again. */
static void fix_names(const struct fw_parts *parts)
{
	size_t i;

	for (i = 0; i < parts->n_refs; i++) {
		struct fw_symbol *symbol = parts->refs[i].symbol;

		if (symbol->is_fixed)
			continue;
		symbol->is_fixed = true;
		if (symbol->parts)
			fix_names(symbol->parts);
	}
}

/* One half of a pair, as if it stood in a rule. */
static bool read_half(struct fw_scope *scope, enum fw_field field,
		      const struct fw_item *item, struct fw_value *ret)
{
	struct fw_parts parts = { 0 };
	bool is_good;

	is_good = fw_resolve(scope, field, item, &parts) &&
		  check_any(scope, item->at, fw_parts_is_any(field, &parts)) &&
		  fw_parts_value(scope, field, &parts, ret);
	fix_names(&parts);
	fw_parts_done(&parts);
	return is_good;
}

bool fw_addrport_add(struct fw_scope *scope, const struct fw_item *item,
		     struct fw_parts *parts)
{
	struct fw_value addresses = { 0 };
	struct fw_value ports = { 0 };
	bool is_good;

	is_good = read_half(scope, FW_FIELD_ADDRESS, item->first, &addresses);
	is_good &= read_half(scope, FW_FIELD_PORT, item->first->next, &ports);
	is_good = is_good && add_pairs(scope, parts, &addresses, &ports.v4);
	fw_value_done(&addresses);
	fw_value_done(&ports);
	return is_good;
}

/* ---- lines of a file ----------------------------------------------------- */

static bool hint_line(struct fw_scope *scope)
{
	fw_report_hint(
		&scope->c->rep,
		"a line is one entry: 192.0.2.1 port 443, or port { 22, 8000-8100 }");
	return false;
}

/* A line of the file is wrong from here on. */
static bool refuse_line(struct fw_scope *scope, struct fw_span at,
			const char *what)
{
	if (!at.len)
		at.len = 1;
	fw_report_error(&scope->c->rep, at, "%s", what);
	return hint_line(scope);
}

/* Cut the first `n` bytes off a place and return them. */
static struct fw_span cut(struct fw_span *at, size_t n)
{
	struct fw_span first = *at;

	first.len = (uint32_t)n;
	at->off += (uint32_t)n;
	at->len -= (uint32_t)n;
	return first;
}

static const char *text_of(const struct fw_scope *scope, struct fw_span at)
{
	return fw_span_text(&scope->c->sources, at);
}

/* The next word, without the blanks before and behind it. */
static struct fw_span cut_word(const struct fw_scope *scope, struct fw_span *at)
{
	struct fw_span word;

	(void)cut(at, blank_len(text_of(scope, *at), at->len));
	word = cut(at, word_len(text_of(scope, *at), at->len));
	(void)cut(at, blank_len(text_of(scope, *at), at->len));
	return word;
}

/* { a, b }, the brace that closes it at the end of the line. */
static bool read_ports(struct fw_scope *scope, struct fw_span at,
		       struct fw_value *ports)
{
	const char *s = text_of(scope, at);
	bool is_good = true;
	size_t n;

	if (s[at.len - 1] != '}')
		return refuse_line(scope, at, "the '{' is never closed");
	at.len--;
	(void)cut(&at, 1);
	for (;;) {
		struct fw_span word;

		s = text_of(scope, at);
		for (n = 0; n < at.len && (is_blank(s[n]) || s[n] == ','); n++)
			;
		(void)cut(&at, n);
		if (!at.len)
			break;
		s += n;
		for (n = 0; n < at.len && !is_blank(s[n]) && s[n] != ','; n++)
			;
		word = cut(&at, n);
		is_good &= fw_field_parse(scope, FW_FIELD_PORT, word, ports);
	}
	fw_ranges_merge(&ports->v4);
	if (is_good && !ports->v4.n)
		return refuse_line(scope, at, "the list is empty");
	return is_good;
}

/* Behind `port`. */
static bool read_port(struct fw_scope *scope, struct fw_span at,
		      struct fw_value *ports)
{
	struct fw_span word;

	if (!at.len)
		return refuse_line(scope, at, "the port is missing");
	if (*text_of(scope, at) == '{')
		return read_ports(scope, at, ports);
	word = cut_word(scope, &at);
	if (at.len)
		return refuse_line(scope, at, "more than one entry in a line");
	return fw_field_parse(scope, FW_FIELD_PORT, word, ports);
}

static bool not_port(struct fw_scope *scope, struct fw_span at)
{
	fw_report_error(&scope->c->rep, at, "expected 'port', found '%.*s'",
			FW_QUOTE(&scope->c->rep, at));
	return hint_line(scope);
}

bool fw_addrport_read(struct fw_scope *scope, struct fw_span entry,
		      struct fw_parts *parts)
{
	struct fw_value addresses = { 0 };
	struct fw_value ports = { 0 };
	struct fw_span rest = entry;
	struct fw_span address = cut_word(scope, &rest);
	struct fw_span word = cut_word(scope, &rest);
	bool is_good;

	if (!word.len)
		return fw_addrport_refuse_portless(scope, address, parts);
	if (word.len != 4 || memcmp(text_of(scope, word), "port", 4) != 0)
		return not_port(scope, word);
	is_good =
		fw_field_parse(scope, FW_FIELD_ADDRESS, address, &addresses) &&
		check_any(scope, address, addresses.is_any);
	is_good &= read_port(scope, rest, &ports);
	is_good = is_good && add_pairs(scope, parts, &addresses, &ports.v4);
	fw_value_done(&addresses);
	fw_value_done(&ports);
	return is_good;
}

/* ---- all together -------------------------------------------------------- */

bool fw_addrport_merge(struct fw_scope *scope, struct fw_span at,
		       struct fw_value *value)
{
	struct fw_reporter *rep = &scope->c->rep;
	int r = value->pairs ? fw_pairs_merge(&value->pairs) : 0;

	if (r == 0)
		return true;
	if (r != -E2BIG) {
		rep->is_broken = true;
		return false;
	}
	fw_report_error(
		rep, at,
		"the addresses overlap in too many ways: their ports make more than %u ranges",
		FW_MAX_PAIR_STEPS);
	fw_report_hint(
		rep,
		"where entries overlap, each stretch of addresses has a list of all their ports");
	return false;
}
