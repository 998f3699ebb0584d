/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Lookups in sets of addresses, many a run: ours, and maps of the kernel that
 * serve the same purpose. Each lookup waits for the answer of the one before.
 */
#include "kern/uapi.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "kern/abi.h"
#include "kern/addrset.h"
#include "kern/image.h"
#include "selftests/bench/sets.h"

struct lpm4_key {
	__u32 len;
	__be32 addr;
};

/* Its address follows at once: a struct fw_addr would begin behind a gap. */
struct lpm6_key {
	__u32 len;
	__be32 addr[4];
};

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
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct lpm4_key);
	__type(value, __u32);
} lpm4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct lpm6_key);
	__type(value, __u32);
} lpm6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __be32);
	__type(value, __u32);
} hash4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct fw_addr);
	__type(value, __u32);
} hash6 SEC(".maps");

const volatile __u32 set_off;

__u32 at;   /* the next key */
__u32 hits; /* answers that said yes */
__u32 none; /* 0, which only we know */

struct step {
	const void *image;
	const struct bench_keys *keys;
};

/* The next address; it depends on the last answer, and does not. */
static __always_inline void next_key(const struct step *s, struct fw_key *key)
{
	const struct fw_addr *a = &s->keys->addr[at & (BENCH_KEYS - 1)];

	key->saddr = *a;
	key->saddr.w[3] ^= hits & none;
	key->family = !a->w[0] && !a->w[1] && a->w[2] == bpf_htonl(0xffff)
			      ? FW_AF_IPV4
			      : FW_AF_IPV6;
	at++;
	asm volatile("" : : "r"(key) : "memory");
}

static long step_empty(__u32 i, struct step *s)
{
	struct fw_key key;

	(void)i;
	next_key(s, &key);
	hits += key.saddr.w[3] & 1;
	return 0;
}

static long step_set(__u32 i, struct step *s)
{
	struct fw_key key;

	(void)i;
	next_key(s, &key);
	hits += addrset_has(s->image, set_off, &key, false);
	return 0;
}

static long step_lpm(__u32 i, struct step *s)
{
	struct fw_key key;

	(void)i;
	next_key(s, &key);
	if (key.family == FW_AF_IPV4) {
		struct lpm4_key k = { 32, key.saddr.w[3] };

		hits += bpf_map_lookup_elem(&lpm4, &k) != NULL;
	} else {
		struct lpm6_key k = { .len = 128 };

		__builtin_memcpy(k.addr, key.saddr.w, sizeof(k.addr));
		hits += bpf_map_lookup_elem(&lpm6, &k) != NULL;
	}
	return 0;
}

static long step_hash(__u32 i, struct step *s)
{
	struct fw_key key;

	(void)i;
	next_key(s, &key);
	if (key.family == FW_AF_IPV4)
		hits += bpf_map_lookup_elem(&hash4, &key.saddr.w[3]) != NULL;
	else
		hits += bpf_map_lookup_elem(&hash6, &key.saddr) != NULL;
	return 0;
}

static __always_inline bool prepare(struct step *s)
{
	__u32 zero = 0;

	s->image = bpf_map_lookup_elem(&image, &zero);
	s->keys = bpf_map_lookup_elem(&keys, &zero);
	return s->image && s->keys;
}

#define BENCH(name)                                        \
	SEC("xdp")                                         \
	int name(struct xdp_md *ctx)                       \
	{                                                  \
		struct step s;                             \
                                                           \
		(void)ctx;                                 \
		if (!prepare(&s))                          \
			return XDP_ABORTED;                \
		bpf_loop(BENCH_STEPS, step_##name, &s, 0); \
		return XDP_DROP;                           \
	}

BENCH(empty)
BENCH(set)
BENCH(lpm)
BENCH(hash)

char LICENSE[] SEC("license") = "GPL";
