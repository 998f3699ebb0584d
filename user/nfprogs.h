/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The programs for netfilter's hooks (kern/transport.h) are loaded when they are about to
 * be attached, beside those that filter: few hosts have IPsec, and the verifier needs as
 * long for these two as for another one. Either both are pinned, or none is.
 */
#pragma once

#include <stdbool.h>

#include "user/datapath.h"
#include "user/nflinks.h"

/** @brief None: no descriptor is open. */
void fw_nfprogs_init(int progs[FW_LOCAL_MAX]);

/** @brief True if both are there. */
bool fw_nfprogs_exist(const int progs[FW_LOCAL_MAX]);

/**
 * @brief Load both. Nobody sees them yet.
 *
 * Takes some hundredths of a second, a few seconds on an emulated machine.
 *
 * @param size    what the programs beside them work with
 * @param maps    all of theirs, by enum fw_map
 * @param ret     descriptors, none before; fw_nfprogs_close()
 * @param reterr  on failure one line for the user, malloc()ed
 * @return 0, or a negative errno: there are none
 */
int fw_nfprogs_load(const struct fw_datapath_size *size,
		    const int maps[FW_MAP_MAX], int ret[FW_LOCAL_MAX],
		    char **reterr);

/** @brief Pin both; 0, or a negative errno: none is. */
int fw_nfprogs_pin(const int progs[FW_LOCAL_MAX], const char *pin_dir);

/** @brief Remove their pins, if there are any. */
void fw_nfprogs_unpin(const char *pin_dir);

/** @brief Close what is open. */
void fw_nfprogs_close(int progs[FW_LOCAL_MAX]);
