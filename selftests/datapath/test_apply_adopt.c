/* SPDX-License-Identifier: GPL-2.0-only */

/* Adoption: what a daemon makes of rules that are in force when it starts. */
#include "selftests/datapath/apply_lab.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "user/cthooks.h"
#include "user/daemon.h"
#include "user/hosttab.h"
#include "user/log.h"
#include "user/rulesets.h"
#include "user/util.h"

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

/* A load that died before its switch leaves a table that nobody looks into. */
static void rest_of_a_load_is_left_behind(void **state)
{
	const struct fw_iface_entry entry = {
		.key = { .ifindex = 1 },
		.value = { .zones = 1, .ifindex = 1, .slot = 63 },
	};
	struct fw_attachment attachment;
	struct daemon d = start();
	struct fw_hosttab *tables = open_tables(&d);
	char *error = NULL;
	struct fw_iface got;
	uint32_t gen;

	(void)state;
	load(&d, "interface wan = dpa { mode xdp }\n");
	gen = fw_apply_gen(d.apply);
	assert_int_equal(fw_hosttab_put_ifaces(tables, gen, gen + 1, &entry, 1),
			 0);
	fw_hosttab_free(tables);
	assert_int_equal(fw_datapath_attach(d.dp, index_of("dpb"), FW_MODE_TC,
					    &attachment, &error),
			 0);
	stop(&d);
	d = start();
	assert_int_equal(count_entries(&d), 1);
	assert_true(find_entry(&d, "dpa", 0, &got));
	assert_int_equal(count_tc("dpb", true), 0);
	assert_int_equal(count_tc("dpa", true), 1);
	load(&d, "interface wan = dpa { mode xdp }\n");
	assert_int_equal(fw_apply_gen(d.apply), gen + 1);
	assert_int_equal(count_entries(&d), 1);
	assert_true(find_entry(&d, "dpa", 0, &got));
	stop(&d);
}

/* What a rule of an earlier daemon's had counted is not a new rule's. */
static void freed_counters_start_at_zero(void **state)
{
	struct daemon d = start();
	uint32_t slot;

	(void)state;
	load(&d, RULES_ONE);
	load(&d, RULES_TWO);
	slot = slot_of(&d, "third");
	set_packets(&d, slot, 7);
	load(&d, "interface wan = dpa { mode tc }\n"
		 "accept in proto tcp to self port 80 label second\n");
	stop(&d);
	d = start();
	load(&d, RULES_TWO);
	assert_int_equal(slot_of(&d, "third"), slot);
	assert_int_equal(packets_of(&d, slot), 0);
	stop(&d);
}

/* Put an image of our making into force, below the daemon. */
static void force_image(const char *text, uint32_t gen, bool is_readable)
{
	struct fw_datapath *dp = open_datapath();
	struct fw_program *program = compile(text);
	uint32_t slots[16], defaults[] = { 1, 2, 3 };
	struct fw_image image = { 0 };
	int fd = -1;

	for (uint32_t i = 0; i < ARRAY_SIZE(slots); i++)
		slots[i] = 10 + i;
	assert_int_equal(fw_emit(program, gen, slots, defaults, &image), 0);
	if (!is_readable)
		((struct fw_image_head *)(void *)image.bytes)->annex = ~0u;
	assert_int_equal(fw_rulesets_make(&image, FW_IMAGE_MIN, &fd), 0);
	assert_int_equal(fw_rulesets_switch(dp, fd), 0);
	(void)close(fd);
	fw_image_done(&image);
	fw_program_free(program);
	fw_datapath_free(dp);
}

static int note_gen(void *data, const struct fw_forget *forget)
{
	*(struct fw_forget *)data = *forget;
	return 0;
}

static int refuse_gen(void *data, const struct fw_forget *forget)
{
	(void)data;
	(void)forget;
	return -EIO;
}

static void generations_come_round(void **state)
{
	struct fw_forget forgotten = { 0 };
	struct daemon d;

	(void)state;
	force_image(RULES_ONE, FW_MARK_GEN_MAX, true);
	d = start();
	assert_int_equal(fw_apply_gen(d.apply), FW_MARK_GEN_MAX);
	assert_int_equal(slot_of(&d, "first"), 10);
	fw_apply_set_forget(d.apply, note_gen, &forgotten);
	load(&d, RULES_TWO);
	assert_int_equal(fw_apply_gen(d.apply), 1);
	assert_int_equal(forgotten.gen, 1);
	assert_int_equal(forgotten.heir, FW_MARK_GEN_MAX - 1);
	assert_false(forgotten.is_ended);

	fw_apply_set_forget(d.apply, refuse_gen, NULL);
	fail_to_load(&d, RULES_ONE, -EIO, "marks", NULL);
	assert_int_equal(fw_apply_gen(d.apply), 1);
	stop(&d);
}

/* A load ends the flows of all before it, for whoever runs later. */
static void ended_flows_stay_ended(void **state)
{
	struct fw_forget forgotten = { .gen = 9 };
	struct daemon d = start();

	(void)state;
	fw_apply_set_forget(d.apply, note_gen, &forgotten);
	load(&d, "option on-reload kill\n" RULES_ONE);
	/* nothing ran before; and what bears numbers of ours is older still */
	assert_int_equal(forgotten.gen, 0);
	assert_false(fw_apply_has_ended(d.apply, FW_MARK_GEN_MAX));
	load(&d, "option on-reload kill\n" RULES_ONE);
	assert_int_equal(forgotten.gen, 2);
	assert_int_equal(forgotten.heir, FW_MARK_GEN_MAX);
	assert_true(fw_apply_has_ended(d.apply, 1));
	assert_true(fw_apply_has_ended(d.apply, FW_MARK_GEN_MAX));
	assert_false(fw_apply_has_ended(d.apply, 0));
	load(&d, "option on-reload keep\n" RULES_ONE);
	assert_false(fw_apply_has_ended(d.apply, 2));
	assert_true(fw_apply_has_ended(d.apply, 1));
	assert_true(forgotten.is_ended);
	stop(&d);
	d = start();
	assert_true(fw_apply_has_ended(d.apply, 1));
	assert_false(fw_apply_has_ended(d.apply, 2));
	stop(&d);
}

/* What was asked of the one who moves marks. */
struct moves {
	struct fw_mark_move claimed, carried;
	unsigned int n;
	int error;
};

static int note_move(void *data, const struct fw_mark_move *move)
{
	struct moves *moves = data;

	moves->n++;
	if (!move->has_switched) {
		moves->claimed = *move;
		return 0;
	}
	moves->carried = *move;
	return moves->error;
}

static void check_marks(const struct daemon *d, uint8_t shift, uint8_t before)
{
	struct fw_image image = { 0 };
	int fd = -1;

	assert_int_equal(fw_apply_mark_shift(d->apply), shift);
	assert_int_equal(fw_rulesets_open(d->dp, &fd), 0);
	assert_int_equal(fw_rulesets_read(fd, &image), 0);
	assert_int_equal(fw_image_head(&image)->mark_shift, shift);
	assert_int_equal(fw_image_head(&image)->mark_before, before);
	fw_image_done(&image);
	(void)close(fd);
}

#define LOWER "option mark-mask 0x0000ffff\n" RULES_ONE

/* Others' bits are cleared before the switch, ours moved after it, by the next if need be. */
static void marks_move_with_a_load(void **state)
{
	struct moves moves = { 0 };
	struct daemon d = start();

	(void)state;
	fw_apply_set_move(d.apply, note_move, &moves);
	assert_int_equal(fw_apply_mark_shift(d.apply), FW_MARK_SHIFT);
	load(&d, RULES_ONE);
	load(&d, RULES_TWO);
	assert_int_equal(moves.n, 0);
	load(&d, LOWER);
	assert_int_equal(moves.n, 2);
	assert_int_equal(moves.claimed.to, 0);
	assert_int_equal(moves.carried.from, 16);
	assert_int_equal(moves.carried.to, 0);
	check_marks(&d, 0, 0);
	load(&d, LOWER);
	assert_int_equal(moves.n, 2);

	fail_to_load(&d, "option mark-mask 0x00ffff00\n" RULES_ONE, -EBUSY,
		     "in 0x0000ffff, which has bits in common with 0x00ffff00",
		     "mark-mask");
	check_marks(&d, 0, 0);

	moves.error = -EIO;
	load(&d, RULES_ONE);
	assert_int_equal(moves.n, 4);
	check_marks(&d, 16, 1);
	load(&d, RULES_TWO);
	assert_int_equal(moves.n, 5);
	check_marks(&d, 16, 1);
	fail_to_load(&d, LOWER, -EIO, "carry over the marks", NULL);
	stop(&d);
	d = start();
	check_marks(&d, 16, 1);
	moves = (struct moves){ 0 };
	fw_apply_set_move(d.apply, note_move, &moves);
	assert_int_equal(moves.n, 1);
	assert_int_equal(moves.carried.from, 0);
	check_marks(&d, 16, 0);
	stop(&d);
}

/* Where nothing ran, nothing moves: marks of before are cleared where ours will be. */
static void first_load_says_where_marks_are(void **state)
{
	struct fw_forget forgotten = { .gen = 9 };
	struct moves moves = { 0 };
	struct daemon d = start();

	(void)state;
	fw_apply_set_forget(d.apply, note_gen, &forgotten);
	fw_apply_set_move(d.apply, note_move, &moves);
	fw_apply_expect(d.apply);
	assert_int_equal(forgotten.gen, 9);
	load(&d, "option mark-mask 0x00ffff00\n" RULES_ONE);
	assert_int_equal(forgotten.gen, 0);
	assert_int_equal(forgotten.mark_shift, 8);
	assert_int_equal(moves.n, 0);
	check_marks(&d, 8, 0);
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

/* Nobody can tell whether they want the kernel's conntrack hooks: these stay. */
static void unreadable_rules_keep_hooks(void **state)
{
	struct fw_daemon daemon = { .may_hold_hooks = true };
	struct daemon d = start();

	(void)state;
	load(&d, RULES_ONE);
	stop(&d);
	force_image(RULES_ONE, 1, false);
	d = start();
	if (fw_cthooks_set(true, NULL) < 0) {
		(void)fprintf(stderr, "no nf_tables in this kernel\n");
		stop(&d);
		skip();
	}
	daemon.apply = d.apply;
	assert_int_equal(fw_daemon_follow_option(&daemon), 0);
	assert_int_equal(fw_cthooks_set(true, NULL), 0);
	load(&d, RULES_ONE);
	assert_int_equal(fw_daemon_follow_option(&daemon), 1);
	assert_int_equal(fw_cthooks_set(false, NULL), 0);
	stop(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(killed_daemon_is_succeeded),
		TEST(changes_without_a_daemon_are_made_up_for),
		TEST(rest_of_a_load_is_left_behind),
		TEST(freed_counters_start_at_zero),
		TEST(generations_come_round),
		TEST(ended_flows_stay_ended),
		TEST(marks_move_with_a_load),
		TEST(first_load_says_where_marks_are),
		TEST(unreadable_rules_stay_in_force),
		TEST(unreadable_rules_keep_hooks),
	};

	room_enter();
	fw_log_set_level(FW_LOG_ERROR);
	return cmocka_run_group_tests_name("apply-adopt", tests, NULL, NULL);
}
