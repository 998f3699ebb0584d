/* SPDX-License-Identifier: GPL-2.0-only */

/* What the rules say of a packet, and that it is counted and logged. */
#pragma once

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
	if (res->flags & FW_RESULT_CLEAR)
		return FW_REASON_DROP_IPSEC_CLEAR;
	return res->flags & FW_RESULT_DEFAULT ? FW_REASON_DROP_DEFAULT
					      : FW_REASON_DROP_RULE;
}

/* The rule has decided here: its counter, its log. */
static __always_inline void decided(struct pkt *p, const struct run *r,
				    const enum fw_hook hook,
				    enum fw_reason reason, bool flow)
{
	count_rule(p, p->res.slot, flow);
	if (!is_dry && unlikely(p->res.flags & FW_RESULT_LOG)) {
		(void)event_packet(p, FW_EVENT_LOG, hook, reason, r->gen);
		p->logged = true;
	}
}

/* What the rules say, in p->res; 0 or -1. */
static __always_inline int classify(struct pkt *p, const struct run *r,
				    const bool stateless)
{
	int err = classify_first(&p->io, r->gen, stateless);

	return err == MATCH_UNFINISHED
		       ? classify_rest(&p->io, r->gen, stateless)
		       : err;
}

/*
 * Ask the rules. NONE: p->res is certain. UNDECIDED: the leaving interface or IPsec
 * makes a difference, and a later hook of ours knows it, and sees the packet as it is.
 * No stateless rule asks for IPsec.
 */
static __always_inline enum fw_reason ask_rules(struct pkt *p, struct run *r,
						void *ctx,
						const enum fw_hook hook,
						const bool stateless)
{
	const __u8 unknown = FW_KEY_OUT_UNKNOWN | FW_KEY_IPSEC_UNKNOWN;

	if (hook == FW_HOOK_XDP && !stateless &&
	    r->head->options & FW_OPT_IPSEC)
		p->key.flags |= FW_KEY_IPSEC_UNKNOWN;
	for (int i = 0; i < 2; i++) {
		if (unlikely(classify(p, r, stateless)))
			return FW_REASON_DROP_INTERNAL;
		if (likely(!(p->key.flags & unknown) ||
			   !(p->res.flags & FW_RESULT_MAYBE)))
			return FW_REASON_NONE;
		if (hook != FW_HOOK_INGRESS || leaves_by_ours(ctx, p, r->gen))
			return FW_REASON_UNDECIDED;
		p->key.flags &= (__u8)~FW_KEY_OUT_UNKNOWN;
		p->key.out_zones = p->way_zones;
	}
	return FW_REASON_NONE;
}
