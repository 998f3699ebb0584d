/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * XDP only: a flood from addresses that a stateless rule drops, whatever they send. Known by
 * Ethernet and IP headers alone, with at most one tag: all else takes the long way, and
 * is dropped there by the same rule. What is asked here is not asked again: the answer
 * is in the match_member returned. Nothing of `p` is cleared yet.
 */
#pragma once

/* A member came in, in this direction: count the rule that drops it, if there is one. */
static __always_inline bool front_decide(struct pkt *p, const struct run *r,
					 const struct fw_match_front *f,
					 bool to_us)
{
	__u32 slot = to_us ? f->slot[0] : f->slot[1];
	__u64 zones = to_us ? f->zones[0] : f->zones[1];

	if (!slot || !find_iface(p, r) || (zones && !(zones & p->zones)))
		return false;
	count_rule(p, slot, false);
	return true;
}

/* IPv4: is the address that the set is asked for a member? */
static __always_inline bool
front_has(const void *base, const struct fw_match_front *f, __be32 addr)
{
	if (likely(f->few.places))
		return addrset_has_few(base, &f->few, addr);
	return addrset_has4(base, f->set, bpf_ntohl(addr));
}

static __always_inline bool front_ipv4(struct pkt *p, const struct run *r,
				       const struct fw_match_front *f,
				       const struct iphdr *ip, const void *end,
				       __u32 *ret_member)
{
	const struct udphdr *uh = (const void *)(ip + 1);
	bool to_us;

	if (!f->set || (const void *)(ip + 1) > end ||
	    *(const __u8 *)ip != 0x45)
		return false;
	if (!front_has(r->head, f, f->is_dst ? ip->daddr : ip->saddr)) {
		*ret_member = MATCH_OTHER;
		return false;
	}
	*ret_member = MATCH_MEMBER;
	to_us = self4_find(&self_table()->v4, ip->daddr) ||
		v4_is_multicast(ip->daddr) || ip->daddr == 0xffffffff;
	if (!to_us &&
	    ((ip->protocol == IPPROTO_UDP && /* offers_address()? */
	      ((const void *)(uh + 1) > end || uh->source == bpf_htons(67))) ||
	     v4_is_loopback(ip->daddr)))
		return false;
	return front_decide(p, r, f, to_us);
}

static __always_inline bool front_ipv6(struct pkt *p, const struct run *r,
				       const struct fw_match_front *f,
				       const struct ipv6hdr *ip,
				       const void *end, __u32 *ret_member)
{
	const struct fw_addr *d = (const void *)&ip->daddr;
	const fw_addr_half *a;
	bool to_us;

	if (!f->set || (const void *)(ip + 1) > end || ip->version != 6)
		return false;
	a = f->is_dst ? (const void *)d : (const void *)&ip->saddr;
	if (!addrset_has6(r->head, f->set, ADDRSET_HOST64(a[0]),
			  ADDRSET_HOST64(a[1]))) {
		*ret_member = MATCH_OTHER;
		return false;
	}
	*ret_member = MATCH_MEMBER;
	to_us = self6_find(&self_table()->v6, d) ||
		addr_is_multicast(d, FW_AF_IPV6);
	if (!to_us && addr_is_loopback(d, FW_AF_IPV6))
		return false;
	return front_decide(p, r, f, to_us);
}

/*
 * True: dropped, and counted for its rule. False: nothing has happened, but that it may be
 * known whether the packet is a member (enum match_member).
 */
static __always_inline bool front_drops(struct pkt *p, const struct run *r,
					void *ctx, __u32 *ret_member)
{
	const void *end = ctx_data_end(ctx, FW_HOOK_XDP);
	const struct fw_match_head *h = fw_image_rules(r->head);
	const void *l3;
	__be16 proto;

	l3 = early_l3(p, ctx, end, &proto);
	if (likely(proto == bpf_htons(ETH_P_IP)))
		return front_ipv4(p, r, &h->front[0], l3, end, ret_member);
	if (likely(proto == bpf_htons(ETH_P_IPV6)))
		return front_ipv6(p, r, &h->front[1], l3, end, ret_member);
	return false;
}
