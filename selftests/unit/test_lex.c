/* SPDX-License-Identifier: GPL-2.0-only */

/* Tokens and their places. */
#include "rules/lex.h"

#include "rules_helper.h"

struct want {
	enum fw_token_kind kind;
	const char *text;
};

static void check_tokens(const char *text, const struct want *want)
{
	struct fw_text file = {
		.name = strdup("t"),
		.data = strdup(text),
		.len = strlen(text),
	};
	struct fw_sources sources = { 0 };
	struct fw_lexer lex;
	size_t i;

	assert_int_equal(fw_sources_add(&sources, &file), 0);
	fw_lex_init(&lex, &sources, 0);
	for (i = 0;; i++) {
		struct fw_token token = fw_lex_next(&lex);

		assert_int_equal(token.kind, want[i].kind);
		if (token.kind == FW_TOKEN_END)
			break;
		assert_int_equal(token.at.len, strlen(want[i].text));
		assert_memory_equal(fw_span_text(&sources, token.at),
				    want[i].text, token.at.len);
	}
	assert_int_equal(fw_lex_next(&lex).kind, FW_TOKEN_END);
	fw_sources_done(&sources);
}

static void test_kinds(void **state)
{
	const struct want want[] = {
		{ FW_TOKEN_WORD, "accept" }, { FW_TOKEN_WORD, "lan" },
		{ FW_TOKEN_ARROW, "->" },    { FW_TOKEN_NOT, "!" },
		{ FW_TOKEN_OPEN, "{" },	     { FW_TOKEN_WORD, "wan" },
		{ FW_TOKEN_COMMA, "," },     { FW_TOKEN_DEFINE, "$web" },
		{ FW_TOKEN_SET, "@bad" },    { FW_TOKEN_CLOSE, "}" },
		{ FW_TOKEN_EQUALS, "=" },    { FW_TOKEN_STRING, "\"a b\"" },
		{ FW_TOKEN_NEWLINE, ";" },   { FW_TOKEN_NEWLINE, "\n" },
		{ FW_TOKEN_END, "" },
	};

	(void)state;
	check_tokens("accept lan->!{wan,$web @bad}=\"a b\" ; # c\n", want);
}

static void test_words(void **state)
{
	const struct want want[] = {
		{ FW_TOKEN_WORD, "2001:db8::/32" },
		{ FW_TOKEN_WORD, "10.0.0.1-10.0.0.9" },
		{ FW_TOKEN_WORD, "echo-request" },
		{ FW_TOKEN_WORD, "eth0.100" },
		{ FW_TOKEN_WORD, "-" },
		{ FW_TOKEN_END, "" },
	};

	(void)state;
	check_tokens("2001:db8::/32\t10.0.0.1-10.0.0.9 echo-request\r"
		     "eth0.100 -",
		     want);
}

static void test_bad(void **state)
{
	const struct want want[] = {
		{ FW_TOKEN_WORD, "a" },	      { FW_TOKEN_BAD, "(*)" },
		{ FW_TOKEN_WORD, "b" },	      { FW_TOKEN_BAD, "$" },
		{ FW_TOKEN_WORD, "c" },	      { FW_TOKEN_BAD, "\"open" },
		{ FW_TOKEN_NEWLINE, "\n" },   { FW_TOKEN_BAD, "@" },
		{ FW_TOKEN_BAD, "\xc3\xa4" }, { FW_TOKEN_END, "" },
	};

	(void)state;
	check_tokens("a(*)b $ c \"open\n@ \xc3\xa4", want);
}

static void test_byte_order_mark(void **state)
{
	const struct want want[] = {
		{ FW_TOKEN_WORD, "a" },
		{ FW_TOKEN_END, "" },
	};

	(void)state;
	check_tokens("\xef\xbb\xbf"
		     "a#\xef\xbb\xbf",
		     want);
}

static void test_places(void **state)
{
	const char text[] = "one\ntwo\n\n  three";
	struct fw_text file = { .name = strdup("t"),
				.data = strdup(text),
				.len = sizeof(text) - 1 };
	struct fw_sources sources = { 0 };
	struct fw_place place;

	(void)state;
	assert_int_equal(fw_sources_add(&sources, &file), 0);
	place = fw_sources_place(&sources, (struct fw_span){ 0, 11, 5 });
	assert_int_equal(place.line, 4);
	assert_int_equal(place.column, 3);
	/* Going back must count back. */
	place = fw_sources_place(&sources, (struct fw_span){ 0, 4, 3 });
	assert_int_equal(place.line, 2);
	assert_int_equal(place.column, 1);
	place = fw_sources_place(&sources, (struct fw_span){ 0, 0, 3 });
	assert_int_equal(place.line, 1);
	place = fw_sources_place(&sources, (struct fw_span){ 0, 16, 0 });
	assert_int_equal(place.line, 4);
	assert_int_equal(place.column, 8);
	fw_sources_done(&sources);
}

static void test_is_word(void **state)
{
	(void)state;
	assert_true(fw_lex_is_word("eth0.1", 6));
	assert_true(fw_lex_is_word("br-lan", 6));
	assert_false(fw_lex_is_word("a->b", 4));
	assert_false(fw_lex_is_word("a b", 3));
	assert_false(fw_lex_is_word("", 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_byte_order_mark),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_is_word),
	};

	return cmocka_run_group_tests_name("lex", tests, NULL, NULL);
}
