/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The programs: XDP, TC ingress, TC egress, and two of netfilter for IPsec in transport
 * mode. Thin on purpose; the path of a packet is in filter.h and transport.h, the meaning
 * of a reason in verdict.h.
 */

#include "kern/uapi.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "kern/abi.h"
#include "kern/config.h"
#include "kern/esp_abi.h"
#include "kern/forget.h"
#include "kern/host_abi.h"
#include "kern/image.h"
#include "kern/kernel.h"
#include "kern/likely.h"
#include "kern/offload_abi.h"

#include "kern/maps.h"

#include "kern/ctx.h"

#include "kern/match.h"
#include "kern/packet.h"
#include "kern/plain.h"

#include "kern/parse.h"
#include "kern/tuple.h"

#include "kern/host.h"

#include "kern/dry.h"

#include "kern/classify.h"
#include "kern/events.h"

#include "kern/capture.h"
#include "kern/pressure.h"
#include "kern/tcp.h"
#include "kern/verdict.h"

#include "kern/account.h"
#include "kern/expect.h"
#include "kern/fragments.h"
#include "kern/handshake.h"

#include "kern/ipsec.h"

#include "kern/conntrack.h"
#include "kern/xflow.h"

#include "kern/icmpsum.h"

#include "kern/icmp.h"
#include "kern/meta.h"
#include "kern/sanity.h"

#include "kern/reject.h"

#include "kern/where.h"

#include "kern/early.h"
#include "kern/front.h"

#include "kern/antispoof.h"
#include "kern/ask.h"

#include "kern/frame.h"

#include "kern/alive.h"
#include "kern/offload.h"

#include "kern/flow.h"

#include "kern/answer.h"

#include "kern/adopt.h"
#include "kern/related.h"

#include "kern/state.h"
#include "kern/transit.h"

#include "kern/esp.h"

#include "kern/filter.h"

#include "kern/offload_fill.h"

#ifndef FW_DRY
#include "kern/transport.h"
#else
#define LOCAL_PLACES 0
#endif

#include "kern/work.h"

#include "kern/known.h"

char LICENSE[] SEC("license") = "GPL";

/* Nothing to judge by: the packet counts all the same, with its length. */
static __always_inline int finish_unread(struct pkt *p, void *ctx,
					 const enum fw_hook hook,
					 enum fw_reason reason)
{
	receive(p, ctx, hook);
	p->ifindex = p->rx_ifindex;
	return finish(p, ctx, hook, reason);
}

static __noinline int xdp_unread(struct xdp_md *ctx, struct pkt *p,
				 enum fw_reason reason)
{
	work_clear(p);
	return finish_unread(p, ctx, FW_HOOK_XDP, reason);
}

/* A packet of a flow that is remembered; OFFLOAD_NOT: it takes the whole way. */
static __always_inline int offload_first(struct pkt *p, struct run *r,
					 struct xdp_md *ctx)
{
	int sent;

	if (!r->head->remembers && likely(!(r->head->options & FW_OPT_OFFLOAD)))
		return OFFLOAD_NOT;
	p->epoch = offload_epoch();
	if (is_dry)
		return OFFLOAD_NOT;
	sent = offload_hit(p, r, ctx);
	p->is_stacks = sent == OFFLOAD_NEVER;
	return p->is_stacks ? OFFLOAD_NOT : sent;
}

/* A packet that has taken the whole way, and could have been spared it. */
static __always_inline int offload_last(struct pkt *p, const struct run *r,
					struct xdp_md *ctx)
{
	int sent = p->is_stacks ? OFFLOAD_NOT : offload_fill(p, r, ctx);

	if (is_dry && sent != OFFLOAD_NOT)
		dry_finish(p, FW_HOOK_XDP, FW_REASON_OFFLOADED);
	return sent;
}

/* TC goes on where XDP ends. */
static __always_inline bool concerns_tc(enum fw_reason reason)
{
	return reason == FW_REASON_DROP_REJECT ||
	       (!reason_is_drop(reason) && reason != FW_REASON_UNDECIDED &&
		reason != FW_REASON_UNCOVERED && reason != FW_REASON_NON_IP);
}

/*
 * What no stateless rule has dropped before. A call: the verifier walks it once, whatever
 * was found out.
 */
static __noinline int xdp_filter(struct xdp_md *ctx, struct pkt *p,
				 struct run *r)
{
	enum fw_reason reason;
	int sent;

	reason = filter(p, r, ctx, FW_HOOK_XDP);
	if (unlikely(p->flow.offload) && reason == FW_REASON_ESTABLISHED) {
		sent = offload_last(p, r, ctx);
		if (sent != OFFLOAD_NOT)
			return sent;
	} else if (p->flow.steady && reason == FW_REASON_ESTABLISHED) {
		offload_keep(p, r, ctx);
	}
	if (concerns_tc(reason) && meta_write(ctx, p, reason, r->gen) &&
	    unlikely(p->flow.counts))
		account_frame(p);
	/* TC builds the answer; without metadata it judges again */
	if (reason == FW_REASON_DROP_REJECT)
		reason = FW_REASON_UNDECIDED;
	sent = finish(p, ctx, FW_HOOK_XDP, reason);
	return likely(!p->steer) ? sent : steer_send(p, sent);
}

SEC("xdp.frags")
int fw_xdp(struct xdp_md *ctx)
{
	struct pkt *p = work_of(FW_HOOK_XDP);
	enum fw_reason reason;
	struct run r = {};
	__u32 member = MATCH_ASK_SET;
	enum pkt_early early = PKT_EARLY_ASK;
	int sent;

	if (!p)
		return action(FW_HOOK_XDP, true);
	if (unlikely(!find_rules(&r, &reason)))
		return xdp_unread(ctx, p, reason);
	if (is_dry) /* it tells more than is counted */
		work_clear(p);
	sent = offload_first(p, &r, ctx);
	if (sent != OFFLOAD_NOT)
		return sent;
	/* to who watches, who sent it is to be known */
	if (r.head->has_stateless & FW_STATELESS_FRONT && !is_watched() &&
	    front_drops(p, &r, ctx, &member))
		return finish_unseen(p, FW_HOOK_XDP, FW_REASON_DROP_RULE);
	if (r.head->has_stateless & FW_STATELESS_EARLY && !is_watched())
		early = early_ask(p, &r, ctx, member);
	if (early == PKT_EARLY_DROP)
		return finish_unseen(p, FW_HOOK_XDP, FW_REASON_DROP_RULE);
	work_clear(p);
	p->io.member = member;
	early_keep(p, early);
	return xdp_filter(ctx, p, &r);
}

/* TC ingress without a note of XDP: a packet of a flow that is remembered. */
static __always_inline bool ingress_first(struct pkt *p, struct run *r,
					  struct __sk_buff *skb)
{
	if (!r->head->remembers)
		return false;
	p->epoch = offload_epoch();
	return !is_dry && skb->data_meta == skb->data &&
	       skb->tc_index != own_index() && ingress_remembers(p, r, skb);
}

/* TC ingress: a packet that has taken the whole way. */
static __always_inline void ingress_last(struct pkt *p, const struct run *r,
					 struct __sk_buff *skb,
					 enum fw_reason reason)
{
	if (p->flow.steady && reason == FW_REASON_ESTABLISHED)
		ingress_keeps(p, r, skb);
}

static __always_inline int tc_hook(struct __sk_buff *skb,
				   const enum fw_hook hook)
{
	enum fw_reason reason;
	struct run r = {};
	int answer, drop;
	struct pkt *p;
	bool has_rules;

	if (is_known(skb, hook))
		return action(hook, false);
	p = work_of(hook);
	if (!p)
		return action(hook, true);
	has_rules = find_rules(&r, &reason);
	if (hook == FW_HOOK_INGRESS && likely(has_rules) &&
	    ingress_first(p, &r, skb))
		return action(hook, false);
	work_clear(p);
	if (unlikely(skb->tc_index == own_index()) && is_own_answer(skb)) {
		p->len = skb->len;
		return finish(p, skb, hook, FW_REASON_OWN_REPLY);
	}
	if (unlikely(!has_rules))
		return finish_unread(p, skb, hook, reason);
	reason = filter(p, &r, skb, hook);
	if (hook == FW_HOOK_INGRESS)
		ingress_last(p, &r, skb, reason);
	if (unlikely(p->flow.counts))
		account_skb(skb, p);
	if (reason != FW_REASON_DROP_REJECT)
		return finish(p, skb, hook, reason);
	if (!may_answer(p))
		return finish(p, skb, hook, FW_REASON_DROP_REJECT_LIMIT);
	/* while it is not its answer yet */
	drop = finish(p, skb, hook, FW_REASON_DROP_REJECT);
	if (is_dry)
		return drop;
	answer = reject(skb, p, hook);
	return answer < 0 ? drop : answer;
}

SEC("tc")
int fw_ingress(struct __sk_buff *skb)
{
	return tc_hook(skb, FW_HOOK_INGRESS);
}

SEC("tc")
int fw_egress(struct __sk_buff *skb)
{
	return tc_hook(skb, FW_HOOK_EGRESS);
}

#ifndef FW_DRY
/* A place that nobody is at work in on this CPU, or NULL. */
static __always_inline struct pkt *local_take(void)
{
	struct pkt *p;

	for (__u32 i = 0; i < LOCAL_PLACES; i++) {
		__u32 key = FW_HOOK_MAX + i;

		p = bpf_map_lookup_elem(&work, &key);
		if (p && !__sync_val_compare_and_swap(&p->busy, 0, 1))
			return p;
	}
	return NULL;
}

/* So many packets interrupted each other that there is no place for one more. */
static __noinline int local_refuse(const enum fw_hook hook)
{
	__u32 key = FW_HOOK_MAX, index;
	const struct pkt *p = bpf_map_lookup_elem(&work, &key);
	struct fw_counter *c;

	if (!p)
		return NF_DROP;
	index = p->base.stats +
		FW_STATS_INDEX(0, hook, FW_REASON_DROP_INTERNAL);
	c = bpf_map_lookup_elem(&stats, &index);
	if (c)
		__sync_fetch_and_add(&c->packets, 1);
	return NF_DROP;
}

static __noinline int local_hook(struct bpf_nf_ctx *ctx, __u32 reqid,
				 const enum fw_hook hook)
{
	struct pkt *p = local_take();
	int verdict;

	if (unlikely(!p))
		return local_refuse(hook);
	work_clear(p);
	verdict = local_run(ctx, p, reqid, hook);
	(void)__sync_lock_test_and_set(&p->busy, 0);
	return verdict ? NF_ACCEPT : NF_DROP;
}

/* Not loaded with the others: few need it, and a kernel may not know the type (user/nfprogs.c). */
SEC("?netfilter")
int fw_local_in(struct bpf_nf_ctx *ctx)
{
	__u32 reqid = 0;

	if (likely(!came_by_transport(ctx, &reqid)))
		return NF_ACCEPT;
	return local_hook(ctx, reqid, FW_HOOK_INGRESS);
}

SEC("?netfilter")
int fw_local_out(struct bpf_nf_ctx *ctx)
{
	__u32 reqid = 0;

	if (likely(!goes_by_transport(ctx, &reqid)))
		return NF_ACCEPT;
	return local_hook(ctx, reqid, FW_HOOK_EGRESS);
}
#endif
