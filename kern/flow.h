/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * A packet's flow: looked for in the connection table or in our own, made, judged by
 * new rules, ended.
 */
#pragma once

static __noinline void remember_flow(const struct pkt *p,
				     const enum fw_hook hook, __u32 gen,
				     const struct fw_tuple *orig,
				     enum fw_event_type type)
{
	struct fw_flow_info info = {
		.opened_ns = bpf_ktime_get_ns(),
		.slot = p->res.slot,
		.rule = p->res.rule,
		.ifindex = flow_ifindex(p),
		.gen = gen,
		.dir = p->key.dir,
		.turned = p->flow.found && p->flow.older,
		.offload = p->res.flags & FW_RESULT_OFFLOADS,
		.reqid = p->key.reqid,
		.ipsec = ipsec_bound(p),
	};
	struct fw_flow_info *old;

	if (is_dry)
		return;
	old = bpf_map_lookup_elem(&flow_info, orig);
	if (old && type == FW_EVENT_ADOPT && !old->ended) {
		/* in its place: another CPU may count */
		old->slot = info.slot;
		old->rule = info.rule;
		old->ifindex = info.ifindex;
		old->gen = info.gen;
		old->dir = info.dir;
		old->offload = info.offload;
		if (info.ipsec) { /* never back to in clear */
			old->reqid = info.reqid;
			old->ipsec = info.ipsec;
		}
	} else {
		/* one that cannot be written costs what an evicted one does */
		(void)bpf_map_update_elem(&flow_info, orig, &info, BPF_ANY);
	}
	event_flow(p, hook, type, orig, &p->res, gen,
		   type == FW_EVENT_FLOW_NEW ? p->flow.changed
					     : (__u8)FW_TCP_NONE);
}

/* The flow gets an entry of ours in the connection table. */
static __always_inline bool makes_entry(const struct pkt *p, void *ctx,
					const enum fw_hook hook)
{
	return (p->key.proto == IPPROTO_TCP || p->key.proto == IPPROTO_UDP) &&
	       !(p->res.flags & FW_RESULT_ESSENTIAL) &&
	       !hooks_active(ctx_net(ctx, hook), p->key.family);
}

/*
 * XDP only: an accepted new flow is left to TC, which makes its state, unless it is
 * known that there will be no room: then no skb is made for the packet.
 */
static __always_inline enum fw_reason leave_flow(const struct pkt *p, void *ctx)
{
	if (unlikely(pressure_refuses()) && makes_entry(p, ctx, FW_HOOK_XDP))
		return FW_REASON_DROP_TABLE_PRESSURE;
	return reason_of_pass(&p->res);
}

/*
 * A flow that another has announced: what the kernel makes of it has the mark of that
 * one, so it may not be judged at its next sight.
 */
static __noinline void open_related(struct pkt *p, const struct run *r,
				    const enum fw_hook hook)
{
	remember_flow(p, hook, r->gen, pkt_tuple(p), FW_EVENT_ADOPT);
	if (p->key.dir == FW_DIR_IN) /* else egress counts it */
		decided(p, r, hook, FW_REASON_RELATED, true);
}

/* TC only: make the state of an accepted new flow. */
static __always_inline enum fw_reason
open_flow(struct pkt *p, struct run *r, void *ctx, const enum fw_hook hook)
{
	const struct fw_timeouts *t = &r->head->timeouts;
	enum fw_reason reason = reason_of_pass(&p->res), refusal;
	const struct fw_tuple *orig = pkt_tuple(p);

	/* no rule stands behind it: anybody could fill the table with it */
	if (p->res.flags & FW_RESULT_ESSENTIAL)
		return reason;
	if (p->key.proto == IPPROTO_TCP || p->key.proto == IPPROTO_UDP) {
		if (hooks_active(ctx_net(ctx, hook), p->key.family)) {
			/* judged and marked at its next sight */
			dry_open(orig, FW_OPENS_KERNEL, 0);
			if (unlikely(p->flow.related))
				open_related(p, r, hook);
			if (unlikely(r->head->options & FW_OPT_IPSEC))
				bind_flow(p, orig);
			return reason;
		}
		if (unlikely(pressure_refuses_next()))
			return FW_REASON_DROP_TABLE_PRESSURE;
		refusal = ct_insert(
			ctx, orig, r->head, FW_TCP_SYN_SENT,
			pressure_life(p->key.proto == IPPROTO_TCP
					      ? t->seconds[FW_TCP_SYN_SENT]
					      : t->seconds[FW_LIFE_UDP]));
		if (unlikely(refusal != FW_REASON_NONE))
			return refusal;
		dry_open(orig, FW_OPENS_FLOW, r->gen);
		p->flow.changed = FW_TCP_SYN_SENT;
		remember_flow(p, hook, r->gen, orig, FW_EVENT_FLOW_NEW);
		account_for(p, r->head, orig);
	} else if (pkt_has_xflow(p)) {
		dry_open(orig, FW_OPENS_FLOW, r->gen);
		xflow_put(p, orig, &p->res, r->gen, t);
		account_for(p, r->head, orig);
	}
	decided(p, r, hook, reason,
		p->key.flags & FW_KEY_PORTS || pkt_has_xflow(p));
	return reason;
}

/*
 * A flow that an earlier cut has ended, and that the kernel has picked up again on
 * its own from a packet in between (nf_conntrack_tcp_loose), either way round.
 */
static __noinline bool was_ended(const struct fw_tuple *t)
{
	struct fw_flow_info *info = bpf_map_lookup_elem(&flow_info, t);
	struct fw_tuple turned;

	if (info)
		return info->ended;
	tuple_reverse(&turned, t);
	info = bpf_map_lookup_elem(&flow_info, &turned);
	return info && info->ended;
}

/* The flow ends with this packet, and the next one finds nothing. */
static __noinline void end_flow(struct pkt *p, void *ctx,
				const enum fw_hook hook, __u32 gen)
{
	const struct flow *f = &p->flow;
	struct fw_flow_info *info;

	if (is_dry)
		return;
	if (p->key.proto == IPPROTO_TCP || p->key.proto == IPPROTO_UDP) {
		ct_cut(ctx, hook, pkt_tuple(p));
		info = info_of(&f->orig);
		if (info)
			info->ended = 1;
	} else {
		xflow_delete(&f->orig);
	}
	event_flow(p, hook, FW_EVENT_FLOW_END, &f->orig, &p->res, gen,
		   FW_TCP_NONE);
}

/* The flow was there, but these rules had not judged it; now they have. */
static __always_inline enum fw_reason
settle_flow(struct pkt *p, struct run *r, void *ctx, const enum fw_hook hook)
{
	const struct fw_tuple *now = pkt_tuple(p);
	const struct flow *f = &p->flow;
	bool ct = p->key.proto == IPPROTO_TCP || p->key.proto == IPPROTO_UDP;
	bool deny = p->res.verdict != FW_ACCEPT;
	enum fw_reason reason;

	if (deny) {
		reason = reason_of_drop(&p->res);
		if (f->gen && reason != FW_REASON_DROP_IPSEC_CLEAR)
			reason = FW_REASON_DROP_RELOAD;
		/* p->key is the opener's, who has not sent this */
		if (reason == FW_REASON_DROP_REJECT && f->reply)
			reason = FW_REASON_DROP_RULE;
		if (f->gen)
			end_flow(p, ctx, hook, r->gen);
		else if (!ct)
			xflow_delete(&f->orig);
		decided(p, r, hook, reason, false);
		return reason;
	}
	dry_open(&f->orig, FW_OPENS_SETTLED, r->gen);
	if (ct) {
		ct_stamp(p, ctx, hook, now, r->head);
		remember_flow(p, hook, r->gen, &f->orig, FW_EVENT_ADOPT);
	} else {
		xflow_put(p, &f->orig, &p->res, r->gen, &r->head->timeouts);
		/* the other name that NAT gave it on this side */
		if (f->renamed)
			xflow_put(p, now, &p->res, r->gen, &r->head->timeouts);
		account_for(p, r->head, &f->orig);
	}
	decided(p, r, hook, FW_REASON_ESTABLISHED, !f->gen);
	return FW_REASON_ESTABLISHED;
}

/* The flow of the packet, if there is one; it moves on if `gen` accepts it. */
static __always_inline void find_flow(struct pkt *p, const struct run *r,
				      void *ctx, const enum fw_hook hook)
{
	const struct fw_tuple *t = pkt_tuple(p);
	struct flow *f = &p->flow;

	if (p->key.proto == IPPROTO_TCP || p->key.proto == IPPROTO_UDP) {
		if (unlikely(r->head->options & FW_OPT_IPSEC))
			f->bars = (__u8)ipsec_bars(p, hook);
		ct_find(p, ctx, hook, r->head);
		if (!is_dry && hook == FW_HOOK_EGRESS && unlikely(f->announces))
			(void)expect_note(ctx);
		return;
	}
	if (!pkt_has_xflow(p))
		return;
	xflow_find(p, hook, t, r->head, f);
	if (f->found || hook != FW_HOOK_EGRESS || !nfct_flow(ctx, r->head, f) ||
	    f->reply || f->orig.proto != t->proto)
		return;
	/* translated: judge it by the tuple it had before */
	f->gen = 0;
	f->renamed = !addr_equal(&f->orig.saddr, &t->saddr) ||
		     !addr_equal(&f->orig.daddr, &t->daddr) ||
		     f->orig.sport != t->sport;
	f->found = f->renamed;
}
