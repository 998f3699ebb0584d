/* SPDX-License-Identifier: GPL-2.0-only */

/* Memory of the compiler: arrays with room expected, arenas, packed rules. */
#include <stdlib.h>

#include "rules/arena.h"
#include "rules/ast_rule.h"
#include "rules/mem.h"
#include "rules_helper.h"

static void test_grow_from(void **state)
{
	static const size_t expected[] = { 0, 1, 4, 5, 7, 8, 1000 };

	(void)state;
	for (size_t k = 0; k < sizeof(expected) / sizeof(*expected); k++) {
		uint32_t *array = NULL;

		for (uint32_t i = 0; i < 5000; i++) {
			uint32_t *more = fw_mem_grow_from(expected[k], array, i,
							  sizeof(*array));

			assert_non_null(more);
			/* what it began with is enough for that many */
			if (array && i < expected[k])
				assert_ptr_equal(more, array);
			array = more;
			array[i] = i;
		}
		for (uint32_t i = 0; i < 5000; i++)
			assert_int_equal(array[i], i);
		free(array);
	}
	assert_null(fw_mem_grow_from(SIZE_MAX / 2, NULL, 0, 4));
}

static void test_rewind(void **state)
{
	struct fw_arena arena = { 0 };
	struct fw_arena_mark mark = fw_arena_mark(&arena);
	unsigned char *first, *again;

	(void)state;
	fw_arena_rewind(&arena, mark); /* nothing is there */
	first = fw_arena_alloc(&arena, 100);
	memset(first, 0xff, 100);
	mark = fw_arena_mark(&arena);
	first = fw_arena_alloc(&arena, 1000);
	memset(first, 0xff, 1000);
	fw_arena_rewind(&arena, mark);
	again = fw_arena_alloc(&arena, 1000);
	assert_ptr_equal(again, first);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(again[i], 0);
	/* A new block: what was allocated stays. */
	mark = fw_arena_mark(&arena);
	first = fw_arena_alloc(&arena, (size_t)1 << 20);
	memset(first, 0xff, (size_t)1 << 20);
	for (int i = 0; i < 100; i++)
		(void)fw_arena_alloc(&arena, 100000);
	fw_arena_rewind(&arena, mark);
	assert_int_equal(first[(1 << 20) - 1], 0xff);
	fw_arena_done(&arena);
}

/* ---- packed rules ----------------------------------------------------------------- */

static uint32_t number(uint32_t below)
{
	return (uint32_t)random() % below;
}

static struct fw_span span(void)
{
	return (struct fw_span){ 3, number(1u << 28), 1 + number(1000) };
}

static struct fw_span maybe_span(void)
{
	return number(2) ? span() : (struct fw_span){ 0 };
}

static struct fw_ast_term random_term(struct fw_arena *arena)
{
	static const enum fw_item_kind kinds[] = {
		FW_ITEM_WORD, FW_ITEM_WORD, FW_ITEM_DEFINE,
		FW_ITEM_SET,  FW_ITEM_LIST, FW_ITEM_PAIR,
	};
	struct fw_ast_term term = { .is_negated = number(2) };

	if (!number(3))
		return (struct fw_ast_term){ 0 };
	term.item = fw_arena_alloc(arena, sizeof(*term.item));
	term.item->kind = kinds[number(sizeof(kinds) / sizeof(*kinds))];
	term.item->at = span();
	term.at = term.is_negated ? span() : term.item->at;
	if (term.item->kind >= FW_ITEM_LIST)
		term.item->first = fw_arena_alloc(arena, sizeof(*term.item));
	return term;
}

static struct fw_ast_rule random_rule(struct fw_arena *arena)
{
	struct fw_ast_rule rule = {
		.family_at = maybe_span(),
		.prefix = maybe_span(),
		.label = maybe_span(),
		.offload_at = maybe_span(),
		.offload_on = maybe_span(),
		.ipsec_at = maybe_span(),
		.reqid_at = maybe_span(),
		.reqid = number(UINT32_MAX),
		.offload = (uint8_t)number(256),
		.is_not_ipsec = number(2),
		.families = (uint8_t)number(256),
		.verdict = (uint8_t)number(256),
		.dir = (uint8_t)number(256),
		.is_stateless = number(2),
		.has_log = number(2),
	};

	for (int i = 0; i < FW_TERM_MAX; i++)
		rule.terms[i] = random_term(arena);
	return rule;
}

static void same_span(struct fw_span a, struct fw_span b)
{
	assert_int_equal(a.len, b.len);
	if (!a.len)
		return;
	assert_int_equal(a.file, b.file);
	assert_int_equal(a.off, b.off);
}

static void same_rule(const struct fw_ast_rule *a, const struct fw_ast_rule *b)
{
	for (int i = 0; i < FW_TERM_MAX; i++) {
		const struct fw_ast_term *x = &a->terms[i], *y = &b->terms[i];

		assert_int_equal(!x->item, !y->item);
		if (!x->item)
			continue;
		same_span(x->at, y->at);
		same_span(x->item->at, y->item->at);
		assert_int_equal(x->is_negated, y->is_negated);
		assert_int_equal(x->item->kind, y->item->kind);
		assert_ptr_equal(x->item->first, y->item->first);
		assert_null(y->item->next);
	}
	same_span(a->family_at, b->family_at);
	same_span(a->prefix, b->prefix);
	same_span(a->label, b->label);
	same_span(a->offload_at, b->offload_at);
	same_span(a->offload_on, b->offload_on);
	same_span(a->ipsec_at, b->ipsec_at);
	same_span(a->reqid_at, b->reqid_at);
	assert_int_equal(a->reqid, b->reqid);
	assert_int_equal(a->offload, b->offload);
	assert_int_equal(a->is_not_ipsec, b->is_not_ipsec);
	assert_int_equal(a->families, b->families);
	assert_int_equal(a->verdict, b->verdict);
	assert_int_equal(a->dir, b->dir);
	assert_int_equal(a->is_stateless, b->is_stateless);
	assert_int_equal(a->has_log, b->has_log);
}

/* What comes out is what went in, for rules with anything in them. */
static void test_packed_rules(void **state)
{
	enum { RULES = 2000 };
	struct fw_ast_rule *rules = calloc(RULES, sizeof(*rules));
	/* What they were parsed into, which packing may give back. */
	struct fw_arena parsed = { 0 }, arena = { 0 };
	const struct fw_packed_rule *packed;
	struct fw_ast_view view;
	struct fw_ast ast = { 0 };
	size_t n = 0;

	(void)state;
	assert_non_null(rules);
	for (int i = 0; i < RULES; i++) {
		rules[i] = random_rule(&parsed);
		assert_true(fw_ast_add_rule(&arena, fw_arena_mark(&arena), &ast,
					    span(), &rules[i]));
	}
	for (packed = ast.first_rule; packed; packed = packed->next) {
		memset(&view, 0xff, sizeof(view));
		fw_ast_view_rule(packed, &view);
		same_rule(&rules[n++], &view.rule);
	}
	assert_int_equal(n, RULES);
	fw_arena_done(&parsed);
	fw_arena_done(&arena);
	free(rules);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_grow_from),
		cmocka_unit_test(test_rewind),
		cmocka_unit_test(test_packed_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
