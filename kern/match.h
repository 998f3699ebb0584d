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

#define MATCH_MAX_STEPS	   (1u << 23) /* what bpf_loop() allows */
#define MATCH_FIRST_TABLES 3	      /* without it */

/* Entries that a packet may match. */
struct match_list {
	__u32 pos; /* offset of the first one */
	__u32 n;
};

/* Of a packet, and where its walk is. */
struct match_state {
	__u64 addr[4]; /* as struct fw_match_v4.addr, fw_match_v6.addr */
	__u64 ports;   /* source << 32 | destination, or ICMP as that */
	__u32 lack;    /* FW_NEED_* */
	__u32 best;    /* end of the rule that matches, FW_END_NONE: none yet */
	__u32 table;   /* offset of the next one */
	__u32 next;    /* end of the first rule from there on */
	struct match_list list; /* what is left of it */
	__u32 asked; /* struct fw_match_row whose term is asked next; 0: none */
	__u32 maybe; /* as `best`, but for the leaving interface or IPsec */
};

enum match_member {
	MATCH_ASK_SET, /* nobody has asked yet */
	MATCH_OTHER,
	MATCH_MEMBER,
};

/* What a walk works with and for; `state` is what match_first() left to do. */
struct match_io {
	struct fw_key key;
	struct fw_result res;
	__u32 member; /* enum match_member, of the set that splits the chain asked next */
	struct match_state state;
};

struct match {
	const void *base;
	const struct fw_key *key;
	struct fw_result *res;
	struct match_state *s;
	__u32 member; /* as that of struct match_io */
};

/* Beside the offset in `asked`: all of the term but its destinations agreed. */
#define MATCH_ASK_DST 1u

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
	return (!s || match_port(m->base, s, (__u16)(m->s->ports >> 32))) &&
	       (!d || match_port(m->base, d, (__u16)m->s->ports));
}

/* The rule that ends like this matches, and no better one did. */
static __always_inline void take_rule(struct match *m, __u32 end, __u32 slot)
{
	m->s->best = end;
	m->res->slot = slot;
	m->res->rule = end >> FW_END_RULE_SHIFT;
	m->res->verdict = (__u8)(end & (FW_END_TERM - 1));
	m->res->flags = end >> FW_END_FLAGS_SHIFT & FW_END_FLAGS_MASK;
	m->res->names_reqid = 0;
}

/* Is a packet what a term asks of IPsec?  Not as long as nobody knows. */
static __always_inline bool ipsec_agrees(const struct fw_key *k,
					 const struct fw_match_term *t)
{
	if (k->flags & FW_KEY_IPSEC_UNKNOWN)
		return false;
	if (t->flags & FW_ROW_NOT_IPSEC)
		return !(k->flags & FW_KEY_IPSEC);
	return k->flags & FW_KEY_IPSEC && (!t->reqid || t->reqid == k->reqid);
}

/*
 * The rule has matched, and its term asks for IPsec. One that promises it decides
 * in any case: what is not protected is dropped.
 */
static __always_inline void
keep_promise(struct match *m, const struct fw_match_term *t, bool agrees)
{
	m->res->names_reqid = agrees && t->reqid;
	if (agrees)
		return;
	m->res->verdict = FW_DROP;
	m->res->flags |= FW_RESULT_CLEAR;
}

/* The rule matches, but for the leaving interface and IPsec. */
static __always_inline void accept_rule(struct match *m,
					const struct fw_match_row *row,
					const struct fw_match_term *t)
{
	const struct fw_key *k = m->key;
	bool asks = t->flags & (FW_ROW_IPSEC | FW_ROW_NOT_IPSEC);
	bool unknown = asks && k->flags & FW_KEY_IPSEC_UNKNOWN;
	bool agrees = !asks || ipsec_agrees(k, t);
	bool decides = agrees || t->flags & FW_TERM_PROMISE;

	if (!decides && !unknown)
		return;
	if ((t->out_zones || unknown) && row->end < m->s->maybe)
		m->s->maybe = row->end;
	if (t->out_zones && (k->flags & FW_KEY_OUT_UNKNOWN ||
			     !match_zones(t->out_zones, k->out_zones,
					  t->flags & FW_ROW_NOT_OUT)))
		return;
	if (!decides)
		return;
	take_rule(m, row->end, row->slot);
	if (asks)
		keep_promise(m, t, agrees);
	m->s->list.n = 0;
}

/* Everything of a term but sets of addresses, the leaving interface and IPsec. */
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
 * The entry of a rule agrees; does its term?  A step of the walk of its own, or
 * two where it has two sets, so that it is verified once.
 */
static __always_inline void ask_term(struct match *m)
{
	__u32 asked = m->s->asked;
	bool again = asked & MATCH_ASK_DST;
	const struct fw_match_row *row =
		image_at(m->base, asked & ~MATCH_ASK_DST, struct fw_match_row);
	const struct fw_match_term *t =
		image_at(m->base, row->term, struct fw_match_term);
	bool dst = again || !(t->flags & FW_TERM_SRC);

	m->s->asked = 0;
	if (!again && !simple_terms(m, t))
		return;
	if (t->flags & (dst ? FW_TERM_DST : FW_TERM_SRC) &&
	    !set_agrees(m, t, dst))
		return;
	if (!dst && t->flags & FW_TERM_DST)
		m->s->asked = asked | MATCH_ASK_DST;
	else
		accept_rule(m, row, t);
}

/* ---- entries -------------------------------------------------------------- */

/* Shifts by a register take the lower bits of it: spare the mask for that. */
static __always_inline __u64 shift_right(__u64 v, __u64 n)
{
#ifdef __bpf__
	asm("%0 >>= %1" : "+r"(v) : "r"(n));
	return v;
#else
	return v >> (n & 63);
#endif
}

/*
 * Not 0 if the ports are not in their ranges: in either half, what is below 0 has
 * upper bits. The upper half may be wrong by one, but then the lower one has them.
 */
static __always_inline __u64 ports_differ(const struct match *m, __u64 ports)
{
	__u64 lowest = ports & FW_MATCH_PORTS_MASK;
	__u64 highest = ports >> 16 & FW_MATCH_PORTS_MASK;

	return ((m->s->ports - lowest) | (highest - m->s->ports)) &
	       ~FW_MATCH_PORTS_MASK;
}

static __always_inline __u64 v4_differs(const struct match *m,
					const struct fw_match_v4 *v4)
{
	__u64 differ = m->s->addr[0] ^ v4->addr;

	return shift_right(differ >> 32, v4->e.shift[0]) |
	       shift_right((__u32)differ, v4->e.shift[1]);
}

static __always_inline __u64 v6_word(const struct match *m,
				     const struct fw_match_v6 *v6, const int i)
{
	__u64 shift = v6->e.shift[i];

	return shift_right(shift_right(m->s->addr[i] ^ v6->addr[i], shift),
			   shift >> 6);
}

static __always_inline __u64 v6_differs(const struct match *m,
					const struct fw_match_v6 *v6)
{
	return v6_word(m, v6, 0) | v6_word(m, v6, 1) | v6_word(m, v6, 2) |
	       v6_word(m, v6, 3);
}

static __always_inline bool
agrees(const struct match *m, const struct fw_match_entry *e, const bool v4)
{
	__u64 differ = (m->s->lack & e->need) | ports_differ(m, e->ports);

	if (v4)
		return !(differ | v4_differs(m, (const void *)e));
	/* Entries of one slot differ in the former first, and it costs least. */
	return !differ && !v6_differs(m, (const void *)e);
}

/* What became of looking at entries. */
enum match_found {
	MATCH_OVER, /* nothing better is in the list */
	MATCH_ASK,  /* one agrees, but its term is to be asked */
	MATCH_MORE, /* more entries than one step looks at */
};

/* The entry agrees. */
static __always_inline enum match_found
take_entry(struct match *m, const struct fw_match_entry *e)
{
	if (e->end >= m->s->best)
		return MATCH_OVER;
	if (unlikely(e->end & FW_END_TERM))
		return MATCH_ASK;
	take_rule(m, e->end, e->slot);
	return MATCH_OVER;
}

/* Look at a step's entries of a list, in the order of their rules; they leave it. */
static __always_inline enum match_found
scan(struct match *m, struct match_list *list, const bool v4)
{
	const __u32 size =
		v4 ? sizeof(struct fw_match_v4) : sizeof(struct fw_match_v6);
	const char *e = (const char *)image_at(m->base, list->pos,
					       struct fw_match_entry);
	const __u32 n = list->n;
	__u32 i;

	_Static_assert(FW_MATCH_STEP * sizeof(struct fw_match_v6) <=
			       FW_IMAGE_SLACK,
		       "slack");
#pragma GCC unroll 1
	for (i = 0; i < FW_MATCH_STEP; i++, e += size) {
		if (i == n)
			return MATCH_OVER;
		if (agrees(m, (const void *)e, v4)) {
			list->pos += (i + 1) * size;
			list->n -= i + 1;
			return take_entry(m, (const void *)e);
		}
	}
	list->pos += i * size;
	list->n -= i;
	return MATCH_MORE;
}

/* ---- tables --------------------------------------------------------------- */

static __always_inline __u32 ref_kind(__u64 ref)
{
	return (__u32)ref & FW_REF_KIND_MASK;
}

/* Nothing behind the reference is better than what was found. */
static __always_inline bool ref_is_worse(const struct match *m, __u64 ref)
{
	return ref >> FW_REF_END_SHIFT >= m->s->best;
}

static __always_inline __u32 ref_off(__u64 ref)
{
	return (__u32)ref & ~(FW_REF_ALIGN - 1u);
}

/* Not 0 if the hash is not that of the list. */
static __always_inline __u32 signature_differs(__u64 ref, __u64 hash)
{
	return (__u32)((ref ^ hash) >> FW_REF_EXTRA_SHIFT) & FW_REF_EXTRA_MASK;
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

/* Go on to the reference behind cuts; false: to nothing better. */
static __always_inline bool follow_cuts(const struct match *m, __u64 *ref)
{
	for (int i = 0; i < FW_MATCH_MAX_CUTS; i++) {
		if (ref_is_worse(m, *ref))
			return false;
		*ref = follow_cut(m, *ref);
		if (ref_kind(*ref) != FW_REF_CUT)
			return true;
	}
	return false; /* not an image of ours */
}

/* The reference that a table has for the addresses of the packet; 0: none. */
static __always_inline __u64 find_ref(const struct match *m,
				      const struct fw_match_table *t,
				      const bool v4)
{
	__u64 hash = fw_match_hash(m->s->addr, t->mask, v4);
	__u32 slot = (__u32)shift_right(hash, t->shift);
	__u64 ref = *image_at(m->base, t->slots + slot * 8, __u64);

	return signature_differs(ref, hash) && !(ref & FW_REF_ANY) ? 0 : ref;
}

/* The list for the packet in a table; false: none that is better. */
static __always_inline bool probe(const struct match *m,
				  const struct fw_match_table *t,
				  struct match_list *list, const bool v4)
{
	__u64 ref = t->is_any ? t->any : find_ref(m, t, v4);

	if (!ref)
		return false;
	if (ref_kind(ref) == FW_REF_CUT && !follow_cuts(m, &ref))
		return false;
	if (ref_is_worse(m, ref))
		return false;
	list->pos = ref_off(ref);
	list->n = ref_kind(ref);
	if (unlikely(list->n == FW_REF_LONG)) {
		list->n = image_at(m->base, list->pos, struct fw_match_long)->n;
		list->pos += (__u32)sizeof(struct fw_match_long);
	}
	return true;
}

/* The next entry, or the last one. */
static __always_inline const struct fw_match_entry *
entry_at(const struct match *m, __u32 pos)
{
	return image_at(m->base, pos, struct fw_match_entry);
}

/* Into a table, or on where the last step stopped in a list. */
static __always_inline void walk_on(struct match *m, const bool v4)
{
	const __u32 size =
		v4 ? sizeof(struct fw_match_v4) : sizeof(struct fw_match_v6);
	struct match_list *list = &m->s->list;
	const struct fw_match_table *t;

	if (list->n) {
		if (entry_at(m, list->pos)->end >= m->s->best)
			list->n = 0;
	} else {
		t = image_at(m->base, m->s->table, struct fw_match_table);
		m->s->table += (__u32)sizeof(*t);
		m->s->next = t->next;
		if (!probe(m, t, list, v4))
			list->n = 0;
	}
	switch (scan(m, list, v4)) {
	case MATCH_OVER:
		list->n = 0;
		break;
	case MATCH_ASK:
		m->s->asked = entry_at(m, list->pos - size)->slot;
		break;
	case MATCH_MORE:
		break;
	}
}

/* Nothing can follow that is better than what was found. */
static __always_inline bool is_over(const struct match *m)
{
	return !m->s->list.n && !m->s->asked && m->s->next >= m->s->best;
}

static long match_step(__u32 i, struct match *m)
{
	(void)i;
	if (m->s->asked)
		ask_term(m);
	else if (m->key->family == FW_AF_IPV4)
		walk_on(m, true);
	else
		walk_on(m, false);
	return is_over(m);
}

/*
 * The first tables, after which most walks are over; true if it is. A table whose
 * list is long or has a term to be asked is left to match_rest().
 */
static __always_inline bool match_tables(struct match *m, const bool v4)
{
	const struct fw_match_table *t =
		image_at(m->base, m->s->table, struct fw_match_table);
	__u32 i;

	_Static_assert(MATCH_FIRST_TABLES * sizeof(*t) <= FW_IMAGE_SLACK,
		       "slack");
#pragma GCC unroll 1
	for (i = 0; i < MATCH_FIRST_TABLES; i++, t++) {
		struct match_list list;

		if (probe(m, t, &list, v4) && scan(m, &list, v4) != MATCH_OVER)
			break;
		if (t->next >= m->s->best)
			return true;
	}
	m->s->table += i * (__u32)sizeof(*t);
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

/* IPv6: both addresses as tables and entries have them. */
static __always_inline void match_halves(struct match_state *state,
					 const struct fw_addr *saddr,
					 const struct fw_addr *daddr)
{
	const fw_addr_half *s = (const void *)saddr, *d = (const void *)daddr;

	state->addr[0] = ADDRSET_HOST64(s[0]);
	state->addr[1] = ADDRSET_HOST64(s[1]);
	state->addr[2] = ADDRSET_HOST64(d[0]);
	state->addr[3] = ADDRSET_HOST64(d[1]);
}

/* What of a packet is looked at for each table and entry. */
static __always_inline void match_packet(struct match *m, const bool v4)
{
	const struct fw_addr *s = &m->key->saddr, *d = &m->key->daddr;

	if (v4)
		m->s->addr[0] = match_word(&s->w[3], &d->w[3]);
	else
		match_halves(m->s, s, d);
	/* one of the latter two is 0 */
	m->s->ports = (__u64)m->key->sport << 32 |
		      (__u32)(m->key->dport | m->key->icmp);
}

/* Of the flags of a packet; without branches, which would be hard to predict. */
static __always_inline __u32 match_lack_flags(__u32 flags)
{
	const __u32 needed = FW_NEED_PORTS | FW_NEED_ICMP | FW_NEED_SRC_SELF |
			     FW_NEED_DST_SELF;
	const __u32 unwanted =
		FW_KEY_SRC_SELF | FW_KEY_DST_SELF | FW_KEY_ESSENTIAL;

	_Static_assert(FW_NEED_PORTS == FW_KEY_PORTS &&
			       FW_NEED_ICMP == FW_KEY_ICMP &&
			       FW_NEED_SRC_SELF == FW_KEY_SRC_SELF &&
			       FW_NEED_DST_SELF == FW_KEY_DST_SELF &&
			       FW_NEED_SRC_NOT_SELF == FW_KEY_SRC_SELF << 2 &&
			       FW_NEED_DST_NOT_SELF == FW_KEY_DST_SELF << 2 &&
			       FW_NEED_PLAIN == FW_KEY_ESSENTIAL << 2,
		       "bits that are moved here");

	return (~flags & needed) | (flags & unwanted) << 2;
}

/* FW_NEED_* that a packet with these does not fulfil. */
static __always_inline __u32 match_lack(const struct fw_match_head *h,
					__u32 flags, __u8 proto, __u64 in_zones)
{
	__u32 lack = h->in_wanted | match_lack_flags(flags) |
		     (__u32)h->classes[proto] << FW_MATCH_CLASS_SHIFT;
	__u32 i;

	if (likely(!h->n_in_zones))
		return lack;
	for (i = 0; i < FW_MATCH_MAX_ZONES && i < h->n_in_zones; i++) {
		if (h->in_zones[i] & in_zones)
			lack ^= 1u << (i + FW_MATCH_ZONES_SHIFT);
	}
	return forget(
		lack); /* after any number of rounds it is the same to come */
}

static __always_inline void match_default(struct fw_result *res,
					  const struct fw_match_head *h,
					  const struct fw_key *k)
{
	__u32 dir = k->dir & 3u; /* Linux 6.1 forgets what is compared */

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
	} else {
		res->flags |= h->default_flags[dir];
	}
}

/* No rule matches: the default decides, in the stateless pass nobody. */
static __always_inline void
match_none(struct match *m, const struct fw_match_head *h, bool stateless)
{
	m->res->slot = 0;
	m->res->verdict = 0;
	m->res->flags = 0;
	m->res->names_reqid = 0;
	if (!stateless)
		match_default(m->res, h, m->key);
}

/* Read anew, so that the verifier does not hold on to which rule it was. */
static __always_inline bool match_found_none(const struct match *m)
{
	return *(const volatile __u32 *)&m->res->rule == FW_RULE_NONE;
}

/* The tables for the packet, by whether an address of it is in a set. */
static __always_inline __u32 match_split(const struct match *m, __u32 chain)
{
	const struct fw_match_split *c = image_at(
		m->base, chain & ~FW_CHAIN_SPLIT, struct fw_match_split);

	bool has = m->member != MATCH_ASK_SET
			   ? m->member == MATCH_MEMBER
			   : addrset_has(m->base, c->set, m->key, c->is_dst);

	return c->tables[has];
}

/* The tables of the packet's kind, family and direction; 0: none. */
static __always_inline __u32 match_chain(const struct match *m,
					 const struct fw_match_head *h,
					 __u32 stateless)
{
	__u32 number = FW_MATCH_CHAIN(stateless, m->key->family != FW_AF_IPV4,
				      m->key->dir & 3u);
	__u32 chain = h->chain[number % 16];

	return unlikely(chain & FW_CHAIN_SPLIT) ? match_split(m, chain) : chain;
}

/* The walk, as far as it goes here; true if that is all. */
static __always_inline bool match_walk(struct match *m, const bool v4)
{
	match_packet(m, v4);
	return match_tables(m, v4);
}

#define MATCH_UNFINISHED 1

/*
 * What the rules (struct fw_match_head) of the image say of io->key, in io->res.
 * Stateless pass: io->res.rule is FW_RULE_NONE if no rule matched. 0, -1
 * for no image, or MATCH_UNFINISHED: match_rest() has to go on from here.
 * `stateless` is 0 or 1, which the verifier need not know.
 */
static __always_inline int match_first(const void *base,
				       const struct fw_match_head *h,
				       struct match_io *io, __u32 stateless)
{
	struct match_state s;
	struct match m = { .base = base, .s = &s };
	bool is_over;

	if (!base || !io)
		return -1;
	m.key = &io->key;
	m.res = &io->res;
	m.member = io->member;
	m.res->rule = FW_RULE_NONE;
	s.best = h->none;
	s.lack = match_lack(h, m.key->flags, m.key->proto, m.key->in_zones);
	s.table = match_chain(&m, h, stateless);
	if (!s.table)
		is_over = true;
	else if (m.key->family == FW_AF_IPV4)
		is_over = match_walk(&m, true);
	else
		is_over = match_walk(&m, false);
	if (unlikely(!is_over)) {
		s.list.n = 0;
		s.asked = 0;
		s.maybe = FW_END_NONE;
		io->state = s;
		return MATCH_UNFINISHED;
	}
	if (match_found_none(&m))
		match_none(&m, h, stateless);
	return 0;
}

/* What match_first() has left to do, with the same image and key. */
static __always_inline int match_rest(const void *base,
				      const struct fw_match_head *h,
				      struct match_io *io, __u32 stateless)
{
	struct match m = { .base = base };

	if (!base || !io)
		return -1;
	m.key = &io->key;
	m.res = &io->res;
	m.s = &io->state;
	match_more_steps(&m);
	if (match_found_none(&m))
		match_none(&m, h, stateless);
	if (m.s->maybe != FW_END_NONE && m.s->maybe <= m.s->best)
		m.res->flags |= FW_RESULT_MAYBE;
	return 0;
}

/* Both, of the rules at `off`. */
static __always_inline int match(const void *base, __u32 off,
				 struct match_io *io, __u32 stateless)
{
	const struct fw_match_head *h =
		base ? image_at(base, off, struct fw_match_head) : NULL;
	int r = match_first(base, h, io, stateless);

	return r == MATCH_UNFINISHED ? match_rest(base, h, io, stateless) : r;
}
