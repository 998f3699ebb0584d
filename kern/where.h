/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Where a packet comes from and goes to, in the words of the rules: interfaces and
 * their zones, own addresses, direction.
 */
#pragma once

/* What the steps share. */
struct run {
	const struct fw_image_head *head;    /* first in the image */
	const struct fw_iface_table *ifaces; /* of its generation */
	__u32 gen;
};

/* Zones of an interface that is not the hook's own. */
static __always_inline __u64 other_zones(const struct run *r, __u32 ifindex)
{
	const struct fw_iface *i = iface_find(r->ifaces, ifindex, 0);

	return i ? i->zones : 0;
}

/* A tagged frame belongs to its VLAN device where the rules know that. */
static __always_inline bool find_iface(struct pkt *p, const struct run *r)
{
	const struct fw_iface *i = NULL;

	if (unlikely(p->vlan))
		i = iface_find(r->ifaces, p->rx_ifindex, p->vlan);
	if (!i)
		i = iface_find(r->ifaces, p->rx_ifindex, 0);
	if (unlikely(!i))
		return false;
	p->slot = i->slot < FW_MAX_IFSLOTS ? i->slot : 0;
	p->ifindex = i->ifindex;
	p->zones = i->zones;
	return true;
}

/*
 * Where the stack would forward the packet to; 0: nowhere. An answer goes to who
 * opened the flow, whatever address NAT shows of it here.
 */
static __noinline __u32 route_out(void *ctx, struct pkt *p)
{
	const struct fw_key *k = &p->key;
	const struct fw_addr *src = p->flow.reply ? &k->daddr : &k->saddr;
	const struct fw_addr *dst = p->flow.reply ? &k->saddr : &k->daddr;
	struct bpf_fib_lookup fib = {};
	long err;

	fib.ifindex = p->rx_ifindex;
	fib.l4_protocol = k->proto;
	fib.sport = bpf_htons(p->flow.reply ? k->dport : k->sport);
	fib.dport = bpf_htons(p->flow.reply ? k->sport : k->dport);
	if (k->family == FW_AF_IPV4) {
		fib.family = 2; /* AF_INET */
		fib.ipv4_src = src->w[3];
		fib.ipv4_dst = dst->w[3];
	} else {
		fib.family = 10; /* AF_INET6 */
		__builtin_memcpy(fib.ipv6_src, src, sizeof(fib.ipv6_src));
		__builtin_memcpy(fib.ipv6_dst, dst, sizeof(fib.ipv6_dst));
	}
	err = bpf_fib_lookup(ctx, &fib, sizeof(fib), 0);
	if (err != BPF_FIB_LKUP_RET_SUCCESS &&
	    err != BPF_FIB_LKUP_RET_NO_NEIGH &&
	    err != BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return 0;
	return fib.ifindex;
}

/* IPsec, which routes do not tell of: policies, or that there has to be one. */
static __noinline bool has_policies(const struct net *net)
{
	__u8 defaults[3];
	__u32 counts[6];

	if (!bpf_core_field_exists(net->xfrm.policy_count))
		return false;
	if (BPF_CORE_READ_INTO(&counts, net, xfrm.policy_count))
		return true;
	for (int i = 0; i < 6; i++)
		if (counts[i])
			return true;
	if (!bpf_core_field_exists(net->xfrm.policy_default))
		return false;
	if (BPF_CORE_READ_INTO(&defaults, net, xfrm.policy_default))
		return true;
	for (int i = 0; i < 3; i++)
		if (defaults[i] == XFRM_USERPOLICY_BLOCK)
			return true;
	return false;
}

/*
 * TC ingress: the interface that a forwarded packet will leave by is needed and unknown.
 * True: it is one of ours, and its egress hook decides. If nobody would, we judge with
 * what the routing table says, p->way_zones: none of an interface that is not ours, and
 * those of one of ours by which the packet may leave encrypted, as another one. For the
 * verifier a global function, as in classify.h.
 */
__noinline int leaves_by_ours(struct __sk_buff *skb, struct pkt *p, __u32 gen)
{
	const struct fw_iface *i;
	__u32 ifindex;

	if (!p)
		return 0;
	ifindex = route_out(skb, p);
	i = ifindex ? iface_find(iface_table(gen), ifindex, 0) : NULL;
	p->way_zones = i ? i->zones : 0;
	return i && !has_policies(ctx_net(skb, FW_HOOK_INGRESS));
}

/*
 * A DHCP server may send its answer to the address that it gives, which is not
 * ours yet (RFC 2131 section 4.1). It is for us if the stack would not forward
 * it, or only back to where it came from.
 */
static __always_inline bool offers_address(void *ctx, struct pkt *p)
{
	__u32 ifindex;

	if (likely(!(p->key.flags & FW_KEY_ESSENTIAL)) ||
	    p->key.family != FW_AF_IPV4 || p->key.sport != 67)
		return false;
	ifindex = route_out(ctx, p);
	return !ifindex || ifindex == p->rx_ifindex;
}

/* FW_SELF_* of an address of a packet of this family. */
static __always_inline __u8 self_of(const struct fw_self_table *t,
				    const struct fw_addr *addr, __u8 family)
{
	return family == FW_AF_IPV4 ? self4_find(&t->v4, addr->w[3])
				    : self6_find(&t->v6, addr);
}

/* Once for each pair of addresses that the packet is judged by. */
static __always_inline void learn_selves(struct pkt *p)
{
	const struct fw_self_table *t = self_table();
	const struct fw_key *k = &p->key;
	__u8 src, dst;

	if (k->family == FW_AF_IPV4) {
		src = self4_find(&t->v4, k->saddr.w[3]);
		dst = self4_find(&t->v4, k->daddr.w[3]);
	} else {
		src = self6_find(&t->v6, &k->saddr);
		dst = self6_find(&t->v6, &k->daddr);
	}
	p->saddr_self = src;
	p->daddr_self = dst;
}

/* The same for another pair, which is rare: the verifier walks it once. */
__noinline int learn_selves_again(struct pkt *p)
{
	if (!p)
		return -1;
	learn_selves(p);
	return 0;
}

/*
 * Direction and zones of the flow whose opener's tuple is in p->key, from a
 * packet of that direction or (reply) of the other. False: this hook cannot
 * tell where the flow came in.
 */
static __always_inline bool locate(struct pkt *p, const struct run *r,
				   const enum fw_hook hook, bool reply)
{
	bool egress = hook == FW_HOOK_EGRESS, to_us, from_us;
	__u64 other =
		egress && p->in_ifindex ? other_zones(r, p->in_ifindex) : 0;
	struct fw_key *k = &p->key;

	from_us = p->saddr_self & FW_SELF_ADDRESS;
	to_us = p->daddr_self;
	k->flags &= (__u8) ~(FW_KEY_SRC_SELF | FW_KEY_DST_SELF |
			     FW_KEY_OUT_UNKNOWN);
	if (from_us)
		k->flags |= FW_KEY_SRC_SELF;
	if (p->daddr_self == FW_SELF_ADDRESS) /* not of a broadcast */
		k->flags |= FW_KEY_DST_SELF;
	if (!egress && !reply && !to_us)
		to_us = p->offered || addr_is_multicast(&k->daddr, k->family);
	k->in_zones = egress == reply ? p->zones : other;
	k->out_zones = egress == reply ? other : p->zones;
	if (!egress && !reply)
		from_us = false; /* it claims to be, and nobody checks */
	if (from_us || (egress && !reply && !p->in_ifindex)) {
		k->dir = FW_DIR_OUT;
		k->in_zones = 0;
		return true;
	}
	if (to_us) {
		k->dir = FW_DIR_IN;
		k->out_zones = 0;
		return egress || !reply;
	}
	k->dir = FW_DIR_FORWARD;
	if (!egress && !reply)
		k->flags |= FW_KEY_OUT_UNKNOWN;
	return egress || !reply;
}

/* What is essential depends on where it goes: we need answers of DHCP. */
static __always_inline void limit_essential(struct fw_key *k)
{
	bool to_server =
		k->proto == IPPROTO_UDP && (k->dport == 67 || k->dport == 547);

	if (k->dir == FW_DIR_FORWARD || (k->dir == FW_DIR_IN && to_server))
		k->flags &= (__u8)~FW_KEY_ESSENTIAL;
}

/* The rules judge the flow by what its opener sent, also after NAT. */
static __always_inline void key_from_tuple(struct fw_key *k,
					   const struct fw_tuple *t)
{
	k->saddr = t->saddr;
	k->daddr = t->daddr;
	if (k->flags & FW_KEY_PORTS) {
		k->sport = bpf_ntohs(t->sport);
		k->dport = bpf_ntohs(t->dport);
	} else if (k->flags & FW_KEY_ICMP) {
		k->icmp = (__u16)(t->icmp_type << 8);
	}
}
