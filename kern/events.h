/* SPDX-License-Identifier: GPL-2.0-only */

/* Records for the daemon. A full ring loses records, and counts those of flows; never packets. */
#pragma once

/*
 * GCRA: true if one more may go now. Per CPU, so the read and the write belong
 * together; a nested program on the same CPU could at worst grant one more.
 */
static __always_inline bool budget_take(__u64 *tat_ns, __u64 now,
					__u64 interval, __u64 burst)
{
	__u64 tat = *tat_ns > now ? *tat_ns : now;

	if (tat - now > burst)
		return false;
	if (!is_dry)
		*tat_ns = tat + interval;
	return true;
}

static __always_inline void
event_flow(const struct pkt *p, const enum fw_hook hook,
	   enum fw_event_type type, const struct fw_tuple *orig,
	   const struct fw_result *res, __u32 gen, __u8 tcp_state)
{
	struct fw_event *e;

	if (is_dry)
		return;
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (unlikely(!e)) { /* the daemon looks for the flow then */
		__sync_fetch_and_add(&host.lost_records, 1);
		return;
	}
	__builtin_memset(e, 0, sizeof(*e));
	e->time_ns = bpf_ktime_get_ns();
	e->tuple = *orig;
	e->type = type;
	e->ifindex = flow_ifindex(p);
	if (res) {
		e->slot = res->slot;
		e->rule = res->rule;
	}
	e->gen = gen;
	e->hook = (__u8)hook;
	e->dir = p->key.dir;
	e->tcp_state = tcp_state;
	bpf_ringbuf_submit(e, 0);
}

/* All that is known of a packet. */
static __always_inline void event_fill(struct fw_event *e, struct pkt *p,
				       __u64 now, __u32 type, __u32 hook,
				       __u32 reason, __u32 gen)
{
	__builtin_memset(e, 0, sizeof(*e));
	tuple_from_pkt(&e->tuple, p);
	if (p->key.flags & FW_KEY_ICMP)
		e->tuple.icmp_type = (__u8)(p->key.icmp >> 8);
	e->time_ns = now;
	e->type = type;
	e->ifindex = p->ifindex;
	e->slot = p->res.slot;
	e->rule = p->res.rule;
	e->gen = gen;
	e->len = p->len;
	e->hook = (__u8)hook;
	e->dir = p->key.dir;
	e->reason = (__u8)reason;
	e->verdict = p->res.verdict;
	e->tcp_flags = p->tcp_flags;
}

/*
 * A packet that a rule logs, or that is dropped while somebody watches. A function
 * that the verifier walks once, and not for each end of a path.
 */
__noinline int event_packet(struct pkt *p, __u32 type, __u32 hook, __u32 reason,
			    __u32 gen)
{
	bool logs = type == FW_EVENT_LOG;
	__u64 now = bpf_ktime_get_ns();
	struct fw_log_budget *b;
	struct fw_event *e;
	__u32 index;

	if (!p)
		return -1;
	index = logs ? FW_LOG_BUDGET_OF(p->res.slot) : FW_LOG_BUDGET_DROP;
	b = bpf_map_lookup_elem(&log_budgets, &index);
	if (!b)
		return -1;
	e = budget_take(&b->tat_ns, now,
			logs ? FW_LOG_INTERVAL_NS : FW_DROP_INTERVAL_NS,
			FW_LOG_BURST_NS)
		    ? bpf_ringbuf_reserve(&events, sizeof(*e), 0)
		    : NULL;
	if (!e) {
		b->suppressed++;
		return -1;
	}
	event_fill(e, p, now, type, hook, reason, gen);
	bpf_ringbuf_submit(e, 0);
	return 0;
}
