/* SPDX-License-Identifier: GPL-2.0-only */

/* What netlink is asked, and the news that wait in a socket which is subscribed to some. */
#pragma once

#include <libmnl/libmnl.h>

/**
 * @brief Ask, and read the answer to its end.
 *
 * On a socket of its own, so that no answer to an earlier request comes in between.
 *
 * @param bus      NETLINK_*
 * @param request  complete; its sequence number is 1
 * @param fn       of each message; MNL_CB_STOP where no end of a dump or acknowledgement follows
 * @return 0, the negative errno that the kernel answers or that `fn` has set, -EINTR of a
 *         dump that changed underneath, or that of a socket
 */
int fw_netlink_ask(int bus, const struct nlmsghdr *request, mnl_cb_t fn,
		   void *data);

/**
 * @brief Read all news that wait; the socket does not block.
 *
 * @return 0 when nothing more is waiting; a negative errno (-ENOBUFS, what `fn` has set)
 *         means that something is lost
 */
int fw_netlink_drain(struct mnl_socket *nl, mnl_cb_t fn, void *data);

/**
 * @brief Throw away what waits, of any number of losses.
 *
 * After a loss the queue holds old news whose continuation is missing: a dump is newer than
 * all of it.
 */
void fw_netlink_discard(struct mnl_socket *nl);
