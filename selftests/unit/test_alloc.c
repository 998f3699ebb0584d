/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Memory that runs out: every allocation of a compilation fails once. Nothing
 * may crash or leak (the sanitizers look), and nothing half-done may come out.
 */
#include <stdlib.h>

#include "alloc_fails.h"
#include "rules_helper.h"

static const char good[] =
	"interface wan = eth0 { mode xdp }\n"
	"interface lan = { eth1, eth2 }\n"
	"define web = { 80, 443, 8000-8100 }\n"
	"define more = { $web, ssh }\n"
	"define unused = 1\n"
	"set bad { 198.51.100.0/24, 2001:db8::/32 }\n"
	"set worse { @bad, self }\n"
	"include \"more.conf\"\n"
	"default in drop log\n"
	"drop stateless in on wan from { @worse, 192.0.2.1 } label bad\n"
	"accept in on wan to self port $more log \"web \"\n"
	"set duo { 192.0.2.1 port 80, file \"duo.txt\", 2001:db8::/32 port $web }\n"
	"set trio { @duo, 192.0.2.0/30 port 443, self port 22 }\n"
	"accept in proto tcp to @duo\n"
	"drop in proto udp from !{ @duo, @trio } port 1\n"
	"accept forward lan -> !wan proto icmp4 type 8 code !0\n"
	"accept forward lan -> !wan proto icmp4 type 8 code !0\n";

static const char wrong[] =
	"accept in on wna\nacept in\n"
	"set x { file \"none.txt\" }\n"
	"set y { 1.1.1.1 port 1, 1.1.1.2, 1.1.1.3 port x }\n"
	"accept in to @y\n"
	"drop in from { 10.0.0.1/8, ::ffff:1.2.3.4 }\n"
	"accept in proto tcp from ::1 to 1.1.1.1\n";

static const struct test_file files[] = {
	{ "duo.txt", "192.0.2.2 port { 80, 81 }\n192.0.2.3 port 80\n" },
	{ "more.conf", "accept in proto udp from port !53\n" },
	{ NULL, NULL },
};

static int replace_set(struct fw_program *program)
{
	struct fw_text text = { .name = strdup("new.txt"),
				.data = strdup("10.0.0.1\n::1\n"),
				.len = 13 };
	struct fw_replacement *replacement = NULL;
	const struct fw_named_set *set;
	struct fw_diag diag = { 0 };
	int r;

	set = fw_program_set(program, "bad");
	assert_non_null(set);
	r = fw_replacement_new(program, set, &text, &diag, &replacement);
	assert_null(text.name);
	if (r == 0)
		fw_replacement_swap(program, replacement);
	fw_replacement_free(replacement);
	fw_diag_done(&diag);
	return r;
}

/* As a daemon that starts does it. */
static int compile_replaced(const struct fw_text *main_text,
			    const struct fw_set_text *replaced, size_t n)
{
	const struct fw_options options = { .replaced = replaced,
					    .n_replaced = n };
	struct fw_program *program = NULL;
	struct fw_diag diag = { 0 };
	int r;

	r = fw_compile_with(&options, main_text->name, main_text->data,
			    main_text->len, test_read, (void *)(uintptr_t)files,
			    &diag, &program);
	if (r < 0)
		assert_null(program);
	fw_program_free(program);
	fw_diag_done(&diag);
	return r;
}

static int use_program(struct fw_program *program)
{
	static const uint32_t default_slots[FW_DIR_MAX] = { 0 };
	uint32_t slots[32] = { 0 };
	struct fw_image image = { 0 };
	struct fw_set_text *replaced = NULL;
	struct fw_text *texts = NULL;
	size_t n = 0, n_replaced = 0;
	int r;

	assert_true(program->n_rows <= 32);
	r = replace_set(program);
	if (r == 0)
		r = fw_emit(program, 1, slots, default_slots, &image);
	if (r == 0) {
		r = fw_image_texts(&image, &texts, &n, &replaced, &n_replaced);
	}
	if (r == 0)
		r = compile_replaced(texts, replaced, n_replaced);
	if (r == 0)
		assert_int_equal(n, program->n_texts);
	fw_texts_free(texts, n);
	fw_set_texts_free(replaced, n_replaced);
	fw_image_done(&image);
	return r;
}

static int compile(const char *text)
{
	struct fw_program *program = NULL;
	struct fw_diag diag = { 0 };
	int r;

	r = fw_compile("test.conf", text, strlen(text), test_read,
		       (void *)(uintptr_t)files, &diag, &program);
	if (r == 0) {
		r = use_program(program);
	} else {
		assert_null(program);
	}
	fw_program_free(program);
	fw_diag_done(&diag);
	return r;
}

/* Let one allocation after the other fail until none is left to. */
static void fail_each(const char *text, int want)
{
	long n;
	int r;

	for (n = 0;; n++) {
		countdown = n;
		r = compile(text);
		if (countdown >= 0)
			break;
		assert_true(r == -12 || r == want);
	}
	countdown = -1;
	assert_int_equal(r, want);
	assert_in_range(n, 20, 100000);
}

static void test_good(void **state)
{
	(void)state;
	fail_each(good, 0);
}

static void test_wrong(void **state)
{
	(void)state;
	fail_each(wrong, -22);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_wrong),
	};

	return cmocka_run_group_tests_name("alloc", tests, NULL, NULL);
}
