/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * What the running rules need of the system beside the datapath, and what others may
 * take away while they run: it is looked at and put right again.
 */
#pragma once

struct fw_daemon;
struct fw_upkeep;

/**
 * @brief Look now, when the kernel says that something has changed, and regularly.
 *
 * @param daemon  whose rules these are, borrowed
 * @param reterr  on failure one line for the user, malloc()ed
 * @return 0 or a negative errno
 */
int fw_upkeep_new(struct fw_daemon *daemon, struct fw_upkeep **ret,
		  char **reterr);
void fw_upkeep_free(struct fw_upkeep *upkeep);
