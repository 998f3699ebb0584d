/* SPDX-License-Identifier: GPL-2.0-only */

/* The end of commands that run until somebody has had enough. */
#pragma once

/**
 * @brief Have SIGINT, SIGTERM, SIGHUP and SIGQUIT noted, and SIGPIPE ignored.
 *
 * @param flags  of sigaction()
 * @return a descriptor that is readable once one of them has come, and stays so, or
 *         a negative errno
 */
int fw_stop_catch(int flags);
