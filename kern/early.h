/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * XDP only: stateless rules are asked for a plain TCP or UDP packet as soon as its addresses
 * and ports are seen, and nothing else is known or kept of it: what they drop costs
 * least: nothing of `p` is cleared yet. What they say of others is kept for judge().
 * Rules that name `self` are asked later.
 */
#pragma once

/* Of a packet as it lies in the frame, in host order. */
struct early {
	struct match_state walk; /* addresses and ports */
	__u32 member;		 /* enum match_member */
	__u8 proto;
	bool to_us;
};

/* What is behind Ethernet and at most one tag, of which more in parse_l2(). */
static __always_inline const void *early_l3(struct pkt *p, void *ctx,
					    const void *end, __be16 *ret_proto)
{
	const struct {
		__be16 tci; /* of Ethernet: the end of an address */
		__be16 proto;
	} *eth = ctx_data(ctx, FW_HOOK_XDP) + 10, *tag = eth + 1;

	receive(p, ctx, FW_HOOK_XDP);
	p->vlan = 0;
	*ret_proto = 0;
	if (unlikely((const void *)(tag + 1) > end))
		return tag;
	*ret_proto = eth->proto;
	if (likely(*ret_proto != bpf_htons(ETH_P_8021Q) &&
		   *ret_proto != bpf_htons(ETH_P_8021AD)))
		return tag;
	p->vlan = bpf_ntohs(tag->tci) & 0xfff;
	*ret_proto = tag->proto;
	return tag + 1;
}

/* A walk reads all else from registers; this is what cuts look at. */
static __always_inline void early_key(struct pkt *p, const struct early *e)
{
	p->key.sport = (__u16)(e->walk.ports >> 32);
	p->key.dport = (__u16)e->walk.ports;
	p->key.icmp = 0;
	p->key.proto = e->proto;
}

/* The tables for the packet; 0: none. False: an address is to be looked up in a set first. */
static __always_inline bool early_tables(const struct run *r,
					 const struct early *e, __u32 *chain)
{
	const struct fw_match_split *c;

	if (likely(!(*chain & FW_CHAIN_SPLIT)))
		return true;
	if (e->member == MATCH_ASK_SET)
		return false;
	c = image_at(r->head, *chain & ~FW_CHAIN_SPLIT, struct fw_match_split);
	*chain = c->tables[e->member == MATCH_MEMBER];
	return true;
}

/* What the rules say; of one that drops the packet, that is counted. */
static __always_inline enum pkt_early early_walk(struct pkt *p,
						 const struct run *r,
						 const struct fw_match_head *h,
						 struct early *e, const bool v4)
{
	const __u32 in = FW_MATCH_CHAIN(1, !v4, FW_DIR_IN);
	const __u32 forward = FW_MATCH_CHAIN(1, !v4, FW_DIR_FORWARD);
	struct fw_result res = { .slot = 0 };
	struct match m = {
		.base = r->head,
		.key = &p->key,
		.res = &res,
		.s = &e->walk,
	};

	if (unlikely(!find_iface(p, r)))
		return PKT_EARLY_ASK;
	e->walk.best = h->none;
	e->walk.table = e->to_us ? h->chain[in] : h->chain[forward];
	if (unlikely(!early_tables(r, e, &e->walk.table)))
		return PKT_EARLY_ASK;
	if (unlikely(!e->walk.table))
		return PKT_EARLY_NONE;
	e->walk.lack = match_lack(h, FW_KEY_PORTS, e->proto, p->zones);
	early_key(p, e);
	if (unlikely(!match_tables(&m, v4)))
		return PKT_EARLY_ASK;
	/* how the rule ends is in `best`, a register; one that logs is asked later */
	if (likely((e->walk.best & FW_END_HOW) == FW_END_STATELESS(FW_DROP))) {
		count_rule(p, res.slot, false);
		return PKT_EARLY_DROP;
	}
	if (e->walk.best == FW_END_NONE)
		return PKT_EARLY_NONE;
	if ((e->walk.best & FW_END_HOW) != FW_END_STATELESS(FW_ACCEPT))
		return PKT_EARLY_ASK;
	p->early_end = e->walk.best;
	p->early_slot = res.slot;
	return PKT_EARLY_ACCEPT;
}

/* Its ports may say that it is more than that. */
static __always_inline bool
early_ports(struct early *e, const struct udphdr *l4, __u8 proto, const bool v4)
{
	__u16 sport = bpf_ntohs(l4->source);

	if (unlikely(proto != IPPROTO_TCP &&
		     (proto != IPPROTO_UDP || is_dhcp(sport, v4))))
		return false;
	e->proto = proto;
	e->walk.ports = (__u64)sport << 32 | bpf_ntohs(l4->dest);
	return true;
}

static __always_inline enum pkt_early
early_ipv4(struct pkt *p, const struct run *r, const struct fw_match_head *h,
	   const struct iphdr *ip, const void *end, struct early *e)
{
	const struct udphdr *l4 = (const void *)(ip + 1);
	__u32 total;

	if (unlikely((const void *)(l4 + 1) > end ||
		     *(const __u8 *)ip != 0x45 ||
		     ip->frag_off & bpf_htons(0x3fff)))
		return PKT_EARLY_ASK;
	total = bpf_ntohs(ip->tot_len);
	if (unlikely(total < sizeof(*ip) + sizeof(*l4) ||
		     total > (__u32)(end - (const void *)ip)) ||
	    !early_ports(e, l4, ip->protocol, true))
		return PKT_EARLY_ASK;
	e->walk.addr[0] = match_word(&ip->saddr, &ip->daddr);
	p->key.saddr.w[3] = ip->saddr;
	p->key.daddr.w[3] = ip->daddr;
	e->to_us = self4_find(&self_table()->v4, ip->daddr) ||
		   addr_is_multicast(&p->key.daddr, FW_AF_IPV4);
	return early_walk(p, r, h, e, true);
}

static __always_inline enum pkt_early
early_ipv6(struct pkt *p, const struct run *r, const struct fw_match_head *h,
	   const struct ipv6hdr *ip, const void *end, struct early *e)
{
	const struct udphdr *l4 = (const void *)(ip + 1);
	const struct fw_addr *s = (const void *)&ip->saddr;
	const struct fw_addr *d = (const void *)&ip->daddr;
	__u32 len;

	if (unlikely((const void *)(l4 + 1) > end || ip->version != 6))
		return PKT_EARLY_ASK;
	len = bpf_ntohs(ip->payload_len);
	if (unlikely(len < sizeof(*l4) ||
		     len > (__u32)(end - (const void *)(ip + 1))) ||
	    !early_ports(e, l4, ip->nexthdr, false))
		return PKT_EARLY_ASK;
	match_halves(&e->walk, s, d);
	p->key.saddr = *s;
	p->key.daddr = *d;
	e->to_us = self6_find(&self_table()->v6, d) ||
		   addr_is_multicast(d, FW_AF_IPV6);
	return early_walk(p, r, h, e, false);
}

/* A call: the verifier walks it once. */
static __noinline enum pkt_early early_ask(struct pkt *p, const struct run *r,
					   void *ctx, __u32 member)
{
	const void *end = ctx_data_end(ctx, FW_HOOK_XDP);
	const struct fw_match_head *h = fw_image_rules(r->head);
	struct early e;
	const void *l3;
	__be16 proto;

	e.member = member;
	l3 = early_l3(p, ctx, end, &proto);
	if (likely(proto == bpf_htons(ETH_P_IP)))
		return early_ipv4(p, r, h, l3, end, &e);
	if (likely(proto == bpf_htons(ETH_P_IPV6)))
		return early_ipv6(p, r, h, l3, end, &e);
	return PKT_EARLY_ASK;
}

/* What early_ask() has said and judge() shall know; the packet is cleared. */
static __always_inline void early_keep(struct pkt *p, enum pkt_early early)
{
	struct match_state s;
	struct match m = { .res = &p->res, .s = &s };

	p->early = (__u8)early;
	if (early == PKT_EARLY_ACCEPT)
		take_rule(&m, p->early_end, p->early_slot);
}
