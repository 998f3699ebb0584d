/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * XDP only: packets of established flows are forwarded without the stack, with
 * `option offload` or a rule that says so. Others are passed to it without a look into the
 * connection table, where nothing but that decides (fw_image_remembers()).
 *
 * What was found out of a packet the whole way is remembered for seven eighths of a second, on the
 * CPU that did: the next one like it is asked for nothing else. So a flow takes the whole
 * way at least once a second, which keeps its entry alive, and each packet does that
 * begins or ends a connection, or is not plain (frame.h). What would make that untrue
 * earlier, the rules, interfaces, addresses, routes, neighbours and links, changes the
 * epoch. What is passed to the stack is so only as long as the flow's entry is alive and in the
 * same state (alive.h).
 */
#pragma once

#define OFFLOAD_NOT   (-1) /* the packet takes the whole way */
#define OFFLOAD_NEVER (-2) /* and at its end nothing is found out anew */

/* The places that a flow may have, and the number of the one to look at first. */
static __always_inline struct fw_cached_group *
offload_group(const struct pkt *p, const struct frame *f, __u32 *ret_home)
{
	const __u64 odd = 0x9e3779b97f4a7c15ull;
	__u64 hash = (f->addr[0] ^ fw_cookie) * odd;
	__u32 index;

	if (f->is_v6) {
		hash = (hash ^ hash >> 32 ^ f->addr[1]) * odd;
		hash = (hash ^ hash >> 32 ^ f->addr[2]) * odd;
		hash = (hash ^ hash >> 32 ^ f->addr[3]) * odd;
	}
	hash = (hash ^ hash >> 32 ^ f->l4 ^ f->from << 24) * odd;
	index = p->base.cpu * (fw_cache_mask + 1) +
		(__u32)(hash >> 40 & fw_cache_mask);
	*ret_home = (__u32)(hash >> 32);
	return bpf_map_lookup_elem(&flow_cache, &index);
}

static __always_inline struct fw_cached_flow *
offload_entry(struct fw_cached_group *group, __u32 home, __u32 way)
{
	__u64 off = (home ^ way) * sizeof(struct fw_cached_flow);

	/* A place of the group, in a way that Linux 6.1 follows. */
	asm volatile(
		"%0 &= %1"
		: "+r"(off)
		: "i"((FW_CACHED_WAYS - 1) * sizeof(struct fw_cached_flow)));
	return (void *)group + off;
}

/* The entry is of this flow. */
static __always_inline bool offload_is(const struct fw_cached_flow *e,
				       const struct frame *f)
{
	if (e->addr[0] != f->addr[0] || e->l4 != f->l4 || e->from != f->from ||
	    e->to != f->to)
		return false;
	return !f->is_v6 ||
	       (e->addr[1] == f->addr[1] && e->addr[2] == f->addr[2] &&
		e->addr[3] == f->addr[3]);
}

/* In how many places a flow may be. */
static __always_inline __u32 offload_ways(const struct run *r)
{
	return unlikely(r->head->options & FW_OPT_OFFLOAD) ? FW_CACHED_WAYS
							   : FW_CACHED_FEW_WAYS;
}

/* The entry of a flow, or NULL. */
static __always_inline struct fw_cached_flow *
offload_find(const struct pkt *p, const struct run *r, const struct frame *f)
{
	const __u32 ways = offload_ways(r);
	__u32 home;
	struct fw_cached_group *group = offload_group(p, f, &home);

	if (!group)
		return NULL;
#pragma GCC unroll 1
	for (__u32 way = 0; way < FW_CACHED_WAYS && way < ways; way++) {
		struct fw_cached_flow *e = offload_entry(group, home, way);

		if (likely(offload_is(e, f)))
			return e;
	}
	return NULL;
}

/* Nothing has changed since it was written. */
static __always_inline bool offload_holds(const struct fw_cached_flow *e,
					  const struct pkt *p,
					  const struct run *r)
{
	__u32 age = (__u32)bpf_jiffies64() - e->jiffies;

	return e->gen == r->gen && e->epoch == p->epoch &&
	       age < fw_hz - fw_hz / 8;
}

/* What may differ from packet to packet. */
static __always_inline bool offload_fits(const struct fw_cached_flow *e,
					 const struct frame *f,
					 struct xdp_md *ctx)
{
	if (unlikely(f->len > e->mtu))
		return false;
	if (unlikely(f->in_pieces) && !(e->flags & FW_CACHED_FRAGS))
		return false;
	return likely(!(e->flags & FW_CACHED_PARTIAL)) ||
	       !frame_is_partial(f, ctx);
}

/* As count(), of what an entry says. */
static __always_inline void offload_count(const struct pkt *p, __u32 stat,
					  __u32 bytes)
{
	__u32 index = p->base.stats + stat;
	struct fw_counter *c = bpf_map_lookup_elem(&stats, &index);

	if (!c)
		return;
	c->packets++;
	c->bytes += bytes;
}

/* The packet is counted for its flow, which nothing has translated. */
static __noinline void
offload_account(struct pkt *p, const struct fw_cached_flow *e, __u32 len)
{
	struct fw_tuple t = {
		.proto = (__u8)(e->l4 >> 32),
		.family = e->l4 >> 48 ? FW_AF_IPV6 : FW_AF_IPV4,
		.sport = (__be16)e->l4,
		.dport = (__be16)(e->l4 >> 16),
	};

	if (t.family == FW_AF_IPV6) {
		__builtin_memcpy(&t.saddr, &e->addr[0], sizeof(t.saddr));
		__builtin_memcpy(&t.daddr, &e->addr[2], sizeof(t.daddr));
	} else {
		addr_from_v4(&t.saddr, (__be32)e->addr[0]);
		addr_from_v4(&t.daddr, (__be32)(e->addr[0] >> 32));
	}
	p->flow.reply = e->flags & FW_CACHED_REPLY;
	p->key.proto = t.proto;
	if (p->flow.reply)
		tuple_reverse(&p->flow.orig, &t);
	else
		p->flow.orig = t;
	account(p, 1, len);
}

/*
 * Send the packet where the entry says. Returns what the program returns, or OFFLOAD_NOT:
 * then nothing has been done.
 */
static __always_inline int offload_send(struct pkt *p, struct xdp_md *ctx,
					const struct fw_cached_flow *e,
					const struct frame *f)
{
	const __u32 lost =
		(__u32)FW_REASON_DROP_INTERNAL - (__u32)FW_REASON_OFFLOADED;
	int done;

	if (unlikely(!frame_turn(f, ctx, e)))
		return OFFLOAD_NOT;
	done = action_send(&offload_devs, e->tx_ifindex);
	offload_count(p,
		      likely(done == action_sent()) ? e->stat : e->stat + lost,
		      f->bytes);
	if (unlikely(e->flags & FW_CACHED_COUNTS))
		offload_account(p, e, f->len);
	return done;
}

/* Pass the packet to the stack, with the note for TC. */
static __always_inline int offload_pass(const struct pkt *p, struct xdp_md *ctx,
					const struct fw_cached_flow *e,
					const struct frame *f)
{
	struct fw_meta *m = meta_room(ctx);

	offload_count(p, e->stat, f->bytes);
	if (m)
		*m = e->note;
	return action(FW_HOOK_XDP, false);
}

static __always_inline int offload_try(struct pkt *p, const struct run *r,
				       struct xdp_md *ctx,
				       const struct frame *f)
{
	const struct fw_cached_flow *e = offload_find(p, r, f);

	if (!e || !offload_holds(e, p, r))
		return OFFLOAD_NOT;
	if (e->flags & FW_CACHED_PASSES)
		return is_alive(p, r->head, e) ? offload_pass(p, ctx, e, f)
					       : OFFLOAD_NOT;
	if (unlikely(!e->tx_ifindex))
		return OFFLOAD_NEVER;
	if (!offload_fits(e, f, ctx))
		return OFFLOAD_NOT;
	return offload_send(p, ctx, e, f);
}

/*
 * Forward or pass a packet of a flow that is remembered; OFFLOAD_NOT, OFFLOAD_NEVER: it takes
 * the whole way. Of `p` nothing but the base of this CPU is known.
 */
static __noinline int offload_hit(struct pkt *p, const struct run *r,
				  struct xdp_md *ctx)
{
	const void *end = ctx_data_end(ctx, FW_HOOK_XDP);
	struct frame f;
	__be16 proto;

	if (unlikely(!frame_l2(&f, ctx, FW_HOOK_XDP, end, &proto)))
		return OFFLOAD_NOT;
	if (likely(proto == bpf_htons(ETH_P_IP))) {
		struct frame v4 = f; /* of its own: it stays in registers */

		return frame_ipv4(&v4, ctx, FW_HOOK_XDP, end)
			       ? offload_try(p, r, ctx, &v4)
			       : OFFLOAD_NOT;
	}
	if (proto == bpf_htons(ETH_P_IPV6) &&
	    frame_ipv6(&f, ctx, FW_HOOK_XDP, end))
		return offload_try(p, r, ctx, &f);
	return OFFLOAD_NOT;
}

static __always_inline bool remembers_frame(struct pkt *p, const struct run *r,
					    struct __sk_buff *skb,
					    const struct frame *f)
{
	const struct fw_cached_flow *e = offload_find(p, r, f);

	if (!e || !offload_holds(e, p, r) || !(e->flags & FW_CACHED_PASSES) ||
	    !is_alive(p, r->head, e))
		return false;
	if (skb->tc_index != e->mark)
		skb->tc_index = e->mark;
	offload_count(p, e->stat + FW_STATS_INDEX(0, FW_HOOK_INGRESS, 0),
		      f->bytes);
	return true;
}

/* TC ingress: true: the packet is of a flow that is remembered, and has been counted. */
static __noinline bool ingress_remembers(struct pkt *p, const struct run *r,
					 struct __sk_buff *skb)
{
	const void *end = ctx_data_end(skb, FW_HOOK_INGRESS);
	struct frame f;
	__be16 proto;

	if (!frame_l2(&f, skb, FW_HOOK_INGRESS, end, &proto))
		return false;
	if (likely(proto == bpf_htons(ETH_P_IP))) {
		struct frame v4 = f;

		return frame_ipv4(&v4, skb, FW_HOOK_INGRESS, end) &&
		       remembers_frame(p, r, skb, &v4);
	}
	return proto == bpf_htons(ETH_P_IPV6) &&
	       frame_ipv6(&f, skb, FW_HOOK_INGRESS, end) &&
	       remembers_frame(p, r, skb, &f);
}
