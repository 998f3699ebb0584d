/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Answers that come out of an SA to what this host has sent into one. By a policy's
 * tunnel TC egress sees ESP and nothing of what is inside, so there is no flow: whether
 * it has been sent is asked for at the sockets. What comes in clear is none of this.
 */
#pragma once

/* TC: the packet came out of an SA; p->reqid is the reqid of (the outermost) that. */
static __noinline bool came_from_sa(struct __sk_buff *skb, struct pkt *p)
{
	struct bpf_xfrm_state x = {};

	if (bpf_skb_get_xfrm_state(skb, 0, &x, sizeof(x), 0))
		return false;
	p->reqid = x.reqid;
	return true;
}

/*
 * True if this host has a UDP socket connected to the sender. A datagram proves
 * nothing by itself: without this, every service here would be open.
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

/*
 * State of the TCP socket that the segment is for, in SYN_SENT or after a handshake; 0:
 * there is none. One that listens, or that somebody else is about to open, is no sign
 * that this host has sent anything.
 */
static __noinline __u32 connected_state(struct __sk_buff *skb,
					const struct fw_tuple *t)
{
	struct bpf_sock_tuple tuple = {};
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

/*
 * TC ingress: a packet of no known flow came out of an SA, and answers what this host has
 * sent. Where the kernel's hooks run, the kernel has seen that before it was encrypted,
 * and what it does not know has not been sent.
 */
static __noinline bool answers_us(struct pkt *p, struct __sk_buff *skb)
{
	const struct fw_tuple *t = pkt_tuple(p);
	__u32 state;

	if (!(p->daddr_self & FW_SELF_ADDRESS) || !came_from_sa(skb, p) ||
	    hooks_active(ctx_net(skb, FW_HOOK_INGRESS), t->family))
		return false;
	if (t->proto != IPPROTO_TCP)
		return is_asked_for(skb, t);
	if (!(p->tcp_flags & TCP_SYN) && was_ended(t))
		return false;
	state = connected_state(skb, t);
	p->flow.vouched = state && state != BPF_TCP_SYN_SENT;
	return state;
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
