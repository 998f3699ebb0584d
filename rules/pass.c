/* SPDX-License-Identifier: GPL-2.0-only */

/* What is done with the rows when all of them are there. */
#include "pass.h"

#include "mem.h"
#include "ranges.h"
#include "shadow.h"

/* ---- terms that say nothing ---------------------------------------------- */

static bool is_all_v4(const struct fw_ir_set *set)
{
	return fw_ranges_is(&set->v4, (struct fw_u128){ 0 },
			    (struct fw_u128){ .lo = UINT32_MAX });
}

static bool is_all_v6(const struct fw_ir_set *set)
{
	return fw_ranges_is(&set->v6, (struct fw_u128){ 0 },
			    (struct fw_u128){ UINT64_MAX, UINT64_MAX });
}

static void widen(const struct fw_program *program, uint8_t families,
		  bool is_negated, int32_t *set)
{
	const struct fw_ir_set *content;

	if (*set < 0 || is_negated)
		return;
	content = &program->sets[*set];
	/* What may be replaced says something, whatever it holds now. */
	if (content->origin)
		return;
	if ((!(families & FW_FAMILY_IPV4) || is_all_v4(content)) &&
	    (!(families & FW_FAMILY_IPV6) || is_all_v6(content)))
		*set = -1;
}

/* from 0.0.0.0/0 of an IPv4 row: the family says it already. */
static void widen_rows(const struct fw_rows *rows)
{
	struct fw_program *program = rows->program;
	size_t i;

	for (i = 0; i < program->n_rows; i++) {
		struct fw_ir_row *row = &program->rows[i];

		widen(program, row->given_families, row->flags & FW_ROW_NOT_SRC,
		      &row->src);
		widen(program, row->given_families, row->flags & FW_ROW_NOT_DST,
		      &row->dst);
	}
}

/* ---- rows that never decide ---------------------------------------------- */

static void find_decided(const struct fw_rows *rows)
{
	uint64_t steps = rows->options->shadow_steps;
	size_t n = rows->options->shadow_rows;

	fw_shadow_find(rows->rep, rows->program, rows->places,
		       steps ? steps : FW_SHADOW_STEPS, n ? n : SIZE_MAX);
}

/* ---- the table ----------------------------------------------------------- */

static const struct {
	const char *name;
	void (*run)(const struct fw_rows *rows);
	bool is_late; /* looks for warnings, when the program is complete */
} passes[] = {
	[FW_PASS_WIDE] = { "wide-terms", widen_rows, false },
	[FW_PASS_DECIDED] = { "decided-rows", find_decided, true },
};

_Static_assert(ARRAY_SIZE(passes) == FW_PASS_MAX, "a pass is missing");

const char *fw_pass_name(enum fw_pass pass)
{
	return (unsigned int)pass < FW_PASS_MAX ? passes[pass].name : "?";
}

static void run(const struct fw_rows *rows, bool is_late)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(passes); i++) {
		if (passes[i].is_late == is_late &&
		    !(rows->options->skip_passes >> i & 1))
			passes[i].run(rows);
	}
}

void fw_run_passes(const struct fw_rows *rows)
{
	run(rows, false);
}

void fw_run_late_passes(const struct fw_rows *rows)
{
	run(rows, true);
}
