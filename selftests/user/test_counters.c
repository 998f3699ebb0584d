/* SPDX-License-Identifier: GPL-2.0-only */

/* For how many CPUs there have to be counters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <unistd.h>

#include "user/counters.h"
#include "user/util.h"

/* Numbers with gaps: the last one tells, not how many there are. */
static void lists_of_cpus_are_read(void **state)
{
	static const struct {
		const char *list;
		int want;
	} cases[] = {
		{ "0\n", 1 },
		{ "0-3\n", 4 },
		{ "0-3", 4 },
		{ "0,2-5\n", 6 },
		{ "0-1,8-9,64\n", 65 },
		{ "3\n", 4 },
		{ "0-8191\n", 8192 },
		{ "", -EINVAL },
		{ "\n", -EINVAL },
		{ "-3\n", -EINVAL },
		{ "0-\n", -EINVAL },
		{ "0,\n", -EINVAL },
		{ "0 2\n", -EINVAL },
		{ "4,2\n", -EINVAL },
		{ "0-0\n", 1 },
		{ "0x3\n", -EINVAL },
		{ "all\n", -EINVAL },
		{ "99999999999999999999\n", -EINVAL },
		{ "16382\n", 16383 },
		{ "16383\n", -EINVAL },
		{ "0-16383\n", -EINVAL },
		{ "0-2,2\n", -EINVAL },
		{ "3-2\n", -EINVAL },
		{ "0-1-2\n", -EINVAL },
	};

	static struct fw_cpus cpus;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(fw_counters_parse_cpus(cases[i].list, &cpus),
				 cases[i].want);
	}
}

static void each_cpu_of_a_list_is_found(void **state)
{
	static const uint32_t want[] = { 0, 1, 8, 9, 10, 64, 66, 67 };
	static struct fw_cpus cpus;

	(void)state;
	assert_int_equal(fw_counters_parse_cpus("0-1,8-10,64,66-67\n", &cpus),
			 68);
	assert_int_equal(cpus.n, ARRAY_SIZE(want));
	assert_memory_equal(cpus.id, want, sizeof(want));
	assert_int_equal(fw_counters_parse_cpus("0-16382", &cpus), FW_MAX_CPUS);
	assert_int_equal(cpus.n, FW_MAX_CPUS);
}

static void this_machine_has_cpus(void **state)
{
	(void)state;
	assert_true(fw_counters_cpus() >= sysconf(_SC_NPROCESSORS_CONF));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists_of_cpus_are_read),
		cmocka_unit_test(each_cpu_of_a_list_is_found),
		cmocka_unit_test(this_machine_has_cpus),
	};

	return cmocka_run_group_tests_name("counters", tests, NULL, NULL);
}
