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

static void put_value(const struct fw_scope *scope, struct fw_str *str,
		      const struct fw_term *term)
{
	fw_str_puts(str, term->is_negated ? " !" : " ");
	if (term->text_len) {
		fw_str_add(str, fw_term_text(scope, term), term->text_len);
	} else {
		fw_str_puts(str, "any");
	}
}

static void put_clause(const struct fw_scope *scope, struct fw_str *str,
		       const char *word, const struct fw_term *term)
{
	if (!term->is_given)
		return;
	fw_str_puts(str, word);
	put_value(scope, str, term);
}

static void put_zones(const struct fw_scope *scope, struct fw_str *str,
		      const struct fw_checked_rule *rule)
{
	const struct fw_term *in = &rule->terms[FW_TERM_IN];
	const struct fw_term *out = &rule->terms[FW_TERM_OUT];

	if (rule->ast->dir == FW_DIR_FORWARD && out->is_given) {
		put_value(scope, str, in);
		fw_str_puts(str, " ->");
		put_value(scope, str, out);
		return;
	}
	put_clause(scope, str, " on", in);
	put_clause(scope, str, " on", out);
}

static void put_endpoint(const struct fw_scope *scope, struct fw_str *str,
			 const char *word, const struct fw_term *address,
			 const struct fw_term *port)
{
	if (!address->is_given && !port->is_given)
		return;
	fw_str_puts(str, word);
	if (address->is_given)
		put_value(scope, str, address);
	put_clause(scope, str, " port", port);
}

static void put_ipsec(struct fw_str *str, const struct fw_ast_rule *ast)
{
	if (!ast->ipsec_at.len)
		return;
	fw_str_puts(str, ast->is_not_ipsec ? " not via ipsec" : " via ipsec");
	if (!ast->reqid)
		return;
	fw_str_puts(str, " reqid ");
	fw_str_put_number(str, ast->reqid);
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

static void put_offload(struct fw_str *str, const struct fw_ast_rule *ast)
{
	if (!ast->offload_at.len)
		return;
	fw_str_puts(str, ast->offload & FW_RESULT_OFFLOAD_FIRST
				 ? " offload first"
			 : ast->offload ? " offload"
					: " offload off");
}

void fw_canon_rule(const struct fw_scope *scope,
		   const struct fw_checked_rule *rule, struct fw_str *str)
{
	const struct fw_ast_rule *ast = rule->ast;
	const struct fw_term *t = rule->terms;

	fw_str_puts(str, fw_verdict_name((enum fw_verdict)ast->verdict));
	if (ast->is_stateless)
		fw_str_puts(str, " stateless");
	fw_str_puts(str, " ");
	fw_str_puts(str, fw_dir_name((enum fw_dir)ast->dir));
	put_zones(scope, str, rule);
	if (ast->families) {
		fw_str_puts(str, ast->families == FW_FAMILY_IPV4
					 ? " family ipv4"
					 : " family ipv6");
	}
	put_clause(scope, str, " proto", &t[FW_TERM_PROTO]);
	put_clause(scope, str, " type", &t[FW_TERM_TYPE]);
	put_clause(scope, str, " code", &t[FW_TERM_CODE]);
	put_endpoint(scope, str, " from", &t[FW_TERM_SRC], &t[FW_TERM_SPORT]);
	put_endpoint(scope, str, " to", &t[FW_TERM_DST], &t[FW_TERM_DPORT]);
	put_ipsec(str, ast);
	put_log(scope, str, ast);
	put_offload(str, ast);
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
static void put_hint(const struct fw_scope *scope, struct fw_str *str,
		     const struct fw_term *term)
{
	const char *s = fw_term_text(scope, term);
	const char *end = s + term->text_len;
	size_t n = 0;

	if (!term->is_given)
		return;
	while (s < end && !isalnum((unsigned char)*s))
		s++;
	if (s == end)
		return;
	fw_str_puts(str, term->is_negated ? "-not-" : "-");
	while (n < LONGEST_HINT && s + n < end &&
	       (isalnum((unsigned char)s[n]) || s[n] == '-' || s[n] == '_' ||
		s[n] == '.'))
		n++;
	fw_str_add(str, s, n);
}

static void put_hash(struct fw_str *str, uint32_t hash)
{
	char digits[8];
	int i;

	for (i = 0; i < 8; i++)
		digits[i] = "0123456789abcdef"[hash >> (28 - 4 * i) & 0xf];
	fw_str_add(str, digits, sizeof(digits));
}

void fw_canon_label(const struct fw_scope *scope,
		    const struct fw_checked_rule *rule, const char *text,
		    size_t len, struct fw_str *str)
{
	const struct fw_term *t = rule->terms;
	uint64_t hash;

	hash = fw_mem_hash(FW_HASH_SEED, text, len);
	fw_str_puts(str, fw_verdict_name((enum fw_verdict)rule->ast->verdict));
	fw_str_add(str, "-", 1);
	fw_str_puts(str, fw_dir_name((enum fw_dir)rule->ast->dir));
	put_hint(scope, str, &t[FW_TERM_PROTO]);
	put_hint(scope, str,
		 &t[t[FW_TERM_TYPE].is_given ? FW_TERM_TYPE : FW_TERM_DPORT]);
	fw_str_add(str, "-", 1);
	put_hash(str, (uint32_t)(hash ^ hash >> 32));
}
