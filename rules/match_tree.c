/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The entries of one slot, and the cuts that lead to few of them.
 *
 * A cut looks at some bits of one byte of the packet; each value of them has its
 * own list. A part that leaves these bits open is in several lists, which is
 * why the copies are counted and limited. Behind a cut a part that matches
 * whatever is left of the packets there hides all later ones.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "match_part.h"
#include "mem.h"

#define SHORT_LIST    4 /* parts that are not worth a cut */
#define COST_OF_CUT   1 /* in entries looked at */
#define ROOM_UNIT     1024
#define PAIRWISE_MAX  32    /* parts that are compared each with each */
#define FAR_RULES     10000 /* more are not worth a look at all bytes */
#define FAR_PARTS     64
#define FAR_COST      3 /* nor is what a cut leaves less than that of */
#define MAX_VALUES    256
#define MAX_COVERING  4
#define NEED_OF_CLASS (0xffu << FW_MATCH_CLASS_SHIFT)

enum dim {
	DIM_SRC,
	DIM_DST,
	DIM_SPORT,
	DIM_DPORT,
	DIM_ICMP,
	DIM_PROTO,
	DIM_MAX,
};

/* Bits of a field, counted from its uppermost one; they are in one byte. */
struct window {
	enum dim dim;
	unsigned int bit, bits;
};

/*
 * What the cuts before a list have found out about packets: bits, and of ports
 * also that they are not below `lo` nor above `hi`.
 */
struct region {
	uint64_t tested[2][2], addr[2][2];
	uint16_t port_tested[DIM_MAX], port[DIM_MAX];
	uint16_t lo[DIM_MAX], hi[DIM_MAX];
};

struct tree {
	struct fw_match_builder *b;
	const struct fw_match_part *parts;
	bool is_v6;
	struct fw_match_depth *depth;
};

/*
 * The values of a window that a part matches; of the first and the last one
 * perhaps not all ports.
 */
struct span {
	uint8_t first, last;
	bool is_first_partial, is_last_partial;
};

/* ---- spans --------------------------------------------------------------- */

static struct span all_values(const struct window *w)
{
	return (struct span){ .last = (uint8_t)((1u << w->bits) - 1) };
}

static struct span address_span(const struct fw_match_part *p,
				const struct window *w)
{
	unsigned int len = p->len[w->dim], mask = (1u << w->bits) - 1, free;
	uint64_t word = p->addr[w->dim][w->bit / 64];
	unsigned int v =
		(unsigned int)(word >> (64 - w->bit % 64 - w->bits)) & mask;

	if (len <= w->bit)
		return all_values(w);
	if (len >= w->bit + w->bits)
		return (struct span){ .first = (uint8_t)v, .last = (uint8_t)v };
	free = (1u << (w->bit + w->bits - len)) - 1;
	return (struct span){
		.first = (uint8_t)(v & ~free),
		.last = (uint8_t)(v | free),
	};
}

/* Can a part tell packets by this field?  What its ports are, if so. */
static bool port_range(const struct fw_match_part *p, enum dim dim,
		       unsigned int *ret_lo, unsigned int *ret_hi)
{
	uint32_t need = dim == DIM_ICMP ? FW_NEED_ICMP : FW_NEED_PORTS;
	int side = dim != DIM_SPORT;

	if (!(p->need & need))
		return false;
	*ret_lo = p->port_lo[side];
	*ret_hi = p->port_hi[side];
	return *ret_lo != 0 || *ret_hi != UINT16_MAX;
}

/* Only what is left of the packets counts. */
static void clip(const struct region *region, enum dim dim, unsigned int *lo,
		 unsigned int *hi)
{
	*lo = *lo > region->lo[dim] ? *lo : region->lo[dim];
	*hi = *hi < region->hi[dim] ? *hi : region->hi[dim];
}

static struct span port_span(const struct fw_match_part *p,
			     const struct window *w,
			     const struct region *region)
{
	unsigned int shift = 16 - w->bit - w->bits;
	unsigned int mask = (1u << w->bits) - 1, lo, hi;

	if (!port_range(p, w->dim, &lo, &hi))
		return all_values(w);
	clip(region, w->dim, &lo, &hi);
	if (lo > hi || lo >> (16 - w->bit) != hi >> (16 - w->bit))
		return all_values(w);
	return (struct span){
		.first = (uint8_t)(lo >> shift & mask),
		.last = (uint8_t)(hi >> shift & mask),
		.is_first_partial = lo & ((1u << shift) - 1),
		.is_last_partial = ~hi & ((1u << shift) - 1),
	};
}

/* One bit only: which of the two do the classes of a part have? */
static struct span proto_span(const struct fw_match_part *p,
			      const struct window *w)
{
	static const uint8_t protos[] = { 6, 17, 1, 58, 47, 50, 132 };
	unsigned int not_in = (p->need & NEED_OF_CLASS) >> FW_MATCH_CLASS_SHIFT;
	struct span s = { .first = 1 };
	size_t i;

	if (!(not_in >> (FW_MATCH_CLASSES - 1) & 1))
		return all_values(w);
	for (i = 0; i < ARRAY_SIZE(protos); i++) {
		uint8_t v = protos[i] >> (7 - w->bit) & 1;

		if (not_in >> fw_match_class(protos[i]) & 1)
			continue;
		s.first = v < s.first ? v : s.first;
		s.last = v > s.last ? v : s.last;
	}
	return s.first <= s.last ? s : all_values(w);
}

static struct span span_of(const struct fw_match_part *p,
			   const struct window *w, const struct region *region)
{
	switch (w->dim) {
	case DIM_SRC:
	case DIM_DST:
		return address_span(p, w);
	case DIM_SPORT:
	case DIM_DPORT:
	case DIM_ICMP:
		return port_span(p, w, region);
	case DIM_PROTO:
		return proto_span(p, w);
	case DIM_MAX:
		break;
	}
	return all_values(w);
}

/* ---- where to cut -------------------------------------------------------- */

/* The first bit by which the prefixes of some parts differ; 128: none. */
static unsigned int first_address_bit(const struct tree *tree,
				      const uint32_t *list, size_t n,
				      const struct region *region, enum dim dim)
{
	const uint64_t *longest = tree->parts[list[0]].addr[dim];
	uint8_t len = tree->parts[list[0]].len[dim];
	uint64_t differ[2] = { 0, 0 };
	size_t i;

	for (i = 0; i < n; i++) {
		const struct fw_match_part *p = &tree->parts[list[i]];
		uint64_t mask[2];

		fw_match_mask128(p->len[dim] < len ? p->len[dim] : len, mask);
		differ[0] |= (p->addr[dim][0] ^ longest[0]) & mask[0];
		differ[1] |= (p->addr[dim][1] ^ longest[1]) & mask[1];
		if (p->len[dim] > len) {
			longest = p->addr[dim];
			len = p->len[dim];
		}
	}
	differ[0] &= ~region->tested[dim][0];
	differ[1] &= ~region->tested[dim][1];
	if (differ[0])
		return (unsigned int)__builtin_clzll(differ[0]);
	if (differ[1])
		return 64 + (unsigned int)__builtin_clzll(differ[1]);
	return 128;
}

/* How many values a byte of the addresses has, of parts that say all of it. */
static unsigned int count_values(const struct tree *tree, const uint32_t *list,
				 size_t n, enum dim dim, unsigned int bit)
{
	uint64_t seen[MAX_VALUES / 64] = { 0 };
	unsigned int values = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		const struct fw_match_part *p = &tree->parts[list[i]];
		uint64_t word = p->addr[dim][bit / 64];
		unsigned int v = (uint8_t)(word >> (56 - bit % 64));

		if (p->len[dim] >= bit + 8)
			seen[v / 64] |= 1ull << v % 64;
	}
	for (i = 0; i < ARRAY_SIZE(seen); i++)
		values += (unsigned int)__builtin_popcountll(seen[i]);
	return values;
}

/*
 * The byte that tells the addresses of few parts apart best, wherever it is; 128: none.
 * Those of one network differ in what is behind it, and so do those of several.
 */
static unsigned int far_address_bit(const struct tree *tree,
				    const uint32_t *list, size_t n,
				    const struct region *region, enum dim dim)
{
	unsigned int bit, found = 128, most = 1;

	for (bit = 0; bit < (tree->is_v6 ? 128u : 32u); bit += 8) {
		uint64_t byte = 0xffull << (56 - bit % 64);
		unsigned int values;

		if (region->tested[dim][bit / 64] & byte)
			continue;
		values = count_values(tree, list, n, dim, bit);
		if (values <= most)
			continue;
		most = values;
		found = bit;
	}
	return found;
}

/* The first bit by which bounds of ports differ; 16: none. */
static unsigned int first_port_bit(const struct tree *tree,
				   const uint32_t *list, size_t n,
				   const struct region *region, enum dim dim)
{
	unsigned int differ = 0, base = 0, lo, hi;
	bool is_first = true;
	size_t i;

	for (i = 0; i < n; i++) {
		if (!port_range(&tree->parts[list[i]], dim, &lo, &hi))
			continue;
		base = is_first ? lo : base;
		is_first = false;
		differ |= (lo ^ base) | (hi ^ base);
	}
	differ &= ~(unsigned int)region->port_tested[dim] & 0xffff;
	return differ ? (unsigned int)__builtin_clz(differ) - 16 : 16;
}

/* Where a cut of a dimension begins; false: it would tell nothing apart. */
static bool place_window(const struct tree *tree, const uint32_t *list,
			 size_t n, const struct region *region, enum dim dim,
			 bool is_second, struct window *w)
{
	w->dim = dim;
	if (is_second && dim == DIM_PROTO)
		return false;
	if (dim == DIM_PROTO) {
		w->bits = 1;
		for (w->bit = 3; w->bit < 8; w->bit += 4) {
			if (!(region->port_tested[dim] & 0x80u >> w->bit))
				return true;
		}
		return false;
	}
	if (dim <= DIM_DST) {
		w->bit = is_second ? far_address_bit(tree, list, n, region, dim)
				   : first_address_bit(tree, list, n, region,
						       dim);
		w->bits = 8 - w->bit % 8;
		return w->bit < 128;
	}
	if (is_second) {
		/* Single ports differ in their lower half, mostly. */
		*w = (struct window){ dim, 8, 8 };
		return !(region->port_tested[dim] & 0xff);
	}
	w->bit = first_port_bit(tree, list, n, region, dim);
	w->bits = 8 - w->bit % 8;
	return w->bit < 16;
}

struct choice {
	struct window w;
	double cost;
};

/* What a cut would do to a list. */
struct effect {
	double length; /* of the lists behind it, as packets find them */
	size_t charge; /* memory in entries: copies and references */
};

/* Where the list of a value is not that of the value before. */
static void mark_changes(const struct span *spans, size_t n, unsigned int shift,
			 bool changes[MAX_VALUES + 2])
{
	size_t i;

	for (i = 0; i < n; i++) {
		unsigned int first = spans[i].first >> shift;
		unsigned int last = spans[i].last >> shift;
		unsigned int rest = (1u << shift) - 1;

		changes[first] = true;
		changes[last + 1] = true;
		if (spans[i].is_first_partial || spans[i].first & rest)
			changes[first + 1] = true;
		if (spans[i].is_last_partial || ~spans[i].last & rest)
			changes[last] = true;
	}
}

/*
 * Half of the packets look like the rules, each of these as many, half are spread
 * over all values. `shift` joins the values of the spans, which are of more bits.
 */
static struct effect effect_of(const struct span *spans, size_t n,
			       unsigned int shift, unsigned int bits)
{
	bool changes[MAX_VALUES + 2] = { false };
	int32_t change[MAX_VALUES + 1] = { 0 };
	/* In integers: the sums of floating point wait for each other. */
	size_t i, values = 1ul << bits, written = 0;
	uint64_t alike = 0, size = 0, before[MAX_VALUES + 1];

	mark_changes(spans, n, shift, changes);
	for (i = 0; i < n; i++) {
		change[spans[i].first >> shift]++;
		change[(spans[i].last >> shift) + 1]--;
	}
	before[0] = 0;
	for (i = 0; i < values; i++) {
		size += (uint64_t)(int64_t)change[i];
		before[i + 1] = before[i] + size;
		written += changes[i] * size;
	}
	for (i = 0; i < n; i++) {
		unsigned int first = spans[i].first >> shift;
		unsigned int last = spans[i].last >> shift;

		alike += (before[last + 1] - before[first]) *
			 (65536 / (last + 1 - first));
	}
	return (struct effect){
		.length = ((double)alike / (double)n / 65536 +
			   (double)before[values] / (double)values) /
			  2,
		.charge = written - n + values / 4,
	};
}

static void try_window(const struct tree *tree, const uint32_t *list, size_t n,
		       size_t room, const struct region *region,
		       struct window w, struct span *spans, struct choice *best)
{
	unsigned int most = w.bits, shift;
	size_t i;

	for (i = 0; i < n; i++)
		spans[i] = span_of(&tree->parts[list[i]], &w, region);
	for (shift = 0; shift < most; shift++) {
		struct effect e = effect_of(spans, n, shift, most - shift);
		double taken = (double)e.charge / (double)(room + 1);
		double cost;

		if (e.charge > room)
			continue;
		/* What is left of the room shortens the lists further. */
		cost = e.length / (1.05 - taken) + taken + COST_OF_CUT;
		if (cost >= best->cost)
			continue;
		best->cost = cost;
		best->w = (struct window){ w.dim, w.bit, most - shift };
	}
}

/* Few parts of few rules, and no cut yet that leaves one or two of them. */
static bool looks_far(const struct tree *tree, size_t n,
		      const struct choice *best)
{
	return tree->b->program->n_rows <= FAR_RULES && n <= FAR_PARTS &&
	       best->cost > FAR_COST;
}

/* The best cut; false: none is worth it. */
static bool choose_cut(const struct tree *tree, const uint32_t *list, size_t n,
		       size_t room, const struct region *region,
		       struct span *spans, struct window *ret)
{
	struct choice best = { .cost = (double)n * 0.8 };
	struct window w;
	unsigned int dim;

	for (dim = 0; dim < 2 * DIM_MAX; dim++) {
		if (dim >= DIM_MAX && dim % DIM_MAX <= DIM_DST &&
		    !looks_far(tree, n, &best))
			continue;
		if (place_window(tree, list, n, region,
				 (enum dim)(dim % DIM_MAX), dim >= DIM_MAX, &w))
			try_window(tree, list, n, room, region, w, spans,
				   &best);
	}
	*ret = best.w;
	return best.w.bits != 0;
}

/* ---- what can never match ------------------------------------------------ */

static bool same_term(const struct tree *tree, const struct fw_match_part *a,
		      const struct fw_match_part *b)
{
	if (!(a->need & FW_MATCH_HAS_TERM))
		return true;
	return (b->need & FW_MATCH_HAS_TERM) &&
	       tree->b->terms[a->rule] == tree->b->terms[b->rule];
}

/* Does `a` match whatever `b` matches? */
static bool hides(const struct tree *tree, const struct fw_match_part *a,
		  const struct fw_match_part *b)
{
	int side;

	if (a->need & ~b->need)
		return false;
	for (side = 0; side < 2; side++) {
		uint64_t mask[2];

		fw_match_mask128(a->len[side], mask);
		if (a->len[side] > b->len[side] ||
		    (a->addr[side][0] ^ b->addr[side][0]) & mask[0] ||
		    (a->addr[side][1] ^ b->addr[side][1]) & mask[1] ||
		    a->port_lo[side] > b->port_lo[side] ||
		    a->port_hi[side] < b->port_hi[side])
			return false;
	}
	return same_term(tree, a, b);
}

static size_t drop_hidden(const struct tree *tree, uint32_t *list, size_t n)
{
	size_t i, k, kept = 0;

	if (n > PAIRWISE_MAX)
		return n;
	for (i = 0; i < n; i++) {
		for (k = 0; k < kept; k++) {
			if (hides(tree, &tree->parts[list[k]],
				  &tree->parts[list[i]]))
				break;
		}
		if (k == kept)
			list[kept++] = list[i];
	}
	return kept;
}

/* Does a part match all packets of a region that fulfil its needs? */
static bool covers(const struct fw_match_part *p, const struct region *region)
{
	int side;

	if (p->need & FW_MATCH_HAS_TERM)
		return false;
	for (side = 0; side < 2; side++) {
		uint64_t mask[2];

		fw_match_mask128(p->len[side], mask);
		if (mask[0] & ~region->tested[side][0] ||
		    mask[1] & ~region->tested[side][1])
			return false;
		if ((p->addr[side][0] ^ region->addr[side][0]) & mask[0] ||
		    (p->addr[side][1] ^ region->addr[side][1]) & mask[1])
			return false;
	}
	for (side = DIM_SPORT; side <= DIM_ICMP; side++) {
		unsigned int lo, hi, first = region->port[side];
		unsigned int last =
			first | (~region->port_tested[side] & 0xffffu);

		clip(region, (enum dim)side, &first, &last);
		if (port_range(p, (enum dim)side, &lo, &hi) &&
		    (first < lo || last > hi))
			return false;
	}
	return true;
}

/* The parts of a list that are in a value of the window, as far as reached. */
static size_t select_parts(const struct tree *tree, const uint32_t *list,
			   size_t n, const struct span *spans,
			   unsigned int value, const struct region *region,
			   uint32_t *to)
{
	uint32_t covering[MAX_COVERING];
	size_t i, k, n_covering = 0, kept = 0;

	for (i = 0; i < n; i++) {
		const struct fw_match_part *p = &tree->parts[list[i]];

		if (value < spans[i].first || value > spans[i].last)
			continue;
		for (k = 0; k < n_covering && covering[k] & ~p->need; k++)
			continue;
		if (k < n_covering)
			continue;
		to[kept++] = list[i];
		if (n_covering < MAX_COVERING && covers(p, region))
			covering[n_covering++] = p->need;
	}
	return kept;
}

/* ---- writing ------------------------------------------------------------- */

/* Byte of struct fw_key, bit and bits of a window. */
static uint32_t encode_cut(const struct tree *tree, const struct window *w)
{
	uint32_t byte = 0, shift = 8 - w->bit % 8 - w->bits;
	uint32_t upper = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;

	switch (w->dim) {
	case DIM_SRC:
		byte = offsetof(struct fw_key, saddr);
		break;
	case DIM_DST:
		byte = offsetof(struct fw_key, daddr);
		break;
	case DIM_SPORT:
		byte = offsetof(struct fw_key, sport);
		break;
	case DIM_DPORT:
		byte = offsetof(struct fw_key, dport);
		break;
	case DIM_ICMP:
		byte = offsetof(struct fw_key, icmp);
		break;
	case DIM_PROTO:
	case DIM_MAX:
		byte = offsetof(struct fw_key, proto);
		break;
	}
	if (w->dim <= DIM_DST)
		byte += (tree->is_v6 ? 0 : 12) + w->bit / 8;
	else if (w->dim <= DIM_ICMP)
		byte += (w->bit < 8) == upper;
	return byte << FW_CUT_BYTE_SHIFT | shift << FW_CUT_BIT_SHIFT |
	       (w->bits - 1);
}

/* Leave the ports that have these values in a window behind known bits. */
static void narrow_range(struct region *region, const struct window *w,
			 unsigned int first, unsigned int last)
{
	unsigned int before = 0xffff0000u >> w->bit & 0xffff;
	unsigned int shift = 16 - w->bit - w->bits, lo, hi;

	if ((region->port_tested[w->dim] & before) != before)
		return;
	lo = (region->port[w->dim] & before) | first << shift;
	hi = (region->port[w->dim] & before) | last << shift |
	     ((1u << shift) - 1);
	clip(region, w->dim, &lo, &hi);
	region->lo[w->dim] = (uint16_t)lo;
	region->hi[w->dim] = (uint16_t)hi;
}

/* Leave the packets that have one of these values in a window. */
static void narrow(struct region *region, const struct window *w,
		   unsigned int first, unsigned int last)
{
	unsigned int open = 0, bits, value, mask, shift;
	size_t word = w->bit / 64;

	/* Bits that all of them have in common. */
	while (first >> open != last >> open)
		open++;
	bits = w->bits - open;
	value = first >> open;
	mask = (1u << bits) - 1;
	if (w->dim <= DIM_DST) {
		shift = 64 - w->bit % 64 - bits;
		if (bits == 0)
			return;
		region->tested[w->dim][word] |= (uint64_t)mask << shift;
		region->addr[w->dim][word] &= ~((uint64_t)mask << shift);
		region->addr[w->dim][word] |= (uint64_t)value << shift;
		return;
	}
	if (w->dim <= DIM_ICMP)
		narrow_range(region, w, first, last);
	shift = (w->dim == DIM_PROTO ? 8 : 16) - w->bit - bits;
	region->port_tested[w->dim] |= (uint16_t)(mask << shift);
	region->port[w->dim] =
		(uint16_t)((region->port[w->dim] & ~(mask << shift)) |
			   value << shift);
}

static int write_tree(struct tree *tree, uint32_t *list, size_t n, size_t room,
		      const struct region *region, uint32_t cuts,
		      __u64 *ret_ref);

/* Room for one level. */
struct level {
	uint32_t *list;
	struct span *spans;
};

static void level_done(struct level *level)
{
	free(level->list);
	free(level->spans);
}

static int level_init(struct level *level, size_t n)
{
	level->list = malloc(n * sizeof(*level->list));
	level->spans = malloc(n * sizeof(*level->spans));
	return level->list && level->spans ? 0 : -ENOMEM;
}

/* The lists behind a cut; neighbours that are the same are written once. */
static int write_values(struct tree *tree, const uint32_t *list, size_t n,
			size_t room, const struct region *region,
			const struct window *w, struct level *level,
			uint32_t off, uint32_t cuts)
{
	bool changes[MAX_VALUES + 2] = { false };
	unsigned int v, next;
	int r;

	mark_changes(level->spans, n, 0, changes);
	changes[1u << w->bits] = true;
	for (v = 0; v < 1u << w->bits; v = next) {
		struct region inner = *region;
		__u64 ref = 0;
		size_t kept;

		for (next = v + 1; !changes[next]; next++)
			continue;
		narrow(&inner, w, v, next - 1);
		kept = select_parts(tree, list, n, level->spans, v, &inner,
				    level->list);
		if (!kept)
			continue;
		r = write_tree(tree, level->list, kept, kept * room / ROOM_UNIT,
			       &inner, cuts, &ref);
		if (r < 0)
			return r;
		for (; v < next; v++)
			memcpy(fw_bytes_at(tree->b->bytes, off + v * 8), &ref,
			       sizeof(ref));
	}
	return 0;
}

static int write_cut(struct tree *tree, const uint32_t *list, size_t n,
		     size_t room, const struct region *region,
		     const struct window *w, struct level *level, uint32_t cuts,
		     __u64 *ret_ref)
{
	struct effect effect;
	uint32_t off;
	size_t i;

	off = fw_bytes_reserve(tree->b->bytes, 8ul << w->bits, FW_REF_ALIGN);
	if (off == FW_BYTES_FAILED)
		return -ENOMEM;
	*ret_ref = fw_match_ref(FW_REF_CUT, off, tree->parts[list[0]].rule) |
		   (__u64)encode_cut(tree, w) << FW_REF_EXTRA_SHIFT;
	for (i = 0; i < n; i++)
		level->spans[i] = span_of(&tree->parts[list[i]], w, region);
	effect = effect_of(level->spans, n, 0, w->bits);
	room -= effect.charge < room ? effect.charge : room;
	/* What is left, for each part of the lists behind the cut. */
	room = room * ROOM_UNIT / (n + effect.charge);
	return write_values(tree, list, n, room, region, w, level, off,
			    cuts + 1);
}

static int write_tree(struct tree *tree, uint32_t *list, size_t n, size_t room,
		      const struct region *region, uint32_t cuts,
		      __u64 *ret_ref)
{
	__attribute__((cleanup(level_done))) struct level level = { 0 };
	struct window w = { 0 };
	int r;

	n = drop_hidden(tree, list, n);
	if (n <= SHORT_LIST || cuts == FW_MATCH_MAX_CUTS)
		return fw_match_add_list(tree->b, tree->is_v6, tree->parts,
					 list, n, ret_ref, tree->depth);
	r = level_init(&level, n);
	if (r < 0)
		return r;
	if (!choose_cut(tree, list, n, room, region, level.spans, &w))
		return fw_match_add_list(tree->b, tree->is_v6, tree->parts,
					 list, n, ret_ref, tree->depth);
	return write_cut(tree, list, n, room, region, &w, &level, cuts,
			 ret_ref);
}

int fw_match_add_tree(struct fw_match_builder *b, bool is_v6,
		      const struct fw_match_part *parts, uint32_t *list,
		      size_t n, size_t room, __u64 *ret_ref,
		      struct fw_match_depth *depth)
{
	struct tree tree = {
		.b = b,
		.parts = parts,
		.is_v6 = is_v6,
		.depth = depth,
	};
	struct region region = { 0 };

	memset(region.hi, 0xff, sizeof(region.hi));
	return write_tree(&tree, list, n, room, &region, 0, ret_ref);
}
