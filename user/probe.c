/* SPDX-License-Identifier: GPL-2.0-only */

/* Questions to the running kernel, answered by BTF, netlink and ioctl. */
#include "user/probe.h"

#include <arpa/inet.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/bpf.h>
#include <linux/ethtool.h>
#include <linux/magic.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_hook.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/vfs.h>

#include "user/util.h"

struct fw_probe {
	struct btf *kernel;
	struct btf *conntrack; /* of the module, where it is one and loaded */
	bool is_read;
};

struct fw_probe *fw_probe_new(void)
{
	return calloc(1, sizeof(struct fw_probe));
}

/* Parsing the kernel's types takes some ten milliseconds: once, if ever. */
static void read_btf(struct fw_probe *probe)
{
	libbpf_print_fn_t old_print;

	if (probe->is_read)
		return;
	probe->is_read = true;
	old_print = libbpf_set_print(NULL);
	probe->kernel = btf__load_vmlinux_btf();
	if (probe->kernel) {
		probe->conntrack =
			btf__load_module_btf("nf_conntrack", probe->kernel);
	}
	(void)libbpf_set_print(old_print);
}

void fw_probe_free(struct fw_probe *probe)
{
	if (!probe)
		return;
	btf__free(probe->conntrack);
	btf__free(probe->kernel);
	free(probe);
}

bool fw_probe_has_btf(struct fw_probe *probe)
{
	read_btf(probe);
	return probe->kernel;
}

bool fw_probe_has_module_btf(struct fw_probe *probe)
{
	read_btf(probe);
	return probe->conntrack;
}

static bool has_func(const struct btf *btf, const char *name)
{
	return btf && btf__find_by_name_kind(btf, name, BTF_KIND_FUNC) > 0;
}

bool fw_probe_has_kernel_func(struct fw_probe *probe, const char *name)
{
	read_btf(probe);
	return has_func(probe->kernel, name);
}

bool fw_probe_has_func(struct fw_probe *probe, const char *name)
{
	read_btf(probe);
	return has_func(probe->kernel, name) ||
	       has_func(probe->conntrack, name);
}

static bool has_member(const struct btf *btf, const struct btf_type *type,
		       const char *name)
{
	const struct btf_member *member = btf_members(type);

	for (int i = 0; i < btf_vlen(type); i++) {
		const char *text = btf__name_by_offset(btf, member[i].name_off);

		if (text && strcmp(text, name) == 0)
			return true;
	}
	return false;
}

unsigned int fw_probe_struct(struct fw_probe *probe, const char *name,
			     const char *member, bool *ret_has_it)
{
	const struct btf_type *type;
	const struct btf *btf;
	int id;

	read_btf(probe);
	/* That of a module finds the kernel's types as well. */
	btf = probe->conntrack ? probe->conntrack : probe->kernel;
	id = btf ? btf__find_by_name_kind(btf, name, BTF_KIND_STRUCT) : -1;
	if (id < 0)
		return 0;
	type = btf__type_by_id(btf, (__u32)id);
	if (member)
		*ret_has_it = has_member(btf, type, member);
	return type->size;
}

static bool has_value(const struct btf *btf, const struct btf_type *type,
		      const char *name)
{
	const struct btf_enum *value = btf_enum(type);

	for (int i = 0; i < btf_vlen(type); i++) {
		const char *text = btf__name_by_offset(btf, value[i].name_off);

		if (text && strcmp(text, name) == 0)
			return true;
	}
	return false;
}

bool fw_probe_has_enum_value(struct fw_probe *probe, const char *name)
{
	read_btf(probe);
	if (!probe->kernel)
		return false;
	for (__u32 id = 1; id < btf__type_cnt(probe->kernel); id++) {
		const struct btf_type *type =
			btf__type_by_id(probe->kernel, id);

		if (btf_is_enum(type) && has_value(probe->kernel, type, name))
			return true;
	}
	return false;
}

bool fw_probe_is_bpffs(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 &&
	       (unsigned long)fs.f_type == BPF_FS_MAGIC;
}

/* ---- conntrack hooks ------------------------------------------------------------- */

static int on_hook_attr(const struct nlattr *attr, void *data)
{
	const struct nlattr **name = data;

	if (mnl_attr_get_type(attr) == NFNLA_HOOK_FUNCTION_NAME &&
	    mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0)
		*name = attr;
	return MNL_CB_OK;
}

static int on_hook(const struct nlmsghdr *nlh, void *data)
{
	const struct nlattr *name = NULL;
	int *found = data;

	if (mnl_attr_parse(nlh, sizeof(struct nfgenmsg), on_hook_attr, &name) >
		    0 &&
	    name && strstr(mnl_attr_get_str(name), "conntrack_in"))
		*found = 1;
	return MNL_CB_OK;
}

static int ask_hooks(struct mnl_socket *nl, uint8_t family, int *found)
{
	char buf[8192] __attribute__((aligned(8))); /* what libmnl advises */
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct nfgenmsg *nfg;
	ssize_t n;
	int r;

	nlh->nlmsg_type = NFNL_SUBSYS_HOOK << 8 | NFNL_MSG_HOOK_GET;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));
	nfg->nfgen_family = family;
	nfg->version = NFNETLINK_V0;
	mnl_attr_put_u32(nlh, NFNLA_HOOK_HOOKNUM, htonl(NF_INET_PRE_ROUTING));
	if (mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	do {
		n = mnl_socket_recvfrom(nl, buf, sizeof(buf));
		if (n < 0)
			return -errno;
		r = mnl_cb_run(buf, (size_t)n, 0, mnl_socket_get_portid(nl),
			       on_hook, found);
	} while (r > 0);
	/* -ENOENT: nobody has hooked in there at all */
	return r < 0 && errno != ENOENT ? -errno : 0;
}

int fw_probe_conntrack_hooks(void)
{
	struct mnl_socket *nl;
	int found = 0;
	int r;

	nl = mnl_socket_open(NETLINK_NETFILTER);
	if (!nl)
		return -errno;
	r = mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0 ? -errno : 0;
	if (r == 0)
		r = ask_hooks(nl, NFPROTO_IPV4, &found);
	if (r == 0)
		r = ask_hooks(nl, NFPROTO_IPV6, &found);
	(void)mnl_socket_close(nl);
	return r < 0 ? r : found;
}

/* ---- drivers ---------------------------------------------------------------------- */

/* `command` is one of the structs of <linux/ethtool.h>, and becomes the answer. */
static int ask_driver(const char *ifname, void *command)
{
	struct ifreq request = { .ifr_data = command };
	_cleanup_close_ int fd = -1;

	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	(void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s",
		       ifname);
	return ioctl(fd, SIOCETHTOOL, &request) < 0 ? -errno : 0;
}

int fw_probe_hides_tags(const char *ifname)
{
	struct ethtool_value flags = { .cmd = ETHTOOL_GFLAGS };
	int r;

	r = ask_driver(ifname, &flags);
	return r < 0 ? r : !!(flags.data & ETH_FLAG_RXVLAN);
}

int fw_probe_driver(const char *ifname, char *buf, unsigned int size)
{
	struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
	int r;

	r = ask_driver(ifname, &info);
	if (r < 0)
		return r;
	(void)snprintf(buf, size, "%.*s", (int)sizeof(info.driver),
		       info.driver);
	return 0;
}
