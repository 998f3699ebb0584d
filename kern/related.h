/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Flows that others have announced (FTP data, RTP), as the kernel's helpers read it:
 * what no rule accepts by itself is judged as the flow that has announced it.
 */
#pragma once

/* The kernel's entry of a flow, to be released. */
static __always_inline struct nf_conn *ct_of(struct __sk_buff *skb,
					     const struct fw_tuple *t)
{
	struct bpf_ct_opts___local opts = { .netns_id = -1,
					    .l4proto = t->proto };
	sock_tuple sock = {};
	__u32 size = tuple_to_sock(&sock, t);

	return bpf_skb_ct_lookup(skb, &sock, size, &opts, sizeof(opts));
}

/* The flow that has announced this one, whose kernel entry is `ct`. */
static __always_inline bool master_of(struct fw_tuple *ret,
				      const struct nf_conn *ct)
{
	const struct nf_conn *master;

	if (!ct || !(BPF_CORE_READ(ct, status) & IPS_EXPECTED))
		return false;
	master = BPF_CORE_READ(ct, master);
	if (!master)
		return false;
	tuple_from_ct(ret, master);
	return ret->family != 0;
}

/* The same of the packet's flow, of which there is an entry. */
static __always_inline bool master_of_known(struct fw_tuple *ret, struct pkt *p,
					    struct __sk_buff *skb, bool egress)
{
	struct fw_tuple turned;
	struct nf_conn *ct;
	bool is_known;

	/* also if the packet has just ended it, see nfct_flow() */
	if (egress && master_of(ret, (void *)(skb_nfct(skb) & ~7ul)))
		return true;
	tuple_reverse(&turned, pkt_tuple(p));
	ct = ct_of(skb, egress ? &turned : pkt_tuple(p));
	if (!ct)
		return false;
	is_known = master_of(ret, ct);
	bpf_ct_release(ct);
	return is_known;
}

/* The same of a flow that begins with this packet. */
static __always_inline bool master_of_new(struct fw_tuple *ret, struct pkt *p,
					  struct __sk_buff *skb)
{
	const struct fw_tuple *t = pkt_tuple(p), *hint = expect_hint(t);
	struct nf_conn *ct;
	bool has;

	if (!hint)
		return false;
	*ret = *hint;
	ct = ct_of(skb, ret);
	if (!ct)
		return false;
	has = expect_has(ct, t);
	bpf_ct_release(ct);
	return has;
}

/* XDP: the packet may open an announced flow, and TC can tell. */
static __always_inline bool may_be_announced(struct pkt *p)
{
	return p->key.flags & FW_KEY_PORTS && expect_hint(pkt_tuple(p));
}

/*
 * The denied packet is to be judged once more: p->key is then what opened the flow
 * that has announced this one. Data flow in the direction of that, or against it.
 */
static __always_inline void turn_to_master(struct pkt *p,
					   const struct fw_tuple *master)
{
	struct flow *f = &p->flow;

	f->related = true;
	if (!addr_equal(&p->key.saddr, &master->saddr))
		f->reply = !f->reply;
	p->key.proto = master->proto;
	key_from_tuple(&p->key, master);
	(void)learn_selves_again(p);
	learn_loopback(p);
}

/*
 * 1 if the packet's flow was announced by another: then it is as above. Rare, and a
 * global function, so that the verifier walks it once.
 */
__noinline int is_announced(struct __sk_buff *skb, struct pkt *p, __u32 egress)
{
	struct fw_tuple master;

	if (!p || !(p->key.flags & FW_KEY_PORTS))
		return 0;
	if (!(p->flow.found ? master_of_known(&master, p, skb, egress)
			    : master_of_new(&master, p, skb)))
		return 0;
	turn_to_master(p, &master);
	return 1;
}

/*
 * True if a denied packet is to be judged by another key. Once more at most: then
 * nobody is told of a denial, for it is not about what the packet says.
 */
static __always_inline bool judge_otherwise(struct pkt *p, const struct run *r,
					    void *ctx, const enum fw_hook hook)
{
	if (p->flow.related) {
		p->res.verdict = FW_DROP;
		p->key.proto = pkt_tuple(p)->proto;
		return false;
	}
	return is_announced(ctx, p, hook == FW_HOOK_EGRESS) ||
	       turn_round(p, r, ctx, hook);
}
