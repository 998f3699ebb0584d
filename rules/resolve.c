/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * From words, lists and names to values.
 *
 * A name has no type of its own. What it stands for is worked out once per
 * field that it is used as, and kept: a thousand rules may use a set of a million
 * addresses.
 */
#include "resolve.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "addrport.h"
#include "field.h"
#include "file.h"
#include "mem.h"

/* ---- lines of a file ----------------------------------------------------- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* The entry in a line: without blanks and comment; len 0 if there is none. */
static struct fw_span entry_of(const char *data, struct fw_span line)
{
	const char *s = data + line.off;
	const char *hash = memchr(s, '#', line.len);

	if (hash)
		line.len = (uint32_t)(hash - s);
	while (line.len && is_blank(s[line.len - 1]))
		line.len--;
	while (line.len && is_blank(*s)) {
		s++;
		line.off++;
		line.len--;
	}
	return line;
}

/* The next line of a file from `off` on, which moves behind it. */
static struct fw_span next_line(const struct fw_text *text, uint32_t file,
				uint32_t *off)
{
	const char *line = text->data + *off;
	const char *end = memchr(line, '\n', text->len - *off);
	struct fw_span at = { .file = file, .off = *off };

	at.len = end ? (uint32_t)(end - line) : (uint32_t)text->len - *off;
	*off += at.len + 1;
	return at;
}

/* Where the first line begins. */
static uint32_t start_of(const struct fw_text *text)
{
	return text->len >= 3 && memcmp(text->data, "\xef\xbb\xbf", 3) == 0 ? 3
									    : 0;
}

/* The first entry of a file says what a set holds, if it stands first. */
static void take_kind_of_file(const struct fw_scope *scope,
			      struct fw_symbol *owner,
			      const struct fw_item *item)
{
	const struct fw_text *text = &scope->c->sources.texts[item->file];
	uint32_t off = start_of(text);

	while (off < text->len && !owner->has_kind) {
		struct fw_span at = next_line(text, item->file, &off);

		at = entry_of(text->data, at);
		if (!at.len)
			continue;
		owner->has_kind = true;
		owner->holds_ports =
			fw_field_is_port(text->data + at.off, at.len);
		owner->holds_pairs =
			fw_addrport_is_pair(text->data + at.off, at.len);
	}
}

/* ---- do all names exist, and end somewhere? ------------------------------ */

static bool check_symbol(struct fw_scope *scope, struct fw_symbol *symbol,
			 unsigned int depth);

static bool too_deep(struct fw_scope *scope, const struct fw_item *item)
{
	fw_report_error(&scope->c->rep, item->at,
			"names refer to each other deeper than %d",
			FW_MAX_NAME_DEPTH);
	return false;
}

/* One name in the value of another one, `owner`, that is `depth` names deep. */
static bool check_ref(struct fw_scope *scope, struct fw_symbol *owner,
		      const struct fw_item *item, unsigned int depth)
{
	struct fw_reporter *rep = &scope->c->rep;
	struct fw_symbol *symbol;

	symbol = fw_scope_lookup(scope, item);
	if (!symbol)
		return false;
	if (symbol->state == FW_SYMBOL_OPEN) {
		fw_report_error(rep, item->at, "'%.*s' contains itself",
				FW_QUOTE(rep, item->at));
		return false;
	}
	if (depth >= FW_MAX_NAME_DEPTH)
		return too_deep(scope, item);
	if (!check_symbol(scope, symbol, depth + 1))
		return false;
	if (!owner->has_kind) {
		owner->has_kind = symbol->has_kind;
		owner->holds_ports = symbol->holds_ports;
		owner->holds_pairs = symbol->holds_pairs;
	}
	owner->has_sets |= fw_symbol_is_variable(symbol);
	/* It may have been looked at before, from less deep. */
	if (symbol->height >= FW_MAX_NAME_DEPTH)
		return too_deep(scope, item);
	if (owner->height <= symbol->height)
		owner->height = symbol->height + 1;
	return true;
}

static bool check_item(struct fw_scope *scope, struct fw_symbol *owner,
		       const struct fw_item *item, unsigned int depth)
{
	const struct fw_item *sub;
	bool is_good = true;

	switch (item->kind) {
	case FW_ITEM_PAIR:
		owner->holds_pairs |= !owner->has_kind;
		owner->has_kind = true;
		/* fall through */
	case FW_ITEM_LIST:
		for (sub = item->first; sub; sub = sub->next)
			is_good &= check_item(scope, owner, sub, depth);
		return is_good;
	case FW_ITEM_DEFINE:
	case FW_ITEM_SET:
		return check_ref(scope, owner, item, depth);
	case FW_ITEM_WORD:
		if (!owner->has_kind) {
			owner->holds_ports = fw_field_is_port(
				fw_span_text(&scope->c->sources, item->at),
				item->at.len);
		}
		owner->has_kind = true;
		break;
	case FW_ITEM_FILE:
		if (!owner->has_kind)
			take_kind_of_file(scope, owner, item);
		break;
	}
	return true;
}

static bool check_symbol(struct fw_scope *scope, struct fw_symbol *symbol,
			 unsigned int depth)
{
	if (symbol->state == FW_SYMBOL_NEW) {
		symbol->state = FW_SYMBOL_OPEN;
		symbol->state = check_item(scope, symbol, symbol->item, depth)
					? FW_SYMBOL_GOOD
					: FW_SYMBOL_BAD;
	}
	return symbol->state == FW_SYMBOL_GOOD;
}

/* A text that stands in for the content of a set, whatever its items are. */
static bool take_replaced(struct fw_scope *scope,
			  const struct fw_set_text *replaced)
{
	const struct fw_text *from = &replaced->text;
	struct fw_text text = { .name = fw_mem_dup(from->name,
						   strlen(from->name)),
				.data = fw_mem_dup(from->data, from->len),
				.len = from->len };
	struct fw_symbol *symbol;
	uint32_t number;
	int file = -ENOMEM;

	if (text.name && text.data)
		file = fw_sources_add(&scope->c->sources, &text);
	free(text.name);
	free(text.data);
	if (file < 0) {
		scope->c->rep.is_broken = true;
		return false;
	}
	number = fw_index_find(&scope->sets.index, replaced->set,
			       strlen(replaced->set));
	symbol = number == FW_INDEX_NONE ? NULL : &scope->sets.s[number];
	if (!symbol || symbol->replaced || symbol->state != FW_SYMBOL_NEW) {
		fw_report_error(&scope->c->rep, (struct fw_span){ .len = 1 },
				"set '%s' cannot be replaced", replaced->set);
		return false;
	}
	symbol->state = FW_SYMBOL_GOOD;
	symbol->has_kind = true;
	symbol->holds_ports = replaced->holds_ports;
	symbol->replaced = (uint32_t)file + 1;
	return true;
}

void fw_resolve_names(struct fw_scope *scope)
{
	const struct fw_options *options = scope->c->options;
	size_t i;

	for (i = 0; i < options->n_replaced; i++) {
		if (!take_replaced(scope, &options->replaced[i]))
			return;
	}
	for (i = 0; i < scope->defines.n; i++)
		(void)check_symbol(scope, &scope->defines.s[i], 0);
	for (i = 0; i < scope->sets.n; i++)
		(void)check_symbol(scope, &scope->sets.s[i], 0);
}

/* ---- the file of a set --------------------------------------------------- */

/* `any` would make the whole set pointless; it was meant for the rule. */
static bool refuse_any(struct fw_scope *scope, struct fw_span at)
{
	fw_report_error(&scope->c->rep, at, "'any' cannot be in a set");
	fw_report_hint(&scope->c->rep, "leave 'from' or 'to' out of the rule");
	return false;
}

static bool check_entry(struct fw_scope *scope, struct fw_span entry,
			struct fw_value *value)
{
	if (!value->is_any)
		return true;
	value->is_any = false;
	return refuse_any(scope, entry);
}

static bool read_entry(struct fw_scope *scope, enum fw_field field,
		       const char *data, struct fw_span entry,
		       struct fw_parts *parts)
{
	struct fw_reporter *rep = &scope->c->rep;
	const char *s = data + entry.off;
	uint32_t i = 0;

	if (field == FW_FIELD_PAIR)
		return fw_addrport_read(scope, entry, parts);
	while (i < entry.len && !is_blank(s[i]) && s[i] != ',' && s[i] != ';')
		i++;
	if (i == entry.len)
		return fw_field_parse(scope, field, entry, &parts->literals) &&
		       check_entry(scope, entry, &parts->literals);
	if (fw_addrport_is_pair(s, entry.len))
		return fw_addrport_refuse_port(scope, field, entry, parts);
	entry.off += i;
	entry.len = 1;
	if (field == FW_FIELD_PORT) {
		fw_report_error(rep, entry, "more than one port in a line");
		fw_report_hint(
			rep,
			"the file of a set has one port or range of ports a line");
		return false;
	}
	fw_report_error(rep, entry, "more than one address in a line");
	fw_report_hint(
		rep,
		"the file of a set has one address, prefix or range a line");
	return false;
}

static bool is_too_long(struct fw_scope *scope, struct fw_span at,
			const struct fw_value *value)
{
	size_t n_pairs = value->pairs ? value->pairs->n : 0;

	if (value->v4.n + value->v6.n + n_pairs < FW_MAX_ENTRIES)
		return false;
	fw_report_error(&scope->c->rep, at, "the set has more than %u entries",
			FW_MAX_ENTRIES);
	return true;
}

/*
 * The next entry of a text from an offset on, which moves behind its line; len 0
 * if there is none.
 */
static struct fw_span next_entry(const struct fw_text *text, uint32_t file,
				 uint32_t *off)
{
	struct fw_span at = { .file = file };

	if (*off == 0)
		*off = start_of(text);
	while (*off < text->len && !at.len)
		at = entry_of(text->data, next_line(text, file, off));
	return at;
}

struct fw_span fw_resolve_first(const struct fw_text *text, uint32_t file)
{
	uint32_t off = 0;

	return next_entry(text, file, &off);
}

bool fw_resolve_lines(struct fw_scope *scope, enum fw_field field,
		      uint32_t file, struct fw_parts *parts)
{
	const struct fw_text *text = &scope->c->sources.texts[file];
	bool is_good = true;
	uint32_t off = 0;

	while (!fw_report_is_full(&scope->c->rep)) {
		struct fw_span at = next_entry(text, file, &off);

		if (!at.len)
			break;
		if (is_too_long(scope, at, &parts->literals))
			return false;
		is_good &= read_entry(scope, field, text->data, at, parts);
	}
	return is_good;
}

static bool read_file(struct fw_scope *scope, enum fw_field field,
		      const struct fw_item *item, struct fw_parts *parts)
{
	return fw_file_begin(scope->c, item->at, item->file) &&
	       fw_resolve_lines(scope, field, item->file, parts);
}

/* ---- values -------------------------------------------------------------- */

void fw_parts_done(struct fw_parts *parts)
{
	free(parts->refs);
	parts->refs = NULL;
	parts->n_refs = 0;
	fw_value_done(&parts->literals);
}

/* A set that holds something else than what is wanted. */
static bool refuse_set(struct fw_scope *scope, enum fw_field field,
		       const struct fw_item *item,
		       const struct fw_symbol *symbol, struct fw_parts *parts)
{
	struct fw_reporter *rep = &scope->c->rep;

	if (field == FW_FIELD_PAIR && !symbol->holds_ports)
		return fw_addrport_refuse_portless(scope, item->at, parts);
	fw_report_error(rep, item->at, "this set holds %s and cannot be %s",
			symbol->holds_pairs   ? "addresses with ports"
			: symbol->holds_ports ? "ports"
					      : "addresses",
			fw_field_name(field));
	if (symbol->holds_pairs && field == FW_FIELD_PORT) {
		fw_report_hint(rep, "write 'from %.*s' or 'to %.*s'",
			       FW_QUOTE(rep, item->at),
			       FW_QUOTE(rep, item->at));
	}
	return false;
}

static bool add_ref(struct fw_scope *scope, enum fw_field field,
		    const struct fw_item *item, struct fw_parts *parts)
{
	struct fw_reporter *rep = &scope->c->rep;
	struct fw_ref *refs;
	struct fw_symbol *symbol;
	bool was_bad;

	symbol = fw_scope_lookup(scope, item);
	if (!symbol)
		return false;
	if (item->kind == FW_ITEM_SET && symbol->state == FW_SYMBOL_GOOD &&
	    field != fw_symbol_field(symbol))
		return refuse_set(scope, field, item, symbol, parts);
	was_bad = symbol->state != FW_SYMBOL_GOOD || symbol->has_failed[field];
	if (!fw_symbol_value(scope, symbol, field)) {
		if (!was_bad) {
			fw_report_note(
				rep, item->at, "'%.*s' is used as %s here",
				FW_QUOTE(rep, item->at), fw_field_name(field));
		}
		return false;
	}
	refs = fw_mem_grow(parts->refs, parts->n_refs, sizeof(*refs));
	if (!refs) {
		rep->is_broken = true;
		return false;
	}
	parts->refs = refs;
	refs[parts->n_refs++] = (struct fw_ref){ symbol };
	parts->has_set |= fw_symbol_is_variable(symbol);
	return true;
}

static bool collect(struct fw_scope *scope, enum fw_field field,
		    const struct fw_item *item, struct fw_parts *parts)
{
	const struct fw_item *sub;
	bool is_good = true;

	switch (item->kind) {
	case FW_ITEM_WORD:
		if (field == FW_FIELD_PAIR) {
			return fw_addrport_refuse_portless(scope, item->at,
							   parts);
		}
		return fw_field_parse(scope, field, item->at, &parts->literals);
	case FW_ITEM_DEFINE:
	case FW_ITEM_SET:
		return add_ref(scope, field, item, parts);
	case FW_ITEM_FILE:
		return read_file(scope, field, item, parts);
	case FW_ITEM_PAIR:
		if (field == FW_FIELD_PAIR)
			return fw_addrport_add(scope, item, parts);
		return fw_addrport_refuse_port(scope, field, item->at, parts);
	case FW_ITEM_LIST:
		for (sub = item->first; sub; sub = sub->next) {
			is_good &= collect(scope, field, sub, parts);
			if (fw_report_is_full(&scope->c->rep))
				return false;
		}
		return is_good;
	}
	return false;
}

/* Defines before sets, each in the order of declaration. */
static int compare_refs(const void *a, const void *b)
{
	const struct fw_symbol *x = ((const struct fw_ref *)a)->symbol;
	const struct fw_symbol *y = ((const struct fw_ref *)b)->symbol;

	if (x->is_set != y->is_set)
		return x->is_set ? 1 : -1;
	return (x->number > y->number) - (x->number < y->number);
}

static void sort_refs(struct fw_parts *parts)
{
	size_t i, n = 0;

	if (parts->n_refs < 2)
		return;
	qsort(parts->refs, parts->n_refs, sizeof(*parts->refs), compare_refs);
	for (i = 1; i < parts->n_refs; i++) {
		if (parts->refs[i].symbol != parts->refs[n].symbol)
			parts->refs[++n] = parts->refs[i];
	}
	parts->n_refs = n + 1;
}

bool fw_resolve(struct fw_scope *scope, enum fw_field field,
		const struct fw_item *item, struct fw_parts *ret)
{
	if (!collect(scope, field, item, ret))
		return false;
	sort_refs(ret);
	fw_value_merge(&ret->literals);
	return true;
}

bool fw_parts_value(struct fw_scope *scope, enum fw_field field,
		    const struct fw_parts *parts, struct fw_value *ret)
{
	size_t i;

	if (fw_value_add(ret, &parts->literals) < 0) {
		scope->c->rep.is_broken = true;
		return false;
	}
	for (i = 0; i < parts->n_refs; i++) {
		const struct fw_value *value =
			parts->refs[i].symbol->values[field];

		if (value && fw_value_add(ret, value) < 0) {
			scope->c->rep.is_broken = true;
			return false;
		}
	}
	fw_value_merge(ret);
	return true;
}

bool fw_parts_is_any(enum fw_field field, const struct fw_parts *parts)
{
	size_t i;

	for (i = 0; i < parts->n_refs; i++) {
		const struct fw_value *value =
			parts->refs[i].symbol->values[field];

		if (value && value->is_any)
			return true;
	}
	return parts->literals.is_any;
}

void fw_parts_text(const struct fw_scope *scope, enum fw_field field,
		   const struct fw_parts *parts, struct fw_str *str)
{
	struct fw_list list = fw_list_at(str);
	size_t i;

	for (i = 0; i < parts->n_refs && !parts->literals.is_any; i++) {
		const struct fw_symbol *ref = parts->refs[i].symbol;

		str = fw_list_next(&list);
		fw_str_add(str, ref->is_set ? "@" : "$", 1);
		fw_str_add(str, fw_span_text(&scope->c->sources, ref->name),
			   ref->name.len);
	}
	fw_field_print(scope, field, &parts->literals, &list);
	fw_list_end(&list);
}

static bool check_set(struct fw_scope *scope, const struct fw_symbol *symbol,
		      const struct fw_value *value)
{
	return !symbol->is_set || !value->is_any ||
	       refuse_any(scope, symbol->name);
}

/* All names together; one alone may be as large. */
static bool has_room(struct fw_scope *scope, const struct fw_symbol *symbol,
		     const struct fw_value *value)
{
	scope->n_entries += value->v4.n + value->v6.n;
	if (value->pairs)
		scope->n_entries += value->pairs->n;
	if (scope->n_entries <= FW_MAX_ENTRIES)
		return true;
	fw_report_error(&scope->c->rep, symbol->name,
			"the defines and sets have more than %u ranges",
			FW_MAX_ENTRIES);
	return false;
}

/* What a name is made of; of a replaced set that is another text. */
static bool read_parts(struct fw_scope *scope, const struct fw_symbol *symbol,
		       enum fw_field field, struct fw_parts *ret)
{
	bool is_good;

	if (!symbol->replaced)
		return fw_resolve(scope, field, symbol->item, ret);
	is_good = fw_resolve_lines(scope, field, symbol->replaced - 1, ret);
	fw_value_merge(&ret->literals);
	return is_good;
}

/* Without names in it the value is what is written there: no need of a copy. */
static bool take_value(struct fw_scope *scope, enum fw_field field,
		       struct fw_parts *parts, struct fw_value *ret)
{
	if (parts->n_refs)
		return fw_parts_value(scope, field, parts, ret);
	*ret = parts->literals;
	parts->literals = (struct fw_value){ 0 };
	return true;
}

/* What a replacement will need to know. */
static bool keep_parts(struct fw_scope *scope, struct fw_symbol *symbol,
		       struct fw_parts *parts)
{
	if (!fw_symbol_is_variable(symbol))
		return true;
	symbol->parts = malloc(sizeof(*symbol->parts));
	if (!symbol->parts) {
		scope->c->rep.is_broken = true;
		return false;
	}
	*symbol->parts = *parts;
	*parts = (struct fw_parts){ 0 };
	return true;
}

static struct fw_value *work_out(struct fw_scope *scope,
				 struct fw_symbol *symbol, enum fw_field field)
{
	struct fw_parts parts = { .owner = symbol };
	struct fw_value *value;
	bool is_good;

	value = calloc(1, sizeof(*value));
	if (!value) {
		scope->c->rep.is_broken = true;
		return NULL;
	}
	is_good = read_parts(scope, symbol, field, &parts) &&
		  take_value(scope, field, &parts, value) &&
		  fw_addrport_merge(scope, symbol->name, value) &&
		  check_set(scope, symbol, value) &&
		  has_room(scope, symbol, value) &&
		  keep_parts(scope, symbol, &parts);
	fw_parts_done(&parts);
	if (is_good)
		return value;
	fw_value_done(value);
	free(value);
	return NULL;
}

const struct fw_value *fw_symbol_value(struct fw_scope *scope,
				       struct fw_symbol *symbol,
				       enum fw_field field)
{
	if (symbol->state != FW_SYMBOL_GOOD || symbol->has_failed[field])
		return NULL;
	if (!symbol->values[field]) {
		symbol->values[field] = work_out(scope, symbol, field);
		symbol->has_failed[field] = !symbol->values[field];
	}
	return symbol->values[field];
}
