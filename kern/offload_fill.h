/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * XDP only: may a packet that the whole way has found to be of an established flow be
 * forwarded without the stack, and where to? Then it is, and remembered (offload.h); or it is
 * remembered that the flow is established.
 */
#pragma once

/* The rule that let the flow in says so. */
static __always_inline bool offload_is_wanted(const struct pkt *p,
					      const struct run *r)
{
	const bool unheard = p->flow.offload == FLOW_OFFLOAD_FIRST;
	const __u32 options = r->head->options;
	const struct fw_flow_info *info;

	if (options & FW_OPT_OFFLOAD_ALL)
		return !unheard || options & FW_OPT_OFFLOAD_FIRST;
	info = bpf_map_lookup_elem(&flow_info, &p->flow.orig);
	return info && !info->ended &&
	       info->offload &
		       (unheard ? FW_RESULT_OFFLOAD_FIRST : FW_RESULT_OFFLOAD);
}

/* FW_IFACE_* of the very device that the frame came by, and tag. */
static __always_inline __u32 offload_iface(const struct pkt *p,
					   const struct run *r)
{
	const struct fw_iface *i =
		iface_find(r->ifaces, p->rx_ifindex, p->vlan);

	return i ? i->flags : 0;
}

/* The kernel follows windows of TCP, and what it has not seen is none of them. */
static __always_inline bool misses_windows(struct net *net, const struct pkt *p)
{
	return p->key.proto == IPPROTO_TCP &&
	       !BPF_CORE_READ(net, ct.nf_ct_proto.tcp.tcp_be_liberal) &&
	       hooks_active(net, p->key.family);
}

/* It was sent to this host, not to another one on the link; what is explained is. */
static __always_inline bool is_for_host(struct net_device *dev,
					const struct frame *f)
{
	const void *own = BPF_CORE_READ(dev, dev_addr);
	__u64 addr = 0;

	if (is_dry)
		return true;
	return !bpf_probe_read_kernel(&addr, ETH_ALEN, own) && addr == f->to;
}

static __always_inline bool may_be_forwarded(const struct pkt *p)
{
	const struct fw_addr *s = &p->key.saddr, *d = &p->key.daddr;

	return p->key.family == FW_AF_IPV4 ||
	       !(v6_is_link_local(s) || v6_is_link_local(d));
}

/* The frame's route, of a packet or of one that answers it. */
static __always_inline long offload_ask(struct xdp_md *ctx, const struct pkt *p,
					struct bpf_fib_lookup *fib, bool back)
{
	const struct fw_key *k = &p->key;
	const struct fw_addr *src = back ? &k->daddr : &k->saddr;
	const struct fw_addr *dst = back ? &k->saddr : &k->daddr;

	fib->ifindex = p->ifindex;
	fib->l4_protocol = k->proto;
	fib->sport = bpf_htons(back ? k->dport : k->sport);
	fib->dport = bpf_htons(back ? k->sport : k->dport);
	if (k->family == FW_AF_IPV4) {
		fib->family = 2; /* AF_INET */
		fib->ipv4_src = src->w[3];
		fib->ipv4_dst = dst->w[3];
	} else {
		fib->family = 10; /* AF_INET6 */
		__builtin_memcpy(fib->ipv6_src, src, sizeof(fib->ipv6_src));
		__builtin_memcpy(fib->ipv6_dst, dst, sizeof(fib->ipv6_dst));
	}
	return bpf_fib_lookup(ctx, fib, sizeof(*fib), 0);
}

/*
 * The stack would ask for a way back to the source, or whether that is an address of its
 * own, which nobody has asked. Of a device above this one we cannot tell.
 */
static __always_inline bool stack_asks_source(const struct pkt *p,
					      const struct run *r,
					      struct net_device *dev,
					      struct net *net)
{
	const int rp_filter = IPV4_DEVCONF_RP_FILTER - 1;

	if (p->key.family != FW_AF_IPV4)
		return false;
	return p->ifindex != p->rx_ifindex ||
	       r->head->options & (FW_OFF_MARTIAN | FW_OFF_SPOOFED_SELF) ||
	       BPF_CORE_READ(net, ipv4.devconf_all, data[rp_filter]) ||
	       BPF_CORE_READ(dev, ip_ptr, cnf.data[rp_filter]);
}

/*
 * True if answers would leave by where the packet came from. What does not is the
 * stack's, which may have to drop it.
 */
static __noinline bool offload_goes_back(struct xdp_md *ctx, struct pkt *p)
{
	struct bpf_fib_lookup *fib = &p->fib;
	long err;

	__builtin_memset(fib, 0, sizeof(*fib));
	err = offload_ask(ctx, p, fib, true);
	return (err == BPF_FIB_LKUP_RET_SUCCESS ||
		err == BPF_FIB_LKUP_RET_NO_NEIGH) &&
	       fib->ifindex == p->ifindex;
}

/*
 * Where it goes to, in p->fib; OFFLOAD_NOT: this packet is too long for that;
 * OFFLOAD_NEVER: that is the stack's to find out, or to do.
 */
static __noinline int offload_route(struct xdp_md *ctx, struct pkt *p)
{
	struct bpf_fib_lookup *fib = &p->fib;
	const struct frame *f = &p->frame;
	long err;

	__builtin_memset(fib, 0, sizeof(*fib));
	fib->tot_len = (__u16)f->len;
	if (f->is_v6)
		fib->flowinfo = f->flowinfo;
	else
		fib->tos = f->l4 >> 40 & 0xfc;
	if (f->len > 0xffff)
		return OFFLOAD_NOT;
	err = offload_ask(ctx, p, fib, false);
	if (err == BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return OFFLOAD_NOT;
	/* back where it came from: the stack tells the sender of a better way */
	return err == BPF_FIB_LKUP_RET_SUCCESS && fib->ifindex != p->ifindex
		       ? 0
		       : OFFLOAD_NEVER;
}

/*
 * Once a second the stack gets a packet to each next hop: it asks who has not been heard
 * of for long whether he is still there, and we do not. Hops that share a row have the
 * stack get more.
 */
static __always_inline bool offload_hop_is_due(const struct bpf_fib_lookup *fib)
{
	const __u64 odd = 0x9e3779b97f4a7c15ull;
	__u32 now = (__u32)bpf_jiffies64(), index;
	__u64 hash = fib->ifindex, *row;

	for (int i = 0; i < ETH_ALEN; i++)
		hash = hash << 8 ^ fib->dmac[i];
	hash *= odd;
	index = hash >> 32 & (FW_OFFLOAD_HOPS - 1);
	hash &= 0xffffffff00000000;
	row = bpf_map_lookup_elem(&offload_hops, &index);
	if (!row)
		return true;
	if ((*row & 0xffffffff00000000) == hash && now - (__u32)*row < fw_hz)
		return false;
	*row = hash | now;
	return true;
}

static __always_inline __u32 tag_of(const struct fw_offload_out *out)
{
	union {
		__be16 half[2];
		__u32 word;
	} tag = { .half = { out->vlan_proto, bpf_htons(out->vlan) } };

	return out->vlan_proto ? tag.word : 0;
}

/* The entry is of packets like this one, from now on. */
static __always_inline void offload_claim(struct fw_cached_flow *e,
					  const struct pkt *p,
					  const struct run *r)
{
	const struct frame *f = &p->frame;

	for (int i = 0; i < 4; i++)
		e->addr[i] = f->is_v6 || !i ? f->addr[i] : 0;
	e->l4 = f->l4;
	e->from = f->from;
	e->to = f->to;
	e->gen = r->gen;
	e->epoch = p->epoch;
	e->jiffies = (__u32)bpf_jiffies64();
	e->tx_ifindex = 0;
	e->flags = 0;
}

static __always_inline void offload_write(struct fw_cached_flow *e,
					  const struct pkt *p,
					  const struct fw_offload_out *out,
					  __u32 iface)
{
	const struct bpf_fib_lookup *fib = &p->fib;

	e->tx_ifindex = out->tx_ifindex;
	__builtin_memcpy(e->macs, fib->dmac, ETH_ALEN);
	__builtin_memcpy(e->macs + ETH_ALEN, fib->smac, ETH_ALEN);
	e->tx_tag = tag_of(out);
	e->mtu = fib->mtu_result;
	e->stat = FW_STATS_INDEX(p->slot, FW_HOOK_XDP, FW_REASON_OFFLOADED);
	e->flags = 0;
	if (iface & FW_IFACE_PARTIAL)
		e->flags |= FW_CACHED_PARTIAL;
	if (out->flags & FW_OUT_FRAGS)
		e->flags |= FW_CACHED_FRAGS;
	if (p->flow.counts == FLOW_COUNTS)
		e->flags |= FW_CACHED_COUNTS;
	if (p->flow.reply)
		e->flags |= FW_CACHED_REPLY;
}

static __always_inline bool read_frame(struct pkt *p, void *ctx,
				       const enum fw_hook hook)
{
	const void *end = ctx_data_end(ctx, hook);
	struct frame *f = &p->frame;
	__be16 proto;

	if (!frame_l2(f, ctx, hook, end, &proto))
		return false;
	if (proto == bpf_htons(ETH_P_IP))
		return frame_ipv4(f, ctx, hook, end);
	return proto == bpf_htons(ETH_P_IPV6) && frame_ipv6(f, ctx, hook, end);
}

static __noinline bool offload_read(struct pkt *p, struct xdp_md *ctx)
{
	return read_frame(p, ctx, FW_HOOK_XDP);
}

/* The entry for a flow: its own, one that nobody needs, or the last one. */
static __always_inline struct fw_cached_flow *offload_place(const struct pkt *p,
							    const struct run *r)
{
	__u32 home;
	struct fw_cached_group *group = offload_group(p, &p->frame, &home);
	const __u32 ways = offload_ways(r);
	struct fw_cached_flow *e = NULL;

	if (!group)
		return NULL;
#pragma GCC unroll 1
	for (__u32 way = 0; way < FW_CACHED_WAYS && way < ways; way++) {
		e = offload_entry(group, home, way);
		if (offload_is(e, &p->frame) || !offload_holds(e, p, r))
			break;
	}
	return e;
}

/* The packet is one that XDP may forward, wherever it goes. */
static __noinline bool offload_may(struct pkt *p, const struct run *r,
				   struct xdp_md *ctx, struct net_device *dev,
				   __u32 iface)
{
	if (!(iface & FW_IFACE_OFFLOAD) || !offload_is_wanted(p, r) ||
	    !may_be_forwarded(p) || !offload_read(p, ctx) ||
	    !is_for_host(dev, &p->frame))
		return false;
	return !(iface & FW_IFACE_PARTIAL) || !frame_is_partial(&p->frame, ctx);
}

/* Which way, as offload_route(). */
static __noinline int offload_way(struct pkt *p, const struct run *r,
				  struct xdp_md *ctx, struct net_device *dev)
{
	struct net *net = BPF_CORE_READ(dev, nd_net.net);

	if (has_policies(net) || misses_windows(net, p) ||
	    (stack_asks_source(p, r, dev, net) && !offload_goes_back(ctx, p)))
		return OFFLOAD_NEVER;
	return offload_route(ctx, p);
}

/*
 * Forward a packet of an established flow, and have those that follow be remembered,
 * also if they are the stack's. Returns what the program returns, or OFFLOAD_NOT:
 * nothing has been done.
 */
static __noinline int offload_fill(struct pkt *p, const struct run *r,
				   struct xdp_md *ctx)
{
	__u32 iface = offload_iface(p, r), ifindex;
	struct net_device *dev = xdp_dev(ctx);
	const struct fw_offload_out *out = NULL;
	struct fw_cached_flow *e;
	int way;

	if (!offload_may(p, r, ctx, dev, iface))
		return OFFLOAD_NOT;
	way = offload_way(p, r, ctx, dev);
	ifindex = p->fib.ifindex;
	if (!way)
		out = bpf_map_lookup_elem(&offload_out, &ifindex);
	if (is_dry)
		return out ? action_sent() : OFFLOAD_NOT;
	e = offload_place(p, r);
	if (!e || way == OFFLOAD_NOT)
		return OFFLOAD_NOT;
	if (!out) {
		offload_claim(e, p, r);
		return OFFLOAD_NOT;
	}
	if ((p->frame.in_pieces && !(out->flags & FW_OUT_FRAGS)) ||
	    offload_hop_is_due(&p->fib))
		return OFFLOAD_NOT;
	offload_claim(e, p, r);
	offload_write(e, p, out, iface);
	return offload_send(p, ctx, e, &p->frame);
}

/* Packets like that in p->frame, of an established flow, pass until the entry's end. */
static __always_inline void keep_frame(struct pkt *p, const struct run *r)
{
	struct fw_cached_flow *e = offload_place(p, r);

	/* of more flows than there are places, those that are there stay for their time */
	if (!e || (offload_holds(e, p, r) && !offload_is(e, &p->frame)))
		return;
	offload_claim(e, p, r);
	e->stat = FW_STATS_INDEX(p->slot, FW_HOOK_XDP, FW_REASON_ESTABLISHED);
	e->flags = FW_CACHED_PASSES;
	e->mark = transit_of(p, r->gen);
	e->ct = p->flow.ct;
	e->half = p->flow.half;
	e->reply = p->flow.reply;
	meta_fill(&e->note, meta_hash(p), p, FW_REASON_ESTABLISHED, r->gen);
}

static __noinline void offload_keep(struct pkt *p, const struct run *r,
				    struct xdp_md *ctx)
{
	if (!is_dry && offload_read(p, ctx))
		keep_frame(p, r);
}

/* TC ingress: the same, of what the whole way has just judged. */
static __noinline void ingress_keeps(struct pkt *p, const struct run *r,
				     struct __sk_buff *skb)
{
	if (!is_dry && read_frame(p, skb, FW_HOOK_INGRESS))
		keep_frame(p, r);
}
