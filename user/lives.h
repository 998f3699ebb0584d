/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * How long flows of BPF live while the connection table fills up: those that nobody
 * has answered are shortened as dumps show them, those that move on get back what
 * the rules give them.
 */
#pragma once

#include <stdint.h>

#include "kern/abi.h"

struct fw_ct;
struct fw_ctnl;
struct fw_entry;

struct fw_lives {
	struct fw_ctnl *ctnl; /* borrowed; what is written is queued there */
	struct fw_timeouts timeouts; /* of the running rules */
	uint32_t half_open_s;	     /* of unanswered flows at most; 0: any */
	uint32_t short_s;   /* the longest that was ever written as such */
	uint64_t shortened; /* flows */
};

/** @brief Let no unanswered flow live longer than this from now on; 0: any life. */
void fw_lives_limit(struct fw_lives *lives, uint32_t half_open_s);

/** @brief A dump has shown this flow: shorten its life if nobody has answered. */
void fw_lives_shorten(struct fw_lives *lives, const struct fw_ct *ct,
		      struct fw_entry *entry);

/** @brief A record says that it has moved on: give back its life. */
void fw_lives_restore(struct fw_lives *lives, struct fw_entry *entry);

/** @brief A dump has shown it: does it live as it should, whatever was lost? */
void fw_lives_check(struct fw_lives *lives, const struct fw_ct *ct,
		    struct fw_entry *entry);
