/* SPDX-License-Identifier: GPL-2.0-only */

/* Merging ranges, and addresses as text. */
#include "rules/ranges.h"

#include "rules/addr.h"
#include "rules_helper.h"

static const struct fw_u128 top = { UINT64_MAX, UINT64_MAX };

static void check(const struct fw_ranges *ranges, const uint64_t *want,
		  size_t n)
{
	size_t i;

	assert_int_equal(ranges->n, n);
	for (i = 0; i < n; i++) {
		assert_int_equal(ranges->r[i].first_lo, want[2 * i]);
		assert_int_equal(ranges->r[i].last_lo, want[2 * i + 1]);
	}
}

static void test_merge(void **state)
{
	const uint64_t want[] = { 0, 0, 2, 20, 30, 30, 65535, 65535 };
	struct fw_ranges ranges = { 0 };

	(void)state;
	assert_int_equal(fw_ranges_add_small(&ranges, 65535, 65535), 0);
	assert_int_equal(fw_ranges_add_small(&ranges, 10, 20), 0);
	assert_int_equal(fw_ranges_add_small(&ranges, 5, 15), 0);
	assert_int_equal(fw_ranges_add_small(&ranges, 12, 13), 0);
	assert_int_equal(fw_ranges_add_small(&ranges, 2, 4), 0);
	assert_int_equal(fw_ranges_add_small(&ranges, 30, 30), 0);
	assert_int_equal(fw_ranges_add_small(&ranges, 30, 30), 0);
	assert_int_equal(fw_ranges_add_small(&ranges, 0, 0), 0);
	fw_ranges_merge(&ranges);
	check(&ranges, want, 4);
	fw_ranges_done(&ranges);
}

static void test_merge_wide(void **state)
{
	struct fw_ranges ranges = { 0 };

	(void)state;
	/* Touching across the halves of the number, up to the last one. */
	fw_ranges_add(&ranges, (struct fw_u128){ 1, 0 }, top);
	fw_ranges_add(&ranges, (struct fw_u128){ 0, 5 },
		      (struct fw_u128){ 0, UINT64_MAX });
	fw_ranges_add(&ranges, top, top);
	fw_ranges_merge(&ranges);
	assert_true(fw_ranges_is(&ranges, (struct fw_u128){ 0, 5 }, top));
	assert_true(fw_ranges_has(&ranges, top));
	assert_false(fw_ranges_has(&ranges, (struct fw_u128){ 0, 4 }));
	fw_ranges_done(&ranges);
}

static void test_has(void **state)
{
	struct fw_ranges ranges = { 0 };
	uint64_t i;

	(void)state;
	for (i = 0; i < 100; i++)
		fw_ranges_add_small(&ranges, i * 10, i * 10 + 3);
	fw_ranges_merge(&ranges);
	assert_int_equal(ranges.n, 100);
	for (i = 0; i < 1100; i++) {
		assert_int_equal(
			fw_ranges_has(&ranges, (struct fw_u128){ .lo = i }),
			i < 1000 && i % 10 <= 3);
	}
	fw_ranges_done(&ranges);
}

static void check_text(const char *first, const char *last, bool is_v6,
		       const char *want)
{
	struct fw_address a, b;
	struct fw_range range;
	struct fw_str str = { 0 };

	assert_true(fw_addr_parse(first, strlen(first), &a));
	assert_true(fw_addr_parse(last, strlen(last), &b));
	range = (struct fw_range){ a.value.hi, a.value.lo, b.value.hi,
				   b.value.lo };
	fw_addr_print_range(&str, &range, is_v6);
	assert_string_equal(str.s, want);
	fw_str_done(&str);
}

static void test_range_text(void **state)
{
	(void)state;
	check_text("10.0.0.0", "10.255.255.255", false, "10.0.0.0/8");
	check_text("10.0.0.1", "10.0.0.1", false, "10.0.0.1");
	check_text("10.0.0.1", "10.0.0.2", false, "10.0.0.1-10.0.0.2");
	check_text("10.0.0.2", "10.0.0.3", false, "10.0.0.2/31");
	check_text("10.0.0.1", "10.0.0.4", false, "10.0.0.1-10.0.0.4");
	check_text("0.0.0.0", "255.255.255.255", false, "0.0.0.0/0");
	check_text("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true,
		   "::/0");
	check_text("2001:db8::", "2001:db8::ffff:ffff:ffff:ffff", true,
		   "2001:db8::/64");
	check_text("2001:db8::", "2001:db8:0:1:ffff:ffff:ffff:ffff", true,
		   "2001:db8::/63");
	check_text("2001:db8::", "2001:db8:0:1::", true,
		   "2001:db8::-2001:db8:0:1::");
}

static void test_not_addresses(void **state)
{
	static const char *const bad[] = {
		"",  "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.256",
		":", ":::",   "1::2::3",   "g::",      "1.2.3.4 "
	};
	struct fw_address a;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(fw_addr_parse(bad[i], strlen(bad[i]), &a));
	assert_true(fw_addr_parse("::ffff:1.2.3.4", 14, &a));
	assert_true(fw_addr_is_mapped(&a));
	assert_true(fw_addr_parse("::1.2.3.4", 9, &a));
	assert_false(fw_addr_is_mapped(&a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_merge),
		cmocka_unit_test(test_merge_wide),
		cmocka_unit_test(test_has),
		cmocka_unit_test(test_range_text),
		cmocka_unit_test(test_not_addresses),
	};

	return cmocka_run_group_tests_name("ranges", tests, NULL, NULL);
}
