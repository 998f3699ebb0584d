/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * From rules to what kern/match.h walks: the order of things in the image.
 *
 * Sets and terms first, then the rows, then the chains with their tables.
 */
#include "match.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "match_part.h"
#include "mem.h"

/* Parts beyond one a rule and family, see fw_match_build(). */
#define EXTRA_A_RULE   4
#define EXTRA_AT_LEAST 1024
#define EXTRA_AT_MOST  262144

static void builder_done(struct fw_match_builder *b)
{
	size_t i;

	for (i = 0; i < FW_MATCH_CHAINS; i++)
		free(b->chains[i].parts);
	for (i = 0; b->hulls && i < 2 * b->program->n_sets; i++)
		free(b->hulls[i]);
	free(b->hulls);
	free(b->terms);
	free(b->rows);
	free(b->sets);
	free(b->bounds);
	free(b->by_hash);
}

static int builder_init(struct fw_match_builder *b)
{
	const struct fw_program *program = b->program;

	b->terms = calloc(program->n_rows + 1, sizeof(*b->terms));
	b->rows = calloc(program->n_rows + 1, sizeof(*b->rows));
	b->sets = calloc(program->n_sets + 1, sizeof(*b->sets));
	b->bounds = calloc(2 * program->n_sets + 1, sizeof(*b->bounds));
	b->hulls = calloc(2 * program->n_sets + 1, sizeof(*b->hulls));
	if (!b->terms || !b->rows || !b->sets || !b->bounds || !b->hulls)
		return -ENOMEM;
	b->extra_parts = program->n_rows * EXTRA_A_RULE;
	if (b->extra_parts < EXTRA_AT_LEAST)
		b->extra_parts = EXTRA_AT_LEAST;
	if (b->extra_parts > EXTRA_AT_MOST)
		b->extra_parts = EXTRA_AT_MOST;
	return 0;
}

/* The counters of all rules, for whoever asks for them later. */
static int write_slots(struct fw_match_builder *b, uint32_t *ret_off)
{
	size_t size = b->program->n_rows * sizeof(*b->slots);
	uint32_t off;

	off = fw_bytes_reserve(b->bytes, size, 8);
	if (off == FW_BYTES_FAILED)
		return -ENOMEM;
	if (size)
		memcpy(fw_bytes_at(b->bytes, off), b->slots, size);
	*ret_off = off;
	return 0;
}

/* The rules that have a term; all others are in their entries alone. */
static int write_rows(struct fw_match_builder *b)
{
	struct fw_match_row row;
	uint32_t i, off;

	for (i = 0; i < b->program->n_rows; i++) {
		if (!b->terms[i])
			continue;
		off = fw_bytes_reserve(b->bytes, sizeof(row), 4);
		if (off == FW_BYTES_FAILED)
			return -ENOMEM;
		row = (struct fw_match_row){
			.term = b->terms[i],
			.slot = b->slots[i],
			.end = fw_match_end(b, i),
		};
		memcpy(fw_bytes_at(b->bytes, off), &row, sizeof(row));
		b->rows[i] = off;
	}
	return 0;
}

static void set_classes(struct fw_match_head *head)
{
	unsigned int proto;

	for (proto = 0; proto < ARRAY_SIZE(head->classes); proto++)
		head->classes[proto] =
			(uint8_t)(1u << fw_match_class((uint8_t)proto));
}

static void set_zones(const struct fw_match_builder *b,
		      struct fw_match_head *head)
{
	uint32_t i;

	head->n_in_zones = b->n_zones;
	for (i = 0; i < b->n_zones; i++) {
		head->in_zones[i] = b->zones[i].zones;
		if (!b->zones[i].is_negated)
			head->in_wanted |= 1u << (FW_MATCH_ZONES_SHIFT + i);
	}
}

static int write_chains(struct fw_match_builder *b, struct fw_match_head *head)
{
	size_t i;
	int r;

	for (i = 0; i < FW_MATCH_CHAINS; i++) {
		r = fw_match_add_chain(b, FW_MATCH_CHAIN_IS_V6(i),
				       &b->chains[i], &head->chain[i]);
		if (r < 0)
			return r;
	}
	r = fw_match_add_front(b, head, false, &head->front[0]);
	return r < 0 ? r : fw_match_add_front(b, head, true, &head->front[1]);
}

static int build(struct fw_match_builder *b, struct fw_match_head *head)
{
	int r;

	r = builder_init(b);
	if (r < 0)
		return r;
	r = fw_match_take_apart(b);
	if (r < 0)
		return r;
	set_classes(head);
	set_zones(b, head);
	r = write_slots(b, &head->slots);
	if (r < 0)
		return r;
	r = write_rows(b);
	if (r < 0)
		return r;
	return write_chains(b, head);
}

int fw_match_build(const struct fw_program *program, const uint32_t *slots,
		   const uint32_t default_slots[FW_DIR_MAX],
		   struct fw_bytes *bytes, uint32_t *ret_off,
		   struct fw_match_stats *ret_stats)
{
	__attribute__((cleanup(builder_done))) struct fw_match_builder b = {
		.program = program,
		.slots = slots,
		.bytes = bytes,
	};
	struct fw_match_head head = {
		.none = FW_END_NONE,
	};
	uint32_t off;
	int r;

	if (program->n_rows > FW_MATCH_MAX_RULES)
		return -E2BIG;
	off = fw_bytes_reserve(bytes, sizeof(head), 64);
	if (off == FW_BYTES_FAILED)
		return -ENOMEM;
	memcpy(head.default_slot, default_slots, sizeof(head.default_slot));
	memcpy(head.default_verdict, program->default_verdict,
	       sizeof(head.default_verdict));
	for (int dir = 0; dir < FW_DIR_MAX; dir++)
		head.default_flags[dir] =
			fw_program_default_flags(program, (enum fw_dir)dir);
	r = build(&b, &head);
	if (r < 0)
		return r;
	memcpy(fw_bytes_at(bytes, off), &head, sizeof(head));
	*ret_off = off;
	if (ret_stats)
		*ret_stats = b.stats;
	return 0;
}
