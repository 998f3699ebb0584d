/* SPDX-License-Identifier: GPL-2.0-only */

/* What our programs say of flows: records of the ring buffer, and maps. */
#include "inside.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/mman.h>

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
		assert_int_equal(
			bpf_map_update_elem(f->mirror->xflows.fds[i / 2 & 1],
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
			bpf_map_delete_elem(f->mirror->xflows.fds[i / 2 & 1],
					    &tuple),
			0);
	}
	refresh(f);
	assert_int_equal(fw_flowtab_count(f->mirror->tab), 1);
}

static bool is_synced_and_equal(struct fixture *f)
{
	return is_synced(f) && is_equal(f);
}

/* As a program does that finds the ring full. */
static void lose_records(struct fixture *f, uint64_t n)
{
	struct fw_host *host = mmap(NULL, sizeof(*host), PROT_READ | PROT_WRITE,
				    MAP_SHARED, f->dp.map[FW_MAP_HOST], 0);

	assert_true(host != MAP_FAILED);
	host->lost_records += n;
	assert_int_equal(munmap(host, sizeof(*host)), 0);
}

static void test_lost_records(void **state)
{
	const struct want want = { .proto = IPPROTO_UDP,
				   .number = 1,
				   .timeout_s = 100 };
	struct fw_mirror_stats stats;
	struct fixture *f = *state;
	struct fw_event event;

	assert_true(run_until(f, is_synced));
	f->mirror->next_ns = UINT64_MAX; /* the usual dump is not what helps */
	make_silent(&want, 1);
	lose_records(f, 7);
	/* stale for who asks now, though nothing has been read yet */
	fw_mirror_stats(f->mirror, &stats);
	assert_false(stats.in_sync);
	assert_int_equal(stats.stale_by, FW_MISSED_RECORDS);
	/* what the ring had room for wakes it up */
	event = record_of(&want, FW_EVENT_LOG, FW_TCP_NONE);
	assert_int_equal(emit(f->emitter, &event), 0);
	assert_true(run_until(f, is_synced_and_equal));
	fw_mirror_stats(f->mirror, &stats);
	assert_true(stats.in_sync);
	assert_int_equal(stats.flows, 1);
	assert_int_equal(stats.lost_records, 7);
	/* what comes next is not blamed on that */
	assert_int_equal(stats.stale_by, FW_MISSED_MAX);
	assert_int_equal(stats.missed[FW_MISSED_RECORDS], 1);
}

/* Of entries that a dump has passed already: it ends, and is not enough. */
static void test_lost_records_during_a_dump(void **state)
{
	struct fixture *f = *state;
	uint64_t resyncs;

	assert_true(run_until(f, is_synced));
	resyncs = f->mirror->stats.resyncs;
	start_dump(f->mirror, 1);
	lose_records(f, 1);
	while (f->mirror->dump_watch)
		on_dump(f->mirror, EPOLLIN);
	while (f->mirror->is_completing)
		on_sweep(f->mirror);
	assert_int_equal(f->mirror->stats.resyncs, resyncs + 1);
	assert_false(f->mirror->stats.in_sync);
	assert_true(run_until(f, is_synced));
	assert_true(f->mirror->stats.resyncs > resyncs + 1);
}

static bool is_synced_and_empty(struct fixture *f)
{
	return is_synced(f) && !fw_flowtab_count(f->mirror->tab);
}

/* Flows of BPF end in silence: what their records leave behind is tidied up in time. */
static void test_crowd_of_records(void **state)
{
	const struct want want = { .proto = IPPROTO_UDP, .number = 1 };
	struct fixture *f = *state;
	struct fw_event event;
	uint32_t i;

	assert_true(run_until(f, is_synced));
	f->mirror->next_ns = UINT64_MAX; /* the usual dump is not what helps */
	event = record_of(&want, FW_EVENT_FLOW_NEW, FW_TCP_SYN_SENT);
	for (i = 0; !fw_flowtab_is_crowded(f->mirror->tab); i++) {
		assert_true(i < 1000000);
		event.tuple.saddr.w[3] = i;
		assert_int_equal(emit(f->emitter, &event), 0);
		if (i % 1000 == 0)
			(void)read_records(f->mirror);
	}
	assert_true(i > 100000);
	assert_int_equal(emit(f->emitter, &event), 0);
	assert_true(run_until(f, is_synced_and_empty));
	/* and nobody was told that the picture is wrong */
	assert_int_equal(f->mirror->stats.missed[FW_MISSED_MEMORY], 0);
	assert_int_equal(f->mirror->vain, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_records),
		TEST(test_record_cuts_entries_of_fixed_life),
		TEST(test_maps),
		TEST(test_lost_records),
		TEST(test_crowd_of_records),
		TEST(test_lost_records_during_a_dump),
	};

	lab_enter();
	return cmocka_run_group_tests_name("mirror-records", tests, NULL, NULL);
}
