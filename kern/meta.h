/* SPDX-License-Identifier: GPL-2.0-only */

/* The note that XDP leaves for TC ingress (struct fw_meta). */
#pragma once

static __always_inline void meta_fill(struct fw_meta *m, __u32 hash,
				      const struct pkt *p,
				      enum fw_reason reason, __u32 gen)
{
	m->cookie = fw_cookie;
	m->hash = hash;
	m->gen = gen;
	m->slot = p->res.slot;
	m->rule = p->res.rule;
	m->reason = (__u8)reason;
	m->verdict = p->res.verdict;
	m->flags = p->res.flags;
	m->ifslot = (__u8)p->slot;
	m->is_ours = (p->saddr_self & FW_SELF_ADDRESS) != 0;
	__builtin_memset(m->pad, 0, sizeof(m->pad));
}

/* The verifier walks it once, whatever is known of the packet. */
__noinline __u32 meta_hash(struct pkt *p)
{
	return p ? pkt_hash(p, flow_hash(p)) : 0;
}

/* Room for the note in front of the frame, or NULL: a driver without metadata. */
static __always_inline struct fw_meta *meta_room(struct xdp_md *xdp)
{
	struct fw_meta *m;

	if (bpf_xdp_adjust_meta(xdp, -(int)sizeof(*m)))
		return NULL;
	m = (void *)(long)xdp->data_meta;
	return (void *)(m + 1) > (void *)(long)xdp->data ? NULL : m;
}

/* False: TC will judge the packet itself. */
static __always_inline bool meta_write(struct xdp_md *xdp, struct pkt *p,
				       enum fw_reason reason, __u32 gen)
{
	const __u32 hash = meta_hash(p);
	struct fw_meta *m = is_dry ? dry_meta() : meta_room(xdp);

	if (!m)
		return false;
	meta_fill(m, hash, p, reason, gen);
	return true;
}

/* The packet has metadata, says the kernel: not what an earlier one left in its memory. */
static __always_inline bool has_meta(const struct __sk_buff *ctx)
{
	const struct sk_buff *skb = (const void *)ctx;
	const struct skb_shared_info *info =
		(const void *)(BPF_CORE_READ(skb, head) +
			       BPF_CORE_READ(skb, end));

	return BPF_CORE_READ(info, meta_len) == sizeof(struct fw_meta);
}

/*
 * Behind generic XDP, where this hook does not see the Ethernet header, it is not in front
 * of what it sees either, but of that.
 */
static __always_inline bool meta_read_hidden(const struct __sk_buff *skb,
					     struct fw_meta *ret)
{
	const char *l2 = hidden_l2(skb);

	return l2 && has_meta(skb) &&
	       !bpf_probe_read_kernel(ret, sizeof(*ret), l2 - sizeof(*ret));
}

/*
 * True if XDP has judged this very packet by the running rules. Leftovers of
 * an outer packet, of another device or of an older image never match.
 */
static __noinline bool meta_read(struct __sk_buff *skb, const struct pkt *p,
				 __u32 gen, struct fw_meta *ret)
{
	const struct fw_meta *m = (void *)(long)skb->data_meta;

	if (is_dry) {
		m = dry_meta();
		if (!m)
			return false;
		*ret = *m;
	} else if (unlikely(!p->has_l2)) {
		if (!meta_read_hidden(skb, ret))
			return false;
	} else {
		if ((void *)(m + 1) > (void *)(long)skb->data)
			return false;
		*ret = *m;
	}
	return ret->cookie == fw_cookie && ret->gen == gen &&
	       ret->hash == pkt_hash(p, flow_hash(p));
}
