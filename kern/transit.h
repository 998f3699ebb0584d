/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * TC: a packet of an established flow that was judged when it came in is not looked up in
 * the connection table a second time when it leaves: that costs as much as all else.
 *
 * The ingress hook notes it in tc_index, which the stack carries along: a hash of what
 * the packet is and of the rules that judged it. Whatever becomes of it on the way (NAT,
 * a tunnel) is another packet, and is judged. The hook writes each packet's: another
 * namespace's notes are worth nothing. Only what leaves behind one of our ingress
 * hooks, and is not of this host, is believed.
 */
#pragma once

#define TRANSIT_MARK 0x8000u /* above what account.h and reject.h write */

static __always_inline __u32 transit_mark(const struct pkt *p, __u32 gen)
{
	return TRANSIT_MARK | (__u32)(hash_word(flow_hash(p), gen) >> 49);
}

/* Egress would do no more than find the flow, which is as it was at ingress. */
static __always_inline bool may_transit(const struct pkt *p)
{
	return p->frag == PKT_WHOLE &&
	       (p->key.proto == IPPROTO_UDP ||
		(p->key.proto == IPPROTO_TCP &&
		 !(p->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST))));
}

/* The note about a packet of an established flow; 0: none. */
static __always_inline __u16 transit_of(const struct pkt *p, __u32 gen)
{
	if (p->saddr_self & FW_SELF_ADDRESS || !may_transit(p))
		return 0;
	return (__u16)transit_mark(p, gen);
}

/*
 * TC ingress: `known`: the packet is of an established flow, and the rules want nothing else
 * of such ones.
 */
static __always_inline void
transit_note(struct __sk_buff *skb, const struct pkt *p, __u32 gen, bool known)
{
	const __u16 mark = known ? transit_of(p, gen) : 0;

	if (!is_dry && mark != skb->tc_index)
		skb->tc_index = mark;
}

/*
 * TC egress: true if that is the packet, and nothing else has become of it; one of ours has
 * written the note if `in_ifindex` is one of our interfaces. With packets that the kernel
 * tracks itself there is more to do: helpers announce flows.
 */
static __always_inline bool transit_is_noted(struct __sk_buff *skb,
					     const struct pkt *p, __u32 gen)
{
	return skb->tc_index & TRANSIT_MARK && p->in_ifindex &&
	       may_transit(p) && skb->tc_index == transit_mark(p, gen) &&
	       !skb_nfct(skb);
}
