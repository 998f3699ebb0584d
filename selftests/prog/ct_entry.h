/* SPDX-License-Identifier: GPL-2.0-only */

/* Entries of nf_conntrack as BPF makes them, put in place and looked at by ctnetlink. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kern/abi.h"

struct ct_entry {
	uint32_t mark;
	uint32_t status; /* IPS_*, but for IPS_CONFIRMED, which all have */
	uint32_t left_s;
};

struct ct_table;

/** @brief The table of this network namespace; exits on error. */
struct ct_table *ct_table_open(void);
void ct_table_close(struct ct_table *table);

/** @brief Make an entry whose opener sends `orig`; TCP or UDP; exits on error. */
void ct_table_put(struct ct_table *table, const struct fw_tuple *orig,
		  const struct ct_entry *entry);

/**
 * @brief Look at the entry whose opener sends `orig`.
 *
 * @return false if there is none, or only one of the other direction
 */
bool ct_table_get(struct ct_table *table, const struct fw_tuple *orig,
		  struct ct_entry *ret);

/** @brief Remove the entry that has the tuple in whatever direction, if there is one. */
void ct_table_delete(struct ct_table *table, const struct fw_tuple *tuple);
