/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * What a ctnetlink message says: bytes to struct fw_ct.
 *
 * Messages are decoded attribute by attribute; an absent or malformed one is
 * never trusted to be there, and one that is not known is skipped.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kern/abi.h"

struct nlattr;
struct nlmsghdr;

/* Bytes before the first attribute. */
#define FW_CTMSG_HEAD (sizeof(struct nlmsghdr) + sizeof(struct nfgenmsg))

/* Attributes that were there; tuples always are. */
#define FW_CT_HAS_STATUS  0x01
#define FW_CT_HAS_MARK	  0x02
#define FW_CT_HAS_TIMEOUT 0x04
#define FW_CT_HAS_TCP	  0x08
#define FW_CT_HAS_COUNTS  0x10

/*
 * One entry as a message shows it. The code of an ICMP message, which is part
 * of the kernel's key, is kept in `pad` of the tuples; it is 0 for any ping.
 */
struct fw_ct {
	struct fw_tuple orig;
	struct fw_tuple reply; /* the inverse of `orig` if not in the message */
	uint32_t id;	       /* 0: not in the message */
	uint32_t status;       /* IPS_* */
	uint32_t mark;
	uint32_t timeout_s;
	struct fw_flow_counts counts;
	uint16_t zone;	      /* of the original direction */
	uint8_t tcp_state;    /* TCP_CONNTRACK_* */
	uint8_t tcp_flags[2]; /* IP_CT_TCP_FLAG_*, original and reply */
	uint8_t has;	      /* FW_CT_HAS_* */
};

/**
 * @brief Decode one message; exported for the tests.
 *
 * @param nlh  complete: nlmsg_len bytes may be read
 * @return 0, or -EBADMSG without a usable original tuple
 */
int fw_ctnl_decode(const struct nlmsghdr *nlh, struct fw_ct *ret);

/** @brief The tuple of the answers, if no address is translated. */
void fw_tuple_invert(const struct fw_tuple *tuple, struct fw_tuple *ret);

/**
 * @brief Sort attributes by type; only as many bytes as there are are read.
 *
 * @param table  receives the last of each type below `n`, or NULL
 */
void fw_ctmsg_index(const void *payload, size_t len,
		    const struct nlattr **table, size_t n);
