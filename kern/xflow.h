/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Flows that the conntrack kfuncs refuse (-EPROTO): echo with its identifier,
 * other protocols by their pair of addresses, in LRU tables of our own. Those of
 * addresses that were answered move to a table where no flood gets to.
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

static __always_inline struct fw_xflow *
xflow_alive(void *map, const struct fw_tuple *t, __u64 now)
{
	struct fw_xflow *x = bpf_map_lookup_elem(map, t);

	return x && x->expires_ns > now ? x : NULL;
}

/* A flow of addresses alone; an echo has one answer, and moves nowhere. */
static __always_inline bool xflow_is_pair(const struct fw_tuple *t)
{
	return !t->icmp_type;
}

/* The flow that begins with `t`. */
static __always_inline struct fw_xflow *xflow_get(const struct fw_tuple *t,
						  __u64 now)
{
	struct fw_xflow *x = NULL;

	if (xflow_is_pair(t))
		x = xflow_alive(&xflows_answered, t, now);
	return x ?: xflow_alive(&xflows, t, now);
}

static __always_inline void xflow_delete(const struct fw_tuple *t)
{
	if (is_dry)
		return;
	(void)bpf_map_delete_elem(&xflows, t);
	(void)bpf_map_delete_elem(&xflows_answered, t);
}

/* The flow of a packet either way, the usual table first. */
static __always_inline struct fw_xflow *
xflow_look(const struct pkt *p, const struct fw_tuple *t,
	   const struct fw_tuple *turned, __u64 now, bool *reply)
{
	struct fw_xflow *x = NULL;

	*reply = false;
	if (xflow_is_pair(t)) {
		x = xflow_alive(&xflows_answered, t, now);
		if (x)
			return x;
		x = xflow_alive(&xflows_answered, turned, now);
	}
	if (!x && p->icmp_kind != PKT_ICMP_REPLY) {
		x = xflow_alive(&xflows, t, now);
		if (x)
			return x;
	}
	*reply = true;
	if (!x && p->icmp_kind != PKT_ICMP_REQUEST)
		x = xflow_alive(&xflows, turned, now);
	return x;
}

/* A packet of a running flow: plain stores, two CPUs write the same few values. */
static __always_inline void xflow_move(struct fw_xflow *x, const struct flow *f,
				       __u64 now, __u64 life)
{
	if (is_dry)
		return;
	if (unlikely(x->gen != f->gen)) /* kept */
		x->gen = f->gen;
	/* an eighth is gone, or more is left than new rules give */
	if (x->expires_ns - now - (life - life / 8) > life / 8)
		x->expires_ns = now + life;
	if (!f->reply || x->replied)
		return;
	x->replied = 1;
	if (!xflow_is_pair(&f->orig))
		return;
	/* for a moment it is in both, and what is counted then may be lost */
	(void)bpf_map_update_elem(&xflows_answered, &f->orig, x, BPF_ANY);
	(void)bpf_map_delete_elem(&xflows, &f->orig);
}

/* Find the flow of a packet that has one here. */
static __noinline void xflow_find(const struct pkt *p, const enum fw_hook hook,
				  const struct fw_tuple *t,
				  const struct fw_image_head *head,
				  struct flow *f)
{
	__u64 now = bpf_ktime_get_coarse_ns();
	__u64 life = xflow_seconds(p, &head->timeouts) * 1000000000ull;
	struct fw_tuple turned;
	struct fw_xflow *x;
	bool reply;

	tuple_reverse(&turned, t);
	x = xflow_look(p, t, &turned, now, &reply);
	if (!x) {
		(void)dry_find(f, t);
		return;
	}
	f->found = true;
	f->reply = reply;
	f->answered = reply || x->replied;
	f->gen = gen_now(head, x->gen);
	f->orig = f->reply ? turned : *t;
	if (f->gen != head->gen)
		return;
	if (unlikely(head->options & FW_OPT_IPSEC) && x->ipsec &&
	    !is_protected(p, hook, reply, x->dir, x->ipsec, x->reqid))
		return;
	if (accounts(head))
		f->counts = FLOW_COUNTS;
	xflow_move(x, f, now, life);
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
		.ipsec = ipsec_bound(p),
		.reqid = p->key.reqid,
	};
	struct fw_xflow *old;

	if (is_dry)
		return;
	old = xflow_get(t, now);
	if (old) {
		/* in its place: another CPU may count */
		old->expires_ns = x.expires_ns;
		old->slot = x.slot;
		old->rule = x.rule;
		old->ifindex = x.ifindex;
		old->dir = x.dir;
		if (x.ipsec) {
			old->reqid = x.reqid;
			old->ipsec = x.ipsec;
		}
		old->gen = x.gen;
		return;
	}
	/* an LRU table takes every entry, at the cost of the oldest */
	(void)bpf_map_update_elem(&xflows, t, &x, BPF_ANY);
}
