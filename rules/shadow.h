/* SPDX-License-Identifier: GPL-2.0-only */

/* Rules that can never match because an earlier one decides first. */
#pragma once

#include "scope.h"

/**
 * @brief Warn of all rows that an earlier one covers, and note it in the row.
 *
 * One row must cover the other alone; that several do together is not found.
 *
 * @param scope    where to warn
 * @param program  its rows; receives their `decided_by`
 * @param places   place of each row
 * @param steps    comparisons after which the search gives up and says so
 */
void fw_shadow_find(struct fw_scope *scope, struct fw_program *program,
		    const struct fw_span *places, uint64_t steps);
