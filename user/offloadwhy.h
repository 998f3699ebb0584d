/* SPDX-License-Identifier: GPL-2.0-only */

/* Why packets of an interface, or of this namespace, cannot be forwarded by XDP, in words. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "user/apply.h"
#include "user/iface.h"

/** @brief What hinders in the device itself, whatever the rules are; NULL: nothing. */
const char *fw_offload_why_device(const struct fw_link *link,
				  uint64_t features);

/** @brief What hinders in how our programs run on it; NULL: nothing. */
const char *fw_offload_why_mode(enum fw_iface_mode mode);

/**
 * @brief True if routing looks at marks: XDP does not know what mark a packet would get. Also
 *        if the kernel does not tell.
 */
bool fw_offload_asks_marks(void);

/** @brief What hinders in this namespace or in a sysctl of it; NULL: nothing. */
const char *fw_offload_why_system(const char *ifname);

/**
 * @brief What hinders TCP alone; NULL: nothing.
 *
 * @param holds_hooks  the rules keep conntrack's hooks active themselves
 */
const char *fw_offload_why_tcp(bool holds_hooks);

extern const char fw_offload_untold[]; /* no family netdev */
