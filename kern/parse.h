/* SPDX-License-Identifier: GPL-2.0-only */

/* The entry to parsing: what is usual by a short way (plain.h), the rest by packet.h. */
#pragma once

/*
 * Parse the frame. FW_REASON_NONE: `p` is complete. Anything else is the reason to
 * drop it, but for FW_REASON_NON_IP, with which the rules do as they please.
 */
static __always_inline enum fw_reason parse(struct pkt *p, void *ctx,
					    const enum fw_hook hook)
{
	enum fw_reason reason;

	p->len = ctx_near_len(ctx, hook);
	if (hook != FW_HOOK_XDP)
		p->has_l2 = ctx_has_l2(ctx, hook);
	p->rx_ifindex = ctx_ifindex(ctx, hook);
	if (likely(parse_plain(p, ctx, hook)))
		return FW_REASON_NONE;
	reason = parse_headers(p, ctx, hook);
	if (hook == FW_HOOK_XDP && unlikely(reason != FW_REASON_NONE))
		p->len = ctx_len(ctx, hook);
	return reason;
}
