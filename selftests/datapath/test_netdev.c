/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * What drivers can do with XDP, as a veth pair shows it. Includes netdev.c, to reach
 * what is static there: messages that no kernel makes, and loss.
 */
#include "user/netdev.c"

#include "selftests/datapath/room.h"

static unsigned int n_changes;

static void on_changed(void *data)
{
	(void)data;
	n_changes++;
}

static bool is_told(void)
{
	struct family family;

	return find_family(&family) == 0;
}

/* What one test has: a pair of which nobody polls the other end. */
struct watched {
	struct fw_loop *loop;
	struct fw_netdevs *netdevs;
	uint32_t dpa;
	bool wanted;
};

static bool can_xmit(void *data)
{
	const struct watched *w = data;

	return !!(fw_netdevs_get(w->netdevs, w->dpa) & FW_XDP_CAN_XMIT) ==
	       w->wanted;
}

static struct watched start_watching(void)
{
	struct watched w = { 0 };

	make_pair("dpa", "dpb");
	w.dpa = index_of("dpa");
	w.loop = fw_loop_new();
	assert_non_null(w.loop);
	n_changes = 0;
	assert_int_equal(fw_netdevs_new(w.loop, on_changed, NULL, &w.netdevs),
			 0);
	return w;
}

static void stop_watching(struct watched *w)
{
	fw_netdevs_free(w->netdevs);
	fw_loop_free(w->loop);
	run("ip link del dpa");
}

/* ---- what the kernel says --------------------------------------------------------- */

static void kernel_without_the_family_is_told(void **state)
{
	struct fw_netdevs *netdevs = NULL;
	uint64_t features;

	(void)state;
	assert_int_equal(fw_netdevs_new(NULL, on_changed, NULL, &netdevs),
			 -EOPNOTSUPP);
	assert_null(netdevs);
	assert_int_equal(fw_netdev_query(1, &features), -EOPNOTSUPP);
}

/* Frames get into a veth device only while somebody polls at the other end. */
static void veth_depends_on_its_peer(void **state)
{
	struct watched w = start_watching();
	uint64_t features;

	(void)state;
	assert_int_equal(fw_netdevs_get(w.netdevs, w.dpa) & FW_XDP_CAN_XMIT, 0);
	assert_true(fw_netdevs_get(w.netdevs, w.dpa) & FW_XDP_CAN_REDIRECT);
	run("ethtool -K dpb gro on");
	w.wanted = true;
	wait_until(w.loop, can_xmit, &w);
	assert_int_not_equal(n_changes, 0);
	assert_int_equal(fw_netdev_query(w.dpa, &features), 0);
	assert_int_equal(features, fw_netdevs_get(w.netdevs, w.dpa));
	run("ethtool -K dpb gro off");
	w.wanted = false;
	wait_until(w.loop, can_xmit, &w);
	stop_watching(&w);
}

static bool is_forgotten(void *data)
{
	const struct watched *w = data;

	return !find(&w->netdevs->all, w->dpa);
}

static void what_is_gone_can_do_nothing(void **state)
{
	struct watched w = start_watching();
	uint64_t features;

	(void)state;
	run("ip link del dpa");
	wait_until(w.loop, is_forgotten, &w);
	assert_int_equal(fw_netdevs_get(w.netdevs, w.dpa), 0);
	assert_int_equal(fw_netdev_query(w.dpa, &features), -ENODEV);
	make_pair("dpa", "dpb");
	stop_watching(&w);
}

static void lost_messages_are_made_up_for(void **state)
{
	struct watched w = start_watching();
	int size = 1;

	(void)state;
	assert_int_equal(setsockopt(mnl_socket_get_fd(w.netdevs->nl),
				    SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)),
			 0);
	run("for i in $(seq 100); do"
	    " ethtool -K dpb gro on; ethtool -K dpb gro off; done");
	run("ethtool -K dpb gro on");
	make_pair("dpc", "dpd");
	w.wanted = true;
	wait_until(w.loop, can_xmit, &w);
	assert_non_null(find(&w.netdevs->all, index_of("dpc")));
	run("ip link del dpc");
	stop_watching(&w);
}

/* ---- messages ------------------------------------------------------------------------ */

static void odd_messages_are_left_out(void **state)
{
	struct request request;
	struct netdev dev;

	(void)state;
	start_request(&request, 77, 0, CMD_CHANGED);
	assert_false(read_netdev(request.nlh, &dev));
	mnl_attr_put_u16(request.nlh, ATTR_IFINDEX, 5);
	assert_false(read_netdev(request.nlh, &dev));

	start_request(&request, 77, 0, CMD_CHANGED);
	mnl_attr_put_u32(request.nlh, ATTR_IFINDEX, 5);
	mnl_attr_put_u32(request.nlh, ATTR_XDP, 7);
	assert_true(read_netdev(request.nlh, &dev));
	assert_int_equal(dev.ifindex, 5);
	assert_int_equal(dev.features, 0);

	request.nlh->nlmsg_len = NLMSG_HDRLEN;
	assert_false(read_netdev(request.nlh, &dev));
}

int main(void)
{
	const struct CMUnitTest without[] = {
		cmocka_unit_test(kernel_without_the_family_is_told),
	};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(veth_depends_on_its_peer),
		cmocka_unit_test(what_is_gone_can_do_nothing),
		cmocka_unit_test(lost_messages_are_made_up_for),
		cmocka_unit_test(odd_messages_are_left_out),
	};

	room_enter();
	if (!is_told())
		return cmocka_run_group_tests_name("netdev", without, NULL,
						   NULL);
	return cmocka_run_group_tests_name("netdev", tests, NULL, NULL);
}
