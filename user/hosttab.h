/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The tables of interfaces and own addresses that the programs look into
 * (kern/host_abi.h): made as a whole, put in place by one update.
 *
 * A packet may still look into the table that was replaced, so its descriptor
 * is kept until the kernel has waited for such packets.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kern/host_abi.h"

/**
 * @brief Make the interfaces of a generation known to the programs.
 *
 * @param map      descriptor of the map `ifaces`
 * @param slot     below FW_IFACES_TABLES; not that of the running generation,
 *                 unless it is `gen`
 * @param entries  without doubles
 * @param table    descriptor of the table in the slot, -1: none; replaced
 * @return 0, -E2BIG with more than FW_MAX_IFACES, or another negative errno;
 *         then nothing has changed
 */
int fw_hosttab_put_ifaces(int map, uint32_t slot, uint32_t gen,
			  const struct fw_iface_entry *entries, size_t n,
			  int *table);

/** @brief Remove the table of a slot, `table` with it; none is fine. */
void fw_hosttab_cut_ifaces(int map, uint32_t slot, int *table);

/**
 * @brief Read back the table in a slot.
 *
 * @param ret_gen      0: there is none
 * @param ret_entries  free() it
 * @param ret_table    descriptor of the table, -1: none
 */
int fw_hosttab_get_ifaces(int map, uint32_t slot, uint32_t *ret_gen,
			  struct fw_iface_entry **ret_entries, size_t *ret_n,
			  int *ret_table);

/** @brief The same for own addresses, of which there may be FW_MAX_SELF. */
int fw_hosttab_put_selves(int map, const struct fw_self_entry *entries,
			  size_t n, int *table);
int fw_hosttab_get_selves(int map, struct fw_self_entry **ret_entries,
			  size_t *ret_n, int *ret_table);
