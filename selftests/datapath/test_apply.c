/* SPDX-License-Identifier: GPL-2.0-only */

/* Rule sets: loading, counters, interfaces that come and go, adoption. */
#include "selftests/datapath/daemon.h"

#include <arpa/inet.h>
#include <errno.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <cap-ng.h>

#include "user/hosttab.h"
#include "user/log.h"
#include "user/rulesets.h"
#include "user/util.h"

#define RULES_ONE                                           \
	"interface wan = dpa { mode xdp }\n"                \
	"interface lan = { dpb, dpc }\n"                    \
	"default in drop\n"                                 \
	"accept in proto tcp to self port 22 label first\n" \
	"accept in proto tcp to self port 80 label second\n"

#define RULES_TWO                                            \
	"interface lan = { dpb, dpc }\n"                     \
	"interface wan = dpa { mode tc }\n"                  \
	"default in drop\n"                                  \
	"accept in proto tcp to self port 80 label second\n" \
	"accept in proto tcp to self port 443 label third\n"

static const struct fw_apply_iface *iface(const struct daemon *d,
					  const char *name)
{
	static const struct fw_apply_iface none;
	const struct fw_apply_iface *list;
	size_t n;

	list = fw_apply_ifaces(d->apply, &n);
	for (size_t i = 0; i < n; i++) {
		if (strcmp(list[i].name, name) == 0)
			return &list[i];
	}
	fail_msg("interface '%s' is not declared", name);
	return &none;
}

/* The entries of a generation; how many. */
static size_t get_entries(const struct daemon *d, uint32_t gen,
			  struct fw_iface_entry **ret)
{
	int fd = fw_datapath_map(d->dp, FW_MAP_IFACES), table;
	uint32_t found;
	size_t n;

	for (uint32_t slot = 0; slot < FW_IFACES_TABLES; slot++) {
		assert_int_equal(fw_hosttab_get_ifaces(fd, slot, &found, ret,
						       &n, &table),
				 0);
		fw_closep(&table);
		if (gen && found == gen)
			return n;
		free(*ret);
	}
	*ret = NULL;
	return 0;
}

static size_t count_entries(const struct daemon *d)
{
	_cleanup_free_ struct fw_iface_entry *entries = NULL;

	return get_entries(d, fw_apply_gen(d->apply), &entries);
}

static size_t count_tables(const struct daemon *d)
{
	int fd = fw_datapath_map(d->dp, FW_MAP_IFACES);
	uint32_t id;
	size_t n = 0;

	for (uint32_t slot = 0; slot < FW_IFACES_TABLES; slot++)
		n += bpf_map_lookup_elem(fd, &slot, &id) == 0;
	return n;
}

static bool one_table_is_left(void *data)
{
	return count_tables(data) == 1;
}

static bool find_entry(const struct daemon *d, const char *name, uint16_t vlan,
		       struct fw_iface *ret)
{
	_cleanup_free_ struct fw_iface_entry *entries = NULL;
	uint32_t ifindex = index_of(name);
	size_t n = get_entries(d, fw_apply_gen(d->apply), &entries);

	for (size_t i = 0; i < n; i++) {
		if (entries[i].key.ifindex != ifindex ||
		    entries[i].key.vlan != vlan)
			continue;
		*ret = entries[i].value;
		return true;
	}
	return false;
}

static int clean_up(void **state)
{
	(void)state;
	(void)system(
		"for d in dpa dpc dpx; do ip link del $d; done 2>/dev/null;"
		"rm -rf /sys/fs/bpf/fwctl");
	return 0;
}

/* ---- loading ---------------------------------------------------------------- */

static void first_load(void **state)
{
	struct daemon d = start();
	struct fw_iface entry;

	(void)state;
	assert_null(fw_apply_program(d.apply));
	assert_int_equal(fw_apply_gen(d.apply), 0);
	load(&d, RULES_ONE);
	assert_int_equal(fw_apply_gen(d.apply), 1);

	assert_int_equal(iface(&d, "dpa")->mode, FW_MODE_XDP);
	assert_int_equal(iface(&d, "dpb")->mode, FW_MODE_TC);
	assert_int_equal(iface(&d, "dpb")->wanted, FW_MODE_AUTO);
	assert_string_equal(iface(&d, "dpb")->zone, "lan");
	assert_null(iface(&d, "dpb")->error);
	assert_int_equal(iface(&d, "dpc")->ifindex, 0);
	assert_int_equal(iface(&d, "dpc")->mode, FW_MODE_AUTO);
	assert_non_null(strstr(iface(&d, "dpc")->error, "does not exist"));

	assert_int_equal(count_entries(&d), 2);
	assert_true(find_entry(&d, "dpa", 0, &entry));
	assert_int_equal(entry.zones, 1);
	assert_int_equal(entry.slot, iface(&d, "dpa")->slot);
	assert_true(find_entry(&d, "dpb", 0, &entry));
	assert_int_equal(entry.zones, 2);
	assert_string_equal(fw_apply_ifname(d.apply, index_of("dpa")), "dpa");
	stop(&d);
}

static void frames_are_counted(void **state)
{
	struct daemon d = start();

	(void)state;
	load(&d, RULES_ONE);
	send_frames("dpb", 7);
	assert_true(packets_at(d.dp, iface(&d, "dpb")->slot, FW_HOOK_EGRESS) >=
		    7);
	assert_true(packets_at(d.dp, iface(&d, "dpa")->slot, FW_HOOK_XDP) >= 7);
	assert_int_equal(packets_at(d.dp, iface(&d, "dpb")->slot, FW_HOOK_XDP),
			 0);
	stop(&d);
}

static void counters_follow_labels(void **state)
{
	uint32_t first, second, in;
	struct daemon d = start();

	(void)state;
	load(&d, RULES_ONE);
	first = slot_of(&d, "first");
	second = slot_of(&d, "second");
	in = fw_apply_default_slot(d.apply, FW_DIR_IN);
	assert_string_equal(fw_apply_slot_label(d.apply, in), "default-in");
	set_packets(&d, first, 1000);
	set_packets(&d, second, 2000);

	load(&d, RULES_TWO);
	assert_int_equal(slot_of(&d, "second"), second);
	assert_true(packets_of(&d, second) >= 2000);
	assert_int_equal(fw_apply_default_slot(d.apply, FW_DIR_IN), in);
	/* The rule is gone, flows that it let in still name it. */
	assert_string_equal(fw_apply_slot_label(d.apply, first), "first");

	/* A label that comes back is a new rule. */
	load(&d, RULES_ONE);
	set_packets(&d, first, 1000);
	assert_true(packets_of(&d, slot_of(&d, "first")) < 1000);
	assert_true(packets_of(&d, second) >= 2000);
	stop(&d);
}

/* All rows have a slot, those of one rule the same, others another one. */
static void check_slots(const struct daemon *d, uint32_t slots[3])
{
	const struct fw_program *program = fw_apply_program(d->apply);
	size_t n = 0;

	assert_int_equal(program->n_rules, 3);
	for (size_t i = 0; i < program->n_rows; i++) {
		uint32_t slot = fw_apply_row_slot(d->apply, i);

		if (program->rows[i].rule == i)
			slots[n++] = slot;
		assert_int_not_equal(slot, 0);
		assert_int_equal(slot, slots[n - 1]);
	}
	assert_true(slots[0] != slots[1] && slots[1] != slots[2]);
}

static void rows_of_a_rule_share_a_counter(void **state)
{
	static const char rules[] =
		"interface wan = dpa { mode xdp }\n"
		"set s { 192.0.2.1 port 80, 192.0.2.2 port { 80, 443 }, self port 1 }\n"
		"drop in to @s label first\n"
		"drop in proto tcp from 192.0.2.9 label second\n"
		"accept in from @s to !@s label third\n";
	uint32_t slots[3] = { 0 }, again[3] = { 0 };
	struct daemon d = start();

	(void)state;
	load(&d, rules);
	assert_true(fw_apply_program(d.apply)->n_rows > 3 + 1 + 9);
	check_slots(&d, slots);
	set_packets(&d, slots[0], 1000);
	stop(&d);

	d = start();
	assert_true(fw_datapath_adopted(d.dp));
	check_slots(&d, again);
	assert_memory_equal(slots, again, sizeof(slots));
	assert_true(packets_of(&d, slots[0]) >= 1000);
	stop(&d);
}

static void modes_follow_the_rules(void **state)
{
	struct daemon d = start();

	(void)state;
	load(&d, RULES_ONE);
	assert_int_not_equal(native_xdp("dpa"), 0);
	load(&d, RULES_TWO);
	assert_int_equal(native_xdp("dpa"), 0);
	assert_int_equal(count_tc("dpa", true), 1);
	assert_int_equal(fw_apply_gen(d.apply), 2);
	assert_int_equal(count_entries(&d), 2);

	load(&d, "interface wan = dpa { mode xdp-generic }\n");
	assert_int_not_equal(generic_xdp("dpa"), 0);
	assert_int_equal(count_tc("dpb", true), 0);
	assert_int_equal(count_tc("dpb", false), 0);
	assert_int_equal(count_entries(&d), 1);
	/* The table of the rules before goes a moment later. */
	wait_until(d.loop, one_table_is_left, &d);
	assert_int_equal(count_entries(&d), 1);
	stop(&d);
}

static void failed_load_changes_nothing(void **state)
{
	struct daemon d = start();
	const struct fw_program *program;
	uint32_t slot, index;

	(void)state;
	load(&d, "interface wan = dpa { mode xdp }\n");
	program = fw_apply_program(d.apply);
	slot = iface(&d, "dpa")->slot;
	index = native_xdp("dpa");
	(void)add_foreign_xdp("dpb");
	fail_to_load(&d,
		     "interface wan = dpa { mode xdp-generic }\n"
		     "interface lan = dpb { mode xdp }\n",
		     -EBUSY, "somebody", "xdp }");
	assert_ptr_equal(fw_apply_program(d.apply), program);
	assert_int_equal(fw_apply_gen(d.apply), 1);
	assert_int_equal(native_xdp("dpa"), index);
	assert_int_equal(count_tc("dpb", true), 0);
	assert_int_equal(count_tables(&d), 1);
	assert_int_equal(count_entries(&d), 1);
	assert_int_equal(iface(&d, "dpa")->slot, slot);
	assert_int_equal(iface(&d, "dpa")->mode, FW_MODE_XDP);

	remove_foreign_xdp("dpb");
	load(&d, RULES_ONE);
	assert_int_equal(fw_apply_gen(d.apply), 2);
	stop(&d);
}

static void failed_first_load_leaves_nothing(void **state)
{
	struct daemon d = start();
	int fd;

	(void)state;
	(void)add_foreign_xdp("dpa");
	fail_to_load(&d, RULES_ONE, -EBUSY, "mode tc", "xdp }");
	assert_int_equal(count_tc("dpa", true), 0);
	assert_int_equal(count_tc("dpb", true), 0);
	assert_int_equal(count_tables(&d), 0);
	assert_int_equal(fw_rulesets_open(d.dp, &fd), -ENOENT);
	assert_int_equal(fw_apply_gen(d.apply), 0);
	assert_null(fw_apply_program(d.apply));
	stop(&d);
}

/* ---- interfaces that come and go ---------------------------------------------- */

static bool dpc_is_covered(void *data)
{
	const struct daemon *d = data;
	const struct fw_apply_iface *dpc = iface(d, "dpc");

	return dpc->ifindex && dpc->ifindex == index_of("dpc") && !dpc->error;
}

static bool dpc_is_gone(void *data)
{
	return iface(data, "dpc")->ifindex == 0;
}

static bool dpc_has_error(void *data)
{
	const struct fw_apply_iface *dpc = iface(data, "dpc");

	return dpc->ifindex && dpc->error;
}

static void new_interface_is_covered(void **state)
{
	struct daemon d = start();
	struct fw_iface entry;

	(void)state;
	load(&d, RULES_ONE);
	make_pair("dpc", "dpx");
	wait_until(d.loop, dpc_is_covered, &d);
	assert_int_equal(count_tc("dpc", true), 1);
	assert_int_equal(count_tc("dpc", false), 1);
	assert_true(find_entry(&d, "dpc", 0, &entry));
	assert_int_equal(entry.zones, 2);

	/* Deleted and made again: another number under the same name. */
	run("ip link del dpc");
	make_pair("dpc", "dpx");
	wait_until(d.loop, dpc_is_covered, &d);
	assert_int_equal(count_tc("dpc", true), 1);
	assert_int_equal(count_entries(&d), 3);
	assert_int_equal(count_files(PIN_DIR "/v1/links"), pins_of(3, 1));

	run("ip link del dpc");
	wait_until(d.loop, dpc_is_gone, &d);
	assert_int_equal(count_entries(&d), 2);
	assert_int_equal(count_files(PIN_DIR "/v1/links"), pins_of(2, 1));
	stop(&d);
}

static void same_number_again_is_covered(void **state)
{
	struct daemon d = start();

	(void)state;
	load(&d, RULES_ONE);
	run("ip link add name dpc index 77 type bridge");
	wait_until(d.loop, dpc_is_covered, &d);
	/* Both messages are read in one go. */
	run("ip link del dpc; ip link add name dpc index 77 type bridge");
	load(&d, RULES_ONE);
	assert_true(dpc_is_covered(&d));
	assert_int_equal(count_tc("dpc", true), 1);
	assert_int_equal(count_tc("dpc", false), 1);
	stop(&d);
}

static void renamed_interface_is_covered(void **state)
{
	struct daemon d = start();

	(void)state;
	make_pair("dpx", "dpy");
	load(&d, RULES_ONE);
	assert_int_equal(count_tc("dpx", true), 0);
	run("ip link set dpx down; ip link set dpx name dpc");
	wait_until(d.loop, dpc_is_covered, &d);
	assert_int_equal(count_tc("dpc", true), 1);
	run("ip link set dpc down; ip link set dpc name dpx");
	wait_until(d.loop, dpc_is_gone, &d);
	assert_int_equal(count_tc("dpx", true), 0);
	stop(&d);
}

/* A process whose only worth is its network namespace. */
static pid_t make_other_namespace(void)
{
	int fds[2];
	pid_t pid;
	char byte;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		die_with_parent();
		if (unshare(CLONE_NEWNET) < 0 || write(fds[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			(void)pause();
	}
	(void)close(fds[1]);
	assert_int_equal(read(fds[0], &byte, 1), 1);
	(void)close(fds[0]);
	return pid;
}

static void end_other_namespace(pid_t pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* Let an interface come back under a name that no rule knows. */
static void bring_back(pid_t other, const char *name)
{
	run("nsenter -t %d -n ip link set %s name dpx", other, name);
	run("nsenter -t %d -n ip link set dpx netns %d", other, getpid());
	assert_int_not_equal(index_of("dpx"), 0);
}

static void interface_that_moves_away_is_let_go(void **state)
{
	pid_t other = make_other_namespace();
	struct daemon d = start();

	(void)state;
	run("ip link add name dpc type veth peer name dpd");
	load(&d, RULES_ONE);
	assert_true(dpc_is_covered(&d));
	run("ip link set dpc netns %d", other);
	wait_until(d.loop, dpc_is_gone, &d);
	assert_int_equal(count_files(PIN_DIR "/v1/links"), pins_of(2, 1));
	bring_back(other, "dpc");
	assert_int_equal(count_tc("dpx", true), 0);
	stop(&d);

	/* The same while no daemon looks. */
	run("ip link set dpa netns %d", other);
	d = start();
	assert_int_equal(iface(&d, "dpa")->ifindex, 0);
	assert_int_equal(count_files(PIN_DIR "/v1/links"), pins_of(1, 0));
	run("ip link del dpx");
	bring_back(other, "dpa");
	assert_int_equal(count_tc("dpx", true), 0);
	assert_int_equal(native_xdp("dpx"), 0);
	stop(&d);
	end_other_namespace(other);
}

static void failure_at_run_time_is_kept_and_retried(void **state)
{
	struct daemon d = start();

	(void)state;
	load(&d, "interface lan = dpc { mode xdp }\n");
	run("ip link add name dpx type veth peer name dpy");
	(void)add_foreign_xdp("dpx");
	run("ip link set dpx name dpc");
	wait_until(d.loop, dpc_has_error, &d);
	assert_non_null(strstr(iface(&d, "dpc")->error, "somebody"));
	assert_int_equal(iface(&d, "dpc")->mode, FW_MODE_AUTO);

	remove_foreign_xdp("dpc");
	run("ip link set dpc up");
	wait_until(d.loop, dpc_is_covered, &d);
	assert_int_not_equal(native_xdp("dpc"), 0);
	stop(&d);
}

static void vlan_device_is_known_by_its_tag(void **state)
{
	struct daemon d = start();
	struct fw_iface device, tag;

	(void)state;
	if (system("ip link add link dpa name dpc type vlan id 7 2>/dev/null")) {
		(void)fprintf(stderr, "no VLAN devices in this kernel\n");
		stop(&d);
		skip();
	}
	load(&d, RULES_ONE);
	assert_true(find_entry(&d, "dpc", 0, &device));
	assert_true(find_entry(&d, "dpa", 7, &tag));
	assert_memory_equal(&device, &tag, sizeof(tag));
	assert_int_equal(tag.zones, 2);
	assert_int_equal(tag.ifindex, index_of("dpc"));
	stop(&d);
}

/* ---- own addresses --------------------------------------------------------------- */

static size_t get_selves(const struct daemon *d, struct fw_self_entry **ret)
{
	int table;
	size_t n;

	assert_int_equal(
		fw_hosttab_get_selves(fw_datapath_map(d->dp, FW_MAP_SELFADDRS),
				      ret, &n, &table),
		0);
	fw_closep(&table);
	return n;
}

static size_t count_selves(const struct daemon *d)
{
	_cleanup_free_ struct fw_self_entry *entries = NULL;

	return get_selves(d, &entries);
}

static uint32_t self_kind(const struct daemon *d, const char *address)
{
	_cleanup_free_ struct fw_self_entry *entries = NULL;
	struct fw_addr key = { .w[2] = htonl(0xffff) };
	size_t n = get_selves(d, &entries);

	if (inet_pton(AF_INET, address, &key.w[3]) != 1)
		assert_int_equal(inet_pton(AF_INET6, address, &key), 1);
	for (size_t i = 0; i < n; i++) {
		if (memcmp(&entries[i].addr, &key, sizeof(key)) == 0)
			return entries[i].flags;
	}
	return 0;
}

static bool has_192_0_2_9(void *data)
{
	return self_kind(data, "192.0.2.9") == FW_SELF_ADDRESS;
}

static bool lost_192_0_2_9(void *data)
{
	return self_kind(data, "192.0.2.9") == 0;
}

static void own_addresses_are_current(void **state)
{
	struct daemon d;
	size_t n;

	(void)state;
	run("ip addr add 192.0.2.1/24 broadcast + dev dpa");
	run("ip addr add 2001:db8::1/64 dev dpa nodad");
	d = start();
	assert_int_equal(self_kind(&d, "192.0.2.1"), FW_SELF_ADDRESS);
	assert_int_equal(self_kind(&d, "192.0.2.255"), FW_SELF_BROADCAST);
	assert_int_equal(self_kind(&d, "2001:db8::1"), FW_SELF_ADDRESS);
	assert_int_equal(self_kind(&d, "127.0.0.1"), FW_SELF_ADDRESS);
	assert_int_equal(self_kind(&d, "::1"), FW_SELF_ADDRESS);
	n = fw_apply_self_count(d.apply);
	assert_int_equal(count_selves(&d), n + 1);

	/* Two addresses with one broadcast address: it stays with the last. */
	run("ip addr add 192.0.2.9/24 broadcast + dev dpa");
	wait_until(d.loop, has_192_0_2_9, &d);
	run("ip addr del 192.0.2.9/24 dev dpa");
	wait_until(d.loop, lost_192_0_2_9, &d);
	assert_int_equal(self_kind(&d, "192.0.2.255"), FW_SELF_BROADCAST);

	/* With a peer, the own address is the local one. */
	run("ip addr add 192.0.2.9 peer 198.51.100.1/32 dev dpa");
	wait_until(d.loop, has_192_0_2_9, &d);
	assert_int_equal(self_kind(&d, "198.51.100.1"), 0);

	/* The interface goes, and with it what it had. */
	run("ip link del dpa");
	wait_until(d.loop, lost_192_0_2_9, &d);
	assert_int_equal(self_kind(&d, "2001:db8::1"), 0);
	assert_int_equal(self_kind(&d, "192.0.2.255"), 0);
	stop(&d);
}

static void stale_addresses_are_removed_at_start(void **state)
{
	const struct fw_self_entry stale = { { .w[3] = 1234 },
					     FW_SELF_ADDRESS };
	struct daemon d = start();
	int table = -1;
	size_t n;

	(void)state;
	n = count_selves(&d);
	assert_int_equal(
		fw_hosttab_put_selves(fw_datapath_map(d.dp, FW_MAP_SELFADDRS),
				      &stale, 1, &table),
		0);
	assert_int_equal(count_selves(&d), 1);
	fw_closep(&table);
	stop(&d);
	d = start();
	assert_int_equal(count_selves(&d), n);
	assert_int_equal(self_kind(&d, "::0.0.4.210"), 0);
	stop(&d);
}

/* ---- adoption ----------------------------------------------------------------------- */

/* What a daemon knows that a killed one knew, too. */
struct memory {
	uint32_t gen, first, second, in, wan_slot, xdp_id;
	uint64_t packets;
};

static struct memory remember(const struct daemon *d)
{
	struct memory m = {
		.gen = fw_apply_gen(d->apply),
		.first = slot_of(d, "first"),
		.second = slot_of(d, "second"),
		.in = fw_apply_default_slot(d->apply, FW_DIR_IN),
		.wan_slot = iface(d, "dpa")->slot,
		.xdp_id = native_xdp("dpa"),
	};

	m.packets = packets_at(d->dp, m.wan_slot, FW_HOOK_XDP);
	return m;
}

/* Load and wait for the end that comes without warning. */
static void be_killed(int fd)
{
	struct daemon d = start();
	struct memory m;

	load(&d, RULES_TWO);
	load(&d, RULES_ONE);
	send_frames("dpb", 5);
	m = remember(&d);
	if (write(fd, &m, sizeof(m)) != sizeof(m))
		_exit(1);
	for (;;)
		(void)pause();
}

static struct memory kill_a_daemon(void)
{
	struct memory m;
	int fds[2];
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		die_with_parent();
		be_killed(fds[1]);
	}
	(void)close(fds[1]);
	assert_int_equal(read(fds[0], &m, sizeof(m)), sizeof(m));
	(void)close(fds[0]);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	return m;
}

static void killed_daemon_is_succeeded(void **state)
{
	struct memory before, after;
	struct daemon d;

	(void)state;
	before = kill_a_daemon();
	assert_int_equal(native_xdp("dpa"), before.xdp_id);
	send_frames("dpb", 5);

	d = start();
	assert_true(fw_datapath_adopted(d.dp));
	assert_non_null(fw_apply_program(d.apply));
	after = remember(&d);
	assert_true(after.packets >= before.packets + 5);
	before.packets = after.packets;
	assert_memory_equal(&before, &after, sizeof(after));
	assert_int_equal(iface(&d, "dpa")->mode, FW_MODE_XDP);
	assert_int_equal(iface(&d, "dpb")->mode, FW_MODE_TC);

	load(&d, RULES_TWO);
	assert_int_equal(fw_apply_gen(d.apply), before.gen + 1);
	assert_int_equal(slot_of(&d, "second"), before.second);
	assert_int_equal(iface(&d, "dpa")->slot, before.wan_slot);
	stop(&d);
}

static void changes_without_a_daemon_are_made_up_for(void **state)
{
	struct memory before;
	struct daemon d;

	(void)state;
	before = kill_a_daemon();
	run("ip link del dpa");
	make_pair("dpb", "dpa");
	make_pair("dpc", "dpx");
	d = start();
	assert_int_equal(fw_apply_gen(d.apply), before.gen);
	assert_int_not_equal(native_xdp("dpa"), 0);
	assert_int_equal(count_tc("dpb", true), 1);
	assert_true(dpc_is_covered(&d));
	assert_int_equal(count_entries(&d), 3);
	assert_int_equal(count_files(PIN_DIR "/v1/links"), pins_of(3, 1));
	stop(&d);
}

/* A load that died before its switch leaves entries that nobody needs. */
static void rest_of_a_load_is_removed(void **state)
{
	const struct fw_iface_entry entry = {
		.key = { .ifindex = 1 },
		.value = { .zones = 1, .ifindex = 1, .slot = 63 },
	};
	struct fw_attachment attachment;
	struct daemon d = start();
	char *error = NULL;
	int table = -1;

	(void)state;
	load(&d, "interface wan = dpa { mode xdp }\n");
	assert_int_equal(
		fw_hosttab_put_ifaces(fw_datapath_map(d.dp, FW_MAP_IFACES), 1,
				      99, &entry, 1, &table),
		0);
	fw_closep(&table);
	assert_int_equal(count_tables(&d), 2);
	assert_int_equal(fw_datapath_attach(d.dp, index_of("dpb"), FW_MODE_TC,
					    &attachment, &error),
			 0);
	stop(&d);
	d = start();
	assert_int_equal(count_tables(&d), 1);
	assert_int_equal(count_entries(&d), 1);
	assert_int_equal(count_tc("dpb", true), 0);
	assert_int_equal(count_tc("dpa", true), 1);
	stop(&d);
}

/* Put an image of our making into force, below the daemon. */
static void force_image(const char *text, uint32_t gen, bool is_readable)
{
	struct fw_datapath *dp = open_datapath();
	struct fw_program *program = compile(text);
	uint32_t slots[16], defaults[] = { 1, 2, 3 };
	struct fw_image image = { 0 };
	int fd;

	for (uint32_t i = 0; i < ARRAY_SIZE(slots); i++)
		slots[i] = 10 + i;
	assert_int_equal(fw_emit(program, gen, slots, defaults, &image), 0);
	if (!is_readable)
		((struct fw_image_head *)(void *)image.bytes)->annex = ~0u;
	assert_int_equal(fw_rulesets_make(&image, FW_IMAGE_MIN, &fd), 0);
	assert_int_equal(fw_rulesets_switch(dp, fd, -1), 0);
	(void)close(fd);
	fw_image_done(&image);
	fw_program_free(program);
	fw_datapath_free(dp);
}

static int note_gen(void *data, uint32_t gen)
{
	*(uint32_t *)data = gen;
	return 0;
}

static int refuse_gen(void *data, uint32_t gen)
{
	(void)data;
	(void)gen;
	return -EIO;
}

static void generations_come_round(void **state)
{
	uint32_t forgotten = 0;
	struct daemon d;

	(void)state;
	force_image(RULES_ONE, FW_MARK_GEN_MAX, true);
	d = start();
	assert_int_equal(fw_apply_gen(d.apply), FW_MARK_GEN_MAX);
	assert_int_equal(slot_of(&d, "first"), 10);
	fw_apply_set_forget(d.apply, note_gen, &forgotten);
	load(&d, RULES_TWO);
	assert_int_equal(fw_apply_gen(d.apply), 1);
	assert_int_equal(forgotten, 1);

	fw_apply_set_forget(d.apply, refuse_gen, NULL);
	fail_to_load(&d, RULES_ONE, -EIO, "marks", NULL);
	assert_int_equal(fw_apply_gen(d.apply), 1);
	stop(&d);
}

/* Rules that we cannot read filter on, and can be replaced. */
static void unreadable_rules_stay_in_force(void **state)
{
	struct daemon d = start();

	(void)state;
	load(&d, RULES_ONE);
	stop(&d);
	force_image(RULES_ONE, 1, false);
	d = start();
	assert_null(fw_apply_program(d.apply));
	assert_int_equal(fw_apply_gen(d.apply), 1);
	assert_int_not_equal(native_xdp("dpa"), 0);
	assert_int_equal(count_entries(&d), 2);
	load(&d, RULES_TWO);
	assert_int_equal(fw_apply_gen(d.apply), 2);
	assert_int_equal(count_entries(&d), 2);
	stop(&d);
}

/* ---- with few privileges ---------------------------------------------------------- */

/* The capabilities that the daemon keeps; exit status of the child. */
static void load_unprivileged(void)
{
	struct daemon d = start();

	load(&d, RULES_ONE);
	capng_clear(CAPNG_SELECT_BOTH);
	(void)capng_updatev(CAPNG_ADD,
			    (capng_type_t)(CAPNG_EFFECTIVE | CAPNG_PERMITTED),
			    CAP_NET_ADMIN, CAP_BPF, CAP_PERFMON, -1);
	assert_int_equal(capng_apply(CAPNG_SELECT_CAPS), 0);

	load(&d, RULES_TWO);
	load(&d, "interface wan = dpa { mode xdp-generic }\n");
	load(&d, RULES_ONE);
	assert_int_equal(iface(&d, "dpa")->mode, FW_MODE_XDP);
	assert_true(packets_at(d.dp, 0, FW_HOOK_XDP) == 0);
	assert_int_equal(fw_datapath_remove(d.dp), 0);
}

static void three_capabilities_are_enough(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		load_unprivileged();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_false(fw_datapath_exists(PIN_DIR));
	assert_int_equal(native_xdp("dpa"), 0);
}

/* ---- many times ----------------------------------------------------------------------- */

#define LOADS	   1000
#define LABEL_SIZE 32 /* what malloc() takes for a short text */

static uint32_t image_ids[LOADS];

static uint32_t image_id(const struct daemon *d)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);
	_cleanup_close_ int fd = -1;

	assert_int_equal(fw_rulesets_open(d->dp, &fd), 0);
	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
	return info.id;
}

static bool only_the_last_is_left(void *data)
{
	size_t n = 0;
	int fd;

	(void)data;
	for (size_t i = 0; i < LOADS; i++) {
		fd = bpf_map_get_fd_by_id(image_ids[i]);
		if (fd < 0)
			continue;
		(void)close(fd);
		n++;
	}
	return n == 1;
}

static void thousand_loads_leak_nothing(void **state)
{
	struct daemon d = start();
	size_t memory = 0;
	int fds = 0;

	(void)state;
	for (int i = 0; i < LOADS; i++) {
		load(&d, i % 2 ? RULES_TWO : RULES_ONE);
		image_ids[i] = image_id(&d);
		/* The first loads fill caches and hash tables. */
		if (i == 99) {
			fds = count_files("/proc/self/fd");
			memory = mallinfo2().uordblks;
		}
	}
	assert_int_equal(fw_apply_gen(d.apply), LOADS);
	assert_int_equal(count_files("/proc/self/fd"), fds);
	/* Each load uses a new counter, and a counter remembers its label. */
	assert_true(mallinfo2().uordblks <=
		    memory + 4096 + (LOADS - 100) * LABEL_SIZE);
	assert_int_equal(count_entries(&d), 2);
	/* The kernel frees maps a moment later. */
	wait_until(d.loop, only_the_last_is_left, NULL);
	stop(&d);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_devices, clean_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(first_load),
		TEST(frames_are_counted),
		TEST(counters_follow_labels),
		TEST(rows_of_a_rule_share_a_counter),
		TEST(modes_follow_the_rules),
		TEST(failed_load_changes_nothing),
		TEST(failed_first_load_leaves_nothing),
		TEST(new_interface_is_covered),
		TEST(same_number_again_is_covered),
		TEST(renamed_interface_is_covered),
		TEST(interface_that_moves_away_is_let_go),
		TEST(failure_at_run_time_is_kept_and_retried),
		TEST(vlan_device_is_known_by_its_tag),
		TEST(own_addresses_are_current),
		TEST(stale_addresses_are_removed_at_start),
		TEST(killed_daemon_is_succeeded),
		TEST(changes_without_a_daemon_are_made_up_for),
		TEST(rest_of_a_load_is_removed),
		TEST(generations_come_round),
		TEST(unreadable_rules_stay_in_force),
		TEST(three_capabilities_are_enough),
		TEST(thousand_loads_leak_nothing),
	};

	room_enter();
	fw_log_set_level(FW_LOG_ERROR);
	return cmocka_run_group_tests_name("apply", tests, NULL, NULL);
}
