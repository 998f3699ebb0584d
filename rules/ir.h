/* SPDX-License-Identifier: GPL-2.0-only */

/* The program while it is compiled. */
#pragma once

#include "rules.h"

/**
 * @brief Append an empty row, a rule of its own, and its place.
 *
 * @param places  parallel to the rows, grows with them; owned by the caller
 * @return the row, until the next one is added; NULL without memory
 */
struct fw_ir_row *fw_program_add_row(struct fw_program *program,
				     struct fw_span **places,
				     struct fw_span at);
