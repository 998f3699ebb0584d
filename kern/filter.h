/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The path of a packet, the same for XDP, TC ingress and TC egress:
 *
 *   parse - addresses - stateless rules - fragments - ICMP errors - state -
 *   rules for new flows - state is made
 *
 * Each step either decides (a reason) or leaves the packet to the next
 * (FW_REASON_NONE). A hook that cannot know enough answers UNDECIDED and the
 * next one does the whole work: XDP makes no state and does not judge running
 * flows again, an ingress hook does not know the interface a packet leaves by.
 */
#pragma once

/* What the steps share. */
struct run {
	const struct fw_image_head *head;    /* first in the image */
	const struct fw_iface_table *ifaces; /* of its generation */
	__u32 gen;
};

/* Zones of an interface that is not the hook's own. */
static __always_inline __u64 other_zones(const struct run *r, __u32 ifindex)
{
	const struct fw_iface *i = iface_find(r->ifaces, ifindex, 0);

	return i ? i->zones : 0;
}

/* A tagged frame belongs to its VLAN device where the rules know that. */
static __always_inline bool find_iface(struct pkt *p, struct run *r)
{
	const struct fw_iface *i = NULL;

	if (unlikely(p->vlan))
		i = iface_find(r->ifaces, p->rx_ifindex, p->vlan);
	if (!i)
		i = iface_find(r->ifaces, p->rx_ifindex, 0);
	if (unlikely(!i))
		return false;
	p->slot = i->slot < FW_MAX_IFSLOTS ? i->slot : 0;
	p->ifindex = i->ifindex;
	p->zones = i->zones;
	return true;
}

/* Where the stack would forward the packet to; 0: nowhere. */
static __noinline __u32 route_out(void *ctx, struct pkt *p)
{
	const struct fw_tuple *t = pkt_tuple(p);
	struct bpf_fib_lookup fib = {};
	long err;

	fib.ifindex = p->rx_ifindex;
	fib.l4_protocol = t->proto;
	fib.sport = t->sport;
	fib.dport = t->dport;
	if (t->family == FW_AF_IPV4) {
		fib.family = 2; /* AF_INET */
		fib.ipv4_src = t->saddr.w[3];
		fib.ipv4_dst = t->daddr.w[3];
	} else {
		fib.family = 10; /* AF_INET6 */
		__builtin_memcpy(fib.ipv6_src, &t->saddr, sizeof(fib.ipv6_src));
		__builtin_memcpy(fib.ipv6_dst, &t->daddr, sizeof(fib.ipv6_dst));
	}
	err = bpf_fib_lookup(ctx, &fib, sizeof(fib), 0);
	if (err != BPF_FIB_LKUP_RET_SUCCESS &&
	    err != BPF_FIB_LKUP_RET_NO_NEIGH &&
	    err != BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return 0;
	return fib.ifindex;
}

/*
 * The interface that a forwarded packet will leave by is needed and unknown.
 * If it is one of ours, its egress hook decides; if not, nobody would, so we
 * judge with what the routing table says: no zone.
 */
static __always_inline bool leaves_by_ours(void *ctx, struct pkt *p,
					   const struct run *r)
{
	__u32 ifindex = route_out(ctx, p);

	return ifindex && iface_find(r->ifaces, ifindex, 0);
}

/*
 * A DHCP server may send its answer to the address that it gives, which is not
 * ours yet (RFC 2131 section 4.1). It is for us if the stack would not forward
 * it, or only back to where it came from.
 */
static __always_inline bool offers_address(void *ctx, struct pkt *p)
{
	__u32 ifindex;

	if (likely(!(p->key.flags & FW_KEY_ESSENTIAL)) ||
	    p->key.family != FW_AF_IPV4 || p->key.sport != 67)
		return false;
	ifindex = route_out(ctx, p);
	return !ifindex || ifindex == p->rx_ifindex;
}

/*
 * By which interface the kernel would answer the packet; 0: by none, negative: it cannot
 * be asked. Lookups on behalf of the loopback are those of a host that does not forward,
 * as long as the loopback is said to (user/antispoof.c). Ports and mark stay out: later
 * fragments have none.
 */
static __noinline long route_back(void *ctx, const struct pkt *p)
{
	const struct fw_key *k = &p->key;
	struct bpf_fib_lookup fib = { .ifindex = 1 }; /* LOOPBACK_IFINDEX */
	bool to_all = addr_is_multicast(&k->daddr, k->family);
	long err;

	if (k->family == FW_AF_IPV4) {
		fib.family = 2; /* AF_INET */
		fib.ipv4_dst = k->saddr.w[3];
		fib.ipv4_src = to_all ? 0 : k->daddr.w[3];
	} else {
		fib.family = 10; /* AF_INET6 */
		__builtin_memcpy(fib.ipv6_dst, &k->saddr, sizeof(fib.ipv6_dst));
		/* lookups from link-local and multicast addresses are refused */
		if (!to_all && !v6_is_link_local(&k->daddr))
			__builtin_memcpy(fib.ipv6_src, &k->daddr,
					 sizeof(fib.ipv6_src));
	}
	err = bpf_fib_lookup(ctx, &fib, sizeof(fib), 0);
	if (err == BPF_FIB_LKUP_RET_FWD_DISABLED || err < 0)
		return -1;
	if (err != BPF_FIB_LKUP_RET_SUCCESS &&
	    err != BPF_FIB_LKUP_RET_NO_NEIGH &&
	    err != BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return 0;
	return fib.ifindex;
}

/* No route is asked for: who has no address yet, or one of its link only. */
static __always_inline bool needs_no_route(const struct pkt *p)
{
	return p->key.flags & FW_KEY_ESSENTIAL ||
	       addr_is_any(&p->key.saddr, p->key.family) ||
	       (p->key.family == FW_AF_IPV6 && v6_is_link_local(&p->key.saddr));
}

/*
 * Reverse path (RFC 3704): 0 if the packet has a way back, by the interface it came by if
 * `is_strict`; 1 if not, -1 if that cannot be found out.
 */
static __always_inline int way_back(void *ctx, const struct pkt *p, __u32 gen,
				    bool is_strict)
{
	const struct fw_iface_table *table;
	const struct fw_iface *i;
	long ifindex;

	if (needs_no_route(p))
		return 0;
	ifindex = route_back(ctx, p);
	if (ifindex <= 0)
		return ifindex ? -1 : 1;
	if (!is_strict)
		return 0;
	table = iface_table(gen);
	if (!table)
		return -1;
	/* a VLAN device that nobody declared is its parent, a slave its bond */
	i = iface_find(table, (__u32)ifindex, 0);
	return !i || i->ifindex != p->ifindex;
}

/* The verifier walks these once, and not for each way to them (classify.h). */
__noinline int way_back_xdp(struct xdp_md *ctx, const struct pkt *p, __u32 gen,
			    __u32 is_strict)
{
	return p ? way_back(ctx, p, gen, is_strict != 0) : -1;
}

__noinline int way_back_tc(struct __sk_buff *ctx, const struct pkt *p,
			   __u32 gen, __u32 is_strict)
{
	return p ? way_back(ctx, p, gen, is_strict != 0) : -1;
}

/* For zones that ask for it. */
static __always_inline enum fw_reason check_way_back(void *ctx,
						     const struct pkt *p,
						     const struct run *r,
						     const enum fw_hook hook)
{
	__u32 is_strict;
	int answer;

	if (likely(!(p->zones & r->head->antispoof)))
		return FW_REASON_NONE;
	is_strict = (p->zones & r->head->antispoof_strict) != 0;
	answer = hook == FW_HOOK_XDP ? way_back_xdp(ctx, p, r->gen, is_strict)
				     : way_back_tc(ctx, p, r->gen, is_strict);
	if (answer < 0)
		return FW_REASON_DROP_INTERNAL;
	return answer ? FW_REASON_DROP_ANTISPOOF : FW_REASON_NONE;
}

/* Once for each pair of addresses that the packet is judged by. */
static __always_inline void learn_selves(struct pkt *p)
{
	const struct fw_self_table *t = self_table();
	const struct fw_key *k = &p->key;
	__u8 src, dst;

	if (k->family == FW_AF_IPV4) {
		src = self4_find(&t->v4, k->saddr.w[3]);
		dst = self4_find(&t->v4, k->daddr.w[3]);
	} else {
		src = self6_find(&t->v6, &k->saddr);
		dst = self6_find(&t->v6, &k->daddr);
	}
	p->saddr_self = src;
	p->daddr_self = dst;
}

/* The same for another pair, which is rare: the verifier walks it once. */
__noinline int learn_selves_again(struct pkt *p)
{
	if (!p)
		return -1;
	learn_selves(p);
	return 0;
}

/*
 * Direction and zones of the flow whose opener's tuple is in p->key, from a
 * packet of that direction or (reply) of the other. False: this hook cannot
 * tell where the flow came in.
 */
static __always_inline bool locate(struct pkt *p, const struct run *r,
				   const enum fw_hook hook, bool reply)
{
	bool egress = hook == FW_HOOK_EGRESS, to_us, from_us;
	__u64 other =
		egress && p->in_ifindex ? other_zones(r, p->in_ifindex) : 0;
	struct fw_key *k = &p->key;

	from_us = p->saddr_self & FW_SELF_ADDRESS;
	to_us = p->daddr_self;
	k->flags &= (__u8) ~(FW_KEY_SRC_SELF | FW_KEY_DST_SELF |
			     FW_KEY_OUT_UNKNOWN);
	if (from_us)
		k->flags |= FW_KEY_SRC_SELF;
	if (p->daddr_self == FW_SELF_ADDRESS) /* not of a broadcast */
		k->flags |= FW_KEY_DST_SELF;
	if (!egress && !reply && !to_us)
		to_us = p->offered || addr_is_multicast(&k->daddr, k->family);
	k->in_zones = egress == reply ? p->zones : other;
	k->out_zones = egress == reply ? other : p->zones;
	if (!egress && !reply)
		from_us = false; /* it claims to be, and nobody checks */
	if (from_us || (egress && !reply && !p->in_ifindex)) {
		k->dir = FW_DIR_OUT;
		k->in_zones = 0;
		return true;
	}
	if (to_us) {
		k->dir = FW_DIR_IN;
		k->out_zones = 0;
		return egress || !reply;
	}
	k->dir = FW_DIR_FORWARD;
	if (!egress && !reply)
		k->flags |= FW_KEY_OUT_UNKNOWN;
	return egress || !reply;
}

/* What is essential depends on where it goes: we need answers of DHCP. */
static __always_inline void limit_essential(struct fw_key *k)
{
	bool to_server =
		k->proto == IPPROTO_UDP && (k->dport == 67 || k->dport == 547);

	if (k->dir == FW_DIR_FORWARD || (k->dir == FW_DIR_IN && to_server))
		k->flags &= (__u8)~FW_KEY_ESSENTIAL;
}

/* The rules judge the flow by what its opener sent, also after NAT. */
static __always_inline void key_from_tuple(struct fw_key *k,
					   const struct fw_tuple *t)
{
	k->saddr = t->saddr;
	k->daddr = t->daddr;
	if (k->flags & FW_KEY_PORTS) {
		k->sport = bpf_ntohs(t->sport);
		k->dport = bpf_ntohs(t->dport);
	} else if (k->flags & FW_KEY_ICMP) {
		k->icmp = (__u16)(t->icmp_type << 8);
	}
}

static __always_inline enum fw_reason
reason_of_pass(const struct fw_result *res)
{
	return res->flags & FW_RESULT_ESSENTIAL ? FW_REASON_ESSENTIAL
						: FW_REASON_NEW;
}

static __always_inline enum fw_reason
reason_of_drop(const struct fw_result *res)
{
	if (res->verdict == FW_REJECT)
		return FW_REASON_DROP_REJECT;
	return res->flags & FW_RESULT_DEFAULT ? FW_REASON_DROP_DEFAULT
					      : FW_REASON_DROP_RULE;
}

/* The rule has decided here: its counter, its log. */
static __always_inline void decided(const struct pkt *p, const struct run *r,
				    const enum fw_hook hook,
				    enum fw_reason reason, bool flow)
{
	count_rule(p, &p->res, flow);
	if (unlikely(p->res.flags & FW_RESULT_LOG))
		event_log(p, hook, &p->res, reason, r->gen);
}

/*
 * What the rules say, in p->res; 0 or -1. XDP asks stateless rules without a call,
 * as long as the walk is short: they are what stands against floods.
 */
static __always_inline int classify(struct pkt *p, const struct run *r,
				    const enum fw_hook hook,
				    const bool stateless)
{
	int err;

	if (hook == FW_HOOK_XDP && stateless) {
		/* not verified anew for each value of the key that is known */
		asm volatile("" ::: "memory");
		err = match_first(r->head, r->head->match, &p->io, true);
	} else {
		err = classify_first(&p->io, r->gen, stateless);
	}
	return err == MATCH_UNFINISHED
		       ? classify_rest(&p->io, r->gen, stateless)
		       : err;
}

/*
 * Ask the rules. NONE: p->res is certain. UNDECIDED: the leaving interface
 * makes a difference, and a later hook of ours knows it.
 */
static __always_inline enum fw_reason ask_rules(struct pkt *p, struct run *r,
						void *ctx,
						const enum fw_hook hook,
						const bool stateless)
{
	for (int i = 0; i < 2; i++) {
		if (unlikely(classify(p, r, hook, stateless)))
			return FW_REASON_DROP_INTERNAL;
		if (likely(!(p->key.flags & FW_KEY_OUT_UNKNOWN) ||
			   !(p->res.flags & FW_RESULT_MAYBE)))
			return FW_REASON_NONE;
		if (hook != FW_HOOK_INGRESS || leaves_by_ours(ctx, p, r))
			return FW_REASON_UNDECIDED;
		p->key.flags &= (__u8)~FW_KEY_OUT_UNKNOWN;
		p->key.out_zones = 0;
	}
	return FW_REASON_NONE;
}

static __always_inline enum fw_reason
step_stateless(struct pkt *p, struct run *r, void *ctx, const enum fw_hook hook)
{
	enum fw_reason reason;
	bool again;

	if (!r->head->has_stateless)
		return FW_REASON_NONE;
	(void)locate(p, r, hook, false);
	reason = ask_rules(p, r, ctx, hook, true);
	if (reason != FW_REASON_NONE || p->res.rule == FW_RULE_NONE)
		return reason;
	reason = p->res.verdict == FW_ACCEPT ? FW_REASON_STATELESS
					     : reason_of_drop(&p->res);
	if (reason == FW_REASON_DROP_REJECT && hook == FW_HOOK_XDP)
		return reason; /* counted by TC, which answers */
	/* at egress, what an ingress hook of ours had decided is counted */
	again = hook == FW_HOOK_EGRESS && p->key.dir == FW_DIR_FORWARD &&
		p->key.in_zones && !(p->res.flags & FW_RESULT_MAYBE);
	if (!again)
		decided(p, r, hook, reason, false);
	return reason;
}

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
	};
	struct fw_flow_info *old = bpf_map_lookup_elem(&flow_info, orig);

	if (old && type == FW_EVENT_ADOPT && !old->ended)
		info.opened_ns = old->opened_ns;
	/* for people only: an entry that cannot be written costs a label */
	(void)bpf_map_update_elem(&flow_info, orig, &info, BPF_ANY);
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
		if (hooks_active(ctx_net(ctx, hook), p->key.family))
			return reason; /* judged and marked at its next sight */
		if (unlikely(pressure_refuses_next()))
			return FW_REASON_DROP_TABLE_PRESSURE;
		refusal = ct_insert(
			ctx, orig, mark_of(r->gen, FW_TCP_SYN_SENT),
			pressure_life(p->key.proto == IPPROTO_TCP
					      ? t->seconds[FW_TCP_SYN_SENT]
					      : t->seconds[FW_LIFE_UDP]));
		if (unlikely(refusal != FW_REASON_NONE))
			return refusal;
		p->flow.changed = FW_TCP_SYN_SENT;
		remember_flow(p, hook, r->gen, orig, FW_EVENT_FLOW_NEW);
	} else if (pkt_has_xflow(p)) {
		xflow_put(p, orig, &p->res, r->gen, t);
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

	if (p->key.proto == IPPROTO_TCP || p->key.proto == IPPROTO_UDP) {
		ct_cut(ctx, hook, pkt_tuple(p));
		info = bpf_map_lookup_elem(&flow_info, &f->orig);
		if (info)
			info->ended = 1;
	} else {
		(void)bpf_map_delete_elem(&xflows, &f->orig);
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
		reason = f->gen ? FW_REASON_DROP_RELOAD
				: reason_of_drop(&p->res);
		if (f->gen)
			end_flow(p, ctx, hook, r->gen);
		else if (!ct)
			(void)bpf_map_delete_elem(&xflows, &f->orig);
		decided(p, r, hook, reason, false);
		return reason;
	}
	if (ct) {
		ct_stamp(p, ctx, hook, now, r->gen, &r->head->timeouts);
		remember_flow(p, hook, r->gen, &f->orig, FW_EVENT_ADOPT);
	} else {
		xflow_put(p, &f->orig, &p->res, r->gen, &r->head->timeouts);
		/* the other name that NAT gave it on this side */
		if (f->renamed)
			xflow_put(p, now, &p->res, r->gen, &r->head->timeouts);
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
		ct_find(p, ctx, hook, r->head);
		return;
	}
	if (!pkt_has_xflow(p))
		return;
	xflow_find(p, t, r->head, f);
	if (f->found || hook != FW_HOOK_EGRESS || !nfct_flow(ctx, f) ||
	    f->reply || f->orig.proto != t->proto)
		return;
	/* translated: judge it by the tuple it had before */
	f->gen = 0;
	f->renamed = !addr_equal(&f->orig.saddr, &t->saddr) ||
		     !addr_equal(&f->orig.daddr, &t->daddr) ||
		     f->orig.sport != t->sport;
	f->found = f->renamed;
}

/* Why the flow of the packet is over, whatever the rules say of it, or NONE. */
static __always_inline enum fw_reason
check_alive(struct pkt *p, struct run *r, void *ctx, const enum fw_hook hook)
{
	const struct flow *f = &p->flow;
	enum fw_reason reason = FW_REASON_NONE;

	if (f->gen) {
		if (fw_gen_has_ended(f->gen, r->head->ended_before, r->gen))
			reason = FW_REASON_DROP_RELOAD;
	} else if (p->key.proto == IPPROTO_TCP && !(p->tcp_flags & TCP_SYN) &&
		   was_ended(&f->orig)) {
		reason = FW_REASON_DROP_TCP_NO_SYN;
	}
	if (reason != FW_REASON_NONE)
		end_flow(p, ctx, hook, r->gen);
	return reason;
}

/* Why a packet without a flow cannot open one, or NONE. */
static __always_inline enum fw_reason check_opens(const struct pkt *p)
{
	if (p->key.proto == IPPROTO_TCP &&
	    (p->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) != TCP_SYN)
		return FW_REASON_DROP_TCP_NO_SYN;
	if (p->icmp_kind == PKT_ICMP_REPLY)
		return FW_REASON_DROP_ICMP_NO_REQUEST;
	return FW_REASON_NONE;
}

/* Make the packet's flow one of ours, with this tuple of its opener. */
static __always_inline enum fw_reason take_over(struct pkt *p, struct run *r,
						void *ctx,
						const enum fw_hook hook,
						__u8 state)
{
	const struct fw_timeouts *t = &r->head->timeouts;
	const struct fw_tuple *orig =
		p->flow.reply ? &p->flow.orig : pkt_tuple(p);
	__u32 life = p->key.proto == IPPROTO_TCP ? state : FW_LIFE_UDP_STREAM;
	enum fw_reason refusal;

	if (unlikely(pressure_refuses_next()))
		return FW_REASON_DROP_TABLE_PRESSURE;
	refusal = ct_insert(ctx, orig, mark_of(r->gen, state),
			    tcp_is_half_open(state)
				    ? pressure_life(t->seconds[life])
				    : t->seconds[life]);
	if (unlikely(refusal != FW_REASON_NONE))
		return refusal;
	p->flow.changed = state;
	remember_flow(p, hook, r->gen, orig, FW_EVENT_FLOW_NEW);
	decided(p, r, hook, FW_REASON_ESTABLISHED, true);
	return FW_REASON_ESTABLISHED;
}

/*
 * A packet that nobody's flow explains, soon after the first load, may be of a
 * connection that is older. It is judged as seen, as if it opened a flow; if that is
 * denied, turned round, as the answer to what the other side has opened. TC only.
 *
 * Where the kernel's hooks run, the kernel knows what there is; and what was ours
 * is no older than we are.
 */
static __noinline bool may_be_older(struct pkt *p, void *ctx,
				    const enum fw_hook hook)
{
	const struct fw_tuple *t = pkt_tuple(p);

	if (p->key.proto == IPPROTO_UDP && !is_asked_for(ctx, t))
		return false;
	return !was_ours(t) && !hooks_active(ctx_net(ctx, hook), t->family);
}

/* Might it be an answer to UDP that this host has sent? */
static __always_inline bool
may_be_answer(const struct pkt *p, const struct run *r, const enum fw_hook hook)
{
	return hook != FW_HOOK_EGRESS && p->key.proto == IPPROTO_UDP &&
	       p->key.dir == FW_DIR_IN && adopts_now(r->head);
}

/*
 * True if the denied packet is to be judged once more: p->key is then what the
 * other side would have sent to open its flow.
 */
static __noinline bool turn_round(struct pkt *p, const struct run *r, void *ctx,
				  const enum fw_hook hook)
{
	struct flow *f = &p->flow;

	if (f->found || f->reply)
		return false;
	if (!f->older) {
		if (likely(!may_be_answer(p, r, hook)))
			return false;
		f->older = may_be_older(p, ctx, hook);
		if (!f->older)
			return false;
	}
	tuple_reverse(&f->orig, pkt_tuple(p));
	f->reply = true;
	key_from_tuple(&p->key, &f->orig);
	(void)learn_selves_again(p);
	learn_loopback(p);
	return true;
}

/*
 * The rules have judged an older connection. Nobody has seen the other side of a TCP
 * one: it is established with the first packet of that (I8).
 */
static __noinline enum fw_reason
settle_older(struct pkt *p, struct run *r, void *ctx, const enum fw_hook hook)
{
	bool tcp = p->key.proto == IPPROTO_TCP;
	enum fw_reason reason;

	if (p->res.verdict == FW_ACCEPT)
		return take_over(p, r, ctx, hook,
				 !tcp		 ? FW_TCP_ESTABLISHED
				 : p->flow.reply ? FW_TCP_ADOPTED_REPLY
						 : FW_TCP_ADOPTED);
	if (tcp)
		return FW_REASON_DROP_TCP_NO_SYN;
	/* it is turned round: nobody to be told */
	reason = reason_of_drop(&p->res);
	if (reason == FW_REASON_DROP_REJECT)
		reason = FW_REASON_DROP_RULE;
	decided(p, r, hook, reason, false);
	return reason;
}

static __always_inline enum fw_reason
step_state(struct pkt *p, struct run *r, void *ctx, const enum fw_hook hook)
{
	struct flow *f = &p->flow;
	enum fw_reason reason;

	find_flow(p, r, ctx, hook);
	if (f->found && f->gen == r->gen) {
		if (f->changed)
			event_flow(p, hook, FW_EVENT_FLOW_STATE, &f->orig, NULL,
				   r->gen, f->changed);
		return FW_REASON_ESTABLISHED;
	}
	if (f->found && hook == FW_HOOK_XDP)
		return FW_REASON_UNDECIDED;
	f->reply = f->found && f->reply;
	reason = f->found ? check_alive(p, r, ctx, hook) : check_opens(p);
	if (reason == FW_REASON_DROP_TCP_NO_SYN && !f->found &&
	    is_midstream(p) && adopts_now(r->head)) {
		if (hook == FW_HOOK_XDP)
			return FW_REASON_UNDECIDED;
		f->older = may_be_older(p, ctx, hook);
		if (f->older)
			reason = FW_REASON_NONE;
	}
	if (reason != FW_REASON_NONE)
		return reason;
	if (f->found) {
		key_from_tuple(&p->key, &f->orig);
		(void)learn_selves_again(p);
		learn_loopback(p);
	}
#pragma clang loop unroll(disable)
	for (int i = 0; i < 2; i++) {
		/* an answer whose way out is not ours came in by no zone either */
		if (!locate(p, r, hook, f->reply) &&
		    (hook != FW_HOOK_INGRESS || leaves_by_ours(ctx, p, r)))
			return FW_REASON_UNDECIDED;
		limit_essential(&p->key);
		reason = ask_rules(p, r, ctx, hook, false);
		if (reason != FW_REASON_NONE)
			return reason;
		if (p->res.verdict == FW_ACCEPT || hook == FW_HOOK_XDP ||
		    likely(!turn_round(p, r, ctx, hook)))
			break;
	}
	if (f->found)
		return settle_flow(p, r, ctx, hook);
	if (hook != FW_HOOK_XDP && unlikely(f->older))
		return settle_older(p, r, ctx, hook);
	if (p->res.verdict != FW_ACCEPT) {
		if (hook == FW_HOOK_XDP && may_be_answer(p, r, hook))
			return FW_REASON_UNDECIDED;
		reason = reason_of_drop(&p->res);
		if (reason != FW_REASON_DROP_REJECT || hook != FW_HOOK_XDP)
			decided(p, r, hook, reason, false);
		return reason;
	}
	if (hook == FW_HOOK_XDP)
		return leave_flow(p, ctx);
	return open_flow(p, r, ctx, hook);
}

/*
 * An error that this host itself sends is about a packet that our ingress let
 * in, maybe undecided, so there may be no flow yet. Path MTU discovery depends
 * on it: it is essential, and the rules for what goes out may name it.
 */
static __always_inline enum fw_reason step_icmp_error(struct pkt *p, void *ctx,
						      const enum fw_hook hook)
{
	if (icmp_is_related(p, ctx, hook))
		return FW_REASON_RELATED;
	if (hook != FW_HOOK_EGRESS || p->in_ifindex)
		return FW_REASON_DROP_ICMP_UNRELATED;
	p->key.flags |= FW_KEY_ESSENTIAL;
	return FW_REASON_NONE;
}

/* Everything behind the parser; `p` is an IP packet of a covered interface. */
static __always_inline enum fw_reason judge(struct pkt *p, struct run *r,
					    void *ctx, const enum fw_hook hook)
{
	enum fw_reason reason;

	if (hook != FW_HOOK_EGRESS) {
		reason = check_addresses(p, r->head);
		if (unlikely(reason != FW_REASON_NONE))
			return reason;
		reason = check_way_back(ctx, p, r, hook);
		if (unlikely(reason != FW_REASON_NONE))
			return reason;
		if (offers_address(ctx, p))
			p->offered = true;
	} else {
		learn_loopback(p);
	}
	if (unlikely(p->frag != PKT_WHOLE) &&
	    r->head->options & FW_OPT_FRAG_DROP)
		return FW_REASON_DROP_FRAG_OPTION;
	reason = step_stateless(p, r, ctx, hook);
	if (reason != FW_REASON_NONE)
		return reason;
	if (unlikely(p->frag == PKT_FRAG_LATER))
		return frag_follow(p, hook);
	if (unlikely(p->icmp_kind == PKT_ICMP_ERROR)) {
		reason = step_icmp_error(p, ctx, hook);
		if (reason != FW_REASON_NONE)
			return reason;
	}
	return step_state(p, r, ctx, hook);
}

/* TC ingress: do what XDP has found out. */
static __always_inline enum fw_reason obey(struct pkt *p, struct run *r,
					   void *ctx, const struct fw_meta *m)
{
	p->res.slot = m->slot;
	p->res.rule = m->rule;
	p->res.verdict = m->verdict;
	p->res.flags = m->flags;
	if (m->reason == FW_REASON_DROP_REJECT) {
		decided(p, r, FW_HOOK_INGRESS, FW_REASON_DROP_REJECT, false);
		return FW_REASON_DROP_REJECT;
	}
	if (m->reason != FW_REASON_NEW && m->reason != FW_REASON_ESSENTIAL)
		return FW_REASON_JUDGED;
	(void)locate(p, r, FW_HOOK_INGRESS, false);
	return open_flow(p, r, ctx, FW_HOOK_INGRESS);
}

/* The whole path; *r is filled for what the hook does with the reason. */
static __always_inline enum fw_reason filter(struct pkt *p, struct run *r,
					     void *ctx, const enum fw_hook hook)
{
	enum fw_reason reason, parsed = FW_REASON_NONE;
	bool is_usual = parse_usual(p, ctx, hook);
	struct fw_meta m;
	void *map;

	map = bpf_map_lookup_elem(&rulesets, &first);
	if (unlikely(!map))
		return FW_REASON_DROP_NO_RULES;
	r->head = bpf_map_lookup_elem(map, &first);
	if (unlikely(!r->head))
		return FW_REASON_DROP_NO_RULES;
	if (unlikely(r->head->magic != FW_IMAGE_MAGIC))
		return FW_REASON_DROP_NO_RULES;
	if (!is_usual)
		parsed = parse_unusual(p, ctx, hook, r->head->options);
	r->gen = r->head->gen;
	r->ifaces = iface_table(r->gen);
	if (unlikely(r->ifaces->gen != r->gen)) /* written before its image */
		return FW_REASON_DROP_INTERNAL;
	if (unlikely(!find_iface(p, r)))
		return FW_REASON_UNCOVERED;
	if (unlikely(parsed ==
		     FW_REASON_NON_IP)) /* nobody is reachable without ARP */
		return r->head->options & FW_OPT_NON_IP_DROP && !p->is_arp
			       ? FW_REASON_DROP_NON_IP
			       : FW_REASON_NON_IP;
	if (unlikely(parsed != FW_REASON_NONE))
		return parsed;
	if (hook == FW_HOOK_EGRESS)
		p->in_ifindex = ((struct __sk_buff *)ctx)->ingress_ifindex;
	learn_selves(p);
	if (hook == FW_HOOK_INGRESS && meta_read(ctx, p, r->gen, &m))
		reason = obey(p, r, ctx, &m);
	else
		reason = judge(p, r, ctx, hook);
	if (unlikely(p->frag == PKT_FRAG_FIRST) && !reason_is_drop(reason))
		frag_remember(p, hook, reason == FW_REASON_UNDECIDED);
	return reason;
}
