/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The compilation of what a load brings along, on a thread of its own: the
 * compiler is pure, and the kernel takes its time to load programs meanwhile.
 * When the rules are right they can be put in force, while the thread looks for
 * warnings.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "rules/rules.h"
#include "user/control.h"

struct fw_compilation;

/**
 * @brief Begin to compile the texts of a request.
 *
 * @param args  of the request: "texts", an array of {"name", "at", "size"}, in
 *              bytes of the file that came along; a NUL is behind each
 * @param ret   to be freed by fw_compilation_free(); it borrows nothing
 * @return 0, -EBADMSG if the texts are not what `args` says, or another
 *         negative errno
 */
int fw_compilation_begin(const struct fw_request *request, const json_t *args,
			 struct fw_compilation **ret);

/** @brief Bytes of all texts. */
size_t fw_compilation_bytes(const struct fw_compilation *compilation);

/**
 * @brief About how many rules the texts have, at a glance: lines that begin as
 *        a rule does, which those of a file with a set never do.
 */
size_t fw_compilation_rules(const struct fw_compilation *compilation);

/** @brief Does a text have this word somewhere?  It may be in a comment. */
bool fw_compilation_has_word(const struct fw_compilation *compilation,
			     const char *word);

/**
 * @brief Wait until there is a program, or an error.
 *
 * @param ret  borrowed until fw_compilation_end(); to be read, all of it but
 *             `decided_by`
 * @return as fw_compile()
 */
int fw_compilation_wait(struct fw_compilation *compilation,
			struct fw_program **ret);

/**
 * @brief Wait for the end of it.
 *
 * @return its messages, borrowed; more may be added
 */
struct fw_diag *fw_compilation_end(struct fw_compilation *compilation);

/** @brief Have the program, after the end; NULL: none, or not any more. */
struct fw_program *fw_compilation_take(struct fw_compilation *compilation);

/** @brief Free it with a program that nobody has taken; NULL is fine. */
void fw_compilation_free(struct fw_compilation *compilation);
