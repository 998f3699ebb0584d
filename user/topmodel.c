/* SPDX-License-Identifier: GPL-2.0-only */

/* Samples, rates and order of what `fwctl top` shows. */
#include "user/topmodel.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "user/util.h"

const struct fw_top_layout fw_top_layouts[FW_TOP_VIEWS] = {
	[FW_TOP_RULES] = { "rules",
			   "RULE",
			   { { "PKT/S", 0, true },
			     { "BYTE/S", 1, true },
			     { "FLOW/S", 2, true },
			     { "PACKETS", 0, false },
			     { "BYTES", 1, false },
			     { "FLOWS", 2, false } },
			   NULL },
	[FW_TOP_INTERFACES] = { "interfaces",
				"INTERFACE HOOK",
				{ { "PKT/S", 0, true },
				  { "BYTE/S", 1, true },
				  { "DROP/S", 2, true },
				  { "PACKETS", 0, false },
				  { "BYTES", 1, false },
				  { "DROPS", 2, false } },
				NULL },
	[FW_TOP_DROPS] = { "drops",
			   "DROPPED BECAUSE",
			   { { "PKT/S", 0, true },
			     { "BYTE/S", 1, true },
			     { "PACKETS", 0, false },
			     { "BYTES", 1, false } },
			   "MEANING" },
	[FW_TOP_SOURCES] = { "sources",
			     "SOURCE",
			     { { "PKT/S", 0, true },
			       { "BYTE/S", 1, true },
			       { "FLOWS", 2, false } },
			     NULL },
	[FW_TOP_FLOWS] = { "flows",
			   "FLOW",
			   { { "PKT/S", 0, true },
			     { "BYTE/S", 1, true },
			     { "PACKETS", 0, false },
			     { "BYTES", 1, false } },
			   "RULE" },
};

enum fw_top_view fw_top_find(const char *name)
{
	unsigned int view = 0;

	while (view < FW_TOP_VIEWS &&
	       strcmp(fw_top_layouts[view].name, name) != 0)
		view++;
	return (enum fw_top_view)view;
}

size_t fw_top_columns(enum fw_top_view view)
{
	size_t n = 0;

	while (n < FW_TOP_COLUMNS && fw_top_layouts[view].columns[n].heading)
		n++;
	return n;
}

/* ---- samples ------------------------------------------------------------------------ */

struct sample {
	struct fw_top_row *rows;
	size_t n, size;
	uint64_t at_ns;
};

struct fw_top_model {
	enum fw_top_view view;
	struct sample now;
	struct sample before; /* by name */
	unsigned int samples; /* 2: two or more */
	bool has_rates;	      /* its rows bring them */
	size_t column;	      /* of the order */
	bool is_reverse;
};

static void sample_done(struct sample *sample)
{
	for (size_t i = 0; i < sample->n; i++) {
		free(sample->rows[i].name);
		free(sample->rows[i].text);
	}
	free(sample->rows);
	*sample = (struct sample){ 0 };
}

struct fw_top_model *fw_top_model_new(enum fw_top_view view)
{
	struct fw_top_model *model = calloc(1, sizeof(*model));

	if (model)
		model->view = view;
	return model;
}

void fw_top_model_free(struct fw_top_model *model)
{
	if (!model)
		return;
	sample_done(&model->now);
	sample_done(&model->before);
	free(model);
}

enum fw_top_view fw_top_model_view(const struct fw_top_model *model)
{
	return model->view;
}

static int by_name(const void *a, const void *b)
{
	const struct fw_top_row *one = a, *two = b;

	return strcmp(one->name, two->name);
}

void fw_top_begin(struct fw_top_model *model, uint64_t now_ns)
{
	sample_done(&model->before);
	model->before = model->now;
	if (model->before.n)
		qsort(model->before.rows, model->before.n,
		      sizeof(*model->before.rows), by_name);
	model->now = (struct sample){ .at_ns = now_ns };
	model->has_rates = false;
}

/* What a row has gained a second; a counter that fell has begun anew. */
static void rate(const struct fw_top_model *model, struct fw_top_row *row)
{
	const struct sample *before = &model->before;
	double seconds = (double)(model->now.at_ns - before->at_ns) / 1e9;
	const struct fw_top_row *old = NULL;

	if (!model->samples || model->now.at_ns <= before->at_ns)
		return;
	if (before->n)
		old = bsearch(row, before->rows, before->n, sizeof(*row),
			      by_name);
	for (size_t i = 0; i < FW_TOP_COUNTS; i++) {
		uint64_t from = old ? old->counts[i] : 0;

		if (row->counts[i] >= from)
			row->rates[i] =
				(double)(row->counts[i] - from) / seconds;
	}
}

static int make_room(struct sample *sample)
{
	size_t size = sample->size ? 2 * sample->size : 64;
	struct fw_top_row *rows;

	if (sample->n < sample->size)
		return 0;
	rows = reallocarray(sample->rows, size, sizeof(*rows));
	if (!rows)
		return -ENOMEM;
	sample->rows = rows;
	sample->size = size;
	return 0;
}

int fw_top_put(struct fw_top_model *model, const char *name, const char *text,
	       const uint64_t counts[FW_TOP_COUNTS],
	       const double rates[FW_TOP_COUNTS])
{
	struct fw_top_row row = { 0 };

	row.name = strdup(name);
	row.text = strdup(text ? text : "");
	if (!row.name || !row.text || make_room(&model->now) < 0) {
		free(row.name);
		free(row.text);
		return -ENOMEM;
	}
	memcpy(row.counts, counts, sizeof(row.counts));
	if (rates) {
		memcpy(row.rates, rates, sizeof(row.rates));
		model->has_rates = true;
	} else {
		rate(model, &row);
	}
	model->now.rows[model->now.n++] = row;
	return 0;
}

void fw_top_end(struct fw_top_model *model)
{
	if (model->samples < 2)
		model->samples++;
	fw_top_sort(model, model->column, model->is_reverse);
}

bool fw_top_has_rates(const struct fw_top_model *model)
{
	return model->has_rates || model->samples > 1;
}

/* ---- order -------------------------------------------------------------------------- */

double fw_top_value(const struct fw_top_model *model,
		    const struct fw_top_row *row, size_t column)
{
	const struct fw_top_column *shown =
		&fw_top_layouts[model->view].columns[column];

	return shown->is_rate ? row->rates[shown->count]
			      : (double)row->counts[shown->count];
}

static int compare(const void *a, const void *b, void *data)
{
	const struct fw_top_model *model = data;
	int order = 0;

	if (model->column < fw_top_columns(model->view)) {
		double one = fw_top_value(model, a, model->column);
		double two = fw_top_value(model, b, model->column);

		order = (two > one) - (two < one);
	}
	if (!order)
		order = by_name(a, b);
	return model->is_reverse ? -order : order;
}

void fw_top_sort(struct fw_top_model *model, size_t column, bool is_reverse)
{
	model->column = column;
	model->is_reverse = is_reverse;
	if (model->now.n)
		qsort_r(model->now.rows, model->now.n, sizeof(*model->now.rows),
			compare, model);
}

const struct fw_top_row *fw_top_rows(const struct fw_top_model *model,
				     size_t *ret_n)
{
	*ret_n = model->now.n;
	return model->now.rows;
}

/* ---- numbers ------------------------------------------------------------------------ */

const char *fw_top_number(double value, char text[FW_TOP_NUMBER])
{
	static const char units[] = "kMGTPE";
	size_t unit = 0;

	if (value < 9.95 && value - (double)(uint64_t)value > 0.05) {
		(void)snprintf(text, FW_TOP_NUMBER, "%.1f", value);
		return text;
	}
	if (value < 99999.5) {
		(void)snprintf(text, FW_TOP_NUMBER, "%.0f", value);
		return text;
	}
	for (value /= 1000; value >= 9999.5 && units[unit + 1]; value /= 1000)
		unit++;
	(void)snprintf(text, FW_TOP_NUMBER,
		       value < 999.95 ? "%.1f%c" : "%.0f%c", value,
		       units[unit]);
	return text;
}
