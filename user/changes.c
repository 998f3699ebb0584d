/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Listens where the kernel says that its forwarding has changed, and reads nothing of
 * it: a message that was lost is one that has come.
 *
 * A router may get thousands of routes a second. The first change is told at once,
 * those of the next 10 ms together, when these are over.
 */
#include "user/changes.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/xfrm.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <libmnl/libmnl.h>

#include "user/loop.h"
#include "user/netlink.h"
#include "user/util.h"

#define APART_MS 10

struct source {
	struct fw_changes *changes;
	struct mnl_socket *nl;
	struct fw_watch *watch;
};

struct fw_changes {
	struct source route, xfrm;
	struct fw_timer *timer;
	bool is_quiet; /* told a moment ago: what comes is told by the timer */
	bool has_more;
	fw_changes_fn fn;
	void *data;
};

static void tell(struct fw_changes *changes)
{
	changes->has_more = false;
	changes->is_quiet = fw_timer_arm(changes->timer, APART_MS, 0) == 0;
	changes->fn(changes->data);
}

static void on_timer(void *data)
{
	struct fw_changes *changes = data;

	changes->is_quiet = false;
	if (changes->has_more)
		tell(changes);
}

static void on_readable(void *data, uint32_t events)
{
	const struct source *source = data;
	struct fw_changes *changes = source->changes;

	(void)events;
	fw_netlink_discard(source->nl);
	changes->has_more = true;
	if (!changes->is_quiet)
		tell(changes);
}

static int listen_to(struct fw_changes *changes, struct fw_loop *loop, int bus,
		     const int *groups, size_t n, struct source *ret)
{
	int group;

	ret->changes = changes;
	ret->nl = mnl_socket_open2(bus, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!ret->nl || mnl_socket_bind(ret->nl, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	for (size_t i = 0; i < n; i++) {
		group = groups[i];
		if (mnl_socket_setsockopt(ret->nl, NETLINK_ADD_MEMBERSHIP,
					  &group, sizeof(group)) < 0)
			return -errno;
	}
	ret->watch = fw_watch_new(loop, mnl_socket_get_fd(ret->nl), EPOLLIN,
				  on_readable, ret);
	return ret->watch ? 0 : -errno;
}

static void stop(struct source *source)
{
	fw_watch_free(take_ptr(source->watch));
	if (source->nl)
		(void)mnl_socket_close(take_ptr(source->nl));
}

static int listen_to_routes(struct fw_changes *changes, struct fw_loop *loop)
{
	static const int groups[] = {
		RTNLGRP_LINK,	      RTNLGRP_NEIGH,	    RTNLGRP_NEXTHOP,
		RTNLGRP_IPV4_IFADDR,  RTNLGRP_IPV6_IFADDR,  RTNLGRP_IPV4_ROUTE,
		RTNLGRP_IPV6_ROUTE,   RTNLGRP_IPV4_RULE,    RTNLGRP_IPV6_RULE,
		RTNLGRP_IPV4_NETCONF, RTNLGRP_IPV6_NETCONF,
	};

	return listen_to(changes, loop, NETLINK_ROUTE, groups,
			 ARRAY_SIZE(groups), &changes->route);
}

/* A kernel without XFRM has no policies; programs look for them as well. */
static int listen_to_policies(struct fw_changes *changes, struct fw_loop *loop)
{
	static const int groups[] = { XFRMNLGRP_POLICY };
	int r;

	r = listen_to(changes, loop, NETLINK_XFRM, groups, ARRAY_SIZE(groups),
		      &changes->xfrm);
	if (r == -EPROTONOSUPPORT)
		return 0;
	return r;
}

int fw_changes_new(struct fw_loop *loop, fw_changes_fn fn, void *data,
		   struct fw_changes **ret)
{
	struct fw_changes *changes;
	int r = 0;

	changes = calloc(1, sizeof(*changes));
	if (!changes)
		return -ENOMEM;
	changes->fn = fn;
	changes->data = data;
	changes->timer = fw_timer_new(loop, on_timer, changes);
	if (!changes->timer)
		r = -errno;
	if (r == 0)
		r = listen_to_routes(changes, loop);
	if (r == 0)
		r = listen_to_policies(changes, loop);
	if (r < 0) {
		fw_changes_free(changes);
		return r;
	}
	*ret = changes;
	return 0;
}

void fw_changes_free(struct fw_changes *changes)
{
	if (!changes)
		return;
	stop(&changes->xfrm);
	stop(&changes->route);
	fw_timer_free(changes->timer);
	free(changes);
}
