/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * What rtnetlink says and how it is understood. Includes iface.c, to reach what
 * is static there: messages that this kernel may not be able to make, and loss.
 */
#include "user/iface.c"

#include <bpf/bpf.h>

#include "selftests/datapath/room.h"

static uint32_t gone_index;
static unsigned int n_changes;

static void on_gone(void *data, uint32_t ifindex)
{
	(void)data;
	gone_index = ifindex;
}

static void on_changed(void *data)
{
	(void)data;
	n_changes++;
}

static const struct fw_ifaces_ops ops = { on_gone, on_changed };

/* ---- messages ----------------------------------------------------------------- */

static struct ifinfomsg *start_link(struct request *request, int family)
{
	struct ifinfomsg *ifi;

	ifi = start_request(request, RTM_NEWLINK, 0, sizeof(*ifi));
	ifi->ifi_family = (unsigned char)family;
	ifi->ifi_index = 5;
	mnl_attr_put_strz(request->nlh, IFLA_IFNAME, "dev0");
	return ifi;
}

static void put_kind(struct request *request, const char *kind, uint16_t vlan)
{
	struct nlattr *info, *data;

	info = mnl_attr_nest_start(request->nlh, IFLA_LINKINFO);
	mnl_attr_put_strz(request->nlh, IFLA_INFO_KIND, kind);
	data = mnl_attr_nest_start(request->nlh, IFLA_INFO_DATA);
	mnl_attr_put_u16(request->nlh, IFLA_VLAN_ID, vlan);
	mnl_attr_nest_end(request->nlh, data);
	mnl_attr_nest_end(request->nlh, info);
}

static void vlan_device_has_a_parent(void **state)
{
	struct request request;
	struct fw_link link;

	(void)state;
	(void)start_link(&request, AF_UNSPEC);
	mnl_attr_put_u32(request.nlh, IFLA_LINK, 3);
	put_kind(&request, "vlan", 100);
	assert_true(read_link(request.nlh, &link));
	assert_int_equal(link.ifindex, 5);
	assert_string_equal(link.name, "dev0");
	assert_int_equal(link.parent, 3);
	assert_int_equal(link.vlan, 100);
	assert_true(link.is_virtual);
}

/* The number is of a namespace that is not ours. */
static void parent_elsewhere_is_none(void **state)
{
	struct request request;
	struct fw_link link;

	(void)state;
	(void)start_link(&request, AF_UNSPEC);
	mnl_attr_put_u32(request.nlh, IFLA_LINK, 3);
	mnl_attr_put_u32(request.nlh, IFLA_LINK_NETNSID, 0);
	put_kind(&request, "vlan", 100);
	assert_true(read_link(request.nlh, &link));
	assert_int_equal(link.parent, 0);
}

/* A veth's IFLA_LINK is its peer; data of other kinds are not VLAN ids. */
static void other_kinds_have_no_parent(void **state)
{
	struct request request;
	struct fw_link link;

	(void)state;
	(void)start_link(&request, AF_UNSPEC);
	mnl_attr_put_u32(request.nlh, IFLA_LINK, 3);
	put_kind(&request, "veth", 100);
	assert_true(read_link(request.nlh, &link));
	assert_int_equal(link.parent, 0);
	assert_int_equal(link.vlan, 0);
	assert_true(link.is_virtual);
}

/* What encrypts all that leaves by it, and what only looks like it. */
static void ipsec_devices(void **state)
{
	static const struct {
		const char *kind;
		bool is_ipsec;
	} cases[] = { { "xfrm", true },	  { "vti", true },
		      { "vti6", true },	  { "vti0", false },
		      { "ipip", false },  { "", false },
		      { "xfrmi", false }, { "dummy", false },
		      { "tun", false },	  { "wireguard", false } };
	struct request request;
	struct fw_link link;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		(void)start_link(&request, AF_UNSPEC);
		put_kind(&request, cases[i].kind, 1);
		assert_true(read_link(request.nlh, &link));
		assert_int_equal(link.is_ipsec, cases[i].is_ipsec);
		assert_true(link.is_virtual);
	}
}

static void device_without_a_kind_is_physical(void **state)
{
	struct request request;
	struct ifinfomsg *ifi;
	struct fw_link link;

	(void)state;
	ifi = start_link(&request, AF_UNSPEC);
	assert_true(read_link(request.nlh, &link));
	assert_false(link.is_virtual);
	ifi->ifi_flags = IFF_LOOPBACK | IFF_UP;
	assert_true(read_link(request.nlh, &link));
	assert_true(link.is_virtual);
	assert_true(link.is_up);
}

/* A bridge says DELLINK of a port that leaves it. */
static void bridge_messages_are_not_about_links(void **state)
{
	struct request request;
	struct fw_link link;

	(void)state;
	(void)start_link(&request, AF_BRIDGE);
	assert_false(read_link(request.nlh, &link));
}

static void odd_messages_are_left_out(void **state)
{
	struct request request;
	struct addr addr[2];
	struct fw_link link;

	(void)state;
	(void)start_request(&request, RTM_NEWLINK, 0, 4);
	assert_false(read_link(request.nlh, &link));

	/* Too short for its type, too long for a name, without an end. */
	(void)start_link(&request, AF_UNSPEC);
	mnl_attr_put_u16(request.nlh, IFLA_MTU, 9);
	mnl_attr_put(request.nlh, IFLA_IFNAME, 3, "abc");
	mnl_attr_put(request.nlh, IFLA_LINKINFO, 1, "x");
	assert_true(read_link(request.nlh, &link));
	assert_int_equal(link.mtu, 0);
	assert_string_equal(link.name, "");

	(void)start_request(&request, RTM_NEWADDR, 0, 2);
	assert_int_equal(read_addr(request.nlh, addr), 0);
}

static void odd_addresses_are_left_out(void **state)
{
	struct ifaddrmsg *ifa;
	struct request request;
	struct addr addr[2];

	(void)state;
	ifa = start_request(&request, RTM_NEWADDR, 0, sizeof(*ifa));
	ifa->ifa_family = AF_INET;
	mnl_attr_put(request.nlh, IFA_LOCAL, 3, "abc");
	assert_int_equal(read_addr(request.nlh, addr), 0);
	mnl_attr_put(request.nlh, IFA_LOCAL, 4, "\x0a\0\0\1");
	mnl_attr_put(request.nlh, IFA_BROADCAST, 16, "0123456789abcdef");
	assert_int_equal(read_addr(request.nlh, addr), 1);
	assert_int_equal(addr[0].addr.w[2], htonl(0xffff));
	assert_int_equal(addr[0].addr.w[3], htonl(0x0a000001));
	ifa->ifa_family = AF_BRIDGE;
	assert_int_equal(read_addr(request.nlh, addr), 0);
}

/* ---- loss ----------------------------------------------------------------------- */

static struct fw_hosttab *make_tables(void)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	_cleanup_close_ int fd = -1;
	struct fw_hosttab *tables;

	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "host", sizeof(uint32_t),
			    sizeof(struct fw_host), 1, &opts);
	assert_true(fd >= 0);
	assert_int_equal(fw_hosttab_open(fd, &tables), 0);
	return tables;
}

static void lost_messages_are_made_up_for(void **state)
{
	struct fw_ifaces *ifaces = NULL;
	struct fw_hosttab *tables;
	struct fw_loop *loop;
	int size = 1;
	size_t n;

	(void)state;
	make_pair("dpa", "dpb");
	loop = fw_loop_new();
	tables = make_tables();
	assert_int_equal(fw_ifaces_new(loop, tables, &ops, NULL, &ifaces, NULL),
			 0);
	n = fw_ifaces_self_count(ifaces);
	assert_int_equal(setsockopt(mnl_socket_get_fd(ifaces->nl), SOL_SOCKET,
				    SO_RCVBUF, &size, sizeof(size)),
			 0);
	run("for i in $(seq 100); do echo addr add 10.1.0.$i/16 dev dpa;"
	    "done | ip -batch -");
	run("ip link del dpb");
	make_pair("dpc", "dpd");
	run("ip addr add 10.2.0.1/16 dev dpc");
	run("ip addr add 10.2.0.2/16 dev dpc");

	gone_index = 0;
	n_changes = 0;
	assert_int_equal(fw_ifaces_sync(ifaces), 0);
	assert_int_not_equal(gone_index, 0);
	assert_int_equal(n_changes, 1);
	assert_null(fw_ifaces_by_name(ifaces, "dpa"));
	assert_null(fw_ifaces_by_name(ifaces, "dpb"));
	assert_non_null(fw_ifaces_by_name(ifaces, "dpc"));
	assert_int_equal(fw_ifaces_self_count(ifaces), n + 2);

	fw_ifaces_free(ifaces);
	fw_loop_free(loop);
	fw_hosttab_free(tables);
	run("ip link del dpc");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vlan_device_has_a_parent),
		cmocka_unit_test(parent_elsewhere_is_none),
		cmocka_unit_test(other_kinds_have_no_parent),
		cmocka_unit_test(ipsec_devices),
		cmocka_unit_test(device_without_a_kind_is_physical),
		cmocka_unit_test(bridge_messages_are_not_about_links),
		cmocka_unit_test(odd_messages_are_left_out),
		cmocka_unit_test(odd_addresses_are_left_out),
		cmocka_unit_test(lost_messages_are_made_up_for),
	};

	room_enter();
	return cmocka_run_group_tests_name("iface", tests, NULL, NULL);
}
