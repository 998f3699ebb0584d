/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * XDP only: stateless rules are asked for a plain TCP or UDP packet as soon as its addresses
 * and ports are seen, and nothing else is known or kept of it: what they drop costs
 * least. What they say of others is kept for judge(). Rules that name `self` are
 * asked later.
 */
#pragma once

/* Of a packet as it lies in the frame, in host order. */
struct early {
	struct match_state walk; /* addresses and ports */
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
	p->key.proto = e->proto;
}

/* The tables for the packet; 0: none, or an address is to be looked up in a set first. */
static __always_inline __u32 early_tables(struct pkt *p, const struct run *r,
					  __u32 chain)
{
	const struct fw_match_split *c;
	bool known = true;

	if (unlikely(chain & FW_CHAIN_SPLIT)) {
		c = image_at(r->head, chain & ~FW_CHAIN_SPLIT,
			     struct fw_match_split);
		known = p->io.member != MATCH_ASK_SET;
		chain = known ? c->tables[p->io.member == MATCH_MEMBER] : 0;
	}
	if (unlikely(!chain) && known)
		p->early = PKT_EARLY_NONE;
	return chain;
}

/*
 * What the rules say: true if one of them drops the packet, which is counted. Else it
 * is in p->early and p->res, if it is certain.
 */
static __always_inline bool early_ask(struct pkt *p, const struct run *r,
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
		return false;
	e->walk.best = h->none;
	e->walk.table =
		early_tables(p, r, e->to_us ? h->chain[in] : h->chain[forward]);
	if (unlikely(!e->walk.table))
		return false;
	e->walk.lack = match_lack(h, FW_KEY_PORTS, e->proto, p->zones);
	early_key(p, e);
	if (unlikely(!match_tables(&m, v4)))
		return false;
	/* how the rule ends is in `best`, a register; one that logs is asked later */
	if (likely((e->walk.best & FW_END_HOW) == FW_END_STATELESS(FW_DROP))) {
		count_rule(p, res.slot, false);
		return true;
	}
	if (e->walk.best == FW_END_NONE) {
		p->early = PKT_EARLY_NONE;
	} else if ((e->walk.best & FW_END_HOW) == FW_END_STATELESS(FW_ACCEPT)) {
		m.res = &p->res;
		take_rule(&m, e->walk.best, res.slot);
		p->early = PKT_EARLY_ACCEPT;
	}
	return false;
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

static __always_inline bool early_ipv4(struct pkt *p, const struct run *r,
				       const struct fw_match_head *h,
				       const struct iphdr *ip, const void *end,
				       struct early *e)
{
	const struct udphdr *l4 = (const void *)(ip + 1);
	__u32 total;

	if (unlikely((const void *)(l4 + 1) > end ||
		     *(const __u8 *)ip != 0x45 ||
		     ip->frag_off & bpf_htons(0x3fff)))
		return false;
	total = bpf_ntohs(ip->tot_len);
	if (unlikely(total < sizeof(*ip) + sizeof(*l4) ||
		     total > (__u32)(end - (const void *)ip)) ||
	    !early_ports(e, l4, ip->protocol, true))
		return false;
	e->walk.addr[0] = match_word(&ip->saddr, &ip->daddr);
	p->key.saddr.w[3] = ip->saddr;
	p->key.daddr.w[3] = ip->daddr;
	e->to_us = self4_find(&self_table()->v4, ip->daddr) ||
		   addr_is_multicast(&p->key.daddr, FW_AF_IPV4);
	return early_ask(p, r, h, e, true);
}

static __always_inline bool early_ipv6(struct pkt *p, const struct run *r,
				       const struct fw_match_head *h,
				       const struct ipv6hdr *ip,
				       const void *end, struct early *e)
{
	const struct udphdr *l4 = (const void *)(ip + 1);
	const __be32 *s = (const void *)&ip->saddr;
	const __be32 *d = (const void *)&ip->daddr;
	__u32 len;

	if (unlikely((const void *)(l4 + 1) > end || ip->version != 6))
		return false;
	len = bpf_ntohs(ip->payload_len);
	if (unlikely(len < sizeof(*l4) ||
		     len > (__u32)(end - (const void *)(ip + 1))) ||
	    !early_ports(e, l4, ip->nexthdr, false))
		return false;
	e->walk.addr[0] = match_word(&s[0], &s[1]);
	e->walk.addr[1] = match_word(&s[2], &s[3]);
	e->walk.addr[2] = match_word(&d[0], &d[1]);
	e->walk.addr[3] = match_word(&d[2], &d[3]);
	__builtin_memcpy(&p->key.saddr, s, sizeof(p->key.saddr));
	__builtin_memcpy(&p->key.daddr, d, sizeof(p->key.daddr));
	e->to_us = self6_find(&self_table()->v6, &p->key.daddr) ||
		   addr_is_multicast(&p->key.daddr, FW_AF_IPV6);
	return early_ask(p, r, h, e, false);
}

/* True: dropped, and counted for its rule. A call, as front_drops(). */
static __noinline bool early_drops(struct pkt *p, const struct run *r,
				   void *ctx)
{
	const void *end = ctx_data_end(ctx, FW_HOOK_XDP);
	const struct fw_match_head *h =
		image_at(r->head, r->head->match, struct fw_match_head);
	struct early e;
	const void *l3;
	__be16 proto;

	l3 = early_l3(p, ctx, end, &proto);
	if (likely(proto == bpf_htons(ETH_P_IP)))
		return early_ipv4(p, r, h, l3, end, &e);
	if (likely(proto == bpf_htons(ETH_P_IPV6)))
		return early_ipv6(p, r, h, l3, end, &e);
	return false;
}
