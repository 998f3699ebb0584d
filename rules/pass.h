/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * What is done with the rows when all of them are there. No pass changes what
 * fw_interpret() says: not the verdict, and not which row gave it.
 */
#pragma once

#include "diag.h"
#include "rules.h"

/* What passes work on. */
struct fw_rows {
	struct fw_reporter *rep; /* where to warn */
	struct fw_program *program;
	struct fw_span *places; /* of each row */
	const struct fw_options *options;
};

/** @brief Run the passes that change rows, but those that the options skip. */
void fw_run_passes(const struct fw_rows *rows);

/** @brief Run those that look for warnings; they change `decided_by` alone. */
void fw_run_late_passes(const struct fw_rows *rows);
