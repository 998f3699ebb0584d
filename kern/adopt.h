/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Connections that are older than the first rules, for a while after these were
 * loaded: which packets may be of one, and what becomes of those.
 */
#pragma once

/* Read only where a packet would be dropped otherwise. */
static __always_inline bool adopts_now(const struct fw_image_head *head)
{
	return head->adopt_until_ns &&
	       bpf_ktime_get_coarse_ns() < head->adopt_until_ns;
}

/* From the middle of a connection: what each of them has but its first packet. */
static __always_inline bool is_midstream(const struct pkt *p)
{
	return (p->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_ACK;
}

/* A flow that has been ours is not older than we are; it has ended. */
static __noinline bool was_ours(const struct fw_tuple *t)
{
	struct fw_tuple turned;

	if (bpf_map_lookup_elem(&flow_info, t))
		return true;
	tuple_reverse(&turned, t);
	return bpf_map_lookup_elem(&flow_info, &turned);
}

/*
 * True if the rules have accepted an older connection as one that this host has opened,
 * though it serves that port: then the other side has, and they have to accept that. TC.
 */
static __always_inline bool is_mistaken(struct pkt *p, void *ctx)
{
	const struct flow *f = &p->flow;

	return f->older && p->key.dir == FW_DIR_OUT &&
	       p->key.proto == IPPROTO_TCP && p->res.verdict == FW_ACCEPT &&
	       is_served_here(ctx, f->reply ? &f->orig : pkt_tuple(p));
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

	if (hooks_active(ctx_net(ctx, hook), p->key.family)) {
		dry_open(orig, FW_OPENS_KERNEL, 0);
		return FW_REASON_NEW; /* the kernel picks it up */
	}
	if (unlikely(pressure_refuses_next()))
		return FW_REASON_DROP_TABLE_PRESSURE;
	refusal = ct_insert(ctx, orig, r->head, state,
			    tcp_is_half_open(state)
				    ? pressure_life(t->seconds[life])
				    : t->seconds[life]);
	if (unlikely(refusal != FW_REASON_NONE))
		return refusal;
	dry_open(orig, FW_OPENS_FLOW, r->gen);
	p->flow.changed = state;
	remember_flow(p, hook, r->gen, orig, FW_EVENT_FLOW_NEW);
	account_for(p, r->head, orig);
	decided(p, r, hook, FW_REASON_ESTABLISHED, true);
	return FW_REASON_ESTABLISHED;
}

/*
 * A packet that nobody's flow explains, soon after the first load, may be of a
 * connection that is older. It is judged as seen, as if it opened a flow; if that is
 * denied, turned round, as the answer to what the other side has opened. TC only.
 *
 * Where the kernel's hooks run, the kernel knows all of UDP that there is, and of TCP
 * what has talked since they do; and what was ours is no older than we are.
 */
static __noinline bool may_be_older(struct pkt *p, void *ctx,
				    const enum fw_hook hook)
{
	const struct fw_tuple *t = pkt_tuple(p);

	if (p->key.proto == IPPROTO_UDP &&
	    (!is_asked_for(ctx, t) ||
	     hooks_active(ctx_net(ctx, hook), t->family)))
		return false;
	return !was_ours(t);
}

static __always_inline bool is_udp_in(const struct pkt *p,
				      const enum fw_hook hook)
{
	return hook != FW_HOOK_EGRESS && p->key.proto == IPPROTO_UDP &&
	       p->key.dir == FW_DIR_IN;
}

/* Might it be an answer to UDP that this host has sent? */
static __always_inline bool
may_be_answer(const struct pkt *p, const struct run *r, const enum fw_hook hook)
{
	return is_udp_in(p, hook) && adopts_now(r->head);
}

/* The packet is judged as the answer that it is: p->key is what opened its flow. */
static __noinline void turn_to_answer(struct pkt *p)
{
	struct flow *f = &p->flow;

	f->older = true;
	f->reply = true;
	tuple_reverse(&f->orig, pkt_tuple(p));
	key_from_tuple(&p->key, &f->orig);
	(void)learn_selves_again(p);
	learn_loopback(p);
}

/*
 * The kernel's hooks pick up TCP in the middle (nf_conntrack_tcp_loose), turned round
 * if the answering side came first. Soon after the first load such a flow may be
 * older than the rules, and once judged turned round it is always.
 */
static __noinline bool was_picked_up_turned(struct pkt *p, const struct run *r)
{
	struct fw_flow_info *info =
		bpf_map_lookup_elem(&flow_info, &p->flow.orig);

	if (p->key.proto != IPPROTO_TCP)
		return false;
	if (info && !info->ended && info->turned)
		return true;
	return !p->flow.gen && is_midstream(p) && adopts_now(r->head) &&
	       !was_ours(&p->flow.orig);
}

/*
 * True if the denied packet is to be judged once more: p->key is then what the
 * other side would have sent to open its flow.
 */
static __noinline bool turn_round(struct pkt *p, const struct run *r, void *ctx,
				  const enum fw_hook hook)
{
	struct flow *f = &p->flow;
	struct fw_tuple turned;

	if (f->found) {
		if (f->older || !was_picked_up_turned(p, r))
			return false;
		f->older = true;
		f->reply = !f->reply;
		tuple_reverse(&turned, &f->orig);
		key_from_tuple(&p->key, &turned);
		(void)learn_selves_again(p);
		learn_loopback(p);
		return true;
	}
	if (f->reply)
		return false;
	if (!f->older) {
		f->older =
			may_be_answer(p, r, hook) && may_be_older(p, ctx, hook);
		if (!f->older && !(is_udp_in(p, hook) && answers_us(ctx, p)))
			return false;
	}
	turn_to_answer(p);
	return true;
}

/*
 * The rules have judged an older connection. Nobody has seen the other side of a TCP
 * one: it is established with the first packet of that (I8), unless a socket is that.
 */
static __noinline enum fw_reason
settle_older(struct pkt *p, struct run *r, void *ctx, const enum fw_hook hook)
{
	bool tcp = p->key.proto == IPPROTO_TCP;
	enum fw_reason reason;

	if (p->res.verdict == FW_ACCEPT)
		return take_over(p, r, ctx, hook,
				 !tcp || p->flow.vouched ? FW_TCP_ESTABLISHED
				 : p->flow.reply	 ? FW_TCP_ADOPTED_REPLY
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
