/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Sets of addresses in the form that programs in the kernel search:
 * kern/addrset_abi.h says what is built here.
 *
 * Boundary 2i is the first address of range i, boundary 2i + 1 the address
 * behind its last one. They are never stored as such. IPv4 addresses are the
 * upper half of a number whose lower half is 0.
 */
#include "addrset.h"

#include <errno.h>
#include <string.h>

#include "kern/addrset_abi.h"
#include "ranges.h"

/* Leaves of a node have this many words on average, or fewer. */
#define LEAF_TARGET 4

/* A node for clusters has at most so many entries for each one in use. */
#define SPARSE 4

/*
 * Direct leaves take so many bytes for each member, or fewer, and to so many buckets one
 * may have other members, or too many.
 */
#define DIRECT_ROOM 16
#define DIRECT_RARE 16

/* 2^20 entries are 4 MiB. */
#define MAX_BITS 20

struct build {
	const struct fw_range *r;
	struct fw_u128 end; /* behind the last address of the family */
	struct fw_bytes *bytes;
	size_t n; /* boundaries, without one that is `end` */
	uint32_t set;
	bool is_v4;
};

/* A stretch of boundaries: from `i` up to, not including, `j`. */
struct stretch {
	size_t i, j;
};

static struct fw_u128 bound(const struct build *b, size_t i)
{
	const struct fw_range *r = &b->r[i / 2];
	struct fw_u128 v;

	if (i >= b->n)
		return b->end;
	if (b->is_v4) {
		v.hi = i % 2 ? r->last_lo + 1 : r->first_lo;
		v.lo = 0;
	} else if (i % 2 == 0) {
		v = (struct fw_u128){ r->first_hi, r->first_lo };
	} else {
		v = (struct fw_u128){ r->last_hi + (r->last_lo == UINT64_MAX),
				      r->last_lo + 1 };
	}
	return v;
}

static uint64_t half(const struct build *b, bool is_low, size_t i)
{
	const struct fw_u128 v = bound(b, i);

	return is_low ? v.lo : v.hi;
}

static uint32_t ref_to(const struct build *b, enum fw_addrset_kind kind,
		       uint32_t words, uint32_t off)
{
	return (uint32_t)kind << 30 | words << 25 | (off - b->set) / 8;
}

/* Nothing between these addresses: all of them are members, or none. */
static uint32_t constant(bool inside)
{
	return (uint32_t)(inside ? FW_ADDRSET_INSIDE : FW_ADDRSET_OUTSIDE)
	       << 30;
}

/* The offset of `size` new bytes that an entry can refer to. */
static int reserve(const struct build *b, size_t size, uint32_t *ret_off)
{
	const size_t old_size = b->bytes->size;
	uint32_t off = fw_bytes_reserve(b->bytes, size, 8);

	if (off == FW_BYTES_FAILED)
		return size > FW_BYTES_MAX - old_size ? -E2BIG : -ENOMEM;
	if ((off - b->set) / 8 > FW_ADDRSET_MAX_OFF)
		return -E2BIG;
	*ret_off = off;
	return 0;
}

/*
 * Are the members all single addresses (or blocks of `unit`, whose lowest bits
 * no boundary has), and the first and last ones not cut off by the bucket, which
 * begins at `start`?  Then *ret_i is the first boundary that begins one.
 */
static bool is_single(const struct build *b, struct stretch s,
		      struct fw_u128 start, struct fw_u128 unit, size_t *ret_i)
{
	size_t i;

	if (s.i % 2) {
		struct fw_u128 v = bound(b, s.i);

		if (s.i == s.j || v.hi != start.hi || v.lo != start.lo)
			return false;
		s.i++;
	}
	for (i = s.i; i < s.j; i += 2) {
		struct fw_u128 v = bound(b, i);
		struct fw_u128 next = bound(b, i + 1);

		if (next.lo - v.lo != unit.lo ||
		    next.hi - v.hi - (next.lo < v.lo) != unit.hi)
			return false;
	}
	*ret_i = s.i;
	return true;
}

/* How boundaries become lanes. */
struct lanes {
	uint64_t start; /* of the bucket, as a half */
	uint64_t filler;
	size_t step; /* 1, or 2: only the first of each member */
};

/* The words of a leaf. */
static int write_lanes(const struct build *b,
		       const struct fw_addrset_node *node, struct stretch s,
		       const struct lanes *lanes, uint32_t *ret_off)
{
	const uint32_t width = node->top + 1u, per_word = 64 / width;
	const size_t n = (s.j - s.i + lanes->step - 1) / lanes->step;
	const size_t words = (n + per_word - 1) / per_word;
	uint64_t *word;
	size_t i;
	int r;

	r = reserve(b, words * 8, ret_off);
	if (r < 0)
		return r;
	word = fw_bytes_at(b->bytes, *ret_off);
	for (i = 0; i < words * per_word; i++) {
		uint64_t v = lanes->filler;

		if (i < n)
			v = (half(b, node->is_low, s.i + i * lanes->step) -
			     lanes->start) >>
			    node->drop;
		word[i / per_word] |= v << (i % per_word * width);
	}
	return 0;
}

static size_t words_of(const struct fw_addrset_node *node, size_t lanes)
{
	const size_t per_word = 64 / (node->top + 1u);

	return (lanes + per_word - 1) / per_word;
}

/* A leaf of lanes that are members. */
static int build_singles(const struct build *b,
			 const struct fw_addrset_node *node, struct stretch s,
			 uint64_t start, uint32_t *ret_entry)
{
	const size_t words = words_of(node, (s.j - s.i + 1) / 2);
	struct lanes lanes = { .start = start, .step = 2 };
	uint32_t off;
	int r;

	/* Once more, which makes no difference. */
	lanes.filler = (half(b, node->is_low, s.i) - start) >> node->drop;
	r = write_lanes(b, node, s, &lanes, &off);
	if (r < 0)
		return r;
	*ret_entry = ref_to(b, FW_ADDRSET_SINGLE, (uint32_t)words, off);
	return 0;
}

/* A leaf of lanes that are boundaries. */
static int build_bounds(const struct build *b,
			const struct fw_addrset_node *node, struct stretch s,
			uint64_t start, uint32_t *ret_entry)
{
	const struct lanes lanes = {
		.start = start,
		.filler = 1ull << node->top, /* above any address */
		.step = 1,
	};
	const size_t words = words_of(node, s.j - s.i);
	uint32_t off;
	int r;

	r = write_lanes(b, node, s, &lanes, &off);
	if (r < 0)
		return r;
	*ret_entry = ref_to(b, s.i % 2 ? FW_ADDRSET_INSIDE : FW_ADDRSET_OUTSIDE,
			    (uint32_t)words, off);
	return 0;
}

/* A leaf of every `step`th boundary, whole. */
static int build_wide(const struct build *b, struct stretch s, size_t step,
		      uint32_t what, uint32_t *ret_entry)
{
	const uint32_t n = (uint32_t)((s.j - s.i + step - 1) / step);
	uint64_t *word;
	uint32_t off;
	size_t i;
	int r;

	r = reserve(b, n * sizeof(struct fw_u128), &off);
	if (r < 0)
		return r;
	word = fw_bytes_at(b->bytes, off);
	for (i = s.i; i < s.j; i += step) {
		const struct fw_u128 v = bound(b, i);

		*word++ = v.hi;
		*word++ = v.lo;
	}
	*ret_entry = ref_to(b, FW_ADDRSET_REF, what + n, off);
	return 0;
}

/* What decides how a node selects. */
struct shape {
	uint64_t all;  /* the common bits and more: all boundaries or-ed */
	size_t n;      /* boundaries compared by lanes */
	size_t n_wide; /* those that need both halves */
	uint32_t left; /* lowest bits in which boundaries differ */
	/* How many differ from the one before first in this bit; [64]: in none. */
	size_t differ[65];
	size_t blocks[64]; /* members that are 2^i halves, beginning with one */
};

static uint32_t bits_of(uint64_t v)
{
	return v ? 64 - (uint32_t)__builtin_clzll(v) : 0;
}

/* A member, from its first half up to, not including, `end`. */
static void count_block(struct shape *shape, uint64_t first, uint64_t end)
{
	const uint64_t size = end - first;

	if (size && !(size & (size - 1)))
		shape->blocks[bits_of(size) - 1]++;
}

static struct shape measure(const struct build *b, struct stretch s,
			    bool is_low)
{
	struct shape shape = { 0 };
	uint64_t last = half(b, is_low, s.i);
	size_t i;

	for (i = s.i; i < s.j; i++) {
		const struct fw_u128 v = bound(b, i);
		const uint64_t value = is_low ? v.lo : v.hi;

		if (!is_low && v.lo) {
			shape.n_wide++;
		} else {
			shape.n++;
			shape.all |= value;
		}
		shape.differ[(bits_of(value ^ last) + 64) % 65]++;
		if (i % 2)
			count_block(&shape, last, value);
		last = value;
	}
	shape.left = bits_of(half(b, is_low, s.i) ^ half(b, is_low, s.j - 1));
	return shape;
}

/* Lowest bits that no boundary has, of at most `shift`. */
static uint32_t drop_of(const struct shape *shape, uint32_t shift)
{
	uint32_t zeros =
		shape->all ? (uint32_t)__builtin_ctzll(shape->all) : 64;

	return zeros < shift ? zeros : shift;
}

static uint32_t lane_of(const struct shape *shape, uint32_t bits)
{
	const uint32_t shift = shape->left - bits;
	const uint32_t width = shift - drop_of(shape, shift);

	return width <= 15 ? 16 : width <= 31 ? 32 : 64;
}

static size_t words_at(const struct shape *shape, uint32_t bits)
{
	const uint32_t drop = drop_of(shape, 63);
	size_t n = shape->n;

	if (shape->blocks[drop] >= n / 2 - n / 64) /* nearly all are single */
		n /= 2;
	return n * lane_of(shape, bits) / 64 + shape->n_wide;
}

/*
 * As many as leave few words to each bucket in use, if the entries then take
 * no more room than half the words; else, where boundaries come in clusters, as
 * many as leave enough buckets in use. A few more if narrower lanes pay for them.
 */
static uint32_t choose_bits(const struct shape *shape, uint32_t min_bits)
{
	const uint32_t max = shape->left < MAX_BITS ? shape->left : MAX_BITS;
	uint32_t bits = min_bits, i, more;
	size_t used = 1, words;

	for (i = 0; i <= max; i++) {
		if (i)
			used += shape->differ[shape->left - i];
		if (i < min_bits)
			continue;
		words = words_at(shape, i);
		if (1ull << i <= SPARSE * used ||
		    (words <= LEAF_TARGET * used && 1ull << i <= words))
			bits = i;
		if (words <= LEAF_TARGET * used)
			break;
	}
	for (more = bits + 1; more <= max && more <= bits + 3; more++) {
		uint32_t saved = lane_of(shape, bits) - lane_of(shape, more);

		if (4ull << more <= shape->n * saved / 8)
			return more;
	}
	return bits;
}

/* Of a node with `depth` others above it. */
static uint32_t min_bits(const struct shape *shape, unsigned int depth)
{
	uint32_t bits = FW_ADDRSET_MIN_BITS - (depth <= FW_ADDRSET_FREE);

	if (depth)
		return shape->left < bits ? shape->left : bits;
	return shape->left == 64; /* a shift by 64 is none */
}

static void shape_node(const struct build *b, struct stretch s, bool is_low,
		       unsigned int depth, struct fw_addrset_node *node)
{
	const struct shape shape = measure(b, s, is_low);
	const uint32_t bits = choose_bits(&shape, min_bits(&shape, depth));
	const uint32_t shift = shape.left - bits;
	const uint32_t lane = lane_of(&shape, bits);

	node->first = half(b, is_low, s.i) >> shift >> bits << bits;
	node->lanes = lane == 16   ? 0x0001000100010001u
		      : lane == 32 ? 0x0000000100000001u
				   : 1;
	node->span = 1u << bits;
	node->shift = (uint8_t)shift;
	node->drop = (uint8_t)drop_of(&shape, shift);
	node->top = (uint8_t)(lane - 1);
	node->is_low = is_low;
	node->is_before = s.i % 2;
	node->is_behind = s.j % 2;
}

/* ---- direct roots --------------------------------------------------------- */

#define DIRECT_BYTES (8 * FW_ADDRSET_DIRECT_WORDS)

static size_t direct_lanes(const struct fw_addrset_node *node)
{
	return FW_ADDRSET_DIRECT_WORDS * 64 / (node->top + 1u);
}

/* Do next to all buckets have a leaf of single addresses, and no more than fit? */
static bool is_even(const struct build *b, const struct fw_addrset_node *node)
{
	const size_t most = direct_lanes(node);
	size_t used = 0, others = 0, i = 0, n;

	while (i < b->n) {
		const uint64_t bucket = half(b, false, i) >> node->shift;
		bool is_other = false;

		for (n = 0; i < b->n; i += 2, n++) {
			const uint64_t first = half(b, false, i);

			if (first >> node->shift != bucket)
				break;
			is_other |= half(b, false, i + 1) - first != 1;
		}
		used++;
		others += is_other || n > most;
	}
	return others <= used / DIRECT_RARE;
}

/* With lanes so wide, as many buckets as leave room in each of them. */
static bool try_direct(const struct build *b, uint32_t lane,
		       struct fw_addrset_node *node)
{
	const size_t members = (b->n + 1) / 2;
	const uint64_t first = half(b, false, 0);
	const uint32_t left = bits_of(first ^ half(b, false, b->n - 1));
	uint32_t bits = left < lane ? 0 : left - lane + 1;

	*node = (struct fw_addrset_node){
		.lanes = lane == 16 ? 0x0001000100010001u : 0x0000000100000001u,
		.top = (uint8_t)(lane - 1),
		.is_direct = true,
	};
	while (members >> bits >= direct_lanes(node) / 2)
		bits++;
	if (bits > left || bits > MAX_BITS ||
	    ((size_t)DIRECT_BYTES << bits) > DIRECT_ROOM * members)
		return false;
	node->shift = (uint8_t)(left - bits);
	node->first = first >> left << bits;
	node->span = 1u << bits;
	return is_even(b, node);
}

/* A root of single IPv4 addresses, spread evenly; false: let it have entries. */
static bool shape_direct(const struct build *b, struct fw_addrset_node *node)
{
	if (b->is_v4 && (try_direct(b, 16, node) || try_direct(b, 32, node)))
		return true;
	*node = (struct fw_addrset_node){ 0 };
	return false;
}

/* The words of a direct leaf; false: the bucket has to have an entry. */
static bool fill_direct(const struct build *b,
			const struct fw_addrset_node *node, struct stretch s,
			uint64_t start, uint64_t *word)
{
	const struct fw_u128 one = { 1, 0 }, from = { start, 0 };
	const size_t lanes = direct_lanes(node);
	const uint32_t width = node->top + 1u;
	size_t n, i;

	if (!is_single(b, s, from, one, &s.i))
		return false;
	n = (s.j - s.i + 1) / 2;
	if (n > lanes || (!n && node->shift == node->top))
		return false;
	memset(word, 0, DIRECT_BYTES);
	for (i = 0; i < lanes; i++) {
		uint64_t v = 1ull << node->shift; /* no address of the bucket */

		if (n)
			v = half(b, false, s.i + (i < n ? 2 * i : 0)) - start;
		word[i / (64 / width)] |= v << (i % (64 / width) * width);
	}
	return true;
}

static int build_node(const struct build *b, struct stretch s,
		      unsigned int depth, struct fw_addrset_node *node);

/* A node of its own, with `depth` above it, for what does not fit a leaf. */
static int build_below(const struct build *b, struct stretch s, bool is_low,
		       unsigned int depth, uint32_t *ret_entry)
{
	struct fw_addrset_node node = { 0 };
	uint32_t off;
	int r;

	shape_node(b, s, is_low, depth, &node);
	r = reserve(b, sizeof(node), &off);
	if (r < 0)
		return r;
	r = build_node(b, s, depth, &node);
	if (r < 0)
		return r;
	memcpy(fw_bytes_at(b->bytes, off), &node, sizeof(node));
	*ret_entry = ref_to(b, FW_ADDRSET_REF, FW_ADDRSET_NODE, off);
	return 0;
}

/* A bucket some of whose boundaries have a lower half. */
static int build_deep(const struct build *b, const struct fw_addrset_node *node,
		      struct stretch s, uint64_t start, unsigned int depth,
		      uint32_t *ret_entry)
{
	const struct fw_u128 one = { 0, 1 }, from = { start, 0 };
	size_t i;

	if (s.j - s.i <= 2 * FW_ADDRSET_WIDE_MAX &&
	    is_single(b, s, from, one, &i))
		return build_wide(b, (struct stretch){ i, s.j }, 2,
				  FW_ADDRSET_WIDE_SINGLE, ret_entry);
	if (s.j - s.i <= FW_ADDRSET_WIDE_MAX)
		return build_wide(b, s, 1,
				  s.i % 2 ? FW_ADDRSET_WIDE_INSIDE
					  : FW_ADDRSET_WIDE_OUTSIDE,
				  ret_entry);
	return build_below(b, s, node->shift == 0, depth + 1, ret_entry);
}

static bool is_deep(const struct build *b, struct stretch s)
{
	size_t i;

	for (i = s.i; i < s.j; i++) {
		if (bound(b, i).lo)
			return true;
	}
	return false;
}

/* The entry for the addresses of a node that begin with `start`. */
static int build_bucket(const struct build *b,
			const struct fw_addrset_node *node, struct stretch s,
			uint64_t start, unsigned int depth, uint32_t *ret_entry)
{
	const bool is_low = node->is_low;
	const uint64_t unit = 1ull << node->drop;
	struct fw_u128 from, unit128;
	struct stretch rest = s;
	size_t i;

	if (!is_low && is_deep(b, s))
		return build_deep(b, node, s, start, depth, ret_entry);
	if (rest.i < rest.j && half(b, is_low, rest.i) == start)
		rest.i++;
	if (rest.i == rest.j) {
		*ret_entry = constant(rest.i % 2);
		return 0;
	}
	from = bound(b, s.i);
	*(is_low ? &from.lo : &from.hi) = start;
	unit128 = is_low ? (struct fw_u128){ 0, unit }
			 : (struct fw_u128){ unit, 0 };
	if (is_single(b, s, from, unit128, &i)) {
		s.i = i;
		if (words_of(node, (s.j - s.i + 1) / 2) <=
		    FW_ADDRSET_LEAF_WORDS)
			return build_singles(b, node, s, start, ret_entry);
	} else if (words_of(node, rest.j - rest.i) <= FW_ADDRSET_LEAF_WORDS) {
		return build_bounds(b, node, rest, start, ret_entry);
	}
	return build_below(b, s, is_low, depth + 1, ret_entry);
}

/* The boundaries of the next bucket, the `i`th, behind those of the one before it. */
static struct stretch next_bucket(const struct build *b,
				  const struct fw_addrset_node *node,
				  uint32_t i, struct stretch before, size_t end)
{
	struct stretch s = { before.j, before.j };

	while (s.j < end &&
	       half(b, node->is_low, s.j) >> node->shift == node->first + i)
		s.j++;
	return s;
}

/* The entries of a node whose shape is known, and what they refer to. */
static int build_node(const struct build *b, struct stretch s,
		      unsigned int depth, struct fw_addrset_node *node)
{
	struct stretch bucket = { s.i, s.i };
	uint32_t i, entry;
	uint32_t *entries;
	int r;

	r = reserve(b, node->span * sizeof(*entries), &node->entries);
	if (r < 0)
		return r;
	for (i = 0; i < node->span; i++) {
		bucket = next_bucket(b, node, i, bucket, s.j);
		r = build_bucket(b, node, bucket,
				 (node->first + i) << node->shift, depth,
				 &entry);
		if (r < 0)
			return r;
		entries = fw_bytes_at(b->bytes, node->entries);
		entries[i] = entry;
	}
	return 0;
}

/* A node for a bucket that has no direct leaf. */
static int build_beside(const struct build *b, struct stretch s, uint64_t start,
			uint32_t *ret_entry)
{
	struct fw_addrset_node node = { 0 };
	uint32_t off;
	int r;

	if (s.i < s.j && !(s.j - s.i == 1 && half(b, false, s.i) == start))
		return build_below(b, s, false, 1, ret_entry);
	/* All addresses are members, or none is. */
	node.is_before = node.is_behind = s.j % 2;
	r = reserve(b, sizeof(node), &off);
	if (r < 0)
		return r;
	memcpy(fw_bytes_at(b->bytes, off), &node, sizeof(node));
	*ret_entry = ref_to(b, FW_ADDRSET_REF, FW_ADDRSET_NODE, off);
	return 0;
}

/* The leaves of a direct root, and what they refer to. */
static int build_direct(const struct build *b, struct fw_addrset_node *root)
{
	struct stretch bucket = { 0, 0 };
	uint32_t i, entry;
	uint64_t *word;
	int r;

	r = reserve(b, (size_t)root->span * DIRECT_BYTES, &root->entries);
	if (r < 0)
		return r;
	for (i = 0; i < root->span; i++) {
		const uint64_t start = (root->first + i) << root->shift;

		bucket = next_bucket(b, root, i, bucket, b->n);
		word = fw_bytes_at(b->bytes, root->entries + DIRECT_BYTES * i);
		if (fill_direct(b, root, bucket, start, word))
			continue;
		r = build_beside(b, bucket, start, &entry);
		if (r < 0)
			return r;
		word = fw_bytes_at(b->bytes, root->entries + DIRECT_BYTES * i);
		word[0] = (uint64_t)FW_ADDRSET_OFF(entry) << 32 |
			  1ull << root->top;
	}
	return 0;
}

/* The root of one family; zeroed, without entries, of no address. */
static int build_family(struct build *b, const struct fw_ranges *ranges,
			struct fw_addrset_node *node)
{
	const struct fw_range *last;

	if (!ranges->n) {
		return 0;
	}
	last = &ranges->r[ranges->n - 1];
	b->r = ranges->r;
	b->n = 2 * ranges->n;
	if (b->is_v4 ? last->last_lo == UINT32_MAX
		     : (last->last_lo & last->last_hi) == UINT64_MAX)
		b->n--;
	b->end = (struct fw_u128){ b->is_v4 ? 1ull << 32 : 0, 0 };
	if (shape_direct(b, node))
		return build_direct(b, node);
	shape_node(b, (struct stretch){ 0, b->n }, false, 0, node);
	return build_node(b, (struct stretch){ 0, b->n }, 0, node);
}

static int build_set(const struct fw_ir_set *set, struct fw_bytes *bytes,
		     uint32_t off)
{
	struct build b = { .bytes = bytes, .set = off };
	struct fw_addrset head = { 0 };
	int r;

	b.is_v4 = true;
	r = build_family(&b, &set->v4, &head.v4);
	if (r < 0)
		return r;
	b.is_v4 = false;
	r = build_family(&b, &set->v6, &head.v6);
	if (r < 0)
		return r;
	memcpy(fw_bytes_at(bytes, off), &head, sizeof(head));
	return 0;
}

int fw_addrset_build(const struct fw_ir_set *set, struct fw_bytes *bytes,
		     uint32_t *ret_off)
{
	const size_t size = bytes->size;
	uint32_t off;
	int r;

	if (!set->v4.n && !set->v6.n) {
		*ret_off = 0;
		return 0;
	}
	off = fw_bytes_reserve(bytes, sizeof(struct fw_addrset), 64);
	if (off == 0) /* which means no set */
		off = fw_bytes_reserve(bytes, sizeof(struct fw_addrset), 64);
	r = off == FW_BYTES_FAILED ? -ENOMEM : build_set(set, bytes, off);
	if (r < 0) {
		bytes->size = size;
		return r;
	}
	*ret_off = off;
	return 0;
}
