/* SPDX-License-Identifier: GPL-2.0-only */

/* Tables: widths, alignment, and no blanks at the end of a line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "user/table.h"
#include "user/util.h"

static void check(const struct fw_table *table, const char *wanted)
{
	_cleanup_free_ char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	fw_table_print(table, out);
	assert_int_equal(fclose(out), 0);
	assert_string_equal(text, wanted);
}

static void check_flush(struct fw_table *table, const char *wanted)
{
	_cleanup_free_ char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	fw_table_flush(table, out);
	assert_int_equal(fclose(out), 0);
	assert_string_equal(text, wanted);
}

static void test_columns(void **state)
{
	struct fw_table *table = fw_table_new("NAME|>COUNT|TEXT");

	(void)state;
	check(table, "");
	fw_table_cell(table, "%s", "long-name");
	fw_table_cell(table, "%d", 5);
	fw_table_cell(table, "%s", "");
	assert_int_equal(fw_table_rows(table), 1);
	fw_table_cell(table, "%s", "x");
	fw_table_cell(table, "%d", 1234567);
	fw_table_cell(table, "%s", "end");
	check(table, "NAME         COUNT  TEXT\n"
		     "long-name        5  \n"
		     "x          1234567  end\n");
	fw_table_free(table);
	fw_table_free(NULL);
	fw_table_cell(NULL, "ignored");
}

/* Shown while it grows: one heading, columns that only get wider. */
static void test_flush(void **state)
{
	struct fw_table *table = fw_table_new("NAME|>COUNT|TEXT");

	(void)state;
	fw_table_cell(table, "%s", "x");
	fw_table_cell(table, "%d", 1);
	fw_table_cell(table, "%s", "first");
	check_flush(table, "NAME  COUNT  TEXT\nx         1  first\n");
	check_flush(table, "");
	fw_table_cell(table, "%s", "longer");
	fw_table_cell(table, "%d", 2);
	fw_table_cell(table, "%s", "second");
	check_flush(table, "longer      2  second\n");
	assert_int_equal(fw_table_rows(table), 0);
	fw_table_flush(NULL, stdout);
	fw_table_free(table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_columns),
		cmocka_unit_test(test_flush),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
