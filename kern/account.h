/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Packets and bytes of flows, by direction, with `option flow-accounting on`: of those
 * that are ours, the kernel counts its own. Added atomically, for both directions and
 * several queues of a flow come at once, into what is remembered of the flow.
 *
 * A packet may pass several of our hooks: at the first one that knows its flow it is
 * counted, and TC notes that in tc_index, for all after it.
 */
#pragma once

/* In struct flow, `counts`. */
#define FLOW_COUNTS  1 /* the packet is to be counted for flow.orig */
#define FLOW_COUNTED 2 /* XDP has done it */

static __always_inline bool accounts(const struct fw_image_head *head)
{
	return unlikely(head->options & FW_OPT_FLOW_ACCT);
}

/* The packet is one of the flow that `orig` has opened, in p->flow.reply's direction. */
static __always_inline void account_for(struct pkt *p,
					const struct fw_image_head *head,
					const struct fw_tuple *orig)
{
	if (likely(!accounts(head)))
		return;
	p->flow.orig = *orig;
	p->flow.counts = FLOW_COUNTS;
}

/* In xflow.h, which needs the above. */
static __always_inline struct fw_xflow *xflow_get(const struct fw_tuple *t,
						  __u64 now);

static __noinline void account(const struct pkt *p, __u64 packets, __u64 bytes)
{
	const struct flow *f = &p->flow;
	struct fw_flow_counts *c = NULL;
	struct fw_flow_info *info;
	struct fw_xflow *x;

	if (is_dry)
		return;
	if (p->key.proto == IPPROTO_TCP || p->key.proto == IPPROTO_UDP) {
		info = bpf_map_lookup_elem(&flow_info, &f->orig);
		if (info)
			c = &info->counts;
	} else {
		x = xflow_get(&f->orig, bpf_ktime_get_coarse_ns());
		if (x)
			c = &x->counts;
	}
	if (!c)
		return;
	if (f->reply) {
		__sync_fetch_and_add(&c->packets[1], packets);
		__sync_fetch_and_add(&c->bytes[1], bytes);
	} else {
		__sync_fetch_and_add(&c->packets[0], packets);
		__sync_fetch_and_add(&c->bytes[0], bytes);
	}
}

/* XDP: frames as they came, what IP says of their length. */
static __always_inline void account_frame(const struct pkt *p)
{
	account(p, 1, p->l3_end - p->l3_off);
}

/*
 * What tc_index is of a packet that has been counted: another one may have become of
 * the same skb, by a tunnel. None that reject.h or transit.h write.
 */
static __always_inline __u32 account_mark(struct pkt *p)
{
	const fw_addr_half *w = (const void *)pkt_tuple(p);
	__u64 hash = 0;

	for (int i = 0; i < 5; i++)
		hash = (hash ^ w[i]) * 0x9e3779b97f4a7c15ull;
	return 0x4000 | (hash >> 50);
}

/*
 * TC: an skb may stand for many packets, which have headers each. Those of TCP and UDP
 * are counted as they are on the wire, but not the outer ones of a tunnel.
 */
static __noinline void account_skb(struct __sk_buff *skb, struct pkt *p)
{
	__u32 len = p->l3_end - p->l3_off, head = p->l4_off - p->l3_off;
	__u32 packets = 1, size = skb->gso_size, mark = account_mark(p);
	struct tcp_head th;

	if (skb->tc_index == mark)
		return;
	skb->tc_index = (__u16)mark;
	if (p->flow.counts == FLOW_COUNTED)
		return;
	if (size) {
		head += sizeof(struct udphdr);
		if (p->key.proto == IPPROTO_TCP &&
		    !bpf_skb_load_bytes(skb, p->l4_off, &th, sizeof(th)))
			head += ((th.doff & 0xf0u) >> 2) -
				(__u32)sizeof(struct udphdr);
		if (len > head)
			packets = (len - head + size - 1) / size;
	}
	account(p, packets, len + (__u64)(packets - 1) * head);
}
