/* SPDX-License-Identifier: GPL-2.0-only */

/* Looks for what keeps XDP from forwarding by itself; see offloadwhy.h. */
#include "user/offloadwhy.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <linux/xfrm.h>
#include <string.h>

#include <libmnl/libmnl.h>

#include "user/netdev.h"
#include "user/netlink.h"
#include "user/probe.h"
#include "user/util.h"

#define BE_LIBERAL "/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal"

const char fw_offload_untold[] =
	"the kernel does not say what drivers can do: Linux 6.3 and later do";

const char *fw_offload_why_device(const struct fw_link *link, uint64_t features)
{
	if (link->is_port)
		return "it is a port of a bridge or the like";
	if (!(features & FW_XDP_CAN_REDIRECT))
		return "its driver cannot redirect";
	if (!(features & FW_XDP_CAN_XMIT))
		return link->is_virtual
			       ? "it takes no frames from XDP: at the other end of a veth pair something has to poll, XDP or 'ethtool -K gro on'"
			       : "its driver takes no frames from XDP now (ndo_xdp_xmit)";
	if (!link->is_up)
		return "it is down";
	return NULL;
}

const char *fw_offload_why_mode(enum fw_iface_mode mode)
{
	switch (mode) {
	case FW_MODE_XDP:
		return NULL;
	case FW_MODE_XDP_GENERIC:
		return "generic XDP has an skb already: it needs mode xdp";
	case FW_MODE_TC:
		return "mode tc: it needs mode xdp";
	case FW_MODE_AUTO:
		break;
	}
	return "nothing is attached";
}

/* ---- the namespace ---------------------------------------------------------------- */

static bool is_forwarding(const char *family, const char *ifname)
{
	char path[96];
	uint64_t value;

	(void)snprintf(path, sizeof(path),
		       "/proc/sys/net/%s/conf/%s/forwarding", family, ifname);
	return fw_read_number(path, &value) == 0 && value != 0;
}

static int on_attr(const struct nlattr *attr, void *data)
{
	struct xfrmu_spdinfo *info = data;

	if (mnl_attr_get_type(attr) == XFRMA_SPD_INFO &&
	    mnl_attr_get_payload_len(attr) >= sizeof(*info))
		memcpy(info, mnl_attr_get_payload(attr), sizeof(*info));
	return MNL_CB_OK;
}

static int on_info(const struct nlmsghdr *nlh, void *data)
{
	(void)mnl_attr_parse(nlh, sizeof(uint32_t), on_attr, data);
	return MNL_CB_STOP;
}

/* What cannot be asked is not there, or a kernel without IPsec. */
static bool has_policies(void)
{
	struct {
		struct nlmsghdr nlh;
		uint32_t flags;
	} request = {
		.nlh = { .nlmsg_len = sizeof(request),
			 .nlmsg_type = XFRM_MSG_GETSPDINFO,
			 .nlmsg_flags = NLM_F_REQUEST,
			 .nlmsg_seq = 1 },
		.flags = ~0u,
	};
	struct xfrmu_spdinfo info = { 0 };
	int r;

	r = fw_netlink_ask(NETLINK_XFRM, &request.nlh, on_info, &info);
	return r == 0 && (info.incnt || info.outcnt || info.fwdcnt);
}

/* One of the rules that `ip rule` shows. */
static int on_rule_attr(const struct nlattr *attr, void *data)
{
	bool *asks = data;

	uint16_t type = mnl_attr_get_type(attr);

	/* a mask alone: packets that have none of these bits */
	*asks |= (type == FRA_FWMARK || type == FRA_FWMASK) &&
		 mnl_attr_get_payload_len(attr) >= sizeof(uint32_t) &&
		 mnl_attr_get_u32(attr) != 0;
	return MNL_CB_OK;
}

static int on_rule(const struct nlmsghdr *nlh, void *data)
{
	(void)mnl_attr_parse(nlh, sizeof(struct fib_rule_hdr), on_rule_attr,
			     data);
	return MNL_CB_OK;
}

bool fw_offload_asks_marks(void)
{
	struct {
		struct nlmsghdr nlh;
		struct fib_rule_hdr rule;
	} request = {
		.nlh = { .nlmsg_len = sizeof(request),
			 .nlmsg_type = RTM_GETRULE,
			 .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
			 .nlmsg_seq = 1 },
	};
	bool asks = false;
	int r;

	r = fw_netlink_ask(NETLINK_ROUTE, &request.nlh, on_rule, &asks);
	/* without CONFIG_IP_MULTIPLE_TABLES nobody can make rules */
	return asks || (r < 0 && r != -EOPNOTSUPP);
}

const char *fw_offload_why_system(const char *ifname)
{
	if (has_policies())
		return "there are XFRM policies (IPsec), which route lookups of XDP do not see";
	if (fw_offload_asks_marks())
		return "an 'ip rule' asks for marks, which packets have none of in XDP";
	if (!is_forwarding("ipv4", ifname) && !is_forwarding("ipv6", ifname))
		return "it does not forward: sysctl net.ipv4.ip_forward, net.ipv6.conf.all.forwarding";
	return NULL;
}

/* The question loads a module: where there is none it is asked once. */
static bool are_hooks_active(void)
{
	static bool is_untold;
	int r;

	if (is_untold)
		return false;
	r = fw_probe_conntrack_hooks();
	is_untold = r < 0;
	return r > 0;
}

const char *fw_offload_why_tcp(bool holds_hooks)
{
	uint64_t value;

	if (fw_read_number(BE_LIBERAL, &value) == 0 && value != 0)
		return NULL;
	if (!holds_hooks && !are_hooks_active())
		return NULL;
	return "TCP is not: conntrack hooks are active, and would miss packets unless sysctl net.netfilter.nf_conntrack_tcp_be_liberal is 1";
}
