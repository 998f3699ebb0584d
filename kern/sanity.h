/* SPDX-License-Identifier: GPL-2.0-only */

/* Addresses that no packet from a network has; decided before any state. */
#pragma once

static __always_inline bool v4_is_multicast(__be32 a)
{
	return (a & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000);
}

static __always_inline bool v4_is_loopback(__be32 a)
{
	return (a & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
}

static __always_inline bool addr_is_multicast(const struct fw_addr *a,
					      __u8 family)
{
	if (family == FW_AF_IPV4)
		return v4_is_multicast(a->w[3]) || a->w[3] == 0xffffffff;
	return (a->w[0] & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000);
}

static __always_inline bool addr_is_any(const struct fw_addr *a, __u8 family)
{
	if (family == FW_AF_IPV4)
		return !a->w[3];
	return !(a->w[0] | a->w[1] | a->w[2] | a->w[3]);
}

static __always_inline bool addr_is_loopback(const struct fw_addr *a,
					     __u8 family)
{
	if (family == FW_AF_IPV4)
		return v4_is_loopback(a->w[3]);
	return !(a->w[0] | a->w[1] | a->w[2]) && a->w[3] == bpf_htonl(1);
}

/* ::ffff:0:0/96 is no address of a packet, and our own form of IPv4. */
static __always_inline bool v6_is_mapped(const struct fw_addr *a)
{
	return !(a->w[0] | a->w[1]) && a->w[2] == bpf_htonl(0xffff);
}

static __always_inline bool v6_is_link_local(const struct fw_addr *a)
{
	return (a->w[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

/* A host without an address may only ask for one, or say it listens. */
static __always_inline bool may_come_from_any(const struct pkt *p)
{
	if (p->key.family == FW_AF_IPV6)
		return p->key.proto == IPPROTO_ICMPV6;
	return p->key.proto == IPPROTO_IGMP ||
	       (p->key.proto == IPPROTO_UDP && p->key.sport == 68 &&
		p->key.dport == 67);
}

/* A source is not of 224.0.0.0/3, nor of 0.0.0.0/8 but 0.0.0.0 (RFC 1122 3.2.1.3). */
static __always_inline bool v4_is_martian(const struct pkt *p)
{
	const __be32 upper = bpf_htonl(0xe0000000), net = bpf_htonl(0xff000000);
	__be32 s = p->key.saddr.w[3], d = p->key.daddr.w[3];

	if ((s & upper) == upper || !d ||
	    addr_is_loopback(&p->key.saddr, FW_AF_IPV4) ||
	    addr_is_loopback(&p->key.daddr, FW_AF_IPV4))
		return true;
	return unlikely(!(s & net)) && (s || !may_come_from_any(p));
}

static __always_inline bool v6_is_martian(const struct pkt *p)
{
	const struct fw_addr *s = &p->key.saddr, *d = &p->key.daddr;
	const fw_addr_half *s_half = (const void *)s, *d_half = (const void *)d;
	const __u8 family = FW_AF_IPV6;

	if (addr_is_multicast(s, family))
		return true;
	if (likely(s_half[0] && d_half[0])) /* not so of any below */
		return false;
	if (addr_is_loopback(s, family) || addr_is_loopback(d, family) ||
	    v6_is_mapped(s) || v6_is_mapped(d) || addr_is_any(d, family))
		return true;
	return addr_is_any(s, family) && !may_come_from_any(p);
}

/* Loopback is ours too, in no table. Where it is martian nobody need ask. */
static __always_inline void learn_loopback(struct pkt *p)
{
	if (addr_is_loopback(&p->key.saddr, p->key.family))
		p->saddr_self |= FW_SELF_ADDRESS;
	if (addr_is_loopback(&p->key.daddr, p->key.family))
		p->daddr_self |= FW_SELF_ADDRESS;
}

/* A check that fails asks whether it is switched off; nobody else pays for that. */
static __always_inline enum fw_reason
check_addresses(struct pkt *p, const struct fw_image_head *head)
{
	const struct fw_addr *s = &p->key.saddr, *d = &p->key.daddr;
	__u8 family = p->key.family;

	if (unlikely(addr_equal(s, d)) && !addr_is_any(s, family) &&
	    !(head->options & FW_OFF_LAND))
		return FW_REASON_DROP_LAND;
	if ((family == FW_AF_IPV4 ? v4_is_martian(p) : v6_is_martian(p)) &&
	    !(head->options & FW_OFF_MARTIAN))
		return FW_REASON_DROP_MARTIAN;
	if (unlikely(p->saddr_self & FW_SELF_ADDRESS) &&
	    !(head->options & FW_OFF_SPOOFED_SELF))
		return FW_REASON_DROP_SPOOFED_SELF;
	return FW_REASON_NONE;
}
