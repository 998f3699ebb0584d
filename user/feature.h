/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * What fwctl makes use of in a kernel, in one table: `fwctl doctor` prints it,
 * and a load is refused if its rules need what this kernel lacks.
 *
 * A feature that only some rules need says where a program needs it. So a new
 * kind of rule adds a row here, and its refusal has a place in the file.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "rules/rules.h"

struct fw_modules;
struct fw_probe;

enum fw_answer {
	FW_ANSWER_NO,
	FW_ANSWER_YES,
	FW_ANSWER_LOADABLE, /* in a module that can be loaded: as good as yes */
	FW_ANSWER_UNKNOWN,
};

struct fw_finding {
	enum fw_answer answer;
	char detail[160]; /* in place of yes and no, unless empty */
};

/* Whom to ask; what an answer needs is read when it is needed. */
struct fw_kernel {
	struct fw_probe *probe;
	struct fw_modules *modules;
};

struct fw_feature {
	const char *name;
	const char *needed_for;
	const char *without; /* what happens, or what to do */
	bool is_required;    /* whatever the rules are */
	/* `ret` is zeroed: the answer is no */
	void (*ask)(const struct fw_kernel *kernel, struct fw_finding *ret);
	/* First place that needs it, its len 0 if none does; NULL: no rule can */
	struct fw_span (*find)(const struct fw_program *program);
};

extern const struct fw_feature fw_features[];
extern const size_t fw_n_features;

/** @brief 0 or -ENOMEM; fw_kernel_done() is fine after either. */
int fw_kernel_init(struct fw_kernel *ret);
void fw_kernel_done(struct fw_kernel *kernel);

/**
 * @brief Does this kernel have what the rules need beyond what all rules need?
 *
 * Only a certain "no" is refused; what nobody can tell is tried.
 *
 * @param ret_at  on -EOPNOTSUPP the place that needs it
 * @param reterr  on failure one line for the user, malloc()ed
 * @return 0, -EOPNOTSUPP, or -ENOMEM
 */
int fw_features_check(const struct fw_program *program, struct fw_span *ret_at,
		      char **reterr);
