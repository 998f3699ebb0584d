/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Interfaces and own addresses from rtnetlink.
 *
 * The socket subscribes before it dumps, and messages are applied in the order
 * of the kernel, so what is known converges to what is. A lost message
 * (ENOBUFS, truncation) is answered by new dumps. The table of own addresses is
 * replaced as a whole: an address that stays is never missing.
 */
#include "user/iface.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/ethernet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <libmnl/libmnl.h>

#include "kern/host_abi.h"
#include "user/hosttab.h"
#include "user/log.h"
#include "user/loop.h"
#include "user/netlink.h"
#include "user/util.h"

#define RECV_SIZE     32768 /* what the kernel puts into one message at most */
#define SOCKET_BUFFER (1 << 20) /* some thousand messages */
#define MAX_DUMPS     16	/* a dump that changes underneath is repeated */

/*
 * One address as the kernel lists it. Two entries may well share an address or
 * a broadcast address, so each is known by all that tells it from others.
 */
struct addr {
	uint32_t ifindex;
	uint32_t prefix;
	struct fw_addr local;
	struct fw_addr peer;
	uint32_t kind; /* FW_SELF_* of `addr` */
	struct fw_addr addr;
};

/* What the kernel told us; `base` grows by doubling. */
struct links {
	struct fw_link *base;
	size_t n, size;
};

struct addrs {
	struct addr *base;
	size_t n, size;
};

struct selves {
	struct fw_self_entry *base;
	size_t n;
};

struct fw_ifaces {
	struct mnl_socket *nl;
	struct fw_watch *watch;
	struct fw_hosttab *tables;
	const struct fw_ifaces_ops *ops;
	void *data;
	struct links links;
	struct addrs addrs;
	struct selves selves; /* what the programs know, sorted */
	bool links_changed;
	bool addrs_changed;
};

/* ---- growing arrays ------------------------------------------------------- */

static int grow(void **base, size_t n, size_t *size, size_t each)
{
	size_t larger;
	void *p;

	if (n < *size)
		return 0;
	larger = *size ? *size * 2 : 16;
	p = reallocarray(*base, larger, each);
	if (!p)
		return -ENOMEM;
	*base = p;
	*size = larger;
	return 0;
}

static struct fw_link *find_link(const struct links *links, uint32_t ifindex)
{
	for (size_t i = 0; i < links->n; i++) {
		if (links->base[i].ifindex == ifindex)
			return &links->base[i];
	}
	return NULL;
}

static int put_link(struct links *links, const struct fw_link *link)
{
	struct fw_link *old = find_link(links, link->ifindex);
	void *base = links->base;
	int r;

	if (old) {
		*old = *link;
		return 0;
	}
	r = grow(&base, links->n, &links->size, sizeof(*link));
	links->base = base;
	if (r < 0)
		return r;
	links->base[links->n++] = *link;
	return 0;
}

static void cut_link(struct links *links, uint32_t ifindex)
{
	struct fw_link *link = find_link(links, ifindex);

	if (link)
		*link = links->base[--links->n];
}

static size_t find_addr(const struct addrs *addrs, const struct addr *addr)
{
	size_t i;

	for (i = 0; i < addrs->n; i++) {
		if (memcmp(&addrs->base[i], addr, sizeof(*addr)) == 0)
			break;
	}
	return i;
}

static int put_addr(struct addrs *addrs, const struct addr *addr)
{
	void *base = addrs->base;
	int r;

	if (find_addr(addrs, addr) < addrs->n)
		return 0;
	r = grow(&base, addrs->n, &addrs->size, sizeof(*addr));
	addrs->base = base;
	if (r < 0)
		return r;
	addrs->base[addrs->n++] = *addr;
	return 0;
}

static void cut_addr(struct addrs *addrs, const struct addr *addr)
{
	size_t i = find_addr(addrs, addr);

	if (i < addrs->n)
		addrs->base[i] = addrs->base[--addrs->n];
}

static void cut_addrs_of(struct addrs *addrs, uint32_t ifindex)
{
	for (size_t i = addrs->n; i-- > 0;) {
		if (addrs->base[i].ifindex == ifindex)
			addrs->base[i] = addrs->base[--addrs->n];
	}
}

/* ---- reading messages -------------------------------------------------------- */

/* The attributes of a message by number; those of newer kernels are left out. */
struct table {
	const struct nlattr *attr[64];
};

static int collect(const struct nlattr *attr, void *data)
{
	struct table *table = data;
	uint16_t type = mnl_attr_get_type(attr);

	if (type < ARRAY_SIZE(table->attr))
		table->attr[type] = attr;
	return MNL_CB_OK;
}

/* An attribute of the right type, or NULL: what is odd is left out. */
static const struct nlattr *get(const struct table *table, uint16_t type,
				enum mnl_attr_data_type want)
{
	const struct nlattr *attr = table->attr[type];

	return attr && mnl_attr_validate(attr, want) >= 0 ? attr : NULL;
}

static uint32_t get_u32(const struct table *table, uint16_t type)
{
	const struct nlattr *attr = get(table, type, MNL_TYPE_U32);

	return attr ? mnl_attr_get_u32(attr) : 0;
}

static bool get_nested(const struct table *table, uint16_t type,
		       struct table *ret)
{
	const struct nlattr *attr = get(table, type, MNL_TYPE_NESTED);

	*ret = (struct table){ 0 };
	return attr && mnl_attr_parse_nested(attr, collect, ret) >= 0;
}

/* Devices that look for an SA for each packet that they are given. */
static bool is_ipsec_kind(const char *kind)
{
	static const char *const kinds[] = { "xfrm", "vti", "vti6" };

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (strcmp(kind, kinds[i]) == 0)
			return true;
	}
	return false;
}

/* What kind of device it is, the VID of a VLAN device, the bond of a slave. */
static void read_linkinfo(const struct table *table, struct fw_link *link)
{
	const struct nlattr *kind, *vlan, *proto, *slave;
	struct table info, data;

	if (!get_nested(table, IFLA_LINKINFO, &info))
		return;
	slave = get(&info, IFLA_INFO_SLAVE_KIND, MNL_TYPE_NUL_STRING);
	if (slave && strcmp(mnl_attr_get_str(slave), "bond") == 0)
		link->bond = get_u32(table, IFLA_MASTER);
	else if (slave && strcmp(mnl_attr_get_str(slave), "vrf") != 0)
		link->is_port = true;
	kind = get(&info, IFLA_INFO_KIND, MNL_TYPE_NUL_STRING);
	if (!kind)
		return;
	link->is_virtual = true;
	link->is_ipsec = is_ipsec_kind(mnl_attr_get_str(kind));
	if (strcmp(mnl_attr_get_str(kind), "vlan") != 0 ||
	    !get_nested(&info, IFLA_INFO_DATA, &data))
		return;
	vlan = get(&data, IFLA_VLAN_ID, MNL_TYPE_U16);
	if (!vlan)
		return;
	link->vlan = mnl_attr_get_u16(vlan);
	proto = get(&data, IFLA_VLAN_PROTOCOL, MNL_TYPE_U16);
	link->vlan_proto = proto ? mnl_attr_get_u16(proto) : htons(ETH_P_8021Q);
	link->vlan_qos = data.attr[IFLA_VLAN_EGRESS_QOS] != NULL;
	/* With this the number in IFLA_LINK is of another namespace. */
	if (!table->attr[IFLA_LINK_NETNSID])
		link->parent = get_u32(table, IFLA_LINK);
}

/* True if the message is about an interface of this namespace. */
static bool read_link(const struct nlmsghdr *nlh, struct fw_link *ret)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	struct table table = { 0 }, xdp;
	const struct nlattr *name, *mac;

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*ifi))
		return false;
	/*
	 * Bridges send RTM_DELLINK with their own family when a port leaves;
	 * the port itself is still there.
	 */
	if (ifi->ifi_family != AF_UNSPEC || ifi->ifi_index <= 0)
		return false;
	if (mnl_attr_parse(nlh, sizeof(*ifi), collect, &table) < 0)
		return false;

	memset(ret, 0, sizeof(*ret));
	ret->ifindex = (uint32_t)ifi->ifi_index;
	ret->is_virtual = ifi->ifi_flags & IFF_LOOPBACK;
	ret->is_up = ifi->ifi_flags & IFF_UP;
	ret->mtu = get_u32(&table, IFLA_MTU);
	name = get(&table, IFLA_IFNAME, MNL_TYPE_NUL_STRING);
	if (name) {
		(void)snprintf(ret->name, sizeof(ret->name), "%s",
			       mnl_attr_get_str(name));
	}
	mac = table.attr[IFLA_ADDRESS];
	if (mac && mnl_attr_get_payload_len(mac) == sizeof(ret->mac))
		memcpy(ret->mac, mnl_attr_get_payload(mac), sizeof(ret->mac));
	read_linkinfo(&table, ret);
	if (get_nested(&table, IFLA_XDP, &xdp))
		ret->xdp_id = get_u32(&xdp, IFLA_XDP_PROG_ID);
	return true;
}

static bool read_ip(const struct nlattr *attr, uint8_t family,
		    struct fw_addr *ret)
{
	size_t len = family == AF_INET ? 4 : 16;

	if (!attr || mnl_attr_get_payload_len(attr) != len)
		return false;
	*ret = (struct fw_addr){ 0 };
	if (family == AF_INET) {
		ret->w[2] = htonl(0xffff);
		memcpy(&ret->w[3], mnl_attr_get_payload(attr), len);
	} else {
		memcpy(ret->w, mnl_attr_get_payload(attr), len);
	}
	return true;
}

/*
 * The own address and the broadcast address of one message; how many there are.
 * IFA_ADDRESS is the peer's where there is one, so IFA_LOCAL comes first.
 */
static size_t read_addr(const struct nlmsghdr *nlh, struct addr ret[2])
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *local, *address;
	struct table table = { 0 };

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*ifa))
		return 0;
	if (ifa->ifa_family != AF_INET && ifa->ifa_family != AF_INET6)
		return 0;
	if (mnl_attr_parse(nlh, sizeof(*ifa), collect, &table) < 0)
		return 0;

	address = table.attr[IFA_ADDRESS];
	local = table.attr[IFA_LOCAL] ? table.attr[IFA_LOCAL] : address;
	memset(ret, 0, 2 * sizeof(*ret));
	ret[0].ifindex = ifa->ifa_index;
	ret[0].prefix = ifa->ifa_prefixlen;
	ret[0].kind = FW_SELF_ADDRESS;
	if (!read_ip(local, ifa->ifa_family, &ret[0].local))
		return 0;
	(void)read_ip(address, ifa->ifa_family, &ret[0].peer);
	ret[0].addr = ret[0].local;
	ret[1] = ret[0];
	ret[1].kind = FW_SELF_BROADCAST;
	return read_ip(table.attr[IFA_BROADCAST], ifa->ifa_family, &ret[1].addr)
		       ? 2
		       : 1;
}

/* ---- asking the kernel --------------------------------------------------------- */

struct request {
	_Alignas(struct nlmsghdr) char buf[256];
	struct nlmsghdr *nlh;
};

static void *start_request(struct request *request, uint16_t type,
			   uint16_t flags, size_t header)
{
	request->nlh = mnl_nlmsg_put_header(request->buf);
	request->nlh->nlmsg_type = type;
	request->nlh->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	request->nlh->nlmsg_seq = 1;
	return mnl_nlmsg_put_extra_header(request->nlh, header);
}

/*
 * Send one request and hand every answer to `fn`. The socket is fresh, so that
 * no answer of an earlier, broken off request can come in between.
 */
static int ask(struct request *request, mnl_cb_t fn, void *data)
{
	_Alignas(struct nlmsghdr) char buf[RECV_SIZE];
	struct mnl_socket *nl;
	unsigned int port;
	ssize_t n;
	int r;

	nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!nl)
		return -errno;
	if (mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    mnl_socket_sendto(nl, request->nlh, request->nlh->nlmsg_len) < 0) {
		r = -errno;
		(void)mnl_socket_close(nl);
		return r;
	}

	port = mnl_socket_get_portid(nl);
	do {
		do {
			n = mnl_socket_recvfrom(nl, buf, sizeof(buf));
		} while (n < 0 && errno == EINTR);
		r = n < 0 ? -1 : mnl_cb_run(buf, (size_t)n, 1, port, fn, data);
	} while (r > 0);
	r = r < 0 ? -errno : 0;
	(void)mnl_socket_close(nl);
	return r;
}

static int on_dumped_link(const struct nlmsghdr *nlh, void *data)
{
	struct fw_link link;

	if (nlh->nlmsg_type != RTM_NEWLINK || !read_link(nlh, &link))
		return MNL_CB_OK;
	if (put_link(data, &link) < 0) {
		errno = ENOMEM;
		return MNL_CB_ERROR;
	}
	return MNL_CB_OK;
}

static int on_dumped_addr(const struct nlmsghdr *nlh, void *data)
{
	struct addr addr[2];
	size_t n;

	if (nlh->nlmsg_type != RTM_NEWADDR)
		return MNL_CB_OK;
	n = read_addr(nlh, addr);
	for (size_t i = 0; i < n; i++) {
		if (put_addr(data, &addr[i]) < 0) {
			errno = ENOMEM;
			return MNL_CB_ERROR;
		}
	}
	return MNL_CB_OK;
}

static int dump_links(struct links *ret)
{
	struct request request;
	int r = -EINTR;

	/* libmnl answers EINTR for a dump that changed underneath. */
	for (int i = 0; i < MAX_DUMPS && r == -EINTR; i++) {
		ret->n = 0;
		(void)start_request(&request, RTM_GETLINK, NLM_F_DUMP,
				    sizeof(struct ifinfomsg));
		mnl_attr_put_u32(request.nlh, IFLA_EXT_MASK,
				 RTEXT_FILTER_SKIP_STATS);
		r = ask(&request, on_dumped_link, ret);
	}
	return r;
}

static int dump_addrs(struct addrs *ret)
{
	struct request request;
	int r = -EINTR;

	for (int i = 0; i < MAX_DUMPS && r == -EINTR; i++) {
		ret->n = 0;
		(void)start_request(&request, RTM_GETADDR, NLM_F_DUMP,
				    sizeof(struct ifaddrmsg));
		r = ask(&request, on_dumped_addr, ret);
	}
	return r;
}

static int on_queried_link(const struct nlmsghdr *nlh, void *data)
{
	struct fw_link *link = data;

	/* One message answers, and no acknowledgement follows it. */
	if (nlh->nlmsg_type == RTM_NEWLINK)
		(void)read_link(nlh, link);
	return MNL_CB_STOP;
}

int fw_link_query(uint32_t ifindex, struct fw_link *ret)
{
	struct fw_link link = { 0 };
	struct request request;
	struct ifinfomsg *ifi;
	int r;

	ifi = start_request(&request, RTM_GETLINK, 0, sizeof(*ifi));
	ifi->ifi_index = (int)ifindex;
	mnl_attr_put_u32(request.nlh, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	r = ask(&request, on_queried_link, &link);
	if (r < 0)
		return r;
	if (link.ifindex != ifindex)
		return -ENODEV;
	*ret = link;
	return 0;
}

static int on_filter(const struct nlmsghdr *nlh, void *data)
{
	bool *found = data;

	if (nlh->nlmsg_type == RTM_NEWTFILTER)
		*found = true;
	return MNL_CB_OK;
}

int fw_link_has_filters(uint32_t ifindex)
{
	static const uint32_t parents[] = {
		TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS),
		TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS),
	};
	struct request request;
	bool found = false;
	struct tcmsg *tcm;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(parents); i++) {
		tcm = start_request(&request, RTM_GETTFILTER, NLM_F_DUMP,
				    sizeof(*tcm));
		tcm->tcm_family = AF_UNSPEC;
		tcm->tcm_ifindex = (int)ifindex;
		tcm->tcm_parent = parents[i];
		r = ask(&request, on_filter, &found);
		if (r < 0)
			return r;
	}
	return found;
}

/* ---- own addresses -------------------------------------------------------------- */

/* By address, and of equal ones the own address before the broadcast. */
static int compare_selves(const void *a, const void *b)
{
	const struct fw_self_entry *left = a, *right = b;
	int r;

	r = memcmp(&left->addr, &right->addr, sizeof(left->addr));
	if (r != 0)
		return r;
	return left->flags < right->flags ? -1 : left->flags > right->flags;
}

/* What the programs should know: each address once. */
static int want_selves(const struct addrs *addrs, struct selves *ret)
{
	struct fw_self_entry *base;
	size_t n = 0;

	base = calloc(addrs->n + 1, sizeof(*base));
	if (!base)
		return -ENOMEM;
	for (size_t i = 0; i < addrs->n; i++) {
		base[i] = (struct fw_self_entry){ addrs->base[i].addr,
						  addrs->base[i].kind };
	}
	qsort(base, addrs->n, sizeof(*base), compare_selves);
	for (size_t i = 0; i < addrs->n; i++) {
		if (n == 0 || memcmp(&base[n - 1].addr, &base[i].addr,
				     sizeof(base[i].addr)) != 0)
			base[n++] = base[i];
	}
	ret->base = base;
	ret->n = n;
	return 0;
}

/* What an earlier daemon has left there. */
static int read_selves(struct fw_ifaces *ifaces)
{
	struct selves *ret = &ifaces->selves;
	int r;

	r = fw_hosttab_get_selves(ifaces->tables, &ret->base, &ret->n);
	if (r == 0)
		qsort(ret->base, ret->n, sizeof(*ret->base), compare_selves);
	return r;
}

static bool equal_selves(const struct selves *a, const struct selves *b)
{
	return a->n == b->n &&
	       (a->n == 0 ||
		memcmp(a->base, b->base, a->n * sizeof(*a->base)) == 0);
}

static int write_selves(const struct fw_ifaces *ifaces,
			const struct selves *want)
{
	size_t n = want->n;

	if (equal_selves(&ifaces->selves, want))
		return 0;
	if (n > FW_MAX_SELF) {
		log_warning(
			"no room for %zu own addresses: more than %d, ignoring",
			n - FW_MAX_SELF, FW_MAX_SELF);
		n = FW_MAX_SELF;
	}
	return fw_hosttab_put_selves(ifaces->tables, want->base, n);
}

static int update_selves(struct fw_ifaces *ifaces)
{
	struct selves want = { 0 };
	int r;

	r = want_selves(&ifaces->addrs, &want);
	if (r < 0)
		return r;
	r = write_selves(ifaces, &want);
	if (r < 0) {
		free(want.base);
		return r;
	}
	free(ifaces->selves.base);
	ifaces->selves = want;
	ifaces->addrs_changed = false;
	return 0;
}

/* ---- watching --------------------------------------------------------------------- */

static int on_link(struct fw_ifaces *ifaces, const struct nlmsghdr *nlh)
{
	struct fw_link link, *old;

	if (!read_link(nlh, &link))
		return 0;
	old = find_link(&ifaces->links, link.ifindex);
	if (nlh->nlmsg_type == RTM_DELLINK) {
		if (!old)
			return 0;
		cut_link(&ifaces->links, link.ifindex);
		cut_addrs_of(&ifaces->addrs, link.ifindex);
		ifaces->links_changed = ifaces->addrs_changed = true;
		ifaces->ops->gone(ifaces->data, link.ifindex);
		return 0;
	}
	/*
	 * Most messages are about counters, queues or the carrier. Some of them
	 * are echoes of our own attempts to attach: acting on those would never
	 * end.
	 */
	if (old && memcmp(old, &link, sizeof(link)) == 0)
		return 0;
	ifaces->links_changed = true;
	return put_link(&ifaces->links, &link);
}

static int on_addr(struct fw_ifaces *ifaces, const struct nlmsghdr *nlh)
{
	struct addr addr[2];
	int r = 0;
	size_t n;

	n = read_addr(nlh, addr);
	for (size_t i = 0; i < n && r == 0; i++) {
		if (nlh->nlmsg_type == RTM_NEWADDR) {
			r = put_addr(&ifaces->addrs, &addr[i]);
		} else {
			cut_addr(&ifaces->addrs, &addr[i]);
		}
		ifaces->addrs_changed = true;
	}
	return r;
}

static int on_message(const struct nlmsghdr *nlh, void *data)
{
	struct fw_ifaces *ifaces = data;
	int r = 0;

	switch (nlh->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		r = on_link(ifaces, nlh);
		break;
	case RTM_NEWADDR:
	case RTM_DELADDR:
		r = on_addr(ifaces, nlh);
		break;
	default:
		break;
	}
	if (r < 0) {
		errno = -r;
		return MNL_CB_ERROR;
	}
	return MNL_CB_OK;
}

/* Read everything again; interfaces that are no longer there are reported. */
static int resync(struct fw_ifaces *ifaces)
{
	struct links links = { 0 };
	struct addrs addrs = { 0 };
	int r;

	r = dump_links(&links);
	if (r == 0)
		r = dump_addrs(&addrs);
	if (r < 0) {
		free(links.base);
		free(addrs.base);
		return r;
	}

	for (size_t i = 0; i < ifaces->links.n; i++) {
		if (!find_link(&links, ifaces->links.base[i].ifindex)) {
			ifaces->ops->gone(ifaces->data,
					  ifaces->links.base[i].ifindex);
		}
	}
	free(ifaces->links.base);
	free(ifaces->addrs.base);
	ifaces->links = links;
	ifaces->addrs = addrs;
	ifaces->links_changed = ifaces->addrs_changed = true;
	return 0;
}

int fw_ifaces_sync(struct fw_ifaces *ifaces)
{
	int r;

	r = fw_netlink_drain(ifaces->nl, on_message, ifaces);
	if (r < 0) {
		fw_netlink_discard(ifaces->nl);
		r = resync(ifaces);
	}
	if (r == 0 && ifaces->addrs_changed)
		r = update_selves(ifaces);
	if (r == 0 && ifaces->links_changed) {
		ifaces->links_changed = false;
		ifaces->ops->changed(ifaces->data);
	}
	return r;
}

static void on_readable(void *data, uint32_t events)
{
	int r;

	(void)events;
	r = fw_ifaces_sync(data);
	if (r < 0) {
		log_warning("cannot follow interfaces and addresses: %s",
			    strerror(-r));
	}
}

static int subscribe(struct fw_ifaces *ifaces)
{
	static const int groups[] = {
		RTNLGRP_LINK,
		RTNLGRP_IPV4_IFADDR,
		RTNLGRP_IPV6_IFADDR,
	};
	int size = SOCKET_BUFFER;
	int group;

	ifaces->nl =
		mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!ifaces->nl)
		return -errno;
	if (mnl_socket_bind(ifaces->nl, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	/* A small buffer only means more dumps. */
	(void)setsockopt(mnl_socket_get_fd(ifaces->nl), SOL_SOCKET,
			 SO_RCVBUFFORCE, &size, sizeof(size));
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
		group = groups[i];
		if (mnl_socket_setsockopt(ifaces->nl, NETLINK_ADD_MEMBERSHIP,
					  &group, sizeof(group)) < 0)
			return -errno;
	}
	return 0;
}

static int start(struct fw_ifaces *ifaces, struct fw_loop *loop)
{
	int r;

	r = subscribe(ifaces);
	if (r < 0)
		return r;
	r = read_selves(ifaces);
	if (r < 0)
		return r;
	r = resync(ifaces);
	if (r < 0)
		return r;
	r = update_selves(ifaces);
	if (r < 0)
		return r;
	ifaces->links_changed = false;
	ifaces->watch = fw_watch_new(loop, mnl_socket_get_fd(ifaces->nl),
				     EPOLLIN, on_readable, ifaces);
	return ifaces->watch ? 0 : -errno;
}

int fw_ifaces_new(struct fw_loop *loop, struct fw_hosttab *tables,
		  const struct fw_ifaces_ops *ops, void *data,
		  struct fw_ifaces **ret, char **reterr)
{
	struct fw_ifaces *ifaces;
	int r;

	ifaces = calloc(1, sizeof(*ifaces));
	if (!ifaces)
		return -ENOMEM;
	ifaces->tables = tables;
	ifaces->ops = ops;
	ifaces->data = data;
	r = start(ifaces, loop);
	if (r < 0) {
		fw_errorf(reterr, "cannot read interfaces and addresses: %s",
			  strerror(-r));
		fw_ifaces_free(ifaces);
		return r;
	}
	*ret = ifaces;
	return 0;
}

void fw_ifaces_free(struct fw_ifaces *ifaces)
{
	if (!ifaces)
		return;
	fw_watch_free(ifaces->watch);
	if (ifaces->nl)
		(void)mnl_socket_close(ifaces->nl);
	free(ifaces->links.base);
	free(ifaces->addrs.base);
	free(ifaces->selves.base);
	free(ifaces);
}

const struct fw_link *fw_ifaces_by_name(const struct fw_ifaces *ifaces,
					const char *name)
{
	for (size_t i = 0; i < ifaces->links.n; i++) {
		if (strcmp(ifaces->links.base[i].name, name) == 0)
			return &ifaces->links.base[i];
	}
	return NULL;
}

const struct fw_link *fw_ifaces_by_index(const struct fw_ifaces *ifaces,
					 uint32_t ifindex)
{
	return find_link(&ifaces->links, ifindex);
}

const struct fw_link *fw_ifaces_at(const struct fw_ifaces *ifaces, size_t i)
{
	return i < ifaces->links.n ? &ifaces->links.base[i] : NULL;
}

size_t fw_ifaces_self_count(const struct fw_ifaces *ifaces)
{
	size_t n = 0;

	for (size_t i = 0; i < ifaces->selves.n; i++)
		n += ifaces->selves.base[i].flags == FW_SELF_ADDRESS;
	return n;
}
