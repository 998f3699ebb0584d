/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * XDP: at which CPU does what has a security association go on? (`option esp-steer`)
 *
 * At the one that the association is for, if it says so, or else at the one whose turn it
 * was when its first packet came: a hash would send every second pair of them to the same
 * of two CPUs. `sas` remembers it, and whoever writes it first is obeyed by all.
 *
 * All packets of an association go through the same queue, also those that have come in
 * at its CPU already: there they would overtake others. The queue keeps their order.
 */
#pragma once

/* Of one that `sas` has no place for: always the same. */
static __always_inline __u32 steer_hash(const struct fw_sa_key *key)
{
	const __u64 *w = (const void *)key;
	__u64 hash = 0;

	for (__u32 i = 0; i < sizeof(*key) / sizeof(*w); i++)
		hash = (hash ^ w[i]) * 0x9e3779b97f4a7c15ull;
	return hash >> 32;
}

/* The CPU of an association, as 1 + its number, and in the entry. */
static __always_inline __u32 steer_choose(struct fw_esp_steer *s,
					  const struct fw_sa_key *key,
					  __u32 pcpu)
{
	struct fw_sa *sa = bpf_map_lookup_elem(&sas, key);
	__u64 had = sa ? sa->steer : 0, was, word;
	__u32 epoch = s->epoch, n = s->n, turn;
	bool is_its =
		pcpu && fw_steer_cpu(s, fw_steer_word(epoch, pcpu - 1)) >= 0;

	if (is_its) {
		word = fw_steer_word(epoch, pcpu - 1);
		if (had == word)
			return pcpu;
	} else {
		if (fw_steer_cpu(s, had) >= 0)
			return (__u32)had;
		turn = sa ? __sync_fetch_and_add(&s->turn, 1) : steer_hash(key);
		word = fw_steer_word(
			epoch, s->cpu[turn % n & (FW_MAX_STEER_CPUS - 1)]);
	}
	if (!sa)
		return (__u32)word;
	was = __sync_val_compare_and_swap(&sa->steer, had, word);
	return was != had && !is_its && fw_steer_cpu(s, was) >= 0 ? (__u32)was
								  : (__u32)word;
}

/*
 * In UDP, and the checksum is left to a network card to write, or may be: what the queue
 * has of a packet does not say so, and the stack would find it wrong.
 */
static __always_inline bool steer_is_partial(struct xdp_md *ctx,
					     const struct pkt *p)
{
	const __u32 *s = p->key.saddr.w, *d = p->key.daddr.w;
	__u64 sum = (__u64)bpf_htons(IPPROTO_UDP);
	const struct udphdr *udp;
	struct udphdr room;

	if (p->key.proto != IPPROTO_UDP)
		return false;
	udp = ctx_at(ctx, FW_HOOK_XDP, p->l4_off, &room, sizeof(room));
	if (!udp)
		return true;
	/* the mapped form of IPv4 adds 0xffff twice, which is nothing */
	for (int i = 0; i < 4; i++)
		sum += (__u64)s[i] + d[i];
	return fold(sum + udp->len) == udp->check;
}

/* Where the packet goes on, if it passes. */
static __noinline int steer(struct xdp_md *ctx, struct pkt *p,
			    const struct run *r, const struct fw_sa_key *key,
			    __u32 pcpu)
{
	const struct fw_iface *i = iface_find(r->ifaces, p->rx_ifindex, 0);
	struct fw_esp_steer *s;

	if (is_dry || !i || !(i->flags & FW_IFACE_STEER))
		return 0;
	s = bpf_map_lookup_elem(&esp_steer, &first);
	if (!s || !s->n)
		return 0;
	if (i->flags & FW_IFACE_PARTIAL && steer_is_partial(ctx, p))
		return 0;
	p->steer = (__u16)steer_choose(s, key, pcpu);
	return 0;
}

/* It has been judged; if it passes, off with it. */
static __noinline int steer_send(const struct pkt *p, int done)
{
	__u32 cpu = p->steer - 1u;
	__u64 *count;
	bool is_sent;

	if (is_dry)
		return done;
	done = action_steer(done, &esp_cpus, cpu, &is_sent);
	if (!is_sent)
		return done;
	count = bpf_map_lookup_elem(&esp_steered, &cpu);
	if (count)
		++*count;
	return done;
}
