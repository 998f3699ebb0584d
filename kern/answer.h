/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Answers that come out of an SA to what this host has sent into one. By a policy's
 * tunnel TC egress sees ESP and nothing of what is inside, so there is no flow: whether
 * it has been sent is asked for at the sockets. What comes in clear is none of this.
 */
#pragma once

/*
 * True if this host has a UDP socket connected to the sender. A datagram proves
 * nothing by itself: without this, every service here would be open.
 */
static __noinline bool is_asked_for(struct __sk_buff *skb,
				    const struct fw_tuple *t)
{
	sock_tuple tuple = {};
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

/*
 * State of the TCP socket that the segment is for, in SYN_SENT or after a handshake; 0:
 * there is none. One that listens, or that somebody else is about to open, is no sign
 * that this host has sent anything.
 */
static __noinline __u32 connected_state(struct __sk_buff *skb,
					const struct fw_tuple *t)
{
	sock_tuple tuple = {};
	struct bpf_sock *sk;
	__u32 size = tuple_to_sock(&tuple, t), state;

	sk = bpf_skc_lookup_tcp(skb, &tuple, size, (__u64)BPF_F_CURRENT_NETNS,
				0);
	if (!sk)
		return 0;
	state = sk->state;
	bpf_sk_release(sk);
	if (state == BPF_TCP_LISTEN || state == BPF_TCP_SYN_RECV ||
	    state == BPF_TCP_NEW_SYN_RECV || state == BPF_TCP_CLOSE)
		return 0;
	return state;
}

/* True if the opener of the connection, which this host would be, listens on that port. */
static __noinline bool is_served_here(struct __sk_buff *skb,
				      const struct fw_tuple *orig)
{
	sock_tuple tuple = {};
	struct fw_tuple turned;
	struct bpf_sock *sk;
	bool listens;
	__u32 size;

	tuple_reverse(&turned, orig);
	turned.sport =
		0; /* nobody's: not the connection itself is looked for */
	size = tuple_to_sock(&tuple, &turned);
	sk = bpf_sk_lookup_tcp(skb, &tuple, size, (__u64)BPF_F_CURRENT_NETNS,
			       0);
	if (!sk)
		return false;
	listens = sk->state == BPF_TCP_LISTEN;
	bpf_sk_release(sk);
	return listens;
}

/*
 * TC ingress: 1 if a packet of no known flow came out of an SA, and answers what this host
 * has sent; 2 if others have opened its connection, whose entry has not seen our side,
 * and so did not live long. Where the kernel's hooks run, the kernel has seen that before it was encrypted,
 * and what it does not know has not been sent. For the verifier a global function.
 */
__noinline int answers_us(struct __sk_buff *skb, struct pkt *p)
{
	struct fw_tuple t; /* on the stack: 6.1 takes no other key here */
	__u32 state;

	if (!p || !(p->daddr_self & FW_SELF_ADDRESS) || !came_from_sa(skb, p) ||
	    hooks_active(ctx_net(skb, FW_HOOK_INGRESS), p->key.family))
		return 0;
	t = *pkt_tuple(p);
	if (t.proto != IPPROTO_TCP)
		return is_asked_for(skb, &t);
	if (!(p->tcp_flags & TCP_SYN) && was_ended(&t))
		return 0;
	state = connected_state(skb, &t);
	if (!state)
		return 0;
	p->flow.vouched = state != BPF_TCP_SYN_SENT;
	tuple_turn(&t);
	return is_served_here(skb, &t) ? 2 : 1;
}

/*
 * XDP: might the packet have come out of an SA? Generic XDP sees what a tunnel's policy
 * has decrypted, on the device that the ESP packet came by, and cannot tell. Native XDP
 * does not see it.
 */
static __noinline bool may_come_from_sa(const struct pkt *p, void *ctx)
{
	struct xdp_buff *xdp = ctx;
	struct net_device *dev;

	if (!(p->daddr_self & FW_SELF_ADDRESS))
		return false;
	dev = BPF_CORE_READ(xdp, rxq, dev);
	return BPF_CORE_READ(dev, xdp_prog) &&
	       has_policies(BPF_CORE_READ(dev, nd_net.net));
}
