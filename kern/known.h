/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * TC: the usual packet of an established flow, of which the hook before has noted that it is
 * that (meta.h, transit.h). All there is to do is to see that it is that packet still, by the
 * same rules, and to count it: the whole way (filter.h) would find no more, and has first to
 * clear what it works with. Whatever is not taken here goes that way, as if nobody had looked.
 */
#pragma once

/*
 * The packet, if it is plain. `p` is in registers, as far as anybody asks for it, and was not
 * cleared before: what parse_usual() leaves to that, and is asked here, is written first.
 */
static __always_inline bool known_parse(struct pkt *p, struct __sk_buff *skb,
					const enum fw_hook hook)
{
	p->key.icmp = 0;
	p->vlan = 0;
	p->icmp_id = 0;
	p->tcp_flags = 0;
	p->frag = PKT_WHOLE;
	return parse_usual(p, skb, hook);
}

/* As count(), without anything but the processor to say where. */
static __always_inline void
known_count(struct pkt *seen, const enum fw_hook hook, enum fw_reason reason)
{
	seen->base.stats = bpf_get_smp_processor_id() * FW_STATS_ENTRIES;
	count(seen, hook, reason);
}

/* TC ingress: XDP has found the flow. An answer of ours is known by other marks. */
static __noinline bool ingress_is_known(struct __sk_buff *skb)
{
	const struct fw_meta *m = (void *)(long)skb->data_meta;
	const __u32 gen = known_gen();
	struct pkt seen;
	__u32 hash;

	if ((void *)(m + 1) > (void *)(long)skb->data ||
	    m->cookie != fw_cookie || m->reason != FW_REASON_ESTABLISHED ||
	    m->gen != gen || m->is_ours || skb->tc_index == own_index())
		return false;
	hash = m->hash;
	seen.slot = m->ifslot;
	if (!known_parse(&seen, skb, FW_HOOK_INGRESS) || !may_transit(&seen) ||
	    hash != pkt_hash(&seen, flow_hash(&seen)))
		return false;
	seen.saddr_self = 0;
	transit_note(skb, &seen, gen, true);
	known_count(&seen, FW_HOOK_INGRESS, FW_REASON_JUDGED);
	return true;
}

/*
 * Are both interfaces ours? Where the counters of this one are comes into `seen`. The tables
 * are asked when they or the rules are others than when they were asked before.
 */
static __always_inline bool find_way(struct pkt *seen, __u32 gen)
{
	const __u32 at = (seen->rx_ifindex + 2 * seen->in_ifindex) % KNOWN_WAYS;
	const __u32 epoch = iface_epoch();
	struct pkt *p = work_of(FW_HOOK_EGRESS);
	struct known_way *way;
	struct run r;

	if (!p)
		return false;
	way = &p->ways[at];
	seen->slot = way->slot;
	if (likely(way->in_ifindex == seen->in_ifindex &&
		   way->ifindex == seen->rx_ifindex && way->gen == gen &&
		   way->epoch == epoch))
		return true;
	r.ifaces = iface_table(gen);
	if (r.ifaces->gen != gen || !find_iface(seen, &r) ||
	    !iface_find(r.ifaces, seen->in_ifindex, 0))
		return false;
	*way = (struct known_way){ .in_ifindex = seen->in_ifindex,
				   .ifindex = seen->rx_ifindex,
				   .gen = gen,
				   .epoch = epoch,
				   .slot = seen->slot };
	return true;
}

/* TC egress: our ingress hook has. */
static __noinline bool egress_is_known(struct __sk_buff *skb)
{
	const __u32 gen = known_gen();
	struct pkt seen;

	if (!gen || !known_parse(&seen, skb, FW_HOOK_EGRESS))
		return false;
	seen.in_ifindex = skb->ingress_ifindex;
	if (!transit_is_noted(skb, &seen, gen) || !find_way(&seen, gen))
		return false;
	known_count(&seen, FW_HOOK_EGRESS, FW_REASON_ESTABLISHED);
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
