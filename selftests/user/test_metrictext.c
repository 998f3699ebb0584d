/* SPDX-License-Identifier: GPL-2.0-only */

/* Metrics as text: both forms to the letter, and which one a client gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "user/metrictext.h"

static const struct fw_metric counter = { "some_total", "counter", "Some." };
static const struct fw_metric gauge = { "much", "gauge", "Much." };
static const struct fw_metric times = { "times_seconds", "histogram",
					"Times." };

/* One of everything. */
static char *write_all(enum fw_metric_form form)
{
	static const double bounds[] = { 0.025, 1.0, 10.0 };
	static const uint64_t counts[] = { 3, 0, 2, 1 };
	struct fw_metric_out out = { .form = form };
	char *text = NULL;
	size_t size;

	out.file = open_memstream(&text, &size);
	assert_non_null(out.file);
	fw_metric_begin(&out, &counter);
	fw_metric_put(&out, &counter, FW_LABELS("a", "x", "b", "\"\\\n\xc3"),
		      18446744073709551615u);
	fw_metric_one_real(&out, &gauge, 0.5);
	fw_metric_histogram(&out, &times, bounds, counts, 3, 7.5);
	fw_metric_end(&out);
	assert_int_equal(ferror(out.file), 0);
	assert_int_equal(fclose(out.file), 0);
	return text;
}

#define REST                                                            \
	"some_total{a=\"x\",b=\"\\\"\\\\\\n?\"} 18446744073709551615\n" \
	"# HELP much Much.\n# TYPE much gauge\nmuch 0.5\n"              \
	"# HELP times_seconds Times.\n# TYPE times_seconds histogram\n" \
	"times_seconds_bucket{le=\"0.025\"} 3\n"                        \
	"times_seconds_bucket{le=\"1.0\"} 3\n"                          \
	"times_seconds_bucket{le=\"10.0\"} 5\n"                         \
	"times_seconds_bucket{le=\"+Inf\"} 6\n"                         \
	"times_seconds_sum 7.5\ntimes_seconds_count 6\n"

static void test_text(void **state)
{
	char *text = write_all(FW_METRIC_TEXT);

	(void)state;
	assert_string_equal(text, "# HELP some_total Some.\n"
				  "# TYPE some_total counter\n" REST);
	free(text);
}

static void test_openmetrics(void **state)
{
	char *text = write_all(FW_METRIC_OPENMETRICS);

	(void)state;
	assert_string_equal(text, "# HELP some Some.\n"
				  "# TYPE some counter\n" REST "# EOF\n");
	free(text);
}

#define OM "application/openmetrics-text"

static void test_negotiation(void **state)
{
	static const struct {
		const char *accept;
		bool is_openmetrics;
	} cases[] = {
		{ NULL, false },
		{ "", false },
		{ "*/*", false },
		{ "text/plain", false },
		{ "text/html, image/png", false },
		{ OM, true },
		{ OM ";version=1.0.0", true },
		{ OM "; version=\"1.0.0\"; charset=utf-8", true },
		{ "APPLICATION/OpenMetrics-Text", true },
		{ OM ";version=0.0.1", false },
		{ OM ";version=2.0.0", false },
		/* Prometheus 2.42, and 3.x. */
		{ OM
		  ";version=1.0.0," OM
		  ";version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
		  true },
		{ OM
		  ";version=1.0.0;escaping=allow-utf-8;q=0.5," OM
		  ";version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
		  true },
		/* The greater weight wins, the more specific range counts. */
		{ OM ";q=0.5,text/plain;q=0.6", false },
		{ "text/plain;q=0.6, " OM ";q=0.7", true },
		{ OM ";q=0.5,text/*", false },
		{ OM ";q=0.5,text/plain;q=0.4,text/*,*/*", true },
		{ OM ";q=0.5,*/*;q=0.51", false },
		{ OM ";q=0", false },
		{ OM ";q=0.000,*/*;q=0", false },
		{ OM ";q=0.001", true },
		{ OM ";q=1.000", true },
		/* What is malformed says nothing. */
		{ OM ";q=2", false },
		{ OM ";q=1.1", false },
		{ OM ";q=0.0001", false },
		{ OM ";q=-1", false },
		{ OM ";q=", false },
		{ OM ";q", false },
		{ OM ";q=0.x", false },
		{ OM ";;;", true },
		{ ",,;=,;q=,==;\"," OM, true },
		{ OM ";version=\"", false },
		{ OM "x", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bool is = fw_metric_negotiate(cases[i].accept) ==
			  FW_METRIC_OPENMETRICS;

		if (is != cases[i].is_openmetrics)
			fail_msg("%s", cases[i].accept);
	}
}

/* Headers of random pieces, for the sanitizers. */
static void test_any_header(void **state)
{
	static const char *const pieces[] = {
		OM, "*/*", ";", ",", "=", "q", "0.5", "\"", " ", "version"
	};
	char header[256];

	(void)state;
	srandom(1);
	for (int i = 0; i < 20000; i++) {
		size_t n = (size_t)random() % 6;

		header[0] = '\0';
		for (size_t k = 0; k < n; k++)
			strcat(header, pieces[(size_t)random() % 10]);
		(void)fw_metric_negotiate(header);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_openmetrics),
		cmocka_unit_test(test_negotiation),
		cmocka_unit_test(test_any_header),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
