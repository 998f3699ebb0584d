/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The stateful step: a packet goes on as part of an accepted flow, is judged anew, or
 * opens a flow that the rules accept.
 */
#pragma once

/*
 * Why the flow of the packet is over, whatever our rules say of it, or NONE.
 * ESTABLISHED: newer ones have accepted it.
 */
static __always_inline enum fw_reason
check_alive(struct pkt *p, struct run *r, void *ctx, const enum fw_hook hook)
{
	const struct flow *f = &p->flow;
	enum fw_reason reason = FW_REASON_NONE;

	if (f->gen) {
		if (unlikely(is_running(f->gen))) /* and we do no more */
			return FW_REASON_ESTABLISHED;
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

/*
 * Whether the rules are to be asked about a packet that nobody's accepted flow explains:
 * NONE, or what becomes of it. What may be of a connection older than the rules is, too.
 */
static __always_inline enum fw_reason
check_asks(struct pkt *p, struct run *r, void *ctx, const enum fw_hook hook)
{
	struct flow *f = &p->flow;
	enum fw_reason reason;
	int answers;

	if (hook != FW_HOOK_XDP && f->found)
		return check_alive(p, r, ctx, hook);
	f->reply = false;
	reason = check_opens(p);
	if (reason != FW_REASON_DROP_TCP_NO_SYN)
		return reason;
	if (hook == FW_HOOK_INGRESS) {
		answers = answers_us(ctx, p);
		f->older = answers != 0;
		if (answers == 1)
			turn_to_answer(p);
		if (answers)
			return FW_REASON_NONE;
	}
	if (hook == FW_HOOK_XDP && may_come_from_sa(p, ctx))
		return FW_REASON_UNDECIDED;
	if (!is_midstream(p) || !adopts_now(r->head))
		return reason;
	if (hook == FW_HOOK_XDP)
		return FW_REASON_UNDECIDED;
	f->older = may_be_older(p, ctx, hook);
	return f->older ? FW_REASON_NONE : reason;
}

/* Ask the rules for new flows, of what may be an answer perhaps twice; as ask_rules(). */
static __always_inline enum fw_reason
ask_both_ways(struct pkt *p, struct run *r, void *ctx, const enum fw_hook hook)
{
	enum fw_reason reason;

#pragma clang loop unroll(disable)
	for (int i = 0; i < 2; i++) {
		if (!locate(p, r, hook, p->flow.reply)) {
			if (hook != FW_HOOK_INGRESS ||
			    leaves_by_ours(ctx, p, r->gen))
				return FW_REASON_UNDECIDED;
			/* its flow came in where the answer goes to */
			p->key.in_zones = p->way_zones;
		}
		if (hook != FW_HOOK_XDP &&
		    unlikely(r->head->options & FW_OPT_IPSEC))
			(void)tell_ipsec(p, hook, p->flow.reply);
		limit_essential(&p->key);
		reason = ask_rules(p, r, ctx, hook, false);
		if (reason != FW_REASON_NONE)
			return reason;
		if (hook != FW_HOOK_XDP && unlikely(is_mistaken(p, ctx)))
			p->res.verdict = FW_DROP;
		if (p->res.verdict == FW_ACCEPT || hook == FW_HOOK_XDP ||
		    likely(!judge_otherwise(p, r, ctx, hook)))
			break;
	}
	return FW_REASON_NONE;
}

/* The rules deny a new flow. */
static __always_inline enum fw_reason
deny_flow(struct pkt *p, struct run *r, void *ctx, const enum fw_hook hook)
{
	enum fw_reason reason = reason_of_drop(&p->res);

	if (hook == FW_HOOK_XDP &&
	    (may_be_answer(p, r, hook) || may_be_announced(p) ||
	     (is_udp_in(p, hook) && may_come_from_sa(p, ctx))))
		return FW_REASON_UNDECIDED;
	if (reason != FW_REASON_DROP_REJECT || hook != FW_HOOK_XDP)
		decided(p, r, hook, reason, false);
	return reason;
}

static __always_inline enum fw_reason
step_state(struct pkt *p, struct run *r, void *ctx, const enum fw_hook hook)
{
	struct flow *f = &p->flow;
	enum fw_reason reason;

	find_flow(p, r, ctx, hook);
	if (unlikely(r->head->options & FW_OPT_IPSEC) && f->found) {
		reason = check_ipsec(p, hook);
		if (reason != FW_REASON_NONE)
			return reason;
		if (f->forgotten && f->gen == r->gen)
			f->gen = 0;
	}
	if (f->found && f->gen == r->gen) {
		if (f->changed)
			event_flow(p, hook, FW_EVENT_FLOW_STATE, &f->orig, NULL,
				   r->gen, f->changed);
		return FW_REASON_ESTABLISHED;
	}
	if (f->found && hook == FW_HOOK_XDP)
		return FW_REASON_UNDECIDED;
	reason = check_asks(p, r, ctx, hook);
	if (reason != FW_REASON_NONE)
		return reason;
	if (hook != FW_HOOK_XDP && f->found) { /* XDP has left it to TC */
		key_from_tuple(&p->key, &f->orig);
		(void)learn_selves_again(p);
		learn_loopback(p);
	}
	reason = ask_both_ways(p, r, ctx, hook);
	if (reason != FW_REASON_NONE)
		return reason;
	if (hook != FW_HOOK_XDP && f->found)
		return settle_flow(p, r, ctx, hook);
	if (hook != FW_HOOK_XDP && unlikely(f->older))
		return settle_older(p, r, ctx, hook);
	if (p->res.verdict != FW_ACCEPT)
		return deny_flow(p, r, ctx, hook);
	if (hook == FW_HOOK_XDP)
		return leave_flow(p, ctx);
	reason = open_flow(p, r, ctx, hook);
	return f->related && reason == FW_REASON_NEW ? FW_REASON_RELATED
						     : reason;
}
