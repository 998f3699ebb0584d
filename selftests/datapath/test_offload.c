/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * What XDP is told of interfaces by which it may forward, and when it is told to look
 * again. dpa and dpb are both ends of one pair: with XDP on one, frames get into the
 * other.
 */
#include "selftests/datapath/apply_lab.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <net/ethernet.h>

#include "kern/host_abi.h"
#include "kern/offload_abi.h"
#include "user/netdev.h"
#include "user/offload.h"
#include "user/util.h"

#define BOTH \
	"interface wan = dpa { mode xdp }\ninterface lan = dpb { mode xdp }\n"
#define HALF \
	"interface wan = dpa { mode xdp }\ninterface lan = dpb { mode tc }\n"
#define ON "default forward accept\noption offload on\n"

/* ---- what the programs are told --------------------------------------------------- */

static bool find_out(const struct daemon *d, const char *name,
		     struct fw_offload_out *ret)
{
	int map = fw_datapath_map(d->dp, FW_MAP_OFFLOAD_OUT);
	uint32_t ifindex = index_of(name);

	return bpf_map_lookup_elem(map, &ifindex, ret) == 0;
}

static bool is_dev(const struct daemon *d, const char *name)
{
	int map = fw_datapath_map(d->dp, FW_MAP_OFFLOAD_DEVS);
	uint32_t ifindex = index_of(name), value[2];

	return bpf_map_lookup_elem(map, &ifindex, value) == 0;
}

static bool is_out(const struct daemon *d, const char *name)
{
	struct fw_offload_out out = { 0 };
	bool is = find_out(d, name, &out);

	if (is) {
		assert_int_equal(out.tx_ifindex, index_of(name));
		assert_int_equal(out.vlan, 0);
		assert_true(is_dev(d, name));
	}
	return is;
}

static uint16_t flags_of(const struct daemon *d, const char *name,
			 uint16_t vlan)
{
	struct fw_iface entry;

	assert_true(find_entry(d, name, vlan, &entry));
	return entry.flags;
}

static uint32_t epoch_of(const struct daemon *d)
{
	int map = fw_datapath_map(d->dp, FW_MAP_HOST);
	_cleanup_free_ struct fw_host *host = calloc(1, sizeof(*host));
	uint32_t zero = 0;

	assert_non_null(host);
	assert_int_equal(bpf_map_lookup_elem(map, &zero, host), 0);
	return host->offload_epoch;
}

static struct fw_offload_state look(const struct daemon *d, const char *name)
{
	return fw_offload_look(fw_apply_offload(d->apply),
			       fw_apply_links(d->apply), iface(d, name));
}

static void expect_why(const struct daemon *d, const char *name,
		       const char *word)
{
	const struct fw_offload_state state = look(d, name);

	assert_true(state.is_wanted);
	assert_false(state.is_on);
	if (!strstr(state.why, word))
		fail_msg("'%s' is not in '%s'", word, state.why);
}

/* ---- waiting ------------------------------------------------------------------------- */

struct wish {
	const struct daemon *d;
	const char *name;
	bool is_out;
	uint32_t epoch;
};

static bool is_granted(void *data)
{
	const struct wish *wish = data;

	return is_out(wish->d, wish->name) == wish->is_out;
}

static void wait_for_out(const struct daemon *d, const char *name, bool is)
{
	struct wish wish = { .d = d, .name = name, .is_out = is };

	wait_until(d->loop, is_granted, &wish);
}

static bool is_over(void *data)
{
	const struct wish *wish = data;

	return epoch_of(wish->d) != wish->epoch;
}

/* What comes late of what has been done before must not count. */
static void drain(const struct daemon *d)
{
	struct wish wish = { .d = d, .epoch = epoch_of(d) };

	run("ip addr add 10.255.0.1/32 dev lo");
	wait_until(d->loop, is_over, &wish);
	(void)usleep(30000);
	wish.epoch = epoch_of(d);
	run("ip addr del 10.255.0.1/32 dev lo");
	wait_until(d->loop, is_over, &wish);
}

static void expect_new_epoch(const struct daemon *d, const char *command)
{
	struct wish wish = { .d = d };

	drain(d);
	wish.epoch = epoch_of(d);
	run("%s", command);
	wait_until(d->loop, is_over, &wish);
}

/* ---- tests ---------------------------------------------------------------------------- */

/* From Linux 6.3 on. */
static bool is_told(void)
{
	uint64_t features;

	return fw_netdev_query(1, &features) != -EOPNOTSUPP;
}

static int make_forwarding_devices(void **state)
{
	run("sysctl -qw net.ipv4.ip_forward=1");
	return make_devices(state);
}

#define TEST_OF(f) \
	cmocka_unit_test_setup_teardown(f, make_forwarding_devices, clean_up)

static void nothing_without_the_option(void **state)
{
	struct daemon d = start();

	(void)state;
	load(&d, BOTH);
	assert_false(is_out(&d, "dpa"));
	assert_int_equal(flags_of(&d, "dpa", 0), 0);
	assert_false(look(&d, "dpa").is_wanted);
	stop(&d);
}

static void kernel_that_does_not_tell(void **state)
{
	struct daemon d = start();

	(void)state;
	load(&d, BOTH ON);
	expect_why(&d, "dpa", "Linux 6.3");
	assert_false(is_out(&d, "dpa"));
	assert_int_equal(flags_of(&d, "dpa", 0), 0);
	stop(&d);
}

static void both_ends(void **state)
{
	struct daemon d;

	(void)state;
	d = start();
	load(&d, BOTH ON);
	wait_for_out(&d, "dpa", true);
	wait_for_out(&d, "dpb", true);
	assert_int_equal(flags_of(&d, "dpa", 0),
			 FW_IFACE_OFFLOAD | FW_IFACE_PARTIAL);
	assert_true(look(&d, "dpa").is_on);
	assert_true(look(&d, "dpb").is_on);

	/* Rules without it take all of it back. */
	load(&d, BOTH);
	assert_false(is_out(&d, "dpa"));
	assert_false(is_dev(&d, "dpa"));
	assert_int_equal(flags_of(&d, "dpa", 0), 0);
	stop(&d);
}

/* Without XDP at the other end nobody polls there, unless GRO makes them. */
static void who_polls_at_the_other_end(void **state)
{
	struct daemon d;

	(void)state;
	d = start();
	load(&d, HALF ON);
	assert_false(is_out(&d, "dpa"));
	assert_false(is_out(&d, "dpb"));
	assert_true(flags_of(&d, "dpa", 0) & FW_IFACE_OFFLOAD);
	assert_int_equal(flags_of(&d, "dpb", 0), 0);
	expect_why(&d, "dpa", "gro on");
	expect_why(&d, "dpb", "mode tc");

	run("ethtool -K dpb gro on");
	wait_for_out(&d, "dpa", true);
	assert_false(is_out(&d, "dpb"));
	assert_true(look(&d, "dpa").is_on);
	run("ethtool -K dpb gro off");
	wait_for_out(&d, "dpa", false);
	assert_false(is_dev(&d, "dpa"));
	stop(&d);
}

static void down_and_up(void **state)
{
	struct daemon d;

	(void)state;
	d = start();
	load(&d, BOTH ON);
	wait_for_out(&d, "dpa", true);
	run("ip link set dpa down");
	wait_for_out(&d, "dpa", false);
	expect_why(&d, "dpa", "down");
	run("ip link set dpa up");
	wait_for_out(&d, "dpa", true);
	stop(&d);
}

static bool has_tag(void *data)
{
	const struct wish *wish = data;
	struct fw_offload_out out;

	return find_out(wish->d, wish->name, &out);
}

/* They send by the device below them; of theirs that gives priorities, the stack. */
static void vlan_devices(void **state)
{
	struct daemon d;
	struct wish wish = { .d = &d, .name = "dpa.5" };
	struct fw_offload_out out;

	(void)state;
	if (system("ip link add link dpa name dpa.5 type vlan id 5 2>/dev/null"))
		skip();
	d = start();
	load(&d, BOTH "interface five = dpa.5\n" ON);
	run("ip link set dpa.5 up");
	wait_until(d.loop, has_tag, &wish);
	assert_true(find_out(&d, "dpa.5", &out));
	assert_int_equal(out.tx_ifindex, index_of("dpa"));
	assert_int_equal(out.vlan, 5);
	assert_int_equal(out.vlan_proto, htons(ETH_P_8021Q));
	assert_false(is_dev(&d, "dpa.5"));
	assert_true(flags_of(&d, "dpa", 5) & FW_IFACE_OFFLOAD);
	assert_true(look(&d, "dpa.5").is_on);

	run("ip link add link dpa name dpa.6 type vlan protocol 802.1ad id 6");
	wish.name = "dpa.6";
	wait_until(d.loop, has_tag, &wish);
	assert_true(find_out(&d, "dpa.6", &out));
	assert_int_equal(out.vlan_proto, htons(ETH_P_8021AD));

	run("ip link add link dpa name dpa.7 type vlan id 7 egress-qos-map 0:3");
	run("ip link add link dpa.5 name dpa.5.8 type vlan id 8");
	drain(&d);
	assert_false(find_out(&d, "dpa.7", &out));
	assert_false(find_out(&d, "dpa.5.8", &out));
	stop(&d);
}

static void port_of_a_bridge(void **state)
{
	struct daemon d;

	(void)state;
	if (system("ip link add dpx type bridge 2>/dev/null"))
		skip();
	d = start();
	load(&d, BOTH ON);
	wait_for_out(&d, "dpa", true);
	run("ip link set dpa master dpx");
	wait_for_out(&d, "dpa", false);
	assert_int_equal(flags_of(&d, "dpa", 0), 0);
	expect_why(&d, "dpa", "bridge");
	run("ip link del dpx");
	wait_for_out(&d, "dpa", true);
	stop(&d);
}

static void who_does_not_forward(void **state)
{
	struct daemon d;

	(void)state;
	d = start();
	load(&d, BOTH ON);
	wait_for_out(&d, "dpa", true);
	run("sysctl -qw net.ipv4.ip_forward=0");
	expect_why(&d, "dpa", "forward");
	run("sysctl -qw net.ipv6.conf.all.forwarding=1");
	assert_true(look(&d, "dpa").is_on);
	run("sysctl -qw net.ipv6.conf.all.forwarding=0");
	stop(&d);
}

static void ipsec_policies(void **state)
{
	static const char add[] =
		"ip xfrm policy add dir fwd src 10.9.0.0/16 tmpl proto esp mode tunnel";
	struct daemon d;

	(void)state;
	if (system("ip xfrm policy count >/dev/null 2>&1"))
		skip();
	d = start();
	load(&d, BOTH ON);
	wait_for_out(&d, "dpa", true);
	expect_new_epoch(&d, add);
	expect_why(&d, "dpa", "XFRM");
	expect_new_epoch(&d, "ip xfrm policy flush");
	assert_true(look(&d, "dpa").is_on);
	stop(&d);
}

/* Whatever makes another route of it. */
static void changes_end_an_epoch(void **state)
{
	static const char *const changes[] = {
		"ip addr add 10.1.0.1/24 dev dpa",
		"ip route add 10.2.0.0/16 via 10.1.0.2",
		"ip neigh add 10.1.0.2 lladdr 02:00:00:00:00:02 dev dpa",
		"ip neigh change 10.1.0.2 lladdr 02:00:00:00:00:03 dev dpa",
		"ip rule add from 10.3.0.0/16 table 7",
		"ip rule del from 10.3.0.0/16 table 7",
		"ip route del 10.2.0.0/16",
		"sysctl -qw net.ipv4.conf.dpa.forwarding=0",
		"sysctl -qw net.ipv4.conf.dpa.forwarding=1",
		"ip link set dpa mtu 1400",
		"ip link set dpa down",
	};
	struct daemon d;
	uint32_t epoch;

	(void)state;
	d = start();
	load(&d, BOTH ON);
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++)
		expect_new_epoch(&d, changes[i]);
	epoch = epoch_of(&d);
	fw_apply_flows_cut(d.apply);
	assert_int_not_equal(epoch_of(&d), epoch);
	stop(&d);
}

/* Thousands of routes are few epochs, and the last of them has its own. */
static void many_changes_at_once(void **state)
{
	struct daemon d;
	uint32_t epoch;

	(void)state;
	d = start();
	load(&d, BOTH ON);
	drain(&d);
	epoch = epoch_of(&d);
	run("for i in $(seq 250); do for j in 1 2 3 4; do"
	    " echo route add unreachable 10.4.$i.$j; done; done | ip -batch -");
	drain(&d);
	assert_in_range(epoch_of(&d) - epoch, 1, 50);
	stop(&d);
}

/* What an earlier daemon has told is known, and put right where it is not so any more. */
static void next_daemon(void **state)
{
	struct daemon d;
	uint32_t epoch;

	(void)state;
	d = start();
	load(&d, BOTH ON);
	wait_for_out(&d, "dpa", true);
	epoch = epoch_of(&d);
	stop(&d);

	run("ip link set dpa down");
	d = start();
	assert_int_not_equal(epoch_of(&d), epoch);
	assert_false(is_out(&d, "dpa"));
	assert_false(is_dev(&d, "dpa"));
	run("ip link set dpa up");
	wait_for_out(&d, "dpa", true);
	stop(&d);
}

static void load_that_fails(void **state)
{
	struct daemon d;

	(void)state;
	d = start();
	load(&d, BOTH);
	fail_to_load(&d, BOTH "interface more = lo { mode xdp }\n" ON,
		     -EOPNOTSUPP, "lo", "xdp");
	assert_false(is_out(&d, "dpa"));
	assert_false(look(&d, "dpa").is_wanted);
	assert_int_equal(flags_of(&d, "dpa", 0), 0);
	stop(&d);
}

int main(void)
{
	const struct CMUnitTest without[] = {
		TEST_OF(kernel_that_does_not_tell),
	};
	const struct CMUnitTest tests[] = {
		TEST_OF(nothing_without_the_option),
		TEST_OF(both_ends),
		TEST_OF(who_polls_at_the_other_end),
		TEST_OF(down_and_up),
		TEST_OF(vlan_devices),
		TEST_OF(port_of_a_bridge),
		TEST_OF(who_does_not_forward),
		TEST_OF(ipsec_policies),
		TEST_OF(changes_end_an_epoch),
		TEST_OF(many_changes_at_once),
		TEST_OF(next_daemon),
		TEST_OF(load_that_fails),
	};

	room_enter();
	if (!is_told())
		return cmocka_run_group_tests_name("offload", without, NULL,
						   NULL);
	return cmocka_run_group_tests_name("offload", tests, NULL, NULL);
}
