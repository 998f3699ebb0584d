/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The programs twice: those that filter, and the same ones, compiled with FW_DRY, that
 * say what would become of a packet and write nothing that others read. So whatever
 * counts, remembers or changes asks is_dry at its lowest function; the compiler leaves
 * out either way, and not an instruction of the programs that filter is for the others.
 *
 * What a hook would have written, and another one of the same packet reads, is in
 * `explained`, and nowhere else.
 */
#pragma once

#include "kern/explain_abi.h"

#ifdef FW_DRY

#define is_dry true

/* User space clears it before a packet and reads it after each hook. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct fw_explained);
} explained SEC(".maps");

static __always_inline struct fw_explained *dry_note(void)
{
	return bpf_map_lookup_elem(&explained, &first);
}

/* What finish() knows of the packet. */
static __always_inline void
dry_finish(const struct pkt *p, const enum fw_hook hook, enum fw_reason reason)
{
	struct fw_explained *e = dry_note();
	struct fw_explained_hook *h;

	if (!e)
		return;
	h = &e->hooks[hook];
	h->key = p->key;
	h->res = p->res;
	h->tuple = p->tuple;
	h->orig = p->flow.orig;
	h->flow_gen = p->flow.gen;
	h->slot = e->slot;
	h->opens = (__u8)e->opens;
	e->slot = 0; /* the next one may be the same hook elsewhere */
	e->opens = FW_OPENS_NOTHING;
	h->ifindex = p->ifindex;
	h->hook = (__u8)hook;
	h->reason = (__u8)reason;
	h->has_run = 1;
	h->found = p->flow.found;
	h->reply = p->flow.reply;
	h->older = p->flow.older;
	h->related = p->flow.related;
}

/* The rule of this slot has decided at the hook that ends next. */
static __always_inline void dry_decided(__u32 slot)
{
	struct fw_explained *e = dry_note();

	if (e)
		e->slot = slot;
}

/* The flow of the packet gets into a table, or is judged by these rules now. */
static __always_inline void dry_open(const struct fw_tuple *orig,
				     enum fw_explained_opens opens, __u32 gen)
{
	struct fw_explained *e = dry_note();

	if (!e)
		return;
	e->opened = *orig;
	e->opened_gen = gen;
	e->opens = opens;
}

static __always_inline bool dry_is(const struct fw_tuple *a,
				   const struct fw_tuple *b)
{
	return addr_equal(&a->saddr, &b->saddr) &&
	       addr_equal(&a->daddr, &b->daddr) && a->sport == b->sport &&
	       a->dport == b->dport && a->proto == b->proto &&
	       a->family == b->family && a->icmp_type == b->icmp_type;
}

/*
 * The flow of `t`, if a hook before this one would have opened or judged it. A call, for its
 * room: ct_find() has to fit the stack here, too.
 */
static __noinline bool dry_find(struct flow *f, const struct fw_tuple *t)
{
	struct fw_explained *e = dry_note();
	struct fw_tuple turned;

	if (!e || !e->opened.family)
		return false;
	tuple_reverse(&turned, t);
	if (dry_is(&e->opened, t))
		f->reply = false;
	else if (dry_is(&e->opened, &turned))
		f->reply = true;
	else
		return false;
	f->found = true;
	f->gen = e->opened_gen;
	f->orig = e->opened;
	return true;
}

/* The explained packet is said to come out of an SA: what a test run cannot give it. */
static __always_inline bool dry_from_sa(__u32 *ret_reqid)
{
	const struct fw_explained *e = dry_note();

	if (!e || !e->from_sa)
		return false;
	*ret_reqid = e->reqid;
	return true;
}

/* The note of XDP for TC, in place of metadata, which a test run has none of. */
static __always_inline struct fw_meta *dry_meta(void)
{
	struct fw_explained *e = dry_note();

	return e ? &e->meta : NULL;
}

#else

#define is_dry false

static __always_inline void
dry_finish(const struct pkt *p, const enum fw_hook hook, enum fw_reason reason)
{
	(void)p;
	(void)hook;
	(void)reason;
}

static __always_inline void dry_decided(__u32 slot)
{
	(void)slot;
}

static __always_inline void dry_open(const struct fw_tuple *orig,
				     enum fw_explained_opens opens, __u32 gen)
{
	(void)orig;
	(void)opens;
	(void)gen;
}

static __always_inline bool dry_find(const struct flow *f,
				     const struct fw_tuple *t)
{
	(void)f;
	(void)t;
	return false;
}

static __always_inline bool dry_from_sa(__u32 *ret_reqid)
{
	(void)ret_reqid;
	return false;
}

static __always_inline struct fw_meta *dry_meta(void)
{
	return NULL;
}

#endif
