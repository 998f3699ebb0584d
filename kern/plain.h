/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The usual packet: untagged Ethernet, IPv4 without options or IPv6 without extension
 * headers, whole, TCP or UDP, in the linear part of the frame. Its headers lie in known
 * places. Whatever it is not, or may have wrong, is left to kern/packet.h, which would
 * find the same in a packet that is taken here. So a good packet does not ask whether a
 * check is switched off.
 */
#pragma once

/* `len` bytes of IP's payload begin at `l4`. */
static __always_inline bool plain_tcp(struct pkt *p, const struct tcp_head *th,
				      const void *end, __u32 len)
{
	__u32 hlen;

	if (unlikely((const void *)(th + 1) > end))
		return false;
	hlen = (th->doff & 0xf0u) >> 2;
	if (unlikely(hlen < sizeof(*th) || hlen > len || !th->sport ||
		     !tcp_flags_are_legal(th->flags)))
		return false;
	p->tcp_flags = th->flags;
	return true;
}

static __always_inline bool plain_udp(const struct udphdr *uh, const void *end,
				      __u32 len, bool v4)
{
	__u32 ulen;

	if (unlikely((const void *)(uh + 1) > end))
		return false;
	ulen = bpf_ntohs(uh->len);
	if (unlikely(ulen < sizeof(*uh) || ulen > len))
		return false;
	return likely(!is_dhcp(bpf_ntohs(uh->source), v4));
}

static __always_inline bool plain_l4(struct pkt *p, const void *l4,
				     const void *end, __u32 len, __u8 proto,
				     const bool v4)
{
	const struct udphdr *ports = l4;

	if (likely(proto == IPPROTO_TCP)) {
		if (!plain_tcp(p, l4, end, len))
			return false;
	} else if (proto != IPPROTO_UDP || !plain_udp(l4, end, len, v4)) {
		return false;
	}
	if (unlikely(!ports->dest))
		return false;
	p->key.sport = bpf_ntohs(ports->source);
	p->key.dport = bpf_ntohs(ports->dest);
	p->key.proto = proto;
	p->key.family = v4 ? FW_AF_IPV4 : FW_AF_IPV6;
	p->key.flags = FW_KEY_PORTS;
	return true;
}

static __always_inline bool plain_ipv4(struct pkt *p, const struct iphdr *ip,
				       const void *end, const enum fw_hook hook)
{
	const __u8 usual = 0x45; /* version 4, five words */
	__u32 total;

	if (unlikely((const void *)(ip + 1) > end || *(__u8 *)ip != usual ||
		     ip->frag_off & bpf_htons(0x3fff)))
		return false;
	if (hook != FW_HOOK_EGRESS &&
	    unlikely(!ip->ttl || !sum_is_right(sum_words(ip, 5))))
		return false;
	total = bpf_ntohs(ip->tot_len);
	if (unlikely(total < sizeof(*ip) || p->l3_off + total > p->len))
		return false;
	addr_from_v4(&p->key.saddr, ip->saddr);
	addr_from_v4(&p->key.daddr, ip->daddr);
	p->ttl = ip->ttl;
	p->l4_off = p->l3_off + sizeof(*ip);
	p->l3_end = p->l3_off + total;
	return plain_l4(p, ip + 1, end, total - sizeof(*ip), ip->protocol,
			true);
}

static __always_inline bool plain_ipv6(struct pkt *p, const struct ipv6hdr *ip,
				       const void *end, const enum fw_hook hook)
{
	__u32 payload;

	if (unlikely((const void *)(ip + 1) > end || ip->version != 6))
		return false;
	if (hook != FW_HOOK_EGRESS && unlikely(!ip->hop_limit))
		return false;
	payload = bpf_ntohs(ip->payload_len);
	if (unlikely(p->l3_off + sizeof(*ip) + payload > p->len))
		return false;
	addr_load(&p->key.saddr, &ip->saddr);
	addr_load(&p->key.daddr, &ip->daddr);
	p->ttl = ip->hop_limit;
	p->l4_off = p->l3_off + sizeof(*ip);
	p->l3_end = p->l4_off + payload;
	return plain_l4(p, ip + 1, end, payload, ip->nexthdr, false);
}

/* True: `p` is complete. False: nothing was found out. */
static __always_inline bool parse_plain(struct pkt *p, void *ctx,
					const enum fw_hook hook)
{
	const struct ethhdr *eth = ctx_data(ctx, hook);
	const void *end = ctx_data_end(ctx, hook);

	if (hook != FW_HOOK_XDP &&
	    (!p->has_l2 || ((struct __sk_buff *)ctx)->vlan_present))
		return false;
	if (unlikely((const void *)(eth + 1) > end))
		return false;
	p->l3_off = sizeof(*eth);
	if (likely(eth->h_proto == bpf_htons(ETH_P_IP)))
		return plain_ipv4(p, (const void *)(eth + 1), end, hook);
	if (likely(eth->h_proto == bpf_htons(ETH_P_IPV6)))
		return plain_ipv6(p, (const void *)(eth + 1), end, hook);
	return false;
}
