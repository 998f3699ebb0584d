/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Our programs at netfilter's hooks LOCAL_IN and LOCAL_OUT, for IPsec in transport mode
 * (kern/transport.h). By BPF links, which Linux has since 6.4; what is attached is pinned
 * beside the links of interfaces, and outlives the daemon.
 *
 * Such a link holds its network namespace: a namespace that is deleted lives on until
 * the pins are removed.
 */
#pragma once

#include <stdbool.h>

enum fw_local {
	FW_LOCAL_IN,
	FW_LOCAL_OUT,
	FW_LOCAL_MAX,
};

/** @brief True if programs of this type can be loaded here: one is. */
bool fw_nflinks_are_possible(void);

/**
 * @brief Attach both programs for IPv4 and IPv6, where they are not.
 *
 * Links of other programs are replaced; there is no moment without either.
 *
 * @param dir    directory of pins
 * @param progs  descriptors by enum fw_local
 * @return 0, or a negative errno: some are attached
 */
int fw_nflinks_attach(const char *dir, const int progs[FW_LOCAL_MAX]);

/** @brief The same where anything is attached, by whatever program. */
int fw_nflinks_replace(const char *dir, const int progs[FW_LOCAL_MAX]);

/** @brief True if all are attached, by these programs. */
bool fw_nflinks_are_attached(const char *dir, const int progs[FW_LOCAL_MAX]);

/**
 * @brief Detach whatever is pinned, by whatever program; needs none.
 *
 * @return 0, also if nothing is, or the first negative errno
 */
int fw_nflinks_detach(const char *dir);
