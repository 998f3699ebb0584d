/* SPDX-License-Identifier: GPL-2.0-only */

/* What the tests of the mirror against the kernel share. */
#include "lab.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <netinet/in.h>

#include "kern/host_abi.h"
#include "user/util.h"

#include "flow_row.h"

#define SKIPPED	    77
#define DEADLINE_NS 15000000000ull

/* ---- the picture ------------------------------------------------------------- */

/* How many times slower than usual the machine is. */
static long slowness(void)
{
	const char *value = getenv("FWCTL_SLOWNESS");
	long n = value ? strtol(value, NULL, 10) : 1;

	return n > 0 ? n : 1;
}

bool is_equal(struct fixture *f)
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

void refresh(struct fixture *f)
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

bool find_flow(struct fixture *f, const struct want *want, struct fw_flow *ret)
{
	ret->orig = entry_tuple(want);
	return fw_mirror_foreach(f->mirror, find, ret) == 1;
}

bool is_listed(const char *word, unsigned int number)
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

/* ---- running the loop ---------------------------------------------------------- */

uint64_t deadline_ns(void)
{
	return DEADLINE_NS * (uint64_t)slowness();
}

static void on_poll(void *data)
{
	struct fixture *f = data;

	f->is_met = f->holds(f);
	if (f->is_met || fw_now_ns() > f->deadline_ns)
		fw_loop_stop(f->loop);
}

bool run_until(struct fixture *f, bool (*holds)(struct fixture *f))
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

/* ---- fixture --------------------------------------------------------------------- */

void lab_enter(void)
{
	if (unshare(CLONE_NEWNET) < 0) {
		(void)fprintf(stderr, "skipped: no right to a namespace: %s\n",
			      strerror(errno));
		exit(SKIPPED);
	}
	if (run("conntrack --version") != 0) {
		(void)fprintf(stderr, "skipped: conntrack(8) is missing\n");
		exit(SKIPPED);
	}
}

int fw_datapath_map(const struct fw_datapath *dp, enum fw_map map)
{
	return dp->map[map];
}

static void on_log(void *data, const struct fw_event *event)
{
	struct fixture *f = data;

	assert_int_equal(event->type, FW_EVENT_LOG);
	f->logs++;
}

static int make_maps(struct fw_datapath *dp)
{
	LIBBPF_OPTS(bpf_map_create_opts, mapped, .map_flags = BPF_F_MMAPABLE);

	dp->map[FW_MAP_EVENTS] = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "events",
						0, 0, 1 << 18, NULL);
	dp->map[FW_MAP_HOST] =
		bpf_map_create(BPF_MAP_TYPE_ARRAY, "host", sizeof(uint32_t),
			       sizeof(struct fw_host), 1, &mapped);
	dp->map[FW_MAP_FLOW_INFO] = bpf_map_create(
		BPF_MAP_TYPE_LRU_HASH, "flow_info", sizeof(struct fw_tuple),
		sizeof(struct fw_flow_info), 4096, NULL);
	dp->map[FW_MAP_XFLOWS] = bpf_map_create(
		BPF_MAP_TYPE_LRU_HASH, "xflows", sizeof(struct fw_tuple),
		sizeof(struct fw_xflow), 4096, NULL);
	dp->map[FW_MAP_XFLOWS_ANSWERED] = bpf_map_create(
		BPF_MAP_TYPE_LRU_HASH, "xflows_answered",
		sizeof(struct fw_tuple), sizeof(struct fw_xflow), 4096, NULL);
	if (dp->map[FW_MAP_EVENTS] < 0 || dp->map[FW_MAP_HOST] < 0 ||
	    dp->map[FW_MAP_FLOW_INFO] < 0 || dp->map[FW_MAP_XFLOWS] < 0 ||
	    dp->map[FW_MAP_XFLOWS_ANSWERED] < 0)
		return -errno;
	return 0;
}

int setup(void **state)
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

int teardown(void **state)
{
	struct fixture *f = *state;

	fw_mirror_free(f->mirror);
	fw_timer_free(f->poll_timer);
	fw_loop_free(f->loop);
	(void)close(f->emitter);
	(void)close(f->dp.map[FW_MAP_EVENTS]);
	(void)close(f->dp.map[FW_MAP_HOST]);
	(void)close(f->dp.map[FW_MAP_FLOW_INFO]);
	(void)close(f->dp.map[FW_MAP_XFLOWS]);
	(void)close(f->dp.map[FW_MAP_XFLOWS_ANSWERED]);
	free(f);
	return 0;
}

/* ---- entries and records --------------------------------------------------------- */

const struct want zoo[ZOO] = {
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

void make(const struct want *want, size_t n)
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

void make_silent(const struct want *want, size_t n)
{
	assert_int_equal(write_sysctl("nf_conntrack_events", "0"), 0);
	make(want, n);
	assert_int_equal(write_sysctl("nf_conntrack_events", "2"), 0);
}

uint32_t own(enum fw_tcp_state state)
{
	return 5u << FW_MARK_GEN_SHIFT | (uint32_t)state << FW_MARK_TCP_SHIFT |
	       0x1234;
}

struct fw_event record_of(const struct want *want, enum fw_event_type type,
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
