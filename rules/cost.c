/* SPDX-License-Identifier: GPL-2.0-only */

/* Rules that leave the fast path: said with their place. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "diag.h"
#include "match.h"
#include "mem.h"

/* The text from a line and column of a file to the end of that line. */
static struct fw_span span_at(const struct fw_text *text, uint32_t file,
			      uint32_t line, uint32_t column)
{
	const char *end = text->data + text->len;
	const char *from = text->data, *to;

	for (; line > 1 && from < end; line--) {
		to = memchr(from, '\n', (size_t)(end - from));
		from = to ? to + 1 : end;
	}
	to = memchr(from, '\n', (size_t)(end - from));
	if (!to)
		to = end;
	from = (size_t)(to - from) < column ? to : from + column - 1;
	return (struct fw_span){ file, (uint32_t)(from - text->data),
				 (uint32_t)(to - from) };
}

static struct fw_span span_of(const struct fw_program *program,
			      const struct fw_ir_row *row)
{
	uint32_t i = 0;

	while (i + 1 < program->n_texts &&
	       strcmp(program->texts[i].name, row->file) != 0)
		i++;
	return span_at(&program->texts[i], i, row->line, row->column);
}

int fw_image_warn(const struct fw_image_cost *cost,
		  const struct fw_program *program, struct fw_diag *diag)
{
	struct fw_sources sources = { .texts = program->texts,
				      .n = program->n_texts };
	struct fw_reporter rep = { .diag = diag,
				   .sources = &sources,
				   .is_urgent = true };
	uint32_t row = cost->slowest_row;
	struct fw_span at;

	if (cost->most_steps <= FW_MATCH_FAST_STEPS || row >= program->n_rows)
		return 0;
	sources.cursors = calloc(sources.n, sizeof(*sources.cursors));
	if (!sources.cursors)
		return -ENOMEM;
	at = span_of(program, &program->rows[row]);
	sources.cursors[at.file].line = 1;
	fw_report_warning(
		&rep, at,
		"a packet may be held against up to %u rules one by one, this one first",
		cost->longest_list);
	fw_report_hint(
		&rep,
		"told apart at once are addresses, ports, protocols and entering interfaces, but neither leaving interfaces, IPsec nor large sets of addresses");
	free(sources.cursors);
	return rep.is_broken ? -ENOMEM : 0;
}
