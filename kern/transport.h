/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * IPsec in transport mode, at netfilter's hooks LOCAL_IN and LOCAL_OUT (Linux 6.4).
 *
 * What comes out of such an SA goes from XFRM straight to its protocol: TC has seen ESP
 * alone. What goes into one TC sees as ESP, too. Here is where both are in clear, and
 * judged by the same rules: `in` at LOCAL_IN, `out` at LOCAL_OUT. All else passes here
 * with one look at the skb: TC has judged it.
 *
 * nf_conntrack's functions are out of reach, and so is the coarse clock: these flows are
 * in our own table, TCP and UDP as well. A flow that was opened in clear may go on in an
 * SA: flow_info knows it.
 *
 * LOCAL_OUT runs in a process, and another packet may interrupt it on the same CPU: so
 * counters are added to atomically, and there are several places to work in.
 */
#pragma once

#define LOCAL_PLACES 4 /* of `work`, behind those of the hooks */

/* What is between XFRM and the end of a tunnel comes by TC: uapi/linux/xfrm.h. */
enum local_mode {
	LOCAL_MODE_TUNNEL = 1,
	LOCAL_MODE_BEET = 4,
	LOCAL_MODE_IPTFS = 5,
};

/* A flow that has been cut: tcp_next() knows no way out of this state. */
#define LOCAL_TCP_ENDED FW_TCP_STATE_MAX

/* ---- is it ours to judge? ------------------------------------------------------- */

/* An SA that TC does not see behind; its reqid. */
static __always_inline bool sa_is_transport(const struct xfrm_state *x,
					    __u32 *ret_reqid)
{
	__u8 mode = BPF_CORE_READ(x, props.mode);

	*ret_reqid = BPF_CORE_READ(x, props.reqid);
	return mode != LOCAL_MODE_TUNNEL && mode != LOCAL_MODE_BEET &&
	       mode != LOCAL_MODE_IPTFS;
}

/* The last SA that a packet came out of; 0: none. The skb has the extension. */
static __noinline __u64 sa_of_secpath(struct bpf_nf_ctx *ctx)
{
	const __u32 id =
		(__u32)bpf_core_enum_value(enum skb_ext_id, SKB_EXT_SEC_PATH);
	const void *ext = ctx->skb->extensions, *path;
	const __u32 xvec = bpf_core_field_offset(struct sec_path, xvec);
	__u8 offset = 0;
	__u64 x = 0;
	int len;

	if (bpf_probe_read_kernel(
		    &offset, sizeof(offset),
		    ext + bpf_core_field_offset(struct skb_ext, offset) + id))
		return 0;
	path = ext + offset * 8u;
	len = BPF_CORE_READ((const struct sec_path *)path, len);
	if (len < 1 || len > XFRM_STATES)
		return 0;
	(void)bpf_probe_read_kernel(&x, sizeof(x),
				    path + xvec + (__u32)(len - 1) * sizeof(x));
	return x;
}

/* LOCAL_IN: it has come out of an SA, with nothing but its protocol behind. */
static __always_inline bool came_by_transport(struct bpf_nf_ctx *ctx,
					      __u32 *ret_reqid)
{
	__u64 x;

	if (!bpf_core_enum_value_exists(enum skb_ext_id, SKB_EXT_SEC_PATH))
		return false;
	if (likely(!(ctx->skb->active_extensions >>
			     bpf_core_enum_value(enum skb_ext_id,
						 SKB_EXT_SEC_PATH) &
		     1)))
		return false;
	x = sa_of_secpath(ctx);
	return x && sa_is_transport((const void *)x, ret_reqid);
}

/* LOCAL_OUT: it goes into one. */
static __always_inline bool goes_by_transport(struct bpf_nf_ctx *ctx,
					      __u32 *ret_reqid)
{
	const struct dst_entry *dst =
		(const void *)(ctx->skb->_skb_refdst & ~7ul);
	const struct xfrm_state *x;

	if (!dst || !bpf_core_field_exists(struct dst_entry, xfrm))
		return false;
	x = BPF_CORE_READ(dst, xfrm);
	return unlikely(x != NULL) && sa_is_transport(x, ret_reqid);
}

/* ---- the packet ------------------------------------------------------------------ */

static long ext6_step_local(__u32 i, struct ext6_walk *w)
{
	return ext6_step(w, i, FW_HOOK_LOCAL);
}

static __always_inline enum fw_reason
local_ipv6(struct pkt *p, void *ctx, const struct ipv6hdr *ip, __u32 options)
{
	struct ext6_walk w = { .p = p,
			       .ctx = ctx,
			       .options = options,
			       .reason = FW_REASON_DROP_EXT_HEADERS };

	__builtin_memcpy(&p->key.saddr, &ip->saddr, sizeof(p->key.saddr));
	__builtin_memcpy(&p->key.daddr, &ip->daddr, sizeof(p->key.daddr));
	p->key.family = FW_AF_IPV6;
	p->key.proto = ip->nexthdr;
	p->ttl = ip->hop_limit;
	p->l4_off = p->l3_off + 40;
	if (likely(!is_ext6(p->key.proto)))
		return FW_REASON_NONE;
	bpf_loop(FW_MAX_EXT_HEADERS, ext6_step_local, &w, 0);
	return w.reason;
}

static __always_inline enum fw_reason local_ipv4(struct pkt *p,
						 const struct iphdr *ip)
{
	addr_from_v4(&p->key.saddr, ip->saddr);
	addr_from_v4(&p->key.daddr, ip->daddr);
	p->key.family = FW_AF_IPV4;
	p->key.proto = ip->protocol;
	p->ttl = ip->ttl;
	p->l4_off = p->l3_off + ip->ihl * 4u;
	if (unlikely(ip->ihl < 5))
		return FW_REASON_DROP_BAD_IPV4;
	if (unlikely(ip->frag_off & bpf_htons(0x3fff)))
		p->frag = PKT_FRAG_LATER;
	return FW_REASON_NONE;
}

/*
 * The headers, of which the stack or the hooks before have looked at those of IP: of the
 * ESP packet they were the same. Fragments come out of no SA whose sender follows
 * RFC 4303 section 3.3.4.
 */
static __noinline enum fw_reason
local_parse(struct pkt *p, struct bpf_nf_ctx *ctx, __u32 options)
{
	const struct sk_buff *skb = ctx->skb;
	enum fw_reason reason;
	struct ipv6hdr ip;

	p->len = skb->len;
	p->l3_end = p->len;
	p->l3_off = skb->network_header -
		    (__u32)((__u64)skb->data - (__u64)skb->head);
	if (ctx_load(ctx, FW_HOOK_LOCAL, p->l3_off, &ip, sizeof(struct iphdr)))
		return FW_REASON_DROP_TRUNCATED;
	if (ip.version == 4) {
		reason = local_ipv4(p, (const void *)&ip);
	} else {
		if (ctx_load(ctx, FW_HOOK_LOCAL, p->l3_off, &ip, sizeof(ip)))
			return FW_REASON_DROP_TRUNCATED;
		reason = ip.version == 6 ? local_ipv6(p, ctx, &ip, options)
					 : FW_REASON_DROP_BAD_IPV6;
	}
	if (unlikely(reason != FW_REASON_NONE))
		return reason;
	if (unlikely(p->frag != PKT_WHOLE))
		return FW_REASON_DROP_FRAG_ORPHAN;
	return (enum fw_reason)forget(parse_l4(p, ctx, FW_HOOK_LOCAL, options));
}

/* ---- counting ----------------------------------------------------------------------- */

static __always_inline void
local_count(const struct pkt *p, const enum fw_hook hook, enum fw_reason reason)
{
	__u32 index = p->base.stats + FW_STATS_INDEX(p->slot, hook, reason);
	struct fw_counter *c = bpf_map_lookup_elem(&stats, &index);

	if (!c)
		return;
	__sync_fetch_and_add(&c->packets, 1);
	__sync_fetch_and_add(&c->bytes, p->len);
}

/* As decided(). */
static __noinline int local_decided(struct pkt *p, __u32 gen, __u32 hook,
				    __u32 reason, bool flow)
{
	__u32 index = p->base.rule_stats + p->res.slot;
	struct fw_rule_counter *c = bpf_map_lookup_elem(&rule_stats, &index);

	if (c) {
		__sync_fetch_and_add(&c->packets, 1);
		__sync_fetch_and_add(&c->bytes, p->len);
		__sync_fetch_and_add(&c->flows, flow ? 1 : 0);
	}
	if (unlikely(p->res.flags & FW_RESULT_LOG)) {
		(void)event_packet(p, FW_EVENT_LOG, hook, reason, gen);
		p->logged = true;
	}
	return 0;
}

/* ---- flows --------------------------------------------------------------------------- */

static __always_inline bool local_has_flow(const struct pkt *p)
{
	return p->key.flags & FW_KEY_PORTS || pkt_has_xflow(p);
}

static __always_inline __u64 local_life(const struct pkt *p,
					const struct fw_timeouts *t, __u8 state,
					bool replied)
{
	__u32 seconds;

	if (p->key.proto == IPPROTO_TCP)
		seconds = t->seconds[state & (FW_TCP_STATES - 1)];
	else if (p->key.proto == IPPROTO_UDP)
		seconds =
			t->seconds[replied ? FW_LIFE_UDP_STREAM : FW_LIFE_UDP];
	else
		seconds = xflow_seconds(p, t);
	return seconds * 1000000000ull;
}

/* The other side was heard: it moves to where no flood gets to. */
static __always_inline void local_answered(struct fw_xflow *x,
					   const struct fw_tuple *orig)
{
	x->replied = 1;
	if (!xflow_is_pair(orig))
		return;
	(void)bpf_map_update_elem(&xflows_answered, orig, x, BPF_ANY);
	(void)bpf_map_delete_elem(&xflows, orig);
}

static __always_inline void local_account(const struct pkt *p,
					  struct fw_xflow *x)
{
	struct fw_flow_counts *c = &x->counts;

	if (p->flow.reply) {
		__sync_fetch_and_add(&c->packets[1], 1);
		__sync_fetch_and_add(&c->bytes[1], p->len);
	} else {
		__sync_fetch_and_add(&c->packets[0], 1);
		__sync_fetch_and_add(&c->bytes[0], p->len);
	}
}

/* A packet of a running flow: plain stores, as xflow_move(). `next`: of tcp_next(). */
static __always_inline void local_move(const struct pkt *p, struct fw_xflow *x,
				       const struct fw_image_head *head,
				       __u64 now, __u8 next)
{
	const struct flow *f = &p->flow;
	bool tcp = p->key.proto == IPPROTO_TCP, renew = next & TCP_LIVES;
	bool replied = x->replied || f->reply;
	__u64 life;

	next &= FW_TCP_STATES - 1;
	if (tcp)
		replied = x->replied || !tcp_is_half_open(next);
	if (!tcp || next != x->tcp_state)
		renew = true;
	x->tcp_state = next;
	if (x->gen != f->gen) /* kept */
		x->gen = f->gen;
	life = local_life(p, &head->timeouts, next, replied);
	if (renew)
		x->expires_ns = now + life;
	if (unlikely(accounts(head)))
		local_account(p, x);
	if (replied && !x->replied)
		local_answered(x, &f->orig);
}

/*
 * A TCP connection that was opened in clear and goes on in an SA. What the connection table
 * says of it nobody can ask here, but whose it is is known.
 */
static __noinline void local_find_clear(struct pkt *p,
					const struct fw_image_head *head)
{
	const struct fw_tuple *t = pkt_tuple(p);
	struct flow *f = &p->flow;
	struct fw_flow_info *info;

	if (p->key.proto != IPPROTO_TCP || !is_midstream(p))
		return;
	f->orig = *t;
	info = bpf_map_lookup_elem(&flow_info, &f->orig);
	if (!info) {
		f->reply = true;
		tuple_turn(&f->orig);
		info = bpf_map_lookup_elem(&flow_info, &f->orig);
	}
	if (!info || info->ended) {
		f->reply = false;
		return;
	}
	f->found = true;
	f->gen = gen_now(head, info->gen);
	f->changed = f->reply ? FW_TCP_ADOPTED_REPLY : FW_TCP_ADOPTED;
	p->res.slot = info->slot;
	p->res.rule = info->rule;
	f->renamed = true; /* there is no entry of ours yet */
}

/* The flow of a packet; TCP: if the packet is one of it. It moves on if `head` accepts it. */
static __noinline void local_find(struct pkt *p,
				  const struct fw_image_head *head,
				  const enum fw_hook hook)
{
	const struct fw_tuple *t = pkt_tuple(p);
	__u64 now = bpf_ktime_get_ns();
	struct flow *f = &p->flow;
	struct fw_tuple turned;
	struct fw_xflow *x;
	bool reply = false;
	__u8 next = 0;

	tuple_reverse(&turned, t);
	x = xflow_look(p, t, &turned, now, &reply);
	if (!x) {
		local_find_clear(p, head);
		return;
	}
	if (p->key.proto == IPPROTO_TCP) {
		next = tcp_next(x->tcp_state, reply, p->tcp_flags);
		if (next == FW_TCP_NONE)
			return;
	}
	f->found = true;
	f->reply = reply;
	f->gen = gen_now(head, x->gen);
	f->orig = reply ? turned : *t;
	/* it came out of another SA than the rule has named */
	f->bars = hook == FW_HOOK_INGRESS && x->ipsec & FW_BOUND_REQID &&
		  x->reqid != p->key.reqid;
	if (f->gen == head->gen && !f->bars)
		local_move(p, x, head, now, next);
}

/* The rules accept the flow: it is in the table, as theirs. */
static __noinline void local_put(struct pkt *p,
				 const struct fw_image_head *head)
{
	const struct fw_tuple *t = p->flow.found ? &p->flow.orig : pkt_tuple(p);
	__u64 now = bpf_ktime_get_ns();
	struct fw_xflow x = {
		.opened_ns = now,
		.slot = p->res.slot,
		.rule = p->res.rule,
		.ifindex = p->ifindex,
		.gen = head->gen,
		.dir = p->key.dir,
		.ipsec = ipsec_bound(p),
		.tcp_state = p->flow.changed,
		.reqid = p->key.reqid,
	};
	struct fw_tuple turned;
	struct fw_xflow *old;

	old = xflow_get(t, now);
	if (old && p->flow.found) {
		/* in its place: another CPU may count */
		old->slot = x.slot;
		old->rule = x.rule;
		old->ifindex = x.ifindex;
		old->dir = x.dir;
		old->gen = x.gen;
		return;
	}
	/* whatever there was has ended, either way round */
	tuple_reverse(&turned, t);
	xflow_delete(&turned);
	xflow_delete(t);
	x.expires_ns = now + local_life(p, &head->timeouts, x.tcp_state, false);
	(void)bpf_map_update_elem(&xflows, t, &x, BPF_ANY);
}

/* The flow ends with this packet; of TCP nothing but a SYN makes one again. */
static __noinline void local_end(struct pkt *p, const enum fw_hook hook,
				 __u32 gen)
{
	const struct fw_tuple *orig = &p->flow.orig;
	struct fw_flow_info *info;
	struct fw_xflow *x;

	if (p->key.proto == IPPROTO_TCP) {
		x = xflow_get(orig, bpf_ktime_get_ns());
		if (x)
			x->tcp_state = LOCAL_TCP_ENDED;
		info = bpf_map_lookup_elem(&flow_info, orig);
		if (info && p->flow.renamed)
			info->ended = 1;
	} else {
		xflow_delete(orig);
	}
	event_flow(p, hook, FW_EVENT_FLOW_END, orig, &p->res, gen, FW_TCP_NONE);
}

/* ---- the rules ---------------------------------------------------------------------------- */

/* As locate(), where no packet is forwarded: the device is the other side's. */
static __always_inline void local_locate(struct pkt *p, const enum fw_hook hook,
					 bool reply)
{
	bool out = (hook == FW_HOOK_EGRESS) != reply;
	struct fw_key *k = &p->key;

	k->flags &= (__u8) ~(FW_KEY_SRC_SELF | FW_KEY_DST_SELF);
	if (out && p->saddr_self & FW_SELF_ADDRESS)
		k->flags |= FW_KEY_SRC_SELF;
	if (p->daddr_self == FW_SELF_ADDRESS)
		k->flags |= FW_KEY_DST_SELF;
	k->dir = out ? FW_DIR_OUT : FW_DIR_IN;
	k->in_zones = out ? 0 : p->zones;
	k->out_zones = out ? p->zones : 0;
}

/* What the stateless rules say, as ask_stateless(). */
static __noinline enum fw_reason
local_stateless(struct pkt *p, const struct run *r, const enum fw_hook hook)
{
	enum fw_reason reason;

	if (!r->head->has_stateless)
		return FW_REASON_NONE;
	local_locate(p, hook, false);
	if (unlikely(classify(p, r, true)))
		return FW_REASON_DROP_INTERNAL;
	p->io.member = MATCH_ASK_SET;
	if (p->res.rule == FW_RULE_NONE)
		return FW_REASON_NONE;
	reason = p->res.verdict == FW_ACCEPT ? FW_REASON_STATELESS
					     : FW_REASON_DROP_RULE;
	(void)local_decided(p, r->gen, hook, reason, false);
	return reason;
}

/*
 * TCP from the middle of a connection that may be older than the rules. Nobody can be asked
 * whether this host listens on the port: it has opened what goes from a high port to a
 * low one.
 */
static __noinline bool local_may_be_older(struct pkt *p,
					  const struct fw_image_head *head,
					  const enum fw_hook hook)
{
	if (!is_midstream(p) || bpf_ktime_get_ns() >= head->adopt_until_ns ||
	    was_ours(pkt_tuple(p)))
		return false;
	return hook == FW_HOOK_INGRESS ||
	       (p->key.sport >= 32768 && p->key.dport < 32768);
}

/* The rules accept what is in p->key. */
static __always_inline enum fw_reason
local_accept(struct pkt *p, const struct run *r, const enum fw_hook hook)
{
	enum fw_reason reason = reason_of_pass(&p->res);
	struct flow *f = &p->flow;
	bool is_new = !f->found;

	if (f->found || f->older)
		reason = FW_REASON_ESTABLISHED;
	else if (p->key.proto == IPPROTO_TCP)
		f->changed = FW_TCP_SYN_SENT;
	if (f->older)
		f->changed = FW_TCP_ADOPTED;
	if (p->res.flags & FW_RESULT_ESSENTIAL || !local_has_flow(p))
		is_new = false;
	else
		local_put(p, r->head);
	(void)local_decided(p, r->gen, hook, reason, is_new);
	return reason;
}

/* They deny it; nobody is told: a program of this kind sends nothing. */
static __always_inline enum fw_reason
local_deny(struct pkt *p, const struct run *r, const enum fw_hook hook)
{
	enum fw_reason reason = reason_of_drop(&p->res);

	if (p->flow.older)
		return FW_REASON_DROP_TCP_NO_SYN;
	if (reason == FW_REASON_DROP_REJECT)
		reason = FW_REASON_DROP_RULE;
	if (p->flow.found) {
		local_end(p, hook, r->gen);
		reason = FW_REASON_DROP_RELOAD;
	}
	(void)local_decided(p, r->gen, hook, reason, false);
	return reason;
}

/* As step_state(). */
static __noinline enum fw_reason local_state(struct pkt *p, const struct run *r,
					     const enum fw_hook hook)
{
	struct flow *f = &p->flow;
	enum fw_reason reason;

	if (local_has_flow(p))
		local_find(p, r->head, hook);
	if (f->bars)
		return FW_REASON_DROP_IPSEC_CLEAR;
	if (f->found && f->gen == r->gen) {
		if (unlikely(f->renamed))
			local_put(p, r->head);
		return FW_REASON_ESTABLISHED;
	}
	if (f->found) {
		if (is_running(f->gen))
			return FW_REASON_ESTABLISHED;
		if (fw_gen_has_ended(f->gen, r->head->ended_before, r->gen)) {
			local_end(p, hook, r->gen);
			return FW_REASON_DROP_RELOAD;
		}
		key_from_tuple(&p->key, &f->orig);
		(void)learn_selves_again(p);
	} else {
		reason = check_opens(p);
		f->older = reason == FW_REASON_DROP_TCP_NO_SYN &&
			   local_may_be_older(p, r->head, hook);
		if (reason != FW_REASON_NONE && !f->older)
			return reason;
	}
	local_locate(p, hook, f->found && f->reply);
	limit_essential(&p->key);
	if (unlikely(classify(p, r, false)))
		return FW_REASON_DROP_INTERNAL;
	return p->res.verdict == FW_ACCEPT ? local_accept(p, r, hook)
					   : local_deny(p, r, hook);
}

/* True if the ICMP error in `p` is about a flow of our table. */
static __noinline bool local_is_related(struct pkt *p, struct bpf_nf_ctx *ctx,
					const struct fw_image_head *head)
{
	struct fw_tuple about = {};
	__u32 off = p->l4_off + 8;
	bool is_read;

	if (p->key.family == FW_AF_IPV4)
		is_read = quoted_ipv4(p, ctx, FW_HOOK_LOCAL, off, &about);
	else
		is_read = quoted_ipv6(p, ctx, FW_HOOK_LOCAL, off, &about);
	return is_read && addr_equal(&about.saddr, &p->key.daddr) &&
	       icmp_xflow(p, &about, head, bpf_ktime_get_ns());
}

/* As judge(); addresses were checked when it was an ESP packet. */
static __always_inline enum fw_reason local_judge(struct pkt *p,
						  const struct run *r,
						  struct bpf_nf_ctx *ctx,
						  const enum fw_hook hook)
{
	enum fw_reason reason = local_parse(p, ctx, r->head->options);

	if (unlikely(reason != FW_REASON_NONE))
		return reason;
	(void)learn_selves_again(p);
	reason = local_stateless(p, r, hook);
	if (reason != FW_REASON_NONE)
		return reason;
	if (unlikely(p->icmp_kind == PKT_ICMP_ERROR)) {
		if (local_is_related(p, ctx, r->head))
			return FW_REASON_RELATED;
		if (hook != FW_HOOK_EGRESS)
			return FW_REASON_DROP_ICMP_UNRELATED;
		p->key.flags |= FW_KEY_ESSENTIAL;
	}
	return local_state(p, r, hook);
}

/* ---- the hooks ------------------------------------------------------------------------------ */

static __always_inline int local_finish(struct pkt *p, __u32 hook,
					enum fw_reason reason)
{
	bool drop = reason_is_drop(reason);

	local_count(p, hook, reason);
	if (unlikely(drop) && !p->logged && watched() & FW_WATCH_DROPS)
		(void)event_packet(p, FW_EVENT_DROP, hook, reason, 0);
	return drop ? NF_DROP : NF_ACCEPT;
}

/* A packet that is ours to judge, with its place to work in. */
static __noinline int local_run(struct bpf_nf_ctx *ctx, struct pkt *p,
				__u32 reqid, const enum fw_hook hook)
{
	const struct nf_hook_state *state = ctx->state;
	enum fw_reason reason;
	struct run r = {};

	p->len = ctx->skb->len;
	p->rx_ifindex = (__u32)(hook == FW_HOOK_EGRESS ? state->out->ifindex
						       : state->in->ifindex);
	p->ifindex = p->rx_ifindex;
	if (unlikely(!find_rules(&r, &reason)))
		return local_finish(p, hook, reason);
	if (unlikely(!find_iface(p, &r)))
		return local_finish(p, hook, FW_REASON_UNCOVERED);
	p->key.flags |= FW_KEY_IPSEC;
	p->key.reqid = reqid;
	reason = local_judge(p, &r, ctx, hook);
	return local_finish(p, hook, reason);
}
