/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Rules that can never match because an earlier one decides first.
 *
 * Two cases are found: an earlier rule that matches the same, and one that
 * matches everything. Both by a table, so that many rules stay fast.
 */
#include "shadow.h"

#include <stdlib.h>
#include <string.h>

#include "field.h"
#include "mem.h"

/* What decides whether a row matches; no padding, it is compared as bytes. */
struct match {
	uint64_t in_zones, out_zones;
	uint64_t protos[4];
	int32_t src, dst, l4a, l4b;
	uint32_t dirs, families, flags, zero;
};

#define MATCH_FLAGS                                                         \
	(FW_ROW_NOT_IN | FW_ROW_NOT_OUT | FW_ROW_NOT_SRC | FW_ROW_NOT_DST | \
	 FW_ROW_NOT_SPORT | FW_ROW_NOT_DPORT | FW_ROW_ICMP | FW_ROW_STATELESS)

static struct match match_of(const struct fw_ir_row *row)
{
	struct match match = {
		.in_zones = row->in_zones,
		.out_zones = row->out_zones,
		.src = row->src,
		.dst = row->dst,
		.l4a = row->l4a,
		.l4b = row->l4b,
		.dirs = row->dirs,
		.families = row->families,
		.flags = row->flags & MATCH_FLAGS,
	};

	memcpy(match.protos, row->protos, sizeof(match.protos));
	return match;
}

static bool is_everything(const struct fw_ir_row *row)
{
	const struct match all = {
		.src = -1,
		.dst = -1,
		.l4a = -1,
		.l4b = -1,
		.dirs = row->dirs,
		.families = FW_FAMILY_IPV4 | FW_FAMILY_IPV6,
		.flags = row->flags & FW_ROW_STATELESS,
	};
	struct match match = match_of(row);

	return memcmp(&match, &all, sizeof(all)) == 0;
}

static bool has_proto(const struct fw_ir_row *row, unsigned int proto)
{
	return row->protos[proto / 64] >> (proto % 64) & 1;
}

/*
 * Essential messages fall through a rule that denies everything without naming
 * them, so a later rule that names them is of use.
 */
static bool may_be_essential(const struct fw_ir_row *row)
{
	return (row->flags & FW_ROW_NAMED) &&
	       (has_proto(row, FW_PROTO_UDP) || has_proto(row, FW_PROTO_ICMP) ||
		has_proto(row, FW_PROTO_ICMP6));
}

static bool is_shadowed_by(const struct fw_ir_row *row,
			   const struct fw_ir_row *all)
{
	return all->verdict == FW_ACCEPT || (all->flags & FW_ROW_STATELESS) ||
	       !may_be_essential(row);
}

static bool remember(struct fw_shadow *shadow, const struct match *match,
		     struct fw_span at, uint32_t number, bool is_new)
{
	struct fw_span *places;
	void **keys;
	void *key;

	places = fw_mem_grow(shadow->places, shadow->n, sizeof(*places));
	if (places)
		shadow->places = places;
	keys = fw_mem_grow(shadow->keys, shadow->n, sizeof(*keys));
	if (keys)
		shadow->keys = keys;
	key = fw_mem_dup((const char *)match, sizeof(*match));
	if (!places || !keys || !key) {
		free(key);
		return false;
	}
	places[shadow->n] = at;
	keys[shadow->n++] = key;
	return !is_new || fw_index_add(&shadow->by_match, key, sizeof(*match),
				       number) == 0;
}

static void warn(struct fw_shadow *shadow, struct fw_scope *scope,
		 struct fw_span at, uint32_t earlier, const char *why)
{
	fw_report_warning(
		&scope->c->rep, at,
		"rule can never match; an earlier rule decides first");
	fw_report_note(&scope->c->rep, shadow->places[earlier], "%s", why);
}

void fw_shadow_check(struct fw_shadow *shadow, struct fw_scope *scope,
		     const struct fw_program *program, struct fw_span at)
{
	uint32_t number = (uint32_t)program->n_rows - 1;
	const struct fw_ir_row *row = &program->rows[number];
	struct match match = match_of(row);
	uint32_t dir = (uint32_t)__builtin_ctz(row->dirs);
	uint32_t *all =
		&shadow->everything[!(row->flags & FW_ROW_STATELESS)][dir];
	uint32_t same;

	same = fw_index_find(&shadow->by_match, &match, sizeof(match));
	if (same != FW_INDEX_NONE) {
		warn(shadow, scope, at, same, "this rule matches the same");
	} else if (*all && is_shadowed_by(row, &program->rows[*all - 1])) {
		warn(shadow, scope, at, *all - 1,
		     "this rule matches everything it does");
	}
	if (!remember(shadow, &match, at, number, same == FW_INDEX_NONE))
		scope->c->rep.is_broken = true;
	if (!*all && is_everything(row))
		*all = number + 1;
}

void fw_shadow_done(struct fw_shadow *shadow)
{
	size_t i;

	for (i = 0; i < shadow->n; i++)
		free(shadow->keys[i]);
	free(shadow->keys);
	free(shadow->places);
	fw_index_done(&shadow->by_match);
	*shadow = (struct fw_shadow){ 0 };
}
