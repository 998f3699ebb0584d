/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Walk the compiled rule image: rows in order, the first match decides.
 *
 * The same semantics, row by row, as fw_interpret() in rules/interpret.c, which
 * is the judge: change both or none.
 */
#pragma once

/* What changes lies in upper halves of stack slots: see forget(). */
struct walk {
	const void *image;
	const struct fw_key *key;
	__u32 off;  /* first row */
	__u32 cell; /* of the row that decided; 0: none */
	__u32 pad;
	bool maybe;
	bool broken; /* the image has fewer cells than its head says */
};

static __always_inline const union fw_cell *cell_at(const void *image,
						    __u32 index)
{
	return image_at(image, index * FW_CELL_SIZE, union fw_cell);
}

/* Steps that find a boundary among 2^24; FW_MAX_CELLS allows no more. */
#define SET_STEPS 25

enum set_kind {
	SET_V4,
	SET_V6,
	SET_PORT,
};

struct search {
	const void *image;
	__u64 value_hi;
	__u64 value_lo;
	__u32 off;  /* first cell of the boundaries */
	__u32 kind; /* enum set_kind */
	__u32 lo;   /* boundaries before it are not above the value */
	__u32 hi;   /* boundaries from it on are above the value */
};

/* True if boundary number `i` is not above the value. */
static __always_inline bool bound_below(const struct search *s, __u32 i,
					bool *ret_broken)
{
	const __u32 shift = s->kind == SET_V4 ? 5 : s->kind == SET_V6 ? 3 : 6;
	const union fw_cell *c = cell_at(s->image, s->off + (i >> shift));
	const struct fw_v6_bound *b;

	if (!c) {
		*ret_broken = true;
		return false;
	}
	if (s->kind == SET_V4)
		return c->v4[i % FW_V4_PER_CELL] <= s->value_lo;
	if (s->kind == SET_PORT)
		return c->port[i % FW_PORT_PER_CELL] <= s->value_lo;
	b = &c->v6[i % FW_V6_PER_CELL];
	return b->hi < s->value_hi ||
	       (b->hi == s->value_hi && b->lo <= s->value_lo);
}

static long search_step(__u32 step, struct search *s)
{
	__u32 mid = forget((s->lo + s->hi) / 2);
	bool broken = false;

	(void)step;
	if (s->lo >= s->hi)
		return 1;
	if (bound_below(s, mid, &broken))
		s->lo = forget(mid + 1);
	else
		s->hi = forget(mid);
	if (broken)
		s->lo = s->hi = 0; /* no member */
	return broken;
}

/* The number of boundaries not above the value is odd: member (struct fw_set). */
static __noinline bool set_has(const void *image, __u32 cell, __u32 kind,
			       __u64 value_hi, __u64 value_lo)
{
	const union fw_cell *c = cell_at(image, cell);
	struct search s = {
		.image = image,
		.value_hi = value_hi,
		.value_lo = value_lo,
		.kind = kind,
	};

	if (!c)
		return false;
	s.off = kind == SET_V4	 ? c->set.v4_off
		: kind == SET_V6 ? c->set.v6_off
				 : c->set.port_off;
	s.hi = kind == SET_V4	? c->set.v4_n
	       : kind == SET_V6 ? c->set.v6_n
				: c->set.port_n;
	bpf_loop(SET_STEPS, search_step, &s, 0);
	return s.lo & 1;
}

static __always_inline bool set_has_addr(const void *image, __u32 cell,
					 const struct fw_addr *a, bool v4,
					 bool is_self)
{
	const union fw_cell *c = cell_at(image, cell);
	__u64 hi = 0, lo = bpf_ntohl(a->w[3]);

	if (!c)
		return false;
	if (c->set.has_self && is_self)
		return true;
	if (!v4) {
		hi = (__u64)bpf_ntohl(a->w[0]) << 32 | bpf_ntohl(a->w[1]);
		lo |= (__u64)bpf_ntohl(a->w[2]) << 32;
	}
	return set_has(image, cell, forget(v4 ? SET_V4 : SET_V6), hi, lo);
}

/* True if there is no set, or the value is a member, or not one as asked. */
static __always_inline bool port_matches(const void *image, __u32 cell,
					 __u16 value, bool negated)
{
	return !cell || set_has(image, cell, SET_PORT, 0, value) != negated;
}

static __always_inline bool addr_matches(const void *image, __u32 cell,
					 const struct fw_addr *a, bool v4,
					 bool is_self, bool negated)
{
	return !cell || set_has_addr(image, cell, a, v4, is_self) != negated;
}

static __always_inline bool row_zones(__u64 zones, __u64 row_zones,
				      bool negated)
{
	return !row_zones || ((zones & row_zones) != 0) != negated;
}

/* Ports, or the types of ICMP, which are a set of the same kind. */
static __always_inline bool row_l4(const void *image, const struct fw_row *r,
				   const struct fw_key *k)
{
	bool icmp = r->flags & FW_ROW_ICMP;
	__u32 a = r->l4a_set, b = r->l4b_set;

	if (!(k->flags & (icmp ? FW_KEY_ICMP : FW_KEY_PORTS)))
		return !icmp && !a && !b;
	if (icmp) {
		a = k->family == FW_AF_IPV4 ? a : b;
		b = 0;
	}
	return port_matches(image, a, icmp ? k->icmp : k->sport,
			    r->flags & FW_ROW_NOT_SPORT) &&
	       port_matches(image, b, k->dport, r->flags & FW_ROW_NOT_DPORT);
}

/* Everything but the leaving interface. */
static __always_inline bool
row_matches(const void *image, const struct fw_row *r, const struct fw_key *k)
{
	bool v4 = k->family == FW_AF_IPV4;

	if (!(r->dirs & (1u << (k->dir & 3))))
		return false;
	if (!(r->families & (v4 ? FW_FAMILY_IPV4 : FW_FAMILY_IPV6)))
		return false;
	if (!row_zones(k->in_zones, r->in_zones, r->flags & FW_ROW_NOT_IN))
		return false;
	if ((r->protos[0] | r->protos[1] | r->protos[2] | r->protos[3]) &&
	    !(r->protos[k->proto >> 6] & (1ull << (k->proto & 63))))
		return false;
	if (!row_l4(image, r, k))
		return false;
	if (!addr_matches(image, r->src_set, &k->saddr, v4,
			  k->flags & FW_KEY_SRC_SELF,
			  r->flags & FW_ROW_NOT_SRC) ||
	    !addr_matches(image, r->dst_set, &k->daddr, v4,
			  k->flags & FW_KEY_DST_SELF,
			  r->flags & FW_ROW_NOT_DST))
		return false;
	if (k->flags & FW_KEY_ESSENTIAL && r->verdict != FW_ACCEPT &&
	    !(r->flags & (FW_ROW_NAMED | FW_ROW_STATELESS)))
		return false;
	return true;
}

static long walk_row(__u32 i, struct walk *w)
{
	const union fw_cell *c = cell_at(w->image, w->off + i);

	if (!c) {
		w->broken = true;
		return 1;
	}
	if (!row_matches(w->image, &c->row, w->key))
		return 0;
	if (c->row.out_zones) {
		w->maybe = true;
		if (w->key->flags & FW_KEY_OUT_UNKNOWN)
			return 0;
		if (!row_zones(w->key->out_zones, c->row.out_zones,
			       c->row.flags & FW_ROW_NOT_OUT))
			return 0;
	}
	w->cell = w->off + i;
	return 1;
}

static __always_inline void result_from_row(struct fw_result *res,
					    const struct fw_row *r)
{
	res->slot = r->slot;
	res->rule = r->rule;
	res->verdict = r->verdict;
	if (r->flags & FW_ROW_LOG)
		res->flags |= FW_RESULT_LOG;
	if (r->flags & FW_ROW_STATELESS)
		res->flags |= FW_RESULT_STATELESS;
}

static __always_inline void result_from_default(struct fw_result *res,
						const struct fw_image_head *h,
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
	} else if (h->default_log & (1u << dir)) {
		res->flags |= FW_RESULT_LOG;
	}
}

/*
 * What the rules say of `key`. Stateless pass: res->rule is FW_RULE_NONE if no
 * row matched. An image that ends too early denies (FW_REASON_DROP_INTERNAL
 * is reported by the caller): 0, or -1.
 */
static __noinline int classify(const void *image, const struct fw_key *key,
			       bool stateless, struct fw_result *res)
{
	struct walk w = {
		.image = image,
		.key = key,
		.cell = forget(0),
		.maybe = forget(0),
		.broken = forget(0),
	};
	const union fw_cell *c = cell_at(image, 0);

	if (!c || !res || !key)
		return -1;
	__builtin_memset(res, 0, sizeof(*res));
	res->rule = FW_RULE_NONE;
	w.off = stateless ? c->head.stateless_off : c->head.rules_off;
	bpf_loop(stateless ? c->head.stateless_n : c->head.rules_n, walk_row,
		 &w, 0);
	if (w.broken)
		return -1;
	if (w.maybe)
		res->flags |= FW_RESULT_MAYBE;
	if (w.cell) {
		const union fw_cell *row = cell_at(image, w.cell);

		if (!row)
			return -1;
		result_from_row(res, &row->row);
	} else if (!stateless) {
		result_from_default(res, &c->head, key);
	}
	return 0;
}
