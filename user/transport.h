/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Has the programs that judge IPsec in transport mode attached while rules run that ask for IPsec
 * (`via ipsec`), or rules run and this network namespace has an SA or an XFRM policy, and only
 * then: what has none of these pays nothing for them, and can be deleted (user/nflinks.h).
 *
 * The kernel says when there is a first SA or policy. Then the programs are loaded, if no rule
 * has asked before, and are there some tenths of a second later. While no daemon runs they
 * stay as they are.
 */
#pragma once

#include <stdbool.h>

struct fw_daemon;
struct fw_transport_watch;

/**
 * @brief Attach what has to be, and watch from now on.
 *
 * What cannot be attached is told to the log, and tried again.
 *
 * @param daemon  borrowed, with all that is opened before
 * @param reterr  on failure one line for the user, malloc()ed
 * @return 0, also if this kernel has no such programs or no XFRM, or a negative errno
 */
int fw_transport_new(struct fw_daemon *daemon, struct fw_transport_watch **ret,
		     char **reterr);

/** @brief There are rules now. NULL is fine. */
void fw_transport_follow(struct fw_transport_watch *watch);

/** @brief Watch no longer; what is attached stays. NULL is fine. */
void fw_transport_free(struct fw_transport_watch *watch);

/**
 * @brief Has this network namespace SAs or XFRM policies, but those of sockets?
 *
 * @return 1, 0, also if the kernel has no XFRM, or a negative errno
 */
int fw_transport_is_used(void);
