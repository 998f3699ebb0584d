/* SPDX-License-Identifier: GPL-2.0-only */

/* TCP states that our programs know are written back to the kernel's table. */
#include "inside.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include <linux/netfilter/nf_conntrack_tcp.h>

static void test_states_are_written_back(void **state)
{
	static const char *const words[] = { "NONE",	  "NONE",
					     "NONE",	  "ESTABLISHED",
					     "FIN_WAIT",  "FIN_WAIT",
					     "TIME_WAIT", "CLOSE" };
	struct fixture *f = *state;
	struct rows before = { 0 };
	struct rows after = { 0 };
	struct want want;
	char word[32];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(words); i++) {
		want = (struct want){ .proto = IPPROTO_TCP,
				      .number = (uint16_t)(i + 1),
				      .timeout_s = 1000,
				      .mark = own((enum fw_tcp_state)i),
				      .status = IPS_SEEN_REPLY | IPS_ASSURED };
		make_silent(&want, 1);
	}
	assert_int_equal(list_rows(&before), 0);
	refresh(f);
	assert_int_equal(f->mirror->stats.state_writes, 5);
	assert_int_equal(list_rows(&after), 0);
	assert_int_equal(before.n, after.n);
	for (i = 0; i < ARRAY_SIZE(words); i++) {
		char text[64];

		(void)snprintf(word, sizeof(word), " %s ", words[i]);
		assert_true(is_listed(word, i + 1));
		assert_true(is_listed(" [ASSURED] ", i + 1));
		(void)snprintf(text, sizeof(text), " mark=%u ",
			       own((enum fw_tcp_state)i));
		assert_true(is_listed(text, i + 1));
		assert_true(labs(before.row[i].left_s - after.row[i].left_s) <=
			    1);
	}
	refresh(f);
	assert_true(is_equal(f));
	/* done once, not again and again */
	assert_int_equal(f->mirror->stats.state_writes, 5);
	/* and in both directions the window is not checked */
	for (i = FW_TCP_ESTABLISHED; i < ARRAY_SIZE(words); i++) {
		struct fw_tuple tuple;

		want.number = (uint16_t)(i + 1);
		tuple = entry_tuple(&want);
		assert_true(fw_flowtab_find(f->mirror->tab, &tuple, 0)->flags &
			    FW_ENTRY_OURS);
	}
	rows_free(&before);
	rows_free(&after);
}

static void test_states_of_the_kernel_stay(void **state)
{
	const struct want want[] = {
		{ .proto = IPPROTO_TCP,
		  .number = 1,
		  .timeout_s = 100,
		  .tcp_state = TCP_CONNTRACK_SYN_RECV,
		  .mark = own(FW_TCP_ESTABLISHED) },
		{ .proto = IPPROTO_TCP, .number = 2, .timeout_s = 100 },
	};
	struct fixture *f = *state;

	make_silent(want, 2);
	refresh(f);
	assert_int_equal(f->mirror->stats.state_writes, 0);
	assert_true(is_listed(" SYN_RECV ", 1));
	assert_true(is_listed(" NONE ", 2));
}

static bool is_established(struct fixture *f)
{
	(void)f;
	return is_listed(" ESTABLISHED ", 1);
}

static bool is_closed(struct fixture *f)
{
	(void)f;
	return is_listed(" TIME_WAIT ", 1);
}

static void test_record_writes_state_at_once(void **state)
{
	const struct want want = { .proto = IPPROTO_TCP,
				   .number = 1,
				   .timeout_s = 500,
				   .mark = own(FW_TCP_ESTABLISHED) };
	struct fixture *f = *state;
	struct fw_event event;
	struct fw_flow flow;
	uint64_t resyncs;

	assert_true(run_until(f, is_synced));
	resyncs = f->mirror->stats.resyncs;
	make_silent(&want, 1);
	event = record_of(&want, FW_EVENT_FLOW_NEW, FW_TCP_SYN_SENT);
	assert_int_equal(emit(f->emitter, &event), 0);
	event = record_of(&want, FW_EVENT_FLOW_STATE, FW_TCP_ESTABLISHED);
	assert_int_equal(emit(f->emitter, &event), 0);
	assert_true(run_until(f, is_established));
	assert_int_equal(f->mirror->stats.state_writes, 1);
	assert_true(find_flow(f, &want, &flow));
	assert_int_equal(flow.slot, 11);
	assert_int_equal(flow.tcp_state, FW_TCP_ESTABLISHED);
	event = record_of(&want, FW_EVENT_FLOW_STATE, FW_TCP_TIME_WAIT);
	assert_int_equal(emit(f->emitter, &event), 0);
	assert_true(run_until(f, is_closed));
	assert_int_equal(f->mirror->stats.resyncs, resyncs);
}

static void test_state_of_an_entry_that_is_gone(void **state)
{
	const struct want want = { .proto = IPPROTO_TCP, .number = 1 };
	struct fixture *f = *state;
	struct fw_event event;

	event = record_of(&want, FW_EVENT_FLOW_STATE, FW_TCP_ESTABLISHED);
	assert_int_equal(emit(f->emitter, &event), 0);
	refresh(f);
	assert_int_equal(f->mirror->stats.state_writes, 0);
	assert_int_equal(fw_flowtab_count(f->mirror->tab), 0);
	assert_true(f->mirror->stats.in_sync);
}

static void test_many_states_at_once(void **state)
{
	struct fixture *f = *state;
	struct want want = { .proto = IPPROTO_TCP,
			     .timeout_s = 500,
			     .mark = own(FW_TCP_ESTABLISHED) };
	uint16_t i;

	for (i = 1; i <= 1000; i++) {
		want.number = i;
		want.is_ipv6 = i & 1;
		make_silent(&want, 1);
	}
	refresh(f);
	assert_int_equal(f->mirror->stats.state_writes, 1000);
	refresh(f);
	assert_int_equal(f->mirror->stats.state_writes, 1000);
	assert_true(is_equal(f));
	assert_true(is_listed(" ESTABLISHED ", 2));
}

static void test_wrong_bits_of_answers(void **state)
{
	struct fixture *f = *state;
	struct fw_tuple tuple = entry_tuple(&zoo[0]);
	uint64_t done = 0;
	int r;

	/* a state that no kernel knows is refused, and told */
	make_silent(zoo, 1);
	assert_int_equal(fw_ctnl_queue_tcp_state(f->mirror->ctnl, &tuple, 200),
			 0);
	r = fw_ctnl_flush(f->mirror->ctnl, &done);
	assert_true(r == -EINVAL || r == -ERANGE);
	assert_int_equal(done, 0);
	assert_int_equal(fw_ctnl_flush(f->mirror->ctnl, &done), 0);
	/* the next one is not disturbed by it */
	assert_int_equal(fw_ctnl_queue_tcp_state(f->mirror->ctnl, &tuple, 3),
			 0);
	assert_int_equal(fw_ctnl_flush(f->mirror->ctnl, &done), 0);
	assert_int_equal(done, 1);
	assert_true(is_listed(" ESTABLISHED ", 1));
}

/* ---- a table that fills up ------------------------------------------------------- */

/* Seconds that the IPv4 entry of a number has left, as conntrack(8) says. */
static long left_of(unsigned int number)
{
	struct rows rows = { 0 };
	char port[32];
	long left = -1;

	(void)snprintf(port, sizeof(port), " sport=%u ", 1024 + number);
	assert_int_equal(list_rows(&rows), 0);
	for (size_t i = 0; i < rows.n; i++) {
		if (strstr(rows.row[i].text, port))
			left = rows.row[i].left_s;
	}
	rows_free(&rows);
	return left;
}

static bool is_restored(struct fixture *f)
{
	(void)f;
	return left_of(2) > 3000;
}

static bool is_short_again(struct fixture *f)
{
	(void)f;
	return left_of(2) <= 300;
}

/* Unanswered flows live 20 s from now on; what moves on, as these rules say. */
static void tighten(struct fixture *f)
{
	struct fw_timeouts timeouts = { 0 };

	timeouts.seconds[FW_TCP_ESTABLISHED] = 4000;
	timeouts.seconds[FW_TCP_TIME_WAIT] = 300;
	timeouts.seconds[FW_TCP_CLOSE] = 100;
	timeouts.seconds[FW_TCP_REFUSED] = 100;
	timeouts.seconds[FW_TCP_REOPEN] = 100;
	timeouts.seconds[FW_LIFE_UDP_STREAM] = 200;
	fw_mirror_set_timeouts(f->mirror, &timeouts);
	fw_mirror_tighten(f->mirror, 20);
}

/* Entries 1 and 2 of TCP, 3 of UDP, all half open, are shortened. */
static const struct want half_open[] = {
	{ .proto = IPPROTO_TCP,
	  .number = 1,
	  .timeout_s = 1000,
	  .mark = 1u << FW_MARK_GEN_SHIFT | FW_TCP_SYN_SENT
						    << FW_MARK_TCP_SHIFT },
	{ .proto = IPPROTO_TCP,
	  .number = 2,
	  .timeout_s = 1000,
	  .mark = 1u << FW_MARK_GEN_SHIFT | FW_TCP_SYN_RECV
						    << FW_MARK_TCP_SHIFT },
	{ .proto = IPPROTO_UDP,
	  .number = 3,
	  .timeout_s = 1000,
	  .mark = 1u << FW_MARK_GEN_SHIFT | FW_TCP_SYN_SENT
						    << FW_MARK_TCP_SHIFT },
};

static void shorten(struct fixture *f)
{
	make_silent(half_open, ARRAY_SIZE(half_open));
	refresh(f);
	tighten(f);
	assert_true(run_until(f, is_synced));
	assert_int_equal(f->mirror->lives.shortened, ARRAY_SIZE(half_open));
	for (unsigned int i = 1; i <= ARRAY_SIZE(half_open); i++)
		assert_true(left_of(i) <= 20);
}

/* A program says that the flow has moved on. */
static void tell(struct fixture *f, const struct want *want,
		 enum fw_tcp_state state)
{
	struct fw_event event = record_of(want, FW_EVENT_FLOW_STATE, state);
	uint64_t told = f->mirror->stats.records[FW_EVENT_FLOW_STATE];

	assert_int_equal(emit(f->emitter, &event), 0);
	(void)read_records(f->mirror);
	assert_int_equal(f->mirror->stats.records[FW_EVENT_FLOW_STATE],
			 told + 1);
}

/* The program's own write of mark and life; its record is lost. */
static void move_silently(const struct want *want, enum fw_tcp_state state,
			  uint32_t timeout_s)
{
	struct want now = *want;

	now.mark = own(state);
	now.timeout_s = timeout_s;
	assert_int_equal(entry_update(&now), 0);
}

static void test_unanswered_lives_are_shortened(void **state)
{
	const struct want want[] = {
		{ .proto = IPPROTO_TCP, .mark = own(FW_TCP_SYN_SENT) },
		{ .proto = IPPROTO_TCP, .mark = own(FW_TCP_SYN_RECV) },
		{ .proto = IPPROTO_UDP, .mark = own(FW_TCP_SYN_SENT) },
		{ .proto = IPPROTO_TCP, .mark = own(FW_TCP_ESTABLISHED) },
		{ .proto = IPPROTO_UDP, .mark = own(FW_TCP_ESTABLISHED) },
		{ .proto = IPPROTO_TCP, .mark = own(FW_TCP_FIN_ORIG) },
		{ .proto = IPPROTO_TCP, .mark = own(FW_TCP_NONE) },
		{ .proto = IPPROTO_TCP, .mark = 0 }, /* nobody's */
	};
	struct fixture *f = *state;
	struct fw_event event;
	struct want one;

	for (uint16_t i = 0; i < ARRAY_SIZE(want); i++) {
		one = want[i];
		one.number = (uint16_t)(i + 1);
		one.timeout_s = 1000;
		make_silent(&one, 1);
	}
	refresh(f);
	assert_true(left_of(1) > 900);
	tighten(f);
	assert_true(run_until(f, is_synced));
	for (uint16_t i = 1; i <= ARRAY_SIZE(want); i++)
		assert_true(i <= 3 ? left_of(i) <= 20 : left_of(i) > 900);
	assert_int_equal(f->mirror->lives.shortened, 3);
	refresh(f);
	assert_int_equal(f->mirror->lives.shortened, 3);

	/* the handshake was over when that was written: it lives on */
	one = want[1];
	one.number = 2;
	event = record_of(&one, FW_EVENT_FLOW_STATE, FW_TCP_ESTABLISHED);
	assert_int_equal(emit(f->emitter, &event), 0);
	assert_true(run_until(f, is_restored));
	assert_true(left_of(1) <= 20);
}

static void test_news_of_a_dump_are_not_shortened(void **state)
{
	const struct want want = { .proto = IPPROTO_TCP,
				   .number = 1,
				   .timeout_s = 1000,
				   .mark = own(FW_TCP_SYN_RECV) };
	struct fixture *f = *state;
	struct fw_event event;

	assert_true(run_until(f, is_synced));
	make_silent(&want, 1);
	/* told while the dump runs, so that what it shows may be older */
	tighten(f);
	event = record_of(&want, FW_EVENT_FLOW_STATE, FW_TCP_ESTABLISHED);
	merge_record(f->mirror, &event);
	assert_true(run_until(f, is_synced));
	assert_int_equal(f->mirror->lives.shortened, 0);
	assert_true(left_of(1) > 900);
}

/* A RST never makes a life longer, so an attacker's does not fill the table. */
static void test_reset_gives_no_life_back(void **state)
{
	struct fixture *f = *state;

	shorten(f);
	tell(f, &half_open[0], FW_TCP_REFUSED);
	tell(f, &half_open[1], FW_TCP_REOPEN);
	assert_true(left_of(1) <= 20);
	assert_true(left_of(2) <= 20);
	refresh(f);
	assert_true(left_of(1) <= 20);
	assert_true(left_of(2) <= 20);
}

/* What was given back crosses what the program writes when the flow ends. */
static void test_life_follows_each_state(void **state)
{
	static const enum fw_tcp_state ends[] = { FW_TCP_TIME_WAIT,
						  FW_TCP_CLOSE };
	struct fixture *f = *state;

	shorten(f);
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		tell(f, &half_open[1], FW_TCP_ESTABLISHED);
		assert_true(is_restored(f));
		tell(f, &half_open[1], ends[i]);
		assert_true(is_short_again(f));
	}
	tell(f, &half_open[2], FW_TCP_ESTABLISHED);
	assert_true(left_of(3) > 150 && left_of(3) <= 200);
}

/* A record that is lost is made good by the next dump. */
static void test_dump_gives_life_back(void **state)
{
	struct fixture *f = *state;

	shorten(f);
	move_silently(&half_open[0], FW_TCP_REFUSED, 20);
	move_silently(&half_open[1], FW_TCP_ESTABLISHED, 20);
	refresh(f);
	assert_true(left_of(1) <= 20);
	assert_true(is_restored(f));
	move_silently(&half_open[1], FW_TCP_TIME_WAIT, 4000);
	refresh(f);
	assert_true(is_short_again(f));
	/* after one that found nothing wrong it is left alone */
	refresh(f);
	move_silently(&half_open[1], FW_TCP_TIME_WAIT, 20);
	refresh(f);
	assert_true(left_of(2) <= 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_states_are_written_back),
		TEST(test_states_of_the_kernel_stay),
		TEST(test_record_writes_state_at_once),
		TEST(test_state_of_an_entry_that_is_gone),
		TEST(test_many_states_at_once),
		TEST(test_wrong_bits_of_answers),
		TEST(test_unanswered_lives_are_shortened),
		TEST(test_news_of_a_dump_are_not_shortened),
		TEST(test_reset_gives_no_life_back),
		TEST(test_life_follows_each_state),
		TEST(test_dump_gives_life_back),
	};

	lab_enter();
	return cmocka_run_group_tests_name("mirror-states", tests, NULL, NULL);
}
