/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * From the intermediate form to the image of kern/abi.h.
 *
 * Cells: head, stateless rows, stateful rows, then each set that a row names as
 * a descriptor and its boundaries, then the annex. First everything is
 * measured, then it is written: nothing grows.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "annex.h"
#include "mem.h"
#include "sets.h"

struct plan {
	const struct fw_program *program;
	const uint32_t *slots;
	uint32_t *set_cells; /* first cell of each set; 0: no row names it */
	size_t stateless_n, rules_n;
	size_t annex_off, annex_len;
	size_t n_cells;
};

/* ---- measuring ----------------------------------------------------------- */

static size_t bounds_of(const struct fw_ranges *ranges, struct fw_u128 top)
{
	const struct fw_range *last;

	if (ranges->n == 0)
		return 0;
	last = &ranges->r[ranges->n - 1];
	return ranges->n * 2 -
	       (last->last_hi == top.hi && last->last_lo == top.lo);
}

/* The last number of each kind of list: a range up to it never ends. */
static const struct fw_u128 top_v4 = { .lo = UINT32_MAX };
static const struct fw_u128 top_v6 = { UINT64_MAX, UINT64_MAX };
static const struct fw_u128 top_port = { .lo = UINT16_MAX };

static size_t cells_for(size_t n, size_t per_cell)
{
	return (n + per_cell - 1) / per_cell;
}

static size_t set_cells(const struct fw_ir_set *set)
{
	return 1 + cells_for(bounds_of(&set->v4, top_v4), FW_V4_PER_CELL) +
	       cells_for(bounds_of(&set->v6, top_v6), FW_V6_PER_CELL) +
	       cells_for(bounds_of(&set->port, top_port), FW_PORT_PER_CELL);
}

static void place_set(struct plan *plan, int32_t set)
{
	if (set < 0 || plan->set_cells[set])
		return;
	plan->set_cells[set] = (uint32_t)plan->n_cells;
	plan->n_cells += set_cells(&plan->program->sets[set]);
}

static int measure(struct plan *plan)
{
	const struct fw_program *program = plan->program;
	size_t i;

	for (i = 0; i < program->n_rows; i++) {
		if (program->rows[i].flags & FW_ROW_STATELESS) {
			plan->stateless_n++;
		} else {
			plan->rules_n++;
		}
	}
	plan->n_cells = 1 + program->n_rows;
	for (i = 0; i < program->n_rows; i++) {
		place_set(plan, program->rows[i].src);
		place_set(plan, program->rows[i].dst);
		place_set(plan, program->rows[i].l4a);
		place_set(plan, program->rows[i].l4b);
		if (plan->n_cells > FW_MAX_CELLS)
			return -E2BIG;
	}
	plan->annex_off = plan->n_cells;
	plan->annex_len = fw_annex_size(program->texts, program->n_texts);
	plan->n_cells += cells_for(plan->annex_len, FW_CELL_SIZE);
	return plan->n_cells > FW_MAX_CELLS ? -E2BIG : 0;
}

/* ---- writing ------------------------------------------------------------- */

/* The number behind a range. */
static struct fw_u128 behind(const struct fw_range *r)
{
	struct fw_u128 end = { r->last_hi, r->last_lo + 1 };

	if (end.lo == 0)
		end.hi++;
	return end;
}

/* Boundary `i` of a merged list: starts are even, ends are odd. */
static struct fw_u128 bound_at(const struct fw_ranges *ranges, size_t i)
{
	const struct fw_range *r = &ranges->r[i / 2];

	if (i % 2)
		return behind(r);
	return (struct fw_u128){ r->first_hi, r->first_lo };
}

/* Each writer stores the boundaries of one kind and returns the next cell. */

static uint32_t write_v4(const struct fw_ranges *ranges, union fw_cell *cells,
			 uint32_t cell, uint32_t *ret_n)
{
	size_t n = bounds_of(ranges, top_v4);
	size_t i;

	for (i = 0; i < n; i++) {
		cells[cell + i / FW_V4_PER_CELL].v4[i % FW_V4_PER_CELL] =
			(uint32_t)bound_at(ranges, i).lo;
	}
	*ret_n = (uint32_t)n;
	return cell + (uint32_t)cells_for(n, FW_V4_PER_CELL);
}

static uint32_t write_v6(const struct fw_ranges *ranges, union fw_cell *cells,
			 uint32_t cell, uint32_t *ret_n)
{
	size_t n = bounds_of(ranges, top_v6);
	size_t i;

	for (i = 0; i < n; i++) {
		struct fw_u128 bound = bound_at(ranges, i);

		cells[cell + i / FW_V6_PER_CELL].v6[i % FW_V6_PER_CELL] =
			(struct fw_v6_bound){ bound.hi, bound.lo };
	}
	*ret_n = (uint32_t)n;
	return cell + (uint32_t)cells_for(n, FW_V6_PER_CELL);
}

static uint32_t write_ports(const struct fw_ranges *ranges,
			    union fw_cell *cells, uint32_t cell,
			    uint32_t *ret_n)
{
	size_t n = bounds_of(ranges, top_port);
	size_t i;

	for (i = 0; i < n; i++) {
		cells[cell + i / FW_PORT_PER_CELL].port[i % FW_PORT_PER_CELL] =
			(uint16_t)bound_at(ranges, i).lo;
	}
	*ret_n = (uint32_t)n;
	return cell + (uint32_t)cells_for(n, FW_PORT_PER_CELL);
}

static void write_set(const struct fw_ir_set *set, union fw_cell *cells,
		      uint32_t cell)
{
	struct fw_set *out = &cells[cell++].set;

	out->has_self = set->has_self;
	out->v4_off = cell;
	cell = write_v4(&set->v4, cells, cell, &out->v4_n);
	out->v6_off = cell;
	cell = write_v6(&set->v6, cells, cell, &out->v6_n);
	out->port_off = cell;
	(void)write_ports(&set->port, cells, cell, &out->port_n);
}

static uint32_t cell_of(const struct plan *plan, int32_t set)
{
	return set < 0 ? 0 : plan->set_cells[set];
}

static void write_row(const struct plan *plan, size_t i, struct fw_row *out)
{
	const struct fw_ir_row *row = &plan->program->rows[i];

	out->in_zones = row->in_zones;
	out->out_zones = row->out_zones;
	memcpy(out->protos, row->protos, sizeof(out->protos));
	out->src_set = cell_of(plan, row->src);
	out->dst_set = cell_of(plan, row->dst);
	out->l4a_set = cell_of(plan, row->l4a);
	out->l4b_set = cell_of(plan, row->l4b);
	out->slot = plan->slots[i];
	out->rule = (uint32_t)i;
	out->verdict = row->verdict;
	out->dirs = row->dirs;
	out->families = row->families;
	out->flags = row->flags;
}

static void write_rows(const struct plan *plan, union fw_cell *cells)
{
	size_t stateless = 1;
	size_t stateful = 1 + plan->stateless_n;
	size_t i;

	for (i = 0; i < plan->program->n_rows; i++) {
		if (plan->program->rows[i].flags & FW_ROW_STATELESS) {
			write_row(plan, i, &cells[stateless++].row);
		} else {
			write_row(plan, i, &cells[stateful++].row);
		}
	}
}

static void write_head(const struct plan *plan, uint32_t gen,
		       const uint32_t default_slots[FW_DIR_MAX],
		       struct fw_image_head *head)
{
	const struct fw_program *program = plan->program;

	head->magic = FW_IMAGE_MAGIC;
	head->abi = FW_ABI_VERSION;
	head->gen = gen;
	head->n_cells = (uint32_t)plan->n_cells;
	head->stateless_off = 1;
	head->stateless_n = (uint32_t)plan->stateless_n;
	head->rules_off = 1 + head->stateless_n;
	head->rules_n = (uint32_t)plan->rules_n;
	head->annex_off = (uint32_t)plan->annex_off;
	head->annex_len = (uint32_t)plan->annex_len;
	head->options = program->options;
	memcpy(head->default_slot, default_slots, sizeof(head->default_slot));
	memcpy(head->default_verdict, program->default_verdict,
	       sizeof(head->default_verdict));
	head->default_log = program->default_log;
	head->timeouts = program->timeouts;
}

int fw_emit(const struct fw_program *program, uint32_t gen,
	    const uint32_t *slots, const uint32_t default_slots[FW_DIR_MAX],
	    struct fw_image *ret)
{
	_cleanup_free_ uint32_t *places = NULL;
	struct plan plan = { .program = program, .slots = slots };
	union fw_cell *cells;
	size_t i;
	int r;

	places = calloc(program->n_sets + 1, sizeof(*places));
	if (!places)
		return -ENOMEM;
	plan.set_cells = places;
	r = measure(&plan);
	if (r < 0)
		return r;
	cells = calloc(plan.n_cells, sizeof(*cells));
	if (!cells)
		return -ENOMEM;
	write_head(&plan, gen, default_slots, &cells[0].head);
	write_rows(&plan, cells);
	for (i = 0; i < program->n_sets; i++) {
		if (places[i])
			write_set(&program->sets[i], cells, places[i]);
	}
	fw_annex_write(program->texts, program->n_texts,
		       cells[plan.annex_off].bytes);
	*ret = (struct fw_image){ cells, (uint32_t)plan.n_cells };
	return 0;
}

void fw_image_done(struct fw_image *image)
{
	free(image->cells);
	*image = (struct fw_image){ 0 };
}
