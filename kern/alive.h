/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Is a flow that was found a moment ago still what it was? Its entry is read where it was
 * found, which costs a fifth of a lookup: no hash, no bucket, no reference.
 *
 * The memory may be another flow's by now, or no entry at all (SLAB_TYPESAFE_BY_RCU), so it is
 * read as bytes, and believed if it is a living entry of these very addresses and ports. A flow
 * that has died says so before it leaves the table (nf_ct_delete() sets IPS_DYING).
 */
#pragma once

#define ALIVE_BYTES (ALIVE_WORDS * 8)

/* Where a field of struct nf_conn is; the program knows when it is loaded. */
#define ct_at(field) bpf_core_field_offset(struct nf_conn, field)

/* A field of what is in p->entry. */
#define alive_read(p, type, field) \
	(*(const type *)((const void *)(p)->entry + ct_at(field)))

/* All that is read lies within. */
static __always_inline bool alive_fits(void)
{
	const __u32 tuples =
		2 * bpf_core_type_size(struct nf_conntrack_tuple_hash);

	return ct_at(mark) + sizeof(__u32) <= ALIVE_BYTES &&
	       ct_at(status) + sizeof(__u64) <= ALIVE_BYTES &&
	       ct_at(timeout) + sizeof(__u32) <= ALIVE_BYTES &&
	       ct_at(tuplehash) + tuples <= ALIVE_BYTES;
}

#define tuple_at(field) bpf_core_field_offset(struct nf_conntrack_tuple, field)

/* The kernel's tuple at `t` is that of the packets. */
static __always_inline bool tuple_is(const void *t,
				     const struct fw_cached_flow *e)
{
	const bool is_v6 = e->l4 >> 48;

	if (*(const __be16 *)(t + tuple_at(src.u.all)) != (__be16)e->l4 ||
	    *(const __be16 *)(t + tuple_at(dst.u.all)) !=
		    (__be16)(e->l4 >> 16) ||
	    *(const __u8 *)(t + tuple_at(dst.protonum)) !=
		    (__u8)(e->l4 >> 32) ||
	    *(const __u16 *)(t + tuple_at(src.l3num)) != (is_v6 ? 10 : 2))
		return false;
	if (!is_v6)
		return *(const __be32 *)(t + tuple_at(src.u3)) ==
			       (__be32)e->addr[0] &&
		       *(const __be32 *)(t + tuple_at(dst.u3)) ==
			       (__be32)(e->addr[0] >> 32);
	return *(const __u64 *)(t + tuple_at(src.u3)) == e->addr[0] &&
	       *(const __u64 *)(t + tuple_at(src.u3) + 8) == e->addr[1] &&
	       *(const __u64 *)(t + tuple_at(dst.u3)) == e->addr[2] &&
	       *(const __u64 *)(t + tuple_at(dst.u3) + 8) == e->addr[3];
}

/* FW_CACHED_PASSES: the flow lives, by rules of the same generation, and in the same state. */
static __always_inline bool is_alive(struct pkt *p,
				     const struct fw_image_head *head,
				     const struct fw_cached_flow *e)
{
	const __u32 alive = IPS_CONFIRMED, dead = IPS_DYING;
	const void *t =
		(const void *)p->entry + ct_at(tuplehash) +
		bpf_core_field_offset(struct nf_conntrack_tuple_hash, tuple);

	if (!alive_fits() ||
	    bpf_probe_read_kernel(p->entry, ALIVE_BYTES, (const void *)e->ct))
		return false;
	if ((alive_read(p, __u64, status) & (alive | dead)) != alive ||
	    (__s32)(alive_read(p, __u32, timeout) - (__u32)bpf_jiffies64()) <=
		    0 ||
	    mark_half(head, alive_read(p, __u32, mark)) != e->half)
		return false;
	if (e->reply)
		t += bpf_core_type_size(struct nf_conntrack_tuple_hash);
	return tuple_is(t, e);
}
