/* SPDX-License-Identifier: GPL-2.0-only */

/* The compiled program: making, freeing and looking at it. */
#include "ir.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "addr.h"
#include "arena.h"
#include "lex.h"
#include "mem.h"
#include "origin.h"
#include "pairs_print.h"

struct fw_ir_row *fw_program_add_row(struct fw_program *program,
				     struct fw_span **places, struct fw_span at)
{
	struct fw_ir_row *rows;
	struct fw_span *p;

	rows = fw_mem_grow_from(program->n_expected, program->rows,
				program->n_rows, sizeof(*rows));
	if (rows)
		program->rows = rows;
	p = fw_mem_grow_from(program->n_expected, *places, program->n_rows,
			     sizeof(*p));
	if (p)
		*places = p;
	if (!rows || !p)
		return NULL;
	p[program->n_rows] = at;
	rows[program->n_rows] = (struct fw_ir_row){
		.rule = (uint32_t)program->n_rows,
	};
	return &rows[program->n_rows++];
}

static void zone_done(struct fw_zone *zone)
{
	size_t i;

	for (i = 0; i < zone->n; i++)
		free(zone->members[i].ifname);
	free(zone->members);
	free(zone->name);
	free(zone->file);
}

void fw_program_free(struct fw_program *program)
{
	size_t i;

	if (!program)
		return;
	for (i = 0; i < program->n_zones; i++)
		zone_done(&program->zones[i]);
	for (i = 0; i < program->n_named_sets; i++) {
		free(program->named_sets[i].name);
		free(program->named_sets[i].file);
		fw_text_done(&program->named_sets[i].replaced);
	}
	for (i = 0; i < program->n_sets; i++)
		fw_ir_set_free_heap(&program->sets[i]);
	for (i = 0; i < program->n_defines; i++)
		free(program->defines[i]);
	free(program->rows);
	free(program->sets);
	free(program->zones);
	free(program->named_sets);
	free(program->defines);
	free(program->text_sets);
	fw_texts_free(program->texts, program->n_texts);
	if (program->arena)
		fw_arena_done(program->arena);
	free(program->arena);
	free(program);
}

/* ---- what it says ---------------------------------------------------------- */

bool fw_row_promises(const struct fw_ir_row *row)
{
	return row->flags & FW_ROW_IPSEC && row->verdict == FW_ACCEPT &&
	       row->dirs == 1u << FW_DIR_OUT;
}

/* What keeps a host reachable is denied only by a rule that names it. */
bool fw_row_spares(const struct fw_ir_row *row)
{
	return (row->verdict != FW_ACCEPT || fw_row_promises(row)) &&
	       !(row->flags & (FW_ROW_STATELESS | FW_ROW_NAMED));
}

uint8_t fw_row_result_flags(const struct fw_ir_row *row)
{
	static const struct {
		uint32_t row;
		uint8_t result;
	} flags[] = {
		{ FW_ROW_LOG, FW_RESULT_LOG },
		{ FW_ROW_STATELESS, FW_RESULT_STATELESS },
		{ FW_ROW_OFFLOAD, FW_RESULT_OFFLOAD },
		{ FW_ROW_OFFLOAD_FIRST, FW_RESULT_OFFLOAD_FIRST },
	};
	uint8_t result = 0;

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		if (row->flags & flags[i].row)
			result |= flags[i].result;
	}
	return result;
}

uint8_t fw_program_default_flags(const struct fw_program *program,
				 enum fw_dir dir)
{
	uint8_t flags = 0;

	if (program->default_log >> dir & 1)
		flags |= FW_RESULT_LOG;
	if (dir == FW_DIR_FORWARD && program->default_verdict[dir] == FW_ACCEPT)
		flags |= program->offload;
	return flags;
}

/* True: it lets flows in that are forwarded, and `ret` is what it says of them. */
static bool says_offload(const struct fw_ir_row *row, uint8_t *ret)
{
	*ret = fw_row_result_flags(row) & FW_RESULT_OFFLOADS;
	return row->verdict == FW_ACCEPT && !(row->flags & FW_ROW_STATELESS) &&
	       (row->dirs >> FW_DIR_FORWARD & 1);
}

void fw_program_sum_offload(struct fw_program *program)
{
	uint8_t says = fw_program_default_flags(program, FW_DIR_FORWARD) &
		       FW_RESULT_OFFLOADS;
	bool accepts = program->default_verdict[FW_DIR_FORWARD] == FW_ACCEPT;
	uint8_t any = accepts ? says : 0;
	uint8_t all = accepts ? says : FW_RESULT_OFFLOADS;

	for (size_t i = 0; i < program->n_rows; i++) {
		if (!says_offload(&program->rows[i], &says))
			continue;
		any |= says;
		all &= says;
	}
	program->options &= ~(uint32_t)(FW_OPT_OFFLOAD | FW_OPT_OFFLOAD_ALL |
					FW_OPT_OFFLOAD_FIRST);
	if (any)
		program->options |= FW_OPT_OFFLOAD;
	if (any && all == any)
		program->options |= FW_OPT_OFFLOAD_ALL;
	if (any & FW_RESULT_OFFLOAD_FIRST)
		program->options |= FW_OPT_OFFLOAD_FIRST;
}

void fw_program_sum_ipsec(struct fw_program *program)
{
	program->options &= ~(uint32_t)FW_OPT_IPSEC;
	for (size_t i = 0; i < program->n_rows; i++) {
		if (program->rows[i].flags & (FW_ROW_IPSEC | FW_ROW_NOT_IPSEC))
			program->options |= FW_OPT_IPSEC;
	}
}

/* ---- canonical form ------------------------------------------------------ */

static void print_member(const struct fw_zone_member *member, FILE *out)
{
	bool is_word = fw_lex_is_word(member->ifname, strlen(member->ifname));

	fprintf(out, is_word ? "%s" : "\"%s\"", member->ifname);
	if (member->mode != FW_MODE_AUTO)
		fprintf(out, " { mode %s }", fw_mode_name(member->mode));
}

static void print_zone(const struct fw_zone *zone, FILE *out)
{
	size_t i;

	fprintf(out, "interface %s = ", zone->name);
	if (zone->n == 1) {
		print_member(&zone->members[0], out);
	} else {
		for (i = 0; i < zone->n; i++) {
			fputs(i ? ", " : "{ ", out);
			print_member(&zone->members[i], out);
		}
		fputs(" }", out);
	}
	fputc('\n', out);
}

static void print_entry(const struct fw_range *range, bool is_v6, FILE *out)
{
	struct fw_str str = { 0 };

	fw_addr_print_range(&str, range, is_v6);
	fprintf(out, "\t%s\n", str.s ? str.s : "");
	fw_str_done(&str);
}

static void print_ports(const struct fw_range *range, FILE *out)
{
	fprintf(out, "\t%" PRIu64, range->first_lo);
	if (range->last_lo > range->first_lo)
		fprintf(out, "-%" PRIu64, range->last_lo);
	fputc('\n', out);
}

static void print_set(const struct fw_program *program,
		      const struct fw_named_set *named, FILE *out)
{
	const struct fw_ir_set *set;
	size_t i;

	fprintf(out, "set %s {\n", named->name);
	if (fw_named_set_has_pairs(named)) {
		fw_pairs_print(program, named, out);
		fputs("}\n", out);
		return;
	}
	set = &program->sets[named->set];
	if (set->has_self)
		fputs("\tself\n", out);
	for (i = 0; i < set->v4.n; i++)
		print_entry(&set->v4.r[i], false, out);
	for (i = 0; i < set->v6.n; i++)
		print_entry(&set->v6.r[i], true, out);
	for (i = 0; i < set->port.n; i++)
		print_ports(&set->port.r[i], out);
	fputs("}\n", out);
}

/* Those of the rules: others may be different somewhere else. */
static void print_timeouts(const struct fw_program *program, FILE *out)
{
	int i;

	for (i = 0; i < FW_TIMEOUT_MAX; i++) {
		char text[FW_DURATION_SIZE];

		if (program->timeout_from[i].origin != FW_TIMEOUT_RULES)
			continue;
		fw_duration_text(fw_timeout_seconds(&program->timeouts,
						    (enum fw_timeout)i),
				 text);
		fprintf(out, "timeout %s %s\n",
			fw_timeout_name((enum fw_timeout)i), text);
	}
}

static void print_esp(const struct fw_program *program, FILE *out)
{
	char text[FW_DURATION_SIZE], cpus[FW_CPUSET_TEXT];

	if (program->options & (FW_OPT_ESP_LOG | FW_OPT_ESP_DROP)) {
		fprintf(out, "option esp-unknown-spi %s\n",
			program->options & FW_OPT_ESP_DROP ? "drop" : "log");
	}
	if (!program->esp_grace) {
		fputs("option esp-grace off\n", out);
	} else if (program->esp_grace != FW_ESP_GRACE_DEFAULT) {
		fw_duration_text(program->esp_grace, text);
		fprintf(out, "option esp-grace %s\n", text);
	}
	if (program->options & FW_OPT_ESP_STEER) {
		fprintf(out, "option esp-steer %s\n",
			fw_cpuset_text(cpus, &program->steer));
	}
}

static void print_settings(const struct fw_program *program, FILE *out)
{
	char text[FW_DURATION_SIZE];
	size_t i;
	int dir;

	fprintf(out, "option fragments %s\n",
		program->options & FW_OPT_FRAG_DROP ? "drop" : "track");
	fprintf(out, "option non-ip %s\n",
		program->options & FW_OPT_NON_IP_DROP ? "drop" : "pass");
	if (program->options & FW_OPT_IP_OPTS_DROP)
		fputs("option ip-options drop\n", out);
	for (i = 0; i < fw_n_checks; i++) {
		if (program->options & fw_checks[i].off)
			fprintf(out, "option check %s off\n",
				fw_reason_name(fw_checks[i].reason));
	}
	print_timeouts(program, out);
	if (program->offload) {
		fprintf(out, "option offload %s\n",
			program->offload & FW_RESULT_OFFLOAD_FIRST ? "first"
								   : "on");
	}
	if (program->options & (FW_OPT_RELOAD_KEEP | FW_OPT_RELOAD_KILL)) {
		fprintf(out, "option on-reload %s\n",
			program->options & FW_OPT_RELOAD_KEEP ? "keep"
							      : "kill");
	}
	/* judges no packet: of what is usual nothing is said */
	if (program->options & FW_OPT_CT_HOOKS)
		fprintf(out, "option conntrack-hooks on\n");
	if (program->options & FW_OPT_FLOW_ACCT)
		fprintf(out, "option flow-accounting on\n");
	if (!program->adopt_s) {
		fputs("option adopt off\n", out);
	} else if (program->adopt_s != FW_ADOPT_DEFAULT) {
		fw_duration_text(program->adopt_s, text);
		fprintf(out, "option adopt %s\n", text);
	}
	print_esp(program, out);
	if (program->mark_shift != FW_MARK_SHIFT)
		fprintf(out, "option mark-mask 0x%08x\n",
			FW_MARK_HALF << program->mark_shift);
	for (dir = 0; dir < FW_DIR_MAX; dir++) {
		fprintf(out, "default %s %s%s\n", fw_dir_name((enum fw_dir)dir),
			fw_verdict_name(
				(enum fw_verdict)program->default_verdict[dir]),
			program->default_log >> dir & 1 ? " log" : "");
	}
}

static void print_antispoof(const struct fw_program *program, FILE *out)
{
	for (size_t i = 0; i < program->n_zones; i++) {
		if (program->antispoof >> i & 1)
			fprintf(out, "antispoof on %s %s\n",
				program->zones[i].name,
				program->antispoof_strict >> i & 1 ? "strict"
								   : "loose");
	}
}

void fw_program_print(const struct fw_program *program, FILE *out)
{
	size_t i;

	for (i = 0; i < program->n_zones; i++)
		print_zone(&program->zones[i], out);
	for (i = 0; i < program->n_defines; i++)
		fprintf(out, "%s\n", program->defines[i]);
	for (i = 0; i < program->n_named_sets; i++)
		print_set(program, &program->named_sets[i], out);
	print_settings(program, out);
	print_antispoof(program, out);
	for (i = 0; i < program->n_rows; i++) {
		if (program->rows[i].rule == i)
			fprintf(out, "%s\n", program->rows[i].text);
	}
}

/* ---- dump ---------------------------------------------------------------- */

static void dump_zones(const char *name, uint64_t zones, bool is_negated,
		       FILE *out)
{
	if (zones) {
		fprintf(out, " %s=%s%" PRIx64, name, is_negated ? "!" : "",
			zones);
	}
}

static void dump_protos(const uint64_t protos[4], FILE *out)
{
	const char *separator = " protos=";
	unsigned int proto, last;

	for (proto = 0; proto < 256; proto++) {
		if (!(protos[proto / 64] >> (proto % 64) & 1))
			continue;
		last = proto;
		while (last < 255 &&
		       protos[(last + 1) / 64] >> ((last + 1) % 64) & 1)
			last++;
		fprintf(out, "%s%u", separator, proto);
		if (last > proto)
			fprintf(out, "-%u", last);
		separator = ",";
		proto = last;
	}
}

static void dump_set_ref(const char *name, int32_t set, bool is_negated,
			 FILE *out)
{
	if (set >= 0)
		fprintf(out, " %s=%s#%d", name, is_negated ? "!" : "", set);
}

static void dump_row(const struct fw_ir_row *row, size_t number, FILE *out)
{
	static const struct {
		uint32_t flag;
		const char *name;
	} flags[] = {
		{ FW_ROW_STATELESS, " stateless" },
		{ FW_ROW_ICMP, " icmp" },
		{ FW_ROW_NAMED, " named" },
		{ FW_ROW_LOG, " log" },
		{ FW_ROW_OFFLOAD, " offload" },
		{ FW_ROW_OFFLOAD_FIRST, " first" },
		{ FW_ROW_IPSEC, " ipsec" },
		{ FW_ROW_NOT_IPSEC, " !ipsec" },
	};
	uint32_t f = row->flags;
	size_t i;

	fprintf(out, "row %zu line %u %s dirs=%x families=%x", number,
		row->line, fw_verdict_name((enum fw_verdict)row->verdict),
		row->dirs, row->families);
	dump_zones("in", row->in_zones, f & FW_ROW_NOT_IN, out);
	dump_zones("out", row->out_zones, f & FW_ROW_NOT_OUT, out);
	dump_protos(row->protos, out);
	dump_set_ref("src", row->src, f & FW_ROW_NOT_SRC, out);
	dump_set_ref("dst", row->dst, f & FW_ROW_NOT_DST, out);
	dump_set_ref("l4a", row->l4a, f & FW_ROW_NOT_SPORT, out);
	dump_set_ref("l4b", row->l4b, f & FW_ROW_NOT_DPORT, out);
	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		if (f & flags[i].flag)
			fputs(flags[i].name, out);
	}
	if (row->reqid)
		fprintf(out, " reqid=%u", row->reqid);
	if (row->rule != number)
		fprintf(out, " rule=%u", row->rule);
	fprintf(out, " label=%s", row->label);
	if (row->prefix)
		fprintf(out, " prefix=\"%s\"", row->prefix);
	fputc('\n', out);
}

static void dump_ranges(const char *name, const struct fw_ranges *ranges,
			FILE *out)
{
	size_t i;

	for (i = 0; i < ranges->n; i++) {
		const struct fw_range *r = &ranges->r[i];

		fprintf(out, "%s", i ? "," : name);
		if (r->first_hi || r->last_hi) {
			fprintf(out, "%" PRIx64 ":%016" PRIx64, r->first_hi,
				r->first_lo);
		} else {
			fprintf(out, "%" PRIx64, r->first_lo);
		}
		if (r->first_hi == r->last_hi && r->first_lo == r->last_lo)
			continue;
		if (r->last_hi) {
			fprintf(out, "-%" PRIx64 ":%016" PRIx64, r->last_hi,
				r->last_lo);
		} else {
			fprintf(out, "-%" PRIx64, r->last_lo);
		}
	}
}

static void dump_set(const struct fw_ir_set *set, size_t number, FILE *out)
{
	fprintf(out, "set #%zu", number);
	if (set->has_self)
		fputs(" self", out);
	dump_ranges(" v4=", &set->v4, out);
	dump_ranges(" v6=", &set->v6, out);
	dump_ranges(" port=", &set->port, out);
	fputc('\n', out);
}

void fw_program_dump(const struct fw_program *program, FILE *out)
{
	size_t i, k;

	for (i = 0; i < program->n_zones; i++) {
		fprintf(out, "zone %zu %s", i, program->zones[i].name);
		for (k = 0; k < program->zones[i].n; k++) {
			fprintf(out, " %s:%s",
				program->zones[i].members[k].ifname,
				fw_mode_name(
					program->zones[i].members[k].mode));
		}
		fputc('\n', out);
	}
	if (program->antispoof)
		fprintf(out, "antispoof=%" PRIx64 " strict=%" PRIx64 "\n",
			program->antispoof, program->antispoof_strict);
	fprintf(out, "options=%x default_log=%x\n", program->options,
		program->default_log);
	print_timeouts(program, out);
	for (i = 0; i < program->n_rows; i++)
		dump_row(&program->rows[i], i, out);
	for (i = 0; i < FW_DIR_MAX; i++) {
		fprintf(out, "default %s %s\n", fw_dir_name((enum fw_dir)i),
			fw_verdict_name(
				(enum fw_verdict)program->default_verdict[i]));
	}
	for (i = 0; i < program->n_sets; i++)
		dump_set(&program->sets[i], i, out);
	for (i = 0; i < program->n_named_sets; i++) {
		const struct fw_named_set *named = &program->named_sets[i];

		fprintf(out, "named %s", named->name);
		if (fw_named_set_has_pairs(named)) {
			fw_pairs_dump(named, out);
			continue;
		}
		fprintf(out, " #%d", named->set);
		if (named->ports) {
			fprintf(out, " ports=%zu\n", named->ports);
		} else {
			fprintf(out, " v4=%zu v6=%zu\n", named->v4, named->v6);
		}
	}
}
