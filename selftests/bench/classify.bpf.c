/* SPDX-License-Identifier: GPL-2.0-only */

/* One packet a run through the classifier, or through nothing. */
#include "kern/uapi.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "kern/abi.h"
#include "kern/match.h"

#include "selftests/bench/classify.h"

/* Sizes are set before loading. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__uint(value_size, 4);
} image SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bench_keys);
} keys SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bench_answers);
} answers SEC(".maps");

const volatile __u32 match_off;
const volatile bool is_stateless;

__u32 at; /* the next key */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct match_io);
} ios SEC(".maps");

__u32 sum; /* so that nothing is left out */

static __always_inline const struct fw_key *next_key(__u32 *ret_index)
{
	__u32 zero = 0, i = at++ & (BENCH_KEYS - 1);
	const struct bench_keys *k = bpf_map_lookup_elem(&keys, &zero);

	*ret_index = i;
	return k ? &k->key[i] : NULL;
}

SEC("xdp")
int empty(struct xdp_md *ctx)
{
	__u32 zero = 0, i;
	const struct fw_key *key = next_key(&i);
	const void *base = bpf_map_lookup_elem(&image, &zero);

	(void)ctx;
	if (!key || !base)
		return XDP_ABORTED;
	sum += key->saddr.w[3] + key->dport + *(const __u32 *)base;
	return XDP_DROP;
}

SEC("xdp")
int classify(struct xdp_md *ctx)
{
	__u32 zero = 0, i;
	const struct fw_key *key = next_key(&i);
	const void *base = bpf_map_lookup_elem(&image, &zero);
	struct match_io *io = bpf_map_lookup_elem(&ios, &zero);

	(void)ctx;
	if (!key || !base || !io)
		return XDP_ABORTED;
	io->key = *key;
	match(base, match_off, io, is_stateless);
	sum += io->res.rule;
	return XDP_DROP;
}

SEC("xdp")
int answer(struct xdp_md *ctx)
{
	__u32 zero = 0, i;
	const struct fw_key *key = next_key(&i);
	const void *base = bpf_map_lookup_elem(&image, &zero);
	struct bench_answers *a = bpf_map_lookup_elem(&answers, &zero);
	struct match_io *io = bpf_map_lookup_elem(&ios, &zero);

	(void)ctx;
	if (!key || !base || !a || !io)
		return XDP_ABORTED;
	io->key = *key;
	match(base, match_off, io, is_stateless);
	a->result[i] = io->res;
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
