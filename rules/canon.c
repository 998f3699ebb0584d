/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The canonical text of statements, and the names that are made of it.
 *
 * Clauses stand in one order, numbers in one form, lists are merged and sorted;
 * names of defines and sets stay, so that a rule keeps its text, and with it
 * its counter, when what they stand for changes. Parsing the text gives it
 * again.
 */
#include "canon.h"

#include <ctype.h>
#include <string.h>

#include "mem.h"
#include "str.h"

/* ---- rules --------------------------------------------------------------- */

static void put_value(struct fw_str *str, const struct fw_term *term)
{
	fw_str_puts(str, term->is_negated ? " !" : " ");
	fw_str_puts(str, term->text ? term->text : "any");
}

static void put_clause(struct fw_str *str, const char *word,
		       const struct fw_term *term)
{
	if (!term->is_given)
		return;
	fw_str_puts(str, word);
	put_value(str, term);
}

static void put_zones(struct fw_str *str, const struct fw_checked_rule *rule)
{
	const struct fw_term *in = &rule->terms[FW_TERM_IN];
	const struct fw_term *out = &rule->terms[FW_TERM_OUT];

	if (rule->ast->dir == FW_DIR_FORWARD && out->is_given) {
		put_value(str, in);
		fw_str_puts(str, " ->");
		put_value(str, out);
		return;
	}
	put_clause(str, " on", in);
	put_clause(str, " on", out);
}

static void put_endpoint(struct fw_str *str, const char *word,
			 const struct fw_term *address,
			 const struct fw_term *port)
{
	if (!address->is_given && !port->is_given)
		return;
	fw_str_puts(str, word);
	if (address->is_given)
		put_value(str, address);
	put_clause(str, " port", port);
}

static void put_log(const struct fw_scope *scope, struct fw_str *str,
		    const struct fw_ast_rule *ast)
{
	if (!ast->has_log)
		return;
	fw_str_puts(str, " log");
	if (!ast->prefix.len)
		return;
	fw_str_puts(str, " \"");
	fw_str_add(str, fw_span_text(&scope->c->sources, ast->prefix),
		   ast->prefix.len);
	fw_str_puts(str, "\"");
}

char *fw_canon_rule(const struct fw_scope *scope,
		    const struct fw_checked_rule *rule)
{
	const struct fw_ast_rule *ast = rule->ast;
	const struct fw_term *t = rule->terms;
	struct fw_str str = { 0 };

	fw_str_puts(&str, fw_verdict_name((enum fw_verdict)ast->verdict));
	if (ast->is_stateless)
		fw_str_puts(&str, " stateless");
	fw_str_puts(&str, " ");
	fw_str_puts(&str, fw_dir_name((enum fw_dir)ast->dir));
	put_zones(&str, rule);
	if (ast->families) {
		fw_str_puts(&str, ast->families == FW_FAMILY_IPV4
					  ? " family ipv4"
					  : " family ipv6");
	}
	put_clause(&str, " proto", &t[FW_TERM_PROTO]);
	put_clause(&str, " type", &t[FW_TERM_TYPE]);
	put_clause(&str, " code", &t[FW_TERM_CODE]);
	put_endpoint(&str, " from", &t[FW_TERM_SRC], &t[FW_TERM_SPORT]);
	put_endpoint(&str, " to", &t[FW_TERM_DST], &t[FW_TERM_DPORT]);
	put_log(scope, &str, ast);
	return fw_str_take(&str);
}

/* ---- defines ------------------------------------------------------------- */

/* The elements of a list, those of lists inside it among them. */
static void put_items(const struct fw_scope *scope, const struct fw_item *item,
		      struct fw_str *str, size_t *n)
{
	if (item->kind == FW_ITEM_LIST) {
		for (item = item->first; item; item = item->next)
			put_items(scope, item, str, n);
		return;
	}
	if ((*n)++)
		fw_str_puts(str, ", ");
	fw_str_add(str, fw_span_text(&scope->c->sources, item->at),
		   item->at.len);
}

char *fw_canon_define(const struct fw_scope *scope,
		      const struct fw_symbol *symbol)
{
	struct fw_str items = { 0 };
	struct fw_str str = { 0 };
	size_t n = 0;

	put_items(scope, symbol->item, &items, &n);
	fw_str_puts(&str, "define ");
	fw_str_add(&str, fw_span_text(&scope->c->sources, symbol->name),
		   symbol->name.len);
	fw_str_puts(&str, n == 1 ? " = " : " = { ");
	if (items.s)
		fw_str_add(&str, items.s, items.n);
	if (n != 1)
		fw_str_puts(&str, " }");
	str.is_broken |= items.is_broken;
	fw_str_done(&items);
	return fw_str_take(&str);
}

/* ---- names of rules ------------------------------------------------------ */

#define LONGEST_HINT 16

/* The first word of a term, as far as a label may hold it. */
static void put_hint(struct fw_str *str, const struct fw_term *term)
{
	const char *s = term->text;
	int n;

	if (!term->is_given || !s)
		return;
	while (*s && !isalnum((unsigned char)*s))
		s++;
	if (!*s)
		return;
	fw_str_puts(str, term->is_negated ? "-not-" : "-");
	for (n = 0; n < LONGEST_HINT; n++) {
		if (!isalnum((unsigned char)s[n]) && s[n] != '-' &&
		    s[n] != '_' && s[n] != '.')
			break;
		fw_str_add(str, &s[n], 1);
	}
}

char *fw_canon_label(const struct fw_checked_rule *rule, const char *text)
{
	const struct fw_term *t = rule->terms;
	struct fw_str str = { 0 };
	uint64_t hash;

	hash = fw_mem_hash(FW_HASH_SEED, text, strlen(text));
	fw_str_puts(&str, fw_verdict_name((enum fw_verdict)rule->ast->verdict));
	fw_str_puts(&str, "-");
	fw_str_puts(&str, fw_dir_name((enum fw_dir)rule->ast->dir));
	put_hint(&str, &t[FW_TERM_PROTO]);
	put_hint(&str,
		 &t[t[FW_TERM_TYPE].is_given ? FW_TERM_TYPE : FW_TERM_DPORT]);
	fw_str_addf(&str, "-%08x", (unsigned int)(hash ^ hash >> 32));
	return fw_str_take(&str);
}
