/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * `via ipsec`: which packets came out of an SA, or leave by a device that encrypts them,
 * and flows that are bound to that. TC only, for XDP cannot know (FW_OPT_IPSEC).
 *
 * A flow is bound if its first packet came out of an SA, or its rule lets it out only if
 * it is encrypted. What it asks for concerns one leg of a router, that of the opener, or
 * where this host's own flows leave; on the other one its packets are in clear.
 *
 * Most of it are global functions: the verifier walks them once (classify.h).
 */
#pragma once

/* TC: the packet came out of an SA; p->reqid is the reqid of (the outermost) that. */
static __noinline bool came_from_sa(struct __sk_buff *skb, struct pkt *p)
{
	struct bpf_xfrm_state x = {};

	if (is_dry)
		return dry_from_sa(&p->reqid);
	if (bpf_skb_get_xfrm_state(skb, 0, &x, sizeof(x), 0))
		return false;
	p->reqid = x.reqid;
	return true;
}

/*
 * TC: what is known of the packet's way. What comes in by a device of IPsec's came out of
 * an SA, though of some (VTI) nobody can say of which.
 */
__noinline int learn_ipsec(struct __sk_buff *skb, struct pkt *p,
			   enum fw_hook hook, __u32 gen)
{
	const struct fw_iface *i;
	bool encrypts;

	if (!p)
		return -1;
	if (is_dry) /* or it is not passed */
		asm volatile("" : : "r"(skb));
	i = iface_find(iface_table(gen), p->rx_ifindex, 0);
	encrypts = i && i->flags & FW_IFACE_IPSEC;
	if (came_from_sa(skb, p))
		p->ipsec = PKT_FROM_SA;
	if (hook == FW_HOOK_INGRESS) {
		if (encrypts)
			p->ipsec = PKT_FROM_SA;
		return 0;
	}
	if (encrypts)
		p->ipsec |= PKT_INTO_SA;
	if (!p->in_ifindex || iface_find(iface_table(gen), p->in_ifindex, 0))
		p->ipsec |= PKT_CHECKED;
	return 0;
}

/* The packet of a bound flow, from its opener or (reply) not, is as it has to be. */
static __always_inline bool is_protected(const struct pkt *p,
					 const enum fw_hook hook, bool reply,
					 __u8 dir, __u8 bound, __u32 reqid)
{
	bool forward = dir == FW_DIR_FORWARD;

	if (hook == FW_HOOK_XDP)
		return false;
	if (hook == FW_HOOK_EGRESS)
		return p->ipsec & (forward && !reply ? PKT_FROM_SA | PKT_CHECKED
						     : PKT_INTO_SA);
	if (forward && reply)
		return true;
	return p->ipsec & PKT_FROM_SA &&
	       (!(bound & FW_BOUND_REQID) || reqid == p->reqid);
}

/* Is the packet not what the flow of `orig` asks for, if there is one? */
static __always_inline bool is_barred(const struct pkt *p,
				      const enum fw_hook hook,
				      const struct fw_tuple *orig, bool reply)
{
	const struct fw_flow_info *info = bpf_map_lookup_elem(&flow_info, orig);

	return info && info->ipsec && !info->ended &&
	       !is_protected(p, hook, reply, info->dir, info->ipsec,
			     info->reqid);
}

/*
 * Before the flow of the packet is known: may it move that on, if it is its opener's (bit
 * 0) or of the other side (bit 1)? Set: not. Only of flows that are ours, which nobody
 * translates.
 */
__noinline int ipsec_bars(struct pkt *p, enum fw_hook hook)
{
	struct fw_tuple t; /* on the stack: 6.1 takes no other key here */
	int bars;

	if (!p)
		return 3;
	t = *pkt_tuple(p);
	bars = is_barred(p, hook, &t, false);
	tuple_turn(&t);
	if (is_barred(p, hook, &t, true))
		bars |= 2;
	return bars;
}

/* In xflow.h, which needs the above. */
static __always_inline struct fw_xflow *xflow_get(const struct fw_tuple *t,
						  __u64 now);

/*
 * The flow that `p->flow` names has been found. NONE: the packet is what it asks for, if
 * anything. Of a flow that nobody remembers nothing is known: it is judged again.
 */
__noinline enum fw_reason check_ipsec(struct pkt *p, enum fw_hook hook)
{
	const struct fw_flow_info *info;
	const struct fw_xflow *x;
	struct fw_tuple orig;
	struct flow *f;
	__u8 dir = 0;

	if (!p)
		return FW_REASON_DROP_INTERNAL;
	f = &p->flow;
	orig = f->orig;
	if (orig.proto == IPPROTO_TCP || orig.proto == IPPROTO_UDP) {
		info = bpf_map_lookup_elem(&flow_info, &orig);
		if (info && !info->ended) {
			f->bound = info->ipsec;
			f->reqid = info->reqid;
			dir = info->dir;
		}
		if (!info && (!is_dry || hook == FW_HOOK_XDP)) {
			f->forgotten = true;
			f->counts = 0;
			return hook == FW_HOOK_XDP ? FW_REASON_UNDECIDED
						   : FW_REASON_NONE;
		}
	} else {
		x = xflow_get(&orig, bpf_ktime_get_coarse_ns());
		if (x) {
			f->bound = x->ipsec;
			f->reqid = x->reqid;
			dir = x->dir;
		}
	}
	if (!f->bound ||
	    is_protected(p, hook, f->reply, dir, f->bound, f->reqid))
		return FW_REASON_NONE;
	f->counts = 0;
	return hook == FW_HOOK_XDP ? FW_REASON_UNDECIDED
				   : FW_REASON_DROP_IPSEC_CLEAR;
}

/* The same of an ICMP error about that flow. What is not remembered is nobody's. */
static __always_inline enum fw_reason check_ipsec_error(struct pkt *p,
							const enum fw_hook hook)
{
	enum fw_reason reason = check_ipsec(p, hook);

	return reason == FW_REASON_NONE && p->flow.forgotten
		       ? FW_REASON_DROP_ICMP_UNRELATED
		       : reason;
}

/*
 * What the rules are told, once the direction is known: of a flow that is judged again,
 * by a packet that has no part in that, what is remembered.
 */
__noinline int tell_ipsec(struct pkt *p, enum fw_hook hook, __u32 reply)
{
	__u8 leg = PKT_FROM_SA;
	bool forward;

	if (!p)
		return -1;
	forward = p->key.dir == FW_DIR_FORWARD;
	p->key.flags &= (__u8)~FW_KEY_IPSEC;
	p->key.reqid = 0;
	if (hook == FW_HOOK_EGRESS && (!forward || reply))
		leg = PKT_INTO_SA;
	if (hook == FW_HOOK_INGRESS && forward && reply)
		leg = 0;
	if (p->ipsec & leg) {
		p->key.flags |= FW_KEY_IPSEC;
		if (leg == PKT_FROM_SA)
			p->key.reqid = p->reqid;
	} else if (p->flow.bound) {
		p->key.flags |= FW_KEY_IPSEC;
		p->key.reqid = p->flow.reqid;
	}
	return 0;
}

/* What a flow that the rules have accepted is bound to from now on. */
static __always_inline __u8 ipsec_bound(const struct pkt *p)
{
	if (likely(!(p->key.flags & FW_KEY_IPSEC)))
		return 0;
	return p->res.names_reqid ? FW_BOUND | FW_BOUND_REQID : FW_BOUND;
}

/* The kernel makes the entry of a new flow: until we see that, this is known of it. */
static __noinline void bind_flow(const struct pkt *p,
				 const struct fw_tuple *orig)
{
	struct fw_flow_info *info;

	if (is_dry)
		return;
	info = info_of(orig);
	if (!info) /* judged again */
		return;
	if (!info->opened_ns)
		info->opened_ns = bpf_ktime_get_ns();
	info->dir = p->key.dir;
	info->ended = 0;
	info->reqid = p->key.reqid;
	info->ipsec = ipsec_bound(p);
}
