/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Attaches the programs that judge IPsec in transport mode while there is an SA or a
 * policy, or rules ask for IPsec; see transport.h.
 */
#include "user/transport.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/xfrm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <libmnl/libmnl.h>

#include "user/daemon.h"
#include "user/log.h"
#include "user/loop.h"
#include "user/netlink.h"
#include "user/util.h"

#define LOOK_MS \
	10000ull /* nothing tells that the last one is gone, or was lost */

struct fw_transport_watch {
	struct fw_daemon *daemon;
	struct mnl_socket *nl;
	struct fw_watch *watch;
	struct fw_timer *timer;
	bool is_failing; /* said once */
};

/* ---- is there anything? ------------------------------------------------------------ */

static int on_sad_attr(const struct nlattr *attr, void *data)
{
	uint64_t *sum = data;

	if (mnl_attr_get_type(attr) == XFRMA_SAD_CNT &&
	    mnl_attr_validate(attr, MNL_TYPE_U32) == 0)
		*sum += mnl_attr_get_u32(attr);
	return MNL_CB_OK;
}

static int on_spd_attr(const struct nlattr *attr, void *data)
{
	const struct xfrmu_spdinfo *info = mnl_attr_get_payload(attr);
	uint64_t *sum = data;

	if (mnl_attr_get_type(attr) == XFRMA_SPD_INFO &&
	    mnl_attr_get_payload_len(attr) >= sizeof(*info))
		*sum += (uint64_t)info->incnt + info->outcnt + info->fwdcnt;
	return MNL_CB_OK;
}

static int on_counts(const struct nlmsghdr *nlh, void *data)
{
	mnl_attr_cb_t fn = nlh->nlmsg_type == XFRM_MSG_NEWSADINFO ? on_sad_attr
								  : on_spd_attr;

	/* flags in front, which say nothing */
	if (mnl_attr_parse(nlh, sizeof(uint32_t), fn, data) < 0)
		return MNL_CB_ERROR;
	return MNL_CB_STOP;
}

static int ask(uint16_t type, uint64_t *sum)
{
	_Alignas(struct nlmsghdr) char buf[64];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	uint32_t *flags;

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST;
	nlh->nlmsg_seq = 1;
	flags = mnl_nlmsg_put_extra_header(nlh, sizeof(*flags));
	*flags = UINT32_MAX;
	return fw_netlink_ask(NETLINK_XFRM, nlh, on_counts, sum);
}

/* Without XFRM's end of netlink there can be nothing, and to ask would load it. */
static bool can_be_asked(void)
{
	unsigned int bus = 0;
	bool found = false;
	char line[256];
	FILE *file;

	file = fopen("/proc/net/netlink", "re");
	if (!file)
		return true;
	while (!found && fgets(line, sizeof(line), file)) {
		found = sscanf(line, "%*s %u", &bus) == 1 &&
			bus == NETLINK_XFRM;
	}
	(void)fclose(file);
	return found;
}

int fw_transport_is_used(void)
{
	uint64_t sum = 0;
	int r;

	if (!can_be_asked())
		return 0;
	r = ask(XFRM_MSG_GETSADINFO, &sum);
	if (r == 0 && !sum)
		r = ask(XFRM_MSG_GETSPDINFO, &sum);
	if (r == -EPROTONOSUPPORT)
		return 0;
	return r < 0 ? r : sum > 0;
}

/* ---- following it --------------------------------------------------------------------- */

/* Then packets out of the very first SA are judged, too. */
static bool rules_ask(const struct fw_daemon *daemon)
{
	const struct fw_program *program = fw_daemon_program(daemon);

	return program && program->options & FW_OPT_IPSEC;
}

static int follow_use(const struct fw_daemon *daemon, char **reterr)
{
	struct fw_datapath *dp = daemon->datapath;

	if (fw_datapath_transport(dp) == FW_TRANSPORT_NOBODY)
		return 0;
	/* What nobody can tell may be there. */
	if (!rules_ask(daemon) && !fw_transport_is_used())
		return fw_datapath_detach_transport(dp);
	/* Before the first rules nothing is filtered; they need not wait then. */
	if (!fw_apply_gen(daemon->apply))
		return fw_datapath_ready_transport(dp, reterr);
	return fw_datapath_attach_transport(dp, reterr);
}

static void follow(struct fw_transport_watch *watch)
{
	_cleanup_free_ char *error = NULL;
	int r;

	r = follow_use(watch->daemon, &error);
	if (r < 0 && !watch->is_failing) {
		log_error(
			"cannot attach the programs for IPsec in transport mode, so rules do not see what it carries: %s",
			error ? error : strerror(-r));
	}
	watch->is_failing = r < 0;
}

/*
 * Of all that there may be news of, one matters: the first SA or policy. What has failed
 * is tried again by the timer, for each time takes a while.
 */
static void on_news(void *data, uint32_t events)
{
	struct fw_transport_watch *watch = data;

	(void)events;
	fw_netlink_discard(watch->nl);
	if (!watch->is_failing &&
	    fw_datapath_transport(watch->daemon->datapath) == FW_TRANSPORT_OFF)
		follow(watch);
}

static void on_look(void *data)
{
	follow(data);
}

static int subscribe(struct fw_transport_watch *watch)
{
	static const int groups[] = { XFRMNLGRP_SA, XFRMNLGRP_POLICY,
				      XFRMNLGRP_ACQUIRE };
	int group;

	watch->nl =
		mnl_socket_open2(NETLINK_XFRM, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!watch->nl || mnl_socket_bind(watch->nl, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
		group = groups[i];
		if (mnl_socket_setsockopt(watch->nl, NETLINK_ADD_MEMBERSHIP,
					  &group, sizeof(group)) < 0)
			return -errno;
	}
	return 0;
}

void fw_transport_follow(struct fw_transport_watch *watch)
{
	if (watch)
		follow(watch);
}

static int start(struct fw_transport_watch *watch)
{
	struct fw_loop *loop = watch->daemon->loop;
	int r;

	if (fw_datapath_transport(watch->daemon->datapath) ==
	    FW_TRANSPORT_NOBODY)
		return 0;
	r = subscribe(watch);
	if (r < 0)
		return r == -EPROTONOSUPPORT ? 0 : r;
	watch->watch = fw_watch_new(loop, mnl_socket_get_fd(watch->nl), EPOLLIN,
				    on_news, watch);
	watch->timer = fw_timer_new(loop, on_look, watch);
	if (!watch->watch || !watch->timer)
		return -errno;
	r = fw_timer_arm(watch->timer, LOOK_MS, LOOK_MS);
	/* What came after the subscription is told. */
	if (r == 0)
		follow(watch);
	return r;
}

int fw_transport_new(struct fw_daemon *daemon, struct fw_transport_watch **ret,
		     char **reterr)
{
	struct fw_transport_watch *watch;
	int r;

	watch = calloc(1, sizeof(*watch));
	if (!watch)
		return -ENOMEM;
	watch->daemon = daemon;
	r = start(watch);
	if (r < 0) {
		fw_errorf(reterr, "cannot watch IPsec in transport mode: %s",
			  strerror(-r));
		fw_transport_free(watch);
		return r;
	}
	*ret = watch;
	return 0;
}

void fw_transport_free(struct fw_transport_watch *watch)
{
	if (!watch)
		return;
	fw_watch_free(watch->watch);
	fw_timer_free(watch->timer);
	if (watch->nl)
		(void)mnl_socket_close(watch->nl);
	free(watch);
}
