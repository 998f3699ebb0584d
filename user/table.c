/* SPDX-License-Identifier: GPL-2.0-only */

/* Tables on a terminal. */
#include "user/table.h"

#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include "user/util.h"

#define MAX_COLUMNS 16

struct fw_table {
	char *heading[MAX_COLUMNS];
	bool is_right[MAX_COLUMNS];
	int width[MAX_COLUMNS];
	size_t n_columns;
	char **cells;
	size_t n, size;
	bool has_head; /* it has been printed */
};

struct fw_table *fw_table_new(const char *columns)
{
	struct fw_table *table;

	table = calloc(1, sizeof(*table));
	if (!table)
		return NULL;
	while (*columns && table->n_columns < MAX_COLUMNS) {
		size_t len = strcspn(columns, "|");
		size_t i = table->n_columns++;

		table->is_right[i] = *columns == '>';
		table->heading[i] = strndup(columns + table->is_right[i],
					    len - table->is_right[i]);
		if (!table->heading[i]) {
			fw_table_free(table);
			return NULL;
		}
		table->width[i] = (int)strlen(table->heading[i]);
		columns += len + (columns[len] == '|');
	}
	return table;
}

void fw_table_free(struct fw_table *table)
{
	if (!table)
		return;
	for (size_t i = 0; i < table->n_columns; i++)
		free(table->heading[i]);
	for (size_t i = 0; i < table->n; i++)
		free(table->cells[i]);
	free(table->cells);
	free(table);
}

void fw_table_cell(struct fw_table *table, const char *format, ...)
{
	char *text = NULL;
	va_list args;
	size_t column;
	int n;

	if (!table)
		return;
	if (table->n == table->size) {
		size_t size = table->size ? 2 * table->size : 64;
		char **cells;

		cells = reallocarray(table->cells, size, sizeof(*cells));
		if (!cells)
			return;
		table->cells = cells;
		table->size = size;
	}
	va_start(args, format);
	n = vasprintf(&text, format, args);
	va_end(args);
	if (n < 0)
		return;
	column = table->n % table->n_columns;
	if (n > table->width[column])
		table->width[column] = n;
	table->cells[table->n++] = text;
}

size_t fw_table_rows(const struct fw_table *table)
{
	return table->n / table->n_columns;
}

/* The last column is not padded: no line ends in blanks. */
static void print_row(const struct fw_table *table, char *const *cells,
		      FILE *out)
{
	for (size_t i = 0; i < table->n_columns; i++) {
		bool is_last = i + 1 == table->n_columns;
		int width =
			is_last && !table->is_right[i] ? 0 : table->width[i];

		(void)fprintf(out, "%*s%s", table->is_right[i] ? width : -width,
			      cells[i], is_last ? "\n" : "  ");
	}
}

void fw_table_print(const struct fw_table *table, FILE *out)
{
	if (!table || !table->n)
		return;
	if (!table->has_head)
		print_row(table, table->heading, out);
	for (size_t i = 0; i + table->n_columns <= table->n;
	     i += table->n_columns)
		print_row(table, table->cells + i, out);
}

void fw_table_flush(struct fw_table *table, FILE *out)
{
	fw_table_print(table, out);
	if (!table || !table->n)
		return;
	table->has_head = true;
	while (table->n)
		free(table->cells[--table->n]);
}
