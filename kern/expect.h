/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * What the kernel's helpers (FTP, SIP, TFTP ...) expect: which flows a flow that they
 * read has announced.
 *
 * A packet of an announced flow comes to our ingress before the kernel can say that
 * it is one. So egress, which the announcement leaves by after a helper has read it,
 * puts into `expected` whose it is. That is a hint: what counts is the list that hangs
 * at the kernel's entry of the announcing flow, when the packet is there.
 */
#pragma once

#define EXPECT_MOST \
	16 /* of one flow; the FTP helper expects one, SIP up to nine */

/* TC egress: the kernel's own entry of an skb, and (lowest bits) what it is to that. */
static __always_inline unsigned long skb_nfct(void *ctx)
{
	struct sk_buff *skb = ctx;

	if (!bpf_cast_to_kern_ctx)
		return BPF_CORE_READ(skb, _nfct);
	skb = bpf_cast_to_kern_ctx(ctx); /* without a call */
	return skb->_nfct;
}

/* The first of what the flow expects; NULL: nothing. */
static __always_inline const void *expect_first(const struct nf_conn *ct)
{
	const struct nf_ct_ext *ext = BPF_CORE_READ(ct, ext);
	const struct nf_conn_help *help;
	__u8 offset = 0;

	if (ext)
		offset = BPF_CORE_READ(ext, offset[0]);
	if (!offset)
		return NULL;
	help = (const void *)ext + offset;
	return BPF_CORE_READ(help, expectations.first);
}

/* The key of `expected`: where a flow goes to, whoever opens it. */
static __always_inline void expect_key(struct fw_tuple *key)
{
	__builtin_memset(&key->saddr, 0, sizeof(key->saddr));
	key->sport = 0;
}

/* A walk along the expectations of a flow. */
struct expect_walk {
	const struct nf_conntrack_expect *next;
	union {
		struct fw_tuple master; /* noting: who has announced them */
		struct fw_tuple tuple;	/* looking for: the opener of a flow */
	};
	bool found;
};

static long expect_note_step(__u32 i, struct expect_walk *w)
{
	const struct nf_conntrack_expect *e = w->next;
	struct fw_tuple key;

	(void)i;
	if (!e)
		return 1;
	tuple_from_kernel(&key, &e->tuple);
	expect_key(&key);
	(void)bpf_map_update_elem(&expected, &key, &w->master, BPF_ANY);
	w->next = (const void *)BPF_CORE_READ(e, lnode.next);
	return 0;
}

/*
 * Remember whose the expectations are that an entry has at TC egress. Global, so that
 * the verifier walks it once.
 */
__noinline int expect_note(struct __sk_buff *skb)
{
	const struct nf_conn *ct = (void *)(skb_nfct(skb) & ~7ul);
	__u32 *any = bpf_map_lookup_elem(&expects, &first);
	struct expect_walk w = {};

	if (!ct || !any)
		return 0;
	w.next = expect_first(ct);
	tuple_from_ct(&w.master, ct);
	bpf_loop(EXPECT_MOST, expect_note_step, &w, 0);
	*any = 1;
	return 0;
}

/* True if the flow that `t` opens is the one of this expectation. */
static __always_inline bool expect_is(const struct nf_conntrack_expect *e,
				      const struct fw_tuple *t)
{
	struct fw_addr mask = {};
	struct fw_tuple want;
	__u32 differs;

	tuple_from_kernel(&want, &e->tuple);
	if (BPF_CORE_READ_INTO(&mask, e, mask.src.u3.ip6))
		return false;
	if (want.family == FW_AF_IPV4) {
		mask.w[3] = mask.w[0];
		mask.w[0] = 0;
	}
	differs = (__u32)(want.sport ^ t->sport) &
		  BPF_CORE_READ(e, mask.src.u.all);
	for (int i = 0; i < 4; i++)
		differs |= (want.saddr.w[i] ^ t->saddr.w[i]) & mask.w[i];
	return !differs && want.family == t->family && want.proto == t->proto &&
	       want.dport == t->dport && addr_equal(&want.daddr, &t->daddr);
}

static long expect_find_step(__u32 i, struct expect_walk *w)
{
	const struct nf_conntrack_expect *e = w->next;

	(void)i;
	if (!e)
		return 1;
	w->found = expect_is(e, &w->tuple);
	w->next = (const void *)BPF_CORE_READ(e, lnode.next);
	return w->found;
}

/* True if the flow that `t` opens is one that `ct` has announced. */
static __always_inline bool expect_has(const struct nf_conn *ct,
				       const struct fw_tuple *t)
{
	struct expect_walk w = { .next = expect_first(ct), .tuple = *t };

	bpf_loop(EXPECT_MOST, expect_find_step, &w, 0);
	return w.found;
}

/* Who may have announced a flow to there: the tuple of its opener; NULL: nobody. */
static __always_inline const struct fw_tuple *
expect_hint(const struct fw_tuple *t)
{
	const __u32 *any = bpf_map_lookup_elem(&expects, &first);
	struct fw_tuple key;

	if (likely(!any || !*any))
		return NULL;
	key = *t;
	expect_key(&key);
	return bpf_map_lookup_elem(&expected, &key);
}
