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

/**
 * @brief Is it `accept out ... via ipsec`?
 *
 * It does not match what is encrypted, it promises that nothing else leaves.
 */
bool fw_row_promises(const struct fw_ir_row *row);

/** @brief Do essential messages (FW_KEY_ESSENTIAL) pass over this row? */
bool fw_row_spares(const struct fw_ir_row *row);

/** @brief FW_RESULT_* that a row says, if it decides. */
uint8_t fw_row_result_flags(const struct fw_ir_row *row);

/** @brief The same of a default, if nothing is essential. */
uint8_t fw_program_default_flags(const struct fw_program *program,
				 enum fw_dir dir);

/** @brief Say in the options if some row asks for IPsec. */
void fw_program_sum_ipsec(struct fw_program *program);

/** @brief Say in the options what all that lets forwarded flows in says of offload. */
void fw_program_sum_offload(struct fw_program *program);
