/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Counters: each CPU has its own, user space sees them all together, and a CPU
 * that there are none for judges as any other.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "harness.h"
#include "selftests/datapath/udp_frame.h"
#include "user/skel.h"
#include "user/util.h"

#define RULES                                                    \
	"interface wan = if0\n"                                  \
	"drop stateless in on wan proto udp to port 9 label a\n" \
	"drop stateless out on wan proto udp to port 9 label b\n"

/* What a rule drops on its way in and on its way out. */
static const struct udp_frame frame = UDP_FRAME(0xc6336401, 0xc6336402);

/* ---- CPUs ----------------------------------------------------------------- */

/* Those that we may run on, in ascending order. */
static size_t usable_cpus(uint32_t ret[CPU_SETSIZE])
{
	cpu_set_t set;
	size_t n = 0;

	assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
	for (uint32_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (CPU_ISSET(cpu, &set))
			ret[n++] = cpu;
	}
	return n;
}

static void run_on(uint32_t cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	assert_int_equal(sched_setaffinity(0, sizeof(set), &set), 0);
}

static void run_on_all(const uint32_t *cpus, size_t n)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	for (size_t i = 0; i < n; i++)
		CPU_SET(cpus[i], &set);
	assert_int_equal(sched_setaffinity(0, sizeof(set), &set), 0);
}

/* ---- the memory ------------------------------------------------------------ */

#define WIDTH 3 /* words of a counter */

static int new_map(uint32_t entries, uint32_t flags)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = flags);
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "counters", 4,
				WIDTH * sizeof(__u64), entries, &opts);

	assert_true(fd >= 0);
	return fd;
}

/* Counter `index` of CPU `cpu`, by the kernel. */
static void put(int fd, uint32_t n, uint32_t cpu, uint32_t index, __u64 value)
{
	const __u64 words[WIDTH] = { value, 10 * value, 100 * value };
	uint32_t key = cpu * n + index;

	assert_int_equal(bpf_map_update_elem(fd, &key, words, BPF_ANY), 0);
}

static __u64 get(int fd, uint32_t n, uint32_t cpu, uint32_t index)
{
	uint32_t key = cpu * n + index;
	__u64 words[WIDTH];

	assert_int_equal(bpf_map_lookup_elem(fd, &key, words), 0);
	assert_int_equal(words[1], 10 * words[0]);
	assert_int_equal(words[2], 100 * words[0]);
	return words[0];
}

static __u64 sum(const struct fw_counters *counters, uint32_t index)
{
	__u64 words[WIDTH] = { 1, 1, 1 };

	fw_counters_add(counters, index, words);
	assert_int_equal(words[1] - 1, 10 * (words[0] - 1));
	assert_int_equal(words[2] - 1, 100 * (words[0] - 1));
	return words[0] - 1;
}

static void counters_of_all_cpus_are_one(void **state)
{
	enum { N = 1000, CPUS = 5 };
	_cleanup_close_ int fd = new_map(N * CPUS, BPF_F_MMAPABLE);
	struct fw_counters counters;

	(void)state;
	assert_int_equal(fw_counters_map(fd, CPUS, &counters), 0);
	assert_int_equal(counters.n, N);
	for (uint32_t cpu = 0; cpu < CPUS; cpu++) {
		put(fd, N, cpu, 0, 1 << cpu);
		put(fd, N, cpu, 7, 1 << cpu);
		put(fd, N, cpu, N - 1, 1 << cpu);
	}
	assert_int_equal(sum(&counters, 0), 31);
	assert_int_equal(sum(&counters, 1), 0);
	assert_int_equal(sum(&counters, 7), 31);
	assert_int_equal(sum(&counters, N - 1), 31);

	fw_counters_clear(&counters, 7);
	assert_int_equal(sum(&counters, 7), 0);
	for (uint32_t cpu = 0; cpu < CPUS; cpu++) {
		assert_int_equal(get(fd, N, cpu, 0), 1 << cpu);
		assert_int_equal(get(fd, N, cpu, 7), 0);
		assert_int_equal(get(fd, N, cpu, N - 1), 1 << cpu);
	}
	fw_counters_unmap(&counters);
	assert_null(counters.words);
	fw_counters_unmap(&counters);
}

static void as_many_are_copied_as_both_have(void **state)
{
	enum { FEW = 100, MANY = 300, CPUS = 3 };
	_cleanup_close_ int few = new_map(FEW * CPUS, BPF_F_MMAPABLE);
	_cleanup_close_ int many = new_map(MANY * CPUS, BPF_F_MMAPABLE);
	struct fw_counters a, b;

	(void)state;
	assert_int_equal(fw_counters_map(few, CPUS, &a), 0);
	assert_int_equal(fw_counters_map(many, CPUS, &b), 0);
	for (uint32_t cpu = 0; cpu < CPUS; cpu++) {
		for (uint32_t i = 0; i < MANY; i++)
			put(many, MANY, cpu, i, 7);
		for (uint32_t i = 0; i < FEW; i++)
			put(few, FEW, cpu, i, 1000 * cpu + i);
	}
	fw_counters_copy(&a, &b);
	for (uint32_t cpu = 0; cpu < CPUS; cpu++) {
		for (uint32_t i = 0; i < MANY; i++)
			assert_int_equal(get(many, MANY, cpu, i),
					 i < FEW ? 1000 * cpu + i : 7);
	}
	for (uint32_t i = 0; i < MANY; i++)
		put(many, MANY, 1, i, 5);
	fw_counters_copy(&b, &a);
	assert_int_equal(get(few, FEW, 1, FEW - 1), 5);
	assert_int_equal(get(few, FEW, 2, 0), 2000);
	fw_counters_unmap(&a);
	fw_counters_unmap(&b);
}

static void other_maps_are_refused(void **state)
{
	_cleanup_close_ int odd = new_map(100, BPF_F_MMAPABLE);
	_cleanup_close_ int plain = new_map(100, 0);
	struct fw_counters counters = { .n = 42 };

	(void)state;
	assert_int_equal(fw_counters_map(odd, 3, &counters), -EBADMSG);
	assert_true(fw_counters_map(plain, 4, &counters) < 0);
	assert_true(fw_counters_map(-1, 4, &counters) < 0);
	assert_int_equal(counters.n, 42);
	assert_null(counters.words);
}

/* ---- the programs ----------------------------------------------------------- */

static void run_frames(struct harness *h, enum fw_hook hook, unsigned int n,
		       struct outcome *ret)
{
	for (unsigned int i = 0; i < n; i++) {
		assert_int_equal(harness_run(h, hook, 0, -1,
					     (const uint8_t *)&frame,
					     sizeof(frame), ret),
				 0);
		assert_true(ret->drop);
	}
}

/* What a CPU has counted of a rule and of its reason, by the kernel. */
static void check_cpu(const struct harness *h, uint32_t cpu, enum fw_hook hook,
		      uint32_t slot, uint64_t before, uint64_t packets)
{
	uint32_t key = cpu * FW_MAX_SLOTS + slot;
	struct fw_rule_counter rule;
	struct fw_counter reason;

	assert_int_equal(
		bpf_map_lookup_elem(bpf_map__fd(h->skel->maps.rule_stats), &key,
				    &rule),
		0);
	assert_int_equal(rule.packets, before + packets);
	assert_int_equal(rule.bytes, (before + packets) * sizeof(frame));
	key = cpu * FW_STATS_ENTRIES +
	      FW_STATS_INDEX(1, hook, FW_REASON_DROP_RULE);
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(h->skel->maps.stats),
					     &key, &reason),
			 0);
	assert_int_equal(reason.packets, packets);
	assert_int_equal(reason.bytes, packets * sizeof(frame));
}

static void every_cpu_has_its_own(void **state)
{
	/* Rule "a" is on both ways in. */
	static const uint32_t slots[FW_HOOK_MAX] = { 1, 1, 2 };
	uint32_t cpus[CPU_SETSIZE];
	size_t n = usable_cpus(cpus);
	struct outcome *out = calloc(1, sizeof(*out));
	uint64_t packets[3] = { 0 };
	struct harness h;

	(void)state;
	assert_non_null(out);
	harness_init(&h);
	harness_self(&h, "198.51.100.2", FW_SELF_ADDRESS);
	assert_int_equal(harness_rules(&h, RULES), 0);
	for (int hook = 0; hook < FW_HOOK_MAX; hook++) {
		uint64_t before = hook == FW_HOOK_INGRESS;

		for (size_t i = 0; i < n; i++) {
			unsigned int k = 2 + (unsigned int)i;

			run_on(cpus[i]);
			run_frames(&h, (enum fw_hook)hook, k, out);
			assert_int_equal(out->reason, FW_REASON_DROP_RULE);
			assert_int_equal(out->n_reasons, 1);
			assert_int_equal(out->slot, slots[hook]);
			assert_int_equal(out->n_slots, 1);
			assert_int_equal(out->bytes, sizeof(frame));
			check_cpu(&h, cpus[i], (enum fw_hook)hook, slots[hook],
				  before * k, k);
			packets[slots[hook]] += k;
		}
	}
	run_on_all(cpus, n);
	for (uint32_t slot = 1; slot <= 2; slot++) {
		struct fw_rule_counter total = { 0 };

		fw_counters_add(&h.rule_stats, slot, (__u64 *)&total);
		assert_int_equal(total.packets, packets[slot]);
		assert_int_equal(total.bytes, packets[slot] * sizeof(frame));
	}
	free(out);
	harness_done(&h);
}

/* Nothing but the counts is lost, and no other counter changes. */
static void cpus_beyond_judge_and_count_nothing(void **state)
{
	uint32_t cpus[CPU_SETSIZE];
	size_t n = usable_cpus(cpus);
	struct outcome *out = calloc(1, sizeof(*out));
	_cleanup_free_ void *stats = NULL, *rules = NULL;
	struct harness h;

	(void)state;
	if (cpus[n - 1] == 0) {
		free(out);
		skip();
	}
	assert_non_null(out);
	harness_init_for(&h, 1);
	harness_self(&h, "198.51.100.2", FW_SELF_ADDRESS);
	assert_int_equal(harness_rules(&h, RULES), 0);
	stats = malloc(h.stats.len);
	rules = malloc(h.rule_stats.len);
	assert_true(stats && rules);
	memcpy(stats, h.stats.words, h.stats.len);
	memcpy(rules, h.rule_stats.words, h.rule_stats.len);
	run_on(cpus[n - 1]);
	for (int hook = 0; hook < FW_HOOK_MAX; hook++) {
		run_frames(&h, (enum fw_hook)hook, 3, out);
		assert_int_equal(out->n_reasons, 0);
		assert_int_equal(out->n_slots, 0);
	}
	run_on_all(cpus, n);
	assert_memory_equal(stats, h.stats.words, h.stats.len);
	assert_memory_equal(rules, h.rule_stats.words, h.rule_stats.len);
	free(out);
	harness_done(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counters_of_all_cpus_are_one),
		cmocka_unit_test(as_many_are_copied_as_both_have),
		cmocka_unit_test(other_maps_are_refused),
		cmocka_unit_test(every_cpu_has_its_own),
		cmocka_unit_test(cpus_beyond_judge_and_count_nothing),
	};

	return cmocka_run_group_tests_name("counters", tests, NULL, NULL);
}
