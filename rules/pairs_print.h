/* SPDX-License-Identifier: GPL-2.0-only */

/* The canonical form of sets of addresses with ports. */
#pragma once

#include "rules.h"

/** @brief Print the entries of a set that holds pairs, one a line. */
void fw_pairs_print(const struct fw_program *program,
		    const struct fw_named_set *named, FILE *out);

/** @brief Print which sets of the program they are, for tests. */
void fw_pairs_dump(const struct fw_named_set *named, FILE *out);
