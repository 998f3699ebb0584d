/* SPDX-License-Identifier: GPL-2.0-only */

/* Rules that need what a kernel lacks are refused, with their place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* NOLINTNEXTLINE(bugprone-suspicious-include): its static functions */
#include "user/feature.c"

#define RULES                    \
	"# one declaration\n"    \
	"interface wan = eth0\n" \
	"\tinterface lan = { eth1 { mode tc }, eth2 }\n"

static struct fw_program *compile(const char *text)
{
	struct fw_program *program = NULL;
	struct fw_diag diag = { 0 };

	assert_int_equal(fw_compile("test.conf", text, strlen(text), NULL, NULL,
				    &diag, &program),
			 0);
	fw_diag_done(&diag);
	return program;
}

/* ---- features that are made up ------------------------------------------------ */

static void say_no(const struct fw_kernel *kernel, struct fw_finding *ret)
{
	(void)kernel;
	put(ret, FW_ANSWER_NO, "not here");
}

static void say_unknown(const struct fw_kernel *kernel, struct fw_finding *ret)
{
	(void)kernel;
	put(ret, FW_ANSWER_UNKNOWN, "who knows");
}

static void say_loadable(const struct fw_kernel *kernel, struct fw_finding *ret)
{
	(void)kernel;
	put(ret, FW_ANSWER_LOADABLE, "on demand");
}

static struct fw_span find_lan(const struct fw_program *program)
{
	return program->zones[1].members[0].at;
}

static struct fw_span find_nothing(const struct fw_program *program)
{
	(void)program;
	return (struct fw_span){ 0 };
}

static int check_one(void (*ask)(const struct fw_kernel *, struct fw_finding *),
		     struct fw_span (*find)(const struct fw_program *),
		     const struct fw_program *program, struct fw_span *ret_at,
		     char **reterr)
{
	const struct fw_feature feature = { .name = "wings",
					    .needed_for = "flying",
					    .ask = ask,
					    .find = find };
	const struct fw_kernel kernel = { 0 };

	return check(&kernel, &feature, program, ret_at, reterr);
}

static void lack_is_refused_with_its_place(void **state)
{
	struct fw_program *program = compile(RULES);
	_cleanup_free_ char *error = NULL;
	_cleanup_free_ char *printed = NULL;
	struct fw_diag diag = { 0 };
	struct fw_span at = { 0 };
	size_t len;
	FILE *out;

	(void)state;
	assert_int_equal(check_one(say_no, find_lan, program, &at, &error),
			 -EOPNOTSUPP);
	assert_string_equal(
		error, "this kernel lacks wings, needed for flying: not here");
	assert_int_equal(fw_program_error(program, at, &diag, error), 0);
	out = open_memstream(&printed, &len);
	assert_non_null(out);
	fw_diag_print(&diag, out, false);
	assert_int_equal(fclose(out), 0);
	assert_string_equal(
		printed,
		"test.conf:3:32: error: this kernel lacks wings, needed for flying: not here\n"
		" 3 | \tinterface lan = { eth1 { mode tc }, eth2 }\n"
		"   | \t                              ^~\n");
	assert_int_equal(diag.errors, 1);
	fw_diag_done(&diag);
	fw_program_free(program);
}

static void no_certain_lack_is_tried(void **state)
{
	struct fw_program *program = compile(RULES);
	struct fw_span at = { 0 };
	char *error = NULL;

	(void)state;
	assert_int_equal(check_one(say_unknown, find_lan, program, &at, &error),
			 0);
	assert_int_equal(
		check_one(say_loadable, find_lan, program, &at, &error), 0);
	assert_int_equal(check_one(say_no, find_nothing, program, &at, &error),
			 0);
	assert_int_equal(check_one(say_no, NULL, program, &at, &error), 0);
	assert_null(error);
	assert_int_equal(at.len, 0);
	fw_program_free(program);
}

static void foreign_places_are_refused(void **state)
{
	struct fw_program *program = compile(RULES);
	const struct fw_span places[] = {
		{ .file = 1, .off = 0, .len = 1 },
		{ .file = 0, .off = UINT32_MAX, .len = 1 },
		{ .file = 0, .off = 1, .len = UINT32_MAX },
	};
	struct fw_diag diag = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		assert_int_equal(
			fw_program_error(program, places[i], &diag, "no"),
			-EINVAL);
	}
	assert_int_equal(diag.n, 0);
	fw_program_free(program);
}

/* ---- the real ones --------------------------------------------------------------- */

static void rules_need_tc(void **state)
{
	struct fw_program *program = compile(RULES);
	struct fw_span at = find_interface(program);

	(void)state;
	assert_int_equal(at.len, strlen("eth0"));
	assert_memory_equal(program->texts[0].data + at.off, "eth0", at.len);
	fw_program_free(program);
}

static void each_feature_has_an_answer(void **state)
{
	struct fw_kernel kernel;

	(void)state;
	assert_int_equal(fw_kernel_init(&kernel), 0);
	for (size_t i = 0; i < fw_n_features; i++) {
		const struct fw_feature *feature = &fw_features[i];
		struct fw_finding finding = { 0 };

		assert_non_null(feature->name);
		assert_non_null(feature->needed_for);
		assert_non_null(feature->without);
		for (size_t k = 0; k < i; k++) {
			assert_string_not_equal(feature->name,
						fw_features[k].name);
		}
		feature->ask(&kernel, &finding);
		assert_in_range(finding.answer, FW_ANSWER_NO,
				FW_ANSWER_UNKNOWN);
	}
	fw_kernel_done(&kernel);
}

/* ---- the connection table -------------------------------------------------------- */

static void assert_judged(uint64_t entries, uint64_t limit, uint64_t buckets,
			  enum fw_answer answer, const char *word)
{
	const struct fw_ctsize size = { entries, limit, buckets };
	struct fw_finding finding = { 0 };

	judge_table(&size, &finding);
	assert_int_equal(finding.answer, answer);
	assert_non_null(strstr(finding.detail, word));
	/* nothing was cut off */
	assert_true(strlen(finding.detail) < sizeof(finding.detail) - 1);
}

static void table_of_connections_is_judged(void **state)
{
	(void)state;
	assert_judged(10, 65536, 65536, FW_ANSWER_YES,
		      "10 of 65536 entries in 65536 buckets");
	assert_judged(49151, 65536, 65536, FW_ANSWER_YES, "49151 of");
	assert_judged(49152, 65536, 65536, FW_ANSWER_NO,
		      "raise nf_conntrack_max");
	assert_judged(10, 131072, 65536, FW_ANSWER_YES, "10 of");
	assert_judged(10, 131073, 65536, FW_ANSWER_NO,
		      "nf_conntrack_buckets to 262144");
	assert_judged(30000, 100000, 10000, FW_ANSWER_NO,
		      "3.0 in each of 10000 buckets: set "
		      "nf_conntrack_buckets to 131072");
	/* no limit at all */
	assert_judged(30000, 0, 10000, FW_ANSWER_NO, "to 32768");
	assert_judged(4000000000, 6000000000, 1000000000, FW_ANSWER_NO,
		      "4000000000 entries");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lack_is_refused_with_its_place),
		cmocka_unit_test(no_certain_lack_is_tried),
		cmocka_unit_test(foreign_places_are_refused),
		cmocka_unit_test(rules_need_tc),
		cmocka_unit_test(each_feature_has_an_answer),
		cmocka_unit_test(table_of_connections_is_judged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
