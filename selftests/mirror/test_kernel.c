/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The mirror against the kernel, in a network namespace of its own: what it
 * shows must be what conntrack(8) lists, entry by entry, whatever happened.
 *
 * Entries made while nf_conntrack_events is 0 send no events, like those that
 * BPF inserts; without protocol information their TCP state is NONE, likewise.
 */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <arpa/inet.h>
#include <cap-ng.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <netinet/in.h>

#include <cmocka.h>

#include "user/mirror.c"

#include "helpers.h"

#define SKIPPED	    77
#define DEADLINE_MS 15000

struct fw_datapath {
	int map[FW_MAP_MAX];
};

struct fixture {
	struct fw_datapath dp;
	struct fw_loop *loop;
	struct fw_mirror *mirror;
	struct fw_timer *poll_timer;
	int emitter;
	/* of the loop that runs until something holds */
	bool (*holds)(struct fixture *f);
	uint64_t deadline_ns;
	bool is_met;
	unsigned int logs;
	const struct want *looked_for;
	char difference[1200]; /* where the picture differed last */
};

int fw_datapath_map(const struct fw_datapath *dp, enum fw_map map)
{
	return dp->map[map];
}

/* ---- the picture ------------------------------------------------------------- */

static void put(struct row *row, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void put(struct row *row, const char *format, ...)
{
	size_t len = strlen(row->text);
	va_list args;

	va_start(args, format);
	(void)vsnprintf(row->text + len, sizeof(row->text) - len, format, args);
	va_end(args);
}

static void put_tuple(struct row *row, const struct fw_tuple *t)
{
	char src[INET6_ADDRSTRLEN];
	char dst[INET6_ADDRSTRLEN];

	if (t->family == FW_AF_IPV4) {
		(void)inet_ntop(AF_INET, &t->saddr.w[3], src, sizeof(src));
		(void)inet_ntop(AF_INET, &t->daddr.w[3], dst, sizeof(dst));
	} else {
		(void)inet_ntop(AF_INET6, t->saddr.w, src, sizeof(src));
		(void)inet_ntop(AF_INET6, t->daddr.w, dst, sizeof(dst));
	}
	put(row, " src=%s dst=%s", src, dst);
	switch (t->proto) {
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		put(row, " type=%u code=%u id=%u", t->icmp_type, t->pad,
		    ntohs(t->sport));
		break;
	case IPPROTO_GRE:
		put(row, " srckey=0x%x dstkey=0x%x", ntohs(t->sport),
		    ntohs(t->dport));
		break;
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_SCTP:
		put(row, " sport=%u dport=%u", ntohs(t->sport),
		    ntohs(t->dport));
		break;
	default:
		break;
	}
}

/* In the words of conntrack(8). */
static void put_flow(struct row *row, const struct fw_flow *flow)
{
	static const char *const states[] = {
		"NONE",	    "SYN_SENT",	  "SYN_RECV", "ESTABLISHED",
		"FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT",
		"CLOSE",    "SYN_SENT2",
	};
	const bool is_tcp = flow->orig.proto == IPPROTO_TCP;

	put(row, " %s %u", flow->orig.family == FW_AF_IPV4 ? "ipv4" : "ipv6",
	    flow->orig.proto);
	if (is_tcp && flow->kernel_tcp < ARRAY_SIZE(states))
		put(row, " %s", states[flow->kernel_tcp]);
	if (flow->orig.proto == IPPROTO_SCTP)
		put(row, " NONE"); /* nothing of ours: as it was made */
	put_tuple(row, &flow->orig);
	if (!flow->replied)
		put(row, " [UNREPLIED]");
	put_tuple(row, &flow->reply);
	if (flow->assured)
		put(row, " [ASSURED]");
	put(row, " mark=%u id=%u", flow->mark, flow->ct_id);
}

static int show(void *data, const struct fw_flow *flow)
{
	struct rows *rows = data;
	struct row *row;

	if (!flow->ct_id)
		return 0;
	row = rows_add(rows);
	put_flow(row, flow);
	row->left_s = (long)((flow->expires_ns - fw_now_ns()) / 1000000000);
	return 0;
}

/* How many times slower than usual the machine is. */
static long slowness(void)
{
	const char *value = getenv("FWCTL_SLOWNESS");
	long n = value ? strtol(value, NULL, 10) : 1;

	return n > 0 ? n : 1;
}

static bool is_equal(struct fixture *f)
{
	struct rows kernel = { 0 };
	struct rows ours = { 0 };
	bool ok;

	assert_int_equal(list_rows(&kernel), 0);
	assert_int_equal(fw_mirror_foreach(f->mirror, show, &ours), 0);
	rows_sort(&ours);
	/* Between one look and the other time passes. */
	ok = rows_equal(&ours, &kernel, 2 * slowness(), f->difference,
			sizeof(f->difference));
	rows_free(&ours);
	rows_free(&kernel);
	return ok;
}

static void refresh(struct fixture *f)
{
	struct fw_mirror_stats stats;

	assert_int_equal(fw_mirror_refresh(f->mirror), 0);
	fw_mirror_stats(f->mirror, &stats);
	assert_true(stats.in_sync);
}

static int find(void *data, const struct fw_flow *flow)
{
	struct fw_flow *wanted = data;

	if (memcmp(&flow->orig, &wanted->orig, sizeof(flow->orig)) != 0)
		return 0;
	*wanted = *flow;
	return 1;
}

static bool find_flow(struct fixture *f, const struct want *want,
		      struct fw_flow *ret)
{
	ret->orig = entry_tuple(want);
	return fw_mirror_foreach(f->mirror, find, ret) == 1;
}

/* ---- running the loop ---------------------------------------------------------- */

static uint64_t deadline_ns(void)
{
	return DEADLINE_MS * NS_PER_MS * (uint64_t)slowness();
}

static void on_poll(void *data)
{
	struct fixture *f = data;

	f->is_met = f->holds(f);
	if (f->is_met || fw_now_ns() > f->deadline_ns)
		fw_loop_stop(f->loop);
}

/* Runs the loop until `holds`; it is looked at every few milliseconds. */
static bool run_until(struct fixture *f, bool (*holds)(struct fixture *f))
{
	f->holds = holds;
	f->deadline_ns = fw_now_ns() + deadline_ns();
	f->is_met = false;
	assert_int_equal(fw_timer_arm(f->poll_timer, 20, 20), 0);
	assert_int_equal(fw_loop_run(f->loop), 0);
	assert_int_equal(fw_timer_arm(f->poll_timer, 3600000, 0), 0);
	if (!f->is_met)
		print_error("%s\n", f->difference);
	return f->is_met;
}

static bool is_synced(struct fixture *f)
{
	return f->mirror->stats.in_sync && !f->mirror->dump_watch;
}

static bool is_in_sync_and_equal(struct fixture *f)
{
	return is_synced(f) && is_equal(f);
}

/* ---- fixture --------------------------------------------------------------------- */

static void on_log(void *data, const struct fw_event *event)
{
	struct fixture *f = data;

	assert_int_equal(event->type, FW_EVENT_LOG);
	f->logs++;
}

static int make_maps(struct fw_datapath *dp)
{
	dp->map[FW_MAP_EVENTS] = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "events",
						0, 0, 1 << 18, NULL);
	dp->map[FW_MAP_FLOW_INFO] = bpf_map_create(
		BPF_MAP_TYPE_LRU_HASH, "flow_info", sizeof(struct fw_tuple),
		sizeof(struct fw_flow_info), 4096, NULL);
	dp->map[FW_MAP_XFLOWS] = bpf_map_create(
		BPF_MAP_TYPE_LRU_HASH, "xflows", sizeof(struct fw_tuple),
		sizeof(struct fw_xflow), 4096, NULL);
	if (dp->map[FW_MAP_EVENTS] < 0 || dp->map[FW_MAP_FLOW_INFO] < 0 ||
	    dp->map[FW_MAP_XFLOWS] < 0)
		return -errno;
	return 0;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char *error = NULL;

	assert_non_null(f);
	assert_int_equal(write_sysctl("nf_conntrack_events", "2"), 0);
	assert_int_equal(run("conntrack -F"), 0);
	assert_int_equal(make_maps(&f->dp), 0);
	f->emitter = emitter_new(f->dp.map[FW_MAP_EVENTS]);
	assert_true(f->emitter >= 0);
	f->loop = fw_loop_new();
	assert_non_null(f->loop);
	f->poll_timer = fw_timer_new(f->loop, on_poll, f);
	assert_non_null(f->poll_timer);
	assert_int_equal(
		fw_mirror_new(f->loop, &f->dp, on_log, f, &f->mirror, &error),
		0);
	assert_null(error);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	fw_mirror_free(f->mirror);
	fw_timer_free(f->poll_timer);
	fw_loop_free(f->loop);
	(void)close(f->emitter);
	(void)close(f->dp.map[FW_MAP_EVENTS]);
	(void)close(f->dp.map[FW_MAP_FLOW_INFO]);
	(void)close(f->dp.map[FW_MAP_XFLOWS]);
	free(f);
	return 0;
}

static void make(const struct want *want, size_t n)
{
	size_t i;
	int r;

	for (i = 0; i < n; i++) {
		r = entry_create(&want[i]);
		if (r < 0)
			fail_msg("entry %zu, protocol %u: %s", i, want[i].proto,
				 strerror(-r));
	}
}

/* Like BPF: nothing will ever be told about this entry. */
static void make_silent(const struct want *want, size_t n)
{
	assert_int_equal(write_sysctl("nf_conntrack_events", "0"), 0);
	make(want, n);
	assert_int_equal(write_sysctl("nf_conntrack_events", "2"), 0);
}

static const struct want zoo[] = {
	{ .proto = IPPROTO_TCP, .number = 1, .timeout_s = 100 },
	{ .proto = IPPROTO_TCP,
	  .number = 2,
	  .timeout_s = 432000,
	  .tcp_state = TCP_CONNTRACK_ESTABLISHED,
	  .status = IPS_SEEN_REPLY | IPS_ASSURED,
	  .mark = 0xdeadbeef },
	{ .proto = IPPROTO_TCP,
	  .number = 3,
	  .is_ipv6 = true,
	  .timeout_s = 60,
	  .tcp_state = TCP_CONNTRACK_CLOSE_WAIT },
	{ .proto = IPPROTO_UDP, .number = 4, .timeout_s = 30, .is_nat = true },
	{ .proto = IPPROTO_UDP, .number = 5, .is_ipv6 = true, .timeout_s = 30 },
	{ .proto = IPPROTO_ICMP, .number = 6, .timeout_s = 30 },
	{ .proto = IPPROTO_ICMPV6,
	  .number = 7,
	  .is_ipv6 = true,
	  .timeout_s = 30 },
	{ .proto = IPPROTO_GRE, .number = 8, .timeout_s = 30 },
	{ .proto = IPPROTO_UDPLITE, .number = 9, .timeout_s = 30 },
	{ .proto = IPPROTO_SCTP, .number = 12, .timeout_s = 30 },
	{ .proto = 99, .number = 10, .timeout_s = 600, .mark = 1 },
	{ .proto = IPPROTO_ESP,
	  .number = 11,
	  .is_ipv6 = true,
	  .timeout_s = 600 },
};

/* ---- tests ------------------------------------------------------------------------- */

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

static void make_many(unsigned int first, unsigned int n)
{
	struct want want = { .proto = IPPROTO_UDP, .timeout_s = 600 };
	unsigned int i;

	for (i = first; i < first + n; i++) {
		want.number = (uint16_t)i;
		make(&want, 1);
	}
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
	assert_true(f->mirror->stats.overruns > 0);
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

static void test_broken_dump_is_repeated(void **state)
{
	struct fixture *f = *state;

	make(zoo, ARRAY_SIZE(zoo));
	assert_true(run_until(f, is_in_sync_and_equal));
	start_dump(f->mirror, 1);
	stop_watching(f->mirror);
	assert_int_equal(end_dump(f->mirror, -ENOBUFS), -ENOBUFS);
	assert_false(f->mirror->stats.in_sync);
	assert_int_equal(fw_flowtab_count(f->mirror->tab), ARRAY_SIZE(zoo));
	assert_true(run_until(f, is_in_sync_and_equal));
}

/* ---- writing states back --------------------------------------------------------------- */

static uint32_t own(enum fw_tcp_state state)
{
	return 5u << FW_MARK_GEN_SHIFT | (uint32_t)state << FW_MARK_TCP_SHIFT |
	       0x1234;
}

static bool is_listed(const char *word, unsigned int number)
{
	struct rows rows = { 0 };
	char src[64];
	bool ok = false;
	size_t i;

	(void)snprintf(src, sizeof(src), " src=10.1.0.%u ", number);
	assert_int_equal(list_rows(&rows), 0);
	for (i = 0; i < rows.n && !ok; i++)
		ok = strstr(rows.row[i].text, src) &&
		     strstr(rows.row[i].text, word);
	rows_free(&rows);
	return ok;
}

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

static struct fw_event record_of(const struct want *want,
				 enum fw_event_type type,
				 enum fw_tcp_state tcp_state)
{
	return (struct fw_event){
		.time_ns = fw_now_ns(),
		.tuple = entry_tuple(want),
		.type = type,
		.ifindex = 3,
		.slot = 11,
		.gen = 5,
		.dir = FW_DIR_IN,
		.tcp_state = (uint8_t)tcp_state,
	};
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

/* ---- records and maps -------------------------------------------------------------------- */

static bool has_logged(struct fixture *f)
{
	return f->logs == 1;
}

static bool is_shown(struct fixture *f)
{
	struct fw_flow flow;

	return find_flow(f, f->looked_for, &flow);
}

static void test_records(void **state)
{
	const struct want want = { .proto = IPPROTO_UDP, .number = 1 };
	struct fixture *f = *state;
	struct fw_event event;

	assert_true(run_until(f, is_synced));
	event = record_of(&want, FW_EVENT_FLOW_NEW, FW_TCP_SYN_SENT);
	assert_int_equal(emit(f->emitter, &event), 0);
	f->looked_for = &want;
	assert_true(run_until(f, is_shown));
	/* there is no such entry: the record was all there was of it */
	refresh(f);
	assert_false(is_shown(f));
	event.type = FW_EVENT_LOG;
	assert_int_equal(emit(f->emitter, &event), 0);
	assert_true(run_until(f, has_logged));
	event.type = 200;
	assert_int_equal(emit(f->emitter, &event), 0);
	refresh(f);
	assert_int_equal(f->mirror->stats.records[FW_EVENT_FLOW_NEW], 1);
	assert_int_equal(f->mirror->stats.records[FW_EVENT_LOG], 1);
}

static void test_record_cuts_entries_of_fixed_life(void **state)
{
	const struct want want[] = {
		{ .proto = IPPROTO_UDP,
		  .number = 1,
		  .timeout_s = 100,
		  .status = IPS_FIXED_TIMEOUT },
		{ .proto = IPPROTO_UDP, .number = 2, .timeout_s = 100 },
	};
	struct fixture *f = *state;
	struct fw_event event;

	make(want, 2);
	refresh(f);
	event = record_of(&want[0], FW_EVENT_FLOW_END, FW_TCP_NONE);
	assert_int_equal(emit(f->emitter, &event), 0);
	refresh(f);
	assert_int_equal(fw_flowtab_count(f->mirror->tab), 1);
	assert_true(is_equal(f));
	assert_true(is_listed(" 17 ", 2));
}

static void test_maps(void **state)
{
	const struct want udp = { .proto = IPPROTO_UDP,
				  .number = 1,
				  .timeout_s = 100,
				  .mark = own(FW_TCP_NONE) };
	const struct want ping = { .proto = IPPROTO_ICMP, .number = 2 };
	struct fw_flow_info info = { .opened_ns = 1234,
				     .slot = 8,
				     .ifindex = 4,
				     .gen = 5,
				     .dir = FW_DIR_OUT };
	struct fw_xflow x = { .opened_ns = 99,
			      .slot = 9,
			      .ifindex = 5,
			      .gen = 5,
			      .dir = FW_DIR_IN };
	struct fixture *f = *state;
	struct fw_tuple tuple;
	struct fw_flow flow;
	uint16_t i;

	make_silent(&udp, 1);
	tuple = entry_tuple(&udp);
	assert_int_equal(bpf_map_update_elem(f->mirror->flow_info_fd, &tuple,
					     &info, BPF_ANY),
			 0);
	tuple = entry_tuple(&ping);
	for (i = 0; i < 3000; i++) {
		tuple.sport = htons((uint16_t)(2 + i));
		x.expires_ns = fw_now_ns() + (i & 1 ? 0 : 60000000000ull);
		assert_int_equal(bpf_map_update_elem(f->mirror->xflows_fd,
						     &tuple, &x, BPF_ANY),
				 0);
	}
	refresh(f);
	assert_int_equal(fw_flowtab_count(f->mirror->tab), 1501);
	assert_true(find_flow(f, &udp, &flow));
	assert_int_equal(flow.slot, 8);
	assert_int_equal(flow.opened_ns, 1234);
	assert_int_equal(flow.ifindex, 4);
	assert_int_equal(flow.dir, FW_DIR_OUT);
	assert_true(find_flow(f, &ping, &flow));
	assert_int_equal(flow.slot, 9);
	assert_int_equal(flow.ct_id, 0);
	assert_int_equal(flow.reply.icmp_type, 0);
	/* they are gone as soon as they are gone */
	for (i = 0; i < 3000; i++) {
		tuple.sport = htons((uint16_t)(2 + i));
		assert_int_equal(
			bpf_map_delete_elem(f->mirror->xflows_fd, &tuple), 0);
	}
	refresh(f);
	assert_int_equal(fw_flowtab_count(f->mirror->tab), 1);
}

/* ---- changes ------------------------------------------------------------------------------- */

static void test_forget_gen(void **state)
{
	struct fixture *f = *state;
	struct want want = { .proto = IPPROTO_TCP, .timeout_s = 500 };
	struct want zoned = { .proto = IPPROTO_UDP, .number = 900 };
	struct fw_xflow x = { .gen = 7, .expires_ns = UINT64_MAX };
	struct fw_tuple tuple = entry_tuple(&zoned);
	struct fw_flow flow;
	uint16_t i;

	for (i = 1; i <= 600; i++) {
		want.number = i;
		want.is_ipv6 = i % 3 == 0;
		want.mark = (6u + (i & 1)) << FW_MARK_GEN_SHIFT |
			    FW_TCP_SYN_RECV << FW_MARK_TCP_SHIFT | i;
		make_silent(&want, 1);
	}
	for (i = 0; i < ARRAY_SIZE(zoo); i++) {
		struct want other = zoo[i];

		other.number = (uint16_t)(700 + i);
		other.mark = 7u << FW_MARK_GEN_SHIFT | 3;
		make_silent(&other, 1);
	}
	assert_int_equal(
		bpf_map_update_elem(f->mirror->xflows_fd, &tuple, &x, BPF_ANY),
		0);
	assert_int_equal(fw_mirror_forget_gen(f->mirror, 7), 0);
	refresh(f);
	assert_true(is_equal(f));
	for (i = 1; i <= 600; i++) {
		want.number = i;
		want.is_ipv6 = i % 3 == 0;
		assert_true(find_flow(f, &want, &flow));
		assert_int_equal(flow.mark >> FW_MARK_GEN_SHIFT, i & 1 ? 0 : 6);
		assert_int_equal(flow.mark & ~FW_MARK_GEN_MASK,
				 FW_TCP_SYN_RECV << FW_MARK_TCP_SHIFT | i);
	}
	for (i = 0; i < ARRAY_SIZE(zoo); i++) {
		want = zoo[i];
		want.number = (uint16_t)(700 + i);
		assert_true(find_flow(f, &want, &flow));
		assert_int_equal(flow.mark, 3);
	}
	assert_int_equal(bpf_map_lookup_elem(f->mirror->xflows_fd, &tuple, &x),
			 0);
	assert_int_equal(x.gen, 0);
	assert_int_equal(fw_mirror_forget_gen(f->mirror, 7), 0);
	assert_int_equal(fw_mirror_forget_gen(f->mirror, 0), -EINVAL);
	assert_int_equal(fw_mirror_forget_gen(f->mirror, 4096), -EINVAL);
}

static void test_delete_one(void **state)
{
	struct fixture *f = *state;
	struct fw_ctnl *ctnl = f->mirror->ctnl;
	struct fw_tuple tuple;
	struct fw_flow flow;
	size_t i;

	make_silent(zoo, ARRAY_SIZE(zoo));
	refresh(f);
	for (i = 0; i < ARRAY_SIZE(zoo); i++) {
		tuple = entry_tuple(&zoo[i]);
		assert_true(find_flow(f, &zoo[i], &flow));
		/* not this one, but one that was there before */
		assert_int_equal(fw_ctnl_delete(ctnl, &tuple, flow.ct_id ^ 1),
				 -ENOENT);
		assert_int_equal(
			fw_ctnl_delete(ctnl, &tuple, i & 1 ? flow.ct_id : 0),
			0);
		assert_int_equal(fw_ctnl_delete(ctnl, &tuple, 0), -ENOENT);
		refresh(f);
		assert_int_equal(fw_flowtab_count(f->mirror->tab),
				 ARRAY_SIZE(zoo) - i - 1);
		assert_true(is_equal(f));
	}
}

static bool is_second_over(struct fixture *f)
{
	return fw_now_ns() > f->deadline_ns - deadline_ns() + 2500 * NS_PER_MS;
}

static void test_reap(void **state)
{
	struct fixture *f = *state;
	struct want want = { .proto = IPPROTO_UDP, .timeout_s = 1 };
	uint16_t i;

	assert_true(run_until(f, is_synced));
	for (i = 1; i <= 200; i++) {
		want.number = i;
		make_silent(&want, 1);
	}
	want.number = 300;
	want.timeout_s = 100;
	make_silent(&want, 1);
	assert_true(run_until(f, is_second_over));
	assert_int_equal(fw_ctnl_reap(f->mirror->ctnl), 0);
	assert_int_equal(read_sysctl("nf_conntrack_count"), 1);
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

/* What is left of the daemon's privileges after its start. */
static int drop_privileges(void)
{
	capng_clear(CAPNG_SELECT_BOTH);
	if (capng_updatev(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED,
			  CAP_NET_ADMIN, CAP_BPF, CAP_PERFMON, -1) < 0)
		return -EPERM;
	return capng_apply(CAPNG_SELECT_BOTH) < 0 ? -EPERM : 0;
}

static int work_unprivileged(struct fixture *f)
{
	struct fw_mirror_stats stats;
	struct fw_flow flow;

	if (drop_privileges() < 0)
		return 1;
	if (fw_mirror_refresh(f->mirror) < 0)
		return 2;
	fw_mirror_stats(f->mirror, &stats);
	if (!stats.in_sync || stats.state_writes != 1)
		return 3;
	if (!find_flow(f, &zoo[3], &flow))
		return 4;
	if (fw_mirror_forget_gen(f->mirror, 5) < 0)
		return 5;
	if (fw_ctnl_dump_abort(f->mirror->ctnl) < 0)
		return 6;
	return fw_mirror_refresh(f->mirror) < 0 ? 7 : 0;
}

static void test_with_three_capabilities(void **state)
{
	const struct want want = { .proto = IPPROTO_TCP,
				   .number = 100,
				   .timeout_s = 500,
				   .mark = own(FW_TCP_ESTABLISHED) };
	struct fixture *f = *state;
	int status;
	pid_t pid;

	make_silent(&want, 1);
	make_silent(zoo, ARRAY_SIZE(zoo));
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(work_unprivileged(f));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
		T(test_shows_what_was_there),
		T(test_follows_events),
		T(test_dumps_find_silent_entries),
		T(test_timeouts),
		T(test_aged_without_a_dump),
		T(test_overrun),
		T(test_events_during_a_dump),
		T(test_broken_dump_is_repeated),
		T(test_states_are_written_back),
		T(test_states_of_the_kernel_stay),
		T(test_record_writes_state_at_once),
		T(test_state_of_an_entry_that_is_gone),
		T(test_many_states_at_once),
		T(test_records),
		T(test_record_cuts_entries_of_fixed_life),
		T(test_maps),
		T(test_forget_gen),
		T(test_delete_one),
		T(test_reap),
		T(test_wrong_bits_of_answers),
		T(test_with_three_capabilities),
#undef T
	};

	if (unshare(CLONE_NEWNET) < 0) {
		(void)fprintf(stderr, "skipped: no right to a namespace: %s\n",
			      strerror(errno));
		return SKIPPED;
	}
	if (run("conntrack --version") != 0) {
		(void)fprintf(stderr, "skipped: conntrack(8) is missing\n");
		return SKIPPED;
	}
	return cmocka_run_group_tests_name("mirror-kernel", tests, NULL, NULL);
}
