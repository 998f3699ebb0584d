/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * XDP only: a flood from addresses that a stateless rule drops, whatever they send. Known by
 * Ethernet and IP headers alone, with at most one tag: all else takes the long way, and
 * is dropped there by the same rule. What is asked here is not asked again: the answer
 * goes into p->io.member.
 */
#pragma once

/* A member came in, in this direction: count the rule that drops it, if there is one. */
static __always_inline bool front_decide(struct pkt *p, const struct run *r,
					 const struct fw_match_head *h,
					 const bool is_v6, bool to_us)
{
	const __u32 in = FW_MATCH_CHAIN(1, is_v6, FW_DIR_IN);
	const __u32 forward = FW_MATCH_CHAIN(1, is_v6, FW_DIR_FORWARD);
	__u32 chain = to_us ? h->chain[in] : h->chain[forward];
	const struct fw_match_split *c = image_at(
		r->head, chain & ~FW_CHAIN_SPLIT, struct fw_match_split);

	if (!(chain & FW_CHAIN_SPLIT) || !c->is_drop)
		return false;
	if (!find_iface(p, r) || (c->zones && !(c->zones & p->zones)))
		return false;
	count_rule(p, c->slot, false);
	return true;
}

/* The address that the set is asked for is a member; and it is known that it is. */
static __always_inline bool front_asks(struct pkt *p, const void *base,
				       __u32 set, __u32 node, __u64 hi,
				       __u64 lo)
{
	bool has = addrset_find(base, set, node, hi, lo);

	p->io.member = has ? MATCH_MEMBER : MATCH_OTHER;
	return has;
}

static __always_inline bool front_ipv4(struct pkt *p, const struct run *r,
				       const struct fw_match_head *h,
				       const struct iphdr *ip, const void *end)
{
	const struct fw_match_split *c =
		image_at(r->head, h->front[0], struct fw_match_split);
	const struct fw_addr *d = &p->key.daddr;
	const struct udphdr *uh = (const void *)(ip + 1);
	bool to_us;

	if (!h->front[0] || (const void *)(ip + 1) > end ||
	    *(const __u8 *)ip != 0x45)
		return false;
	if (!front_asks(p, r->head, c->set,
			c->set + offsetof(struct fw_addrset, v4),
			bpf_ntohl(c->is_dst ? ip->daddr : ip->saddr), 0))
		return false;
	addr_from_v4(&p->key.daddr, ip->daddr);
	to_us = self4_find(&self_table()->v4, ip->daddr) ||
		addr_is_multicast(d, FW_AF_IPV4);
	if (!to_us &&
	    ((ip->protocol == IPPROTO_UDP && /* offers_address()? */
	      ((const void *)(uh + 1) > end || uh->source == bpf_htons(67))) ||
	     addr_is_loopback(d, FW_AF_IPV4)))
		return false;
	return front_decide(p, r, h, false, to_us);
}

static __always_inline bool front_ipv6(struct pkt *p, const struct run *r,
				       const struct fw_match_head *h,
				       const struct ipv6hdr *ip,
				       const void *end)
{
	const struct fw_match_split *c =
		image_at(r->head, h->front[1], struct fw_match_split);
	const struct fw_addr *d = (const void *)&ip->daddr, *a;
	bool to_us;

	if (!h->front[1] || (const void *)(ip + 1) > end || ip->version != 6)
		return false;
	a = c->is_dst ? d : (const void *)&ip->saddr;
	if (!front_asks(p, r->head, c->set,
			c->set + offsetof(struct fw_addrset, v6),
			match_word(&a->w[0], &a->w[1]),
			match_word(&a->w[2], &a->w[3])))
		return false;
	to_us = self6_find(&self_table()->v6, d) ||
		addr_is_multicast(d, FW_AF_IPV6);
	if (!to_us && addr_is_loopback(d, FW_AF_IPV6))
		return false;
	return front_decide(p, r, h, true, to_us);
}

/*
 * True: dropped, and counted for its rule. False: nothing has happened. A call, for what
 * it has learned is none of the verifier's business behind it.
 */
static __noinline bool front_drops(struct pkt *p, const struct run *r,
				   void *ctx)
{
	const void *end = ctx_data_end(ctx, FW_HOOK_XDP);
	const struct fw_match_head *h =
		image_at(r->head, r->head->match, struct fw_match_head);
	const void *l3;
	__be16 proto;

	l3 = early_l3(p, ctx, end, &proto);
	if (likely(proto == bpf_htons(ETH_P_IP)))
		return front_ipv4(p, r, h, l3, end);
	if (likely(proto == bpf_htons(ETH_P_IPV6)))
		return front_ipv6(p, r, h, l3, end);
	return false;
}
