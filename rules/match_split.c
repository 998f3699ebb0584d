/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Chains that begin with rules for whole sets of addresses.
 *
 * "drop from @blocked" before all others asks each packet for the set, so it is asked
 * once and first: members have a chain of their own, in which the rule has no
 * term, all others one without the rule.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "addrhash.h"
#include "match_part.h"
#include "mem.h"

#define MOST_FOR_MEMBERS 16 /* parts, for most of them are there twice */

/* The parts of a chain as members and as others see them. */
struct split {
	const struct fw_match_builder *b;
	uint32_t term; /* its set is what the chain is split by */
	int side;
	struct fw_match_chain chains[2]; /* others, members */
};

static void split_done(struct split *s)
{
	free(s->chains[0].parts);
	free(s->chains[1].parts);
}

static bool has_all_ports(const struct fw_match_part *p)
{
	return (p->port_lo[0] | p->port_lo[1]) == 0 &&
	       (p->port_hi[0] & p->port_hi[1]) == UINT16_MAX;
}

/* Is a term no more than one set?  Of sources or destinations. */
static bool is_one_set(const struct fw_match_term *t, int *ret_side)
{
	struct fw_match_term one = { .src = t->src, .flags = FW_TERM_SRC };

	*ret_side = t->flags == FW_TERM_DST;
	if (*ret_side)
		one = (struct fw_match_term){
			.dst = t->dst,
			.flags = FW_TERM_DST,
		};
	return memcmp(t, &one, sizeof(one)) == 0;
}

/* Does nearly each packet have to be asked for the set of a part? */
static bool asks_all(const struct fw_match_builder *b,
		     const struct fw_match_part *p, int *ret_side)
{
	const uint32_t few = ~(uint32_t)(FW_MATCH_HAS_TERM | FW_NEED_PLAIN) &
			     ((1u << FW_MATCH_ZONES_SHIFT) - 1);

	return p->need & FW_MATCH_HAS_TERM && !(p->need & few) &&
	       has_all_ports(p) &&
	       is_one_set(fw_bytes_at(b->bytes, b->terms[p->rule]), ret_side) &&
	       p->len[!*ret_side] == 0;
}

static bool has_term(const struct split *s, const struct fw_match_part *p)
{
	return p->need & FW_MATCH_HAS_TERM && s->b->terms[p->rule] == s->term;
}

/* What the part is for members: the prefixes around the set say nothing more. */
static struct fw_match_part for_member(const struct split *s,
				       const struct fw_match_part *p)
{
	struct fw_match_part to = *p;

	if (has_term(s, p)) {
		to.need &= ~(uint32_t)FW_MATCH_HAS_TERM;
		to.len[s->side] = 0;
		memset(to.addr[s->side], 0, sizeof(to.addr[s->side]));
	}
	return to;
}

static int append(struct fw_match_chain *chain, const struct fw_match_part *p)
{
	struct fw_match_part *parts;

	parts = fw_mem_grow(chain->parts, chain->n, sizeof(*parts));
	if (!parts)
		return -ENOMEM;
	chain->parts = parts;
	parts[chain->n++] = *p;
	return 0;
}

/* 0, -E2BIG if too many parts would be there twice, or -ENOMEM. */
static int take_members(struct split *s, const struct fw_match_chain *chain)
{
	struct fw_match_chain *to = &s->chains[1];
	size_t i;
	int r;

	for (i = 0; i < chain->n; i++) {
		struct fw_match_part p = for_member(s, &chain->parts[i]);

		/* prefixes around one set, which say nothing now */
		if (to->n && memcmp(&to->parts[to->n - 1], &p, sizeof(p)) == 0)
			continue;
		if (to->n == MOST_FOR_MEMBERS)
			return -E2BIG;
		r = append(to, &p);
		if (r < 0)
			return r;
		if (!p.need && !p.len[0] && !p.len[1] && has_all_ports(&p))
			break; /* nothing gets past it */
	}
	return 0;
}

static int take_others(struct split *s, const struct fw_match_chain *chain)
{
	size_t i;
	int r;

	for (i = 0; i < chain->n; i++) {
		if (has_term(s, &chain->parts[i]))
			continue;
		r = append(&s->chains[0], &chain->parts[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

/* 1 if the chain is split, 0 if it had better not be, or -ENOMEM. */
static int split(struct split *s, const struct fw_match_chain *chain)
{
	size_t i;
	int r;

	for (i = 0; i < chain->n && i < MOST_FOR_MEMBERS; i++) {
		if (asks_all(s->b, &chain->parts[i], &s->side))
			break;
	}
	if (i == chain->n || i == MOST_FOR_MEMBERS)
		return 0;
	s->term = s->b->terms[chain->parts[i].rule];
	r = take_members(s, chain);
	if (r == 0)
		r = take_others(s, chain);
	return r == 0 ? 1 : r == -E2BIG ? 0 : r;
}

/* Are members dropped in silence by the first rule, which asks for no more than a zone? */
static void say_drop(const struct split *s, struct fw_match_split *out)
{
	const uint32_t all_zones = ~0u << FW_MATCH_ZONES_SHIFT;
	const struct fw_match_part *p = s->chains[1].parts;
	const struct fw_ir_row *row = &s->b->program->rows[p->rule];
	const struct fw_match_zones *z = NULL;

	if (row->verdict != FW_DROP || !(row->flags & FW_ROW_STATELESS) ||
	    row->flags & FW_ROW_LOG || p->need & ~all_zones ||
	    p->need & (p->need - 1) || p->len[0] || p->len[1] ||
	    !has_all_ports(p))
		return;
	if (p->need)
		z = &s->b->zones[__builtin_ctz(p->need) - FW_MATCH_ZONES_SHIFT];
	if (z && z->is_negated)
		return;
	out->is_drop = 1;
	out->slot = s->b->slots[p->rule];
	out->zones = z ? z->zones : 0;
}

static int write_split(struct fw_match_builder *b, bool is_v6,
		       const struct split *s, uint32_t *ret_off)
{
	const struct fw_match_term *t = fw_bytes_at(b->bytes, s->term);
	struct fw_match_split out = {
		.set = s->side ? t->dst : t->src,
		.is_dst = (uint32_t)s->side,
	};
	uint32_t off;
	size_t i;
	int r;

	off = fw_bytes_reserve(b->bytes, sizeof(out), 16);
	if (off == FW_BYTES_FAILED)
		return -ENOMEM;
	for (i = 0; i < ARRAY_SIZE(s->chains); i++) {
		r = fw_match_add_tables(b, is_v6, &s->chains[i],
					&out.tables[i]);
		if (r < 0)
			return r;
	}
	say_drop(s, &out);
	memcpy(fw_bytes_at(b->bytes, off), &out, sizeof(out));
	*ret_off = off | FW_CHAIN_SPLIT;
	return 0;
}

int fw_match_add_chain(struct fw_match_builder *b, bool is_v6,
		       const struct fw_match_chain *chain, uint32_t *ret_off)
{
	__attribute__((cleanup(split_done))) struct split s = { .b = b };
	int r = split(&s, chain);

	if (r < 0)
		return r;
	return r ? write_split(b, is_v6, &s, ret_off)
		 : fw_match_add_tables(b, is_v6, chain, ret_off);
}

static const struct fw_match_split *split_at(const struct fw_match_builder *b,
					     uint32_t chain)
{
	return chain & FW_CHAIN_SPLIT
		       ? fw_bytes_at(b->bytes, chain & ~FW_CHAIN_SPLIT)
		       : NULL;
}

/* Members are dropped in this direction. */
static void add_front(struct fw_match_front *front, int direction,
		      const struct fw_match_split *s)
{
	if (!s || !s->is_drop)
		return;
	front->set = s->set;
	front->is_dst = s->is_dst;
	front->slot[direction] = s->slot;
	front->zones[direction] = s->zones;
}

/* A hash of a set, if it is of few IPv4 addresses. */
static int add_hash(struct fw_match_builder *b, uint32_t set,
		    struct fw_addrset_hash *ret)
{
	size_t i = 0;

	while (b->sets[i] != set)
		i++;
	return fw_addrhash_build(&b->program->sets[i].v4, b->bytes, ret);
}

int fw_match_add_front(struct fw_match_builder *b,
		       const struct fw_match_head *head, bool is_v6,
		       struct fw_match_front *ret)
{
	uint32_t in = head->chain[FW_MATCH_CHAIN(1, is_v6, FW_DIR_IN)];
	uint32_t forward =
		head->chain[FW_MATCH_CHAIN(1, is_v6, FW_DIR_FORWARD)];
	const struct fw_match_split *i = split_at(b, in);
	const struct fw_match_split *f = split_at(b, forward);

	*ret = (struct fw_match_front){ .set = 0 };
	if (i && f && (i->set != f->set || i->is_dst != f->is_dst))
		return 0;
	add_front(ret, 0, i);
	add_front(ret, 1, f);
	return ret->set && !is_v6 ? add_hash(b, ret->set, &ret->few) : 0;
}
