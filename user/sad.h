/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The kernel's security associations, as NETLINK_XFRM tells of them; never their keys.
 */
#pragma once

#include <linux/netlink.h>
#include <stdbool.h>
#include <stdint.h>

#include "kern/abi.h"

/* What there is to know; counters are the kernel's. */
struct fw_sad_entry {
	struct fw_addr src, dst;
	uint8_t family; /* FW_AF_* */
	uint8_t proto;	/* IPPROTO_ESP, IPPROTO_AH, ... */
	uint8_t mode;	/* XFRM_MODE_* */
	bool is_larval; /* it has an SPI, and no keys yet */
	bool is_esn;
	uint8_t direction; /* 1: in, 2: out, 0: the kernel does not say (before 6.10) */
	__be32 spi;
	uint32_t reqid;
	uint32_t if_id;			   /* of an XFRM interface; 0: none */
	uint32_t mark, mask;		   /* mask 0: it has no mark */
	uint32_t window;		   /* of anti-replay */
	uint16_t encap_sport, encap_dport; /* UDP; 0: not in UDP */
	uint64_t packets, bytes;
	uint64_t added, used;		     /* seconds since 1970; 0: never */
	uint64_t soft_seconds, hard_seconds; /* after `added`; 0: no limit */
	uint64_t soft_bytes, hard_bytes;     /* 0: no limit */
	uint32_t replays;		     /* that the stack has refused */
	uint32_t integrity_failed;	     /* packets that were not genuine */
};

/**
 * @brief Read a message XFRM_MSG_NEWSA or XFRM_MSG_UPDSA.
 *
 * Attributes with keys are stepped over: nothing of them is copied.
 *
 * @return 0, -ENOMSG of any other message, or -EBADMSG
 */
int fw_sad_decode(const struct nlmsghdr *nlh, struct fw_sad_entry *ret);

typedef int (*fw_sad_fn)(void *data, const struct fw_sad_entry *entry);

/**
 * @brief Ask for all associations of this network namespace.
 *
 * @param fn  of each; a negative errno ends it
 * @return 0, also where the kernel has no XFRM, or a negative errno
 */
int fw_sad_dump(fw_sad_fn fn, void *data);
