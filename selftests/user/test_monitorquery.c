/* SPDX-License-Identifier: GPL-2.0-only */

/* The words that say what is to be monitored. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "selftests/user/words.h"
#include "user/monitorquery.h"
#include "user/util.h"

static int parse(const char *text, struct fw_monitor_query *ret, char **reterr)
{
	const char *words[MAX_WORDS];
	size_t n = split_words(text, words);

	return fw_monitor_query_parse(words, n, ret, reterr);
}

static struct fw_monitor_query read_words(const char *text)
{
	struct fw_monitor_query query;
	_cleanup_free_ char *error = NULL;

	if (parse(text, &query, &error) < 0)
		fail_msg("'%s': %s", text, error);
	return query;
}

static void test_kinds(void **state)
{
	(void)state;
	assert_int_equal(read_words("").kinds, FW_MONITOR_ALL);
	assert_int_equal(read_words("all").kinds, FW_MONITOR_ALL);
	assert_int_equal(read_words("drops").kinds, FW_MONITOR_DROPS);
	assert_int_equal(read_words("flows port 80").kinds, FW_MONITOR_FLOWS);
	assert_int_equal(read_words("port 80").kinds, FW_MONITOR_ALL);
}

/* Terms of its own between those of flows, which may be called like each other. */
static void test_terms(void **state)
{
	struct fw_monitor_query query;

	(void)state;
	query = read_words(
		"drops reason rule rule reason interface zone zone interface reason tcp-null port 80-90");
	assert_true(query.reasons == (1ull << FW_REASON_DROP_RULE |
				      1ull << FW_REASON_DROP_TCP_NULL));
	assert_string_equal(query.interface, "zone");
	assert_string_equal(query.of.rule, "reason");
	assert_string_equal(query.of.zone, "interface");
	assert_int_equal(query.of.first_port, 80);
	assert_int_equal(query.of.last_port, 90);
	query = read_words("flows state established");
	assert_string_equal(query.of.state, "ESTABLISHED");
}

static void test_refused(void **state)
{
	static const struct {
		const char *words, *error;
	} cases[] = {
		{ "reason", "'reason' needs a value" },
		{ "drops interface", "'interface' needs a value" },
		{ "interface a interface b", "given twice" },
		{ "reason nonsense", "no reason is called 'nonsense'" },
		{ "port 80 drops", "says nothing about a flow" },
		{ "port", "'port' needs a value" },
		{ "drops sort age", "takes no sort" },
		{ "drops count", "takes no sort" },
		{ "drops all", "takes no sort" },
		{ "flows reason rule", "flows have no reason" },
		{ "state established", "only flows have a state" },
		{ "1 2 3 4 5 6 7 8 9 1 2 3 4 5 6 7 8 9 1 2 3 4 5 6 7 8 9 1 2 3 4 5 6",
		  "more than 32 words" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *error = NULL;
		struct fw_monitor_query query;

		assert_int_equal(parse(cases[i].words, &query, &error),
				 -EINVAL);
		if (!error || !strstr(error, cases[i].error))
			fail_msg("'%s': %s", cases[i].words, error);
	}
}

static void test_capture_kinds(void **state)
{
	static const struct {
		const char *words;
		unsigned int kinds;
	} cases[] = {
		{ "", FW_MONITOR_DROPS },
		{ "drops", FW_MONITOR_DROPS },
		{ "matches port 80", FW_MONITOR_LOGS },
		{ "port 80 all", FW_MONITOR_DROPS | FW_MONITOR_LOGS },
		{ "rule all matches", FW_MONITOR_LOGS },
		{ "port 80 rule drops", FW_MONITOR_DROPS },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *words[MAX_WORDS];
		size_t n = split_words(cases[i].words, words);
		_cleanup_free_ char *error = NULL;
		struct fw_monitor_query query;

		assert_int_equal(
			fw_capture_query_parse(words, n, &query, &error), 0);
		assert_int_equal(query.kinds, cases[i].kinds);
	}
}

static void test_capture_refused(void **state)
{
	static const struct {
		const char *words, *error;
	} cases[] = {
		{ "flows", "says nothing about a flow" },
		{ "drops matches", "says nothing about a flow" },
		{ "drops all", "'all' once only" },
		{ "state established", "only flows have a state" },
		{ "count", "capture takes no sort" },
		{ "reason marsian", "did you mean 'martian'" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *words[MAX_WORDS];
		size_t n = split_words(cases[i].words, words);
		_cleanup_free_ char *error = NULL;
		struct fw_monitor_query query;

		assert_int_equal(
			fw_capture_query_parse(words, n, &query, &error),
			-EINVAL);
		if (!error || !strstr(error, cases[i].error))
			fail_msg("'%s': %s", cases[i].words, error);
	}
}

static void test_reasons(void **state)
{
	const uint64_t both =
		1ull << FW_REASON_DROP_RULE | 1ull << FW_REASON_NEW;
	static const char *const wrong[] = {
		"", "rule,", ",rule", "rule-", "drop-new", "accept-rule"
	};
	uint64_t reasons = 0;

	(void)state;
	assert_int_equal(fw_reasons_parse("rule,new", &reasons, NULL), 0);
	assert_true(reasons == both);
	reasons = 0;
	assert_int_equal(
		fw_reasons_parse("accept-new,drop-rule", &reasons, NULL), 0);
	assert_true(reasons == both);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		_cleanup_free_ char *error = NULL;

		assert_int_equal(fw_reasons_parse(wrong[i], &reasons, &error),
				 -EINVAL);
		assert_non_null(strstr(error, "no reason is called '"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_terms),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_capture_kinds),
		cmocka_unit_test(test_capture_refused),
		cmocka_unit_test(test_reasons),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
