/* SPDX-License-Identifier: GPL-2.0-only */

/* Interfaces that come, go and change their names while rules are in force. */
#include "selftests/datapath/apply_lab.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "user/log.h"

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

/* A VLAN device dpc of dpa; without such devices in this kernel the test is over. */
static void make_vlan(struct daemon *d)
{
	if (system("ip link add link dpa name dpc type vlan id 7 2>/dev/null")) {
		(void)fprintf(stderr, "no VLAN devices in this kernel\n");
		stop(d);
		skip();
	}
}

static void vlan_device_is_known_by_its_tag(void **state)
{
	struct daemon d = start();
	struct fw_iface device, tag;

	(void)state;
	make_vlan(&d);
	load(&d, RULES_ONE);
	assert_true(find_entry(&d, "dpc", 0, &device));
	assert_true(find_entry(&d, "dpa", 7, &tag));
	assert_memory_equal(&device, &tag, sizeof(tag));
	assert_int_equal(tag.zones, 2);
	assert_int_equal(tag.ifindex, index_of("dpc"));
	stop(&d);
}

static bool dpe_is_covered(void *data)
{
	const struct fw_apply_iface *dpe = iface(data, "dpe");

	return dpe->ifindex && !dpe->error;
}

/* Of two tags of one number, told apart by nobody, a packet is in neither zone. */
static void equal_tags_do_no_harm(void **state)
{
	static const char rules[] = "interface wan = { dpa, dpb }\n"
				    "interface one = dpc\n"
				    "interface other = dpd\n"
				    "interface late = dpe\n";
	struct daemon d = start();
	struct fw_iface entry;

	(void)state;
	make_vlan(&d);
	load(&d, rules);
	run("ip link add link dpa name dpd type vlan proto 802.1ad id 7");
	run("ip link add name dpe type bridge");
	wait_until(d.loop, dpe_is_covered, &d);
	assert_true(find_entry(&d, "dpa", 7, &entry));
	assert_int_equal(entry.zones, 0);
	assert_true(find_entry(&d, "dpd", 0, &entry));
	assert_int_equal(entry.zones, 4);
	stop(&d);

	d = start();
	assert_non_null(fw_apply_program(d.apply));
	load(&d, rules);
	stop(&d);
}

/* A slave has the entries of its bond, but for what is declared of its own. */
static void vlan_of_a_slave_comes_first(void **state)
{
	struct daemon d = start();
	struct fw_iface entry;

	(void)state;
	make_vlan(&d);
	run("ip link add name dpd type bond");
	run("ip link set dpb down; ip link set dpb master dpd");
	run("ip link add link dpd name dpe type vlan id 5");
	run("ip link add link dpb name dpf type vlan id 5");
	run("ip link add link dpd name dpg type vlan id 6");
	load(&d, "interface wan = dpd { mode tc }\n"
		 "interface bonds = { dpe, dpg } { mode tc }\n"
		 "interface slaves = dpf { mode tc }\n");
	assert_true(find_entry(&d, "dpb", 5, &entry));
	assert_int_equal(entry.zones, 4);
	assert_true(find_entry(&d, "dpb", 6, &entry));
	assert_int_equal(entry.zones, 2);
	stop(&d);
}

/* More devices than fit: those that the rules name are covered all the same. */
static void too_many_devices_do_no_harm(void **state)
{
	static const char rules[] = "interface wan = dpa\n"
				    "interface late = dpe\n";
	struct daemon d = start();

	(void)state;
	make_vlan(&d);
	load(&d, rules);
	run("seq 100 %d | sed 's/.*/link add link dpa name v& type vlan id &/'"
	    " | ip -batch -",
	    100 + FW_MAX_IFACES);
	run("ip link add name dpe type bridge");
	wait_until(d.loop, dpe_is_covered, &d);
	assert_int_equal(count_entries(&d), FW_MAX_IFACES);
	stop(&d);

	d = start();
	assert_true(dpe_is_covered(&d));
	fail_to_load(&d, rules, -E2BIG, "too many interfaces", NULL);
	stop(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(new_interface_is_covered),
		TEST(same_number_again_is_covered),
		TEST(renamed_interface_is_covered),
		TEST(interface_that_moves_away_is_let_go),
		TEST(failure_at_run_time_is_kept_and_retried),
		TEST(vlan_device_is_known_by_its_tag),
		TEST(equal_tags_do_no_harm),
		TEST(vlan_of_a_slave_comes_first),
		TEST(too_many_devices_do_no_harm),
	};

	room_enter();
	fw_log_set_level(FW_LOG_ERROR);
	return cmocka_run_group_tests_name("apply-ifaces", tests, NULL, NULL);
}
