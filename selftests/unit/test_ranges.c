/* SPDX-License-Identifier: GPL-2.0-only */

/* Merging ranges, and addresses as text. */
#include "rules/ranges.h"

#include <arpa/inet.h>
#include <stdlib.h>

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

static uint64_t seed = 1;

static uint64_t random_number(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static int compare_starts(const void *a, const void *b)
{
	return memcmp(a, b, 2 * sizeof(uint64_t));
}

/* Many ranges, however their numbers are spread. */
static void check_many(size_t n, uint64_t mask_hi, uint64_t mask_lo)
{
	struct fw_ranges ranges = { 0 };
	struct fw_ranges pieces = { 0 };
	size_t i;

	for (i = 0; i < n; i++) {
		struct fw_u128 first = { random_number() & mask_hi,
					 random_number() & mask_lo };
		struct fw_u128 last = first;

		last.lo |= random_number() & 3;
		assert_int_equal(fw_ranges_add(&ranges, first, last), 0);
		assert_int_equal(fw_ranges_add(&pieces, first, last), 0);
	}
	fw_ranges_merge(&ranges);
	for (i = 1; i < ranges.n; i++) {
		const struct fw_range *a = &ranges.r[i - 1];
		const struct fw_range *b = &ranges.r[i];

		assert_true(a->last_hi < b->first_hi ||
			    (a->last_hi == b->first_hi &&
			     a->last_lo + 1 < b->first_lo));
	}
	for (i = 0; i < n; i++) {
		struct fw_range *p = &pieces.r[i];

		assert_true(fw_ranges_has(
			&ranges, (struct fw_u128){ p->first_hi, p->first_lo }));
		assert_true(fw_ranges_has(
			&ranges, (struct fw_u128){ p->last_hi, p->last_lo }));
	}
	/* Nothing starts where nothing started. */
	qsort(pieces.r, n, sizeof(*pieces.r), compare_starts);
	for (i = 0; i < ranges.n; i++) {
		assert_non_null(bsearch(&ranges.r[i], pieces.r, n,
					sizeof(*pieces.r), compare_starts));
	}
	fw_ranges_done(&ranges);
	fw_ranges_done(&pieces);
}

static void test_merge_many(void **state)
{
	static const struct {
		size_t n;
		uint64_t mask_hi, mask_lo;
	} cases[] = {
		{ 10, 0, 0xfff },
		{ 25, 0, UINT32_MAX },
		{ 1000, 0, 0xff },
		{ 5000, 0, UINT32_MAX },
		{ 50000, 0, UINT32_MAX },
		{ 50000, UINT64_MAX, UINT64_MAX },
		{ 50000, 0xffffffff00000000, 0 },
		{ 50000, 1, 0x8000000000000007 },
		{ 50000, 0, 0 },
		{ 5000, 0xf00000000000000f, 0xf00000000000000f },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		check_many(cases[i].n, cases[i].mask_hi, cases[i].mask_lo);
}

/* The library of the system is the judge of addresses as text. */
static void check_as_text(const unsigned char *bytes, bool is_v6)
{
	char want[INET6_ADDRSTRLEN];
	struct fw_address address;
	struct fw_str str = { 0 };
	struct fw_u128 value = { 0 };
	int i;

	for (i = 0; i < 8; i++) {
		value.hi = value.hi << 8 | bytes[i];
		value.lo = value.lo << 8 | bytes[8 + i];
	}
	if (!is_v6)
		value = (struct fw_u128){ .lo = value.lo & UINT32_MAX };
	assert_non_null(inet_ntop(is_v6 ? AF_INET6 : AF_INET,
				  is_v6 ? bytes : bytes + 12, want,
				  sizeof(want)));
	fw_addr_print(&str, value, is_v6);
	assert_string_equal(str.s, want);
	assert_true(fw_addr_parse(str.s, str.n, &address));
	assert_int_equal(address.is_v6, is_v6);
	assert_int_equal(address.value.hi, value.hi);
	assert_int_equal(address.value.lo, value.lo);
	fw_str_done(&str);
}

static void test_addresses_as_text(void **state)
{
	unsigned char bytes[16];
	size_t i, k;

	(void)state;
	for (i = 0; i < 200000; i++) {
		uint64_t which = random_number();

		for (k = 0; k < 16; k++) {
			/* Whole groups of zeros, and small ones, often. */
			bytes[k] = which >> (k / 2 * 3) & 3
					   ? 0
					   : (unsigned char)random_number();
			if (which >> (k / 2 * 3 + 2) & 1)
				bytes[k] &= k % 2 ? 0xf : 0;
		}
		check_as_text(bytes, true);
		check_as_text(bytes, false);
	}
}

/* And of what is none. */
static void test_ipv4_texts(void **state)
{
	static const char letters[] = "0123456789..//ab";
	unsigned char bytes[4];
	char text[12];
	size_t i, k, len, n_good = 0;

	(void)state;
	for (i = 0; i < 2000000; i++) {
		struct fw_address address;
		bool is_good;

		len = 7 + random_number() % 4;
		for (k = 0; k < len; k++) {
			text[k] = k % 2 && random_number() % 4
					  ? '.'
					  : letters[random_number() % 16];
		}
		text[len] = '\0';
		is_good = inet_pton(AF_INET, text, bytes) == 1;
		assert_int_equal(fw_addr_parse(text, len, &address), is_good);
		n_good += is_good;
	}
	assert_true(n_good > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_merge),
		cmocka_unit_test(test_merge_wide),
		cmocka_unit_test(test_merge_many),
		cmocka_unit_test(test_addresses_as_text),
		cmocka_unit_test(test_ipv4_texts),
		cmocka_unit_test(test_has),
		cmocka_unit_test(test_range_text),
		cmocka_unit_test(test_not_addresses),
	};

	return cmocka_run_group_tests_name("ranges", tests, NULL, NULL);
}
