/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Walk the compiled rules: the first rule that matches decides.
 *
 * The same semantics as fw_interpret() in rules/interpret.c, which is the
 * judge. kern/match_abi.h says how the rules lie in the image. One step of the
 * walk looks into one table and at a few of the entries found there. Compiles
 * in user space too, where the tests run it.
 */
#pragma once

#include "kern/forget.h"
#include "kern/image.h"
#include "kern/likely.h"
#include "kern/match_abi.h"

#include "kern/addrset.h"

#define MATCH_MAX_STEPS	  (1u << 23) /* what bpf_loop() allows */
#define MATCH_FIRST_STEPS 4	     /* without it */

/* Where a walk is: not on the stack, which has little room. */
struct match_state {
	__u64 addr[4]; /* as struct fw_match_v4.addr, fw_match_v6.addr */
	__u32 lack;    /* FW_NEED_* */
	__u16 sport, dport;
	__u32 table; /* offset of the next one */
	__u32 pos;   /* offset of the next entry */
	__u32 left;  /* entries from there on */
	__u32 best;  /* rule that matches, FW_RULE_NONE: none yet */
	__u32 slot;  /* its counter */
	__u32 end;   /* how it ends, see FW_END_VERDICT_SHIFT */
	__u32 asked; /* rule whose term is asked next; FW_RULE_NONE: none */
	__u32 row;   /* offset of the asked rule's struct fw_match_row */
	__u32 maybe; /* lowest rule that matches but for the leaving interface */
};

/* What it works with and for, of the same packet. */
struct match_io {
	struct fw_key key;
	struct fw_result res;
	struct match_state state;
};

struct match {
	const void *base;
	const struct fw_key *key;
	struct match_state *s;
};

/* In `asked`: all of the term but its set of destinations agreed. */
#define MATCH_ASK_DST 0x80000000u

/* ---- what an entry cannot say --------------------------------------------- */

static __always_inline bool match_zones(__u64 wanted, __u64 zones,
					bool is_negated)
{
	return !wanted || ((wanted & zones) != 0) != is_negated;
}

/* Without branches: the paths of a search would be many. */
static __always_inline bool match_port(const void *base, __u32 off, __u16 port)
{
	__u32 half = image_at(base, off, struct fw_match_bounds)->top;
	__u32 n = 0;
	int i;

	/* Boundaries from `n` on are above the port or not looked at yet. */
	off += offsetof(struct fw_match_bounds, at);
	for (i = 0; i < FW_MATCH_MAX_BOUNDS_LOG && half; i++) {
		__u32 at = *image_at(base, off + (n + half - 1) * 4, __u32);

		n = forget(n + (half & (__u32) - (at <= port)));
		half = forget(half / 2);
	}
	return n & 1;
}

static __always_inline bool match_ports(const struct match *m,
					const struct fw_match_term *t)
{
	__u32 s = t->sport, d = t->dport;

	if (t->flags & FW_ROW_ICMP) {
		d = m->key->family == FW_AF_IPV4 ? s : d;
		s = 0;
	}
	return (!s || match_port(m->base, s, m->s->sport)) &&
	       (!d || match_port(m->base, d, m->s->dport));
}

/* The rule matches, but for the leaving interface. */
static __always_inline void accept_rule(struct match *m, __u32 rule,
					const struct fw_match_row *row,
					const struct fw_match_term *t)
{
	const struct fw_key *k = m->key;

	if (t->out_zones) {
		if (rule < m->s->maybe)
			m->s->maybe = rule;
		if (k->flags & FW_KEY_OUT_UNKNOWN ||
		    !match_zones(t->out_zones, k->out_zones,
				 t->flags & FW_ROW_NOT_OUT))
			return;
	}
	m->s->best = rule;
	m->s->slot = row->slot;
	m->s->end = row->end;
	m->s->left = 0;
}

/* Everything of a term but sets of addresses and the leaving interface. */
static __always_inline bool simple_terms(const struct match *m,
					 const struct fw_match_term *t)
{
	const struct fw_key *k = m->key;

	if (!match_zones(t->in_zones, k->in_zones, t->flags & FW_ROW_NOT_IN))
		return false;
	if ((t->protos[0] | t->protos[1] | t->protos[2] | t->protos[3]) &&
	    !(t->protos[k->proto >> 6] >> (k->proto & 63) & 1))
		return false;
	return match_ports(m, t);
}

static __always_inline bool set_agrees(const struct match *m,
				       const struct fw_match_term *t, bool dst)
{
	__u32 not_in = t->flags & (dst ? FW_ROW_NOT_DST : FW_ROW_NOT_SRC);
	__u32 self = t->flags & (dst ? FW_TERM_DST_SELF : FW_TERM_SRC_SELF) &&
		     m->key->flags & (dst ? FW_KEY_DST_SELF : FW_KEY_SRC_SELF);

	return (self || addrset_has(m->base, dst ? t->dst : t->src, m->key,
				    dst)) != !!not_in;
}

/*
 * The entry of rule `m->s->asked` agrees; does its term?  A step of the walk of its
 * own, or two where it has two sets, so that it is verified once.
 */
static __always_inline void ask_term(struct match *m)
{
	__u32 rule = m->s->asked & ~MATCH_ASK_DST;
	bool again = m->s->asked & MATCH_ASK_DST;
	const struct fw_match_row *row =
		image_at(m->base, m->s->row, struct fw_match_row);
	const struct fw_match_term *t =
		image_at(m->base, row->term, struct fw_match_term);
	bool dst = again || !(t->flags & FW_TERM_SRC);

	m->s->asked = FW_RULE_NONE;
	if (!again && !simple_terms(m, t))
		return;
	if (t->flags & (dst ? FW_TERM_DST : FW_TERM_SRC) &&
	    !set_agrees(m, t, dst))
		return;
	if (!dst && t->flags & FW_TERM_DST) {
		m->s->asked = rule | MATCH_ASK_DST;
		return;
	}
	accept_rule(m, rule, row, t);
}

/* ---- entries -------------------------------------------------------------- */

/* Not 0 if the ports are not in their ranges. */
static __always_inline __u64 ports_differ(const struct match *m,
					  const struct fw_match_ports *p)
{
	__u32 s = p->sport_span - (__u32)(__u16)(m->s->sport - p->sport);
	__u32 d = p->dport_span - (__u32)(__u16)(m->s->dport - p->dport);

	return (s | d) >> 31;
}

static __always_inline __u64 v4_differs(const struct match *m,
					const struct fw_match_v4 *e)
{
	__u64 differ = m->s->addr[0] ^ e->addr;

	return differ >> 32 >> (e->sshift & 63) |
	       (differ & 0xffffffff) >> (e->dshift & 63) |
	       (m->s->lack & e->need) | ports_differ(m, &e->ports);
}

static __always_inline __u64 v6_word(const struct match *m,
				     const struct fw_match_v6 *e, const int i)
{
	__u32 shift = e->shift[i];

	return (m->s->addr[i] ^ e->addr[i]) >> (shift & 63) >> (shift >> 6 & 1);
}

static __always_inline __u64 v6_differs(const struct match *m,
					const struct fw_match_v6 *e)
{
	__u64 differ = (m->s->lack & e->need) | ports_differ(m, &e->ports);

	/* Entries of one slot differ here first, and it costs least. */
	if (differ)
		return differ;
	return v6_word(m, e, 0) | v6_word(m, e, 1) | v6_word(m, e, 2) |
	       v6_word(m, e, 3);
}

/* What became of looking at an entry. */
enum match_found {
	MATCH_NOT, /* it does not agree */
	MATCH_ASK, /* it does, but its term is to be asked */
	MATCH_END, /* nothing better follows in the list */
};

/* The entry agrees, and nothing better did. */
static __always_inline enum match_found take_entry(struct match *m, __u32 need,
						   __u32 end, __u32 slot)
{
	if (unlikely(need & FW_MATCH_HAS_TERM)) {
		m->s->asked = end & FW_REF_RULE_MASK;
		m->s->row = slot;
		return MATCH_ASK;
	}
	m->s->best = end & FW_REF_RULE_MASK;
	m->s->end = end;
	m->s->slot = slot;
	return MATCH_END;
}

static __always_inline enum match_found look_at(struct match *m, __u32 pos,
						const bool v4)
{
	if (v4) {
		const struct fw_match_v4 *e =
			image_at(m->base, pos, struct fw_match_v4);

		if ((e->end & FW_REF_RULE_MASK) >= m->s->best)
			return MATCH_END;
		return v4_differs(m, e)
			       ? MATCH_NOT
			       : take_entry(m, e->need, e->end, e->slot);
	} else {
		const struct fw_match_v6 *e =
			image_at(m->base, pos, struct fw_match_v6);

		if ((e->end & FW_REF_RULE_MASK) >= m->s->best)
			return MATCH_END;
		return v6_differs(m, e)
			       ? MATCH_NOT
			       : take_entry(m, e->need, e->end, e->slot);
	}
}

/* Entries are in the order of their rules. */
static __always_inline void scan(struct match *m, const bool v4)
{
	const __u32 size =
		v4 ? sizeof(struct fw_match_v4) : sizeof(struct fw_match_v6);
	enum match_found found = MATCH_NOT;
	__u32 pos = m->s->pos, left = m->s->left;
	int i;

	for (i = 0; i < FW_MATCH_STEP && left && found == MATCH_NOT; i++) {
		found = look_at(m, pos, v4);
		pos += size;
		left--;
	}
	m->s->pos = pos;
	m->s->left = found == MATCH_END ? 0 : left;
}

/* ---- tables --------------------------------------------------------------- */

static __always_inline __u32 ref_kind(__u64 ref)
{
	return (__u32)(ref >> FW_REF_KIND_SHIFT) & FW_REF_KIND_MASK;
}

static __always_inline __u32 ref_off(__u64 ref)
{
	return ((__u32)(ref >> FW_REF_OFF_SHIFT) & FW_REF_OFF_MASK) * 8;
}

/* The reference that the packet's bits select. */
static __always_inline __u64 follow_cut(const struct match *m, __u64 ref)
{
	__u32 cut = (__u32)(ref >> FW_REF_EXTRA_SHIFT);
	__u32 byte = cut >> FW_CUT_BYTE_SHIFT & (sizeof(*m->key) - 1);
	__u32 v = ((const __u8 *)m->key)[byte];

	v = v >> (cut >> FW_CUT_BIT_SHIFT & 7) & ((2u << (cut & 7)) - 1);
	return *image_at(m->base, ref_off(ref) + v * 8, __u64);
}

/* Find the entries for the packet in a table: none, or m->s->pos and m->s->left. */
static __always_inline void probe(struct match *m,
				  const struct fw_match_table *t, const bool v4)
{
	__u64 hash = fw_match_hash(m->s->addr, t->mask, v4), ref;
	__u32 slot = (__u32)(hash >> (t->shift & 63));
	__u32 kind, pos, signature;
	int i;

	ref = *image_at(m->base, t->slots + slot * 8, __u64);
	kind = ref_kind(ref);
	if (kind != FW_REF_CUT) {
		signature = (__u32)(ref >> FW_REF_EXTRA_SHIFT);
		if (signature && signature != FW_MATCH_SIGNATURE(hash))
			return;
	}
	for (i = 0; i < FW_MATCH_MAX_CUTS && kind == FW_REF_CUT; i++) {
		if ((ref & FW_REF_RULE_MASK) >= m->s->best)
			return;
		ref = follow_cut(m, ref);
		kind = ref_kind(ref);
	}
	if (!kind || (ref & FW_REF_RULE_MASK) >= m->s->best)
		return;
	pos = ref_off(ref);
	if (unlikely(kind == FW_REF_LONG)) {
		kind = image_at(m->base, pos, struct fw_match_long)->n;
		pos += (__u32)sizeof(struct fw_match_long);
	}
	m->s->pos = pos;
	m->s->left = kind;
}

/* Into a table, or on where the last step stopped in a list. */
static __always_inline void match_list(struct match *m, const bool v4)
{
	if (!m->s->left) {
		const struct fw_match_table *t =
			image_at(m->base, m->s->table, struct fw_match_table);

		m->s->table += (__u32)sizeof(*t);
		probe(m, t, v4);
	}
	scan(m, v4);
}

/* Nothing can follow that is better than what was found. */
static __always_inline bool is_over(const struct match *m)
{
	return !m->s->left && m->s->asked == FW_RULE_NONE &&
	       image_at(m->base, m->s->table, struct fw_match_table)->first >=
		       m->s->best;
}

static long match_step(__u32 i, struct match *m)
{
	(void)i;
	if (m->s->asked != FW_RULE_NONE)
		ask_term(m);
	else if (m->key->family == FW_AF_IPV4)
		match_list(m, true);
	else
		match_list(m, false);
	return is_over(m);
}

/* The first steps, after which most walks are over; true if it is. */
static __always_inline bool match_steps(struct match *m, const bool v4)
{
	__u32 i;

	/* a call for each step would cost more than it */
#pragma GCC unroll 1
	for (i = 0; i < MATCH_FIRST_STEPS; i++) {
		asm volatile("" ::: "memory"); /* no copies on the stack */
		match_list(m, v4);
		if (is_over(m))
			return true;
		if (m->s->asked != FW_RULE_NONE)
			break;
	}
	return false;
}

/* All others, of a long walk or of rules with terms. */
static __always_inline void match_more_steps(struct match *m)
{
#ifdef __bpf__
	bpf_loop(MATCH_MAX_STEPS, match_step, m, 0);
#else
	for (__u32 i = 0; i < MATCH_MAX_STEPS && !match_step(i, m); i++)
		continue;
#endif
}

/* ---- before and after ------------------------------------------------------ */

static __always_inline __u64 match_word(const __be32 *w, const __be32 *next)
{
	return (__u64)ADDRSET_HOST32(*w) << 32 | ADDRSET_HOST32(*next);
}

static __always_inline void match_addresses(struct match *m, const bool v4)
{
	const __be32 *s = m->key->saddr.w, *d = m->key->daddr.w;

	if (v4) {
		m->s->addr[0] = match_word(&s[3], &d[3]);
	} else {
		m->s->addr[0] = match_word(&s[0], &s[1]);
		m->s->addr[1] = match_word(&s[2], &s[3]);
		m->s->addr[2] = match_word(&d[0], &d[1]);
		m->s->addr[3] = match_word(&d[2], &d[3]);
	}
}

/* Of the flags of a packet; without branches, which would be hard to predict. */
static __always_inline __u32 match_lack_flags(__u32 flags)
{
	_Static_assert(FW_NEED_PORTS == FW_KEY_PORTS &&
			       FW_NEED_ICMP == FW_KEY_ICMP &&
			       FW_NEED_PLAIN == FW_KEY_ESSENTIAL &&
			       FW_NEED_SRC_NOT_SELF == FW_KEY_SRC_SELF &&
			       FW_NEED_SRC_SELF == FW_KEY_SRC_SELF >> 1 &&
			       FW_NEED_DST_SELF == FW_KEY_DST_SELF &&
			       FW_NEED_DST_NOT_SELF == FW_KEY_DST_SELF << 1,
		       "bits that are moved here");

	return (~flags & (FW_KEY_PORTS | FW_KEY_ICMP | FW_KEY_DST_SELF)) |
	       (flags & (FW_KEY_ESSENTIAL | FW_KEY_SRC_SELF)) |
	       (~flags & FW_KEY_SRC_SELF) >> 1 | (flags & FW_KEY_DST_SELF) << 1;
}

/* FW_NEED_* that the packet does not fulfil. */
static __always_inline __u32 match_lack(const void *base,
					const struct fw_match_head *h,
					const struct fw_key *k)
{
	__u32 lack = *image_at(base, h->classes + k->proto, __u8);
	__u32 i;

	lack = lack << FW_MATCH_CLASS_SHIFT | match_lack_flags(k->flags);
	for (i = 0; i < FW_MATCH_MAX_ZONES && i < h->n_in_zones; i++) {
		const struct fw_match_zones *z =
			image_at(base, h->in_zones + i * (__u32)sizeof(*z),
				 struct fw_match_zones);
		__u32 is_in = (z->zones & k->in_zones) != 0;

		lack = forget(lack | (__u32)(is_in == (__u32)z->is_negated)
					     << (i + FW_MATCH_ZONES_SHIFT));
	}
	return lack;
}

static __always_inline void match_default(struct fw_result *res,
					  const struct fw_match_head *h,
					  const struct fw_key *k)
{
	__u32 dir = k->dir;

	if (dir >= FW_DIR_MAX)
		return;
	res->slot = h->default_slot[dir];
	res->rule = FW_RULE_DEFAULT + dir;
	res->verdict = h->default_verdict[dir];
	res->flags |= FW_RESULT_DEFAULT;
	if (res->verdict != FW_ACCEPT && k->flags & FW_KEY_ESSENTIAL) {
		res->verdict = FW_ACCEPT;
		res->slot = 0; /* not the default's decision, nor its count */
		res->flags |= FW_RESULT_ESSENTIAL;
	} else if (h->default_log >> dir & 1) {
		res->flags |= FW_RESULT_LOG;
	}
}

static __always_inline void match_result(const struct match *m,
					 const struct fw_match_head *h,
					 bool stateless, struct fw_result *res)
{
	if (m->s->maybe != FW_RULE_NONE && m->s->maybe <= m->s->best)
		res->flags |= FW_RESULT_MAYBE;
	res->rule = m->s->best;
	if (m->s->best != FW_RULE_NONE) {
		res->slot = m->s->slot;
		res->verdict =
			m->s->end >> FW_END_VERDICT_SHIFT & FW_END_VERDICT_MASK;
		res->flags |= (__u8)(m->s->end >> FW_END_FLAGS_SHIFT);
	} else if (!stateless) {
		match_default(res, h, m->key);
	}
}

/* The tables of the packet's kind, direction and family; 0: none. */
static __always_inline __u32 match_chain(const struct fw_match_head *h,
					 const struct fw_key *key,
					 bool stateless)
{
	__u32 v6 = key->family != FW_AF_IPV4;

	return h->chain[(stateless * 6u + (key->dir & 3) * 2u + v6) & 15];
}

/* To where there are rules to look at; false: there are none. */
static __always_inline bool
match_begin(struct match *m, const struct fw_match_head *h, bool stateless)
{
	const struct fw_key *key = m->key;

	m->s->best = FW_RULE_NONE;
	m->s->maybe = FW_RULE_NONE;
	m->s->asked = FW_RULE_NONE;
	m->s->left = 0;
	m->s->table = match_chain(h, key, stateless);
	if (!m->s->table)
		return false;
	m->s->lack = match_lack(m->base, h, key);
	m->s->sport = key->sport;
	m->s->dport = key->flags & FW_KEY_ICMP ? key->icmp : key->dport;
	return true;
}

#define MATCH_UNFINISHED 1

/*
 * What the rules at `off` (struct fw_match_head) of the image say of io->key, in
 * io->res. Stateless pass: io->res.rule is FW_RULE_NONE if no rule matched. 0, -1
 * for no image, or MATCH_UNFINISHED: match_rest() has to go on from here.
 */
static __always_inline int match_first(const void *base, __u32 off,
				       struct match_io *io, bool stateless)
{
	const struct fw_match_head *h;
	struct match m = { .base = base };
	bool is_over;

	if (!base || !io)
		return -1;
	m.key = &io->key;
	m.s = &io->state;
	__builtin_memset(&io->res, 0, sizeof(io->res));
	h = image_at(base, off, struct fw_match_head);
	if (!match_begin(&m, h, stateless)) {
		is_over = true;
	} else if (m.key->family == FW_AF_IPV4) {
		match_addresses(&m, true);
		is_over = match_steps(&m, true);
	} else {
		match_addresses(&m, false);
		is_over = match_steps(&m, false);
	}
	if (unlikely(!is_over))
		return MATCH_UNFINISHED;
	match_result(&m, h, stateless, &io->res);
	return 0;
}

/* What match_first() has left to do, with the same image and key. */
static __always_inline int match_rest(const void *base, __u32 off,
				      struct match_io *io, bool stateless)
{
	struct match m = { .base = base };

	if (!base || !io)
		return -1;
	m.key = &io->key;
	m.s = &io->state;
	match_more_steps(&m);
	match_result(&m, image_at(base, off, struct fw_match_head), stateless,
		     &io->res);
	return 0;
}

/* Both. */
static __always_inline int match(const void *base, __u32 off,
				 struct match_io *io, bool stateless)
{
	int r = match_first(base, off, io, stateless);

	return r == MATCH_UNFINISHED ? match_rest(base, off, io, stateless) : r;
}
