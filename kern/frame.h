/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Frames that may be forwarded without the stack by XDP, or passed without a look into the
 * connection table. Only the plain ones are:
 * at most one tag, IPv4 without options or IPv6 without extension headers, whole, TCP
 * in the middle of a connection, or UDP; nothing wrong with it that the stack would
 * find, time to live. All else is the stack's.
 */
#pragma once

#define FRAME_SHORTEST 64 /* up to here there may be padding behind a packet */

/* Ethernet and one tag or none, 802.1Q; false: anything else. */
static __always_inline bool frame_l2(struct frame *f, void *ctx,
				     const enum fw_hook hook, const void *end,
				     __be16 *ret_proto)
{
	const void *data = ctx_data(ctx, hook);
	const __be16 *w = data;
	__u16 vid;

	if (unlikely(data + 18 > end))
		return false;
	/* a tag that is not in the frame any more */
	if (hook != FW_HOOK_XDP &&
	    (!ctx_has_l2(ctx, hook) || ((struct __sk_buff *)ctx)->vlan_present))
		return false;
	f->to = *(const __u32 *)data | (__u64)w[2] << 32;
	f->from = ctx_ifindex(ctx, hook);
	f->off = 14;
	*ret_proto = w[6];
	if (likely(w[6] != bpf_htons(ETH_P_8021Q)))
		return true;
	vid = bpf_ntohs(w[7]) & 0xfff;
	f->from |= (__u64)vid << 32;
	f->off = 18;
	*ret_proto = w[8];
	return vid;
}

/* The packet is `f->len` bytes long: so is the frame, but for padding. */
static __always_inline bool frame_is_whole(struct frame *f, void *ctx,
					   const enum fw_hook hook)
{
	f->bytes = ctx_near_len(ctx, hook);
	f->in_pieces = false;
	if (likely(f->off + f->len == f->bytes))
		return true;
	if (f->off + f->len < f->bytes)
		return f->bytes <= FRAME_SHORTEST;
	if (hook != FW_HOOK_XDP)
		return false;
	f->bytes = (__u32)bpf_xdp_get_buff_len(ctx);
	f->in_pieces = true;
	return f->off + f->len == f->bytes;
}

/* `len` bytes of IP's payload begin at `l4`; the upper half of f->l4 is there. */
static __always_inline bool frame_l4(struct frame *f, const void *l4,
				     const void *end, __u32 len, __u8 proto)
{
	const struct tcp_head *th = l4;
	const struct udphdr *uh = l4;
	const __u8 ends = TCP_FIN | TCP_SYN | TCP_RST;
	__u32 hlen;

	if (unlikely((const void *)(uh + 1) > end))
		return false;
	f->l4 |= *(const __u32 *)l4;
	if (proto == IPPROTO_UDP)
		return bpf_ntohs(uh->len) == len;
	if (proto != IPPROTO_TCP || unlikely((const void *)(th + 1) > end))
		return false;
	hlen = (th->doff & 0xf0u) >> 2;
	return likely(hlen >= sizeof(*th) && hlen <= len &&
		      (th->flags & (ends | TCP_ACK)) == TCP_ACK);
}

static __always_inline bool frame_ipv4(struct frame *f, void *ctx,
				       const enum fw_hook hook, const void *end)
{
	const struct iphdr *ip = ctx_data(ctx, hook) + f->off;

	if (unlikely((const void *)(ip + 1) > end ||
		     *(const __u8 *)ip != 0x45 || ip->ttl <= 1 ||
		     ip->frag_off & bpf_htons(0x3fff) ||
		     !sum_is_right(sum_words(ip, 5))))
		return false;
	f->is_v6 = false;
	f->len = bpf_ntohs(ip->tot_len);
	f->addr[0] = ip->saddr | (__u64)ip->daddr << 32;
	f->l4 = FW_CACHED_L4(0, ip->protocol, ip->tos & 0xfc, 0);
	return f->len >= sizeof(*ip) && frame_is_whole(f, ctx, hook) &&
	       frame_l4(f, ip + 1, end, f->len - (__u32)sizeof(*ip),
			ip->protocol);
}

static __always_inline bool frame_ipv6(struct frame *f, void *ctx,
				       const enum fw_hook hook, const void *end)
{
	const struct ipv6hdr *ip = ctx_data(ctx, hook) + f->off;
	const __u32 *s = (const void *)&ip->saddr;
	__u32 len;

	if (unlikely((const void *)(ip + 1) > end || ip->version != 6 ||
		     ip->hop_limit <= 1))
		return false;
	f->flowinfo = *(const __be32 *)ip & bpf_htonl(0x0fffffff);
	len = bpf_ntohs(ip->payload_len);
	f->is_v6 = true;
	f->len = len + (__u32)sizeof(*ip);
	for (int i = 0; i < 4; i++)
		f->addr[i] = s[2 * i] | (__u64)s[2 * i + 1] << 32;
	f->l4 = FW_CACHED_L4(0, ip->nexthdr,
			     bpf_ntohl(f->flowinfo) >> 20 & 0xfc, 1);
	return len && frame_is_whole(f, ctx, hook) &&
	       frame_l4(f, ip + 1, end, len, ip->nexthdr);
}

static __always_inline __u32 fold(__u64 sum)
{
	sum = (sum >> 32) + (__u32)sum;
	sum = (sum >> 32) + (__u32)sum;
	sum = (sum >> 16) + (sum & 0xffff);
	return (__u32)((sum >> 16) + (sum & 0xffff));
}

/*
 * True if the checksum may have been left to a network card to write, and there is none:
 * then what stands there is the sum of the pseudo header. One right checksum of 65536 is
 * the same; such a packet is the stack's, too.
 */
static __always_inline bool frame_is_partial(const struct frame *f,
					     struct xdp_md *ctx)
{
	const void *end = ctx_data_end(ctx, FW_HOOK_XDP);
	const __u32 proto = f->l4 >> 32 & 0xff, ip = f->is_v6 ? 40 : 20;
	const __u32 field = proto == IPPROTO_TCP ? 16 : 6;
	const __be16 *check =
		ctx_data(ctx, FW_HOOK_XDP) + ((f->off + ip + field) & 0x7f);
	__u64 sum = (__u64)bpf_htons((__u16)(f->len - ip)) +
		    bpf_htons((__u16)proto);

	for (int i = 0; i < (f->is_v6 ? 4 : 1); i++)
		sum += (f->addr[i] >> 32) + (__u32)f->addr[i];
	return (const void *)(check + 1) > end || fold(sum) == *check;
}

/* One less to live, with the checksum as the stack would have it (RFC 1624). */
static __always_inline void frame_age(void *l3, const bool is_v6)
{
	struct ipv6hdr *ip6 = l3;
	struct iphdr *ip = l3;
	__u32 check;

	if (is_v6) {
		ip6->hop_limit--;
		return;
	}
	check = (__u32)ip->check + bpf_htons(0x0100);
	ip->check = (__sum16)(check + (check >= 0xffff));
	ip->ttl--;
}

/*
 * The frame as the next hop gets it. False: nothing has been done, for there is no room
 * for a tag in front of it.
 */
static __always_inline bool frame_turn(const struct frame *f,
				       struct xdp_md *ctx,
				       const struct fw_cached_flow *e)
{
	const __u32 *macs = __builtin_assume_aligned(e->macs, 4);
	const bool had_tag = f->off == 18, has_tag = e->tx_tag != 0;
	const void *end;
	__u32 *to;
	void *l3;

	if (unlikely(had_tag != has_tag) &&
	    bpf_xdp_adjust_head(ctx, had_tag ? 4 : -4))
		return false;
	to = ctx_data(ctx, FW_HOOK_XDP);
	end = ctx_data_end(ctx, FW_HOOK_XDP);
	l3 = (void *)to + (has_tag ? 18 : 14);
	if (unlikely((void *)(to + 4) > end || l3 + sizeof(struct iphdr) > end))
		return false; /* it was long enough before */
	to[0] = macs[0];
	to[1] = macs[1];
	to[2] = macs[2];
	if (has_tag)
		to[3] = e->tx_tag;
	frame_age(l3, f->is_v6);
	return true;
}
