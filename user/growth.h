/* SPDX-License-Identifier: GPL-2.0-only */

/* Programs for larger rules take the place of those that run. */
#pragma once

#include <stdbool.h>

#include "kern/abi.h"
#include "user/nflinks.h"
#include "user/skel.h"

/* The pin in maps/ of the rule counters of the programs before. */
#define FW_GROWTH_STATS_BEFORE "rule_stats_before"

/* Programs that come. */
struct fw_growth {
	const struct fwctl_bpf *skel;
	const int *local; /* by enum fw_local; -1: those that run have none */
	bool has_stats;	  /* they have rule counters of their own */
};

/**
 * @brief Let loaded programs take over on every hook, and pin them.
 *
 * On each hook one packet sees the old program and the next packet the new one.
 *
 * Rule counters of their own take the place of those of the old programs, which
 * become those before. If it fails it is the other way round: what the new
 * programs may have counted, with all that they were given, becomes that.
 *
 * @param growth  the programs that come, borrowed
 * @param progs   descriptors of those that run, by enum fw_hook
 * @param local   the same, by enum fw_local; -1: there is none
 * @param reterr  on failure one line for the user, malloc()ed
 * @return 0, or a negative errno: the old programs go on
 */
int fw_growth_take_over(const struct fw_growth *growth,
			const int progs[FW_HOOK_MAX],
			const int local[FW_LOCAL_MAX], const char *pin_dir,
			char **reterr);

/**
 * @brief Go all the way to the end, or back, if a crash came in between.
 *
 * @return 0, also if there is nothing to do, or a negative errno
 */
int fw_growth_finish(const char *pin_dir);
