/* SPDX-License-Identifier: GPL-2.0-only */

/* Starting fwctld from fwctl. */
#pragma once

#include "user/paths.h"

/**
 * @brief Start fwctld in the background and wait until it listens.
 *
 * It ends by itself when nothing is loaded any more. If it does not come up,
 * what it has logged is shown on standard error.
 *
 * @return 0, -ETIMEDOUT, -ECHILD if it ended, or another negative errno
 */
int fw_start_daemon(const struct fw_paths *paths);
