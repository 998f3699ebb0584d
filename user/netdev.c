/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Asks the family `netdev` what drivers can do with XDP.
 *
 * Nothing else tells: that a driver takes frames of others (ndo_xdp_xmit) has never
 * been a flag before, and of veth it is true only while somebody polls at the other
 * end. Like iface.c, the socket subscribes before it asks, and asks again after a
 * loss.
 */
#include "user/netdev.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <libmnl/libmnl.h>

#include "user/log.h"
#include "user/loop.h"
#include "user/netlink.h"
#include "user/util.h"

/* linux/netdev.h, which Debian 12 has not */
#define FAMILY	     "netdev"
#define GROUP	     "mgmt"
#define CMD_GET	     1
#define CMD_ADDED    2
#define CMD_DELETED  3
#define CMD_CHANGED  4
#define ATTR_IFINDEX 1
#define ATTR_XDP     3

#define SOCKET_BUFFER (1 << 20)
#define MAX_DUMPS     16 /* a dump that changes underneath is repeated */

struct netdev {
	uint32_t ifindex;
	uint64_t features;
};

struct netdevs {
	struct netdev *base;
	size_t n, size;
};

/* The numbers that the kernel gives to names. */
struct family {
	uint16_t id;
	uint32_t group;
};

struct fw_netdevs {
	struct mnl_socket *nl;
	struct fw_watch *watch;
	fw_netdevs_fn changed;
	void *data;
	struct family family;
	struct netdevs all;
	bool is_changed;
};

/* ---- what is known ---------------------------------------------------------------- */

static struct netdev *find(const struct netdevs *all, uint32_t ifindex)
{
	for (size_t i = 0; i < all->n; i++) {
		if (all->base[i].ifindex == ifindex)
			return &all->base[i];
	}
	return NULL;
}

static int put(struct netdevs *all, const struct netdev *dev)
{
	struct netdev *old = find(all, dev->ifindex), *base;
	size_t size;

	if (old) {
		*old = *dev;
		return 0;
	}
	if (all->n == all->size) {
		size = all->size ? all->size * 2 : 16;
		base = reallocarray(all->base, size, sizeof(*base));
		if (!base)
			return -ENOMEM;
		all->base = base;
		all->size = size;
	}
	all->base[all->n++] = *dev;
	return 0;
}

static void cut(struct netdevs *all, uint32_t ifindex)
{
	struct netdev *dev = find(all, ifindex);

	if (dev)
		*dev = all->base[--all->n];
}

uint64_t fw_netdevs_get(const struct fw_netdevs *netdevs, uint32_t ifindex)
{
	const struct netdev *dev = find(&netdevs->all, ifindex);

	return dev ? dev->features : 0;
}

/* ---- asking --------------------------------------------------------------------------- */

struct request {
	_Alignas(struct nlmsghdr) char buf[256];
	struct nlmsghdr *nlh;
};

static void start_request(struct request *request, uint16_t family,
			  uint16_t flags, uint8_t cmd)
{
	struct genlmsghdr *genl;

	request->nlh = mnl_nlmsg_put_header(request->buf);
	request->nlh->nlmsg_type = family;
	request->nlh->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	request->nlh->nlmsg_seq = 1;
	genl = mnl_nlmsg_put_extra_header(request->nlh, sizeof(*genl));
	genl->cmd = cmd;
	genl->version = 1;
}

/* ---- the family ------------------------------------------------------------------------- */

/* The attributes of a message by number; those of newer kernels are left out. */
struct table {
	const struct nlattr *attr[32];
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

static int on_group(const struct nlattr *attr, void *data)
{
	const struct nlattr *name, *id;
	struct family *family = data;
	struct table table = { 0 };

	if (mnl_attr_parse_nested(attr, collect, &table) < 0)
		return MNL_CB_OK;
	name = get(&table, CTRL_ATTR_MCAST_GRP_NAME, MNL_TYPE_NUL_STRING);
	id = get(&table, CTRL_ATTR_MCAST_GRP_ID, MNL_TYPE_U32);
	if (name && id && strcmp(mnl_attr_get_str(name), GROUP) == 0)
		family->group = mnl_attr_get_u32(id);
	return MNL_CB_OK;
}

static int on_family(const struct nlmsghdr *nlh, void *data)
{
	const struct nlattr *id, *groups;
	struct family *family = data;
	struct table table = { 0 };

	if (mnl_attr_parse(nlh, sizeof(struct genlmsghdr), collect, &table) < 0)
		return MNL_CB_STOP;
	id = get(&table, CTRL_ATTR_FAMILY_ID, MNL_TYPE_U16);
	groups = get(&table, CTRL_ATTR_MCAST_GROUPS, MNL_TYPE_NESTED);
	if (id)
		family->id = mnl_attr_get_u16(id);
	if (groups)
		(void)mnl_attr_parse_nested(groups, on_group, family);
	return MNL_CB_STOP;
}

static int find_family(struct family *ret)
{
	struct request request;
	int r;

	*ret = (struct family){ 0 };
	start_request(&request, GENL_ID_CTRL, 0, CTRL_CMD_GETFAMILY);
	mnl_attr_put_strz(request.nlh, CTRL_ATTR_FAMILY_NAME, FAMILY);
	r = fw_netlink_ask(NETLINK_GENERIC, request.nlh, on_family, ret);
	if (r == -ENOENT || (r == 0 && (!ret->id || !ret->group)))
		return -EOPNOTSUPP;
	return r;
}

/* ---- messages about devices -------------------------------------------------------------- */

static bool read_netdev(const struct nlmsghdr *nlh, struct netdev *ret)
{
	const struct nlattr *ifindex, *features;
	struct table table = { 0 };

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(struct genlmsghdr) ||
	    mnl_attr_parse(nlh, sizeof(struct genlmsghdr), collect, &table) < 0)
		return false;
	ifindex = get(&table, ATTR_IFINDEX, MNL_TYPE_U32);
	features = get(&table, ATTR_XDP, MNL_TYPE_U64);
	if (!ifindex)
		return false;
	*ret = (struct netdev){
		.ifindex = mnl_attr_get_u32(ifindex),
		.features = features ? mnl_attr_get_u64(features) : 0,
	};
	return true;
}

static int on_dumped(const struct nlmsghdr *nlh, void *data)
{
	struct netdev dev;

	if (!read_netdev(nlh, &dev))
		return MNL_CB_OK;
	if (put(data, &dev) < 0) {
		errno = ENOMEM;
		return MNL_CB_ERROR;
	}
	return MNL_CB_OK;
}

static int dump(const struct family *family, struct netdevs *ret)
{
	struct request request;
	int r = -EINTR;

	/* libmnl answers EINTR for a dump that changed underneath. */
	for (int i = 0; i < MAX_DUMPS && r == -EINTR; i++) {
		ret->n = 0;
		start_request(&request, family->id, NLM_F_DUMP, CMD_GET);
		r = fw_netlink_ask(NETLINK_GENERIC, request.nlh, on_dumped,
				   ret);
	}
	return r;
}

static int on_queried(const struct nlmsghdr *nlh, void *data)
{
	/* One message answers, and no acknowledgement follows it. */
	(void)read_netdev(nlh, data);
	return MNL_CB_STOP;
}

int fw_netdev_query(uint32_t ifindex, uint64_t *ret)
{
	struct netdev dev = { 0 };
	struct request request;
	struct family family;
	int r;

	r = find_family(&family);
	if (r < 0)
		return r;
	start_request(&request, family.id, 0, CMD_GET);
	mnl_attr_put_u32(request.nlh, ATTR_IFINDEX, ifindex);
	r = fw_netlink_ask(NETLINK_GENERIC, request.nlh, on_queried, &dev);
	if (r == 0 && dev.ifindex != ifindex)
		r = -ENODEV;
	if (r == 0)
		*ret = dev.features;
	return r;
}

/* ---- watching ------------------------------------------------------------------------------ */

static int on_message(const struct nlmsghdr *nlh, void *data)
{
	const struct genlmsghdr *genl = mnl_nlmsg_get_payload(nlh);
	struct fw_netdevs *netdevs = data;
	struct netdev dev;

	if (nlh->nlmsg_type != netdevs->family.id || !read_netdev(nlh, &dev))
		return MNL_CB_OK;
	switch (genl->cmd) {
	case CMD_ADDED:
	case CMD_CHANGED:
		if (put(&netdevs->all, &dev) < 0) {
			errno = ENOMEM;
			return MNL_CB_ERROR;
		}
		break;
	case CMD_DELETED:
		cut(&netdevs->all, dev.ifindex);
		break;
	default:
		return MNL_CB_OK;
	}
	netdevs->is_changed = true;
	return MNL_CB_OK;
}

static int resync(struct fw_netdevs *netdevs)
{
	struct netdevs all = { 0 };
	int r;

	r = dump(&netdevs->family, &all);
	if (r < 0) {
		free(all.base);
		return r;
	}
	free(netdevs->all.base);
	netdevs->all = all;
	netdevs->is_changed = true;
	return 0;
}

bool fw_netdevs_sync(struct fw_netdevs *netdevs)
{
	bool is_changed;
	int r;

	r = fw_netlink_drain(netdevs->nl, on_message, netdevs);
	if (r < 0) {
		fw_netlink_discard(netdevs->nl);
		r = resync(netdevs);
	}
	if (r < 0) {
		log_warning("cannot follow what drivers can do with XDP: %s",
			    strerror(-r));
	}
	is_changed = netdevs->is_changed;
	netdevs->is_changed = false;
	return is_changed;
}

static void on_readable(void *data, uint32_t events)
{
	struct fw_netdevs *netdevs = data;

	(void)events;
	if (fw_netdevs_sync(netdevs))
		netdevs->changed(netdevs->data);
}

static int subscribe(struct fw_netdevs *netdevs)
{
	int size = SOCKET_BUFFER, group = (int)netdevs->family.group;

	netdevs->nl =
		mnl_socket_open2(NETLINK_GENERIC, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!netdevs->nl ||
	    mnl_socket_bind(netdevs->nl, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	/* A small buffer only means more dumps. */
	(void)setsockopt(mnl_socket_get_fd(netdevs->nl), SOL_SOCKET,
			 SO_RCVBUFFORCE, &size, sizeof(size));
	if (mnl_socket_setsockopt(netdevs->nl, NETLINK_ADD_MEMBERSHIP, &group,
				  sizeof(group)) < 0)
		return -errno;
	return 0;
}

static int start(struct fw_netdevs *netdevs, struct fw_loop *loop)
{
	int r;

	r = find_family(&netdevs->family);
	if (r == 0)
		r = subscribe(netdevs);
	if (r == 0)
		r = resync(netdevs);
	if (r < 0)
		return r;
	netdevs->is_changed = false;
	netdevs->watch = fw_watch_new(loop, mnl_socket_get_fd(netdevs->nl),
				      EPOLLIN, on_readable, netdevs);
	return netdevs->watch ? 0 : -errno;
}

int fw_netdevs_new(struct fw_loop *loop, fw_netdevs_fn changed, void *data,
		   struct fw_netdevs **ret)
{
	struct fw_netdevs *netdevs;
	int r;

	netdevs = calloc(1, sizeof(*netdevs));
	if (!netdevs)
		return -ENOMEM;
	netdevs->changed = changed;
	netdevs->data = data;
	r = start(netdevs, loop);
	if (r < 0) {
		fw_netdevs_free(netdevs);
		return r;
	}
	*ret = netdevs;
	return 0;
}

void fw_netdevs_free(struct fw_netdevs *netdevs)
{
	if (!netdevs)
		return;
	fw_watch_free(netdevs->watch);
	if (netdevs->nl)
		(void)mnl_socket_close(netdevs->nl);
	free(netdevs->all.base);
	free(netdevs);
}
