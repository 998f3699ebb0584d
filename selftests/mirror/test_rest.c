/* SPDX-License-Identifier: GPL-2.0-only */

/* How long the picture rests: longer while dumps find it right, not while there is doubt. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/rest.h"

#define USUAL 5000ull

static const uint64_t never = UINT64_MAX;

/* The dump that ends `after_ms` after the last one. */
static uint64_t dump(struct fw_rest *rest, uint64_t after_ms, uint64_t known_ms,
		     bool was_right)
{
	return fw_rest_after_dump(rest, rest->dumped_ms + after_ms, USUAL,
				  known_ms, was_right);
}

static void test_doubles(void **state)
{
	static const uint64_t rests[] = { 10000,  20000,  40000, 80000,
					  160000, 300000, 300000 };
	struct fw_rest rest = { .dumped_ms = 1000000 };
	uint64_t ms;

	(void)state;
	ms = dump(&rest, 0, never, false);
	assert_int_equal(ms, USUAL);
	for (size_t i = 0; i < sizeof(rests) / sizeof(rests[0]); i++) {
		ms = dump(&rest, ms, never, true);
		assert_int_equal(ms, rests[i]);
	}
}

static void test_doubt_ends_it(void **state)
{
	struct fw_rest rest = { .ms = FW_REST_MAX_MS };

	(void)state;
	assert_int_equal(dump(&rest, FW_REST_MAX_MS, never, false), USUAL);
	rest.ms = FW_REST_MAX_MS;
	fw_rest_doubt(&rest);
	assert_int_equal(dump(&rest, 100, never, true), USUAL);
}

/* Dumps in quick succession say nothing of what happens in a long time. */
static void test_only_a_rest_proves(void **state)
{
	struct fw_rest rest = { .ms = 2 * USUAL };

	(void)state;
	for (unsigned int i = 0; i < 10; i++)
		assert_int_equal(dump(&rest, 100, never, true), 2 * USUAL);
	assert_int_equal(dump(&rest, 2 * USUAL, never, true), 4 * USUAL);
}

/* Before flows are taken for dead; but dumps have their share of the time, no more. */
static void test_ends_before_flows_do(void **state)
{
	struct fw_rest rest = { .ms = FW_REST_MAX_MS };

	(void)state;
	assert_int_equal(dump(&rest, FW_REST_MAX_MS, 30000, true), 30000);
	assert_int_equal(dump(&rest, 30000, never, true), FW_REST_MAX_MS);
	assert_int_equal(dump(&rest, FW_REST_MAX_MS, 0, true), USUAL);
}

static void test_long_dumps(void **state)
{
	struct fw_rest rest = { .ms = 400000 };

	(void)state;
	assert_int_equal(fw_rest_after_dump(&rest, 400001, 400000, never, true),
			 400000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_doubles),
		cmocka_unit_test(test_doubt_ends_it),
		cmocka_unit_test(test_only_a_rest_proves),
		cmocka_unit_test(test_ends_before_flows_do),
		cmocka_unit_test(test_long_dumps),
	};

	return cmocka_run_group_tests_name("mirror-rest", tests, NULL, NULL);
}
