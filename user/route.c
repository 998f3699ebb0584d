/* SPDX-License-Identifier: GPL-2.0-only */

/* Where the kernel would send a packet that came in, by RTM_GETROUTE. */
#include "user/route.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>

#include "user/util.h"

#define FORWARDING6 "/proc/sys/net/ipv6/conf/all/forwarding"

static bool is_group(const struct fw_tuple *tuple)
{
	uint32_t first =
		ntohl(tuple->daddr.w[tuple->family == FW_AF_IPV4 ? 3 : 0]);

	if (tuple->family == FW_AF_IPV4)
		return first >> 28 == 14 || first == UINT32_MAX;
	return first >> 24 == 255;
}

static void put_request(char *buf, const struct fw_tuple *tuple, uint32_t in)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	bool v4 = tuple->family == FW_AF_IPV4;
	size_t len = v4 ? 4 : 16;
	struct rtmsg *rtm;

	nlh->nlmsg_type = RTM_GETROUTE;
	nlh->nlmsg_flags = NLM_F_REQUEST;
	rtm = mnl_nlmsg_put_extra_header(nlh, sizeof(*rtm));
	rtm->rtm_family = v4 ? AF_INET : AF_INET6;
	rtm->rtm_src_len = rtm->rtm_dst_len = (uint8_t)(len * 8);
	mnl_attr_put(nlh, RTA_SRC, len, &tuple->saddr.w[v4 ? 3 : 0]);
	mnl_attr_put(nlh, RTA_DST, len, &tuple->daddr.w[v4 ? 3 : 0]);
	mnl_attr_put_u32(nlh, RTA_IIF, in);
	if (tuple->proto != IPPROTO_TCP && tuple->proto != IPPROTO_UDP)
		return;
	mnl_attr_put_u8(nlh, RTA_IP_PROTO, tuple->proto);
	if (tuple->sport)
		mnl_attr_put_u16(nlh, RTA_SPORT, tuple->sport);
	if (tuple->dport)
		mnl_attr_put_u16(nlh, RTA_DPORT, tuple->dport);
}

static int find_oif(const struct nlattr *attr, void *data)
{
	struct fw_route *route = data;

	if (mnl_attr_get_type(attr) == RTA_OIF &&
	    mnl_attr_validate(attr, MNL_TYPE_U32) >= 0)
		route->ifindex = mnl_attr_get_u32(attr);
	return MNL_CB_OK;
}

static void read_answer(const struct nlmsghdr *nlh, struct fw_route *ret)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
	const struct nlmsgerr *error = mnl_nlmsg_get_payload(nlh);

	if (nlh->nlmsg_type == NLMSG_ERROR) {
		ret->error = -error->error;
		return;
	}
	if (nlh->nlmsg_type != RTM_NEWROUTE ||
	    mnl_nlmsg_get_payload_len(nlh) < sizeof(*rtm))
		return;
	switch (rtm->rtm_type) {
	case RTN_LOCAL:
	case RTN_BROADCAST:
	case RTN_MULTICAST:
	case RTN_ANYCAST:
		ret->kind = FW_ROUTE_LOCAL;
		return;
	case RTN_UNICAST:
		(void)mnl_attr_parse(nlh, sizeof(*rtm), find_oif, ret);
		if (ret->ifindex)
			ret->kind = FW_ROUTE_FORWARD;
		return;
	default:
		ret->error = EHOSTUNREACH;
		return;
	}
}

static int ask(char *buf, size_t size, struct fw_route *ret)
{
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	ssize_t n;
	int r = 0;

	if (!nl)
		return -errno;
	if (mnl_socket_sendto(nl, buf,
			      ((const struct nlmsghdr *)buf)->nlmsg_len) < 0) {
		r = -errno;
	} else {
		n = mnl_socket_recvfrom(nl, buf, size);
		if (n < 0)
			r = -errno;
		else if (mnl_nlmsg_ok((const struct nlmsghdr *)buf, (int)n))
			read_answer((const struct nlmsghdr *)buf, ret);
	}
	(void)mnl_socket_close(nl);
	return r;
}

int fw_route_query(const struct fw_tuple *tuple, uint32_t in,
		   struct fw_route *ret)
{
	char buf[8192] __attribute__((aligned(8)));
	uint64_t forwards = 1;
	int r;

	*ret = (struct fw_route){ 0 };
	if (is_group(tuple)) {
		ret->kind = FW_ROUTE_LOCAL;
		return 0;
	}
	put_request(buf, tuple, in);
	r = ask(buf, sizeof(buf), ret);
	/* IPv4 says so itself. */
	if (r == 0 && ret->kind == FW_ROUTE_FORWARD &&
	    tuple->family == FW_AF_IPV6 &&
	    fw_read_number(FORWARDING6, &forwards) == 0 && !forwards) {
		ret->kind = FW_ROUTE_NONE;
		ret->error = EHOSTUNREACH;
	}
	return r;
}
