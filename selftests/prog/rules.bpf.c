/* SPDX-License-Identifier: GPL-2.0-only */

/* What the rules say of one packet after the other, in XDP and in TC. */
#include "kern/uapi.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "kern/abi.h"
#include "kern/match.h"

#include "selftests/prog/rules.h"

/* Its size is set before loading. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__uint(value_size, 4);
} image SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rules_keys);
} keys SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rules_answers);
} answers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct match_io);
} ios SEC(".maps");

const volatile __u32 match_off;

__u32 is_stateless; /* 0 or 1 */
__u32 at;	    /* the next key */

static __always_inline int answer(int done)
{
	__u32 zero = 0, i = at++ & (RULES_KEYS - 1);
	struct rules_answers *a = bpf_map_lookup_elem(&answers, &zero);
	const struct rules_keys *k = bpf_map_lookup_elem(&keys, &zero);
	const void *base = bpf_map_lookup_elem(&image, &zero);
	struct match_io *io = bpf_map_lookup_elem(&ios, &zero);

	if (!a || !k || !base || !io)
		return 0;
	io->key = k->key[i];
	match(base, match_off, io, is_stateless);
	a->result[i] = io->res;
	return done;
}

SEC("xdp")
int rules_xdp(struct xdp_md *ctx)
{
	(void)ctx;
	return answer(XDP_DROP);
}

SEC("tc")
int rules_tc(struct __sk_buff *skb)
{
	(void)skb;
	return answer(2); /* TC_ACT_SHOT */
}

char LICENSE[] SEC("license") = "GPL";
