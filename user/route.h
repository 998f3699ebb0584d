/* SPDX-License-Identifier: GPL-2.0-only */

/* Where the kernel would send a packet that came in, by RTM_GETROUTE. */
#pragma once

#include <stdint.h>

#include "kern/abi.h"

enum fw_route_kind {
	FW_ROUTE_NONE,	  /* it would not go on */
	FW_ROUTE_LOCAL,	  /* it is for this host, or for a group */
	FW_ROUTE_FORWARD, /* it would leave again */
};

struct fw_route {
	enum fw_route_kind kind;
	uint32_t ifindex; /* FW_ROUTE_FORWARD: by which it would leave */
	int error; /* FW_ROUTE_NONE: a positive errno, if the kernel gives one */
};

/**
 * @brief Ask about a packet that came in.
 *
 * NAT is not known here; nor are routes by mark.
 *
 * @param tuple  as on the wire
 * @param in     the interface it came in by
 * @return 0, or a negative errno if the kernel cannot be asked
 */
int fw_route_query(const struct fw_tuple *tuple, uint32_t in,
		   struct fw_route *ret);
