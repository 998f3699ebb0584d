/* SPDX-License-Identifier: GPL-2.0-only */

/* Programs for larger rules take the place of those that run. */
#pragma once

#include "kern/abi.h"
#include "user/skel.h"

/**
 * @brief Let loaded programs take over on every hook, and pin them.
 *
 * On each hook one packet sees the old program and the next packet the new one.
 *
 * @param skel   the programs that come, with the maps that are theirs alone
 * @param progs  descriptors of those that run, by enum fw_hook
 * @param reterr  on failure one line for the user, malloc()ed
 * @return 0, or a negative errno: the old programs go on
 */
int fw_growth_take_over(const struct fwctl_bpf *skel,
			const int progs[FW_HOOK_MAX], const char *pin_dir,
			char **reterr);

/**
 * @brief Go all the way to the end, or back, if a crash came in between.
 *
 * @return 0, also if there is nothing to do, or a negative errno
 */
int fw_growth_finish(const char *pin_dir);
