/* SPDX-License-Identifier: GPL-2.0-only */

/* Capabilities: all of them to load programs, three of them to run. */
#pragma once

#include <stdbool.h>

/**
 * @brief Keep CAP_NET_ADMIN, CAP_BPF and CAP_PERFMON.
 *
 * @param for_good  true: the others are gone; false: fw_privileges_raise()
 *                  brings them back, for a daemon that loads again later
 * @return 0 or a negative errno
 */
int fw_privileges_drop(bool for_good);

/** @brief Take back what fw_privileges_drop() only put aside. */
int fw_privileges_raise(void);
