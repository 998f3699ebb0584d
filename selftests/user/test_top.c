/* SPDX-License-Identifier: GPL-2.0-only */

/* fwctl top without a terminal: rates and order, and the busiest of many flows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <netinet/in.h>

#include "user/topcount.h"
#include "user/topmodel.h"
#include "user/util.h"

#define S 1000000000ull

/* ---- samples and rates ------------------------------------------------------------- */

static void put(struct fw_top_model *model, const char *name, uint64_t packets,
		uint64_t bytes)
{
	const uint64_t counts[FW_TOP_COUNTS] = { packets, bytes };

	assert_int_equal(fw_top_put(model, name, "text", counts, NULL), 0);
}

/* Names of the rows, in their order. */
static void check_order(const struct fw_top_model *model, const char *wanted)
{
	char text[256] = "";
	size_t n, at = 0;
	const struct fw_top_row *rows = fw_top_rows(model, &n);

	for (size_t i = 0; i < n; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s",
				       i ? " " : "", rows[i].name);
	assert_string_equal(text, wanted);
}

static const struct fw_top_row *find(const struct fw_top_model *model,
				     const char *name)
{
	size_t n;
	const struct fw_top_row *rows = fw_top_rows(model, &n);

	for (size_t i = 0; i < n; i++) {
		if (strcmp(rows[i].name, name) == 0)
			return &rows[i];
	}
	return NULL;
}

static void check_rate(const struct fw_top_model *model, const char *name,
		       double packets, double bytes)
{
	const struct fw_top_row *row = find(model, name);

	assert_non_null(row);
	if (!row)
		return;
	assert_true(row->rates[0] > packets - 0.01 &&
		    row->rates[0] < packets + 0.01);
	assert_true(row->rates[1] > bytes - 0.01 &&
		    row->rates[1] < bytes + 0.01);
}

static void test_rates(void **state)
{
	struct fw_top_model *model = fw_top_model_new(FW_TOP_RULES);

	(void)state;
	fw_top_begin(model, 10 * S);
	put(model, "b", 1000, 5);
	put(model, "a", 10, 50);
	put(model, "gone", 1, 1);
	fw_top_end(model);
	assert_false(fw_top_has_rates(model));
	check_rate(model, "b", 0, 0);
	fw_top_begin(model, 12 * S);
	put(model, "a", 110, 250);
	put(model, "new", 30, 3000);
	put(model, "b", 4, 7); /* has begun anew, by packets */
	fw_top_end(model);
	assert_true(fw_top_has_rates(model));
	check_rate(model, "a", 50, 100);
	check_rate(model, "new", 15, 1500);
	check_rate(model, "b", 0, 1);
	assert_null(find(model, "gone"));
	/* no time between two looks is no reason to divide by it */
	fw_top_begin(model, 12 * S);
	put(model, "a", 500, 500);
	fw_top_end(model);
	check_rate(model, "a", 0, 0);
	fw_top_model_free(model);
	fw_top_model_free(NULL);
}

static void test_order(void **state)
{
	struct fw_top_model *model = fw_top_model_new(FW_TOP_DROPS);
	size_t columns = fw_top_columns(FW_TOP_DROPS);

	(void)state;
	assert_int_equal(columns, 4);
	fw_top_begin(model, S);
	fw_top_end(model);
	check_order(model, "");
	fw_top_begin(model, 2 * S);
	put(model, "c", 5, 1);
	put(model, "a", 5, 3);
	put(model, "b", 9, 2);
	fw_top_end(model);
	check_order(model, "b a c"); /* packets a second; equal ones by name */
	fw_top_sort(model, 3, false);
	check_order(model, "a b c");
	fw_top_sort(model, 0, true);
	check_order(model, "c a b");
	fw_top_sort(model, columns, false);
	check_order(model, "a b c");
	fw_top_sort(model, columns, true);
	check_order(model, "c b a");
	/* the next sample keeps it */
	fw_top_begin(model, 3 * S);
	put(model, "x", 1, 1);
	put(model, "y", 1, 1);
	fw_top_end(model);
	check_order(model, "y x");
	fw_top_model_free(model);
}

static void test_numbers(void **state)
{
	static const struct {
		double value;
		const char *text;
	} cases[] = {
		{ 0, "0" },	      { 0.25, "0.2" },
		{ 9.5, "9.5" },	      { 12.3, "12" },
		{ 99999, "99999" },   { 123456, "123.5k" },
		{ 1234567, "1235k" }, { 12e9, "12.0G" },
		{ 1.8e19, "18.0E" },  { 99999.7, "100.0k" },
		{ 9999400, "9999k" }, { 9999600, "10.0M" },
	};
	char text[FW_TOP_NUMBER];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(fw_top_number(cases[i].value, text),
				    cases[i].text);
	assert_int_equal(fw_top_find("flows"), FW_TOP_FLOWS);
	assert_int_equal(fw_top_find("flow"), FW_TOP_VIEWS);
}

/* ---- flows and sources ------------------------------------------------------------- */

static struct fw_flow flow_of(uint32_t source, uint16_t port, uint64_t packets,
			      uint64_t bytes)
{
	struct fw_flow flow = {
		.orig = { .proto = IPPROTO_UDP, .family = FW_AF_IPV4 },
		.is_counted = true,
		.counts = { { packets, 0 }, { bytes / 2, bytes - bytes / 2 } },
	};

	flow.orig.saddr.w[3] = htonl(source);
	flow.orig.dport = port;
	return flow;
}

static void add(struct fw_topcount *top, uint32_t source, uint16_t port,
		uint64_t packets, uint64_t bytes)
{
	struct fw_flow flow = flow_of(source, port, packets, bytes);

	fw_topcount_add(top, &flow);
}

static void test_busiest(void **state)
{
	struct fw_topcount *top = fw_topcount_new();
	struct fw_flow fresh = flow_of(3, 1, 6, 600);
	const struct fw_top_source *sources;
	const struct fw_top_flow *flows;
	size_t n;

	(void)state;
	fw_topcount_begin(top, 10 * S);
	add(top, 1, 1, 1000, 1000000); /* much, but of long ago */
	add(top, 1, 2, 5, 500);
	add(top, 2, 1, 5, 500);
	fw_topcount_end(top);
	(void)fw_topcount_flows(top, &n);
	assert_int_equal(n, 0);
	assert_true(fw_topcount_seconds(top) <= 0);
	fw_topcount_begin(top, 12 * S);
	add(top, 1, 1, 1001, 1000100);
	add(top, 1, 2, 7, 700);
	add(top, 2, 1, 15, 1500);
	fresh.opened_ns = 11 * S;
	fw_topcount_add(top, &fresh);
	add(top, 4, 1, 9, 900); /* since when is not known */
	fw_topcount_end(top);
	assert_true(fw_topcount_seconds(top) > 1.99);
	flows = fw_topcount_flows(top, &n);
	assert_int_equal(n, 4);
	assert_int_equal(flows[0].bytes, 1000);
	assert_int_equal(flows[0].packets, 10);
	assert_int_equal(flows[1].bytes, 600);
	assert_int_equal(flows[2].bytes, 200);
	assert_int_equal(flows[3].bytes, 100);
	sources = fw_topcount_sources(top, &n);
	assert_int_equal(n, 4);
	assert_int_equal(ntohl(sources[0].addr.w[3]), 2);
	assert_int_equal(ntohl(sources[1].addr.w[3]), 3);
	assert_int_equal(ntohl(sources[2].addr.w[3]), 1);
	assert_int_equal(sources[2].flows, 2);
	assert_int_equal(sources[2].bytes, 300);
	assert_int_equal(sources[3].flows, 1);
	assert_true(fw_topcount_is_counted(top));
	assert_int_equal(fw_topcount_left_out(top), 0);
	fw_topcount_free(top);
}

/* More of all than there is room for: bounded lists, the busiest in them. */
static void test_bounded(void **state)
{
	struct fw_topcount *top = fw_topcount_new();
	const struct fw_top_source *sources;
	const struct fw_top_flow *flows;
	size_t n;

	(void)state;
	for (uint64_t round = 1; round <= 3; round++) {
		fw_topcount_begin(top, round * S);
		for (uint32_t i = 0; i < 300; i++)
			add(top, 1 + i % 150, (uint16_t)i, round * (i + 1),
			    round * (i + 1) * 100);
		for (uint32_t i = 0; i < 400000; i++)
			add(top, 1000 + i, 1, 1, 100);
		fw_topcount_end(top);
	}
	assert_true(fw_topcount_left_out(top) > 100000);
	flows = fw_topcount_flows(top, &n);
	assert_int_equal(n, FW_TOP_MOST);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(flows[i].bytes, (300 - i) * 100);
	sources = fw_topcount_sources(top, &n);
	assert_in_range(n, FW_TOP_MOST, 2 * FW_TOP_MOST);
	assert_int_equal(ntohl(sources[0].addr.w[3]), 150);
	assert_int_equal(sources[0].bytes, (300 + 150) * 100);
	fw_topcount_free(top);
}

static void test_uncounted(void **state)
{
	struct fw_topcount *top = fw_topcount_new();
	struct fw_flow flow = flow_of(1, 1, 0, 0);
	const struct fw_top_source *sources;
	size_t n;

	(void)state;
	flow.is_counted = false;
	fw_topcount_begin(top, S);
	for (uint16_t port = 0; port < 5; port++) {
		flow.orig.dport = port;
		fw_topcount_add(top, &flow);
	}
	fw_topcount_end(top);
	assert_false(fw_topcount_is_counted(top));
	sources = fw_topcount_sources(top, &n);
	assert_int_equal(n, 1);
	assert_int_equal(sources[0].flows, 5);
	(void)fw_topcount_flows(top, &n);
	assert_int_equal(n, 0);
	fw_topcount_free(top);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rates),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_busiest),
		cmocka_unit_test(test_bounded),
		cmocka_unit_test(test_uncounted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
