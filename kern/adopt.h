/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Connections that are older than the first rules, for a while after these were
 * loaded: which packets may be of one. What the rules say of them: filter.h.
 */
#pragma once

/* Read only where a packet would be dropped otherwise. */
static __always_inline bool adopts_now(const struct fw_image_head *head)
{
	return head->adopt_until_ns &&
	       bpf_ktime_get_coarse_ns() < head->adopt_until_ns;
}

/* From the middle of a connection: what each of them has but its first packet. */
static __always_inline bool is_midstream(const struct pkt *p)
{
	return (p->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_ACK;
}

/* A flow that has been ours is not older than we are; it has ended. */
static __noinline bool was_ours(const struct fw_tuple *t)
{
	struct fw_tuple turned;

	if (bpf_map_lookup_elem(&flow_info, t))
		return true;
	tuple_reverse(&turned, t);
	return bpf_map_lookup_elem(&flow_info, &turned);
}

/*
 * True if this host has a UDP socket connected to the sender. A datagram proves
 * nothing by itself: without this, every service here would be open for a while.
 */
static __noinline bool is_asked_for(struct __sk_buff *skb,
				    const struct fw_tuple *t)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *sk;
	__u32 size = tuple_to_sock(&tuple, t);
	bool connected;

	sk = bpf_sk_lookup_udp(skb, &tuple, size, (__u64)BPF_F_CURRENT_NETNS,
			       0);
	if (!sk)
		return false;
	connected = sk->state == BPF_TCP_ESTABLISHED;
	bpf_sk_release(sk);
	return connected;
}
