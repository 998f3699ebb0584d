/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * What somebody wants to see of a packet whose fate is known: a record of it
 * (kern/events.h), or its bytes.
 */
#pragma once

/* How many of its bytes. */
static __always_inline __u64 capture_len(__u32 wire_len)
{
	const volatile __u16 *snap = &host.snap;
	__u32 most = *snap < FW_CAPTURE_MAX ? *snap : FW_CAPTURE_MAX;

	return wire_len < most ? wire_len : most;
}

/* The least room that suffices; of each the verifier knows how much it is. */
static __always_inline __u32 capture_room(__u64 len)
{
	__u32 room = FW_CAPTURE_MAX;

	if (len <= FW_CAPTURE_SMALL)
		room = FW_CAPTURE_SMALL;
	else if (len <= FW_CAPTURE_MEDIUM)
		room = FW_CAPTURE_MEDIUM;
	return room;
}

/* The packet as the hook has it, up to `room`; `len` is 1 at least. */
static __always_inline long load_bytes(void *ctx, const bool is_xdp, void *to,
				       __u64 len, __u64 room)
{
	__u64 less = len - 1;

	/* that it is 1 at least the verifier of 6.1 believes of a sum */
	asm volatile("" : "+r"(less));
	if (less >= room)
		return -1;
	return is_xdp ? bpf_xdp_load_bytes(ctx, 0, to, (__u32)(less + 1))
		      : bpf_skb_load_bytes(ctx, 0, to, (__u32)(less + 1));
}

static __always_inline long capture_bytes(struct fw_capture *c, void *ctx,
					  const bool is_xdp, const void *hidden,
					  __u64 len, __u32 room)
{
	char *to = (char *)(c + 1);

	if (!hidden)
		return load_bytes(ctx, is_xdp, to, len, room);
	if (bpf_probe_read_kernel(to, ETH_HLEN, hidden))
		return -1;
	if (len <= ETH_HLEN)
		return 0;
	return load_bytes(ctx, is_xdp, to + ETH_HLEN, len - ETH_HLEN,
			  room - ETH_HLEN);
}

static __always_inline void capture_frame(struct fw_capture *c, void *ctx,
					  const struct pkt *p,
					  const bool is_xdp, bool has_l2)
{
	const struct __sk_buff *skb = ctx;

	c->rx_ifindex = p->rx_ifindex;
	c->iface = (__u8)p->slot;
	c->flags = p->logged ? FW_CAPTURE_LOGGED : 0;
	c->vlan_proto = 0;
	c->vlan_tci = 0;
	__builtin_memset(c->pad, 0, sizeof(c->pad));
	if (has_l2)
		c->flags |= FW_CAPTURE_HAS_L2;
	if (!is_xdp && skb->vlan_present) {
		c->vlan_proto = (__be16)skb->vlan_proto;
		c->vlan_tci = (__u16)skb->vlan_tci;
	}
}

/* The rule with `log` decides, unless what it let in is dropped all the same. */
static __always_inline __u32 capture_type(const struct pkt *p, bool drop)
{
	return p->logged && drop == (p->res.verdict != FW_ACCEPT)
		       ? FW_EVENT_LOG
		       : FW_EVENT_DROP;
}

static __always_inline void capture(void *ctx, struct pkt *p, __u32 hook,
				    const bool is_xdp, __u32 reason, bool drop)
{
	const enum fw_hook any = is_xdp ? FW_HOOK_XDP : FW_HOOK_INGRESS;
	/* asked anew: nothing may have been found out of it */
	bool has_l2 = ctx_has_l2(ctx, any);
	const void *hidden = has_l2 ? NULL : hidden_l2(ctx);
	__u32 wire_len = ctx_len(ctx, any) + (hidden ? ETH_HLEN : 0);
	__u64 now = bpf_ktime_get_ns(), len = capture_len(wire_len);
	struct fw_capture *c = NULL;
	struct fw_capture_budget *b;
	__u32 room;

	b = bpf_map_lookup_elem(&capture_budget, &first);
	if (!b)
		return;
	room = capture_room(len);
	if (budget_take(&b->tat_ns, now, FW_CAPTURE_INTERVAL_NS,
			FW_CAPTURE_BURST_NS))
		c = bpf_ringbuf_reserve(&captures, sizeof(*c) + room, 0);
	if (!c) {
		b->lost[p->slot % FW_MAX_IFSLOTS]++;
		return;
	}
	event_fill(&c->event, p, now, capture_type(p, drop), hook, reason, 0);
	capture_frame(c, ctx, p, is_xdp, has_l2 || hidden);
	c->wire_len = wire_len;
	c->len = (__u32)len;
	if (capture_bytes(c, ctx, is_xdp, hidden, len, room)) {
		b->lost[p->slot % FW_MAX_IFSLOTS]++;
		bpf_ringbuf_discard(c, 0);
		return;
	}
	bpf_ringbuf_submit(c, 0);
}

/* `kinds`: FW_WATCH_* that this packet is one of. */
static __always_inline int show(void *ctx, struct pkt *p, __u32 hook,
				const bool is_xdp, __u32 kinds, __u32 reason)
{
	__u32 wanted = kinds & watched();

	if (!p)
		return -1;
	if (wanted & FW_WATCH_DROPS)
		(void)event_packet(p, FW_EVENT_DROP, hook, reason, 0);
	if (wanted & FW_WATCH_CAPTURES)
		capture(ctx, p, hook, is_xdp, reason,
			kinds & FW_WATCH_CAPTURE_DROPS);
	return 0;
}

/* The verifier walks these once, and not for each end of a path. */
__noinline int show_xdp(struct xdp_md *ctx, struct pkt *p, __u32 kinds,
			__u32 reason)
{
	return show(ctx, p, FW_HOOK_XDP, true, kinds, reason);
}

__noinline int show_tc(struct __sk_buff *ctx, struct pkt *p, __u32 hook,
		       __u32 kinds, __u32 reason)
{
	return show(ctx, p, hook, false, kinds, reason);
}
