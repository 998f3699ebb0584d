/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The first fragment carries the ports and is judged; the others follow it, and
 * none of them is written over what it was judged by. One that comes before it
 * is dropped: there is nowhere to keep it.
 *
 * Remembered per hook, because each hook sees the datagram in its own order.
 * Global functions: the verifier walks them once, and not for each caller.
 */
#pragma once

#define FRAG_LIFE_NS 30000000000ull /* as long as the stack keeps a queue */

static __always_inline void frag_key(struct fw_frag_key *k, struct pkt *p,
				     enum fw_hook hook)
{
	const struct fw_tuple *t = pkt_tuple(p); /* p->key may be the flow's */

	__builtin_memset(k, 0, sizeof(*k));
	k->saddr = t->saddr;
	k->daddr = t->daddr;
	k->id = p->frag_id;
	k->ifindex = p->ifindex;
	k->vlan = p->vlan;
	k->proto = p->key.family == FW_AF_IPV4 ? p->key.proto : 0;
	k->hook = (__u8)hook;
	k->family = p->key.family;
}

/*
 * What becomes of a first fragment is what becomes of those that follow. An
 * earlier datagram may have had its identifier; and what TC refuses for lack of
 * room, XDP has let pass.
 */
__noinline int frag_decide(struct pkt *p, enum fw_hook hook,
			   enum fw_reason reason, __u32 gen)
{
	struct fw_frag f = {};
	struct fw_frag_key k;

	if (!p)
		return -1;
	f.expires_ns = bpf_ktime_get_coarse_ns() + FRAG_LIFE_NS;
	f.gen = gen;
	f.end = (__u16)p->frag_edge;
	f.undecided = reason == FW_REASON_UNDECIDED;
	f.ipsec = p->ipsec & PKT_FROM_SA;
	frag_key(&k, p, hook);
	if (!reason_is_drop(reason)) {
		(void)bpf_map_update_elem(&frags, &k, &f, BPF_ANY);
		/* what was looked at is not evicted for what was not: for a flood */
		if (p->flow.answered)
			(void)bpf_map_lookup_elem(&frags, &k);
		return 0;
	}
	(void)bpf_map_delete_elem(&frags, &k);
	if (hook == FW_HOOK_INGRESS) {
		k.hook = FW_HOOK_XDP;
		(void)bpf_map_delete_elem(&frags, &k);
	}
	return 0;
}

/* Of a later fragment; DROP_FRAG_ORPHAN: rules `gen` (0: any) let no first one pass. */
__noinline enum fw_reason frag_follow(struct pkt *p, enum fw_hook hook,
				      __u32 gen)
{
	struct fw_frag_key k;
	struct fw_frag *f;

	if (!p)
		return FW_REASON_DROP_INTERNAL;
	frag_key(&k, p, hook);
	f = bpf_map_lookup_elem(&frags, &k);
	if (!f || f->expires_ns <= bpf_ktime_get_coarse_ns() ||
	    (gen && f->gen != gen))
		return FW_REASON_DROP_FRAG_ORPHAN;
	if (p->frag_edge < f->end)
		return FW_REASON_DROP_FRAG_BAD;
	if (f->ipsec && !(p->ipsec & PKT_FROM_SA))
		return FW_REASON_DROP_IPSEC_CLEAR;
	return f->undecided ? FW_REASON_UNDECIDED : FW_REASON_FRAGMENT;
}
