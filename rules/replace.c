/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Other content for a named set of a compiled program.
 *
 * What a set is part of is known (rules/origin.h), so only that is worked out
 * again: the sets, the families of the rows that have them, and which rows
 * decide for others, which is forgotten rather than searched for again. Passes
 * that leave something out keep off sets that may be replaced. The new content
 * is made aside and exchanged with the old one, so that it can be taken back.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "addr.h"
#include "compiler.h"
#include "field.h"
#include "file.h"
#include "mem.h"
#include "origin.h"
#include "resolve.h"
#include "sets.h"

/* A set and its other content. */
struct set_change {
	uint32_t number;
	struct fw_ir_set set;
};

/* A row and what is different in it. */
struct row_change {
	uint32_t number;
	uint32_t decided_by;
	uint8_t families;
};

struct fw_replacement {
	size_t named; /* the named set */
	struct fw_text text;
	struct set_change *sets;
	size_t n_sets;
	struct row_change *rows;
	size_t n_rows;
};

/* What is known of a set while a replacement is made. */
enum state {
	UNKNOWN,
	SAME,
	CHANGED,
};

struct work {
	const struct fw_program *program;
	struct fw_replacement *replacement;
	uint8_t *states;   /* enum state of each set */
	uint32_t *changes; /* of a set that is CHANGED: its place among them */
};

/* ---- names ---------------------------------------------------------------- */

const struct fw_named_set *fw_program_set(const struct fw_program *program,
					  const char *name)
{
	size_t i;

	for (i = 0; i < program->n_named_sets; i++) {
		if (strcmp(program->named_sets[i].name, name) == 0)
			return &program->named_sets[i];
	}
	return NULL;
}

const struct fw_named_set *
fw_program_nearest_set(const struct fw_program *program, const char *name)
{
	struct fw_nearest nearest = fw_nearest_to(name, strlen(name));
	size_t i;

	for (i = 0; i < program->n_named_sets; i++)
		fw_nearest_try_word(&nearest, program->named_sets[i].name);
	return nearest.best ? fw_program_set(program, nearest.best) : NULL;
}

/* ---- reading -------------------------------------------------------------- */

/* The first entry tells a file that was meant for another set. */
static bool check_kind(struct fw_scope *scope, const struct fw_named_set *named)
{
	const struct fw_text *text = &scope->c->sources.texts[0];
	struct fw_span at = fw_resolve_first(text, 0);
	struct fw_address address;
	const char *s = text->data + at.off;
	uint32_t i = 0;

	while (i < at.len && s[i] != '/' && s[i] != '-')
		i++;
	if (!named->holds_ports && fw_field_is_port(s, at.len)) {
		fw_report_error(&scope->c->rep, at,
				"set '%s' holds addresses, and this is a port",
				named->name);
		return false;
	}
	if (named->holds_ports && fw_addr_parse(s, i, &address)) {
		fw_report_error(&scope->c->rep, at,
				"set '%s' holds ports, and this is an address",
				named->name);
		return false;
	}
	return true;
}

/* Parse the text as the content of a named set. */
static int read_text(const struct fw_named_set *named,
		     const struct fw_text *text, struct fw_diag *diag,
		     struct fw_value *ret)
{
	struct fw_text borrowed = *text;
	struct fw_cursor cursor = { .line = 1 };
	struct fw_parts parts = { 0 };
	struct fw_compiler c = {
		.sources = { .texts = &borrowed, .cursors = &cursor, .n = 1 },
		.rep = { .diag = diag },
	};
	struct fw_scope scope;

	c.rep.sources = &c.sources;
	fw_scope_init(&scope, &c);
	if (text->len > FW_MAX_TEXT) {
		fw_report_error(&c.rep, (struct fw_span){ .len = 1 },
				"the file has more than %u MB",
				FW_MAX_TEXT >> 20);
	} else if (fw_file_is_text(&c, 0) && check_kind(&scope, named)) {
		(void)fw_resolve_lines(&scope,
				       named->holds_ports ? FW_FIELD_PORT
							  : FW_FIELD_ADDRESS,
				       0, &parts);
		fw_value_merge(&parts.literals);
	}
	*ret = parts.literals;
	fw_report_sort(&c.rep);
	fw_arena_done(&c.arena);
	fw_scope_done(&scope);
	if (c.rep.is_broken)
		return -ENOMEM;
	return diag->errors ? -EINVAL : 0;
}

/* ---- sets ----------------------------------------------------------------- */

/* Others are no part of it any more. */
static const struct fw_set_origin no_others = { .is_name = true };

static bool add_change(struct work *work, int32_t number,
		       const struct fw_ir_set *set)
{
	struct fw_replacement *r = work->replacement;
	struct set_change *changes;

	changes = fw_mem_grow(r->sets, r->n_sets, sizeof(*changes));
	if (!changes)
		return false;
	r->sets = changes;
	work->states[number] = CHANGED;
	work->changes[number] = (uint32_t)r->n_sets;
	changes[r->n_sets++] = (struct set_change){ (uint32_t)number, *set };
	return true;
}

/* A set as it is going to be. */
static const struct fw_ir_set *set_after(const struct work *work,
					 int32_t number)
{
	if (work->states[number] == CHANGED)
		return &work->replacement->sets[work->changes[number]].set;
	return &work->program->sets[number];
}

static bool add_part(struct fw_ir_set *set, const struct fw_ranges *v4,
		     const struct fw_ranges *v6, const struct fw_ranges *port,
		     bool has_self)
{
	set->has_self |= has_self;
	return fw_ranges_add_all(&set->v4, v4) == 0 &&
	       fw_ranges_add_all(&set->v6, v6) == 0 &&
	       fw_ranges_add_all(&set->port, port) == 0;
}

/* Put a set together again, of what stands there and the others in it. */
static bool rebuild(struct work *work, int32_t number)
{
	const struct fw_set_origin *o = work->program->sets[number].origin;
	struct fw_ir_set set = { .is_heap = true, .origin = o };
	bool is_good;
	size_t i;

	is_good = add_part(&set, &o->v4, &o->v6, &o->port, o->has_self);
	for (i = 0; i < o->n && is_good; i++) {
		const struct fw_ir_set *part = set_after(work, o->from[i]);

		is_good = add_part(&set, &part->v4, &part->v6, &part->port,
				   part->has_self);
	}
	fw_ranges_merge(&set.v4);
	fw_ranges_merge(&set.v6);
	fw_ranges_merge(&set.port);
	is_good = is_good && add_change(work, number, &set);
	if (!is_good)
		fw_ir_set_free_heap(&set);
	return is_good;
}

/* Is this set another one then?  Names are at most FW_MAX_NAME_DEPTH deep. */
static bool follow(struct work *work, int32_t number)
{
	const struct fw_set_origin *o = work->program->sets[number].origin;
	bool is_changed = false;
	size_t i;

	if (work->states[number] != UNKNOWN)
		return true;
	for (i = 0; o && i < o->n; i++) {
		if (!follow(work, o->from[i]))
			return false;
		is_changed |= work->states[o->from[i]] == CHANGED;
	}
	if (is_changed)
		return rebuild(work, number);
	work->states[number] = SAME;
	return true;
}

static bool follow_all(struct work *work)
{
	size_t i;

	for (i = 0; i < work->program->n_sets; i++) {
		if (!follow(work, (int32_t)i))
			return false;
	}
	return true;
}

/* The limits of a compilation, which has to succeed when the daemon starts. */
static bool has_room(const struct work *work)
{
	size_t n_entries = work->program->n_fixed_entries;
	size_t n_ranges = 0;
	size_t i;

	for (i = 0; i < work->program->n_sets; i++) {
		const struct fw_ir_set *set = set_after(work, (int32_t)i);
		size_t n = set->v4.n + set->v6.n + set->port.n;

		n_ranges += n;
		if (set->origin && set->origin->is_name)
			n_entries += n;
	}
	return n_entries <= FW_MAX_ENTRIES && n_ranges <= FW_MAX_RANGES;
}

/* ---- rows ----------------------------------------------------------------- */

static bool has_changed(const struct work *work, const struct fw_ir_row *row)
{
	const int32_t sets[] = { row->src, row->dst, row->l4a, row->l4b };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sets); i++) {
		if (sets[i] >= 0 && work->states[sets[i]] == CHANGED)
			return true;
	}
	return false;
}

static uint8_t families_after(const struct work *work,
			      const struct fw_ir_row *row)
{
	struct fw_ir_set sets[2] = { 0 };
	struct fw_ir_row twin = *row;

	if (row->src >= 0) {
		sets[0] = *set_after(work, row->src);
		twin.src = 0;
	}
	if (row->dst >= 0) {
		sets[1] = *set_after(work, row->dst);
		twin.dst = 1;
	}
	return fw_families_now(sets, &twin);
}

static bool follow_row(struct work *work, size_t number)
{
	const struct fw_ir_row *row = &work->program->rows[number];
	struct fw_replacement *r = work->replacement;
	uint32_t decided_by = row->decided_by;
	bool is_changed = has_changed(work, row);
	struct row_change *rows;

	if (decided_by &&
	    (is_changed ||
	     has_changed(work, &work->program->rows[decided_by - 1])))
		decided_by = 0;
	if (!is_changed && decided_by == row->decided_by)
		return true;
	rows = fw_mem_grow(r->rows, r->n_rows, sizeof(*rows));
	if (!rows)
		return false;
	r->rows = rows;
	rows[r->n_rows++] = (struct row_change){
		.number = (uint32_t)number,
		.decided_by = decided_by,
		.families = families_after(work, row),
	};
	return true;
}

static bool follow_rows(struct work *work)
{
	size_t i;

	for (i = 0; i < work->program->n_rows; i++) {
		if (!follow_row(work, i))
			return false;
	}
	return true;
}

/* ---- all ------------------------------------------------------------------ */

static bool start_work(struct work *work, const struct fw_program *program,
		       struct fw_replacement *replacement)
{
	*work = (struct work){
		.program = program,
		.replacement = replacement,
		.states = calloc(program->n_sets + 1, sizeof(*work->states)),
		.changes = calloc(program->n_sets + 1, sizeof(*work->changes)),
	};
	return work->states && work->changes;
}

/* The value becomes the content of the named set; its ranges are taken. */
static int derive(const struct fw_program *program,
		  const struct fw_named_set *named, struct fw_value *value,
		  struct fw_replacement *replacement)
{
	struct fw_ir_set set = { .has_self = value->has_self,
				 .is_heap = true,
				 .origin = &no_others };
	struct work work;
	int r = -ENOMEM;

	if (named->holds_ports) {
		set.port = value->v4;
	} else {
		set.v4 = value->v4;
		set.v6 = value->v6;
	}
	if (start_work(&work, program, replacement) &&
	    add_change(&work, named->set, &set)) {
		*value = (struct fw_value){ 0 };
		if (follow_all(&work))
			r = has_room(&work) ? 0 : -E2BIG;
		if (r == 0 && !follow_rows(&work))
			r = -ENOMEM;
	}
	free(work.states);
	free(work.changes);
	return r;
}

int fw_replacement_new(const struct fw_program *program,
		       const struct fw_named_set *set, struct fw_text *text,
		       struct fw_diag *diag, struct fw_replacement **ret)
{
	struct fw_replacement *replacement;
	struct fw_value value = { 0 };
	int r = -ENOMEM;

	replacement = calloc(1, sizeof(*replacement));
	if (!replacement) {
		fw_text_done(text);
	} else {
		replacement->named = (size_t)(set - program->named_sets);
		replacement->text = *text;
		r = read_text(set, text, diag, &value);
		if (r == 0)
			r = derive(program, set, &value, replacement);
	}
	*text = (struct fw_text){ 0 };
	fw_value_done(&value);
	if (r < 0) {
		fw_replacement_free(replacement);
		return r;
	}
	*ret = replacement;
	return 0;
}

#define SWAP(a, b)                            \
	do {                                  \
		__typeof__(a) swap_tmp = (a); \
		(a) = (b);                    \
		(b) = swap_tmp;               \
	} while (0)

static void count_ranges(const struct fw_program *program,
			 struct fw_named_set *named)
{
	const struct fw_ir_set *set = &program->sets[named->set];

	named->v4 = set->v4.n;
	named->v6 = set->v6.n;
	named->ports = set->port.n;
}

void fw_replacement_swap(struct fw_program *program,
			 struct fw_replacement *replacement)
{
	size_t i;

	SWAP(program->named_sets[replacement->named].replaced,
	     replacement->text);
	for (i = 0; i < replacement->n_sets; i++) {
		struct set_change *change = &replacement->sets[i];

		SWAP(program->sets[change->number], change->set);
	}
	for (i = 0; i < replacement->n_rows; i++) {
		struct row_change *change = &replacement->rows[i];
		struct fw_ir_row *row = &program->rows[change->number];

		SWAP(row->decided_by, change->decided_by);
		SWAP(row->families, change->families);
	}
	for (i = 0; i < program->n_named_sets; i++) {
		if (!fw_named_set_has_pairs(&program->named_sets[i]))
			count_ranges(program, &program->named_sets[i]);
	}
}

void fw_replacement_free(struct fw_replacement *replacement)
{
	size_t i;

	if (!replacement)
		return;
	for (i = 0; i < replacement->n_sets; i++)
		fw_ir_set_free_heap(&replacement->sets[i].set);
	free(replacement->sets);
	free(replacement->rows);
	fw_text_done(&replacement->text);
	free(replacement);
}
