/* SPDX-License-Identifier: GPL-2.0-only */

/* The programs that only explain, and pictures of all that others write. */

#include "dry.h"

#include <err.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "user/dryskel.h"
#include "user/skel.h"

#define MAX_MAPS 32
#define CT_NAME	 "the connection table"

/* ---- running ---------------------------------------------------------------- */

struct dry_bpf *dry_open(struct harness *h)
{
	struct dry_bpf *skel = dry_bpf__open();
	struct bpf_map *map, *other;

	if (!skel)
		err(1, "open");
	skel->rodata->fw_hz = h->skel->rodata->fw_hz;
	skel->rodata->fw_is_ordered = h->skel->rodata->fw_is_ordered;
	skel->rodata->fw_cookie = 0xfedcba9876543210ull;
	skel->rodata->fw_image_mask = h->skel->rodata->fw_image_mask;
	bpf_object__for_each_map(map, skel->obj)
	{
		other = bpf_object__find_map_by_name(h->skel->obj,
						     bpf_map__name(map));
		if (map == skel->maps.bss)
			other = h->skel->maps.bss;
		else if (map == skel->maps.work || bpf_map__is_internal(map))
			continue;
		if (other && bpf_map__reuse_fd(map, bpf_map__fd(other)))
			err(1, "map %s", bpf_map__name(map));
	}
	if (dry_bpf__load(skel))
		err(1, "load");
	return skel;
}

void dry_close(struct dry_bpf *skel)
{
	dry_bpf__destroy(skel);
}

void dry_begin(struct dry_bpf *skel)
{
	const struct fw_explained nothing = { 0 };
	uint32_t zero = 0;

	if (bpf_map_update_elem(bpf_map__fd(skel->maps.explained), &zero,
				&nothing, BPF_ANY))
		err(1, "explained");
}

struct fw_explained dry_run(const struct harness *h, struct dry_bpf *skel,
			    enum fw_hook hook, unsigned int iface, int iif,
			    const uint8_t *frame, uint32_t len, int *ret_action)
{
	struct xdp_md xdp = { .data_end = len,
			      .ingress_ifindex = h->ifindex[iface] };
	struct __sk_buff skb = { .ifindex = h->ifindex[iface] };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame,
		    .data_size_in = len, .repeat = 1);
	const struct bpf_program *const progs[] = { skel->progs.fw_xdp,
						    skel->progs.fw_ingress,
						    skel->progs.fw_egress };
	struct fw_explained ret;
	uint32_t zero = 0;

	if (hook == FW_HOOK_INGRESS)
		skb.ingress_ifindex = h->ifindex[iface];
	else if (iif >= 0)
		skb.ingress_ifindex = h->ifindex[iif];
	opts.ctx_in = hook == FW_HOOK_XDP ? (void *)&xdp : (void *)&skb;
	opts.ctx_size_in = hook == FW_HOOK_XDP ? sizeof(xdp) : sizeof(skb);
	if (bpf_prog_test_run_opts(bpf_program__fd(progs[hook]), &opts))
		err(1, "test run of hook %d, %u bytes", hook, len);
	if (bpf_map_lookup_elem(bpf_map__fd(skel->maps.explained), &zero, &ret))
		err(1, "explained");
	*ret_action = (int)opts.retval;
	return ret;
}

/* ---- pictures ----------------------------------------------------------------- */

struct picture {
	size_t n;
	struct {
		const char *name;
		uint64_t sum; /* the order of entries makes no difference */
	} of[MAX_MAPS];
};

static uint64_t hash(const void *data, size_t len, uint64_t seed)
{
	const uint8_t *p = data;
	uint64_t word = 0;

	seed ^= 0xcbf29ce484222325ull;
	for (size_t i = 0; i < len; i += sizeof(word)) {
		memcpy(&word, p + i,
		       len - i < sizeof(word) ? len - i : sizeof(word));
		seed = (seed ^ word) * 0x9e3779b97f4a7c15ull;
		seed ^= seed >> 29;
	}
	return seed;
}

static void add(struct picture *picture, const char *name, uint64_t sum)
{
	if (picture->n == MAX_MAPS)
		errx(1, "too many maps");
	picture->of[picture->n].name = name;
	picture->of[picture->n++].sum = sum;
}

static uint64_t sum_entries(const struct bpf_map *map)
{
	size_t key_size = bpf_map__key_size(map);
	size_t size = bpf_map__value_size(map);
	int cpus = fw_counters_values(), fd = bpf_map__fd(map);
	uint8_t keys[2][128], *value, *key = NULL;
	uint64_t sum = 0;

	if (key_size > sizeof(keys[0]) || cpus < 0)
		abort();
	if (bpf_map__type(map) == BPF_MAP_TYPE_PERCPU_ARRAY)
		size = (size + 7) / 8 * 8 * (size_t)cpus;
	value = calloc(1, size);
	if (!value)
		err(1, "calloc");
	for (int i = 0; !bpf_map_get_next_key(fd, key, keys[i]); i = !i) {
		key = keys[i];
		if (bpf_map_lookup_elem(fd, key, value) == 0)
			sum += hash(value, size, hash(key, key_size, 0));
	}
	free(value);
	return sum;
}

/* The same of an array, which may have many: with one call. */
static uint64_t sum_array(const struct bpf_map *map)
{
	uint32_t n = bpf_map__max_entries(map), next;
	uint32_t *keys = calloc(n, sizeof(*keys));
	uint8_t *values = calloc(n, bpf_map__value_size(map));
	uint64_t sum;

	if (!keys || !values)
		err(1, "calloc");
	if (bpf_map_lookup_batch(bpf_map__fd(map), NULL, &next, keys, values,
				 &n, NULL))
		err(1, "%s", bpf_map__name(map));
	sum = hash(values, (size_t)n * bpf_map__value_size(map), 0);
	free(keys);
	free(values);
	return sum;
}

/* How far programs have written a ring buffer. */
static uint64_t ring_position(const struct bpf_map *map)
{
	long size = sysconf(_SC_PAGESIZE);
	const uint64_t *at = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED,
				  bpf_map__fd(map), size);
	uint64_t ret;

	if (at == MAP_FAILED)
		err(1, "ring buffer");
	ret = *at;
	(void)munmap((void *)(uintptr_t)at, (size_t)size);
	return ret;
}

static uint64_t sum_map(const struct harness *h, const struct bpf_map *map)
{
	const struct fw_counters *counters =
		map == h->skel->maps.stats	  ? &h->stats
		: map == h->skel->maps.rule_stats ? &h->rule_stats
						  : NULL;

	if (counters)
		return hash(counters->words, counters->len, 0);
	if (bpf_map__type(map) == BPF_MAP_TYPE_RINGBUF)
		return ring_position(map);
	if (map == h->skel->maps.flow_cache)
		return sum_array(map);
	return sum_entries(map);
}

/* An entry without what time alone changes: how long it lives. */
static uint64_t sum_flow(const struct nlmsghdr *nlh)
{
	const struct nfgenmsg *nfg = NLMSG_DATA(nlh);
	const uint8_t *at = (const uint8_t *)(nfg + 1);
	const uint8_t *end = (const uint8_t *)nlh + nlh->nlmsg_len;
	uint64_t sum = 0;

	while (at + sizeof(struct nlattr) <= end) {
		const struct nlattr *a = (const void *)at;

		if ((a->nla_type & NLA_TYPE_MASK) != CTA_TIMEOUT)
			sum = hash(at, a->nla_len, sum);
		at += (a->nla_len + 3u) & ~3u;
	}
	return sum;
}

static uint64_t sum_conntrack(void)
{
	struct {
		struct nlmsghdr nlh;
		struct nfgenmsg nfg;
	} request = {
		.nlh = { .nlmsg_len = sizeof(request),
			 .nlmsg_type =
				 NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET,
			 .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
	};
	static char buf[65536] __attribute__((aligned(8)));
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	uint64_t sum = 0;
	bool done = false;

	if (fd < 0 || send(fd, &request, sizeof(request), 0) < 0)
		err(1, "conntrack");
	while (!done) {
		ssize_t n = recv(fd, buf, sizeof(buf), 0);
		unsigned int left = (unsigned int)n;

		if (n < 0)
			err(1, "conntrack");
		for (const struct nlmsghdr *nlh = (const void *)buf;
		     NLMSG_OK(nlh, left); nlh = NLMSG_NEXT(nlh, left)) {
			if (nlh->nlmsg_type == NLMSG_ERROR)
				errx(1, "conntrack");
			done |= nlh->nlmsg_type == NLMSG_DONE;
			if (!done)
				sum += sum_flow(nlh);
		}
	}
	close(fd);
	return sum;
}

struct picture *picture_take(const struct harness *h)
{
	struct picture *picture = calloc(1, sizeof(*picture));
	const struct bpf_map *map;

	if (!picture)
		err(1, "calloc");
	for (map = bpf_object__next_map(h->skel->obj, NULL); map;
	     map = bpf_object__next_map(h->skel->obj, map))
		add(picture, bpf_map__name(map), sum_map(h, map));
	add(picture, CT_NAME, sum_conntrack());
	return picture;
}

const char *picture_compare(struct picture *before, struct picture *after)
{
	const char *found = NULL;

	for (size_t i = 0; i < before->n && !found; i++)
		if (before->of[i].sum != after->of[i].sum)
			found = before->of[i].name;
	free(before);
	free(after);
	return found;
}
