/* SPDX-License-Identifier: GPL-2.0-only */

/* Addresses that no packet from a network has; decided before any state. */
#pragma once

static __always_inline bool v4_is_multicast(__be32 a)
{
	return (a & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000);
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
		return (a->w[3] & bpf_htonl(0xff000000)) ==
		       bpf_htonl(0x7f000000);
	return !(a->w[0] | a->w[1] | a->w[2]) && a->w[3] == bpf_htonl(1);
}

/* ::ffff:0:0/96 is no address of a packet, and our own form of IPv4. */
static __always_inline bool addr_is_mapped(const struct fw_addr *a, __u8 family)
{
	return family == FW_AF_IPV6 && !(a->w[0] | a->w[1]) &&
	       a->w[2] == bpf_htonl(0xffff);
}

/* 240.0.0.0/4 and 0.0.0.0/8 but 0.0.0.0 itself (RFC 1122 3.2.1.3). */
static __always_inline bool v4_is_reserved(__be32 a)
{
	return (a & bpf_htonl(0xf0000000)) == bpf_htonl(0xf0000000) ||
	       (a && !(a & bpf_htonl(0xff000000)));
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

/* Of one family, so that each is asked about only once. */
static __always_inline bool is_martian(const struct pkt *p, const __u8 family)
{
	const struct fw_addr *s = &p->key.saddr, *d = &p->key.daddr;

	if (addr_is_multicast(s, family) || addr_is_loopback(s, family) ||
	    addr_is_loopback(d, family) || addr_is_mapped(s, family) ||
	    addr_is_mapped(d, family) || addr_is_any(d, family))
		return true;
	if (family == FW_AF_IPV4 && v4_is_reserved(s->w[3]))
		return true;
	return addr_is_any(s, family) && !may_come_from_any(p);
}

static __always_inline enum fw_reason check_addresses(const struct pkt *p)
{
	const struct fw_addr *s = &p->key.saddr, *d = &p->key.daddr;
	__u8 family = p->key.family;

	if (addr_equal(s, d) && !addr_is_any(s, family))
		return FW_REASON_DROP_LAND;
	if (family == FW_AF_IPV4 ? is_martian(p, FW_AF_IPV4)
				 : is_martian(p, FW_AF_IPV6))
		return FW_REASON_DROP_MARTIAN;
	if (p->saddr_self & FW_SELF_ADDRESS)
		return FW_REASON_DROP_SPOOFED_SELF;
	return FW_REASON_NONE;
}
