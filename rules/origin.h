/* SPDX-License-Identifier: GPL-2.0-only */

/* What sets are made of, so that one of them can be replaced. */
#pragma once

#include "rules.h"

/*
 * A named set is one; so is a define with sets in it, and each value of a rule
 * that has either. Sets of a program are numbered so that named sets come
 * first, in the order of their declaration.
 */
struct fw_set_origin {
	struct fw_ranges v4, v6,
		port; /* of its own, if others are part of it */
	bool has_self;
	bool is_name;  /* it is a set or a define */
	int32_t *from; /* other sets that are part of it */
	size_t n;
};

/** @brief Free the ranges of a set if they are not in an arena. */
void fw_ir_set_free_heap(struct fw_ir_set *set);

/** @brief The families in which an address term can match at all, or 0. */
uint8_t fw_set_families(const struct fw_ir_set *set, bool is_negated);

/**
 * @brief The families in which a row can match as its sets are now.
 *
 * If it can match in none it stays what is given: the sets see to it.
 */
uint8_t fw_families_now(const struct fw_ir_set *sets,
			const struct fw_ir_row *row);
