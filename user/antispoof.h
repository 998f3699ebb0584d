/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * What `antispoof` asks of the kernel: route lookups from BPF, which a kernel answers for
 * interfaces that forward alone. They are made on behalf of the loopback, so that this
 * host may forward or not; the loopback is told that it does, by the sysctl
 * net.ipv4.conf.lo.forwarding and that of IPv6. No packet is forwarded for it: what comes
 * in by the loopback is this host's own. But the kernel would delete the IPv6 default
 * routes that routers have advertised, which is prevented here.
 */
#pragma once

#include "rules/rules.h"

/**
 * @brief Could the lookups be made?  Nothing is changed.
 *
 * @param ret_path  on failure the sysctl that is off and cannot be set
 * @return 0 or a negative errno
 */
int fw_antispoof_probe(const char **ret_path);

/**
 * @brief Let the lookups be made, if the program needs them.
 *
 * @param ret_at  on failure the place that needs them
 * @param reterr  on failure one line for the user, malloc()ed
 * @return 0 or a negative errno
 */
int fw_antispoof_prepare(const struct fw_program *program,
			 struct fw_span *ret_at, char **reterr);

/**
 * @brief Likewise for rules that run already.
 *
 * @return as above, or 1 if somebody has made it impossible since they were loaded,
 *         and it is possible again
 */
int fw_antispoof_keep(const struct fw_program *program, char **reterr);
