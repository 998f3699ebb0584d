/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The path of a packet, the same for XDP, TC ingress and TC egress:
 *
 *   offload (XDP) - front, early (XDP) - parse - IPsec (XDP) - stateless rules - addresses
 *   and way back - fragments - ICMP errors - state - rules for new flows - state is made
 *
 * Packets of flows that XDP has forwarded a moment ago end at the first (offload.h);
 * what it may forward is found out behind the last (offload_fill.h).
 *
 * Each step either decides (a reason) or leaves the packet to the next
 * (FW_REASON_NONE). A hook that cannot know enough answers UNDECIDED and the
 * next one does the whole work: XDP makes no state and does not judge running
 * flows again, an ingress hook does not know the interface a packet leaves by.
 */
#pragma once

/* What the stateless rules say; NONE: none of them matches. */
static __always_inline enum fw_reason
ask_stateless(struct pkt *p, struct run *r, void *ctx, const enum fw_hook hook)
{
	enum fw_reason reason;

	if (!r->head->has_stateless)
		return FW_REASON_NONE;
	if (hook == FW_HOOK_XDP && p->early != PKT_EARLY_ASK) {
		p->io.member = MATCH_ASK_SET;
		return p->early == PKT_EARLY_NONE ? FW_REASON_NONE
						  : FW_REASON_STATELESS;
	}
	(void)locate(p, r, hook, false);
	reason = ask_rules(p, r, ctx, hook, true);
	p->io.member = MATCH_ASK_SET; /* other chains have other sets */
	if (reason != FW_REASON_NONE || p->res.rule == FW_RULE_NONE)
		return reason;
	if (likely(p->res.verdict == FW_DROP))
		return FW_REASON_DROP_RULE;
	return p->res.verdict == FW_ACCEPT ? FW_REASON_STATELESS
					   : FW_REASON_DROP_REJECT;
}

/* And it is done. */
static __always_inline enum fw_reason obey_stateless(struct pkt *p,
						     const struct run *r,
						     const enum fw_hook hook,
						     enum fw_reason reason)
{
	bool again;

	if (reason == FW_REASON_UNDECIDED || reason == FW_REASON_DROP_INTERNAL)
		return reason;
	if (reason == FW_REASON_DROP_REJECT && hook == FW_HOOK_XDP)
		return reason; /* TC counts it, and answers */
	/* at egress, what an ingress hook of ours had decided is counted */
	again = hook == FW_HOOK_EGRESS && p->key.dir == FW_DIR_FORWARD &&
		p->key.in_zones && !(p->res.flags & FW_RESULT_MAYBE);
	if (!again)
		decided(p, r, hook, reason, false);
	return reason;
}

/*
 * An error that this host itself sends is about a packet that our ingress let
 * in, maybe undecided, so there may be no flow yet. Path MTU discovery depends
 * on it: it is essential, and the rules for what goes out may name it.
 */
static __always_inline enum fw_reason step_icmp_error(struct pkt *p,
						      const struct run *r,
						      void *ctx,
						      const enum fw_hook hook)
{
	enum fw_reason reason = icmp_is_related(p, ctx, hook, r->head);

	if (reason == FW_REASON_RELATED ||
	    reason == FW_REASON_DROP_IPSEC_CLEAR || hook != FW_HOOK_EGRESS ||
	    p->in_ifindex)
		return reason;
	p->key.flags |= FW_KEY_ESSENTIAL;
	return FW_REASON_NONE;
}

/* Of a packet that comes in: may it come from there, and by this interface? */
static __always_inline enum fw_reason
check_origin(struct pkt *p, struct run *r, void *ctx, const enum fw_hook hook)
{
	enum fw_reason reason;

	if (hook == FW_HOOK_EGRESS)
		return FW_REASON_NONE;
	reason = check_addresses(p, r->head);
	if (unlikely(reason != FW_REASON_NONE))
		return reason;
	return check_way_back(ctx, p, r, hook);
}

/* A later fragment goes where the first one did; what came out of an SA, only TC knows. */
static __always_inline enum fw_reason follow_first(struct pkt *p,
						   const struct run *r,
						   const enum fw_hook hook,
						   __u32 gen)
{
	enum fw_reason reason = frag_follow(p, hook, gen);

	return hook == FW_HOOK_XDP && reason == FW_REASON_FRAGMENT &&
			       r->head->options & FW_OPT_IPSEC
		       ? FW_REASON_UNDECIDED
		       : reason;
}

/* The same, of a fragment but the first. */
static __always_inline enum fw_reason
judge_later(struct pkt *p, struct run *r, void *ctx, const enum fw_hook hook)
{
	enum fw_reason reason = check_origin(p, r, ctx, hook);

	if (unlikely(reason != FW_REASON_NONE))
		return reason;
	if (r->head->options & FW_OPT_FRAG_DROP)
		return FW_REASON_DROP_FRAG_OPTION;
	reason = follow_first(p, r, hook, r->gen);
	if (reason != FW_REASON_DROP_FRAG_ORPHAN)
		return reason;
	reason = ask_stateless(p, r, ctx, hook);
	if (reason != FW_REASON_NONE)
		return obey_stateless(p, r, hook, reason);
	return follow_first(p, r, hook, 0);
}

/*
 * Everything behind the parser; `p` is an IP packet of a covered interface. What a
 * stateless rule drops is not checked before: that would do no more than drop it.
 */
static __always_inline enum fw_reason judge(struct pkt *p, struct run *r,
					    void *ctx, const enum fw_hook hook)
{
	enum fw_reason reason, said;

	if (hook == FW_HOOK_EGRESS ||
	    unlikely(r->head->options & FW_OFF_MARTIAN))
		learn_loopback(p);
	if (hook != FW_HOOK_EGRESS && offers_address(ctx, p))
		p->offered = true;
	if (unlikely(p->frag == PKT_FRAG_LATER))
		return judge_later(p, r, ctx, hook);
	said = ask_stateless(p, r, ctx, hook);
	if (said == FW_REASON_DROP_RULE)
		return obey_stateless(p, r, hook, FW_REASON_DROP_RULE);
	said = (enum fw_reason)forget(said); /* not each answer all the way */
	reason = check_origin(p, r, ctx, hook);
	if (unlikely(reason != FW_REASON_NONE))
		return reason;
	if (unlikely(p->frag != PKT_WHOLE) &&
	    r->head->options & FW_OPT_FRAG_DROP)
		return FW_REASON_DROP_FRAG_OPTION;
	if (said != FW_REASON_NONE)
		return obey_stateless(p, r, hook, said);
	if (unlikely(p->icmp_kind == PKT_ICMP_ERROR)) {
		reason = step_icmp_error(p, r, ctx, hook);
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
	if (m->reason != FW_REASON_NEW && m->reason != FW_REASON_ESSENTIAL) {
		if (accounts(r->head))
			p->flow.counts = FLOW_COUNTED;
		return FW_REASON_JUDGED;
	}
	if (unlikely(r->head->options & FW_OFF_MARTIAN))
		learn_loopback(p);
	(void)locate(p, r, FW_HOOK_INGRESS, false);
	if (unlikely(r->head->options & FW_OPT_IPSEC))
		(void)tell_ipsec(p, FW_HOOK_INGRESS, false);
	return open_flow(p, r, ctx, FW_HOOK_INGRESS);
}

/* The rules for the packet; false: there are none, and *ret says why. */
static __always_inline bool find_rules(struct run *r, enum fw_reason *ret)
{
	void *map = bpf_map_lookup_elem(&rulesets, &first);

	*ret = FW_REASON_DROP_NO_RULES;
	if (unlikely(!map))
		return false;
	r->head = bpf_map_lookup_elem(map, &first);
	if (unlikely(!r->head))
		return false;
	if (unlikely(r->head->magic != FW_IMAGE_MAGIC))
		return false;
	r->gen = r->head->gen;
	r->ifaces = iface_table(r->gen);
	*ret = FW_REASON_DROP_INTERNAL;
	return likely(r->ifaces->gen == r->gen); /* written before its image */
}

/* The path of a packet that no rule has dropped yet. */
static __always_inline enum fw_reason filter(struct pkt *p, struct run *r,
					     void *ctx, const enum fw_hook hook)
{
	enum fw_reason reason, parsed = FW_REASON_NONE;
	struct fw_meta m;
	bool is_usual, known;

	/* read anew behind the parser, which needs the registers */
	asm volatile("" : "+m"(r->head));
	is_usual = parse_usual(p, ctx, hook);
	if (unlikely(!is_usual))
		parsed = parse_unusual(p, ctx, hook, r->head->options);
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
	if (hook != FW_HOOK_XDP && unlikely(r->head->options & FW_OPT_IPSEC))
		(void)learn_ipsec(ctx, p, hook, r->gen);
	learn_selves(p);
	if (hook == FW_HOOK_XDP && unlikely(r->head->options & FW_OPT_ESP)) {
		reason = esp_filter(p, r, ctx);
		if (unlikely(reason != FW_REASON_NONE))
			return reason;
	}
	if (hook == FW_HOOK_EGRESS && fw_image_lets_known(r->head) &&
	    transit_is_noted(ctx, p, r->gen) &&
	    iface_find(r->ifaces, p->in_ifindex, 0))
		return FW_REASON_ESTABLISHED;
	if (hook == FW_HOOK_INGRESS && meta_read(ctx, p, r->gen, &m)) {
		known = m.reason == FW_REASON_ESTABLISHED;
		reason = obey(p, r, ctx, &m);
	} else {
		reason = judge(p, r, ctx, hook);
		known = reason == FW_REASON_ESTABLISHED;
	}
	if (hook == FW_HOOK_INGRESS && !accounts(r->head))
		transit_note(ctx, p, r->gen,
			     known && fw_image_lets_known(r->head));
	if (!is_dry && unlikely(p->frag == PKT_FRAG_FIRST))
		(void)frag_decide(p, hook, reason, r->gen);
	return reason;
}
