/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Take rules apart into single matches.
 *
 * A rule with lists becomes several parts while they are few; a long list
 * becomes the prefixes (or the range) around it, and a term in which the whole
 * list is asked. So the parts never become the product of all lists.
 */
#include "match_part.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "ranges.h"

#define MAX_ALTERNATIVES 64 /* of one list */
#define MAX_PRODUCT	 64 /* parts of one rule and family */
#define MAX_HULLS	 8  /* prefixes around a long list */
#define MAX_COMPLEMENT	 31 /* ranges of a negated list that is turned round */

/* One way to fulfil an address clause. */
struct alternative {
	uint64_t hi, lo;
	uint32_t need; /* FW_NEED_* of `self` */
	uint8_t len;
	uint8_t pad[3];
};

struct hulls {
	struct alternative a[MAX_HULLS];
	size_t n;
};

struct address_choice {
	struct alternative a[MAX_ALTERNATIVES + 1];
	size_t n;
	bool is_exact;
};

struct port_choice {
	uint16_t lo[MAX_ALTERNATIVES], hi[MAX_ALTERNATIVES];
	size_t n;
	bool is_exact;
};

/* A row as one family sees it. */
struct taken {
	struct fw_match_builder *b;
	const struct fw_ir_row *row;
	uint32_t number;
	uint32_t need;
	bool is_v6;
	bool has_term;
	struct address_choice addr[2]; /* source, destination */
	struct port_choice port[2];
};

/* ---- prefixes ------------------------------------------------------------ */

/* IPv4 addresses move to the upper 32 bits. */
static struct fw_u128 upper(uint64_t hi, uint64_t lo, bool is_v6)
{
	if (is_v6)
		return (struct fw_u128){ hi, lo };
	return (struct fw_u128){ lo << 32, 0 };
}

static unsigned int common_bits(struct fw_u128 a, struct fw_u128 b)
{
	if (a.hi != b.hi)
		return (unsigned int)__builtin_clzll(a.hi ^ b.hi);
	if (a.lo != b.lo)
		return 64 + (unsigned int)__builtin_clzll(a.lo ^ b.lo);
	return 128;
}

static struct alternative prefix_of(struct fw_u128 addr, unsigned int len)
{
	uint64_t mask[2];

	fw_match_mask128(len, mask);
	return (struct alternative){
		.hi = addr.hi & mask[0],
		.lo = addr.lo & mask[1],
		.len = (uint8_t)len,
	};
}

/* The first address behind a prefix; false: there is none. */
static bool step_over(struct fw_u128 *addr, unsigned int len)
{
	struct fw_u128 old = *addr;

	if (len == 0)
		return false;
	if (len > 64) {
		addr->lo += 1ull << (128 - len);
		addr->hi += addr->lo < old.lo;
	} else {
		addr->hi += 1ull << (64 - len);
	}
	return addr->hi > old.hi || (addr->hi == old.hi && addr->lo > old.lo);
}

static bool above(struct fw_u128 a, struct fw_u128 b)
{
	return a.hi > b.hi || (a.hi == b.hi && a.lo > b.lo);
}

/* The last address of a prefix. */
static struct fw_u128 end_of(struct fw_u128 at, unsigned int len, bool is_v6)
{
	uint64_t mask[2];

	fw_match_mask128(len, mask);
	if (!is_v6)
		return upper(0, (at.hi | ~mask[0]) >> 32, false);
	return (struct fw_u128){ at.hi | ~mask[0], at.lo | ~mask[1] };
}

/* The shortest prefix that begins at `at` and does not pass `last`. */
static unsigned int longest_step(struct fw_u128 at, struct fw_u128 last,
				 bool is_v6)
{
	unsigned int width = is_v6 ? 128 : 32;
	unsigned int len = common_bits(at, last);

	if (len > width)
		len = width;
	/* Mostly it is one prefix, or nearly. */
	for (; len < width; len++) {
		struct alternative p = prefix_of(at, len);

		if (p.hi == at.hi && p.lo == at.lo &&
		    !above(end_of(at, len, is_v6), last))
			break;
	}
	return len;
}

/* Split ranges into prefixes; false: they are too many. */
static bool split(const struct fw_ranges *ranges, bool is_v6, uint32_t need,
		  struct address_choice *c)
{
	size_t i;

	if (ranges->n > MAX_ALTERNATIVES)
		return false;
	for (i = 0; i < ranges->n; i++) {
		const struct fw_range *r = &ranges->r[i];
		struct fw_u128 at = upper(r->first_hi, r->first_lo, is_v6);
		struct fw_u128 last = upper(r->last_hi, r->last_lo, is_v6);

		do {
			unsigned int len = longest_step(at, last, is_v6);

			if (c->n == MAX_ALTERNATIVES)
				return false;
			c->a[c->n] = prefix_of(at, len);
			c->a[c->n++].need = need;
			if (!step_over(&at, len))
				break;
		} while (!above(at, last));
	}
	return true;
}

/* ---- hulls --------------------------------------------------------------- */

/* Prefix around the ranges from `first` to `last`. */
static struct alternative around(const struct fw_ranges *ranges, size_t first,
				 size_t last, bool is_v6)
{
	struct fw_u128 from = upper(ranges->r[first].first_hi,
				    ranges->r[first].first_lo, is_v6);
	struct fw_u128 to =
		upper(ranges->r[last].last_hi, ranges->r[last].last_lo, is_v6);
	unsigned int len = common_bits(from, to);

	return prefix_of(from, len > 32 && !is_v6 ? 32 : len);
}

/* Where neighbours have least in common, at most MAX_HULLS - 1 places. */
static size_t find_gaps(const struct fw_ranges *ranges, bool is_v6,
			size_t gaps[MAX_HULLS - 1])
{
	unsigned int common[MAX_HULLS - 1];
	size_t i, k, n = 0;

	for (i = 1; i < ranges->n; i++) {
		unsigned int c =
			common_bits(upper(ranges->r[i - 1].last_hi,
					  ranges->r[i - 1].last_lo, is_v6),
				    upper(ranges->r[i].first_hi,
					  ranges->r[i].first_lo, is_v6));

		if (n == MAX_HULLS - 1 && c >= common[n - 1])
			continue;
		for (k = n < MAX_HULLS - 1 ? n++ : n - 1;
		     k > 0 && common[k - 1] > c; k--) {
			common[k] = common[k - 1];
			gaps[k] = gaps[k - 1];
		}
		common[k] = c;
		gaps[k] = i;
	}
	return n;
}

static int compare_sizes(const void *a, const void *b)
{
	const size_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* A few prefixes around everything; one if they would tell little apart. */
static void find_hulls(const struct fw_ranges *ranges, bool is_v6,
		       struct hulls *h)
{
	size_t gaps[MAX_HULLS - 1] = { 0 };
	size_t i, first = 0, n = find_gaps(ranges, is_v6, gaps);

	qsort(gaps, n, sizeof(*gaps), compare_sizes);
	h->n = 0;
	for (i = 0; i <= n; i++) {
		size_t last = i < n ? gaps[i] - 1 : ranges->n - 1;

		h->a[h->n++] = around(ranges, first, last, is_v6);
		if (h->a[h->n - 1].len < (is_v6 ? 24 : 8)) {
			h->a[0] = around(ranges, 0, ranges->n - 1, is_v6);
			h->n = 1;
			return;
		}
		first = last + 1;
	}
}

/* The hulls of a set, found once. */
static int hulls_of(struct fw_match_builder *b, int32_t set, bool is_v6,
		    const struct hulls **ret)
{
	void **known = &b->hulls[2 * set + is_v6];
	const struct fw_ir_set *s = &b->program->sets[set];

	if (!*known) {
		*known = calloc(1, sizeof(struct hulls));
		if (!*known)
			return -ENOMEM;
		find_hulls(is_v6 ? &s->v6 : &s->v4, is_v6, *known);
	}
	*ret = *known;
	return 0;
}

/* ---- address clauses ----------------------------------------------------- */

/* The ranges that `ranges` leaves out. */
static void turn_round(const struct fw_ranges *ranges, bool is_v6,
		       struct fw_range to[MAX_COMPLEMENT + 1],
		       struct fw_ranges *ret)
{
	struct fw_u128 next = { 0 };
	bool is_over = false;
	size_t i;

	*ret = (struct fw_ranges){ .r = to };
	for (i = 0; i < ranges->n; i++) {
		const struct fw_range *r = &ranges->r[i];

		if (above((struct fw_u128){ r->first_hi, r->first_lo }, next)) {
			to[ret->n++] = (struct fw_range){
				next.hi,
				next.lo,
				r->first_hi - (r->first_lo == 0),
				r->first_lo - 1,
			};
		}
		next.lo = r->last_lo + 1;
		next.hi = r->last_hi + (next.lo == 0);
		is_over = is_v6 ? !next.hi && !next.lo : next.lo >> 32;
	}
	if (!is_over) {
		to[ret->n++] = (struct fw_range){
			next.hi,
			next.lo,
			is_v6 ? UINT64_MAX : 0,
			is_v6 ? UINT64_MAX : UINT32_MAX,
		};
	}
}

static const uint32_t need_self[2] = { FW_NEED_SRC_SELF, FW_NEED_DST_SELF };
static const uint32_t need_other[2] = { FW_NEED_SRC_NOT_SELF,
					FW_NEED_DST_NOT_SELF };

/* Everything, and the term says the rest. */
static void choose_any(struct address_choice *c, uint32_t need, bool is_exact)
{
	c->a[0] = (struct alternative){ .need = need };
	c->n = 1;
	c->is_exact = is_exact;
}

static int choose_hulls(struct taken *t, int side)
{
	int32_t set = side ? t->row->dst : t->row->src;
	const struct fw_ir_set *s = &t->b->program->sets[set];
	uint32_t negated = side ? FW_ROW_NOT_DST : FW_ROW_NOT_SRC;
	struct address_choice *c = &t->addr[side];
	const struct hulls *h;
	int r;

	if (t->row->flags & negated || s->has_self ||
	    !(t->is_v6 ? &s->v6 : &s->v4)->n) {
		choose_any(c, 0, false);
		return 0;
	}
	r = hulls_of(t->b, set, t->is_v6, &h);
	if (r < 0)
		return r;
	memcpy(c->a, h->a, h->n * sizeof(*h->a));
	c->n = h->n;
	c->is_exact = false;
	return 0;
}

static int choose_address(struct taken *t, int side)
{
	int32_t set = side ? t->row->dst : t->row->src;
	bool is_negated =
		t->row->flags & (side ? FW_ROW_NOT_DST : FW_ROW_NOT_SRC);
	struct address_choice *c = &t->addr[side];
	struct fw_range turned[MAX_COMPLEMENT + 1];
	struct fw_ranges ranges;
	const struct fw_ir_set *s;

	c->n = 0;
	c->is_exact = true;
	if (set < 0) {
		choose_any(c, 0, true);
		return 0;
	}
	s = &t->b->program->sets[set];
	ranges = t->is_v6 ? s->v6 : s->v4;
	if (is_negated && ranges.n > MAX_COMPLEMENT)
		return choose_hulls(t, side);
	if (is_negated)
		turn_round(t->is_v6 ? &s->v6 : &s->v4, t->is_v6, turned,
			   &ranges);
	if (!split(&ranges, t->is_v6,
		   is_negated && s->has_self ? need_other[side] : 0, c))
		return choose_hulls(t, side);
	if (s->has_self && !is_negated)
		c->a[c->n++] = (struct alternative){ .need = need_self[side] };
	return 0;
}

/* ---- port clauses -------------------------------------------------------- */

static void add_ports(struct port_choice *c, uint64_t lo, uint64_t hi)
{
	if (c->n < MAX_ALTERNATIVES) {
		c->lo[c->n] = (uint16_t)lo;
		c->hi[c->n++] = (uint16_t)hi;
	} else { /* one around all */
		c->lo[0] = lo < c->lo[0] ? (uint16_t)lo : c->lo[0];
		c->hi[0] = (uint16_t)hi;
		c->is_exact = false;
	}
}

/* One range around all, which are in ascending order. */
static void widen_ports(struct port_choice *c)
{
	if (c->is_exact)
		c->hi[0] = c->hi[c->n - 1];
	c->n = 1;
	c->is_exact = false;
}

static void choose_ports(const struct taken *t, int32_t set, bool is_negated,
			 struct port_choice *c)
{
	const struct fw_ranges *ranges;
	uint64_t next = 0;
	size_t i;

	c->n = 0;
	c->is_exact = true;
	if (set < 0) {
		add_ports(c, 0, UINT16_MAX);
		return;
	}
	ranges = &t->b->program->sets[set].port;
	for (i = 0; i < ranges->n; i++) {
		const struct fw_range *r = &ranges->r[i];

		if (!is_negated)
			add_ports(c, r->first_lo, r->last_lo);
		else if (r->first_lo > next)
			add_ports(c, next, r->first_lo - 1);
		next = r->last_lo + 1;
	}
	if (is_negated && next <= UINT16_MAX)
		add_ports(c, next, UINT16_MAX);
	if (!c->is_exact)
		widen_ports(c);
}

/* Ports, or types of ICMP, which are a set of the same kind. */
static void choose_l4(struct taken *t)
{
	const struct fw_ir_row *row = t->row;

	if (row->flags & FW_ROW_ICMP) {
		t->need |= FW_NEED_ICMP;
		choose_ports(t, -1, false, &t->port[0]);
		choose_ports(t, t->is_v6 ? row->l4b : row->l4a, false,
			     &t->port[1]);
		return;
	}
	if (row->l4a >= 0 || row->l4b >= 0)
		t->need |= FW_NEED_PORTS;
	choose_ports(t, row->l4a, row->flags & FW_ROW_NOT_SPORT, &t->port[0]);
	choose_ports(t, row->l4b, row->flags & FW_ROW_NOT_DPORT, &t->port[1]);
}

/* ---- how many ------------------------------------------------------------ */

static size_t product(const struct taken *t)
{
	return t->addr[0].n * t->addr[1].n * t->port[0].n * t->port[1].n;
}

/* Make the list with most alternatives coarser. */
static int coarsen(struct taken *t)
{
	size_t most = 1;
	int i, which = -1;

	for (i = 0; i < 4; i++) {
		size_t n = i < 2 ? t->addr[i].n : t->port[i - 2].n;

		if (n > most) {
			most = n;
			which = i;
		}
	}
	if (which < 0)
		return 0;
	if (which >= 2) {
		widen_ports(&t->port[which - 2]);
		return 0;
	}
	if (t->addr[which].is_exact)
		return choose_hulls(t, which);
	choose_any(&t->addr[which], 0, false);
	return 0;
}

static int limit_product(struct taken *t)
{
	size_t most = t->b->extra_parts + 1;
	int r;

	if (most > MAX_PRODUCT)
		most = MAX_PRODUCT;
	while (product(t) > most) {
		r = coarsen(t);
		if (r < 0)
			return r;
	}
	if (product(t) > 1)
		t->b->extra_parts -= product(t) - 1;
	return 0;
}

/* ---- terms --------------------------------------------------------------- */

/* The bit that stands for this way to ask for the entering interface. */
static bool find_zones(struct fw_match_builder *b, const struct fw_ir_row *row,
		       uint32_t *need)
{
	bool is_negated = row->flags & FW_ROW_NOT_IN;
	uint32_t i;

	for (i = 0; i < b->n_zones; i++) {
		if (b->zones[i].zones == row->in_zones &&
		    b->zones[i].is_negated == is_negated)
			break;
	}
	if (i == FW_MATCH_MAX_ZONES)
		return false;
	if (i == b->n_zones) {
		b->zones[b->n_zones++] = (struct fw_match_zones){
			row->in_zones,
			is_negated,
		};
	}
	*need |= 1u << (FW_MATCH_ZONES_SHIFT + i);
	return true;
}

static int add_set_term(struct taken *t, int side, struct fw_match_term *term)
{
	int32_t set = side ? t->row->dst : t->row->src;

	if (t->addr[side].is_exact)
		return 0;
	t->has_term = true;
	term->flags |= side ? FW_TERM_DST : FW_TERM_SRC;
	term->flags |= t->row->flags & (side ? FW_ROW_NOT_DST : FW_ROW_NOT_SRC);
	if (t->b->program->sets[set].has_self)
		term->flags |= side ? FW_TERM_DST_SELF : FW_TERM_SRC_SELF;
	return fw_match_add_set(t->b, set, side ? &term->dst : &term->src);
}

static int add_port_term(struct taken *t, int side, struct fw_match_term *term)
{
	const struct fw_ir_row *row = t->row;
	bool is_negated =
		row->flags & (side ? FW_ROW_NOT_DPORT : FW_ROW_NOT_SPORT);
	int32_t set = side ? row->l4b : row->l4a;

	if (t->port[side].is_exact)
		return 0;
	if (row->flags & FW_ROW_ICMP) {
		is_negated = false;
		set = t->is_v6 ? row->l4b : row->l4a;
	}
	t->has_term = true;
	if (row->flags & FW_ROW_ICMP) /* one a family */
		side = t->is_v6;
	return fw_match_add_bounds(t->b, set, is_negated,
				   side ? &term->dport : &term->sport);
}

static void add_ipsec_term(struct taken *t, struct fw_match_term *term)
{
	const uint32_t asks = FW_ROW_IPSEC | FW_ROW_NOT_IPSEC;
	const struct fw_ir_row *row = t->row;

	if (!(row->flags & asks))
		return;
	t->has_term = true;
	term->flags |= row->flags & asks;
	term->reqid = row->reqid;
	if (fw_row_promises(row))
		term->flags |= FW_TERM_PROMISE;
}

/* What the parts of a row cannot say; t->has_term if there is anything. */
static int make_term(struct taken *t, struct fw_match_term *term)
{
	const struct fw_ir_row *row = t->row;
	bool is_exact;
	uint8_t classes = fw_match_row_classes(row->protos, &is_exact);
	int side, r;

	t->need |= (uint32_t)(uint8_t)~classes << FW_MATCH_CLASS_SHIFT;
	term->flags |= row->flags & FW_ROW_ICMP;
	if (!is_exact) {
		t->has_term = true;
		memcpy(term->protos, row->protos, sizeof(term->protos));
	}
	if (row->in_zones && !find_zones(t->b, row, &t->need)) {
		t->has_term = true;
		term->in_zones = row->in_zones;
		term->flags |= row->flags & FW_ROW_NOT_IN;
	}
	if (row->out_zones) {
		t->has_term = true;
		term->out_zones = row->out_zones;
		term->flags |= row->flags & FW_ROW_NOT_OUT;
	}
	add_ipsec_term(t, term);
	for (side = 0; side < 2; side++) {
		r = add_set_term(t, side, term);
		if (r < 0)
			return r;
		r = add_port_term(t, side, term);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- rows ---------------------------------------------------------------- */

static int append(struct fw_match_chain *chain,
		  const struct fw_match_part *part)
{
	struct fw_match_part *parts;

	parts = fw_mem_grow_from(chain->n_expected, chain->parts, chain->n,
				 sizeof(*parts));
	if (!parts)
		return -ENOMEM;
	chain->parts = parts;
	parts[chain->n++] = *part;
	return 0;
}

/* One part, in the chains of all directions of its row. */
static int append_part(struct taken *t, const struct fw_match_part *part)
{
	bool stateless = t->row->flags & FW_ROW_STATELESS;
	size_t dir;
	int r;

	for (dir = 0; dir < FW_DIR_MAX; dir++) {
		if (!(t->row->dirs >> dir & 1))
			continue;
		r = append(
			&t->b->chains[FW_MATCH_CHAIN(stateless, t->is_v6, dir)],
			part);
		if (r < 0)
			return r;
		t->b->stats.parts++;
	}
	return 0;
}

static struct fw_match_part combine(const struct taken *t,
				    const struct alternative *s,
				    const struct alternative *d, size_t sport,
				    size_t dport)
{
	return (struct fw_match_part){
		.addr = { { s->hi, s->lo }, { d->hi, d->lo } },
		.rule = t->number,
		.need = t->need | s->need | d->need,
		.port_lo = { t->port[0].lo[sport], t->port[1].lo[dport] },
		.port_hi = { t->port[0].hi[sport], t->port[1].hi[dport] },
		.len = { s->len, d->len },
		.end = fw_match_end_of(t->row),
		.slot = t->b->slots[t->number],
	};
}

static int append_parts(struct taken *t)
{
	size_t i, n = product(t);
	int r;

	for (i = 0; i < n; i++) {
		size_t rest = i, dport, sport, d;
		struct fw_match_part part;

		dport = rest % t->port[1].n;
		rest /= t->port[1].n;
		sport = rest % t->port[0].n;
		rest /= t->port[0].n;
		d = rest % t->addr[1].n;
		part = combine(t, &t->addr[0].a[rest / t->addr[1].n],
			       &t->addr[1].a[d], sport, dport);
		r = append_part(t, &part);
		if (r < 0)
			return r;
	}
	return 0;
}

static int take_row(struct fw_match_builder *b, uint32_t number, bool is_v6,
		    struct taken *t, struct fw_match_term *term)
{
	const struct fw_ir_row *row = &b->program->rows[number];
	int side, r;

	t->b = b;
	t->row = row;
	t->number = number;
	t->is_v6 = is_v6;
	t->has_term = false;
	t->need = fw_row_spares(row) ? FW_NEED_PLAIN : 0;
	for (side = 0; side < 2; side++) {
		r = choose_address(t, side);
		if (r < 0)
			return r;
	}
	choose_l4(t);
	if (product(t) == 0)
		return 0; /* matches nothing */
	r = limit_product(t);
	if (r < 0)
		return r;
	r = make_term(t, term);
	if (r < 0)
		return r;
	if (t->has_term)
		t->need |= FW_MATCH_HAS_TERM;
	return append_parts(t);
}

/* All of a row; families share a term: to ask too much does no harm. */
static int take_families(struct fw_match_builder *b, uint32_t number,
			 struct taken *t)
{
	uint8_t families = b->program->rows[number].families;
	struct fw_match_term term = { 0 };
	bool has_term = false;
	int v6, r;

	for (v6 = 0; v6 < 2; v6++) {
		if (!(families >> v6 & 1))
			continue;
		r = take_row(b, number, v6, t, &term);
		if (r < 0)
			return r;
		has_term |= t->has_term;
	}
	return has_term ? fw_match_add_term(b, number, &term) : 0;
}

/* Most rows have one part for each family and direction. */
static void expect_parts(struct fw_match_builder *b)
{
	for (size_t i = 0; i < b->program->n_rows; i++) {
		const struct fw_ir_row *row = &b->program->rows[i];
		bool stateless = row->flags & FW_ROW_STATELESS;

		for (unsigned int way = 0; way < 2 * FW_DIR_MAX; way++) {
			bool v6 = way & 1;
			size_t dir = way / 2;

			if (row->families >> v6 & row->dirs >> dir & 1)
				b->chains[FW_MATCH_CHAIN(stateless, v6, dir)]
					.n_expected++;
		}
	}
}

int fw_match_take_apart(struct fw_match_builder *b)
{
	_cleanup_free_ struct taken *t = malloc(sizeof(*t));
	uint32_t i;
	int r;

	if (!t)
		return -ENOMEM;
	expect_parts(b);
	for (i = 0; i < b->program->n_rows; i++) {
		r = take_families(b, i, t);
		if (r < 0)
			return r;
	}
	return 0;
}
