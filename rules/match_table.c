/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Few tables for many pairs of prefix lengths.
 *
 * A table hashes the first bits of source and destination; it can hold each part
 * whose prefixes are no shorter. Again and again the table is taken that holds
 * most of the parts that are left without putting too many into one slot. What
 * no table can tell apart, its slots' cuts can. After TupleMerge (Daly et al.).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "match_part.h"
#include "mem.h"

#define MAX_WIDTH      129 /* lengths of prefixes */
#define MAX_TRIES      48  /* tables that are tried before one is taken */
/*
 * Parts that may share a slot: for IPv6 fewer, for what tells its addresses apart
 * is spread over more bytes, and a cut looks at one of them.
 */
#define GROUP_V4       512
#define GROUP_V6       128
#define COUNT_BITS_MAX 18

#define AHEAD	   16	/* parts that are fetched before their turn */
#define LEAST_ROOM 1024 /* entries that cuts may take in a small chain */

struct table {
	uint8_t len[2]; /* bits of source and destination */
	uint32_t *list; /* numbers of parts */
	size_t n;
};

/* The choice of tables for a chain. */
struct chooser {
	const struct fw_match_part *parts;
	uint32_t *left; /* numbers of parts that are in no table yet */
	size_t n_left;
	size_t n_listed;  /* all that are in some table, in the end */
	uint16_t *counts; /* parts by hash */
	uint32_t *slots;  /* hash by part in `left` */
	uint32_t *cover;  /* parts that a table could hold, by lengths */
	unsigned int count_bits;
	unsigned int width;
	unsigned int group; /* parts that may share a slot */
	struct table *tables;
	size_t n_tables;
};

static void chooser_done(struct chooser *c)
{
	size_t i;

	for (i = 0; i < c->n_tables; i++)
		free(c->tables[i].list);
	free(c->tables);
	free(c->left);
	free(c->counts);
	free(c->slots);
	free(c->cover);
}

/* ---- trying a table ------------------------------------------------------ */

struct masks {
	uint64_t m[2][2];
};

static struct masks masks_of(const uint8_t len[2])
{
	struct masks masks;

	fw_match_mask128(len[0], masks.m[0]);
	fw_match_mask128(len[1], masks.m[1]);
	return masks;
}

static uint64_t mix(const struct fw_match_part *p, const struct masks *masks)
{
	uint64_t h;

	h = (p->addr[0][0] & masks->m[0][0]) * 0x9e3779b97f4a7c15u;
	h ^= h >> 32;
	h += (p->addr[0][1] & masks->m[0][1]) * 0xd6e8feb86659fd93u;
	h += (p->addr[1][0] & masks->m[1][0]) * 0xff51afd7ed558ccdu;
	h += (p->addr[1][1] & masks->m[1][1]) * 0xc4ceb9fe1a85ec53u;
	h ^= h >> 32;
	return h * 0xd6e8feb86659fd93u;
}

static bool can_hold(const uint8_t len[2], const struct fw_match_part *p)
{
	return p->len[0] >= len[0] && p->len[1] >= len[1];
}

#define NO_SLOT UINT32_MAX

/* Count how the parts that are left would fall into the slots of a table. */
static void count_slots(struct chooser *c, const uint8_t len[2])
{
	struct masks masks = masks_of(len);
	size_t i;

	memset(c->counts, 0, sizeof(*c->counts) << c->count_bits);
	for (i = 0; i < c->n_left; i++) {
		const struct fw_match_part *p = &c->parts[c->left[i]];

		c->slots[i] = NO_SLOT;
		if (!can_hold(len, p))
			continue;
		c->slots[i] =
			(uint32_t)(mix(p, &masks) >> (64 - c->count_bits));
		if (c->counts[c->slots[i]] != UINT16_MAX)
			c->counts[c->slots[i]]++;
	}
}

/* How many parts a table would hold well: alone 64, in a full slot 32 each. */
static uint64_t rate(struct chooser *c, const uint8_t len[2])
{
	uint64_t sum = 0;
	size_t i;

	count_slots(c, len);
	for (i = 0; i < c->n_left; i++) {
		unsigned int n;

		if (c->slots[i] == NO_SLOT)
			continue;
		n = c->counts[c->slots[i]];
		if (n <= c->group)
			sum += 64 - 32 * n / c->group;
	}
	return sum;
}

/* ---- which to try -------------------------------------------------------- */

struct candidate {
	uint32_t cover;
	uint8_t len[2];
};

static uint32_t *cover_at(const struct chooser *c, unsigned int s,
			  unsigned int d)
{
	return &c->cover[s * (c->width + 1) + d];
}

/* Count the parts by lengths, then add up: those no shorter. */
static void count_lengths(struct chooser *c)
{
	unsigned int s, d;
	size_t i;

	memset(c->cover, 0,
	       sizeof(*c->cover) * (c->width + 1) * (c->width + 1));
	for (i = 0; i < c->n_left; i++) {
		const struct fw_match_part *p = &c->parts[c->left[i]];

		++*cover_at(c, p->len[0], p->len[1]);
	}
	for (s = c->width; s < c->width + 1; s--) {
		for (d = c->width; d > 0; d--)
			*cover_at(c, s, d - 1) += *cover_at(c, s, d);
		if (s == c->width)
			continue;
		for (d = 0; d <= c->width; d++)
			*cover_at(c, s, d) += *cover_at(c, s + 1, d);
	}
}

static int compare_candidates(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	if (x->cover != y->cover)
		return x->cover > y->cover ? -1 : 1;
	return memcmp(x->len, y->len, sizeof(x->len));
}

/* Tables that could not look at more bits and hold as many parts. */
static size_t find_candidates(struct chooser *c, struct candidate *found)
{
	unsigned int s, d;
	size_t n = 0;

	count_lengths(c);
	for (s = 0; s <= c->width; s++) {
		for (d = 0; d <= c->width; d++) {
			uint32_t cover = *cover_at(c, s, d);

			if (!cover ||
			    (s < c->width && *cover_at(c, s + 1, d) == cover) ||
			    (d < c->width && *cover_at(c, s, d + 1) == cover))
				continue;
			found[n++] = (struct candidate){
				cover,
				{ (uint8_t)s, (uint8_t)d },
			};
		}
	}
	qsort(found, n, sizeof(*found), compare_candidates);
	return n;
}

/* The table that holds most parts well, and its rating. */
static uint64_t find_best(struct chooser *c, const struct candidate *found,
			  size_t n, uint8_t ret_len[2])
{
	size_t i, stride = (n + MAX_TRIES - 1) / MAX_TRIES;
	uint64_t best = 0;

	for (i = 0; i < n; i += stride) {
		uint64_t rating;

		if (found[i].cover * 64ull <= best)
			break;
		rating = rate(c, found[i].len);
		if (rating > best) {
			best = rating;
			memcpy(ret_len, found[i].len, 2);
		}
	}
	return best;
}

/* ---- taking it ----------------------------------------------------------- */

/* Move parts to a new table: all, or those that it holds well. */
static int take(struct chooser *c, const uint8_t len[2], bool is_last)
{
	struct table *t, *tables;
	size_t i, kept = 0;

	tables = fw_mem_grow(c->tables, c->n_tables, sizeof(*tables));
	if (!tables)
		return -ENOMEM;
	c->tables = tables;
	t = &tables[c->n_tables];
	*t = (struct table){ .len = { len[0], len[1] } };
	t->list = malloc(c->n_left * sizeof(*t->list));
	if (!t->list)
		return -ENOMEM;
	c->n_tables++;
	if (!is_last)
		count_slots(c, len);
	for (i = 0; i < c->n_left; i++) {
		uint32_t slot = is_last ? 0 : c->slots[i];

		if (is_last || (slot != NO_SLOT && c->counts[slot] <= c->group))
			t->list[t->n++] = c->left[i];
		else
			c->left[kept++] = c->left[i];
	}
	c->n_left = kept;
	return 0;
}

/* Enough to be worth a table?  A few parts are better off behind cuts. */
static bool is_worth(const struct chooser *c, uint64_t rating)
{
	return rating >= 64 * 8 && rating >= c->n_listed * 64 / 160 &&
	       rating >= c->n_left * 64 / 24;
}

static int choose(struct chooser *c, struct candidate *found)
{
	static const uint8_t any[2] = { 0, 0 };
	int r;

	while (c->n_left > FW_MATCH_SMALL) {
		uint8_t len[2] = { 0, 0 };
		size_t n = find_candidates(c, found);
		uint64_t rating = find_best(c, found, n, len);

		if (!is_worth(c, rating))
			break;
		r = take(c, len, false);
		if (r < 0)
			return r;
	}
	return c->n_left ? take(c, any, true) : 0;
}

static int choose_tables(struct chooser *c)
{
	_cleanup_free_ struct candidate *found = NULL;
	size_t n = (size_t)(c->width + 1) * (c->width + 1);

	while (c->count_bits < COUNT_BITS_MAX &&
	       1ul << c->count_bits < 2 * c->n_left)
		c->count_bits++;
	c->counts = malloc(sizeof(*c->counts) << c->count_bits);
	c->slots = malloc(c->n_left * sizeof(*c->slots));
	c->cover = malloc(n * sizeof(*c->cover));
	found = malloc(n * sizeof(*found));
	if (!c->counts || !c->slots || !c->cover || !found)
		return -ENOMEM;
	return choose(c, found);
}

/* ---- writing a table ----------------------------------------------------- */

struct writer {
	struct fw_match_builder *b;
	const struct fw_match_part *parts;
	bool is_v6;
	uint32_t steps; /* of a walk through all tables so far, at worst */
};

/* The parts of a table, by slot. */
struct slots {
	uint64_t *hashes; /* by number of the part in the table */
	uint32_t *starts; /* by slot: where its parts begin in `list` */
	uint32_t *list;	  /* numbers of parts, ascending in a slot */
	uint64_t *sorted; /* hashes in the order of `list` */
	unsigned int bits;
};

static void slots_done(struct slots *s)
{
	free(s->hashes);
	free(s->starts);
	free(s->list);
	free(s->sorted);
}

/* Two prefixes of IPv4 addresses in the word that a packet has them in. */
static uint64_t in_one_word(uint64_t source, uint64_t destination)
{
	return source | destination >> 32;
}

static void masks_of_table(const struct table *t, bool is_v6, __u64 to[4])
{
	struct masks masks = masks_of(t->len);

	memcpy(to, masks.m, sizeof(masks.m));
	if (!is_v6)
		to[0] = in_one_word(masks.m[0][0], masks.m[1][0]);
}

/* As kern/match.h does. */
static uint64_t hash_part(const struct fw_match_part *p, const __u64 mask[4],
			  bool is_v6)
{
	__u64 w[4];

	memcpy(w, p->addr, sizeof(w));
	if (!is_v6)
		w[0] = in_one_word(p->addr[0][0], p->addr[1][0]);
	return fw_match_hash(w, mask, !is_v6);
}

/* Slots for about one and a half times as many as there are different keys. */
static int choose_size(struct slots *s, size_t n)
{
	_cleanup_free_ uint8_t *seen = NULL;
	unsigned int bits = 1;
	size_t i, different = 0;

	while (1ul << bits < 2 * n)
		bits++;
	seen = calloc(1ul << bits, 1);
	if (!seen)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		different += !seen[s->hashes[i] >> (64 - bits)];
		seen[s->hashes[i] >> (64 - bits)] = 1;
	}
	s->bits = 1;
	while (1ul << s->bits < different + different / 2)
		s->bits++;
	return 0;
}

/* Sort the parts of a table by slot, without changing their order in a slot. */
static int sort_slots(const struct table *t, struct slots *s)
{
	size_t i, n_slots = 1ul << s->bits;
	uint32_t at;

	s->starts = calloc(n_slots + 2, sizeof(*s->starts));
	s->list = malloc(t->n * sizeof(*s->list));
	s->sorted = malloc(t->n * sizeof(*s->sorted));
	if (!s->starts || !s->list || !s->sorted)
		return -ENOMEM;
	for (i = 0; i < t->n; i++)
		s->starts[(s->hashes[i] >> (64 - s->bits)) + 2]++;
	for (i = 0; i < n_slots; i++)
		s->starts[i + 2] += s->starts[i + 1];
	for (i = 0; i < t->n; i++) {
		at = s->starts[(s->hashes[i] >> (64 - s->bits)) + 1]++;
		s->list[at] = t->list[i];
		s->sorted[at] = s->hashes[i];
	}
	return 0;
}

static int fill_slots(const struct writer *w, const struct table *t,
		      const __u64 mask[4], struct slots *s)
{
	size_t i;
	int r;

	s->hashes = malloc(t->n * sizeof(*s->hashes));
	if (!s->hashes)
		return -ENOMEM;
	for (i = 0; i < t->n; i++)
		s->hashes[i] = hash_part(&w->parts[t->list[i]], mask, w->is_v6);
	r = choose_size(s, t->n);
	if (r < 0)
		return r;
	return sort_slots(t, s);
}

/* A list of one key only carries its signature. */
static uint64_t sign(const uint64_t *hashes, size_t n, uint64_t ref)
{
	const uint64_t mask = (uint64_t)FW_REF_EXTRA_MASK << FW_REF_EXTRA_SHIFT;
	size_t i;

	if ((ref & FW_REF_KIND_MASK) == FW_REF_CUT)
		return ref;
	for (i = 1; i < n; i++) {
		if (hashes[i] != hashes[0])
			return ref;
	}
	return (ref & ~(uint64_t)FW_REF_ANY) | (hashes[0] & mask);
}

static int write_slots(struct writer *w, const struct table *t, size_t room,
		       const struct slots *s, uint32_t off,
		       struct fw_match_depth *depth)
{
	size_t i, n, ahead = 0;
	int r;

	for (i = 0; i < 1ul << s->bits; i++) {
		uint32_t start = s->starts[i];
		__u64 ref;

		n = s->starts[i + 1] - start;
		if (!n)
			continue;
		/* Neighbours in a slot are anywhere among all parts. */
		for (; ahead < t->n && ahead < start + n + AHEAD; ahead++)
			__builtin_prefetch(&w->parts[s->list[ahead]]);
		r = fw_match_add_tree(w->b, w->is_v6, w->parts, &s->list[start],
				      n, room * n / t->n, &ref, depth);
		if (r < 0)
			return r;
		ref = sign(&s->sorted[start], n, ref);
		memcpy(fw_bytes_at(w->b->bytes, off + (uint32_t)i * 8), &ref,
		       sizeof(ref));
	}
	return 0;
}

/* A table that looks at no address: one slot. */
static int write_any(struct writer *w, const struct table *t, size_t room,
		     uint32_t at, struct fw_match_depth *depth)
{
	struct fw_match_table *out;
	__u64 ref;
	int r;

	r = fw_match_add_tree(w->b, w->is_v6, w->parts, t->list, t->n, room,
			      &ref, depth);
	if (r < 0)
		return r;
	out = fw_bytes_at(w->b->bytes, at);
	out->is_any = 1;
	out->any = ref;
	return 0;
}

static int write_table(struct writer *w, const struct table *t, size_t room,
		       uint32_t at, struct fw_match_depth *depth)
{
	__attribute__((cleanup(slots_done))) struct slots s = { 0 };
	struct fw_match_table *out;
	__u64 mask[4] = { 0 };
	uint32_t off;
	int r;

	if (t->len[0] + t->len[1] == 0)
		return write_any(w, t, room, at, depth);
	masks_of_table(t, w->is_v6, mask);
	r = fill_slots(w, t, mask, &s);
	if (r < 0)
		return r;
	off = fw_bytes_reserve(w->b->bytes, 8ul << s.bits, 64);
	if (off == FW_BYTES_FAILED)
		return -ENOMEM;
	r = write_slots(w, t, room, &s, off, depth);
	if (r < 0)
		return r;
	out = fw_bytes_at(w->b->bytes, at);
	out->slots = off;
	out->shift = 64 - s.bits;
	memcpy(out->mask, mask, sizeof(out->mask));
	return 0;
}

/* ---- chains -------------------------------------------------------------- */

static int compare_tables(const void *a, const void *b)
{
	const struct table *x = a, *y = b;

	return x->list[0] < y->list[0] ? -1 : x->list[0] > y->list[0];
}

/* Keep what a walk may cost at worst. */
static void record(struct writer *w, const struct fw_match_depth *depth)
{
	struct fw_match_stats *stats = &w->b->stats;

	w->steps += (depth->entries + FW_MATCH_STEP - 1) / FW_MATCH_STEP;
	if (depth->entries > stats->longest_list) {
		stats->longest_list = depth->entries;
		stats->slowest_rule = depth->rule;
	}
	if (w->steps > stats->most_steps)
		stats->most_steps = w->steps;
}

/*
 * Memory that the cuts of a table may take, in entries: a tenth of its parts,
 * and an equal share of twice all parts, for each packet looks into each table.
 */
static size_t room_of(const struct chooser *c, const struct table *t)
{
	size_t shared = 2 * c->n_listed + LEAST_ROOM;

	return t->n / 10 + shared / c->n_tables;
}

static uint32_t end_of_first(const struct writer *w, const struct table *t)
{
	return fw_match_end(w->b, w->parts[t->list[0]].rule);
}

static int write_tables(struct writer *w, const struct chooser *c,
			uint32_t *ret_off)
{
	const uint32_t size = sizeof(struct fw_match_table);
	struct fw_match_table *out;
	uint32_t off;
	size_t i;
	int r;

	off = fw_bytes_reserve(w->b->bytes, c->n_tables * size, 16);
	if (off == FW_BYTES_FAILED)
		return -ENOMEM;
	for (i = 0; i < c->n_tables; i++) {
		const struct table *t = &c->tables[i];
		struct fw_match_depth depth = { 0 };
		uint32_t at = off + (uint32_t)i * size;

		r = write_table(w, t, room_of(c, t), at, &depth);
		if (r < 0)
			return r;
		out = fw_bytes_at(w->b->bytes, at);
		out->next = i + 1 < c->n_tables ? end_of_first(w, &t[1])
						: FW_END_NONE;
		record(w, &depth);
	}
	w->b->stats.tables += c->n_tables;
	if (c->n_tables > w->b->stats.most_tables)
		w->b->stats.most_tables = (uint32_t)c->n_tables;
	*ret_off = off;
	return 0;
}

/* What is the same as an earlier part can never match. */
static uint64_t hash_whole(const struct fw_match_part *p, uint32_t term)
{
	struct fw_match_part key = *p;

	key.rule = p->need & FW_MATCH_HAS_TERM ? term : 0;
	key.end = 0;
	key.slot = 0;
	return fw_mem_quick_hash(FW_HASH_SEED, &key, sizeof(key));
}

static bool is_same(const struct fw_match_builder *b,
		    const struct fw_match_part *x,
		    const struct fw_match_part *y)
{
	struct fw_match_part key = *x;

	key.rule = y->rule;
	key.end = y->end;
	key.slot = y->slot;
	return memcmp(&key, y, sizeof(key)) == 0 &&
	       (!(x->need & FW_MATCH_HAS_TERM) ||
		b->terms[x->rule] == b->terms[y->rule]);
}

/* List all parts but those that repeat an earlier one. */
static int list_parts(const struct fw_match_builder *b,
		      const struct fw_match_chain *chain, struct chooser *c)
{
	_cleanup_free_ uint32_t *seen = NULL;
	size_t i, at, capacity = 16;

	while (capacity < 2 * chain->n)
		capacity *= 2;
	seen = calloc(capacity, sizeof(*seen));
	c->left = malloc(chain->n * sizeof(*c->left));
	if (!seen || !c->left)
		return -ENOMEM;
	for (i = 0; i < chain->n; i++) {
		const struct fw_match_part *p = &chain->parts[i];

		at = hash_whole(p, b->terms[p->rule]);
		for (;; at++) {
			at &= capacity - 1;
			if (!seen[at] ||
			    is_same(b, &chain->parts[seen[at] - 1], p))
				break;
		}
		if (seen[at])
			continue;
		seen[at] = (uint32_t)i + 1;
		c->left[c->n_left++] = (uint32_t)i;
	}
	return 0;
}

int fw_match_add_tables(struct fw_match_builder *b, bool is_v6,
			const struct fw_match_chain *chain, uint32_t *ret_off)
{
	__attribute__((cleanup(chooser_done))) struct chooser c = {
		.parts = chain->parts,
		.width = is_v6 ? 128 : 32,
		.group = is_v6 ? GROUP_V6 : GROUP_V4,
		.count_bits = 8,
	};
	struct writer w = { .b = b, .parts = chain->parts, .is_v6 = is_v6 };
	int r;

	*ret_off = 0;
	if (!chain->n)
		return 0;
	r = list_parts(b, chain, &c);
	if (r < 0)
		return r;
	c.n_listed = c.n_left;
	r = choose_tables(&c);
	if (r < 0)
		return r;
	qsort(c.tables, c.n_tables, sizeof(*c.tables), compare_tables);
	return write_tables(&w, &c, ret_off);
}
