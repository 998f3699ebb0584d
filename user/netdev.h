/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * What the drivers of this network namespace can do with XDP, as the kernel says it
 * from Linux 6.3 on (its family `netdev` of generic netlink).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct fw_loop;
struct fw_netdevs;

/* The bits of enum netdev_xdp_act (linux/netdev.h) that we ask for. */
#define FW_XDP_CAN_REDIRECT 0x02u
#define FW_XDP_CAN_XMIT	    0x04u
#define FW_XDP_CAN_XMIT_SG  0x40u /* frames in several pieces, too */

/** @brief Some driver can do more or less than before; once after a batch of messages. */
typedef void (*fw_netdevs_fn)(void *data);

/**
 * @brief Ask about all interfaces, then follow what changes.
 *
 * @param changed  called from the loop; not before this returns
 * @return 0, -EOPNOTSUPP if this kernel does not tell, or another negative errno
 */
int fw_netdevs_new(struct fw_loop *loop, fw_netdevs_fn changed, void *data,
		   struct fw_netdevs **ret);
void fw_netdevs_free(struct fw_netdevs *netdevs);

/**
 * @brief Work off what the kernel has told us so far, now; `changed` is not called.
 *
 * @return true if some driver can do more or less than before
 */
bool fw_netdevs_sync(struct fw_netdevs *netdevs);

/** @brief What the driver of an interface can do; 0 also of one that is not known. */
uint64_t fw_netdevs_get(const struct fw_netdevs *netdevs, uint32_t ifindex);

/**
 * @brief Ask the kernel about one interface, now.
 *
 * @return 0, -EOPNOTSUPP if this kernel does not tell, -ENODEV, or another negative
 *         errno
 */
int fw_netdev_query(uint32_t ifindex, uint64_t *ret);
