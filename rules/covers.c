/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Does one row match every packet that another one matches?  Exactly.
 *
 * A row is a product: it matches if each of its terms does. So it covers another
 * one, which can match at all, if each of its terms covers the term there.
 */
#include "covers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "field.h"
#include "ir.h"
#include "mem.h"

/* ---- lists of ranges ----------------------------------------------------- */

static int compare(uint64_t a_hi, uint64_t a_lo, uint64_t b_hi, uint64_t b_lo)
{
	if (a_hi != b_hi)
		return a_hi < b_hi ? -1 : 1;
	return (a_lo > b_lo) - (a_lo < b_lo);
}

/*
 * How many ranges start at or below a number; at least `low` do. Numbers come in
 * ascending order: what is near is found soonest.
 */
static size_t n_starting(const struct fw_ranges *ranges, size_t low,
			 uint64_t hi, uint64_t lo)
{
	size_t width = 1;
	size_t high = ranges->n;

	while (width < high - low) {
		const struct fw_range *r = &ranges->r[low + width];

		if (compare(r->first_hi, r->first_lo, hi, lo) > 0) {
			high = low + width;
			break;
		}
		low += width + 1;
		width *= 2;
	}
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct fw_range *r = &ranges->r[middle];

		if (compare(r->first_hi, r->first_lo, hi, lo) <= 0) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return low;
}

/* Is a range inside the last one of `n`? */
static bool ends_inside(const struct fw_range *r, const struct fw_ranges *outer,
			size_t n)
{
	return n && compare(r->last_hi, r->last_lo, outer->r[n - 1].last_hi,
			    outer->r[n - 1].last_lo) <= 0;
}

static bool is_inside(struct fw_covers *covers, const struct fw_ranges *inner,
		      const struct fw_ranges *outer)
{
	const struct fw_range *last;
	size_t i, n = 0;

	if (inner->n == 0 || inner == outer)
		return true;
	last = &inner->r[inner->n - 1];
	if (!ends_inside(last, outer, outer->n))
		return false;
	for (i = 0; i < inner->n; i++) {
		const struct fw_range *r = &inner->r[i];

		covers->steps++;
		n = n_starting(outer, n, r->first_hi, r->first_lo);
		if (!ends_inside(r, outer, n))
			return false;
		/* Lists that have much in common may differ at the end. */
		if (i == 0 && !ends_inside(last, outer,
					   n_starting(outer, n, last->first_hi,
						      last->first_lo)))
			return false;
	}
	return true;
}

static bool are_apart(struct fw_covers *covers, const struct fw_ranges *a,
		      const struct fw_ranges *b)
{
	size_t i, n = 0;

	for (i = 0; i < a->n; i++) {
		const struct fw_range *r = &a->r[i];

		covers->steps++;
		n = n_starting(b, n, r->last_hi, r->last_lo);
		if (n && compare(b->r[n - 1].last_hi, b->r[n - 1].last_lo,
				 r->first_hi, r->first_lo) >= 0)
			return false;
	}
	return true;
}

/* Is every number up to `top` in one of two lists? */
static bool fill_all(struct fw_covers *covers, const struct fw_ranges *a,
		     const struct fw_ranges *b, struct fw_u128 top)
{
	struct fw_u128 next = { 0 }; /* everything below is in one of them */
	size_t i = 0, k = 0;

	while (i < a->n || k < b->n) {
		bool is_a = k == b->n ||
			    (i < a->n &&
			     compare(a->r[i].first_hi, a->r[i].first_lo,
				     b->r[k].first_hi, b->r[k].first_lo) < 0);
		const struct fw_range *r = is_a ? &a->r[i++] : &b->r[k++];

		covers->steps++;
		if (compare(r->first_hi, r->first_lo, next.hi, next.lo) > 0)
			return false;
		if (compare(r->last_hi, r->last_lo, top.hi, top.lo) >= 0)
			return true;
		if (compare(r->last_hi, r->last_lo, next.hi, next.lo) < 0)
			continue;
		next = (struct fw_u128){ r->last_hi, r->last_lo + 1 };
		next.hi += next.lo == 0;
	}
	return false;
}

/* ---- terms --------------------------------------------------------------- */

/* What an address or a number must be. */
struct term {
	const struct fw_ranges *ranges; /* NULL: any */
	bool has_self;
	bool is_negated;
};

static const struct fw_u128 top_v4 = { .lo = UINT32_MAX };
static const struct fw_u128 top_v6 = { UINT64_MAX, UINT64_MAX };
static const struct fw_u128 top_number = { .lo = UINT16_MAX };

static bool is_all(const struct fw_ranges *ranges, struct fw_u128 top)
{
	return fw_ranges_is(ranges, (struct fw_u128){ 0 }, top);
}

/* May the term match an address that is none of this host? */
static bool may_match(const struct term *t, struct fw_u128 top)
{
	if (!t->ranges)
		return true;
	if (t->is_negated)
		return !is_all(t->ranges, top);
	return t->ranges->n > 0 || t->has_self;
}

/* Does the term match everything, whoever has the address? */
static bool matches_all(const struct term *t, struct fw_u128 top)
{
	if (!t->ranges)
		return true;
	if (t->is_negated)
		return t->ranges->n == 0 && !t->has_self;
	return is_all(t->ranges, top);
}

/* As if no address were one of this host. */
static bool ranges_cover(struct fw_covers *covers, const struct term *outer,
			 const struct term *inner, struct fw_u128 top)
{
	const struct fw_ranges *a = inner->ranges;
	const struct fw_ranges *b = outer->ranges;

	if (inner->is_negated) {
		return outer->is_negated ? is_inside(covers, b, a)
					 : fill_all(covers, a, b, top);
	}
	return outer->is_negated ? are_apart(covers, a, b)
				 : is_inside(covers, a, b);
}

static bool term_covers(struct fw_covers *covers, const struct term *outer,
			const struct term *inner, struct fw_u128 top)
{
	covers->steps++;
	if (matches_all(outer, top))
		return true;
	if (!inner->ranges) {
		/* Everything, of this host or not: the outer one is not. */
		return false;
	}
	if (!ranges_cover(covers, outer, inner, top))
		return false;
	/* And if the address is one of this host: `self` is all of them. */
	if (inner->has_self) {
		return inner->is_negated ||
		       (outer->has_self && !outer->is_negated);
	}
	if (!outer->has_self || !outer->is_negated)
		return true;
	/* The outer one matches nothing then. */
	return inner->is_negated ? is_all(inner->ranges, top)
				 : inner->ranges->n == 0;
}

static struct term address_term(const struct fw_program *program, int32_t set,
				bool is_negated, bool is_v6)
{
	const struct fw_ir_set *s = set < 0 ? NULL : &program->sets[set];

	return (struct term){
		.ranges = !s	  ? NULL
			  : is_v6 ? &s->v6
				  : &s->v4,
		.has_self = s && s->has_self,
		.is_negated = is_negated,
	};
}

static struct term number_term(const struct fw_program *program, int32_t set,
			       bool is_negated)
{
	return (struct term){
		.ranges = set < 0 ? NULL : &program->sets[set].port,
		.is_negated = is_negated,
	};
}

/* ---- rows ---------------------------------------------------------------- */

static struct term src_term(const struct fw_program *program,
			    const struct fw_ir_row *row, bool is_v6)
{
	return address_term(program, row->src, row->flags & FW_ROW_NOT_SRC,
			    is_v6);
}

static struct term dst_term(const struct fw_program *program,
			    const struct fw_ir_row *row, bool is_v6)
{
	return address_term(program, row->dst, row->flags & FW_ROW_NOT_DST,
			    is_v6);
}

static struct term sport_term(const struct fw_program *program,
			      const struct fw_ir_row *row)
{
	return number_term(program, row->l4a, row->flags & FW_ROW_NOT_SPORT);
}

static struct term dport_term(const struct fw_program *program,
			      const struct fw_ir_row *row)
{
	return number_term(program, row->l4b, row->flags & FW_ROW_NOT_DPORT);
}

static struct term icmp_term(const struct fw_program *program,
			     const struct fw_ir_row *row, bool is_v6)
{
	return number_term(program, is_v6 ? row->l4b : row->l4a, false);
}

static bool has_ports(const struct fw_ir_row *row)
{
	return !(row->flags & FW_ROW_ICMP) && (row->l4a >= 0 || row->l4b >= 0);
}

static bool can_match(const struct fw_program *program,
		      const struct fw_ir_row *row, bool is_v6)
{
	struct fw_u128 top = is_v6 ? top_v6 : top_v4;
	struct term src = src_term(program, row, is_v6);
	struct term dst = dst_term(program, row, is_v6);
	struct term number;

	if (!may_match(&src, top) || !may_match(&dst, top))
		return false;
	if (row->flags & FW_ROW_ICMP) {
		number = icmp_term(program, row, is_v6);
		return may_match(&number, top_number);
	}
	number = sport_term(program, row);
	if (!may_match(&number, top_number))
		return false;
	number = dport_term(program, row);
	return may_match(&number, top_number);
}

uint8_t fw_row_families(const struct fw_program *program,
			const struct fw_ir_row *row)
{
	uint8_t families = row->families;

	if ((families & FW_FAMILY_IPV4) && !can_match(program, row, false))
		families &= (uint8_t)~FW_FAMILY_IPV4;
	if ((families & FW_FAMILY_IPV6) && !can_match(program, row, true))
		families &= (uint8_t)~FW_FAMILY_IPV6;
	return families;
}

static bool protos_cover(const uint64_t outer[4], const uint64_t inner[4])
{
	uint64_t any = inner[0] | inner[1] | inner[2] | inner[3];
	int i;

	if (!(outer[0] | outer[1] | outer[2] | outer[3]))
		return true;
	for (i = 0; i < 4; i++) {
		if ((any ? inner[i] : UINT64_MAX) & ~outer[i])
			return false;
	}
	return true;
}

static bool match_zones(uint64_t wanted, uint64_t zones, bool is_negated)
{
	return !wanted || ((wanted & zones) != 0) != is_negated;
}

/* A packet is in the zones of some interface of the file, or in none. */
static bool zones_cover(struct fw_covers *covers, uint64_t outer,
			bool is_outer_negated, uint64_t inner,
			bool is_inner_negated)
{
	size_t i;

	if (!outer || (outer == inner && is_outer_negated == is_inner_negated))
		return true;
	for (i = 0; i < covers->n_zones; i++) {
		covers->steps++;
		if (match_zones(inner, covers->zones[i], is_inner_negated) &&
		    !match_zones(outer, covers->zones[i], is_outer_negated))
			return false;
	}
	return true;
}

static bool numbers_cover(struct fw_covers *covers,
			  const struct fw_ir_row *outer,
			  const struct fw_ir_row *inner, bool is_v6)
{
	const struct fw_program *program = covers->program;
	struct term a, b;

	if (outer->flags & FW_ROW_ICMP) {
		if (!(inner->flags & FW_ROW_ICMP))
			return false;
		a = icmp_term(program, outer, is_v6);
		b = icmp_term(program, inner, is_v6);
		return term_covers(covers, &a, &b, top_number);
	}
	if (!has_ports(outer))
		return true;
	/* A packet without ports matches no port term. */
	if (!has_ports(inner))
		return false;
	a = sport_term(program, outer);
	b = sport_term(program, inner);
	if (!term_covers(covers, &a, &b, top_number))
		return false;
	a = dport_term(program, outer);
	b = dport_term(program, inner);
	return term_covers(covers, &a, &b, top_number);
}

static bool family_covers(struct fw_covers *covers,
			  const struct fw_ir_row *outer,
			  const struct fw_ir_row *inner, bool is_v6)
{
	const struct fw_program *program = covers->program;
	struct fw_u128 top = is_v6 ? top_v6 : top_v4;
	struct term a, b;

	if (!numbers_cover(covers, outer, inner, is_v6))
		return false;
	a = src_term(program, outer, is_v6);
	b = src_term(program, inner, is_v6);
	if (!term_covers(covers, &a, &b, top))
		return false;
	a = dst_term(program, outer, is_v6);
	b = dst_term(program, inner, is_v6);
	return term_covers(covers, &a, &b, top);
}

/* Of one direction: a promise decides about all packets. */
static bool ipsec_covers(const struct fw_ir_row *outer,
			 const struct fw_ir_row *inner)
{
	if (!(outer->flags & (FW_ROW_IPSEC | FW_ROW_NOT_IPSEC)) ||
	    fw_row_promises(outer))
		return true;
	if (outer->flags & FW_ROW_NOT_IPSEC)
		return inner->flags & FW_ROW_NOT_IPSEC;
	return inner->flags & FW_ROW_IPSEC && !fw_row_promises(inner) &&
	       (!outer->reqid || outer->reqid == inner->reqid);
}

bool fw_row_covers(struct fw_covers *covers, const struct fw_ir_row *outer,
		   const struct fw_ir_row *inner, uint8_t families)
{
	const uint32_t o = outer->flags;
	const uint32_t i = inner->flags;

	covers->steps++;
	if ((families & ~outer->families) ||
	    !protos_cover(outer->protos, inner->protos) ||
	    !ipsec_covers(outer, inner))
		return false;
	return zones_cover(covers, outer->in_zones, o & FW_ROW_NOT_IN,
			   inner->in_zones, i & FW_ROW_NOT_IN) &&
	       zones_cover(covers, outer->out_zones, o & FW_ROW_NOT_OUT,
			   inner->out_zones, i & FW_ROW_NOT_OUT) &&
	       (!(families & FW_FAMILY_IPV4) ||
		family_covers(covers, outer, inner, false)) &&
	       (!(families & FW_FAMILY_IPV6) ||
		family_covers(covers, outer, inner, true));
}

static bool has_proto(const struct fw_ir_row *row, unsigned int proto)
{
	return row->protos[proto / 64] >> (proto % 64) & 1;
}

bool fw_row_may_be_essential(const struct fw_ir_row *row)
{
	const uint64_t *p = row->protos;

	if (!(p[0] | p[1] | p[2] | p[3]))
		return true;
	return has_proto(row, FW_PROTO_UDP) || has_proto(row, FW_PROTO_ICMP) ||
	       has_proto(row, FW_PROTO_ICMP6);
}

bool fw_row_is_same(const struct fw_ir_row *a, const struct fw_ir_row *b)
{
	const uint32_t flags =
		~(uint32_t)(FW_ROW_LOG | FW_ROW_NAMED | FW_ROW_OFFLOAD |
			    FW_ROW_OFFLOAD_FIRST);

	return a->in_zones == b->in_zones && a->out_zones == b->out_zones &&
	       memcmp(a->protos, b->protos, sizeof(a->protos)) == 0 &&
	       a->src == b->src && a->dst == b->dst && a->l4a == b->l4a &&
	       a->l4b == b->l4b && a->dirs == b->dirs &&
	       a->families == b->families && a->reqid == b->reqid &&
	       (a->flags & flags) == (b->flags & flags);
}

/* ---- the interfaces of a program ----------------------------------------- */

struct member {
	const char *ifname;
	uint64_t zones;
};

static int compare_members(const void *a, const void *b)
{
	return strcmp(((const struct member *)a)->ifname,
		      ((const struct member *)b)->ifname);
}

static size_t collect_members(const struct fw_program *program,
			      struct member *members)
{
	size_t i, k, n = 0;

	for (i = 0; i < program->n_zones; i++) {
		for (k = 0; k < program->zones[i].n; k++) {
			members[n++] = (struct member){
				program->zones[i].members[k].ifname,
				(uint64_t)1 << i
			};
		}
	}
	return n;
}

static int compare_masks(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

int fw_covers_init(struct fw_covers *covers, const struct fw_program *program)
{
	_cleanup_free_ struct member *members = NULL;
	size_t i, n = 0, k = 0;

	*covers = (struct fw_covers){ .program = program };
	for (i = 0; i < program->n_zones; i++)
		n += program->zones[i].n;
	members = calloc(n + 1, sizeof(*members));
	covers->zones = calloc(n + 1, sizeof(*covers->zones));
	if (!members || !covers->zones) {
		fw_covers_done(covers);
		return -ENOMEM;
	}
	n = collect_members(program, members);
	qsort(members, n, sizeof(*members), compare_members);
	/* An interface that is in no zone is possible always: 0. */
	for (i = 0; i < n; i++) {
		if (i == 0 || compare_members(&members[i - 1], &members[i]))
			k++;
		covers->zones[k] |= members[i].zones;
	}
	n = k + 1;
	qsort(covers->zones, n, sizeof(*covers->zones), compare_masks);
	for (i = 1, k = 0; i < n; i++) {
		if (covers->zones[i] != covers->zones[k])
			covers->zones[++k] = covers->zones[i];
	}
	covers->n_zones = k + 1;
	return 0;
}

void fw_covers_done(struct fw_covers *covers)
{
	free(covers->zones);
	*covers = (struct fw_covers){ 0 };
}
