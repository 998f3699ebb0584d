/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * TC: the usual packet of an established flow, of which the hook before has noted that it is
 * that (meta.h, transit.h). All there is to do is to see that it is that packet still, by the
 * same rules, and to count it: the whole way (filter.h) would find no more, and has first to
 * clear what it works with. Whatever is not taken here goes that way, as if nobody had looked.
 */
#pragma once

/*
 * The packet, if it is plain. Nothing has been cleared before: what parse_usual() leaves to
 * that, and is asked here, is written first.
 */
static __always_inline bool known_parse(struct pkt *p, struct __sk_buff *skb,
					const enum fw_hook hook)
{
	p->key.icmp = 0;
	p->vlan = 0;
	p->icmp_id = 0;
	p->frag = PKT_WHOLE;
	return parse_usual(p, skb, hook);
}

/* TC ingress: XDP has found the flow. An answer of ours is known by other marks. */
static __noinline bool ingress_is_known(struct __sk_buff *skb)
{
	const struct fw_meta *m = (void *)(long)skb->data_meta;
	enum fw_reason ignored;
	__u32 hash, gen;
	struct pkt *p;
	struct run r;

	if ((void *)(m + 1) > (void *)(long)skb->data ||
	    m->cookie != fw_cookie || m->reason != FW_REASON_ESTABLISHED ||
	    skb->tc_index == own_index())
		return false;
	hash = m->hash;
	gen = m->gen;
	p = work_of(FW_HOOK_INGRESS);
	if (!p || !find_rules(&r, &ignored) || gen != r.gen ||
	    !known_parse(p, skb, FW_HOOK_INGRESS) || !may_transit(p, &r) ||
	    hash != pkt_hash(p, flow_hash(p)) || !find_iface(p, &r))
		return false;
	transit_note(skb, p, &r, true);
	count(p, FW_HOOK_INGRESS, FW_REASON_JUDGED);
	return true;
}

/* TC egress: our ingress hook has. */
static __noinline bool egress_is_known(struct __sk_buff *skb)
{
	struct pkt *p = work_of(FW_HOOK_EGRESS);
	enum fw_reason ignored;
	struct run r;

	if (!p || !find_rules(&r, &ignored) ||
	    !known_parse(p, skb, FW_HOOK_EGRESS))
		return false;
	p->in_ifindex = skb->ingress_ifindex;
	p->saddr_self = self_of(self_table(), &p->key.saddr, p->key.family);
	if (!transit_is_known(skb, p, &r) || !find_iface(p, &r))
		return false;
	count(p, FW_HOOK_EGRESS, FW_REASON_ESTABLISHED);
	return true;
}

/* True: it passes, and has been counted. Without a note that costs not even a call. */
static __always_inline bool is_known(struct __sk_buff *skb,
				     const enum fw_hook hook)
{
	if (is_dry)
		return false;
	if (hook == FW_HOOK_EGRESS)
		return skb->tc_index & TRANSIT_MARK && egress_is_known(skb);
	return skb->data_meta != skb->data && ingress_is_known(skb);
}
