/* SPDX-License-Identifier: GPL-2.0-only */

/* Sets of CPUs, what the programs are told of one, and what the kernel says of CPUs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "rules/cpuset.h"
#include "user/steer.h"

static struct fw_cpuset set_of(const char *const *parts, size_t n)
{
	struct fw_cpuset_part part;
	struct fw_cpuset set = { 0 };

	for (size_t i = 0; i < n; i++) {
		assert_int_equal(
			fw_cpuset_part(parts[i], strlen(parts[i]), &part),
			FW_CPUSET_OK);
		fw_cpuset_add_part(&set, &part);
	}
	return set;
}

#define SET(...)                                     \
	set_of((const char *const[]){ __VA_ARGS__ }, \
	       sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))

static void text_is(const struct fw_cpuset *set, const char *text)
{
	char buf[FW_CPUSET_TEXT];

	assert_string_equal(fw_cpuset_text(buf, set), text);
}

static void test_text(void **state)
{
	static const struct fw_cpuset none;
	struct fw_cpuset set, every_other = { 0 };
	char buf[FW_CPUSET_TEXT];

	(void)state;
	text_is(&none, "");
	set = SET("6", "0-3", "2-4", "1023");
	text_is(&set, "0-4,6,1023");
	set = SET("0-1023");
	text_is(&set, "0-1023");
	for (uint32_t cpu = 1; cpu < FW_MAX_STEER_CPUS; cpu += 2)
		fw_cpuset_add(&every_other, cpu);
	(void)fw_cpuset_text(buf, &every_other);
	assert_true(strlen(buf) + 1 <= sizeof(buf));
	assert_string_equal(buf + strlen(buf) - 10, ",1021,1023");
}

static void test_wrong_parts(void **state)
{
	static const struct {
		const char *text;
		enum fw_cpuset_error error;
	} rows[] = {
		{ "", FW_CPUSET_NO_NUMBER },
		{ "x", FW_CPUSET_NO_NUMBER },
		{ "-1", FW_CPUSET_NO_NUMBER },
		{ "1-", FW_CPUSET_NO_NUMBER },
		{ "1-2-3", FW_CPUSET_NO_NUMBER },
		{ "0-3:1/2", FW_CPUSET_NO_NUMBER },
		{ "1024", FW_CPUSET_TOO_GREAT },
		{ "0-4294967296", FW_CPUSET_TOO_GREAT },
		{ "18446744073709551616", FW_CPUSET_TOO_GREAT },
		{ "3-2", FW_CPUSET_REVERSED },
		{ "1023", FW_CPUSET_OK },
		{ "0-1023", FW_CPUSET_OK },
	};
	struct fw_cpuset_part part;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(fw_cpuset_part(rows[i].text,
						strlen(rows[i].text), &part),
				 rows[i].error);
}

/* Who comes makes all choose again; who goes only those that were there. */
static void test_place(void **state)
{
	struct fw_cpuset two = SET("0", "5"), one = SET("5"), none = { 0 };
	struct fw_esp_steer s = { 0 };
	uint64_t first, fifth;

	(void)state;
	assert_false(fw_steer_place(&s, &none));
	assert_true(fw_steer_place(&s, &two));
	assert_int_equal(s.n, 2);
	assert_int_equal(s.cpu[0], 0);
	assert_int_equal(s.cpu[1], 5);
	assert_false(fw_steer_place(&s, &two));
	first = fw_steer_word(s.epoch, 0);
	fifth = fw_steer_word(s.epoch, 5);
	assert_int_equal(fw_steer_cpu(&s, first), 0);
	assert_int_equal(fw_steer_cpu(&s, fifth), 5);
	assert_int_equal(fw_steer_cpu(&s, fw_steer_word(s.epoch, 1)), -1);
	assert_int_equal(fw_steer_cpu(&s, fw_steer_word(s.epoch, 1024)), -1);
	assert_int_equal(fw_steer_cpu(&s, fw_steer_word(s.epoch, UINT32_MAX)),
			 -1);
	assert_int_equal(fw_steer_cpu(&s, 0), -1);

	s.turn = 7;
	assert_true(fw_steer_place(&s, &one));
	assert_int_equal(s.n, 1);
	assert_int_equal(s.cpu[0], 5);
	assert_int_equal(s.cpu[1], 0);
	assert_int_equal(s.turn, 7);
	assert_int_equal(fw_steer_cpu(&s, first), -1);
	assert_int_equal(fw_steer_cpu(&s, fifth), 5);

	assert_true(fw_steer_place(&s, &two));
	assert_int_equal(s.turn, 0);
	assert_int_equal(fw_steer_cpu(&s, first), -1);
	assert_int_equal(fw_steer_cpu(&s, fifth), -1);
	assert_true(fw_steer_place(&s, &none));
	assert_int_equal(s.n, 0);
}

static void test_uevents(void **state)
{
	static const struct {
		const char *text;
		int cpu;
		bool is_gone;
	} rows[] = {
		{ "online@/devices/system/cpu/cpu1", 1, false },
		{ "offline@/devices/system/cpu/cpu12", 12, true },
		{ "remove@/devices/system/cpu/cpu3", 3, true },
		{ "offline@/devices/system/cpu/cpu1/cache", -1, false },
		{ "offline@/devices/system/cpu/cpu", -1, false },
		{ "offline@/devices/system/cpu/cpu-1", -1, false },
		{ "offline@/devices/system/cpu/cpufreq", -1, false },
		{ "offline@/devices/system/cpu/cpu99999999999999999999", -1,
		  false },
		{ "add@/devices/virtual/net/veth0", -1, false },
		{ "libudev", -1, false },
		{ "", -1, false },
	};
	bool is_gone;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		is_gone = false;
		assert_int_equal(fw_steer_uevent(rows[i].text, &is_gone),
				 rows[i].cpu);
		assert_int_equal(is_gone, rows[i].is_gone);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_wrong_parts),
		cmocka_unit_test(test_place),
		cmocka_unit_test(test_uevents),
	};

	return cmocka_run_group_tests_name("steer", tests, NULL, NULL);
}
