/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The few things that differ between xdp_md and __sk_buff.
 *
 * Every function takes the hook as a constant: after inlining only the branch
 * of that hook is left, so one body serves both contexts without #ifdef.
 */
#pragma once

/* The kernel's context behind ours; from 6.2 on (kernel/bpf/helpers.c). */
void *bpf_cast_to_kern_ctx(void *) __ksym __weak;

/* From 6.4 on (net/core/filter.c). */
int bpf_dynptr_from_skb(struct __sk_buff *skb, __u64 flags,
			struct bpf_dynptr *ptr) __ksym __weak;

/* A third context, of netfilter's hooks (kern/transport.h): for ctx_at() and ctx_load(). */
#define FW_HOOK_LOCAL FW_HOOK_MAX

/* net/netfilter/nf_bpf_link.c, 6.4 and later */
struct bpf_nf_ctx {
	const struct nf_hook_state *state;
	struct sk_buff *skb;
};

/* Headers lie within this many bytes of a frame, or we do not look at them. */
#define FW_MAX_HEADERS_OFF 0x7ff

/*
 * Bytes of a frame by few loads, not one by one. They may lie at any address;
 * the verifier allows that where the kernel knows it to be cheap (x86, arm64:
 * CONFIG_HAVE_EFFICIENT_UNALIGNED_ACCESS).
 */
static __always_inline void ctx_copy(void *to, const void *from,
				     const __u32 len)
{
	if (len % 4)
		__builtin_memcpy(to, __builtin_assume_aligned(from, 2), len);
	else if (len % 8 == 0)
		__builtin_memcpy(to, __builtin_assume_aligned(from, 8), len);
	else
		__builtin_memcpy(to, __builtin_assume_aligned(from, 4), len);
}

/* The linear part of the frame: from where on, */
static __always_inline void *ctx_data(void *ctx, const enum fw_hook hook)
{
	return hook == FW_HOOK_XDP
		       ? (void *)(long)((struct xdp_md *)ctx)->data
		       : (void *)(long)((struct __sk_buff *)ctx)->data;
}

/* and up to where. */
static __always_inline void *ctx_data_end(void *ctx, const enum fw_hook hook)
{
	return hook == FW_HOOK_XDP
		       ? (void *)(long)((struct xdp_md *)ctx)->data_end
		       : (void *)(long)((struct __sk_buff *)ctx)->data_end;
}

/* The same of a netfilter hook, from where the IP header begins; 0 or negative. */
static __noinline long local_read(struct bpf_nf_ctx *ctx, __u32 off, void *to,
				  __u32 len)
{
	struct __sk_buff *skb = (void *)ctx->skb;
	struct bpf_dynptr at;

	if (!bpf_dynptr_from_skb || bpf_dynptr_from_skb(skb, 0, &at))
		return -1;
	return bpf_dynptr_read(to, len, &at, off, 0);
}

/*
 * `len` (constant) bytes at `off` of the frame, or NULL: where they are, if in the
 * linear part, or else in `room`, which the helper fills from a driver's fragments.
 */
static __always_inline const void *ctx_at(void *ctx, const enum fw_hook hook,
					  __u32 off, void *room,
					  const __u32 len)
{
	void *data, *end;

	if (unlikely(off > FW_MAX_HEADERS_OFF))
		return NULL;
	if (hook == FW_HOOK_LOCAL)
		return local_read(ctx, off, room, len) ? NULL : room;
	data = ctx_data(ctx, hook);
	end = ctx_data_end(ctx, hook);
	if (likely(data + off + len <= end))
		return data + off;
	if (hook == FW_HOOK_XDP)
		return bpf_xdp_load_bytes(ctx, off, room, len) ? NULL : room;
	return bpf_skb_load_bytes(ctx, off, room, len) ? NULL : room;
}

/* Copy `len` (constant, even) bytes at `off` of the frame. */
static __always_inline int ctx_load(void *ctx, const enum fw_hook hook,
				    __u32 off, void *to, const __u32 len)
{
	const void *at = ctx_at(ctx, hook, off, to, len);

	if (!at)
		return -1;
	if (at != to)
		ctx_copy(to, at, len);
	return 0;
}

static __always_inline __u32 ctx_len(void *ctx, const enum fw_hook hook)
{
	if (hook == FW_HOOK_XDP)
		return (__u32)bpf_xdp_get_buff_len(ctx);
	return ((struct __sk_buff *)ctx)->len;
}

/*
 * What of it is seen without a call, which costs as much as parsing a header.
 * XDP: the linear part.
 */
static __always_inline __u32 ctx_near_len(void *ctx, const enum fw_hook hook)
{
	struct xdp_md *xdp = ctx;

	if (hook == FW_HOOK_XDP)
		return xdp->data_end - xdp->data;
	return ((struct __sk_buff *)ctx)->len;
}

/* TC: the frame stands for many, and headers may lack their lengths. */
static __always_inline bool ctx_is_gso(void *ctx, const enum fw_hook hook)
{
	if (hook == FW_HOOK_XDP)
		return false;
	return hook == FW_HOOK_LOCAL || ((struct __sk_buff *)ctx)->gso_size;
}

static __always_inline __u32 ctx_ifindex(void *ctx, const enum fw_hook hook)
{
	if (hook == FW_HOOK_XDP)
		return ((struct xdp_md *)ctx)->ingress_ifindex;
	return ((struct __sk_buff *)ctx)->ifindex;
}

/* True if the device has Ethernet headers; tun, wg and ipsecN have none. */
static __always_inline bool ctx_is_ether(void *ctx, const enum fw_hook hook)
{
	struct sk_buff *skb = ctx;

	return hook == FW_HOOK_XDP ||
	       BPF_CORE_READ(skb, dev, type) == 1; /* ARPHRD_ETHER */
}

/*
 * True if the frame has an Ethernet header, as this hook sees it. On 6.18, TC
 * behind generic XDP does not see it: data begins at the network header. What
 * comes in by an XFRM interface bears that of the ESP packet.
 */
static __always_inline bool ctx_has_l2(void *ctx, const enum fw_hook hook)
{
	struct sk_buff *skb = ctx;
	unsigned char *network;

	if (hook == FW_HOOK_XDP)
		return true;
	if (bpf_cast_to_kern_ctx) { /* without a call */
		skb = bpf_cast_to_kern_ctx(ctx);
		network = skb->head + skb->network_header;
	} else {
		network = BPF_CORE_READ(skb, head);
		network += BPF_CORE_READ(skb, network_header);
	}
	return network != (void *)(long)((struct __sk_buff *)ctx)->data;
}

/*
 * The Ethernet header, where this hook does not see it (ctx_has_l2()), but it is there.
 * NULL: there is none.
 */
static __always_inline const void *hidden_l2(const struct __sk_buff *ctx)
{
	const struct sk_buff *skb = (const void *)ctx;
	__u16 mac = BPF_CORE_READ(skb, mac_header);

	/* XFRM's and those of tunnels are of another packet */
	if (BPF_CORE_READ(skb, dev, type) != 1 || /* ARPHRD_ETHER */
	    BPF_CORE_READ(skb, network_header) != mac + ETH_HLEN)
		return NULL;
	return BPF_CORE_READ(skb, head) + mac;
}

/* The device that a frame came by. */
static __always_inline struct net_device *xdp_dev(void *ctx)
{
	struct xdp_buff *xdp = ctx;

	return BPF_CORE_READ(xdp, rxq, dev);
}

/* The namespace of the device the packet is on; for hooks_active() only. */
static __always_inline struct net *ctx_net(void *ctx, const enum fw_hook hook)
{
	struct sk_buff *skb = ctx;

	if (hook == FW_HOOK_XDP)
		return BPF_CORE_READ(xdp_dev(ctx), nd_net.net);
	return BPF_CORE_READ(skb, dev, nd_net.net);
}
