/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The picture is the kernel's table: after dumps, events and timeouts, when events
 * were lost and when a dump was disturbed.
 */
#include "inside.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <linux/netfilter/nf_conntrack_tcp.h>

static bool is_in_sync_and_equal(struct fixture *f)
{
	return is_synced(f) && is_equal(f);
}

static void test_shows_what_was_there(void **state)
{
	struct fixture *f = *state;

	make(zoo, ARRAY_SIZE(zoo));
	refresh(f);
	assert_int_equal(fw_flowtab_count(f->mirror->tab), ARRAY_SIZE(zoo));
	assert_true(is_equal(f));
}

static bool is_changed(struct fixture *f)
{
	return f->mirror->stats.events[1] >= 2 && is_equal(f);
}

static bool is_deleted(struct fixture *f)
{
	return f->mirror->stats.events[2] >= 2 && is_equal(f);
}

static void test_follows_events(void **state)
{
	struct fixture *f = *state;
	struct want changed[2] = { zoo[1], zoo[3] };
	uint64_t resyncs;

	assert_true(run_until(f, is_synced));
	resyncs = f->mirror->stats.resyncs;
	make(zoo, ARRAY_SIZE(zoo));
	assert_true(run_until(f, is_in_sync_and_equal));
	assert_int_equal(f->mirror->stats.events[0], ARRAY_SIZE(zoo));

	changed[0].mark = 77;
	changed[0].timeout_s = 500;
	changed[0].tcp_state = TCP_CONNTRACK_TIME_WAIT;
	changed[1].mark = 0x10000;
	changed[1].is_nat = false;
	changed[1].status = IPS_SEEN_REPLY;
	assert_int_equal(entry_update(&changed[0]), 0);
	assert_int_equal(entry_update(&changed[1]), 0);
	assert_true(run_until(f, is_changed));

	assert_int_equal(entry_delete(&zoo[1]), 0);
	assert_int_equal(entry_delete(&zoo[6]), 0);
	assert_true(run_until(f, is_deleted));
	/* all that without another dump */
	assert_int_equal(f->mirror->stats.resyncs, resyncs);
}

static void test_dumps_find_silent_entries(void **state)
{
	struct fixture *f = *state;
	uint64_t length_ns;

	assert_true(run_until(f, is_synced));
	make_silent(zoo, ARRAY_SIZE(zoo));
	f->mirror->next_ns = 0; /* the timer's turn */
	assert_true(run_until(f, is_in_sync_and_equal));
	assert_int_equal(f->mirror->stats.events[0], 0);
	assert_int_equal(entry_delete(&zoo[2]), 0);
	assert_int_equal(entry_delete(&zoo[5]), 0);
	f->mirror->next_ns = 0;
	assert_true(run_until(f, is_in_sync_and_equal));
	assert_int_equal(f->mirror->stats.events[2], 0);
	/* with flows, the next dump is five seconds away, not thirty */
	length_ns = f->mirror->stats.last_duration_ns;
	assert_true(f->mirror->next_ns <=
		    fw_now_ns() + max_u64(DUMP_EVERY_MS * NS_PER_MS,
					  length_ns * DUMP_SHARE));
}

static void make_many(unsigned int first, unsigned int n)
{
	struct want want = { .proto = IPPROTO_UDP, .timeout_s = 600 };
	unsigned int i;

	for (i = first; i < first + n; i++) {
		want.number = (uint16_t)i;
		make(&want, 1);
	}
}

/* Milliseconds from the last dump to the next one. */
static uint64_t rest_ms(const struct fw_mirror *mirror)
{
	return (mirror->next_ns - mirror->stats.last_sync_ns) / NS_PER_MS;
}

/* A dump as if the one before had been long ago. */
static void dump_after_a_rest(struct fixture *f)
{
	f->mirror->rest.dumped_ms = 0;
	refresh(f);
}

static void test_rests_while_nothing_happens(void **state)
{
	struct fixture *f = *state;
	struct fw_mirror *mirror = f->mirror;
	uint64_t usual_ms;

	make_many(1, 100);
	refresh(f);
	usual_ms = usual_rest_ms(mirror);
	assert_in_range(rest_ms(mirror), usual_ms - 100, usual_ms + 100);
	dump_after_a_rest(f);
	dump_after_a_rest(f);
	assert_true(rest_ms(mirror) >= 3 * usual_ms);
	/* what events tell is nothing to dump for */
	make_many(1000, 10);
	on_tick(mirror);
	assert_int_equal(fw_flowtab_count_ct(mirror->tab), 110);
	assert_true(rest_ms(mirror) >= 3 * usual_ms);
	assert_false(is_dumping(mirror));
}

/* A change that nobody tells, other than that the kernel has more entries or fewer. */
static void check_silent_change(struct fixture *f)
{
	struct fw_mirror *mirror = f->mirror;
	uint64_t usual_ms;

	usual_ms = usual_rest_ms(mirror);
	on_tick(mirror);
	assert_true(rest_ms(mirror) <= usual_ms);
	mirror->stats.last_sync_ns -= usual_ms * NS_PER_MS;
	on_tick(mirror);
	assert_true(is_dumping(mirror));
	assert_true(run_until(f, is_in_sync_and_equal));
	assert_true(rest_ms(mirror) <= usual_rest_ms(mirror) + 100);
}

static void test_silent_changes_end_the_rest(void **state)
{
	const struct want extra = { .proto = IPPROTO_UDP,
				    .number = 9,
				    .timeout_s = 600 };
	struct fixture *f = *state;

	make_silent(zoo, ARRAY_SIZE(zoo));
	refresh(f);
	dump_after_a_rest(f);
	make_silent(&extra, 1);
	check_silent_change(f);
	dump_after_a_rest(f);
	assert_int_equal(entry_delete(&extra), 0);
	assert_int_equal(f->mirror->stats.events[2], 0);
	check_silent_change(f);
}

/* Packets may have renewed its time, and nobody tells. */
static void test_flows_that_run_out_end_the_rest(void **state)
{
	const struct want want = { .proto = IPPROTO_UDP,
				   .number = 1,
				   .timeout_s = 60 };
	struct fixture *f = *state;
	struct fw_mirror *mirror = f->mirror;

	make_many(2, 10);
	refresh(f);
	mirror->rest.ms = FW_REST_MAX_MS / 2;
	dump_after_a_rest(f);
	assert_true(rest_ms(mirror) > 60000);
	make(&want, 1);
	refresh(f);
	assert_true(rest_ms(mirror) < 60000);
	/* also if it is news */
	dump_after_a_rest(f);
	mirror->next_ns =
		mirror->stats.last_sync_ns + FW_REST_MAX_MS * NS_PER_MS;
	mirror->stats.last_duration_ns = 60 * 1000 * NS_PER_MS;
	mirror->stats.last_sync_ns -= 60 * 1000 * NS_PER_MS * DUMP_SHARE;
	on_tick(mirror);
	assert_true(is_dumping(mirror));
}

static bool is_expired(struct fixture *f)
{
	struct rows kernel = { 0 };
	size_t n;

	(void)f;
	assert_int_equal(list_rows(&kernel), 0);
	n = kernel.n;
	rows_free(&kernel);
	return n == 2;
}

static void test_timeouts(void **state)
{
	const struct want want[] = {
		{ .proto = IPPROTO_UDP, .number = 1, .timeout_s = 1 },
		{ .proto = IPPROTO_TCP, .number = 2, .timeout_s = 1 },
		{ .proto = IPPROTO_UDP, .number = 3, .timeout_s = 100 },
		{ .proto = IPPROTO_TCP, .number = 4, .timeout_s = 100 },
	};
	struct fixture *f = *state;
	struct fw_flow flow;

	make(want, 1);
	make_silent(want + 1, 3);
	refresh(f);
	assert_true(is_equal(f));
	assert_true(run_until(f, is_expired));
	refresh(f);
	assert_int_equal(fw_flowtab_count(f->mirror->tab), 2);
	assert_true(is_equal(f));
	assert_false(find_flow(f, &want[1], &flow));
	assert_true(find_flow(f, &want[2], &flow));
}

static void test_aged_without_a_dump(void **state)
{
	const struct want want[] = {
		{ .proto = IPPROTO_UDP, .number = 1, .timeout_s = 100 },
	};
	struct fixture *f = *state;
	struct fw_entry *entry;
	struct fw_tuple tuple = entry_tuple(want);
	struct fw_flow flow;

	make_silent(want, 1);
	refresh(f);
	assert_true(find_flow(f, want, &flow));
	entry = fw_flowtab_find(f->mirror->tab, &tuple, 0);
	entry->expires_ns = fw_now_ns();
	assert_false(find_flow(f, want, &flow));
}

static void test_overrun(void **state)
{
	struct fixture *f = *state;
	struct want want = { .proto = IPPROTO_UDP };
	int fd = fw_ctnl_event_fd(f->mirror->ctnl);
	int tiny = 1;
	uint16_t i;

	assert_true(run_until(f, is_synced));
	assert_int_equal(
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &tiny, sizeof(tiny)), 0);
	f->mirror->next_ns = UINT64_MAX; /* the usual dump is not what helps */
	make_many(1, 500);
	for (i = 1; i < 100; i++) {
		want.number = i;
		assert_int_equal(entry_delete(&want), 0);
	}
	assert_true(run_until(f, is_in_sync_and_equal));
	assert_true(f->mirror->stats.missed[FW_MISSED_EVENTS] > 0);
	assert_true(f->mirror->stats.events[0] < 500);
	assert_int_equal(fw_flowtab_count(f->mirror->tab), 401);

	/* the synchronous way */
	make_many(1000, 500);
	refresh(f);
	assert_true(is_equal(f));
	assert_int_equal(fw_flowtab_count(f->mirror->tab), 901);
}

static void test_events_during_a_dump(void **state)
{
	struct fixture *f = *state;
	struct want want = { .proto = IPPROTO_UDP, .timeout_s = 600 };
	uint16_t i;

	make_many(1, 3000);
	assert_true(run_until(f, is_in_sync_and_equal));
	start_dump(f->mirror, 1);
	assert_non_null(f->mirror->dump_watch);
	/* one turn reads a part; change both what was and what was not read */
	on_dump(f->mirror, EPOLLIN);
	assert_non_null(f->mirror->dump_watch);
	for (i = 1; i < 3000; i += 7) {
		want.number = i;
		assert_int_equal(entry_delete(&want), 0);
	}
	make_many(5000, 200);
	/* the events come before the rest of the dump */
	while (read_events(f->mirror))
		;
	assert_non_null(f->mirror->dump_watch);
	assert_true(run_until(f, is_in_sync_and_equal));
	/* a refresh in the middle of one starts again */
	start_dump(f->mirror, 1);
	on_dump(f->mirror, EPOLLIN);
	refresh(f);
	assert_null(f->mirror->dump_watch);
	assert_true(is_equal(f));
}

/* What is missed soon after a dump is made good at once, unless dumps are in vain. */
static void test_resyncs_begin_at_once(void **state)
{
	struct fixture *f = *state;
	struct fw_mirror *mirror = f->mirror;

	assert_true(run_until(f, is_in_sync_and_equal));
	mirror->begin_ns = fw_now_ns() - 60 * 1000 * NS_PER_MS;
	complete_dump(mirror);
	assert_true(mirror->earliest_ns <=
		    fw_now_ns() + OVERRUN_GAP_MS * NS_PER_MS);
	mirror->next_ns = UINT64_MAX;
	miss(mirror, FW_MISSED_EVENTS);
	resync_if_stale(mirror);
	assert_true(run_until(f, is_in_sync_and_equal));

	/* a dump that went on for a minute, while more was lost, and once more */
	for (unsigned int i = 1; i < 6; i++) {
		mirror->begin_ns = fw_now_ns() - 60 * 1000 * NS_PER_MS;
		fw_mirror_set_stale(mirror);
		complete_dump(mirror);
		assert_int_equal(mirror->vain, i < 3 ? i : 3);
		assert_true(mirror->spared_ns >=
			    fw_now_ns() + mirror->vain * 59 * 1000 * NS_PER_MS);
	}
	/* nothing begins while much comes; when that is over, one does */
	mirror->stats.stale_by = FW_MISSED_EVENTS;
	set_pace(mirror, true);
	mirror->earliest_ns = 0;
	resync_if_stale(mirror);
	assert_false(is_dumping(mirror));
	assert_true(earliest_dump_ns(mirror) == mirror->spared_ns);
	set_pace(mirror, false);
	assert_true(earliest_dump_ns(mirror) <=
		    fw_now_ns() + CALM_MS * NS_PER_MS);
	resync_if_stale(mirror);
	assert_false(is_dumping(mirror));
	assert_true(run_until(f, is_in_sync_and_equal));
	assert_int_equal(mirror->vain, 0);
}

static void test_broken_dump_is_repeated(void **state)
{
	struct fixture *f = *state;

	make(zoo, ARRAY_SIZE(zoo));
	assert_true(run_until(f, is_in_sync_and_equal));
	start_dump(f->mirror, 1);
	stop_watching(f->mirror);
	assert_int_equal(end_dump(f->mirror, -ENOBUFS), -ENOBUFS);
	assert_false(f->mirror->stats.in_sync);
	assert_int_equal(f->mirror->stats.stale_by, FW_MISSED_DUMP);
	assert_int_equal(fw_flowtab_count(f->mirror->tab), ARRAY_SIZE(zoo));
	assert_true(run_until(f, is_in_sync_and_equal));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_shows_what_was_there),
		TEST(test_follows_events),
		TEST(test_dumps_find_silent_entries),
		TEST(test_rests_while_nothing_happens),
		TEST(test_silent_changes_end_the_rest),
		TEST(test_flows_that_run_out_end_the_rest),
		TEST(test_timeouts),
		TEST(test_aged_without_a_dump),
		TEST(test_overrun),
		TEST(test_events_during_a_dump),
		TEST(test_resyncs_begin_at_once),
		TEST(test_broken_dump_is_repeated),
	};

	lab_enter();
	return cmocka_run_group_tests_name("mirror-picture", tests, NULL, NULL);
}
