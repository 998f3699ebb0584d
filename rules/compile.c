/* SPDX-License-Identifier: GPL-2.0-only */

/* One compilation: the stages, in order. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "compiler.h"
#include "ir.h"
#include "lower.h"
#include "mem.h"
#include "parse.h"
#include "pass.h"
#include "timeout.h"

static struct fw_program *new_program(void)
{
	struct fw_program *program;

	program = calloc(1, sizeof(*program));
	if (!program)
		return NULL;
	program->arena = calloc(1, sizeof(*program->arena));
	if (!program->arena) {
		free(program);
		return NULL;
	}
	program->default_verdict[FW_DIR_IN] = FW_DROP;
	program->default_verdict[FW_DIR_OUT] = FW_ACCEPT;
	program->default_verdict[FW_DIR_FORWARD] = FW_DROP;
	fw_timeouts_init(program);
	program->adopt_s = FW_ADOPT_DEFAULT;
	program->mark_shift = FW_MARK_SHIFT;
	program->esp_grace = FW_ESP_GRACE_DEFAULT;
	return program;
}

/* Without a program the caller's text is there long enough. */
static bool is_main_borrowed(const struct fw_compiler *c)
{
	return c->options->only_texts;
}

static void keep_it(struct fw_text_owner *owner)
{
	(void)owner;
}

/* A text that is too large is not copied: its name is enough to say so. */
static int copy_main(const struct fw_compiler *c, const char *name,
		     const char *data, size_t len, struct fw_text *ret)
{
	static struct fw_text_owner caller = { .release = keep_it };

	ret->name = fw_mem_dup(name, strlen(name));
	ret->len = len;
	if (is_main_borrowed(c)) {
		ret->data = (char *)(uintptr_t)data;
		ret->owner = &caller;
	} else {
		ret->data = fw_mem_dup(data, len <= FW_MAX_TEXT ? len : 0);
	}
	return ret->name && ret->data ? 0 : -ENOMEM;
}

static int add_main(struct fw_compiler *c, const char *name, const char *data,
		    size_t len)
{
	struct fw_text text = { 0 };
	const char *reason;
	bool is_large;
	int r;

	if (data)
		r = copy_main(c, name, data, len, &text);
	else
		r = c->read(c->ctx, name, &text, &reason);
	if (r < 0) {
		fw_text_done(&text);
		return r;
	}
	is_large = text.len > FW_MAX_TEXT;
	if (is_large)
		text.len = 0;
	r = fw_sources_add(&c->sources, &text);
	if (r >= 0 && is_large) {
		fw_report_error(&c->rep, (struct fw_span){ .len = 1 },
				"the files have more than %u MB",
				FW_MAX_TEXT >> 20);
	}
	return r;
}

/* They belong to their sets, not to the files of the rules. */
static void take_replaced(struct fw_scope *scope, struct fw_program *program)
{
	struct fw_sources *sources = &scope->c->sources;
	size_t i, n = sources->n;

	for (i = 0; i < program->n_named_sets; i++) {
		uint32_t file = scope->sets.s[i].replaced;

		if (!file)
			continue;
		program->named_sets[i].replaced = sources->texts[file - 1];
		sources->texts[file - 1] = (struct fw_text){ 0 };
		if (file - 1 < n)
			n = file - 1;
	}
	sources->n = n;
}

/* Entries of names whose values never change. */
static size_t count_fixed(const struct fw_scope *scope,
			  const struct fw_program *program)
{
	size_t n = scope->n_entries;
	size_t i;

	for (i = 0; i < program->n_sets; i++) {
		const struct fw_ir_set *set = &program->sets[i];

		if (set->origin && set->origin->is_name)
			n -= set->v4.n + set->v6.n + set->port.n;
	}
	return n;
}

static bool is_right(const struct fw_compiler *c)
{
	return !c->rep.diag->errors && !c->rep.is_broken;
}

/* False: whoever wanted the files has them, and that is enough. */
static bool tell_read_all(struct fw_compiler *c)
{
	if (!c->options->read_all || !is_right(c))
		return true;
	return c->options->read_all(c->ctx, c->sources.texts, c->sources.n);
}

/*
 * Everything behind the syntax tree.
 *
 * Returns the place of each row, to be freed.
 */
static struct fw_span *understand(struct fw_compiler *c,
				  const struct fw_ast *ast,
				  struct fw_program *program)
{
	/* A rule has words for which there are no sets, and some are the same. */
	struct fw_set_pool pool = { .arena = program->arena,
				    .n_expected = ast->n_items / 2 };
	struct fw_scope scope;
	struct fw_rows rows = { .rep = &c->rep,
				.program = program,
				.options = c->options };

	program->n_expected = ast->n_rules;
	fw_scope_init(&scope, c);
	fw_check_statements(&scope, ast, program);
	fw_lower_sets(&scope, &pool, program);
	rows.places = fw_lower_rules(&scope, ast, &pool, program);
	fw_lower_defines(&scope, program);
	program->sets = take_ptr(pool.sets);
	program->n_sets = pool.n;
	fw_set_pool_done(&pool);
	program->n_fixed_entries = count_fixed(&scope, program);

	fw_run_passes(&rows);
	fw_program_sum_offload(program);
	fw_program_sum_ipsec(program);
	if (c->rep.diag->errors == 0)
		fw_check_unused(&scope);
	if (is_right(c))
		take_replaced(&scope, program);
	fw_scope_done(&scope);
	return rows.places;
}

/* The program is complete, its texts are still quoted by messages. */
static void look_for_warnings(struct fw_compiler *c, struct fw_program *program,
			      struct fw_span *places)
{
	const struct fw_rows rows = { .rep = &c->rep,
				      .program = program,
				      .places = places,
				      .options = c->options };
	bool is_enough =
		c->options->accepted && !c->options->accepted(c->ctx, program);

	if (!is_enough)
		fw_run_late_passes(&rows);
}

/* From the texts to a program, or to what is wrong with them. */
static int compile(struct fw_compiler *c, struct fw_program *program)
{
	struct fw_span *places = NULL;
	struct fw_ast ast;

	if (is_right(c)) {
		fw_parse(c, &ast);
		if (!tell_read_all(c) ||
		    (c->options->only_texts && is_right(c)))
			return -ECANCELED;
		if (!fw_report_is_full(&c->rep) && !c->options->only_texts)
			places = understand(c, &ast, program);
	}
	if (is_right(c)) {
		program->texts = c->sources.texts;
		program->n_texts = c->sources.n;
		/* What comes now takes its place. */
		fw_arena_done(&c->arena);
		look_for_warnings(c, program, places);
		/* Somebody may have seen it: it is there, with warnings or without. */
		c->sources.texts = NULL;
		c->sources.n = 0;
		c->rep.is_broken = false;
	}
	free(places);
	fw_report_sort(&c->rep);
	if (c->rep.is_broken)
		return -ENOMEM;
	return c->rep.diag->errors ? -EINVAL : 0;
}

int fw_compile(const char *main_name, const char *main_text, size_t main_len,
	       fw_read_fn read, void *ctx, struct fw_diag *diag,
	       struct fw_program **ret)
{
	const struct fw_options options = { 0 };

	return fw_compile_with(&options, main_name, main_text, main_len, read,
			       ctx, diag, ret);
}

int fw_compile_with(const struct fw_options *options, const char *main_name,
		    const char *main_text, size_t main_len, fw_read_fn read,
		    void *ctx, struct fw_diag *diag, struct fw_program **ret)
{
	struct fw_compiler c = { .options = options, .read = read, .ctx = ctx };
	struct fw_program *program;
	int r;

	c.rep.diag = diag;
	c.rep.sources = &c.sources;
	program = new_program();
	if (!program)
		return -ENOMEM;
	r = add_main(&c, main_name, main_text, main_len);
	if (r >= 0)
		r = compile(&c, program);
	if (r == 0)
		*ret = program;
	else
		fw_program_free(program);
	fw_arena_done(&c.arena);
	fw_sources_done(&c.sources);
	return r;
}

typedef void (*report_fn)(struct fw_reporter *rep, struct fw_span at,
			  const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int report_at(const struct fw_program *program, struct fw_span at,
		     struct fw_diag *diag, report_fn report, const char *text)
{
	struct fw_sources sources = { .texts = program->texts,
				      .n = program->n_texts };
	struct fw_reporter rep = { .diag = diag,
				   .sources = &sources,
				   .is_urgent = true };

	if (at.file >= sources.n || at.off > sources.texts[at.file].len ||
	    at.len > sources.texts[at.file].len - at.off)
		return -EINVAL;
	sources.cursors = calloc(sources.n, sizeof(*sources.cursors));
	if (!sources.cursors)
		return -ENOMEM;
	sources.cursors[at.file].line = 1;
	report(&rep, at, "%s", text);
	free(sources.cursors);
	return rep.is_broken ? -ENOMEM : 0;
}

int fw_program_error(const struct fw_program *program, struct fw_span at,
		     struct fw_diag *diag, const char *text)
{
	return report_at(program, at, diag, fw_report_error, text);
}

int fw_program_warning(const struct fw_program *program, struct fw_span at,
		       struct fw_diag *diag, const char *text)
{
	return report_at(program, at, diag, fw_report_warning, text);
}
