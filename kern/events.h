/* SPDX-License-Identifier: GPL-2.0-only */

/* Records for the daemon. A full ring loses records, never packets. */
#pragma once

#define LOG_INTERVAL_NS 10000000ull   /* 100 a second and CPU */
#define LOG_BURST_NS	1000000000ull /* 100 at once */

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
	*tat_ns = tat + interval;
	return true;
}

static __always_inline void
event_flow(const struct pkt *p, const enum fw_hook hook,
	   enum fw_event_type type, const struct fw_tuple *orig,
	   const struct fw_result *res, __u32 gen, __u8 tcp_state)
{
	struct fw_event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);

	if (!e)
		return;
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

static __always_inline void event_log(const struct pkt *p,
				      const enum fw_hook hook,
				      const struct fw_result *res,
				      enum fw_reason reason, __u32 gen)
{
	__u64 now = bpf_ktime_get_ns();
	struct fw_budget *b;
	struct fw_event *e;
	__u32 zero = 0;

	b = bpf_map_lookup_elem(&budgets, &zero);
	if (!b)
		return;
	if (!budget_take(&b->log_tat_ns, now, LOG_INTERVAL_NS, LOG_BURST_NS)) {
		b->log_suppressed++;
		return;
	}
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e) {
		b->log_suppressed++;
		return;
	}
	__builtin_memset(e, 0, sizeof(*e));
	tuple_from_pkt(&e->tuple, p);
	if (p->key.flags & FW_KEY_ICMP)
		e->tuple.icmp_type = (__u8)(p->key.icmp >> 8);
	e->time_ns = now;
	e->type = FW_EVENT_LOG;
	e->ifindex = p->ifindex;
	e->slot = res->slot;
	e->rule = res->rule;
	e->gen = gen;
	e->len = (__u16)p->len;
	e->reason = (__u8)reason;
	e->hook = (__u8)hook;
	e->dir = p->key.dir;
	e->verdict = res->verdict;
	e->tcp_flags = p->tcp_flags;
	e->suppressed = b->log_suppressed;
	b->log_suppressed = 0;
	bpf_ringbuf_submit(e, 0);
}
