/* SPDX-License-Identifier: GPL-2.0-only */

/* Flow keys: struct pkt -> tuple, its reverse, its hash, the kernel's form. */
#pragma once

static __always_inline void tuple_from_pkt(struct fw_tuple *t,
					   const struct pkt *p)
{
	__builtin_memset(t, 0, sizeof(*t));
	t->saddr = p->key.saddr;
	t->daddr = p->key.daddr;
	t->proto = p->key.proto;
	t->family = p->key.family;
	if (p->key.flags & FW_KEY_PORTS) {
		t->sport = bpf_htons(p->key.sport);
		t->dport = bpf_htons(p->key.dport);
	} else if (p->key.flags & FW_KEY_ICMP) {
		t->sport = p->icmp_id;
		t->icmp_type = p->icmp_request;
	}
}

/*
 * The packet's tuple as on the wire. Made when it is first asked for: what no step
 * asks for costs nothing, and nobody can meet that of the packet before. Whoever
 * makes p->key the flow's has found the flow by it.
 */
static __always_inline const struct fw_tuple *pkt_tuple(struct pkt *p)
{
	if (!p->tuple.family)
		tuple_from_pkt(&p->tuple, p);
	return &p->tuple;
}

/*
 * The tuple of the other direction. The identifier of an echo stays: both
 * directions are one key, whose direction the type says (struct fw_tuple).
 */
static __always_inline void tuple_reverse(struct fw_tuple *to,
					  const struct fw_tuple *t)
{
	to->saddr = t->daddr;
	to->daddr = t->saddr;
	to->sport = t->icmp_type ? t->sport : t->dport;
	to->dport = t->icmp_type ? 0 : t->sport;
	to->proto = t->proto;
	to->family = t->family;
	to->icmp_type = t->icmp_type;
	to->pad = 0;
}

/* The same, in place. */
static __always_inline void tuple_turn(struct fw_tuple *t)
{
	fw_addr_half *s = (void *)&t->saddr, *d = (void *)&t->daddr, half;
	__be16 port;

	for (int i = 0; i < 2; i++) {
		half = s[i];
		s[i] = d[i];
		d[i] = half;
	}
	if (t->icmp_type)
		return;
	port = t->sport;
	t->sport = t->dport;
	t->dport = port;
}

static __always_inline __u64 hash_word(__u64 h, __u64 word)
{
	return (h ^ (h >> 29) ^ word) * 0x9e3779b97f4a7c15ull;
}

/* One product of NH (RFC 4418 section 5.2): both halves with secrets of their own. */
static __always_inline __u64 hash_pair(__u64 word, const __u32 i)
{
	const __u64 key = fw_hash_keys[i];

	return (__u64)((__u32)word + (__u32)key) *
	       (__u32)((__u32)(word >> 32) + (__u32)(key >> 32));
}

/*
 * Hash of addresses and ports, for what one hook notes for the next, who adds to it. Of
 * nothing that differs between packets of one flow (GRO). Not for tables. No product waits
 * for another, and nobody who sends packets knows two that are alike.
 */
static __always_inline __u64 flow_hash(const struct pkt *p)
{
	const struct fw_key *k = &p->key;
	const fw_addr_half *s = (const void *)&k->saddr;
	const fw_addr_half *d = (const void *)&k->daddr;
	__u64 sum = hash_pair((__u64)k->sport << 48 | (__u64)k->dport << 32 |
				      (__u64)k->icmp << 16 |
				      (__u64)k->proto << 8 | k->family,
			      0);

	if (k->family == FW_AF_IPV4)
		return sum +
		       hash_pair((__u64)k->saddr.w[3] << 32 | k->daddr.w[3], 1);
	return sum + hash_pair(s[0], 1) + hash_pair(s[1], 2) +
	       hash_pair(d[0], 3) + hash_pair(d[1], 4);
}

/* For the metadata: of all that the verdict depends on; `flow` is flow_hash(). */
static __always_inline __u32 pkt_hash(const struct pkt *p, __u64 flow)
{
	return (__u32)(hash_word(flow, (__u64)p->rx_ifindex << 32 |
					       (__u64)p->icmp_id << 16 |
					       (__u64)p->frag << 12 |
					       p->vlan) >>
		       32);
}

/* The kernel's form of a TCP or UDP tuple, which it reads by halves of addresses, too. */
typedef struct bpf_sock_tuple __attribute__((aligned(8))) sock_tuple;

/* Returns its size. */
static __always_inline __u32 tuple_to_sock(sock_tuple *to,
					   const struct fw_tuple *t)
{
	if (t->family == FW_AF_IPV4) {
		to->ipv4.saddr = t->saddr.w[3];
		to->ipv4.daddr = t->daddr.w[3];
		to->ipv4.sport = t->sport;
		to->ipv4.dport = t->dport;
		return sizeof(to->ipv4);
	}
	*(struct fw_addr *)to->ipv6.saddr = t->saddr;
	*(struct fw_addr *)to->ipv6.daddr = t->daddr;
	to->ipv6.sport = t->sport;
	to->ipv6.dport = t->dport;
	return sizeof(to->ipv6);
}

/* A tuple of the kernel's; works on a bare pointer too. */
static __always_inline void
tuple_from_kernel(struct fw_tuple *t, const struct nf_conntrack_tuple *orig)
{
	__builtin_memset(t, 0, sizeof(*t));
	if (BPF_CORE_READ_INTO(&t->saddr, orig, src.u3.ip6) ||
	    BPF_CORE_READ_INTO(&t->daddr, orig, dst.u3.ip6))
		return;
	t->family = FW_AF_IPV6;
	if (BPF_CORE_READ(orig, src.l3num) == 2) { /* AF_INET */
		t->family = FW_AF_IPV4;
		addr_from_v4(&t->saddr, t->saddr.w[0]);
		addr_from_v4(&t->daddr, t->daddr.w[0]);
	}
	t->proto = BPF_CORE_READ(orig, dst.protonum);
	if (t->proto == IPPROTO_TCP || t->proto == IPPROTO_UDP) {
		t->sport = BPF_CORE_READ(orig, src.u.all);
		t->dport = BPF_CORE_READ(orig, dst.u.all);
	} else if (t->proto == IPPROTO_ICMP || t->proto == IPPROTO_ICMPV6) {
		t->sport = BPF_CORE_READ(orig, src.u.all);
		t->icmp_type = BPF_CORE_READ(orig, dst.u.icmp.type);
	}
}

/* The original direction of a kernel entry; the same. */
static __always_inline void tuple_from_ct(struct fw_tuple *t,
					  const struct nf_conn *ct)
{
	tuple_from_kernel(t, &ct->tuplehash[0].tuple);
}
