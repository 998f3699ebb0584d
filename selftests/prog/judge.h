/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The interpreter for programs of many rules: the same answers, sooner.
 *
 * Each row has a hull, a box of addresses and ports that holds all it can match.
 * Rows whose hull a packet misses are not asked; those that remain are, one by
 * one and in order, by fw_interpret().
 */
#pragma once

#include "rules/rules.h"

struct judge;

/** @brief Prepare a program, which stays the caller's; out of memory: abort(). */
struct judge *judge_new(const struct fw_program *program);
void judge_free(struct judge *judge);

/** @brief What fw_interpret() says; may be asked by several threads. */
void judge_ask(const struct judge *judge, const struct fw_key *key,
	       bool stateless, struct fw_result *ret);
