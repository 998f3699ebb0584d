/* SPDX-License-Identifier: GPL-2.0-only */

/* Rules of the syntax tree, packed. */
#include "ast_rule.h"

#include <string.h>

/* Words of 32 bits that a packed rule has at most. */
#define WORDS_PER_SPAN 2
#define WORDS_PER_ITEM (sizeof(struct fw_item *) / sizeof(uint32_t))
#define MAX_WORDS                                              \
	(FW_TERM_MAX * (2 * WORDS_PER_SPAN + WORDS_PER_ITEM) + \
	 SPAN_MAX * WORDS_PER_SPAN)

/* What kind of value it is, a term of some bits; FW_ITEM_WORD is the first. */
#define KIND_BITS 3

_Static_assert(FW_TERM_MAX *KIND_BITS <= 32 &&
		       FW_ITEM_PAIR + 1 < 1 << KIND_BITS,
	       "kinds of all terms");

enum { /* what else there may be of a rule, in this order */
       SPAN_FAMILY,
       SPAN_PREFIX,
       SPAN_LABEL,
       SPAN_OFFLOAD,
       SPAN_OFFLOAD_ON,
       SPAN_IPSEC,
       SPAN_REQID,
       SPAN_MAX
};

struct spans {
	struct fw_span s[SPAN_MAX];
};

static struct spans spans_of(const struct fw_ast_rule *rule)
{
	return (struct spans){ {
		[SPAN_FAMILY] = rule->family_at,
		[SPAN_PREFIX] = rule->prefix,
		[SPAN_LABEL] = rule->label,
		[SPAN_OFFLOAD] = rule->offload_at,
		[SPAN_OFFLOAD_ON] = rule->offload_on,
		[SPAN_IPSEC] = rule->ipsec_at,
		[SPAN_REQID] = rule->reqid_at,
	} };
}

/* ---- writing ------------------------------------------------------------------ */

struct writer {
	struct fw_packed_rule rule;
	uint32_t words[MAX_WORDS];
	size_t n;
};

static void put_span(struct writer *w, struct fw_span at)
{
	w->words[w->n++] = at.off;
	w->words[w->n++] = at.len;
}

/* One token, which its place tells all of. */
static bool is_plain(const struct fw_item *item)
{
	return item->kind == FW_ITEM_WORD || item->kind == FW_ITEM_DEFINE ||
	       item->kind == FW_ITEM_SET;
}

static void put_term(struct writer *w, unsigned int id,
		     const struct fw_ast_term *term)
{
	const struct fw_item *item = term->item;

	w->rule.kinds |= (item->kind + 1u) << id * KIND_BITS;
	if (is_plain(item)) {
		put_span(w, item->at);
	} else {
		memcpy(&w->words[w->n], &item, sizeof(item));
		w->n += WORDS_PER_ITEM;
	}
	if (term->is_negated)
		w->rule.negated |= (uint16_t)(1u << id);
	if (term->is_negated || !is_plain(item))
		put_span(w, term->at);
}

bool fw_ast_add_rule(struct fw_arena *arena, struct fw_arena_mark mark,
		     struct fw_ast *ast, struct fw_span at,
		     const struct fw_ast_rule *rule)
{
	const struct spans spans = spans_of(rule);
	struct fw_packed_rule *packed;
	struct writer w;
	bool has_trees = false;

	w.n = 0;
	w.rule = (struct fw_packed_rule){
		.at = at,
		.reqid = rule->reqid,
		.offload = rule->offload,
		.is_not_ipsec = rule->is_not_ipsec,
		.families = rule->families,
		.verdict = rule->verdict,
		.dir = rule->dir,
		.is_stateless = rule->is_stateless,
		.has_log = rule->has_log,
	};
	for (unsigned int i = 0; i < FW_TERM_MAX; i++) {
		const struct fw_ast_term *term = &rule->terms[i];

		if (!term->item)
			continue;
		put_term(&w, i, term);
		has_trees |= !is_plain(term->item);
	}
	for (unsigned int i = 0; i < SPAN_MAX; i++) {
		if (!spans.s[i].len)
			continue;
		w.rule.spans |= (uint8_t)(1u << i);
		put_span(&w, spans.s[i]);
	}
	if (!has_trees)
		fw_arena_rewind(arena, mark);
	packed =
		fw_arena_alloc(arena, sizeof(*packed) + w.n * sizeof(*w.words));
	if (!packed)
		return false;
	*packed = w.rule;
	memcpy(packed->words, w.words, w.n * sizeof(*w.words));
	if (ast->last_rule)
		ast->last_rule->next = packed;
	else
		ast->first_rule = packed;
	ast->last_rule = packed;
	return true;
}

/* ---- reading ------------------------------------------------------------------ */

struct reader {
	const struct fw_packed_rule *rule;
	const uint32_t *next;
};

static struct fw_span take_span(struct reader *r)
{
	const uint32_t *words = r->next;

	r->next += WORDS_PER_SPAN;
	return (struct fw_span){ r->rule->at.file, words[0], words[1] };
}

/* `word` is for what is no more than that. */
static struct fw_ast_term take_term(struct reader *r, unsigned int id,
				    struct fw_item *word)
{
	unsigned int kind =
		r->rule->kinds >> id * KIND_BITS & ((1u << KIND_BITS) - 1);
	struct fw_ast_term term = { 0 };

	if (!kind)
		return term;
	*word = (struct fw_item){ .kind = (enum fw_item_kind)(kind - 1) };
	term.is_negated = r->rule->negated >> id & 1;
	if (is_plain(word)) {
		word->at = take_span(r);
		term.item = word;
	} else {
		memcpy(&term.item, r->next, sizeof(term.item));
		r->next += WORDS_PER_ITEM;
	}
	if (term.is_negated || !is_plain(word))
		term.at = take_span(r);
	else
		term.at = word->at;
	return term;
}

void fw_ast_view_rule(const struct fw_packed_rule *packed,
		      struct fw_ast_view *ret)
{
	struct reader r = { .rule = packed, .next = packed->words };
	struct fw_ast_rule *rule = &ret->rule;
	struct spans spans = { 0 };

	for (unsigned int i = 0; i < FW_TERM_MAX; i++)
		rule->terms[i] = take_term(&r, i, &ret->words[i]);
	for (unsigned int i = 0; i < SPAN_MAX; i++) {
		if (packed->spans >> i & 1)
			spans.s[i] = take_span(&r);
	}
	rule->family_at = spans.s[SPAN_FAMILY];
	rule->prefix = spans.s[SPAN_PREFIX];
	rule->label = spans.s[SPAN_LABEL];
	rule->offload_at = spans.s[SPAN_OFFLOAD];
	rule->offload_on = spans.s[SPAN_OFFLOAD_ON];
	rule->ipsec_at = spans.s[SPAN_IPSEC];
	rule->reqid_at = spans.s[SPAN_REQID];
	rule->reqid = packed->reqid;
	rule->offload = packed->offload;
	rule->is_not_ipsec = packed->is_not_ipsec;
	rule->families = packed->families;
	rule->verdict = packed->verdict;
	rule->dir = packed->dir;
	rule->is_stateless = packed->is_stateless;
	rule->has_log = packed->has_log;
}
