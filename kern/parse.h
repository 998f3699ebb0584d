/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Bytes of a frame -> struct pkt: what is usual by a short way (plain.h), before the rules
 * are known, the rest by packet.h, which checks as much as they want.
 */
#pragma once

/* What is known of a frame before it is looked at. */
static __always_inline void receive(struct pkt *p, void *ctx,
				    const enum fw_hook hook)
{
	p->len = ctx_near_len(ctx, hook);
	p->rx_ifindex = ctx_ifindex(ctx, hook);
}

/* True: `p` is complete, and nothing is wrong with it. */
static __always_inline bool parse_usual(struct pkt *p, void *ctx,
					const enum fw_hook hook)
{
	receive(p, ctx, hook);
	if (hook != FW_HOOK_XDP)
		p->has_l2 = ctx_has_l2(ctx, hook);
	return likely(parse_plain(p, ctx, hook));
}

/*
 * Parse what is not usual. FW_REASON_NONE: `p` is complete. Anything else is the reason to
 * drop it, but for FW_REASON_NON_IP, with which the rules do as they please.
 */
static __always_inline enum fw_reason
parse_unusual(struct pkt *p, void *ctx, const enum fw_hook hook, __u32 options)
{
	enum fw_reason reason = parse_headers(p, ctx, hook, options);

	if (hook == FW_HOOK_XDP && unlikely(reason != FW_REASON_NONE))
		p->len = ctx_len(ctx, hook);
	/* what follows is not verified anew for each of them */
	return (enum fw_reason)forget_by(reason, p->len);
}
