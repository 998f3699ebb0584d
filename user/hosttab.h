/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The tables of interfaces and own addresses that the programs look into
 * (kern/host_abi.h): each made as a whole, put in place by one store.
 *
 * At any moment it may end here, by a crash, and leaves a table of before or of
 * after.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kern/host_abi.h"

struct fw_hosttab;

/**
 * @brief Open the tables; one who writes, as many as like who read.
 *
 * @param map  descriptor of the map `host`; not needed any longer
 */
int fw_hosttab_open(int map, struct fw_hosttab **ret);
void fw_hosttab_free(struct fw_hosttab *tables);

/**
 * @brief Make the interfaces of a generation known to the programs.
 *
 * What the running generation has is left alone, unless `gen` is that; any
 * other table goes.
 *
 * @param running  the generation that packets may be at work with, 0: none
 * @param gen      that, or the next one
 * @param entries  without doubles
 * @return 0, -E2BIG with more than FW_MAX_IFACES, or another negative errno;
 *         then nothing has changed
 */
int fw_hosttab_put_ifaces(struct fw_hosttab *tables, uint32_t running,
			  uint32_t gen, const struct fw_iface_entry *entries,
			  size_t n);

/**
 * @brief Wait until no packet is at work with the table that the next interfaces
 *        take, which they need not do themselves then.
 *
 * @return 0 or a negative errno
 */
int fw_hosttab_settle(struct fw_hosttab *tables);

/**
 * @brief Read back the interfaces of a generation.
 *
 * @param ret_entries  free() it
 * @return 0, -ENOENT if there is no such table, or another negative errno
 */
int fw_hosttab_get_ifaces(const struct fw_hosttab *tables, uint32_t gen,
			  struct fw_iface_entry **ret_entries, size_t *ret_n);

/**
 * @brief Have the programs send records of packets, or no longer.
 *
 * @param mask   which FW_WATCH_* to change
 * @param kinds  those of them that are wanted
 */
void fw_hosttab_watch(struct fw_hosttab *tables, uint8_t mask, uint8_t kinds);

/** @brief How many bytes of a packet are wanted, before captures are. */
void fw_hosttab_snap(struct fw_hosttab *tables, uint16_t len);

/**
 * @brief Let packets of flows that are known pass without a look at the rules.
 *
 * @param gen  the generation of the running rules, if fw_image_lets_known(); 0: no packet,
 *             which has to be so while other rules take their place
 */
void fw_hosttab_know(struct fw_hosttab *tables, uint32_t gen);

/** @brief Nothing is true any more that the programs remember of flows. */
void fw_hosttab_end_epoch(struct fw_hosttab *tables);

/** @brief The same for own addresses, of which there may be FW_MAX_SELF. */
int fw_hosttab_put_selves(struct fw_hosttab *tables,
			  const struct fw_self_entry *entries, size_t n);
int fw_hosttab_get_selves(const struct fw_hosttab *tables,
			  struct fw_self_entry **ret_entries, size_t *ret_n);
