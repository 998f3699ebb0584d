/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The first fragment carries the ports and is judged; the others follow it.
 * Remembered per hook, because each hook sees the datagram in its own order.
 */
#pragma once

#define FRAG_LIFE_NS 30000000000ull /* as long as the stack keeps a queue */

static __always_inline void frag_key(struct fw_frag_key *k, struct pkt *p,
				     const enum fw_hook hook)
{
	const struct fw_tuple *t = pkt_tuple(p); /* p->key may be the flow's */

	__builtin_memset(k, 0, sizeof(*k));
	k->saddr = t->saddr;
	k->daddr = t->daddr;
	k->id = p->frag_id;
	k->ifindex = p->rx_ifindex;
	k->vlan = p->vlan;
	k->proto = p->key.family == FW_AF_IPV4 ? p->key.proto : 0;
	k->hook = (__u8)hook;
	k->family = p->key.family;
}

/* A first fragment passed; `undecided`: but a later hook has the last word. */
static __noinline void frag_remember(struct pkt *p, const enum fw_hook hook,
				     bool undecided)
{
	struct fw_frag f = {
		.expires_ns = bpf_ktime_get_coarse_ns() + FRAG_LIFE_NS,
		.undecided = undecided,
	};
	struct fw_frag_key k;

	frag_key(&k, p, hook);
	(void)bpf_map_update_elem(&frags, &k, &f, BPF_ANY);
}

static __noinline enum fw_reason frag_follow(struct pkt *p,
					     const enum fw_hook hook)
{
	struct fw_frag_key k;
	struct fw_frag *f;

	frag_key(&k, p, hook);
	f = bpf_map_lookup_elem(&frags, &k);
	if (!f || f->expires_ns <= bpf_ktime_get_coarse_ns())
		return FW_REASON_DROP_FRAG_ORPHAN;
	return f->undecided ? FW_REASON_UNDECIDED : FW_REASON_FRAGMENT;
}
