/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Who ends a handshake must have heard the other side: the opener's ACK answers
 * the number of that side's SYN, which is kept in flow_info. Otherwise two packets
 * with somebody else's address would leave an entry that lives for days.
 */
#pragma once

/*
 * The other side may have sent that much by then, having accepted what the SYN
 * brought (RFC 7413). Who does not know the number hits one time in 4096.
 */
#define HANDSHAKE_ROOM (1u << 20)

/* What is known of the flow; if that was evicted, nothing but what follows. */
static __always_inline struct fw_flow_info *info_of(const struct fw_tuple *orig)
{
	static const struct fw_flow_info none; /* not on the stack */
	struct fw_flow_info *info = bpf_map_lookup_elem(&flow_info, orig);

	if (info)
		return info;
	/* if another CPU has written it meanwhile, that stays */
	(void)bpf_map_update_elem(&flow_info, orig, &none, BPF_NOEXIST);
	return bpf_map_lookup_elem(&flow_info, orig);
}

/*
 * The state that a packet brings the flow to: `next`, or as before if it would end a
 * handshake that its sender has not seen. That is the end host's to answer. For the
 * verifier a function of its own, as in classify.h.
 */
__noinline int handshake_next(struct pkt *p, __u32 seq, __u32 ack, __u32 state,
			      __u32 next)
{
	struct fw_flow_info *info;
	struct fw_tuple orig; /* on the stack: 6.1 takes no other key here */

	if (!p)
		return FW_TCP_NONE;
	/* no NAT: the entry is ours */
	if (p->flow.reply) {
		if (!(p->tcp_flags & TCP_SYN) ||
		    (next != FW_TCP_SYN_RECV && next != FW_TCP_SYN_SENT2))
			return (int)next;
		if (is_dry) {
			asm volatile("" : : "r"(seq)); /* or it is not passed */
			return (int)next;
		}
		tuple_reverse(&orig, pkt_tuple(p));
		info = info_of(&orig);
		if (info)
			info->isn = seq;
		return (int)next;
	}
	if (state != FW_TCP_SYN_RECV || p->tcp_flags & (TCP_SYN | TCP_RST))
		return (int)next;
	orig = *pkt_tuple(p);
	info = bpf_map_lookup_elem(&flow_info, &orig);
	return (int)(info && ack - info->isn - 1 < HANDSHAKE_ROOM ? next
								  : state);
}

static __always_inline __u8 check_handshake(struct pkt *p, void *ctx,
					    const enum fw_hook hook, __u8 state,
					    __u8 next)
{
	struct {
		__be32 seq, ack;
	} n;

	if (unlikely(ctx_load(ctx, hook, p->l4_off + 4, &n, sizeof(n))))
		return state; /* it was there before */
	return (__u8)handshake_next(p, bpf_ntohl(n.seq), bpf_ntohl(n.ack),
				    state, next);
}
