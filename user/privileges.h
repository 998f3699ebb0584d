/* SPDX-License-Identifier: GPL-2.0-only */

/* Capabilities: all of them to load programs, three of them to run. */
#pragma once

#include <stdbool.h>

/**
 * @brief Keep CAP_NET_ADMIN, CAP_BPF and CAP_PERFMON.
 *
 * @param for_good  true: the others are gone, but CAP_SYS_ADMIN, which is put
 *                  aside; false: fw_privileges_raise() brings all of them back,
 *                  for a daemon that loads modules and mounts again later
 * @return 0 or a negative errno
 */
int fw_privileges_drop(bool for_good);

/** @brief Take back what fw_privileges_drop() only put aside. */
int fw_privileges_raise(void);

/** @brief True unless fw_privileges_drop() has put CAP_SYS_ADMIN aside. */
bool fw_privileges_raised(void);
