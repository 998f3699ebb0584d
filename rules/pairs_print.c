/* SPDX-License-Identifier: GPL-2.0-only */

/* The canonical form of sets of addresses with ports. */
#include "pairs_print.h"

#include <inttypes.h>
#include <stdlib.h>

#include "addr.h"
#include "mem.h"
#include "str.h"

/* One range of addresses and its list of ports. */
struct line {
	const struct fw_range *range;
	const struct fw_ranges *ports;
};

static int compare_lines(const void *a, const void *b)
{
	const struct fw_range *x = ((const struct line *)a)->range;
	const struct fw_range *y = ((const struct line *)b)->range;

	if (x->first_hi != y->first_hi)
		return x->first_hi < y->first_hi ? -1 : 1;
	return (x->first_lo > y->first_lo) - (x->first_lo < y->first_lo);
}

static void print_ports(const struct fw_ranges *ports, FILE *out)
{
	size_t i;

	fputs(ports->n > 1 ? " port { " : " port ", out);
	for (i = 0; i < ports->n; i++) {
		const struct fw_range *r = &ports->r[i];

		fprintf(out, "%s%" PRIu64, i ? ", " : "", r->first_lo);
		if (r->last_lo > r->first_lo)
			fprintf(out, "-%" PRIu64, r->last_lo);
	}
	fputs(ports->n > 1 ? " }\n" : "\n", out);
}

static const struct fw_ranges *addresses_of(const struct fw_program *program,
					    const struct fw_ir_pair *pair,
					    bool is_v6)
{
	const struct fw_ir_set *set = &program->sets[pair->addr];

	return is_v6 ? &set->v6 : &set->v4;
}

/* All ranges of one family, in ascending order whatever their ports. */
static void print_family(const struct fw_program *program,
			 const struct fw_named_set *named, bool is_v6,
			 FILE *out)
{
	_cleanup_free_ struct line *lines = NULL;
	size_t i, k, n = 0;

	lines = malloc(((is_v6 ? named->v6 : named->v4) + 1) * sizeof(*lines));
	for (i = 0; lines && i < named->n_pairs; i++) {
		const struct fw_ir_pair *pair = &named->pairs[i];
		const struct fw_ranges *ranges =
			addresses_of(program, pair, is_v6);

		for (k = 0; k < ranges->n; k++) {
			lines[n++] = (struct line){
				&ranges->r[k],
				&program->sets[pair->port].port,
			};
		}
	}
	if (n)
		qsort(lines, n, sizeof(*lines), compare_lines);
	for (i = 0; i < n; i++) {
		struct fw_str str = { 0 };

		fw_addr_print_range(&str, lines[i].range, is_v6);
		fprintf(out, "\t%s", str.s ? str.s : "");
		fw_str_done(&str);
		print_ports(lines[i].ports, out);
	}
}

void fw_pairs_print(const struct fw_program *program,
		    const struct fw_named_set *named, FILE *out)
{
	size_t i;

	/* Without any entry it would be a set of addresses. */
	if (!named->n_pairs)
		fputs("\t{ } port 0\n", out);
	for (i = 0; i < named->n_pairs; i++) {
		if (!program->sets[named->pairs[i].addr].has_self)
			continue;
		fputs("\tself", out);
		print_ports(&program->sets[named->pairs[i].port].port, out);
	}
	print_family(program, named, false, out);
	print_family(program, named, true, out);
}

void fw_pairs_dump(const struct fw_named_set *named, FILE *out)
{
	size_t i;

	fputs(" pairs=", out);
	for (i = 0; i < named->n_pairs; i++) {
		fprintf(out, "%s#%d:#%d", i ? "," : "", named->pairs[i].addr,
			named->pairs[i].port);
	}
	fputc('\n', out);
}
