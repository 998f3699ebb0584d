/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Counts, reports, and turns a reason into a return code; nobody else may.
 */
#pragma once

#define TC_NEXT (-1) /* TCX_NEXT, TC_ACT_UNSPEC: others may still judge it */
#define TC_SHOT 2    /* TC_ACT_SHOT */

static __always_inline bool reason_is_drop(enum fw_reason reason)
{
#define REASON_BIT(sym, name, is_drop, text) \
	| ((__u64)(is_drop) << FW_REASON_##sym)
	const __u64 drops = 0 FW_REASONS(REASON_BIT);
#undef REASON_BIT

	return drops >> reason & 1;
}

/* One increment per packet and hook. */
static __always_inline void count(const struct pkt *p, const enum fw_hook hook,
				  enum fw_reason reason)
{
	__u32 index = p->base.stats + FW_STATS_INDEX(p->slot, hook, reason);
	struct fw_counter *c;

	if (is_dry)
		return;
	c = bpf_map_lookup_elem(&stats, &index);
	if (!c)
		return;
	c->packets++;
	c->bytes += p->len;
}

/* The rule decided about this packet, here and nowhere else. */
static __always_inline void count_rule(const struct pkt *p, __u32 slot,
				       bool flow)
{
	struct fw_rule_counter *c;
	__u32 index = p->base.rule_stats + slot;

	dry_decided(slot);
	if (is_dry)
		return;
	c = bpf_map_lookup_elem(&rule_stats, &index);
	if (!c)
		return;
	c->packets++;
	c->bytes += p->len;
	c->flows += flow;
}

static __always_inline int action(const enum fw_hook hook, bool drop)
{
	if (hook == FW_HOOK_XDP)
		return drop ? XDP_DROP : XDP_PASS;
	return drop ? TC_SHOT : TC_NEXT;
}

/* Of a packet that leaves by another device. */
static __always_inline int action_sent(void)
{
	return XDP_REDIRECT;
}

/* XDP: leave by a device of the map; lost, if it is not there. */
static __always_inline int action_send(void *devs, __u32 ifindex)
{
	return (int)bpf_redirect_map(devs, ifindex, XDP_DROP);
}

/*
 * XDP: what passes goes on at another CPU, and *ret_sent says so; here, if that is not in
 * the map.
 */
static __always_inline int action_steer(int done, void *cpus, __u32 cpu,
					bool *ret_sent)
{
	if (done == XDP_PASS)
		done = (int)bpf_redirect_map(cpus, cpu, XDP_PASS);
	*ret_sent = done == XDP_REDIRECT;
	return done;
}

/* Which FW_WATCH_* a packet is one of. */
static __always_inline __u32 kinds_of(const struct pkt *p, bool drop)
{
	__u32 kinds = 0;

	if (drop)
		kinds |= FW_WATCH_CAPTURE_DROPS;
	if (drop && !p->logged && !p->told)
		kinds |= FW_WATCH_DROPS;
	if (p->logged)
		kinds |= FW_WATCH_CAPTURE_MATCHES;
	return kinds;
}

/*
 * Dropped before it was known who sent it, for nobody watched: it counts, but is shown to
 * nobody, not even to who has begun to watch meanwhile.
 */
static __always_inline int finish_unseen(const struct pkt *p,
					 const enum fw_hook hook,
					 enum fw_reason reason)
{
	count(p, hook, reason);
	dry_finish(p, hook, reason);
	return action(hook, true);
}

static __always_inline int
finish(struct pkt *p, void *ctx, const enum fw_hook hook, enum fw_reason reason)
{
	bool drop = reason_is_drop(reason);
	__u32 kinds;

	count(p, hook, reason);
	dry_finish(p, hook, reason);
	if (!is_dry && unlikely(drop || p->logged) && unlikely(is_watched())) {
		kinds = kinds_of(p, drop);
		if (hook == FW_HOOK_XDP)
			(void)show_xdp(ctx, p, kinds, reason);
		else
			(void)show_tc(ctx, p, hook, kinds, reason);
	}
	return action(hook, drop);
}
