/* SPDX-License-Identifier: GPL-2.0-only */

/* What the names of a rule file stand for. */
#include "scope.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#include "mem.h"
#include "parse.h"
#include "resolve.h"

#define MAX_NAME 31

void fw_value_done(struct fw_value *value)
{
	free(value->v4.r);
	free(value->v6.r);
	fw_pairs_free(value->pairs);
	value->v4 = value->v6 = (struct fw_ranges){ 0 };
	value->pairs = NULL;
}

void fw_value_merge(struct fw_value *value)
{
	fw_ranges_merge(&value->v4);
	fw_ranges_merge(&value->v6);
}

int fw_value_add(struct fw_value *value, const struct fw_value *more)
{
	int r;

	value->has_self |= more->has_self;
	value->is_any |= more->is_any;
	if (more->pairs && !value->pairs) {
		value->pairs = fw_pairs_new();
		if (!value->pairs)
			return -ENOMEM;
	}
	r = more->pairs ? fw_pairs_add_all(value->pairs, more->pairs) : 0;
	if (r < 0)
		return r;
	r = fw_ranges_add_all(&value->v4, &more->v4);
	if (r < 0)
		return r;
	return fw_ranges_add_all(&value->v6, &more->v6);
}

void fw_scope_init(struct fw_scope *scope, struct fw_compiler *c)
{
	*scope = (struct fw_scope){
		.c = c,
		.zones = { .sigil = "", .kind = "interface" },
		.defines = { .sigil = "$", .kind = "define" },
		.sets = { .sigil = "@", .kind = "set" },
	};
}

static void symbols_done(struct fw_symbols *symbols)
{
	size_t i;
	int field;

	for (i = 0; i < symbols->n; i++) {
		if (symbols->s[i].parts)
			fw_parts_done(symbols->s[i].parts);
		free(symbols->s[i].parts);
		for (field = 0; field < FW_FIELD_MAX; field++) {
			if (!symbols->s[i].values[field])
				continue;
			fw_value_done(symbols->s[i].values[field]);
			free(symbols->s[i].values[field]);
		}
	}
	free(symbols->s);
	fw_index_done(&symbols->index);
}

void fw_scope_done(struct fw_scope *scope)
{
	symbols_done(&scope->zones);
	symbols_done(&scope->defines);
	symbols_done(&scope->sets);
	fw_str_done(&scope->texts);
	fw_index_done(&scope->pair_cache.index);
	free(scope->pair_cache.rows);
}

static const char *text_of(const struct fw_scope *scope, struct fw_span at)
{
	return fw_span_text(&scope->c->sources, at);
}

static bool is_name(const char *s, size_t len)
{
	size_t i;

	if (len == 0 || len > MAX_NAME ||
	    !(isalpha((unsigned char)s[0]) || s[0] == '_'))
		return false;
	for (i = 1; i < len; i++) {
		if (!isalnum((unsigned char)s[i]) && s[i] != '_' && s[i] != '-')
			return false;
	}
	return true;
}

/* Report why a new name cannot be used; true if it can. */
static bool check_name(struct fw_scope *scope, const struct fw_symbols *symbols,
		       struct fw_span name)
{
	struct fw_reporter *rep = &scope->c->rep;
	const char *s = text_of(scope, name);
	const struct fw_symbol *first;

	if (!is_name(s, name.len)) {
		fw_report_error(rep, name, "'%.*s' cannot be a name",
				FW_QUOTE(rep, name));
		fw_report_hint(
			rep,
			"a name is a letter and up to %d more letters, digits, '-' and '_'",
			MAX_NAME - 1);
		return false;
	}
	if (fw_parse_is_reserved(s, name.len)) {
		fw_report_error(
			rep, name,
			"'%.*s' is a word of the language and cannot be a name",
			FW_QUOTE(rep, name));
		return false;
	}
	first = fw_scope_find(scope, symbols, name);
	if (!first)
		return true;
	fw_report_error(rep, name, "%s '%.*s' is declared twice", symbols->kind,
			FW_QUOTE(rep, name));
	fw_report_note(rep, first->name, "it is declared here first");
	return false;
}

int fw_scope_add(struct fw_scope *scope, struct fw_symbols *symbols,
		 struct fw_span name, const struct fw_item *item)
{
	struct fw_symbol *s;

	if (!check_name(scope, symbols, name))
		return -EINVAL;
	s = fw_mem_grow(symbols->s, symbols->n, sizeof(*s));
	if (s)
		symbols->s = s;
	if (!s || fw_index_add(&symbols->index, text_of(scope, name), name.len,
			       (uint32_t)symbols->n) < 0) {
		scope->c->rep.is_broken = true;
		return -EINVAL;
	}
	s[symbols->n] = (struct fw_symbol){
		.name = name,
		.item = item,
		.number = (uint32_t)symbols->n,
		.is_set = symbols == &scope->sets,
	};
	return (int)symbols->n++;
}

struct fw_symbol *fw_scope_find(const struct fw_scope *scope,
				const struct fw_symbols *symbols,
				struct fw_span name)
{
	uint32_t i;

	i = fw_index_find(&symbols->index, text_of(scope, name), name.len);
	return i == FW_INDEX_NONE ? NULL : &symbols->s[i];
}

struct fw_span fw_item_name(const struct fw_item *item)
{
	struct fw_span name = item->at;

	name.off++;
	name.len--;
	return name;
}

static void try_all(const struct fw_scope *scope,
		    const struct fw_symbols *symbols,
		    struct fw_nearest *nearest)
{
	const struct fw_symbol *end = symbols->s + symbols->n;
	const struct fw_symbol *s;

	for (s = symbols->s; s && s < end; s++)
		fw_nearest_try(nearest, text_of(scope, s->name), s->name.len);
}

static bool hint_from(struct fw_scope *scope, const struct fw_symbols *symbols,
		      struct fw_span word)
{
	struct fw_nearest nearest;

	nearest = fw_nearest_to(text_of(scope, word), word.len);
	try_all(scope, symbols, &nearest);
	return fw_report_nearest(&scope->c->rep, &nearest, symbols->sigil);
}

bool fw_scope_hint(struct fw_scope *scope, struct fw_span word)
{
	if (fw_report_is_full(&scope->c->rep))
		return false;
	return hint_from(scope, &scope->defines, word) ||
	       hint_from(scope, &scope->sets, word);
}

struct fw_symbol *fw_scope_lookup(struct fw_scope *scope,
				  const struct fw_item *item)
{
	struct fw_symbols *symbols =
		item->kind == FW_ITEM_SET ? &scope->sets : &scope->defines;
	struct fw_reporter *rep = &scope->c->rep;
	struct fw_span name = fw_item_name(item);
	struct fw_symbol *symbol;

	symbol = fw_scope_find(scope, symbols, name);
	if (symbol) {
		symbol->is_used = true;
		return symbol;
	}
	fw_report_error(rep, item->at, "there is no %s '%.*s'", symbols->kind,
			FW_QUOTE(rep, name));
	if (!fw_report_is_full(rep) && !hint_from(scope, symbols, name))
		(void)fw_scope_hint(scope, name);
	return NULL;
}
