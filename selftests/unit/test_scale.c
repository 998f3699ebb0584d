/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Many rules, large sets, and files that were made to hurt.
 *
 * Nothing here measures time: what must not grow with the square of the input
 * would outlast the alarm by hours.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "rules/file.h"
#include "rules/parse.h"
#include "rules/sets.h"
#include "rules_helper.h"

#ifdef __SANITIZE_ADDRESS__
#define MANY	  20000
#define N_ENTRIES 400000
#else
#define MANY	  100000
#define N_ENTRIES 1000000
#endif
#define N_RULES	 (FW_MAX_RULES < MANY ? FW_MAX_RULES : MANY)
#define PATIENCE 300 /* seconds, for a slow machine with the sanitizers */

static int start_alarm(void **state)
{
	(void)state;
	alarm(PATIENCE);
	return 0;
}

static int stop_alarm(void **state)
{
	(void)state;
	alarm(0);
	return 0;
}

/* ---- texts --------------------------------------------------------------- */

static uint32_t seed = 1;

static uint32_t random_number(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed;
}

typedef void (*line_fn)(FILE *out, uint32_t i);

/* A head and then lines; the caller frees. */
static char *write_lines(const char *head, line_fn line, uint32_t n)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	uint32_t i;

	assert_non_null(out);
	fputs(head, out);
	for (i = 0; i < n; i++)
		line(out, i);
	assert_int_equal(fclose(out), 0);
	return text;
}

static const char head[] = "interface wan = eth0\n"
			   "interface lan = { eth1, eth2 }\n"
			   "define web = { 80, 443, 8000-8100 }\n"
			   "define mgmt = { 192.0.2.0/24, 2001:db8:1::/48 }\n";

static void plain_v4(FILE *out, uint32_t i)
{
	fprintf(out,
		"accept in on wan proto tcp from %u.%u.%u.0/24 to 10.%u.%u.%u port %u\n",
		1 + i % 200, i / 200 % 256, random_number() % 256, i >> 16,
		i >> 8 & 255, i & 255, 1 + i % 65535);
}

static void plain_v6(FILE *out, uint32_t i)
{
	fprintf(out,
		"drop forward lan -> wan proto udp from 2001:db8:%x:%x::/64 to 2001:db8:%x::/48 port %u label r%u\n",
		i >> 16, i & 0xffff, random_number() % 0xffff, 1 + i % 65535,
		i);
}

static void with_lists(FILE *out, uint32_t i)
{
	fprintf(out,
		"accept in from { $mgmt, 10.%u.%u.%u, 2001:db8::%x:1 } to port { $web, %u, %u-%u }\n",
		i >> 16, i >> 8 & 255, i & 255, i & 0xffff, 1 + i % 7999, 9000,
		9001 + i % 50000);
}

/* Wide and narrow ones over each other, each a little different. */
static void nested(FILE *out, uint32_t i)
{
	uint32_t len = 1 + random_number() % 32;
	uint32_t address = 0xc0a85537u & (UINT32_MAX << (32 - len));

	fprintf(out, "%s in proto tcp from %u.%u.%u.%u/%u to port %u-%u\n",
		i % 3 ? "accept" : "drop", address >> 24, address >> 16 & 255,
		address >> 8 & 255, address & 255, len, 1 + i % 30000,
		30001 + random_number() % 30000);
}

/* ---- many rules ---------------------------------------------------------- */

static void compile_many(line_fn line, size_t n_sets)
{
	char *text = write_lines(head, line, N_RULES);
	struct fw_program *program = NULL;
	struct fw_diag diag = { 0 };

	assert_int_equal(fw_compile("many", text, strlen(text), NULL, NULL,
				    &diag, &program),
			 0);
	assert_int_equal(program->n_rows, N_RULES);
	assert_in_range(program->n_sets, 1, n_sets);
	assert_int_equal(program->rows[N_RULES - 1].line, N_RULES + 4);
	fw_program_free(program);
	fw_diag_done(&diag);
	free(text);
}

static void test_many_rules(void **state)
{
	(void)state;
	compile_many(plain_v4, N_RULES * 2 + 65536);
	compile_many(plain_v6, N_RULES * 2 + 65536);
	compile_many(with_lists, N_RULES * 2);
	compile_many(nested, N_RULES + 64);
}

static void same_ports(FILE *out, uint32_t i)
{
	fprintf(out,
		"accept in proto tcp from 10.%u.%u.%u to port { 80, 443 }\n",
		i >> 16, i >> 8 & 255, i & 255);
}

/* One set for what is the same, however it is written. */
static void test_sets_are_shared(void **state)
{
	const uint32_t n = 1000;
	char *text =
		write_lines("interface wan = eth0\n"
			    "define web = { 443, 80 }\n"
			    "accept in proto tcp to port $web\n"
			    "accept in proto udp to port { 80, 80, 443 }\n",
			    same_ports, n);
	struct fw_program *program = compile_good(text, NULL);
	uint32_t i;

	(void)state;
	assert_int_equal(program->n_sets, n + 1);
	for (i = 0; i < program->n_rows; i++)
		assert_int_equal(program->rows[i].l4b, program->rows[0].l4b);
	fw_program_free(program);
	free(text);
}

static void opposite(FILE *out, uint32_t i)
{
	fprintf(out, "accept in from !10.%u.%u.%u to !11.%u.%u.%u\n", i >> 16,
		i >> 8 & 255, i & 255, i >> 16, i >> 8 & 255, i & 255);
}

/* What cannot be found by place is given up, and that is said. */
static void test_search_ends(void **state)
{
	char *text = write_lines("interface wan = eth0\n", opposite,
				 N_RULES < 30000 ? N_RULES : 30000);
	struct fw_program *program = NULL;
	struct fw_diag diag = { 0 };

	(void)state;
	assert_int_equal(fw_compile("t", text, strlen(text), NULL, NULL, &diag,
				    &program),
			 0);
	assert_int_equal(diag.warnings, 1);
	assert_string_equal(
		diag.messages[0].text,
		"from here on nobody looked for rules that can never match");
	assert_non_null(strstr(diag.messages[0].hint, "100000000 comparisons"));
	fw_program_free(program);
	fw_diag_done(&diag);
	free(text);
}

/* The first error among all messages. */
static const struct fw_message *first_error(const struct fw_diag *diag)
{
	size_t i = 0;

	while (i < diag->n && diag->messages[i].severity != FW_SEVERITY_ERROR)
		i++;
	assert_true(i < diag->n);
	return &diag->messages[i];
}

/* ---- large sets ---------------------------------------------------------- */

static void address(FILE *out, uint32_t i)
{
	uint32_t a = random_number();

	switch (i % 4) {
	case 0:
		fprintf(out, "%u.%u.%u.%u\n", a >> 24, a >> 16 & 255,
			a >> 8 & 255, a & 255);
		break;
	case 1:
		fprintf(out, "  %u.%u.%u.0/24 # comment\n", a >> 24,
			a >> 16 & 255, a >> 8 & 255);
		break;
	case 2:
		fprintf(out, "2001:db8:%x:%x::/64\r\n", a >> 16, a & 0xffff);
		break;
	default:
		fprintf(out, "2001:db8::%x:%x\n", a >> 16, a & 0xffff);
		break;
	}
}

static bool is_before(const struct fw_range *a, const struct fw_range *b)
{
	/* Something lies between them. */
	return a->last_hi < b->first_hi ||
	       (a->last_hi == b->first_hi && a->last_lo + 1 < b->first_lo);
}

static void check_order(const struct fw_ranges *ranges)
{
	size_t i;

	for (i = 1; i < ranges->n; i++)
		assert_true(is_before(&ranges->r[i - 1], &ranges->r[i]));
}

static void test_large_set(void **state)
{
	char *text = write_lines("", address, N_ENTRIES);
	const struct test_file files[] = { { "set.txt", text },
					   { NULL, NULL } };
	struct fw_program *program =
		compile_good("interface wan = eth0\n"
			     "set many { file \"set.txt\" }\n"
			     "drop in from @many\n"
			     "drop in to { @many }\n",
			     files);
	const struct fw_ir_set *set;

	(void)state;
	assert_int_equal(program->n_sets, 1);
	set = &program->sets[0];
	assert_in_range(set->v4.n, N_ENTRIES / 3, N_ENTRIES / 2);
	assert_in_range(set->v6.n, N_ENTRIES / 3, N_ENTRIES / 2);
	check_order(&set->v4);
	check_order(&set->v6);
	fw_program_free(program);
	free(text);
}

static void bad_entry(FILE *out, uint32_t i)
{
	fprintf(out, "10.0.0.%u\n", 256 + i);
}

static void test_bad_entries(void **state)
{
	char *text = write_lines("", bad_entry, N_ENTRIES);
	const struct test_file files[] = { { "set.txt", text },
					   { NULL, NULL } };
	struct fw_diag diag;

	(void)state;
	compile_bad("set bad { file \"set.txt\" }\n", files, &diag);
	assert_int_equal(diag.errors, FW_MAX_ERRORS);
	assert_true(diag.truncated);
	assert_string_equal(first_error(&diag)->file, "set.txt");
	assert_string_equal(first_error(&diag)->text,
			    "'10.0.0.256' is not an IPv4 or IPv6 address");
	fw_diag_done(&diag);
	free(text);
}

/* ---- files that were made to hurt ---------------------------------------- */

static void expect_only(const char *text, const struct test_file *files,
			const char *message)
{
	struct fw_diag diag;

	compile_bad(text, files, &diag);
	assert_int_equal(diag.errors, 1);
	assert_string_equal(first_error(&diag)->text, message);
	/* Whatever the file holds, people can read what is said of it. */
	assert_true(strlen(first_error(&diag)->source) < 256);
	fw_diag_done(&diag);
}

static void bad_line(FILE *out, uint32_t i)
{
	(void)i;
	fputs("acept in\n", out);
}

static void test_many_errors(void **state)
{
	char *text = write_lines("", bad_line, 100000);
	char *printed = NULL;
	struct fw_diag diag;
	size_t n = 0;
	FILE *out;

	(void)state;
	compile_bad(text, NULL, &diag);
	assert_int_equal(diag.errors, FW_MAX_ERRORS);
	out = open_memstream(&printed, &n);
	assert_non_null(out);
	fw_diag_print(&diag, out, false);
	assert_int_equal(fclose(out), 0);
	assert_non_null(strstr(printed, "too many errors"));
	free(printed);
	fw_diag_done(&diag);
	free(text);
}

/* A line of one piece again and again. */
static char *one_line(const char *start, const char *piece, size_t size)
{
	size_t at = strlen(start), len = strlen(piece);
	char *text = malloc(size + 1);

	assert_non_null(text);
	memcpy(text, start, at);
	for (; at + len <= size; at += len)
		memcpy(text + at, piece, len);
	text[at] = '\0';
	return text;
}

static void test_long_lines(void **state)
{
	static const struct {
		const char *start, *piece, *message;
	} lines[] = {
		{ "", "a",
		  "unknown statement 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'" },
		{ "accept in from ", "{", "lists are nested deeper than 16" },
		{ "accept in ", "x ", "unknown word 'x' in a rule" },
		{ "", "%",
		  "addresses have no zone index; name the interface with 'on'" },
		{ "", "\x01", "this is not text: byte 0x01" },
		{ "include \"", "x",
		  "the string is not closed before the end of the line" },
		{ "accept in from { ", "1.2.3.4, ", "the '{' is never closed" },
		{ "accept in label ", "x", NULL },
		{ "accept in log \"", "x", NULL },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		char *text = one_line(lines[i].start, lines[i].piece, 8 << 20);
		struct fw_diag diag;

		compile_bad(text, NULL, &diag);
		if (lines[i].message) {
			assert_string_equal(first_error(&diag)->text,
					    lines[i].message);
		}
		assert_true(strlen(first_error(&diag)->text) < 256);
		assert_true(strlen(first_error(&diag)->source) < 256);
		fw_diag_done(&diag);
		free(text);
	}
}

/* Its size alone is enough: not one byte is looked at. */
static void test_too_large(void **state)
{
	struct fw_program *program = NULL;
	struct fw_diag diag = { 0 };

	(void)state;
	assert_int_equal(fw_compile("large", "", (size_t)FW_MAX_TEXT + 1, NULL,
				    NULL, &diag, &program),
			 -22);
	assert_int_equal(diag.errors, 1);
	assert_string_equal(diag.messages[0].text,
			    "the files have more than 256 MB");
	fw_diag_done(&diag);
}

/* A file that claims to be enormous; `ctx` is its size. */
static int read_large(void *ctx, const char *name, struct fw_text *ret,
		      const char **reterr)
{
	(void)reterr;
	ret->name = strdup(name);
	ret->data = strdup("");
	ret->len = *(size_t *)ctx;
	return ret->name && ret->data ? 0 : -12;
}

static void test_too_large_files(void **state)
{
	static const char *const texts[] = {
		"include \"x\"\n",
		"set a { file \"x\" }\n",
	};
	size_t size = (size_t)FW_MAX_TEXT + 1;
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		struct fw_program *program = NULL;
		struct fw_diag diag = { 0 };

		assert_int_equal(fw_compile("t", texts[i], strlen(texts[i]),
					    read_large, &size, &diag, &program),
				 -22);
		assert_string_equal(diag.messages[0].text,
				    "the files have more than 256 MB");
		fw_diag_done(&diag);
	}
}

static void include_next(FILE *out, uint32_t i)
{
	(void)i;
	fputs("include \"b.conf\"\n", out);
}

static void include_last(FILE *out, uint32_t i)
{
	(void)i;
	fputs("include \"c.conf\"\n", out);
}

/* Two files of four thousand lines that include a third one. */
static void test_include_bomb(void **state)
{
	char *a = write_lines("", include_next, 4000);
	char *b = write_lines("", include_last, 4000);
	const struct test_file files[] = { { "b.conf", b },
					   { "c.conf", "# nothing\n" },
					   { NULL, NULL } };

	(void)state;
	expect_only(a, files, "the files have more than 256 MB");
	free(a);
	free(b);
}

/* A set that is named by hundreds of others. */
static void name_all(FILE *out, uint32_t i)
{
	fprintf(out, "set s%u { @many, 192.0.2.%u }\n", i, i);
}

static void test_set_bomb(void **state)
{
	char *entries = write_lines("", address, 250000);
	const struct test_file files[] = { { "set.txt", entries },
					   { NULL, NULL } };
	char *text =
		write_lines("set many { file \"set.txt\" }\n", name_all, 200);
	struct fw_diag diag;

	(void)state;
	compile_bad(text, files, &diag);
	assert_string_equal(
		first_error(&diag)->text,
		"the defines and sets have more than 4194304 ranges");
	assert_true(first_error(&diag)->line < 30);
	fw_diag_done(&diag);
	free(text);
	free(entries);
}

static void in_rule(FILE *out, uint32_t i)
{
	fprintf(out, "accept in from { @many, 192.0.2.%u }\n", i);
}

static void test_rule_bomb(void **state)
{
	char *entries = write_lines("", address, 250000);
	const struct test_file files[] = { { "set.txt", entries },
					   { NULL, NULL } };
	char *text =
		write_lines("set many { file \"set.txt\" }\n", in_rule, 200);

	(void)state;
	expect_only(text, files,
		    "the sets of all rules have more than 4194304 ranges");
	free(text);
	free(entries);
}

static void empty_set(FILE *out, uint32_t i)
{
	fprintf(out, "set s%u { }\n", i);
}

static void test_statement_bomb(void **state)
{
	char *text = write_lines("", empty_set, FW_MAX_OTHERS + 2);

	(void)state;
	expect_only(text, NULL,
		    "more than 1048576 statements besides the rules");
	free(text);
}

static void test_long_path(void **state)
{
	char *text = one_line("include \"", "x", FW_MAX_PATH + 100);
	char *closed;

	(void)state;
	assert_true(asprintf(&closed, "%s\"\n", text) > 0);
	expect_only(closed, NULL, "the path is longer than 4095 bytes");
	free(closed);
	free(text);
}

#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, start_alarm, stop_alarm)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_many_rules),	    TEST(test_sets_are_shared),
		TEST(test_search_ends),	    TEST(test_large_set),
		TEST(test_bad_entries),	    TEST(test_many_errors),
		TEST(test_long_lines),	    TEST(test_too_large),
		TEST(test_too_large_files), TEST(test_include_bomb),
		TEST(test_set_bomb),	    TEST(test_rule_bomb),
		TEST(test_statement_bomb),  TEST(test_long_path),
	};

	return cmocka_run_group_tests_name("scale", tests, NULL, NULL);
}
