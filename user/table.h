/* SPDX-License-Identifier: GPL-2.0-only */

/* Tables on a terminal: columns as wide as they need to be. */
#pragma once

#include <stdio.h>

struct fw_table;

/**
 * @brief A table.
 *
 * @param columns  headings, separated by '|'; one that begins with '>' is
 *                 aligned to the right; borrowed
 * @return NULL without memory
 */
struct fw_table *fw_table_new(const char *columns);
void fw_table_free(struct fw_table *table);

/** @brief Add a cell; a row is full after as many as there are headings. */
void fw_table_cell(struct fw_table *table, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/**
 * @brief Print the rows that there are, with headings the first time, and forget them.
 *
 * For lists that are shown while they arrive: columns only get wider.
 */
void fw_table_flush(struct fw_table *table, FILE *out);

size_t fw_table_rows(const struct fw_table *table);

/** @brief Print it with its headings; nothing if it has no rows. */
void fw_table_print(const struct fw_table *table, FILE *out);
