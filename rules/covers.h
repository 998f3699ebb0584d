/* SPDX-License-Identifier: GPL-2.0-only */

/* Does one row match every packet that another one matches?  Exactly. */
#pragma once

#include "rules.h"

/* What rows are compared with. Steps count the work. */
struct fw_covers {
	const struct fw_program *program;
	uint64_t *zones; /* zones of each interface of the file, each once */
	size_t n_zones;
	uint64_t steps;
};

/** @brief Start to compare rows of a program. @return 0 or -ENOMEM */
int fw_covers_init(struct fw_covers *covers, const struct fw_program *program);

void fw_covers_done(struct fw_covers *covers);

/** @brief Families in which a row can match at all; 0: it never does. */
uint8_t fw_row_families(const struct fw_program *program,
			const struct fw_ir_row *row);

/**
 * @brief Does `outer` match all that `inner` matches?
 *
 * Both are of one direction and both stateless or both not. Essential messages
 * (FW_KEY_ESSENTIAL) are left out: see fw_row_spares(). What promises IPsec
 * matches what is in clear as well: it drops that.
 *
 * @param covers  counts the steps
 * @param outer   a row
 * @param inner   a row that can match
 * @param families  fw_row_families() of `inner`
 */
bool fw_row_covers(struct fw_covers *covers, const struct fw_ir_row *outer,
		   const struct fw_ir_row *inner, uint8_t families);

/** @brief Could a row match an essential message? */
bool fw_row_may_be_essential(const struct fw_ir_row *row);

/** @brief Do two rows have the same fields, sets and flags? */
bool fw_row_is_same(const struct fw_ir_row *a, const struct fw_ir_row *b);
