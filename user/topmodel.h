/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * What `fwctl top` shows: rows of a view with their rates, made of two samples, in order.
 * Pure: no terminal, no daemon, no clock.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FW_TOP_COUNTS  4 /* counters of a row at most */
#define FW_TOP_COLUMNS 6 /* numbers of a row at most */

enum fw_top_view {
	FW_TOP_RULES,
	FW_TOP_INTERFACES,
	FW_TOP_DROPS,
	FW_TOP_SOURCES,
	FW_TOP_FLOWS,
	FW_TOP_VIEWS,
};

/* A column of numbers: a counter, or what it gains in a second. */
struct fw_top_column {
	const char *heading; /* NULL: there are no more */
	uint8_t count;	     /* which of the counters of a row */
	bool is_rate;
};

struct fw_top_layout {
	const char *name;    /* of the view: "rules" */
	const char *heading; /* of the names of the rows */
	struct fw_top_column columns[FW_TOP_COLUMNS];
	const char *text_heading; /* of the text behind the numbers, or NULL */
};

extern const struct fw_top_layout fw_top_layouts[FW_TOP_VIEWS];

/** @brief The view of that name, or FW_TOP_VIEWS. */
enum fw_top_view fw_top_find(const char *name);

size_t fw_top_columns(enum fw_top_view view);

struct fw_top_row {
	char *name;
	char *text;
	uint64_t counts[FW_TOP_COUNTS];
	double rates[FW_TOP_COUNTS]; /* a second */
};

struct fw_top_model;

/** @brief Nothing yet, of a view; NULL without memory. */
struct fw_top_model *fw_top_model_new(enum fw_top_view view);
void fw_top_model_free(struct fw_top_model *model);

enum fw_top_view fw_top_model_view(const struct fw_top_model *model);

/**
 * @brief Begin another sample; rows that are not in it go away.
 *
 * @param now_ns  when the counters are read, of any clock that goes on evenly
 */
void fw_top_begin(struct fw_top_model *model, uint64_t now_ns);

/**
 * @brief A row of the sample.
 *
 * @param rates  NULL: what the counters have gained since the sample before
 * @return 0 or -ENOMEM
 */
int fw_top_put(struct fw_top_model *model, const char *name, const char *text,
	       const uint64_t counts[FW_TOP_COUNTS],
	       const double rates[FW_TOP_COUNTS]);

/** @brief The sample is complete: rates are known from the second one on. */
void fw_top_end(struct fw_top_model *model);

/** @brief Are there rates?  Not of the first sample. */
bool fw_top_has_rates(const struct fw_top_model *model);

/**
 * @brief Order rows by a column, the greatest first; rows that are equal by name.
 *
 * @param column  from 0 on; as many as there are columns: by name, from a to z
 */
void fw_top_sort(struct fw_top_model *model, size_t column, bool is_reverse);

/** @brief Rows in their order, borrowed until the next sample. */
const struct fw_top_row *fw_top_rows(const struct fw_top_model *model,
				     size_t *ret_n);

/** @brief What a column shows of a row. */
double fw_top_value(const struct fw_top_model *model,
		    const struct fw_top_row *row, size_t column);

#define FW_TOP_NUMBER 16

/** @brief A number in at most 7 characters, "12.3k"; returns `text`. */
const char *fw_top_number(double value, char text[FW_TOP_NUMBER]);
