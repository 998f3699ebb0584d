/* SPDX-License-Identifier: GPL-2.0-only */

/* Rules that can never match because an earlier one decides first. */
#pragma once

#include "diag.h"
#include "rules.h"

/**
 * @brief Note in all rows that an earlier one covers that it does, and warn of
 *        rules all of whose rows are covered by those of other rules.
 *
 * One row must cover the other alone; that several do together is not found.
 *
 * @param rep      where to warn
 * @param program  its rows; receives their `decided_by`
 * @param places   place of each row
 * @param steps    comparisons after which the search gives up and says so
 * @param rows     so many are looked at, the first ones; it says so, too
 */
void fw_shadow_find(struct fw_reporter *rep, struct fw_program *program,
		    const struct fw_span *places, uint64_t steps, size_t rows);
