/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Rules that can never match because earlier ones decide first: each of their
 * rows is covered by a row of an earlier rule.
 *
 * Comparing all pairs would take minutes, so rows are stored by where they are
 * in four trees of prefixes: source, destination, destination port (or ICMP
 * type), source port. A list of addresses or ports is a few such places, each
 * around some of its ranges. Of the row in question one range of each term is
 * taken, or one that it leaves, if it is negated: a row that covers it has a place
 * that contains this range, so it stands at one of the nodes between there and
 * the root. What is found there is
 * compared exactly.
 */
#include "shadow.h"

#include <stdlib.h>
#include <string.h>

#include "covers.h"
#include "ir.h"
#include "mem.h"
#include "prefix.h"

enum tree {
	TREE_V4,
	TREE_V6,
	TREE_NUMBER, /* ports, or ICMP type << 8 | code */
	TREE_MAX
};

enum dimension {
	DIM_SRC,
	DIM_DST,
	DIM_DPORT, /* or ICMP type */
	DIM_SPORT,
	DIM_MAX
};

#define MAX_GROUPS  8  /* places of one list */
#define MAX_COPIES  16 /* entries of one row and family, for its addresses */
#define FEW_COPIES  4  /* and for its ports: they tell less */
#define MAX_LOOK    64 /* ranges among which the narrowest is sought */
#define FEW_PARENTS 8  /* to be fetched together */
#define MAX_SLOTS   (3u << 20) /* in use; what the table may take of memory */

/* Where a set is in a tree: numbers as entered. */
struct set_places {
	uint32_t first;	 /* of the groups of its ranges, one behind the other */
	uint32_t n;	 /* 0: was not entered */
	uint32_t around; /* all of it */
	uint32_t narrowest; /* one of its ranges */
	uint32_t gap;	    /* some of what is not in it; 0: not entered */
};

/*
 * Either a step on the way, or at the last one a list of rows. As long as there is
 * one row alone behind a step, the steps to it stand here, too.
 */
struct slot {
	uint32_t from, node; /* the key; from 0: free */
	uint32_t id;	     /* `from` of the next steps; 0: one row alone */
	union {
		struct {
			uint32_t head, tail; /* of `entries`, + 1 */
		};
		struct {
			uint32_t row;
			uint32_t path[DIM_MAX - 1]; /* its last nodes */
		};
	};
};

struct entry {
	uint32_t row;
	uint32_t next; /* + 1; 0: none */
};

struct search {
	const struct fw_program *program;
	size_t n_rows; /* that are looked at */
	struct fw_covers covers;
	struct fw_prefixes trees[TREE_MAX];
	struct set_places *places[TREE_MAX]; /* per set */
	struct slot *slots;
	size_t n_slots, n_used;
	struct entry *entries;
	size_t n_entries;
	uint32_t n_ids;
	uint64_t max_steps;
	/* Of the row that is looked up. */
	uint32_t at[DIM_MAX];
	const struct fw_ir_row *row;
	uint8_t families;
	uint32_t found; /* row + 1; 0: none */
};

static const struct fw_u128 tops[TREE_MAX] = {
	[TREE_V4] = { .lo = UINT32_MAX },
	[TREE_V6] = { UINT64_MAX, UINT64_MAX },
	[TREE_NUMBER] = { .lo = UINT16_MAX },
};

/* ---- where sets are ------------------------------------------------------ */

static struct fw_prefix around(const struct fw_ranges *ranges, size_t from,
			       size_t to)
{
	const struct fw_range *a = &ranges->r[from];
	const struct fw_range *b = &ranges->r[to - 1];

	return fw_prefix_around((struct fw_u128){ a->first_hi, a->first_lo },
				(struct fw_u128){ b->last_hi, b->last_lo });
}

/* Which of the first ranges. */
static size_t narrowest(const struct fw_ranges *ranges)
{
	unsigned int host, least = 129;
	size_t i, best = 0;

	for (i = 0; i < ranges->n && i < MAX_LOOK; i++) {
		host = around(ranges, i, i + 1).host;
		if (host < least) {
			least = host;
			best = i;
		}
	}
	return best;
}

static int enter_ranges(struct fw_prefixes *tree,
			const struct fw_ranges *ranges, struct set_places *ret)
{
	size_t i, n = ranges->n < MAX_GROUPS ? ranges->n : MAX_GROUPS;
	uint32_t number;
	size_t best;
	int r;

	for (i = 0; i < n; i++) {
		r = fw_prefixes_add(tree,
				    around(ranges, i * ranges->n / n,
					   (i + 1) * ranges->n / n),
				    &number);
		if (r < 0)
			return r;
		if (i == 0)
			ret->first = number;
	}
	ret->around = ret->first;
	ret->narrowest = ret->first;
	ret->n = (uint32_t)n;
	if (n < 2)
		return 0;
	r = fw_prefixes_add(tree, around(ranges, 0, ranges->n), &ret->around);
	if (r < 0)
		return r;
	best = narrowest(ranges);
	if (n == ranges->n) {
		ret->narrowest = ret->first + (uint32_t)best;
		return 0;
	}
	return fw_prefixes_add(tree, around(ranges, best, best + 1),
			       &ret->narrowest);
}

/* The first stretch of what is in no range; there is one. */
static struct fw_prefix first_gap(const struct fw_ranges *ranges,
				  struct fw_u128 top)
{
	struct fw_u128 first = { 0 };
	struct fw_u128 last = top;
	size_t i = 0;

	if (ranges->n && !(ranges->r[0].first_hi | ranges->r[0].first_lo)) {
		first = (struct fw_u128){ ranges->r[0].last_hi,
					  ranges->r[0].last_lo + 1 };
		first.hi += first.lo == 0;
		i = 1;
	}
	if (i < ranges->n) {
		last = (struct fw_u128){ ranges->r[i].first_hi,
					 ranges->r[i].first_lo - 1 };
		last.hi -= ranges->r[i].first_lo == 0;
	}
	return fw_prefix_around(first, last);
}

static int enter_set(struct search *s, enum tree tree, int32_t set,
		     bool is_negated)
{
	const struct fw_ir_set *content;
	const struct fw_ranges *ranges;
	struct set_places *places;

	if (set < 0)
		return 0;
	content = &s->program->sets[set];
	places = &s->places[tree][set];
	ranges = tree == TREE_V4   ? &content->v4
		 : tree == TREE_V6 ? &content->v6
				   : &content->port;
	if (!is_negated && places->n)
		return 0;
	if (!is_negated)
		return enter_ranges(&s->trees[tree], ranges, places);
	if (places->gap ||
	    fw_ranges_is(ranges, (struct fw_u128){ 0 }, tops[tree]))
		return 0;
	return fw_prefixes_add(&s->trees[tree], first_gap(ranges, tops[tree]),
			       &places->gap);
}

static int enter_row(struct search *s, const struct fw_ir_row *row)
{
	const struct {
		enum tree tree;
		int32_t set;
		uint32_t negation;
	} all[] = {
		{ TREE_V4, row->src, FW_ROW_NOT_SRC },
		{ TREE_V4, row->dst, FW_ROW_NOT_DST },
		{ TREE_V6, row->src, FW_ROW_NOT_SRC },
		{ TREE_V6, row->dst, FW_ROW_NOT_DST },
		{ TREE_NUMBER, row->l4a, FW_ROW_NOT_SPORT },
		{ TREE_NUMBER, row->l4b, FW_ROW_NOT_DPORT },
	};
	size_t i;
	int r;

	for (i = 0; i < ARRAY_SIZE(all); i++) {
		r = enter_set(s, all[i].tree, all[i].set,
			      row->flags & all[i].negation);
		if (r < 0)
			return r;
	}
	return 0;
}

static int make_trees(struct search *s)
{
	uint32_t ignored;
	size_t i;
	int tree, r;

	for (tree = 0; tree < TREE_MAX; tree++) {
		s->places[tree] = calloc(s->program->n_sets + 1,
					 sizeof(*s->places[tree]));
		if (!s->places[tree])
			return -1;
		r = fw_prefixes_add(
			&s->trees[tree],
			fw_prefix_around((struct fw_u128){ 0 }, tops[tree]),
			&ignored);
		if (r < 0)
			return r;
	}
	for (i = 0; i < s->n_rows; i++) {
		r = enter_row(s, &s->program->rows[i]);
		if (r < 0)
			return r;
	}
	for (tree = 0; tree < TREE_MAX; tree++) {
		r = fw_prefixes_link(&s->trees[tree]);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- where rows are ------------------------------------------------------ */

/* One term of a row: which set, in which tree. */
struct term {
	const struct set_places *places; /* NULL: any, or `self` is in it */
	enum tree tree;
	bool is_negated;
};

static struct term term_of(const struct search *s, const struct fw_ir_row *row,
			   enum dimension dim, bool is_v6)
{
	struct term term = { .tree = is_v6 ? TREE_V6 : TREE_V4 };
	bool is_icmp = row->flags & FW_ROW_ICMP;
	uint32_t negation = 0;
	int32_t set = -1;

	switch (dim) {
	case DIM_SRC:
		set = row->src;
		negation = FW_ROW_NOT_SRC;
		break;
	case DIM_DST:
		set = row->dst;
		negation = FW_ROW_NOT_DST;
		break;
	case DIM_DPORT:
		term.tree = TREE_NUMBER;
		set = is_icmp && !is_v6 ? row->l4a : row->l4b;
		negation = FW_ROW_NOT_DPORT;
		break;
	case DIM_SPORT:
		term.tree = TREE_NUMBER;
		set = is_icmp ? -1 : row->l4a;
		negation = FW_ROW_NOT_SPORT;
		break;
	case DIM_MAX:
		break;
	}
	term.is_negated = row->flags & negation;
	/* `self` stands for any address: only everything covers it. */
	if (set >= 0 && (term.is_negated || !s->program->sets[set].has_self))
		term.places = &s->places[term.tree][set];
	return term;
}

/* What lists do not share: 1 .. 12. */
static uint32_t list_of(const struct fw_ir_row *row, bool is_v6)
{
	uint32_t dir = (uint32_t)__builtin_ctz(row->dirs);

	return 1 + dir * 4 + (row->flags & FW_ROW_STATELESS ? 2 : 0) + is_v6;
}

#define FIRST_ID    16
#define FIRST_SLOTS 256

/* ---- the table ----------------------------------------------------------- */

static size_t first_place(size_t n, uint32_t from, uint32_t node)
{
	uint64_t key = ((uint64_t)from << 32 | node) * 0x9e3779b97f4a7c15u;

	return (key ^ key >> 32) & (n - 1);
}

static struct slot *find_slot(struct slot *slots, size_t n, uint32_t from,
			      uint32_t node)
{
	size_t i = first_place(n, from, node);

	while (slots[i].from &&
	       (slots[i].from != from || slots[i].node != node))
		i = (i + 1) & (n - 1);
	return &slots[i];
}

static bool widen(struct search *s)
{
	size_t n = s->n_slots ? s->n_slots * 2 : FIRST_SLOTS;
	struct slot *slots;
	size_t i;

	/* Most rows take one or two; moving them costs more than room. */
	while (!s->n_slots && n < s->n_rows * 2)
		n *= 2;
	slots = calloc(n, sizeof(*slots));
	if (!slots)
		return false;
	for (i = 0; i < s->n_slots; i++) {
		const struct slot *old = &s->slots[i];

		if (old->from)
			*find_slot(slots, n, old->from, old->node) = *old;
	}
	free(s->slots);
	s->slots = slots;
	s->n_slots = n;
	return true;
}

/* The slot of a key, free if there was none; NULL without memory. */
static struct slot *need_slot(struct search *s, uint32_t from, uint32_t node)
{
	if (s->n_used >= s->n_slots / 4 * 3 && !widen(s))
		return NULL;
	return find_slot(s->slots, s->n_slots, from, node);
}

static bool append(struct search *s, struct slot *slot, uint32_t row)
{
	struct entry *entries;
	uint32_t number;

	entries = fw_mem_grow(s->entries, s->n_entries, sizeof(*entries));
	if (!entries)
		return false;
	s->entries = entries;
	entries[s->n_entries++] = (struct entry){ .row = row };
	number = (uint32_t)s->n_entries;
	if (slot->tail) {
		entries[slot->tail - 1].next = number;
	} else {
		slot->head = number;
	}
	slot->tail = number;
	return true;
}

/* ---- storing rows -------------------------------------------------------- */

/* The nodes of a row in each dimension. */
struct nodes {
	uint32_t node[DIM_MAX][MAX_GROUPS];
	uint32_t n[DIM_MAX];
};

static void nodes_of(const struct search *s, const struct fw_ir_row *row,
		     bool is_v6, struct nodes *ret)
{
	uint32_t copies = 1;
	int dim;
	uint32_t i;

	for (dim = 0; dim < DIM_MAX; dim++) {
		struct term term = term_of(s, row, (enum dimension)dim, is_v6);
		const uint32_t *nodes = s->trees[term.tree].node;
		const struct set_places *p = term.places;
		uint32_t *node = ret->node[dim];

		ret->n[dim] = 1;
		node[0] = FW_PREFIX_ROOT;
		if (!p || !p->n || term.is_negated)
			continue;
		node[0] = nodes[p->around];
		if (p->n * copies >
		    (term.tree == TREE_NUMBER ? FEW_COPIES : MAX_COPIES))
			continue;
		copies *= p->n;
		ret->n[dim] = p->n;
		for (i = 0; i < p->n; i++)
			node[i] = nodes[p->first + i];
	}
}

/* One way leads on from a step. */
static bool is_single(const struct nodes *nodes, int dim)
{
	while (++dim < DIM_MAX) {
		if (nodes->n[dim] != 1)
			return false;
	}
	return true;
}

static void take_slot(struct search *s, struct slot *slot, uint32_t from,
		      uint32_t node)
{
	s->n_used++;
	*slot = (struct slot){ .from = from, .node = node };
}

/* A row alone behind a step. */
static void put_alone(struct slot *slot, const struct nodes *nodes, int dim,
		      uint32_t row)
{
	int i;

	slot->row = row;
	for (i = dim + 1; i < DIM_MAX; i++)
		slot->path[i - 1] = nodes->node[i][0];
}

/* Behind a step there was one row alone: it goes a step further. */
static bool push_on(struct search *s, struct slot *slot, int dim)
{
	struct slot old = *slot, *next;

	slot->id = s->n_ids++;
	next = need_slot(s, s->n_ids - 1, old.path[dim]);
	if (!next)
		return false;
	take_slot(s, next, s->n_ids - 1, old.path[dim]);
	if (dim + 2 == DIM_MAX)
		return append(s, next, old.row);
	next->row = old.row;
	memcpy(next->path, old.path, sizeof(next->path));
	return true;
}

static bool store_below(struct search *s, uint32_t from,
			const struct nodes *nodes, int dim, uint32_t row);

/* One of the nodes in a dimension. */
static bool store_at(struct search *s, uint32_t from, uint32_t node,
		     const struct nodes *nodes, int dim, uint32_t row)
{
	struct slot *slot = need_slot(s, from, node);
	bool is_new;
	uint32_t id;

	if (!slot)
		return false;
	is_new = !slot->from;
	if (is_new)
		take_slot(s, slot, from, node);
	if (dim + 1 == DIM_MAX)
		return append(s, slot, row);
	if (is_new && is_single(nodes, dim)) {
		put_alone(slot, nodes, dim, row);
		return true;
	}
	if (is_new)
		slot->id = s->n_ids++;
	id = slot->id ? slot->id : s->n_ids;
	if (!slot->id && !push_on(s, slot, dim))
		return false;
	return store_below(s, id, nodes, dim + 1, row);
}

static bool store_below(struct search *s, uint32_t from,
			const struct nodes *nodes, int dim, uint32_t row)
{
	uint32_t i;

	for (i = 0; i < nodes->n[dim]; i++) {
		s->covers.steps++;
		if (!store_at(s, from, nodes->node[dim][i], nodes, dim, row))
			return false;
	}
	return true;
}

static bool store(struct search *s, uint32_t number)
{
	const struct fw_ir_row *row = &s->program->rows[number];
	struct nodes nodes;
	int is_v6;

	for (is_v6 = 0; is_v6 < 2; is_v6++) {
		if (!(s->families & (is_v6 ? FW_FAMILY_IPV6 : FW_FAMILY_IPV4)))
			continue;
		nodes_of(s, row, is_v6, &nodes);
		if (!store_below(s, list_of(row, is_v6), &nodes, 0, number))
			return false;
	}
	return true;
}

/* ---- looking rows up ----------------------------------------------------- */

/*
 * Essential messages fall through a rule that denies without naming them, so a
 * later rule that names them is of use.
 */
static bool decides(struct search *s, const struct fw_ir_row *earlier)
{
	return fw_row_covers(&s->covers, earlier, s->row, s->families) &&
	       !(fw_row_spares(earlier) && (s->row->flags & FW_ROW_NAMED) &&
		 fw_row_may_be_essential(s->row));
}

/* False: what follows cannot be better. */
static bool look_at_row_before(struct search *s, uint32_t row)
{
	if ((s->found && row + 1 >= s->found) || s->covers.steps > s->max_steps)
		return false;
	if (!decides(s, &s->program->rows[row]))
		return true;
	s->found = row + 1;
	return false;
}

static void look_at_list(struct search *s, const struct slot *slot)
{
	uint32_t i;

	for (i = slot->head; i; i = s->entries[i - 1].next) {
		if (!look_at_row_before(s, s->entries[i - 1].row))
			return;
	}
}

/* Where the prefixes are that contain each other in a dimension. */
static const uint32_t *parents_in(const struct search *s, int dim)
{
	enum tree tree = TREE_NUMBER;

	if (dim == DIM_SRC || dim == DIM_DST)
		tree = s->families & FW_FAMILY_IPV4 ? TREE_V4 : TREE_V6;
	return s->trees[tree].parent;
}

/* Is a row alone behind a step where it may cover the one in question? */
static bool is_on_the_way(const struct search *s, const struct slot *slot,
			  int dim)
{
	while (++dim < DIM_MAX) {
		const uint32_t *parent = parents_in(s, dim);
		uint32_t node = s->at[dim];

		while (node != slot->path[dim - 1]) {
			if (node == FW_PREFIX_ROOT)
				return false;
			node = parent[node];
		}
	}
	return true;
}

/* The table is larger than any cache: ask for all places at once. */
static void fetch_below(const struct search *s, uint32_t from, int dim)
{
	const uint32_t *parent = parents_in(s, dim);
	uint32_t node = s->at[dim];
	int i;

	for (i = 0; i < FEW_PARENTS && node != FW_PREFIX_ROOT; i++) {
		node = parent[node];
		__builtin_prefetch(
			&s->slots[first_place(s->n_slots, from, node)]);
	}
}

static void look_below(struct search *s, uint32_t from, int dim)
{
	const uint32_t *parent = parents_in(s, dim);
	const struct slot *slot;
	uint32_t node = s->at[dim];

	fetch_below(s, from, dim);
	for (;;) {
		if (s->covers.steps++ > s->max_steps)
			return;
		slot = find_slot(s->slots, s->n_slots, from, node);
		if (slot->from && dim + 1 == DIM_MAX) {
			look_at_list(s, slot);
		} else if (slot->from && slot->id) {
			look_below(s, slot->id, dim + 1);
		} else if (slot->from && is_on_the_way(s, slot, dim)) {
			(void)look_at_row_before(s, slot->row);
		}
		if (node == FW_PREFIX_ROOT)
			return;
		node = parent[node];
	}
}

/* Fill `found` for a row that can match. */
static void look_up(struct search *s)
{
	bool is_v6 = !(s->families & FW_FAMILY_IPV4);
	int dim;

	s->found = 0;
	for (dim = 0; dim < DIM_MAX; dim++) {
		struct term term =
			term_of(s, s->row, (enum dimension)dim, is_v6);
		const uint32_t *nodes = s->trees[term.tree].node;
		const struct set_places *p = term.places;

		s->at[dim] = FW_PREFIX_ROOT;
		if (p && term.is_negated) {
			s->at[dim] = nodes[p->gap];
		} else if (p && p->n) {
			s->at[dim] = nodes[p->narrowest];
		}
	}
	look_below(s, list_of(s->row, is_v6), 0);
}

/* ---- whole rules --------------------------------------------------------- */

/* What became of the rows of a rule so far. */
struct fate {
	uint32_t rule;	   /* its first row */
	uint32_t by;	   /* the first row of a rule that decides some; + 1 */
	uint32_t other_by; /* and of another one; 0: none */
	bool is_alive;	   /* some row is decided by no other rule */
	bool is_same;	   /* each row is the one in its place of rule `by` */
	bool is_redundant; /* all that decide say the same */
};

/* One row that can match was looked up. */
static void note_fate(const struct search *s, uint32_t number,
		      struct fate *fate)
{
	const struct fw_ir_row *rows = s->program->rows;
	uint32_t by;

	if (!s->found) {
		fate->is_alive = true;
		return;
	}
	by = rows[s->found - 1].rule + 1;
	/* By another row of the same rule, which is looked at by itself. */
	if (by == fate->rule + 1)
		return;
	if (!fate->by)
		fate->by = by;
	if (by != fate->by && !fate->other_by)
		fate->other_by = by;
	fate->is_same &= s->found - by == number - fate->rule &&
			 fw_row_is_same(&rows[number], &rows[s->found - 1]);
	/* Behind a promise of IPsec, one without it can let nothing in clear out. */
	fate->is_redundant &=
		rows[number].verdict == rows[s->found - 1].verdict &&
		fw_row_promises(&rows[number]) ==
			fw_row_promises(&rows[s->found - 1]);
}

static size_t count_rows(const struct fw_program *program, uint32_t rule)
{
	size_t i = rule;

	while (i < program->n_rows && program->rows[i].rule == rule)
		i++;
	return i - rule;
}

static const char *what_it_matches(const struct fw_program *program,
				   const struct fate *fate)
{
	if (fate->other_by)
		return "this rule matches a part of it";
	if (fate->is_same && count_rows(program, fate->rule) ==
				     count_rows(program, fate->by - 1))
		return "this rule matches the same";
	return "this rule matches everything it does";
}

/* All rows of a rule were looked at. */
static void warn(struct fw_reporter *rep, const struct fw_program *program,
		 const struct fw_span *places, const struct fate *fate)
{
	static const char *const texts[2][2] = {
		{ "rule can never match; an earlier rule decides first",
		  "rule can never match; earlier rules decide first" },
		{ "rule is redundant; an earlier rule decides the same",
		  "rule is redundant; earlier rules decide the same" },
	};

	if (fate->is_alive || !fate->by)
		return;
	fw_report_warning(rep, places[fate->rule], "%s",
			  texts[fate->is_redundant][fate->other_by != 0]);
	fw_report_note(rep, places[fate->by - 1], "%s",
		       what_it_matches(program, fate));
	if (fate->other_by) {
		fw_report_note(rep, places[fate->other_by - 1],
			       "and this one another part");
	}
}

/* ---- all rows ------------------------------------------------------------ */

/* May the row be left out?  Not if it counts essential messages. */
static bool is_dead(const struct fw_ir_row *row, const struct fw_ir_row *first)
{
	return !fw_row_spares(first) || fw_row_spares(row) ||
	       !fw_row_may_be_essential(row);
}

static bool look_at_row(struct search *s, struct fw_program *program,
			uint32_t number, struct fate *fate)
{
	struct fw_ir_row *row = &program->rows[number];

	if (row->rule == number) {
		*fate = (struct fate){ .rule = number,
				       .is_same = true,
				       .is_redundant = true };
	}
	s->row = row;
	s->families = fw_row_families(program, row);
	if (!s->families)
		return true;
	look_up(s);
	note_fate(s, number, fate);
	if (!s->found || !is_dead(row, &program->rows[s->found - 1]))
		return store(s, number);
	/* Whatever it covers, the earlier one covers too. */
	row->decided_by = s->found;
	return true;
}

static void search_done(struct search *s)
{
	int tree;

	for (tree = 0; tree < TREE_MAX; tree++) {
		fw_prefixes_done(&s->trees[tree]);
		free(s->places[tree]);
	}
	free(s->slots);
	free(s->entries);
	fw_covers_done(&s->covers);
}

/* The search has ended before this row. */
static void say_end(struct fw_reporter *rep, const struct fw_span *places,
		    uint32_t row, const struct search *s)
{
	fw_report_warning(
		rep, places[row],
		"from here on nobody looked for rules that can never match");
	if (row == s->n_rows) {
		fw_report_hint(
			rep,
			"a load looks at the first %zu only; fwctl check looks at all",
			s->n_rows);
		return;
	}
	fw_report_hint(
		rep,
		"the rules are too many or overlap too much: the search ends after %llu comparisons or %u places%s",
		(unsigned long long)s->max_steps, MAX_SLOTS,
		s->max_steps < FW_SHADOW_STEPS ? "; fwctl check looks longer"
					       : "");
}

void fw_shadow_find(struct fw_reporter *rep, struct fw_program *program,
		    const struct fw_span *places, uint64_t steps, size_t rows)
{
	struct search s = { .program = program,
			    .n_rows = rows < program->n_rows ? rows
							     : program->n_rows,
			    .n_ids = FIRST_ID,
			    .max_steps = steps };
	struct fate fate = { 0 };
	uint32_t i;

	if (!program->n_rows || fw_report_is_full(rep))
		return;
	if (fw_covers_init(&s.covers, program) < 0 || make_trees(&s) < 0 ||
	    !widen(&s))
		rep->is_broken = true;
	for (i = 0; i < s.n_rows && !rep->is_broken; i++) {
		if (!look_at_row(&s, program, i, &fate))
			rep->is_broken = true;
		if (i + 1 == program->n_rows ||
		    program->rows[i + 1].rule == i + 1)
			warn(rep, program, places, &fate);
		if (s.covers.steps > steps || s.n_used > MAX_SLOTS)
			break;
	}
	if (i < program->n_rows && !rep->is_broken)
		say_end(rep, places, i, &s);
	search_done(&s);
}
