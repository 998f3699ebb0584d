/* SPDX-License-Identifier: GPL-2.0-only */

/* Reverse path (RFC 3704): would answers leave by where the packet came in? */
#pragma once

/*
 * By which interface the kernel would answer the packet; 0: by none, negative: it cannot
 * be asked. Lookups on behalf of the loopback are those of a host that does not forward,
 * as long as the loopback is said to (user/antispoof.c). Ports and mark stay out: later
 * fragments have none.
 */
static __noinline long route_back(void *ctx, const struct pkt *p)
{
	const struct fw_key *k = &p->key;
	struct bpf_fib_lookup fib = { .ifindex = 1 }; /* LOOPBACK_IFINDEX */
	bool to_all = addr_is_multicast(&k->daddr, k->family);
	long err;

	if (k->family == FW_AF_IPV4) {
		fib.family = 2; /* AF_INET */
		fib.ipv4_dst = k->saddr.w[3];
		fib.ipv4_src = to_all ? 0 : k->daddr.w[3];
	} else {
		fib.family = 10; /* AF_INET6 */
		__builtin_memcpy(fib.ipv6_dst, &k->saddr, sizeof(fib.ipv6_dst));
		/* lookups from link-local and multicast addresses are refused */
		if (!to_all && !v6_is_link_local(&k->daddr))
			__builtin_memcpy(fib.ipv6_src, &k->daddr,
					 sizeof(fib.ipv6_src));
	}
	err = bpf_fib_lookup(ctx, &fib, sizeof(fib), 0);
	if (err == BPF_FIB_LKUP_RET_FWD_DISABLED || err < 0)
		return -1;
	if (err != BPF_FIB_LKUP_RET_SUCCESS &&
	    err != BPF_FIB_LKUP_RET_NO_NEIGH &&
	    err != BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return 0;
	return fib.ifindex;
}

/* Or to all on the link: what a router forwards is essential to nobody. */
static __always_inline bool is_for_us(const struct pkt *p)
{
	return p->daddr_self || p->offered ||
	       addr_is_multicast(&p->key.daddr, p->key.family);
}

/* No route is asked for: who has no address yet, or one of its link only. */
static __always_inline bool needs_no_route(const struct pkt *p)
{
	return (p->key.flags & FW_KEY_ESSENTIAL && is_for_us(p)) ||
	       addr_is_any(&p->key.saddr, p->key.family) ||
	       (p->key.family == FW_AF_IPV6 && v6_is_link_local(&p->key.saddr));
}

/*
 * Whether what leaves by a device may leave by the one that the packet came by. A VLAN
 * device that nobody declared is its parent, an undeclared slave its bond; a declared one
 * sends what leaves by its bond, or by VLAN devices on that.
 */
static __always_inline bool is_way_of(const struct fw_iface_table *table,
				      __u32 leaves, const struct pkt *p)
{
	const struct fw_iface *i, *bond;

	i = iface_find(table, leaves, 0);
	if (i && i->ifindex == p->ifindex)
		return true;
	bond = iface_find(table, p->ifindex, FW_VLAN_BOND);
	if (!bond)
		return false;
	i = iface_find(table, leaves, FW_VLAN_BELOW);
	return bond->ifindex == (i ? i->ifindex : leaves);
}

/*
 * Reverse path (RFC 3704): 0 if the packet has a way back, by the interface it came by if
 * `is_strict`; 1 if not, -1 if that cannot be found out.
 */
static __always_inline int way_back(void *ctx, const struct pkt *p, __u32 gen,
				    bool is_strict)
{
	const struct fw_iface_table *table;
	long ifindex;

	if (needs_no_route(p))
		return 0;
	ifindex = route_back(ctx, p);
	if (ifindex <= 0)
		return ifindex ? -1 : 1;
	if (!is_strict)
		return 0;
	table = iface_table(gen);
	if (!table)
		return -1;
	return !is_way_of(table, (__u32)ifindex, p);
}

/* The verifier walks these once, and not for each way to them (classify.h). */
__noinline int way_back_xdp(struct xdp_md *ctx, const struct pkt *p, __u32 gen,
			    __u32 is_strict)
{
	return p ? way_back(ctx, p, gen, is_strict != 0) : -1;
}

__noinline int way_back_tc(struct __sk_buff *ctx, const struct pkt *p,
			   __u32 gen, __u32 is_strict)
{
	return p ? way_back(ctx, p, gen, is_strict != 0) : -1;
}

/* For zones that ask for it. */
static __always_inline enum fw_reason check_way_back(void *ctx,
						     const struct pkt *p,
						     const struct run *r,
						     const enum fw_hook hook)
{
	__u32 is_strict;
	int answer;

	if (likely(!(p->zones & r->head->antispoof)))
		return FW_REASON_NONE;
	is_strict = (p->zones & r->head->antispoof_strict) != 0;
	answer = hook == FW_HOOK_XDP ? way_back_xdp(ctx, p, r->gen, is_strict)
				     : way_back_tc(ctx, p, r->gen, is_strict);
	if (answer < 0)
		return FW_REASON_DROP_INTERNAL;
	return answer ? FW_REASON_DROP_ANTISPOOF : FW_REASON_NONE;
}
