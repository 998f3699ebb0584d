/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Changes of the kernel's table that are asked for: generations forgotten, entries
 * deleted or freed, all that with the privileges that the daemon keeps.
 */
#include "inside.h"

#include <netinet/in.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cap-ng.h>

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
	assert_int_equal(bpf_map_update_elem(f->mirror->xflows.fds[0], &tuple,
					     &x, BPF_ANY),
			 0);
	assert_int_equal(fw_mirror_forget_gen(f->mirror, 7, 0), 0);
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
	assert_int_equal(
		bpf_map_lookup_elem(f->mirror->xflows.fds[0], &tuple, &x), 0);
	assert_int_equal(x.gen, 0);
	assert_int_equal(fw_mirror_forget_gen(f->mirror, 7, 0), 0);
	assert_int_equal(fw_mirror_forget_gen(f->mirror, 0, 1), -EINVAL);
	assert_int_equal(fw_mirror_forget_gen(f->mirror, 4096, 1), -EINVAL);
	assert_int_equal(fw_mirror_forget_gen(f->mirror, 1, 4096), -EINVAL);
}

/* Flows of generations 6, 7 and 8 by turns; of 7 also one of our own maps. */
static struct fw_tuple make_generations(struct fixture *f)
{
	struct want want = { .proto = IPPROTO_TCP, .timeout_s = 500 };
	struct want own = { .proto = 47, .number = 900 };
	struct fw_xflow x = { .gen = 7, .expires_ns = UINT64_MAX };
	struct fw_tuple tuple = entry_tuple(&own);

	for (uint16_t i = 0; i < 300; i++) {
		want.number = (uint16_t)(i + 1);
		want.is_ipv6 = i % 2;
		want.mark = (6u + i % 3) << FW_MARK_GEN_SHIFT | 5;
		make_silent(&want, 1);
	}
	assert_int_equal(bpf_map_update_elem(f->mirror->xflows.fds[1], &tuple,
					     &x, BPF_ANY),
			 0);
	return tuple;
}

struct tally {
	unsigned int by_gen[16];
};

static int tally_flow(void *data, const struct fw_flow *flow)
{
	struct tally *tally = data;

	if (flow->ct_id)
		assert_int_equal(flow->mark & 0xffff, 5);
	tally->by_gen[flow->mark >> FW_MARK_GEN_SHIFT & 15]++;
	return 0;
}

static void assert_generations(struct fixture *f, unsigned int none,
			       unsigned int six, unsigned int seven,
			       unsigned int eight)
{
	struct tally tally = { 0 };

	refresh(f);
	assert_int_equal(fw_mirror_foreach(f->mirror, tally_flow, &tally), 0);
	assert_int_equal(tally.by_gen[0], none);
	assert_int_equal(tally.by_gen[6], six);
	assert_int_equal(tally.by_gen[7], seven);
	assert_int_equal(tally.by_gen[8], eight);
}

/* What was accepted long ago stays accepted, by one that is still known. */
static void test_heir(void **state)
{
	struct fixture *f = *state;
	struct fw_tuple tuple = make_generations(f);
	struct fw_xflow x;

	assert_generations(f, 0, 100, 101, 100);
	assert_int_equal(fw_mirror_forget_gen(f->mirror, 7, 8), 0);
	assert_generations(f, 0, 100, 0, 201);
	assert_int_equal(
		bpf_map_lookup_elem(f->mirror->xflows.fds[1], &tuple, &x), 0);
	assert_int_equal(x.gen, 8);
}

static void test_end_gen(void **state)
{
	struct fixture *f = *state;
	struct fw_tuple tuple = make_generations(f);
	struct fw_xflow x;

	assert_int_equal(fw_mirror_end_gen(f->mirror, 7), 0);
	assert_generations(f, 0, 100, 0, 100);
	assert_int_equal(
		bpf_map_lookup_elem(f->mirror->xflows.fds[1], &tuple, &x),
		-ENOENT);
	assert_int_equal(fw_mirror_end_gen(f->mirror, 0), -EINVAL);
}

static void test_forget_all(void **state)
{
	struct fixture *f = *state;
	struct fw_tuple tuple = make_generations(f);

	assert_int_equal(bpf_map_delete_elem(f->mirror->xflows.fds[1], &tuple),
			 0);
	assert_int_equal(fw_mirror_forget_all(f->mirror), 0);
	assert_generations(f, 300, 0, 0, 0);
}

/* Marks of two flows that have been moved, and of one that has not; of nobody's. */
static const struct {
	uint32_t before, after;
} moves[] = {
	{ 0x00630000, 0x00000063 }, { 0x00630000, 0x00000063 },
	{ 0x00620074, 0x00000074 }, { 0x00000074, 0x00000074 },
	{ 0x00000000, 0x00000000 },
};

static struct want moving(unsigned int i)
{
	return (struct want){ .proto = IPPROTO_TCP,
			      .number = (uint16_t)(i + 1),
			      .is_ipv6 = i % 2,
			      .timeout_s = 500,
			      .mark = moves[i].before };
}

/* Our bits go to where others' were; what has been moved is as the programs left it. */
static void test_marks_move(void **state)
{
	struct fixture *f = *state;
	struct fw_flow flow;
	struct want want;

	for (unsigned int i = 0; i < ARRAY_SIZE(moves); i++) {
		want = moving(i);
		make_silent(&want, 1);
	}
	refresh(f);
	assert_int_equal(fw_mirror_carry_marks(f->mirror, 16, 0), 0);
	refresh(f);
	for (unsigned int i = 0; i < ARRAY_SIZE(moves); i++) {
		want = moving(i);
		assert_true(find_flow(f, &want, &flow));
		assert_int_equal(fw_mirror_mark(f->mirror, &flow),
				 moves[i].after);
		assert_int_equal(flow.mark >> FW_MARK_TCP_SHIFT,
				 moves[i].after);
	}
	/* and the filter by a generation finds them there */
	assert_int_equal(fw_mirror_forget_gen(f->mirror, 6, 5), 0);
	refresh(f);
	want = moving(0);
	assert_true(find_flow(f, &want, &flow));
	assert_int_equal(fw_mirror_mark(f->mirror, &flow), 0x53);
	want = moving(2);
	assert_true(find_flow(f, &want, &flow));
	assert_int_equal(fw_mirror_mark(f->mirror, &flow), 0x74);
}

/* Others' bits are cleared where ours will be, and nowhere else. */
static void test_marks_are_claimed(void **state)
{
	struct fixture *f = *state;
	struct want want = { .proto = IPPROTO_UDP,
			     .number = 1,
			     .timeout_s = 500,
			     .mark = 0x0061beef };
	struct fw_flow flow;

	make_silent(&want, 1);
	assert_int_equal(fw_mirror_claim_marks(f->mirror, 0), 0);
	refresh(f);
	assert_true(find_flow(f, &want, &flow));
	assert_int_equal(fw_mirror_mark(f->mirror, &flow), 0x00610000);
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

/* What is to be killed: a copy, as the daemon makes one. */
struct picked {
	struct fw_flow flows[64];
	size_t n;
};

static int pick(void *data, const struct fw_flow *flow)
{
	struct picked *picked = data;

	assert_true(picked->n < ARRAY_SIZE(picked->flows));
	picked->flows[picked->n++] = *flow;
	return 0;
}

static void test_kill(void **state)
{
	struct fixture *f = *state;
	struct want echo = { .proto = IPPROTO_ICMP, .number = 900 };
	struct fw_xflow x = { .gen = 7, .expires_ns = UINT64_MAX };
	struct want tunnel = { .proto = IPPROTO_GRE, .number = 901 };
	struct fw_tuple tuple = entry_tuple(&echo);
	struct fw_tuple answered = entry_tuple(&tunnel);
	struct picked picked = { 0 };
	uint64_t killed = 0;

	make_silent(zoo, ARRAY_SIZE(zoo));
	assert_int_equal(bpf_map_update_elem(f->mirror->xflows.fds[0], &tuple,
					     &x, BPF_ANY),
			 0);
	assert_int_equal(bpf_map_update_elem(f->mirror->xflows.fds[1],
					     &answered, &x, BPF_ANY),
			 0);
	refresh(f);
	assert_int_equal(fw_mirror_foreach(f->mirror, pick, &picked), 0);
	assert_int_equal(picked.n, ARRAY_SIZE(zoo) + 2);
	/* one of them ends before we come, and that is fine */
	assert_int_equal(entry_delete(&zoo[0]), 0);
	assert_int_equal(
		fw_mirror_kill(f->mirror, picked.flows, picked.n, &killed), 0);
	assert_int_equal(killed, ARRAY_SIZE(zoo) + 1);
	/* at once, without a dump */
	assert_int_equal(fw_flowtab_count(f->mirror->tab), 0);
	assert_int_equal(read_sysctl("nf_conntrack_count"), 0);
	assert_int_equal(
		bpf_map_lookup_elem(f->mirror->xflows.fds[0], &tuple, &x),
		-ENOENT);
	assert_int_equal(
		bpf_map_lookup_elem(f->mirror->xflows.fds[1], &answered, &x),
		-ENOENT);
	/* again: nothing is there, and nothing is wrong */
	assert_int_equal(
		fw_mirror_kill(f->mirror, picked.flows, picked.n, &killed), 0);
	assert_int_equal(killed, 0);
}

static void test_kill_spares_successors(void **state)
{
	struct fixture *f = *state;
	struct picked picked = { 0 };
	uint64_t killed = 0;

	make_silent(zoo, 1);
	refresh(f);
	assert_int_equal(fw_mirror_foreach(f->mirror, pick, &picked), 0);
	assert_int_equal(picked.n, 1);
	picked.flows[0].ct_id ^= 1;
	assert_int_equal(fw_mirror_kill(f->mirror, picked.flows, 1, &killed),
			 0);
	assert_int_equal(killed, 0);
	refresh(f);
	assert_int_equal(fw_flowtab_count(f->mirror->tab), 1);
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
	if (fw_mirror_forget_gen(f->mirror, 5, 0) < 0)
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
		TEST(test_forget_gen),
		TEST(test_heir),
		TEST(test_end_gen),
		TEST(test_forget_all),
		TEST(test_marks_move),
		TEST(test_marks_are_claimed),
		TEST(test_kill),
		TEST(test_kill_spares_successors),
		TEST(test_delete_one),
		TEST(test_reap),
		TEST(test_with_three_capabilities),
	};

	lab_enter();
	return cmocka_run_group_tests_name("mirror-changes", tests, NULL, NULL);
}
