/* SPDX-License-Identifier: GPL-2.0-only */

/* Puts right what others have taken from the running rules; see upkeep.h. */
#include "user/upkeep.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <linux/rtnetlink.h>

#include "user/antispoof.h"
#include "user/daemon.h"
#include "user/log.h"
#include "user/loop.h"
#include "user/util.h"

#define LOOK_MS 10000ull /* where nothing is told, or was lost */

struct fw_upkeep {
	struct fw_daemon *daemon;
	struct mnl_socket
		*nl; /* says that sysctls of interfaces have changed */
	struct fw_watch *watch;
	struct fw_timer *timer;
	bool is_failing; /* said once */
};

/* Without it every packet of zones with `antispoof` is dropped. */
static void keep_lookups(struct fw_upkeep *upkeep)
{
	const struct fw_program *program = fw_daemon_program(upkeep->daemon);
	_cleanup_free_ char *error = NULL;
	int r = 0;

	if (program)
		r = fw_antispoof_keep(program, &error);
	if (r > 0)
		log_warning(
			"somebody has cleared net.ipv4.conf.lo.forwarding or net.ipv6.conf.lo.forwarding, which antispoof needs: set again");
	else if (r < 0 && !upkeep->is_failing)
		log_error("%s; packets are dropped",
			  error ? error : strerror(-r));
	upkeep->is_failing = r < 0;
}

/* Who loads a ruleset of nftables mostly flushes all tables before, ours too. */
static void keep_hooks(const struct fw_upkeep *upkeep)
{
	const struct fw_program *program = fw_daemon_program(upkeep->daemon);

	if (program && program->options & FW_OPT_CT_HOOKS &&
	    fw_daemon_follow_option(upkeep->daemon) > 0)
		log_warning(
			"somebody has removed the nftables table inet fwctl or the rule in it, which option conntrack-hooks needs: made again");
}

/* What they say is not read: what matters is how it is now. */
static void on_netconf(void *data, uint32_t events)
{
	struct fw_upkeep *upkeep = data;
	char buf[64];
	ssize_t n;

	(void)events;
	do {
		n = recv(mnl_socket_get_fd(upkeep->nl), buf, sizeof(buf), 0);
	} while (n >= 0 || errno == ENOBUFS || errno == EINTR);
	keep_lookups(upkeep);
}

static void on_look(void *data)
{
	struct fw_upkeep *upkeep = data;

	keep_lookups(upkeep);
	keep_hooks(upkeep);
}

static int subscribe(struct fw_upkeep *upkeep)
{
	static const int groups[] = { RTNLGRP_IPV4_NETCONF,
				      RTNLGRP_IPV6_NETCONF };
	int group;

	upkeep->nl =
		mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!upkeep->nl ||
	    mnl_socket_bind(upkeep->nl, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
		group = groups[i];
		if (mnl_socket_setsockopt(upkeep->nl, NETLINK_ADD_MEMBERSHIP,
					  &group, sizeof(group)) < 0)
			return -errno;
	}
	return 0;
}

static int start(struct fw_upkeep *upkeep)
{
	struct fw_loop *loop = upkeep->daemon->loop;
	int r;

	r = subscribe(upkeep);
	if (r < 0)
		return r;
	upkeep->watch = fw_watch_new(loop, mnl_socket_get_fd(upkeep->nl),
				     EPOLLIN, on_netconf, upkeep);
	if (!upkeep->watch)
		return -errno;
	upkeep->timer = fw_timer_new(loop, on_look, upkeep);
	return upkeep->timer ? fw_timer_arm(upkeep->timer, 0, LOOK_MS) : -errno;
}

int fw_upkeep_new(struct fw_daemon *daemon, struct fw_upkeep **ret,
		  char **reterr)
{
	struct fw_upkeep *upkeep;
	int r;

	upkeep = calloc(1, sizeof(*upkeep));
	if (!upkeep)
		return -ENOMEM;
	upkeep->daemon = daemon;
	r = start(upkeep);
	if (r < 0) {
		fw_errorf(reterr, "cannot watch sysctls of interfaces: %s",
			  strerror(-r));
		fw_upkeep_free(upkeep);
		return r;
	}
	*ret = upkeep;
	return 0;
}

void fw_upkeep_free(struct fw_upkeep *upkeep)
{
	if (!upkeep)
		return;
	fw_watch_free(upkeep->watch);
	fw_timer_free(upkeep->timer);
	if (upkeep->nl)
		(void)mnl_socket_close(upkeep->nl);
	free(upkeep);
}
