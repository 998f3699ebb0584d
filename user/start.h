/* SPDX-License-Identifier: GPL-2.0-only */

/* Starting fwctld from fwctl. */
#pragma once

#include "user/paths.h"

/**
 * @brief Make the run directory and wait until nobody else starts a daemon.
 *
 * Whoever gets the lock looks again whether a daemon answers by now.
 *
 * @return a descriptor that holds the lock until it is closed, or a negative
 *         errno
 */
int fw_start_lock(const struct fw_paths *paths);

/**
 * @brief Start fwctld in the background and wait until it listens.
 *
 * It ends by itself when nothing is loaded any more. If it does not come up,
 * what it has logged is shown on standard error.
 *
 * @return 0, -ETIMEDOUT, -ECHILD if it ended, or another negative errno
 */
int fw_start_daemon(const struct fw_paths *paths);
