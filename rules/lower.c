/* SPDX-License-Identifier: GPL-2.0-only */

/* From checked rules to the flat intermediate form. */
#include "lower.h"

#include <stdlib.h>
#include <string.h>

#include "addrport.h"
#include "ast_rule.h"
#include "canon.h"
#include "ir.h"
#include "mem.h"
#include "str.h"

/* ---- the fields of a row ------------------------------------------------- */

/* Which flag says that a term is negated. */
static const struct {
	enum fw_term_id term;
	uint32_t flag;
} negations[] = {
	{ FW_TERM_IN, FW_ROW_NOT_IN },
	{ FW_TERM_OUT, FW_ROW_NOT_OUT },
	{ FW_TERM_SRC, FW_ROW_NOT_SRC },
	{ FW_TERM_DST, FW_ROW_NOT_DST },
	{ FW_TERM_SPORT, FW_ROW_NOT_SPORT },
	{ FW_TERM_DPORT, FW_ROW_NOT_DPORT },
};

/* What a rule says of offload, or else the option: of what makes forwarded flows. */
static uint32_t offload_flags(const struct fw_program *program,
			      const struct fw_ast_rule *ast)
{
	uint8_t said = ast->offload_at.len ? ast->offload : program->offload;
	uint32_t flags = 0;

	if (ast->verdict != FW_ACCEPT || ast->dir != FW_DIR_FORWARD ||
	    ast->is_stateless || (ast->ipsec_at.len && !ast->is_not_ipsec))
		return 0; /* XDP sees no packet that comes out of an SA */
	if (said & FW_RESULT_OFFLOAD)
		flags |= FW_ROW_OFFLOAD;
	if (said & FW_RESULT_OFFLOAD_FIRST)
		flags |= FW_ROW_OFFLOAD_FIRST;
	return flags;
}

static uint32_t row_flags(const struct fw_program *program,
			  const struct fw_checked_rule *rule)
{
	const struct fw_term *t = rule->terms;
	uint32_t flags = offload_flags(program, rule->ast);
	size_t i;

	for (i = 0; i < ARRAY_SIZE(negations); i++) {
		const struct fw_term *term = &t[negations[i].term];

		if (term->is_given && term->is_negated)
			flags |= negations[i].flag;
	}
	if (rule->ast->has_log)
		flags |= FW_ROW_LOG;
	if (rule->ast->is_stateless)
		flags |= FW_ROW_STATELESS;
	if (t[FW_TERM_TYPE].is_given)
		flags |= FW_ROW_ICMP;
	if (t[FW_TERM_TYPE].is_given || t[FW_TERM_SPORT].is_given ||
	    t[FW_TERM_DPORT].is_given || t[FW_TERM_SRC].pairs ||
	    t[FW_TERM_DST].pairs)
		flags |= FW_ROW_NAMED;
	if (rule->ast->ipsec_at.len)
		flags |= rule->ast->is_not_ipsec ? FW_ROW_NOT_IPSEC
						 : FW_ROW_IPSEC;
	return flags;
}

static uint64_t zone_mask(const struct fw_term *term)
{
	const struct fw_ranges *ranges = &term->value.v4;
	uint64_t mask = 0;
	uint64_t zone;
	size_t i;

	if (!term->is_given)
		return 0;
	for (i = 0; i < ranges->n; i++) {
		for (zone = ranges->r[i].first_lo; zone <= ranges->r[i].last_lo;
		     zone++)
			mask |= (uint64_t)1 << zone;
	}
	return mask;
}

/* Types and codes of one family as a set of type << 8 | code; -1: none. */
static int32_t lower_types(struct fw_scope *scope, struct fw_set_pool *pool,
			   const struct fw_checked_rule *rule,
			   const struct fw_ranges *types,
			   const struct fw_ranges *codes)
{
	bool has_code = rule->terms[FW_TERM_CODE].is_given;
	struct fw_ir_set set = { 0 };
	int32_t number;
	size_t i, k;
	int r = 0;

	if (types->n == 0)
		return -1;
	for (i = 0; i < types->n && !has_code && r == 0; i++) {
		r = fw_ranges_add_small(&set.port, types->r[i].first_lo << 8,
					types->r[i].last_lo << 8 | 0xff);
	}
	for (k = 0; k < codes->n && has_code && r == 0; k++) {
		r = fw_ranges_add_small(
			&set.port,
			types->r[0].first_lo << 8 | codes->r[k].first_lo,
			types->r[0].first_lo << 8 | codes->r[k].last_lo);
	}
	if (r < 0) {
		scope->c->rep.is_broken = true;
		fw_ir_set_done(&set);
		return FW_SET_FAILED;
	}
	fw_ranges_merge(&set.port);
	number = fw_set_pool_add(pool, scope, &set, rule->at);
	fw_ir_set_done(&set);
	return number;
}

static void lower_l4(struct fw_scope *scope, struct fw_set_pool *pool,
		     const struct fw_checked_rule *rule, struct fw_ir_row *row)
{
	const struct fw_value *type = &rule->terms[FW_TERM_TYPE].value;
	const struct fw_value *code = &rule->terms[FW_TERM_CODE].value;

	if (!(row->flags & FW_ROW_ICMP)) {
		row->l4a = rule->terms[FW_TERM_SPORT].set;
		row->l4b = rule->terms[FW_TERM_DPORT].set;
		return;
	}
	/* A family that the rule does not match must not look like "any". */
	row->l4a = -1;
	row->l4b = -1;
	if (row->given_families & FW_FAMILY_IPV4)
		row->l4a = lower_types(scope, pool, rule, &type->v4, &code->v4);
	if (row->given_families & FW_FAMILY_IPV6)
		row->l4b = lower_types(scope, pool, rule, &type->v6, &code->v6);
}

/* ---- texts of a row ------------------------------------------------------ */

/* Strings that are built for each rule in turn. */
struct scratch {
	struct fw_str text;
	struct fw_str label;
};

static const char *keep(struct fw_program *program, const struct fw_str *str)
{
	if (str->is_broken)
		return NULL;
	return fw_arena_text(program->arena, str->s, str->n);
}

static const char *keep_span(const struct fw_scope *scope,
			     struct fw_program *program, struct fw_span at)
{
	return fw_arena_text(program->arena,
			     fw_span_text(&scope->c->sources, at), at.len);
}

static bool lower_texts(const struct fw_scope *scope,
			const struct fw_checked_rule *rule,
			struct scratch *scratch, struct fw_program *program,
			struct fw_ir_row *row)
{
	const struct fw_sources *sources = &scope->c->sources;
	struct fw_place place = fw_sources_place(sources, rule->at);
	struct fw_span label = rule->ast->label;
	struct fw_str *text = &scratch->text;

	fw_str_clear(text);
	fw_str_clear(&scratch->label);
	fw_canon_rule(scope, rule, text);
	if (text->is_broken)
		return false;
	row->line = place.line;
	row->column = place.column;
	/* The program keeps the files. */
	row->file = sources->texts[rule->at.file].name;
	if (label.len) {
		row->label = keep_span(scope, program, label);
		fw_str_puts(text, " label ");
		fw_str_add(text, fw_span_text(sources, label), label.len);
	} else {
		fw_canon_label(scope, rule, text->s, text->n, &scratch->label);
		row->label = keep(program, &scratch->label);
	}
	row->text = keep(program, text);
	if (rule->ast->prefix.len)
		row->prefix = keep_span(scope, program, rule->ast->prefix);
	return row->label && row->text &&
	       (row->prefix || !rule->ast->prefix.len);
}

/* ---- rows ---------------------------------------------------------------- */

static void lower_rule(struct fw_scope *scope, struct fw_set_pool *pool,
		       const struct fw_checked_rule *rule,
		       struct scratch *scratch, struct fw_program *program,
		       struct fw_span **places)
{
	const struct fw_term *t = rule->terms;
	struct fw_ir_row *row;

	row = fw_program_add_row(program, places, rule->at);
	if (!row) {
		scope->c->rep.is_broken = true;
		return;
	}
	program->n_rules++;
	row->verdict = rule->ast->verdict;
	row->dirs = (uint8_t)(1u << rule->ast->dir);
	row->given_families = rule->given_families;
	row->flags = row_flags(program, rule);
	row->reqid = rule->ast->reqid;
	row->in_zones = zone_mask(&t[FW_TERM_IN]);
	row->out_zones = zone_mask(&t[FW_TERM_OUT]);
	memcpy(row->protos, rule->protos, sizeof(row->protos));
	row->src = t[FW_TERM_SRC].set;
	row->dst = t[FW_TERM_DST].set;
	lower_l4(scope, pool, rule, row);
	row->families = fw_families_now(pool->sets, row);
	if (!lower_texts(scope, rule, scratch, program, row))
		scope->c->rep.is_broken = true;
	fw_addrport_expand(scope, pool, rule, program, places);
}

struct fw_span *fw_lower_rules(struct fw_scope *scope, const struct fw_ast *ast,
			       struct fw_set_pool *pool,
			       struct fw_program *program)
{
	struct fw_span *places = NULL;
	struct scratch scratch = { 0 };
	const struct fw_packed_rule *packed;
	struct fw_ast_view view;
	size_t n = 0;

	for (packed = ast->first_rule; packed; packed = packed->next) {
		struct fw_checked_rule rule = { 0 };

		if (fw_report_is_full(&scope->c->rep))
			break;
		if (n++ == FW_MAX_RULES) {
			fw_report_error(&scope->c->rep, packed->at,
					"more than %d rules", FW_MAX_RULES);
			fw_report_hint(
				&scope->c->rep,
				"many rules that differ in one address or port are one rule with a list or a set");
			break;
		}
		fw_ast_view_rule(packed, &view);
		if (fw_check_rule(scope, pool, &view.rule, packed->at, &rule))
			lower_rule(scope, pool, &rule, &scratch, program,
				   &places);
		fw_checked_rule_done(&rule);
	}
	fw_str_done(&scratch.text);
	fw_str_done(&scratch.label);
	return places;
}

/* ---- names --------------------------------------------------------------- */

static void lower_define(struct fw_scope *scope, const struct fw_symbol *symbol,
			 struct fw_program *program)
{
	char **defines;
	char *text;

	text = fw_canon_define(scope, symbol);
	defines = fw_mem_grow(program->defines, program->n_defines,
			      sizeof(*defines));
	if (defines)
		program->defines = defines;
	if (!text || !defines) {
		free(text);
		scope->c->rep.is_broken = true;
		return;
	}
	defines[program->n_defines++] = text;
}

/* Its content is a set of the program, or pairs of them. */
static void set_content(struct fw_scope *scope, struct fw_set_pool *pool,
			struct fw_symbol *symbol, struct fw_program *program,
			struct fw_named_set *ret)
{
	const struct fw_ir_set *set = &pool->sets[symbol->number];

	if (symbol->holds_pairs) {
		(void)fw_addrport_content(scope, pool, symbol, program->arena,
					  ret);
		return;
	}
	*ret = (struct fw_named_set){
		.v4 = set->v4.n,
		.v6 = set->v6.n,
		.ports = set->port.n,
		.set = (int32_t)symbol->number,
		.holds_ports = symbol->holds_ports,
	};
}

static void lower_set(struct fw_scope *scope, struct fw_set_pool *pool,
		      struct fw_symbol *symbol, struct fw_program *program)
{
	const struct fw_sources *sources = &scope->c->sources;
	const char *file = sources->texts[symbol->name.file].name;
	struct fw_named_set content = { .set = -1 };
	struct fw_named_set *named;

	set_content(scope, pool, symbol, program, &content);

	named = fw_mem_grow(program->named_sets, program->n_named_sets,
			    sizeof(*named));
	if (!named) {
		scope->c->rep.is_broken = true;
		return;
	}
	program->named_sets = named;
	named += program->n_named_sets++;
	*named = content;
	named->name = fw_mem_dup(fw_span_text(sources, symbol->name),
				 symbol->name.len);
	named->file = fw_mem_dup(file, strlen(file));
	named->line = fw_sources_place(sources, symbol->name).line;
	if (!named->name || !named->file)
		scope->c->rep.is_broken = true;
}

#define SEVERAL UINT32_MAX

/* Which files are part of a set; one that is in pairs stays in use. */
static void note_files(const struct fw_item *item, uint32_t set, uint32_t *sets)
{
	const struct fw_item *sub;

	switch (item->kind) {
	case FW_ITEM_FILE:
		sets[item->file] = sets[item->file] ? SEVERAL : set;
		break;
	case FW_ITEM_PAIR:
		set = SEVERAL;
		/* fall through */
	case FW_ITEM_LIST:
		for (sub = item->first; sub; sub = sub->next)
			note_files(sub, set, sets);
		break;
	case FW_ITEM_WORD:
	case FW_ITEM_DEFINE:
	case FW_ITEM_SET:
		break;
	}
}

/* Which texts are of no use any more when a set is replaced. */
static bool find_text_sets(const struct fw_scope *scope,
			   struct fw_program *program)
{
	size_t i, n = scope->c->sources.n;
	uint32_t *sets;

	sets = calloc(n, sizeof(*sets));
	if (!sets)
		return false;
	program->text_sets = sets;
	for (i = 0; i < scope->sets.n; i++) {
		if (scope->sets.s[i].item)
			note_files(scope->sets.s[i].item, (uint32_t)i + 1,
				   sets);
	}
	for (i = 0; i < n; i++)
		sets[i] = sets[i] == SEVERAL ? 0 : sets[i];
	return true;
}

void fw_lower_sets(struct fw_scope *scope, struct fw_set_pool *pool,
		   struct fw_program *program)
{
	size_t i;

	fw_set_pool_add_named(pool, scope);
	for (i = 0; i < scope->sets.n && !scope->c->rep.is_broken; i++)
		lower_set(scope, pool, &scope->sets.s[i], program);
	if (!find_text_sets(scope, program))
		scope->c->rep.is_broken = true;
}

void fw_lower_defines(struct fw_scope *scope, struct fw_program *program)
{
	size_t i;

	/* Now that all rules have asked for what they name. */
	for (i = 0; i < program->n_named_sets; i++)
		program->named_sets[i].is_fixed = scope->sets.s[i].is_fixed;

	for (i = 0; i < scope->defines.n; i++) {
		if (fw_report_is_full(&scope->c->rep))
			return;
		if (scope->defines.s[i].state == FW_SYMBOL_GOOD)
			lower_define(scope, &scope->defines.s[i], program);
	}
}
