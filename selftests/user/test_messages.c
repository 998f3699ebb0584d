/* SPDX-License-Identifier: GPL-2.0-only */

/* Messages on their way from a daemon to a client: what arrives is what was sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "user/messages.h"
#include "user/proto.h"

static const char wrong[] = "interface wan = eth0\n"
			    "acept in\n"
			    "drop in from 10.0.0.1/8 label \xff\n"
			    "set s { 1.1.1.1 }\nset s { 2.2.2.2 }\n";

static void compile(struct fw_diag *diag)
{
	struct fw_program *program = NULL;

	assert_int_equal(fw_compile("r.conf", wrong, strlen(wrong), NULL, NULL,
				    diag, &program),
			 -22);
}

static char *print(const struct fw_diag *diag)
{
	char *text = NULL;
	size_t n;
	FILE *out = open_memstream(&text, &n);

	assert_non_null(out);
	fw_diag_print(diag, out, false);
	assert_int_equal(fclose(out), 0);
	return text;
}

static void test_there_and_back(void **state)
{
	struct fw_diag sent = { 0 }, got = { 0 };
	struct fw_buf buf = { 0 };
	json_t *packed, *received = NULL;
	char *want, *have;

	(void)state;
	compile(&sent);
	packed = fw_messages_pack(&sent);
	assert_int_equal(fw_frame_put(&buf, packed, FW_PROTO_MAX_REPLY), 0);
	assert_int_equal(
		fw_frame_take(&buf, FW_PROTO_MAX_REPLY, &received, NULL), 1);
	assert_int_equal(fw_messages_take(received, &got), 0);
	assert_int_equal(got.n, sent.n);
	assert_int_equal(got.errors, sent.errors);
	want = print(&sent);
	have = print(&got);
	assert_string_equal(have, want);
	free(want);
	free(have);
	json_decref(packed);
	json_decref(received);
	fw_buf_done(&buf);
	fw_diag_done(&sent);
	fw_diag_done(&got);
}

/* Whatever is missing or of another kind is an error, never a crash. */
static void test_malformed(void **state)
{
	static const char *const members[] = { "severity", "file", "line",
					       "column",   "text", "source",
					       "caret" };
	struct fw_diag sent = { 0 };
	json_t *packed, *first;

	(void)state;
	compile(&sent);
	packed = fw_messages_pack(&sent);
	first = json_array_get(json_object_get(packed, "list"), 0);
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		json_t *old = json_incref(json_object_get(first, members[i]));
		struct fw_diag got = { 0 };

		(void)json_object_set_new(first, members[i], json_true());
		assert_int_equal(fw_messages_take(packed, &got), -74);
		fw_diag_done(&got);
		(void)json_object_set_new(first, members[i], json_integer(-1));
		got = (struct fw_diag){ 0 };
		assert_int_equal(fw_messages_take(packed, &got), -74);
		fw_diag_done(&got);
		(void)json_object_set_new(first, members[i], old);
	}
	(void)json_object_set_new(first, "severity", json_integer(3));
	for (int i = 0; i < 2; i++) {
		struct fw_diag got = { 0 };

		assert_int_equal(fw_messages_take(packed, &got), -74);
		fw_diag_done(&got);
		(void)json_object_set_new(packed, "list", json_string("none"));
	}
	json_decref(packed);
	fw_diag_done(&sent);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_malformed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
