/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Loading rules: what a load changes, what one that fails leaves as it was, which
 * privileges it needs, and that a thousand of them leak nothing.
 */
#include "selftests/datapath/apply_lab.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <cap-ng.h>

#include "kern/host_abi.h"
#include "user/log.h"
#include "user/rulesets.h"
#include "user/util.h"

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
	stop(&d);
}

static int count_forget(void *data, const struct fw_forget *forget)
{
	(void)forget;
	(*(int *)data)++;
	return 0;
}

static void failed_load_changes_nothing(void **state)
{
	struct daemon d = start();
	const struct fw_program *program;
	uint32_t slot, index;
	int n_forgotten = 0;

	(void)state;
	load(&d, "interface wan = dpa { mode xdp }\n");
	program = fw_apply_program(d.apply);
	slot = iface(&d, "dpa")->slot;
	index = native_xdp("dpa");
	(void)add_foreign_xdp("dpb");
	fw_apply_set_forget(d.apply, count_forget, &n_forgotten);
	fail_to_load(&d,
		     "interface wan = dpa { mode xdp-generic }\n"
		     "interface lan = dpb { mode xdp }\n",
		     -EBUSY, "somebody", "xdp }");
	assert_ptr_equal(fw_apply_program(d.apply), program);
	assert_int_equal(fw_apply_gen(d.apply), 1);
	assert_int_equal(native_xdp("dpa"), index);
	assert_int_equal(count_tc("dpb", true), 0);
	assert_int_equal(count_entries(&d), 1);
	assert_int_equal(iface(&d, "dpa")->slot, slot);
	assert_int_equal(iface(&d, "dpa")->mode, FW_MODE_XDP);
	assert_int_equal(n_forgotten, 1);

	remove_foreign_xdp("dpb");
	load(&d, RULES_ONE);
	/* who knows whether no flow bears the number by now */
	assert_int_equal(n_forgotten, 2);
	assert_int_equal(fw_apply_gen(d.apply), 2);
	stop(&d);
}

/* The generation that known packets pass by, see struct fw_host. */
static uint32_t known_gen(const struct daemon *d)
{
	const struct fw_host *host =
		mmap(NULL, sizeof(*host), PROT_READ, MAP_SHARED,
		     fw_datapath_map(d->dp, FW_MAP_HOST), 0);
	uint32_t gen;

	assert_ptr_not_equal(host, MAP_FAILED);
	gen = host->known_gen;
	(void)munmap((void *)host, sizeof(*host));
	return gen;
}

/* Not where rules have to be asked about each packet, whoever loads them or starts anew. */
static void known_packets_pass_by_these_rules(void **state)
{
	static const char *const asked[] = {
		"drop stateless in from 192.0.2.1\n",
		"option flow-accounting on\n",
	};
	char text[1024];
	struct daemon d = start();

	(void)state;
	assert_int_equal(known_gen(&d), 0);
	load(&d, RULES_ONE);
	assert_int_equal(known_gen(&d), 1);
	(void)add_foreign_xdp("dpb");
	fail_to_load(&d, "interface lan = dpb { mode xdp }\n", -EBUSY,
		     "somebody", "xdp }");
	remove_foreign_xdp("dpb");
	assert_int_equal(known_gen(&d), 1);
	stop(&d);
	d = start();
	assert_int_equal(known_gen(&d), 1);
	for (size_t i = 0; i < ARRAY_SIZE(asked); i++) {
		(void)snprintf(text, sizeof(text), RULES_ONE "%s", asked[i]);
		load(&d, text);
		assert_int_equal(known_gen(&d), 0);
	}
	load(&d, RULES_TWO);
	assert_int_equal(known_gen(&d), fw_apply_gen(d.apply));
	stop(&d);
}

static int refuse_gen(void *data, const struct fw_forget *forget)
{
	(void)data;
	(void)forget;
	return -EIO;
}

static struct fw_replacement *new_content(const struct fw_program *program,
					  const char *set, const char *content)
{
	struct fw_text text = { .name = strdup("set"),
				.data = strdup(content),
				.len = strlen(content) };
	struct fw_replacement *replacement;
	struct fw_diag diag = { 0 };

	assert_int_equal(fw_replacement_new(program,
					    fw_program_set(program, set), &text,
					    &diag, &replacement),
			 0);
	fw_diag_done(&diag);
	return replacement;
}

/* What the system says by now counts from the next load that succeeds. */
static void failed_replacement_changes_nothing(void **state)
{
	struct daemon d = start();
	struct fw_replacement *replacement;
	_cleanup_free_ char *error = NULL;
	struct fw_timeouts before;
	const struct fw_program *program;

	(void)state;
	load(&d, RULES_ONE "set hosts { 192.0.2.1 }\n"
			   "drop in from @hosts\n");
	program = fw_apply_program(d.apply);
	before = program->timeouts;
	run("echo 4242 >/proc/sys/net/netfilter/nf_conntrack_udp_timeout");
	replacement = new_content(program, "hosts", "192.0.2.7\n");
	fw_apply_set_forget(d.apply, refuse_gen, NULL);
	assert_int_equal(fw_apply_replace(d.apply, replacement, &error), -EIO);
	assert_memory_equal(&program->timeouts, &before, sizeof(before));
	fw_apply_set_forget(d.apply, NULL, NULL);
	assert_int_equal(fw_apply_replace(d.apply, replacement, NULL), 0);
	assert_int_equal(program->timeouts.seconds[FW_LIFE_UDP], 4242);
	fw_replacement_free(replacement);
	stop(&d);
}

#define MANY_LABELS 2000

/* Rules that have as many labels, with this beginning. */
static void load_many(struct daemon *d, char beginning)
{
	_cleanup_free_ char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	(void)fputs("interface wan = dpa\n", out);
	for (int i = 0; i < MANY_LABELS; i++)
		(void)fprintf(
			out, "accept in proto tcp to self port %d label %c%d\n",
			i + 1, beginning, i);
	assert_int_equal(fclose(out), 0);
	load(d, text);
}

/* A flow that a rule let in whose slot is another's by now is of no rule. */
static void gone_labels_are_not_mistaken(void **state)
{
	struct daemon d = start();
	const char *label;
	uint32_t slot;

	(void)state;
	load(&d, RULES_ONE);
	slot = slot_of(&d, "first");
	load_many(&d, 'a');
	load_many(&d, 'b');
	assert_string_equal(fw_apply_slot_label_at(d.apply, slot, 1), "first");
	load_many(&d, 'c');
	label = fw_apply_slot_label(d.apply, slot);
	assert_int_equal(label[0], 'c');
	assert_true(fw_apply_slot_is_reused(d.apply, slot));
	for (int i = 0; i < 2; i++) {
		assert_null(fw_apply_slot_label_at(d.apply, slot, 0));
		assert_null(fw_apply_slot_label_at(d.apply, slot, 1));
		assert_null(fw_apply_slot_label_at(d.apply, slot, 3));
		label = fw_apply_slot_label_at(d.apply, slot, 4);
		assert_non_null(label);
		assert_int_equal(label[0], 'c');
		load_many(&d, 'c');
	}
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
	assert_int_equal(fw_rulesets_open(d.dp, &fd), -ENOENT);
	assert_int_equal(fw_apply_gen(d.apply), 0);
	assert_null(fw_apply_program(d.apply));
	stop(&d);
}

/* ---- with few privileges ---------------------------------------------------------- */

/* The capabilities that the daemon keeps. */
static void load_unprivileged(void *data)
{
	struct daemon d = start();

	(void)data;
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
	(void)state;
	assert_int_equal(status_of_child(load_unprivileged, NULL), 0);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(first_load),
		TEST(frames_are_counted),
		TEST(counters_follow_labels),
		TEST(rows_of_a_rule_share_a_counter),
		TEST(modes_follow_the_rules),
		TEST(failed_load_changes_nothing),
		TEST(known_packets_pass_by_these_rules),
		TEST(failed_replacement_changes_nothing),
		TEST(gone_labels_are_not_mistaken),
		TEST(failed_first_load_leaves_nothing),
		TEST(three_capabilities_are_enough),
		TEST(thousand_loads_leak_nothing),
	};

	room_enter();
	fw_log_set_level(FW_LOG_ERROR);
	return cmocka_run_group_tests_name("apply-load", tests, NULL, NULL);
}
