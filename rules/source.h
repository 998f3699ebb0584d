/* SPDX-License-Identifier: GPL-2.0-only */

/* The files that make up a rule file, and places in them. */
#pragma once

#include <stdbool.h>

#include "rules.h"

/* Line and column, both from 1. */
struct fw_place {
	uint32_t line;
	uint32_t column;
};

/* Where the line counter of a file last stopped: questions come in order. */
struct fw_cursor {
	uint32_t off;
	uint32_t line;
	uint32_t line_off; /* where that line starts */
};

struct fw_sources {
	struct fw_text *texts; /* the main file first */
	struct fw_cursor *cursors;
	size_t n;
};

/* Bytes of all files together; one that is read twice counts twice. */
#define FW_MAX_TEXT (256u << 20)

/**
 * @brief Add a file; its memory is taken, also on failure.
 *
 * @return its number, or -ENOMEM
 */
int fw_sources_add(struct fw_sources *sources, struct fw_text *text);

/** @brief The number of a file that is there already, or -ENOENT. */
int fw_sources_find(const struct fw_sources *sources, const char *name);

/** @brief First byte of a span. */
const char *fw_span_text(const struct fw_sources *sources, struct fw_span at);

/** @brief The span from the start of one to the end of another, later one. */
struct fw_span fw_span_join(struct fw_span first, struct fw_span last);

struct fw_place fw_sources_place(const struct fw_sources *sources,
				 struct fw_span at);

void fw_sources_done(struct fw_sources *sources);
