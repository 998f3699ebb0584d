/* SPDX-License-Identifier: GPL-2.0-only */

/* Maps of counters as memory of ours. */
#include "user/counters.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "kern/offload_abi.h"
#include "user/util.h"

/* ---- CPUs ----------------------------------------------------------------- */

/* The number that a list goes on with. */
static int parse_number(const char **list, uint32_t *ret)
{
	unsigned long n;
	char *end;

	if (!isdigit((unsigned char)**list))
		return -EINVAL;
	n = strtoul(*list, &end, 10);
	if (n >= FW_MAX_CPUS)
		return -EINVAL;
	*list = end;
	*ret = (uint32_t)n;
	return 0;
}

int fw_counters_parse_cpus(const char *list, struct fw_cpus *ret)
{
	uint32_t first, last, least = 0;
	int r;

	ret->n = 0;
	for (;; list++) {
		r = parse_number(&list, &first);
		last = first;
		if (r == 0 && *list == '-') {
			list++;
			r = parse_number(&list, &last);
		}
		/* In ascending order, so there is room for all of them. */
		if (r < 0 || first < least || last < first)
			return -EINVAL;
		for (uint32_t cpu = first; cpu <= last; cpu++)
			ret->id[ret->n++] = cpu;
		least = last + 1;
		if (*list != ',')
			break;
	}
	if (*list != '\0' && *list != '\n')
		return -EINVAL;
	return (int)least;
}

static int read_cpus(struct fw_cpus *ret)
{
	char list[4096];
	int r;

	r = fw_read_text(FW_COUNTERS_POSSIBLE, list, sizeof(list));
	return r < 0 ? r : fw_counters_parse_cpus(list, ret);
}

int fw_counters_cpus(void)
{
	_cleanup_free_ struct fw_cpus *cpus = malloc(sizeof(*cpus));

	return cpus ? read_cpus(cpus) : -ENOMEM;
}

int fw_counters_values(void)
{
	_cleanup_free_ struct fw_cpus *cpus = malloc(sizeof(*cpus));
	int r = cpus ? read_cpus(cpus) : -ENOMEM;

	return r < 0 ? r : (int)cpus->n;
}

/* A per-CPU map takes a value for each CPU, numbers that are left out have none. */
static int put_bases(int work, const struct bpf_map_info *info,
		     const struct fw_cpus *cpus, uint32_t slots)
{
	size_t size = (info->value_size + 7u) / 8 * 8;
	_cleanup_free_ uint8_t *values = calloc(cpus->n, size);
	int r = 0;

	if (!values)
		return -ENOMEM;
	for (uint32_t i = 0; i < cpus->n; i++) {
		const struct fw_base base = {
			.stats = cpus->id[i] * FW_STATS_ENTRIES,
			.rule_stats = cpus->id[i] * slots,
			.cpu = cpus->id[i],
		};

		memcpy(values + i * size + info->value_size - sizeof(base),
		       &base, sizeof(base));
	}
	for (uint32_t key = 0; key < info->max_entries && r == 0; key++)
		r = bpf_map_update_elem(work, &key, values, BPF_ANY);
	return r;
}

int fw_counters_put_bases(int work, uint32_t slots)
{
	_cleanup_free_ struct fw_cpus *cpus = malloc(sizeof(*cpus));
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);
	int r;

	r = cpus ? read_cpus(cpus) : -ENOMEM;
	if (r > 0)
		r = bpf_obj_get_info_by_fd(work, &info, &len);
	if (r < 0)
		return r;
	return put_bases(work, &info, cpus, slots);
}

/* ---- the mapping ---------------------------------------------------------- */

int fw_counters_map(int fd, uint32_t cpus, struct fw_counters *ret)
{
	struct bpf_map_info info = { 0 };
	uint32_t info_len = sizeof(info);
	size_t page = (size_t)sysconf(_SC_PAGESIZE), len;
	void *words;
	int r;

	r = bpf_obj_get_info_by_fd(fd, &info, &info_len);
	if (r < 0)
		return r;
	if (!info.max_entries || info.max_entries % cpus ||
	    info.value_size % sizeof(__u64))
		return -EBADMSG;
	len = (size_t)info.max_entries * info.value_size;
	len = (len + page - 1) / page * page;
	words = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (words == MAP_FAILED)
		return -errno;
	*ret = (struct fw_counters){
		.words = words,
		.len = len,
		.cpus = cpus,
		.n = info.max_entries / cpus,
		.width = info.value_size / sizeof(__u64),
	};
	return 0;
}

void fw_counters_unmap(struct fw_counters *counters)
{
	if (counters->words)
		(void)munmap(counters->words, counters->len);
	*counters = (struct fw_counters){ 0 };
}

/* ---- counters --------------------------------------------------------------- */

static __u64 *find(const struct fw_counters *counters, uint32_t cpu,
		   uint32_t index)
{
	size_t row = (size_t)cpu * counters->n + index;

	return counters->words + row * counters->width;
}

void fw_counters_add(const struct fw_counters *counters, uint32_t index,
		     __u64 *sum)
{
	for (uint32_t cpu = 0; cpu < counters->cpus; cpu++) {
		const __u64 *at = find(counters, cpu, index);

		for (uint32_t i = 0; i < counters->width; i++)
			sum[i] += __atomic_load_n(&at[i], __ATOMIC_RELAXED);
	}
}

void fw_counters_clear(const struct fw_counters *counters, uint32_t index)
{
	for (uint32_t cpu = 0; cpu < counters->cpus; cpu++) {
		__u64 *at = find(counters, cpu, index);

		for (uint32_t i = 0; i < counters->width; i++)
			__atomic_store_n(&at[i], 0, __ATOMIC_RELAXED);
	}
}

void fw_counters_copy(const struct fw_counters *from,
		      const struct fw_counters *to)
{
	uint32_t cpus = from->cpus < to->cpus ? from->cpus : to->cpus;
	uint32_t n = from->n < to->n ? from->n : to->n;

	for (uint32_t cpu = 0; cpu < cpus; cpu++) {
		memcpy(find(to, cpu, 0), find(from, cpu, 0),
		       (size_t)n * to->width * sizeof(__u64));
	}
}
