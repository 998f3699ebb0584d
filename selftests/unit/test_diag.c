/* SPDX-License-Identifier: GPL-2.0-only */

/* Messages: distance of words, places, cutting, limits. */
#include "rules/diag.h"

#include <stdlib.h>

#include "rules_helper.h"

static unsigned int distance(const char *a, const char *b)
{
	return fw_edit_distance(a, strlen(a), b, strlen(b), 9);
}

static void test_distance(void **state)
{
	(void)state;
	assert_int_equal(distance("", ""), 0);
	assert_int_equal(distance("accept", "accept"), 0);
	assert_int_equal(distance("acept", "accept"), 1);
	assert_int_equal(distance("accpet", "accept"), 1);
	assert_int_equal(distance("axxept", "accept"), 2);
	assert_int_equal(distance("", "abc"), 3);
	assert_int_equal(distance("abc", ""), 3);
	assert_int_equal(distance("ab", "ba"), 1);
	assert_int_equal(fw_edit_distance("a", 1, "abcdefgh", 8, 3), 4);
	assert_int_equal(fw_edit_distance("abcd", 4, "wxyz", 4, 2), 3);
}

static void test_long_words(void **state)
{
	char a[200];

	(void)state;
	memset(a, 'a', sizeof(a));
	assert_int_equal(fw_edit_distance(a, 200, a, 200, 2), 3);
	assert_int_equal(fw_edit_distance(a, 64, a, 64, 2), 0);
}

static void test_nearest(void **state)
{
	struct fw_nearest n = fw_nearest_to("prto", 4);

	(void)state;
	fw_nearest_try_word(&n, "port");
	assert_null(n.best);
	fw_nearest_try_word(&n, "proto");
	fw_nearest_try_word(&n, "on");
	assert_int_equal(n.best_len, 5);
	assert_memory_equal(n.best, "proto", 5);
	/* Two letters must not become any other two. */
	n = fw_nearest_to("xy", 2);
	fw_nearest_try_word(&n, "on");
	assert_null(n.best);
}

static void test_binary(void **state)
{
	(void)state;
	assert_int_equal(fw_text_find_binary("plain\ttext\r\n", 12), -1);
	assert_int_equal(fw_text_find_binary("gr\xc3\xbcn \xe2\x82\xac", 9),
			 -1);
	assert_int_equal(fw_text_find_binary("a\0b", 3), 1);
	assert_int_equal(fw_text_find_binary("ab\x1b", 3), 2);
	assert_int_equal(fw_text_find_binary("\xff", 1), 0);
	assert_int_equal(fw_text_find_binary("\xc0\x80", 2), 0);
	assert_int_equal(fw_text_find_binary("x\xed\xa0\x80", 4), 1);
	assert_int_equal(fw_text_find_binary("\xe2\x82", 2), 0);
	assert_int_equal(fw_text_find_binary("", 0), -1);
}

static void test_place(void **state)
{
	struct fw_diag diag;

	(void)state;
	compile_bad("interface wan = eth0\n\taccept in to port 70000\n", NULL,
		    &diag);
	assert_int_equal(diag.n, 1);
	assert_string_equal(diag.messages[0].file, "test.conf");
	assert_int_equal(diag.messages[0].line, 2);
	assert_int_equal(diag.messages[0].column, 20);
	assert_int_equal(diag.messages[0].length, 5);
	assert_int_equal(diag.messages[0].caret, 19);
	assert_string_equal(diag.messages[0].source,
			    "\taccept in to port 70000");
	assert_string_equal(diag.messages[0].text,
			    "port 70000 is out of range 0-65535");
	fw_diag_done(&diag);
}

static void check_cut(size_t before, size_t after)
{
	static const char word[] = "wrong";
	size_t len = before + 5 + after;
	struct fw_diag diag = { 0 };
	struct fw_program *program = NULL;
	struct fw_message *m;
	char *text = malloc(len + 1);

	assert_non_null(text);
	memset(text, ' ', len);
	memcpy(text + before, word, sizeof(word) - 1);
	assert_int_equal(
		fw_compile("t", text, len, NULL, NULL, &diag, &program), -22);
	free(text);
	m = &diag.messages[0];
	assert_int_equal(m->column, before + 1);
	assert_true(strlen(m->source) < 200);
	assert_memory_equal(m->source + m->caret, "wrong", 5);
	fw_diag_done(&diag);
}

static void test_cut(void **state)
{
	(void)state;
	check_cut(0, 0);
	check_cut(80, 75);
	check_cut(81, 76);
	check_cut(100000, 100000);
}

static void test_limit(void **state)
{
	char *text = malloc(200 * 4 + 1);
	struct fw_diag diag;
	size_t i;

	(void)state;
	assert_non_null(text);
	for (i = 0; i < 200; i++)
		memcpy(text + 4 * i, "foo\n", 5);
	compile_bad(text, NULL, &diag);
	free(text);
	assert_int_equal(diag.errors, FW_MAX_ERRORS);
	assert_int_equal(diag.n, FW_MAX_ERRORS);
	assert_true(diag.truncated);
	fw_diag_done(&diag);
}

static void test_sorted(void **state)
{
	struct fw_diag diag;
	size_t i;

	(void)state;
	/* The second is found by the parser, the first and third later. */
	compile_bad("drop in on nowhere\nbogus\ndrop in from nobody\n", NULL,
		    &diag);
	assert_int_equal(diag.n, 3);
	for (i = 0; i < 3; i++)
		assert_int_equal(diag.messages[i].line, i + 1);
	fw_diag_done(&diag);
}

static void test_print(void **state)
{
	struct fw_diag diag;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	assert_non_null(out);
	compile_bad("\tdrp in # \xc3\xbc\n", NULL, &diag);
	fw_diag_print(&diag, out, false);
	assert_int_equal(fclose(out), 0);
	assert_string_equal(text,
			    "test.conf:1:2: error: unknown statement 'drp'\n"
			    " 1 | \tdrp in # \xc3\xbc\n"
			    "   | \t^~~\n"
			    "hint: did you mean 'drop'?\n");
	free(text);
	fw_diag_done(&diag);
}

static void test_done(void **state)
{
	struct fw_diag diag = { 0 };

	(void)state;
	fw_diag_done(NULL);
	fw_diag_done(&diag);
	fw_program_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_distance),
		cmocka_unit_test(test_long_words),
		cmocka_unit_test(test_nearest),
		cmocka_unit_test(test_binary),
		cmocka_unit_test(test_place),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_sorted),
		cmocka_unit_test(test_print),
		cmocka_unit_test(test_done),
	};

	return cmocka_run_group_tests_name("diag", tests, NULL, NULL);
}
