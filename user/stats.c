/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Reads the per-CPU counters.
 *
 * A lookup returns one value per possible CPU, each padded to eight bytes. The
 * programs never stop counting while we read: a sum may miss the packets of the
 * last microseconds, but no CPU's counter is ever seen torn, as both halves of
 * it are aligned words that only that CPU writes.
 */
#include "user/stats.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "user/util.h"

/* Counters of one interface slot. */
#define PER_SLOT ((uint32_t)FW_HOOK_MAX * FW_STATS_REASONS)

_Static_assert(sizeof(struct fw_counter) % 8 == 0, "fw_counter");
_Static_assert(sizeof(struct fw_rule_counter) % 8 == 0, "fw_rule_counter");

/* Room for `n` values of each CPU, and how many CPUs there are. */
static void *alloc_values(size_t n, size_t size, size_t *ret_cpus)
{
	int cpus;

	cpus = libbpf_num_possible_cpus();
	if (cpus <= 0)
		return NULL;
	*ret_cpus = (size_t)cpus;
	return calloc(n, (size_t)cpus * size);
}

/*
 * Read `n` consecutive rows in one call. The batch starts behind the key that
 * it is given, so the first one is left out for row 0.
 */
static int read_batch(int fd, uint32_t first, uint32_t n, uint32_t *keys,
		      struct fw_counter *values)
{
	LIBBPF_OPTS(bpf_map_batch_opts, opts);
	uint32_t in = first - 1, out = 0, count = n;
	int r;

	r = bpf_map_lookup_batch(fd, first ? &in : NULL, &out, keys, values,
				 &count, &opts);
	if (r < 0 && r != -ENOENT)
		return r;
	return count == n && keys[0] == first ? 0 : -EIO;
}

static int read_singly(int fd, uint32_t first, uint32_t n, size_t cpus,
		       struct fw_counter *values)
{
	uint32_t key;
	int r;

	for (uint32_t i = 0; i < n; i++) {
		key = first + i;
		r = bpf_map_lookup_elem(fd, &key, values + i * cpus);
		if (r < 0)
			return r;
	}
	return 0;
}

static void sum_up(const struct fw_counter *values, size_t cpus,
		   struct fw_counter *ret)
{
	*ret = (struct fw_counter){ 0 };
	for (size_t cpu = 0; cpu < cpus; cpu++) {
		ret->packets += values[cpu].packets;
		ret->bytes += values[cpu].bytes;
	}
}

int fw_stats_read(const struct fw_datapath *dp, struct fw_stats *ret)
{
	int fd = fw_datapath_map(dp, FW_MAP_STATS);
	_cleanup_free_ struct fw_counter *values = NULL;
	struct fw_counter *sums = &ret->by[0][0][0];
	uint64_t used = fw_datapath_slots(dp);
	uint32_t keys[PER_SLOT];
	size_t cpus;
	int r;

	values = alloc_values(PER_SLOT, sizeof(*values), &cpus);
	if (!values)
		return -ENOMEM;

	memset(ret, 0, sizeof(*ret));
	for (uint32_t slot = 0; slot < FW_MAX_IFSLOTS; slot++) {
		uint32_t first = slot * PER_SLOT;

		if (!(used >> slot & 1))
			continue;
		/* Linux before 5.13 has no batches on per-CPU arrays. */
		r = read_batch(fd, first, PER_SLOT, keys, values);
		if (r < 0)
			r = read_singly(fd, first, PER_SLOT, cpus, values);
		if (r < 0)
			return r;
		for (uint32_t i = 0; i < PER_SLOT; i++)
			sum_up(values + i * cpus, cpus, &sums[first + i]);
	}
	return 0;
}

static int add_rule(int fd, uint32_t slot, struct fw_rule_counter *values,
		    size_t cpus, struct fw_rule_counter *sum)
{
	int r;

	r = bpf_map_lookup_elem(fd, &slot, values);
	if (r < 0)
		return r;
	for (size_t cpu = 0; cpu < cpus; cpu++) {
		sum->packets += values[cpu].packets;
		sum->bytes += values[cpu].bytes;
		sum->flows += values[cpu].flows;
	}
	return 0;
}

int fw_stats_rule(const struct fw_datapath *dp, uint32_t slot,
		  struct fw_rule_counter *ret)
{
	_cleanup_free_ struct fw_rule_counter *values = NULL;
	struct fw_rule_counter sum = { 0 };
	int before = fw_datapath_stats_before(dp);
	size_t cpus;
	int r;

	values = alloc_values(1, sizeof(*values), &cpus);
	if (!values)
		return -ENOMEM;
	r = add_rule(fw_datapath_map(dp, FW_MAP_RULE_STATS), slot, values, cpus,
		     &sum);
	if (r < 0)
		return r;
	if (before >= 0)
		r = add_rule(before, slot, values, cpus, &sum);
	/* The map before may have had fewer slots. */
	if (r < 0 && r != -ENOENT)
		return r;
	*ret = sum;
	return 0;
}

/* A value for each CPU makes many of them large. */
#define RULES_AT_ONCE 256

static int count_entries(int fd, uint32_t *ret)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);
	int r;

	r = bpf_obj_get_info_by_fd(fd, &info, &len);
	if (r == 0)
		*ret = info.max_entries;
	return r;
}

/* Zero those of the slots, in ascending order, that a map has. */
static int clear_in(int fd, const uint32_t *slots, size_t n,
		    struct fw_rule_counter *zeros)
{
	uint32_t entries = 0, count;
	int r;

	r = count_entries(fd, &entries);
	if (r < 0)
		return r;
	while (n && slots[n - 1] >= entries)
		n--;
	for (size_t i = 0; i < n; i += count) {
		count = n - i < RULES_AT_ONCE ? (uint32_t)(n - i)
					      : RULES_AT_ONCE;
		r = bpf_map_update_batch(fd, &slots[i], zeros, &count, NULL);
		if (r < 0)
			return r;
	}
	return 0;
}

int fw_stats_rules_clear(const struct fw_datapath *dp, const uint32_t *slots,
			 size_t n)
{
	_cleanup_free_ struct fw_rule_counter *zeros = NULL;
	int before = fw_datapath_stats_before(dp);
	size_t cpus;
	int r;

	zeros = alloc_values(RULES_AT_ONCE, sizeof(*zeros), &cpus);
	if (!zeros)
		return -ENOMEM;
	r = clear_in(fw_datapath_map(dp, FW_MAP_RULE_STATS), slots, n, zeros);
	if (r == 0 && before >= 0)
		r = clear_in(before, slots, n, zeros);
	return r;
}

int fw_stats_rules_copy(int from, int to)
{
	_cleanup_free_ struct fw_rule_counter *values = NULL;
	uint32_t keys[RULES_AT_ONCE], last = 0, count;
	uint32_t from_entries = 0, entries = 0;
	size_t cpus;
	int r;

	values = alloc_values(RULES_AT_ONCE, sizeof(*values), &cpus);
	if (!values)
		return -ENOMEM;
	r = count_entries(from, &from_entries);
	if (r == 0)
		r = count_entries(to, &entries);
	if (r < 0)
		return r;
	if (from_entries < entries)
		entries = from_entries;
	for (uint32_t i = 0; i < entries; i += count) {
		count = entries - i < RULES_AT_ONCE ? entries - i
						    : RULES_AT_ONCE;
		r = bpf_map_lookup_batch(from, i ? &last : NULL, &last, keys,
					 values, &count, NULL);
		/* With -ENOENT these were the last. */
		if (r < 0 && r != -ENOENT)
			return r;
		if (!count)
			return -EIO;
		r = bpf_map_update_batch(to, keys, values, &count, NULL);
		if (r < 0)
			return r;
	}
	return 0;
}

int fw_stats_iface_clear(const struct fw_datapath *dp, uint32_t slot)
{
	int fd = fw_datapath_map(dp, FW_MAP_STATS);
	_cleanup_free_ struct fw_counter *zero = NULL;
	size_t cpus;
	uint32_t key;
	int r;

	zero = alloc_values(1, sizeof(*zero), &cpus);
	if (!zero)
		return -ENOMEM;
	for (uint32_t i = 0; i < PER_SLOT; i++) {
		key = slot * PER_SLOT + i;
		r = bpf_map_update_elem(fd, &key, zero, BPF_ANY);
		if (r < 0)
			return r;
	}
	return 0;
}
