/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The one place that builds rejects: the packet becomes its own answer, a TCP
 * reset (RFC 9293 section 3.5.2) or an ICMP port unreachable, and goes back.
 *
 * TC only; XDP decides and leaves the building to TC. The answer passes our
 * hooks again and is known there by its tc_index and its looks. An skb whose checksum the
 * device was to fill in (CHECKSUM_PARTIAL) stays one, see the comments.
 */
#pragma once

#define REJECT_INTERVAL_NS 10000000ull	/* 100 a second and CPU */
#define REJECT_BURST_NS	   500000000ull /* 50 at once */
#define REJECT_QUOTE	   64 /* bytes of the packet that ICMP quotes */

struct reject_tcp {
	__be16 sport, dport;
	__be32 seq, ack;
	__u8 doff, flags;
	__be16 window;
	__sum16 check;
	__be16 urgent;
};

struct reject_icmp {
	__u8 type, code;
	__sum16 check;
	__be32 unused;
};

static __always_inline __sum16 csum_fold(__u64 sum)
{
	for (int i = 0; i < 4; i++)
		sum = (sum & 0xffff) + (sum >> 16);
	return (__sum16)~sum;
}

static __always_inline bool skb_is_partial(void *ctx)
{
	struct sk_buff *skb = ctx;

	return BPF_CORE_READ_BITFIELD_PROBED(skb, ip_summed) == 3;
}

static __always_inline bool may_answer(const struct pkt *p)
{
	struct fw_budget *b;
	__u32 zero = 0;

	if (p->frag == PKT_FRAG_LATER || p->icmp_kind == PKT_ICMP_ERROR ||
	    addr_is_multicast(&p->key.daddr, p->key.family) ||
	    addr_is_any(&p->key.saddr, p->key.family) ||
	    p->daddr_self & FW_SELF_BROADCAST)
		return false;
	if (p->key.proto == IPPROTO_TCP && p->tcp_flags & TCP_RST)
		return false;
	b = bpf_map_lookup_elem(&budgets, &zero);
	return b && budget_take(&b->reject_tat_ns, bpf_ktime_get_ns(),
				REJECT_INTERVAL_NS, REJECT_BURST_NS);
}

/* IP header of the answer, addresses swapped; returns the pseudo-header sum. */
static __always_inline int reject_ip(struct __sk_buff *skb, const struct pkt *p,
				     __u8 proto, __u16 len, __u64 *ret_pseudo)
{
	struct ipv6hdr ip6 = {};
	struct iphdr ip4 = {};

	*ret_pseudo = (__u32)bpf_csum_diff(NULL, 0, (__be32 *)&p->key.saddr,
					   sizeof(p->key.saddr), 0);
	*ret_pseudo =
		(__u32)bpf_csum_diff(NULL, 0, (__be32 *)&p->key.daddr,
				     sizeof(p->key.daddr), (__wsum)*ret_pseudo);
	*ret_pseudo += (__u64)bpf_htons(proto) + bpf_htons(len);
	if (p->key.family == FW_AF_IPV4) {
		/* the mapped form adds 0xffff twice, which is nothing */
		ip4.version = 4;
		ip4.ihl = 5;
		ip4.tot_len = bpf_htons((__u16)(len + sizeof(ip4)));
		ip4.frag_off = bpf_htons(0x4000);
		ip4.ttl = 64;
		ip4.protocol = proto;
		ip4.saddr = p->key.daddr.w[3];
		ip4.daddr = p->key.saddr.w[3];
		ip4.check = csum_fold((__u32)bpf_csum_diff(
			NULL, 0, (__be32 *)&ip4, sizeof(ip4), 0));
		return (int)bpf_skb_store_bytes(skb, p->l3_off, &ip4,
						sizeof(ip4), 0);
	}
	ip6.version = 6;
	ip6.payload_len = bpf_htons(len);
	ip6.nexthdr = proto;
	ip6.hop_limit = 64;
	__builtin_memcpy(&ip6.saddr, &p->key.daddr, sizeof(ip6.saddr));
	__builtin_memcpy(&ip6.daddr, &p->key.saddr, sizeof(ip6.daddr));
	return (int)bpf_skb_store_bytes(skb, p->l3_off, &ip6, sizeof(ip6), 0);
}

static __always_inline __u32 ip_hlen(const struct pkt *p)
{
	return p->key.family == FW_AF_IPV4 ? 20 : 40;
}

static __always_inline int reject_reset(struct __sk_buff *skb,
					const struct pkt *p)
{
	bool partial = skb_is_partial(skb);
	struct reject_tcp in, out = {};
	__u32 at = p->l3_off + ip_hlen(p), data;
	__u64 pseudo;

	if (ctx_load(skb, FW_HOOK_INGRESS, p->l4_off, &in, sizeof(in)))
		return -1;
	if (partial && at != p->l4_off)
		return -1; /* the device would fill in the wrong place */
	/* behind options there stays a tail that IP does not count */
	if (bpf_skb_change_tail(skb, p->l4_off + sizeof(out), 0))
		return -1;
	out.sport = in.dport;
	out.dport = in.sport;
	out.doff = 5 << 4;
	if (in.flags & TCP_ACK) {
		out.seq = in.ack;
		out.flags = TCP_RST;
	} else {
		data = p->l3_end - p->l4_off - (in.doff >> 4) * 4u;
		data += (in.flags & TCP_SYN ? 1 : 0) +
			(in.flags & TCP_FIN ? 1 : 0);
		out.ack = bpf_htonl(bpf_ntohl(in.seq) + data);
		out.flags = TCP_RST | TCP_ACK;
	}
	if (reject_ip(skb, p, IPPROTO_TCP, sizeof(out), &pseudo))
		return -1;
	if (partial)
		out.check = (__sum16)~csum_fold(pseudo);
	else
		out.check = csum_fold(
			pseudo + (__u32)bpf_csum_diff(NULL, 0, (__be32 *)&out,
						      sizeof(out), 0));
	return (int)bpf_skb_store_bytes(skb, at, &out, sizeof(out), 0);
}

/*
 * Sum of what ICMP quotes. If the device is to fill in the quoted UDP checksum,
 * the quoted L4 part will sum up to the negative of the seed that is there now.
 */
static __always_inline int quote_sum(struct __sk_buff *skb, const struct pkt *p,
				     __u32 quote, bool partial, __u64 *ret)
{
	__u8 buf[REJECT_QUOTE] = {};
	__u16 seed;

	if (partial) {
		if (p->key.proto != IPPROTO_UDP ||
		    bpf_skb_load_bytes(skb, p->l4_off + 6, &seed, sizeof(seed)))
			return -1;
		quote = p->l4_off - p->l3_off;
	}
	if (quote < 20 || quote > REJECT_QUOTE ||
	    bpf_skb_load_bytes(skb, p->l3_off, buf, quote))
		return -1;
	*ret = (__u32)bpf_csum_diff(NULL, 0, (__be32 *)buf, sizeof(buf), 0);
	if (partial)
		*ret += (__u16)~seed;
	return 0;
}

static __always_inline int reject_icmp(struct __sk_buff *skb,
				       const struct pkt *p)
{
	bool partial = skb_is_partial(skb);
	struct reject_icmp icmp = {};
	__u32 hlen = ip_hlen(p), quote = p->l3_end - p->l3_off;
	__u64 pseudo, sum = 0;

	if (quote > REJECT_QUOTE)
		quote = REJECT_QUOTE;
	if (bpf_skb_change_tail(skb, p->l3_off + quote, 0) ||
	    quote_sum(skb, p, quote, partial, &sum) ||
	    bpf_skb_adjust_room(skb, (__s32)(hlen + sizeof(icmp)),
				BPF_ADJ_ROOM_MAC, 0))
		return -1;
	icmp.type = p->key.family == FW_AF_IPV4 ? 3 : 1;
	icmp.code = p->key.family == FW_AF_IPV4 ? 3 : 4; /* port unreachable */
	if (reject_ip(skb, p,
		      p->key.family == FW_AF_IPV4 ? IPPROTO_ICMP
						  : IPPROTO_ICMPV6,
		      (__u16)(sizeof(icmp) + quote), &pseudo))
		return -1;
	if (p->key.family == FW_AF_IPV6)
		sum += pseudo;
	sum += (__u32)bpf_csum_diff(NULL, 0, (__be32 *)&icmp, sizeof(icmp), 0);
	icmp.check = csum_fold(sum);
	return (int)bpf_skb_store_bytes(skb, p->l3_off + hlen, &icmp,
					sizeof(icmp), 0);
}

static __always_inline int swap_macs(struct __sk_buff *skb)
{
	__u8 macs[12], swapped[12];

	if (bpf_skb_load_bytes(skb, 0, macs, sizeof(macs)))
		return -1;
	if (macs[0] & 1)
		return -1; /* sent to a group: no answer */
	__builtin_memcpy(swapped, macs + 6, 6);
	__builtin_memcpy(swapped + 6, macs, 6);
	return (int)bpf_skb_store_bytes(skb, 0, swapped, sizeof(swapped), 0);
}

/*
 * What tc_index is of our answers; below what account.h and transit.h write. Others may
 * find it out: whoever governs a namespace writes what he likes, and it comes along.
 */
static __always_inline __u16 own_index(void)
{
	return (__u16)(0x2000 | fw_cookie >> 51);
}

static __always_inline bool is_reset(const struct reject_tcp *tcp)
{
	return tcp->doff == 5 << 4 && tcp->flags & TCP_RST &&
	       !(tcp->flags & ~(TCP_RST | TCP_ACK));
}

static __always_inline bool is_unreachable(const void *l4, __u8 type, __u8 code)
{
	const struct reject_icmp *icmp = l4;

	return icmp->type == type && icmp->code == code && !icmp->unused;
}

/* It looks like one of reject(): nothing else may pass unjudged. */
static __noinline bool is_own_answer(struct __sk_buff *skb)
{
	struct {
		__be16 tci, proto;
	} tag;
	struct {
		struct ipv6hdr ip;
		struct reject_tcp l4;
	} six;
	struct {
		struct iphdr ip;
		struct reject_tcp l4;
	} four;
	__be16 proto = (__be16)skb->protocol;
	__u32 off = 0;

	/* of two tags the kernel leaves one in the frame */
	if (proto == bpf_htons(ETH_P_8021Q) ||
	    proto == bpf_htons(ETH_P_8021AD)) {
		if (bpf_skb_load_bytes_relative(skb, 0, &tag, sizeof(tag),
						BPF_HDR_START_NET))
			return false;
		proto = tag.proto;
		off = sizeof(tag);
	}
	if (proto == bpf_htons(ETH_P_IP)) {
		if (bpf_skb_load_bytes_relative(skb, off, &four, sizeof(four),
						BPF_HDR_START_NET) ||
		    four.ip.ihl != 5 || four.ip.frag_off != bpf_htons(0x4000))
			return false;
		if (four.ip.protocol == IPPROTO_TCP)
			return is_reset(&four.l4) &&
			       four.ip.tot_len == bpf_htons(sizeof(four));
		return four.ip.protocol == IPPROTO_ICMP &&
		       is_unreachable(&four.l4, 3, 3);
	}
	if (proto != bpf_htons(ETH_P_IPV6) ||
	    bpf_skb_load_bytes_relative(skb, off, &six, sizeof(six),
					BPF_HDR_START_NET))
		return false;
	if (six.ip.nexthdr == IPPROTO_TCP)
		return is_reset(&six.l4) &&
		       six.ip.payload_len == bpf_htons(sizeof(six.l4));
	return six.ip.nexthdr == IPPROTO_ICMPV6 &&
	       is_unreachable(&six.l4, 1, 4);
}

/*
 * Turn the packet into its answer and send that back: at ingress out of the
 * same device, at egress into it (the sender is this host) or, for a packet
 * that came from elsewhere, to where it came from. Returns the action, or -1
 * if there is no answer and the packet is to be dropped in silence.
 */
static __noinline int reject(struct __sk_buff *skb, struct pkt *p,
			     const enum fw_hook hook)
{
	bool back = hook == FW_HOOK_EGRESS && p->in_ifindex &&
		    p->key.dir != FW_DIR_OUT;
	bool bare = !p->has_l2 && ctx_is_ether(skb, hook);

	/* room for a new Ethernet header in place of the one that is hidden */
	if (bare) {
		if (bpf_skb_change_head(skb, 14, 0))
			return -1;
		p->l3_off += 14;
		p->l4_off += 14;
		p->l3_end += 14;
	}
	if (p->key.proto == IPPROTO_TCP ? reject_reset(skb, p)
					: reject_icmp(skb, p))
		return -1;
	if (!back && p->has_l2 && swap_macs(skb))
		return -1;
	skb->tc_index = own_index();
	if (back)
		return (int)bpf_redirect_neigh(p->in_ifindex, NULL, 0, 0);
	if (bare)
		return (int)bpf_redirect_neigh(skb->ifindex, NULL, 0, 0);
	return (int)bpf_redirect(skb->ifindex,
				 hook == FW_HOOK_EGRESS ? BPF_F_INGRESS : 0);
}
