/* SPDX-License-Identifier: GPL-2.0-only */

/* What the unit tests of rules/ share. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "rules/rules.h"

/* A file that exists only in a test. */
struct test_file {
	const char *name;
	const char *text;
};

/* Files for fw_read_fn, ended by a NULL name. */
static inline int test_read(void *ctx, const char *name, struct fw_text *ret,
			    const char **reterr)
{
	const struct test_file *f;

	for (f = ctx; f && f->name; f++) {
		if (strcmp(f->name, name) != 0)
			continue;
		ret->name = strdup(name);
		ret->data = strdup(f->text);
		ret->len = strlen(f->text);
		return ret->name && ret->data ? 0 : -12;
	}
	*reterr = "no such file";
	return -2;
}

/* Compile what must be right. */
static inline struct fw_program *compile_good(const char *text,
					      const struct test_file *files)
{
	struct fw_program *program = NULL;
	struct fw_diag diag = { 0 };
	int r;

	r = fw_compile("test.conf", text, strlen(text), test_read,
		       (void *)(uintptr_t)files, &diag, &program);
	if (r < 0)
		fw_diag_print(&diag, stderr, false);
	assert_int_equal(r, 0);
	fw_diag_done(&diag);
	return program;
}

/* Compile what must be wrong; the caller frees the messages. */
static inline void compile_bad(const char *text, const struct test_file *files,
			       struct fw_diag *diag)
{
	struct fw_program *program = NULL;
	int r;

	*diag = (struct fw_diag){ 0 };
	r = fw_compile("test.conf", text, strlen(text), test_read,
		       (void *)(uintptr_t)files, diag, &program);
	assert_int_equal(r, -22);
	assert_null(program);
	assert_true(diag->errors > 0);
}
