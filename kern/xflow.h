/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Flows that the conntrack kfuncs refuse (-EPROTO): echo with its identifier,
 * other protocols by their pair of addresses, in an LRU table of our own.
 *
 * The type of an echo request is part of the key and the key is the opener's
 * direction, so a request never matches the reverse of somebody's flow.
 */
#pragma once

static __always_inline bool pkt_has_xflow(const struct pkt *p)
{
	if (p->key.proto == IPPROTO_TCP || p->key.proto == IPPROTO_UDP)
		return false;
	if (p->key.flags & FW_KEY_ICMP)
		return p->icmp_kind == PKT_ICMP_REQUEST ||
		       p->icmp_kind == PKT_ICMP_REPLY;
	return p->key.proto != IPPROTO_IGMP;
}

static __always_inline __u32 xflow_seconds(const struct pkt *p,
					   const struct fw_timeouts *t)
{
	if (!(p->key.flags & FW_KEY_ICMP))
		return t->seconds[FW_LIFE_OTHER];
	return t->seconds[p->key.family == FW_AF_IPV4 ? FW_LIFE_ICMP
						      : FW_LIFE_ICMPV6];
}

static __always_inline bool xflow_match(const struct fw_tuple *t, bool reply,
					__u64 now, __u64 life_ns,
					const struct fw_image_head *head,
					struct flow *f)
{
	struct fw_xflow *x = bpf_map_lookup_elem(&xflows, t);

	if (!x || x->expires_ns <= now)
		return false;
	f->found = true;
	f->reply = reply;
	f->gen = gen_now(head, x->gen);
	f->orig = *t;
	if (f->gen != head->gen)
		return true;
	if (unlikely(x->gen != f->gen)) /* kept */
		x->gen = f->gen;
	/* plain stores: two CPUs write the same few values */
	if (reply && !x->replied)
		x->replied = 1;
	/* an eighth is gone, or more is left than new rules give */
	if (x->expires_ns - now - (life_ns - life_ns / 8) > life_ns / 8)
		x->expires_ns = now + life_ns;
	return true;
}

/* Find the flow of a packet that has one here. */
static __noinline void xflow_find(const struct pkt *p, const struct fw_tuple *t,
				  const struct fw_image_head *head,
				  struct flow *f)
{
	__u64 now = bpf_ktime_get_coarse_ns();
	__u64 life = xflow_seconds(p, &head->timeouts) * 1000000000ull;
	struct fw_tuple turned;

	if (p->icmp_kind != PKT_ICMP_REPLY &&
	    xflow_match(t, false, now, life, head, f))
		return;
	if (p->icmp_kind == PKT_ICMP_REQUEST)
		return;
	tuple_reverse(&turned, t);
	(void)xflow_match(&turned, true, now, life, head, f);
}

static __noinline void xflow_put(const struct pkt *p, const struct fw_tuple *t,
				 const struct fw_result *res, __u32 gen,
				 const struct fw_timeouts *timeouts)
{
	__u64 now = bpf_ktime_get_coarse_ns();
	struct fw_xflow x = {
		.opened_ns = now,
		.expires_ns = now + xflow_seconds(p, timeouts) * 1000000000ull,
		.slot = res->slot,
		.rule = res->rule,
		.ifindex = flow_ifindex(p),
		.gen = gen,
		.dir = p->key.dir,
	};
	struct fw_xflow *old = bpf_map_lookup_elem(&xflows, t);

	if (old && old->expires_ns > now) {
		x.opened_ns = old->opened_ns;
		x.replied = old->replied;
	}
	/* an LRU table takes every entry, at the cost of the oldest */
	(void)bpf_map_update_elem(&xflows, t, &x, BPF_ANY);
}
