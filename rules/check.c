/* SPDX-License-Identifier: GPL-2.0-only */

/* From the syntax tree to meaning: everything but the rules. */
#include "check.h"

#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "resolve.h"
#include "timeout.h"

#define MAX_IFNAME  15	 /* IFNAMSIZ - 1 */
#define MAX_MEMBERS 1024 /* of all interface statements together */

/* What was said already, of what may be said once. */
struct once {
	struct fw_span defaults[FW_DIR_MAX];
	struct fw_span options[32]; /* per bit of FW_OPT_* */
	struct fw_span timeouts[FW_TIMEOUT_MAX];
	struct fw_span antispoof[FW_MAX_ZONES];
	struct fw_span adopt;
	struct fw_span mark;
	struct fw_span esp_grace;
	unsigned int n_zones;
	unsigned int n_members;
};

static bool same_text(const struct fw_scope *scope, struct fw_span a,
		      struct fw_span b)
{
	return a.len == b.len &&
	       memcmp(fw_span_text(&scope->c->sources, a),
		      fw_span_text(&scope->c->sources, b), a.len) == 0;
}

/* ---- interfaces ---------------------------------------------------------- */

/* What the kernel takes for a name, see dev_valid_name(). */
static bool is_ifname(const char *s, size_t len)
{
	size_t i;

	if (len == 0 || len > MAX_IFNAME || (len == 1 && s[0] == '.') ||
	    (len == 2 && s[0] == '.' && s[1] == '.'))
		return false;
	for (i = 0; i < len; i++) {
		if ((unsigned char)s[i] <= ' ' || s[i] == '/' || s[i] == ':')
			return false;
	}
	return true;
}

static bool check_member(struct fw_scope *scope,
			 const struct fw_ast_interface *interface,
			 const struct fw_ast_member *member)
{
	struct fw_reporter *rep = &scope->c->rep;
	const struct fw_ast_member *m;

	if (!is_ifname(fw_span_text(rep->sources, member->at),
		       member->at.len)) {
		fw_report_error(rep, member->at,
				"'%.*s' cannot be the name of an interface",
				FW_QUOTE(rep, member->at));
		fw_report_hint(
			rep,
			"the kernel takes up to %d bytes without '/', ':' and blanks",
			MAX_IFNAME);
		return false;
	}
	for (m = interface->members; m != member; m = m->next) {
		if (!same_text(scope, m->at, member->at))
			continue;
		fw_report_error(rep, member->at, "'%.*s' is listed twice",
				FW_QUOTE(rep, member->at));
		return false;
	}
	return true;
}

/* An interface in several zones has one mode: that of the zone that says it. */
static bool check_modes(struct fw_scope *scope, const struct fw_ast *ast,
			struct fw_ast_member *member)
{
	struct fw_reporter *rep = &scope->c->rep;
	const struct fw_ast_interface *i;
	const struct fw_ast_member *m;
	bool is_later = false;

	for (i = ast->first_interface; i; i = i->next) {
		for (m = i->members; m; m = m->next) {
			is_later |= m == member;
			if (m == member || !m->has_mode ||
			    !same_text(scope, m->at, member->at))
				continue;
			if (!member->has_mode) {
				member->mode = m->mode;
				member->mode_at = m->mode_at;
				return true;
			}
			if (m->mode == member->mode || is_later)
				continue;
			fw_report_error(rep, member->mode_at,
					"'%.*s' has mode %s here",
					FW_QUOTE(rep, member->at),
					fw_mode_name(member->mode));
			fw_report_note(rep, m->mode_at, "and mode %s here",
				       fw_mode_name(m->mode));
			return false;
		}
	}
	return true;
}

static void add_member(struct fw_scope *scope, struct fw_zone *zone,
		       const struct fw_ast_member *ast)
{
	struct fw_zone_member *members;
	char *ifname;

	ifname = fw_mem_dup(fw_span_text(&scope->c->sources, ast->at),
			    ast->at.len);
	members = fw_mem_grow(zone->members, zone->n, sizeof(*members));
	if (members)
		zone->members = members;
	if (!ifname || !members) {
		free(ifname);
		scope->c->rep.is_broken = true;
		return;
	}
	members[zone->n++] = (struct fw_zone_member){
		.ifname = ifname,
		.mode = ast->mode,
		.at = ast->mode_at.len ? ast->mode_at : ast->at,
	};
}

/* The zone of a name that was just entered. */
static struct fw_zone *new_zone(struct fw_scope *scope,
				struct fw_program *program, struct fw_span name)
{
	const struct fw_sources *sources = &scope->c->sources;
	struct fw_place place = fw_sources_place(sources, name);
	const char *file = sources->texts[name.file].name;
	struct fw_zone *zones;
	struct fw_zone *zone;

	zones = fw_mem_grow(program->zones, program->n_zones, sizeof(*zones));
	if (!zones) {
		scope->c->rep.is_broken = true;
		return NULL;
	}
	program->zones = zones;
	zone = &zones[program->n_zones++];
	*zone = (struct fw_zone){
		.name = fw_mem_dup(fw_span_text(sources, name), name.len),
		.file = fw_mem_dup(file, strlen(file)),
		.line = place.line,
		.column = place.column,
	};
	if (!zone->name || !zone->file)
		scope->c->rep.is_broken = true;
	return zone;
}

static void check_members(struct fw_scope *scope, const struct fw_ast *ast,
			  const struct fw_ast_interface *interface,
			  struct once *once, struct fw_zone *zone)
{
	struct fw_reporter *rep = &scope->c->rep;
	struct fw_ast_member *m;

	for (m = interface->members; m; m = m->next) {
		if (fw_report_is_full(rep))
			return;
		if (once->n_members++ == MAX_MEMBERS) {
			fw_report_error(rep, m->at,
					"more than %d interfaces are listed",
					MAX_MEMBERS);
		}
		if (once->n_members > MAX_MEMBERS)
			return;
		if (check_member(scope, interface, m) &&
		    check_modes(scope, ast, m))
			add_member(scope, zone, m);
	}
}

static void check_interface(struct fw_scope *scope, const struct fw_ast *ast,
			    const struct fw_stmt *stmt, struct once *once,
			    struct fw_program *program)
{
	const struct fw_ast_interface *interface = &stmt->interface;
	struct fw_reporter *rep = &scope->c->rep;
	struct fw_zone *zone;

	if (once->n_zones++ == FW_MAX_ZONES) {
		fw_report_error(rep, interface->name,
				"more than %d interface statements",
				FW_MAX_ZONES);
	}
	if (once->n_zones > FW_MAX_ZONES ||
	    fw_scope_add(scope, &scope->zones, interface->name, NULL) < 0)
		return;
	zone = new_zone(scope, program, interface->name);
	if (!zone || stmt->is_broken)
		return;
	if (!interface->members) {
		fw_report_error(rep, interface->name,
				"'%.*s' stands for no interface",
				FW_QUOTE(rep, interface->name));
	}
	check_members(scope, ast, interface, once, zone);
}

/* ---- defaults and options ------------------------------------------------ */

static bool check_once(struct fw_scope *scope, struct fw_span *first,
		       struct fw_span at, const char *what)
{
	struct fw_reporter *rep = &scope->c->rep;

	if (!first->len) {
		*first = at;
		return true;
	}
	fw_report_error(rep, at, "%s '%.*s' is given twice", what,
			FW_QUOTE(rep, at));
	fw_report_note(rep, *first, "it is given here first");
	return false;
}

static void check_default(struct fw_scope *scope,
			  const struct fw_ast_default *dflt, struct once *once,
			  struct fw_program *program)
{
	if (!check_once(scope, &once->defaults[dflt->dir], dflt->dir_at,
			"default"))
		return;
	program->default_verdict[dflt->dir] = dflt->verdict;
	if (dflt->has_log)
		program->default_log |= (uint8_t)(1u << dflt->dir);
}

static void check_option(struct fw_scope *scope,
			 const struct fw_ast_option *option, struct once *once,
			 struct fw_program *program)
{
	uint32_t bits = option->clear | option->set;
	struct fw_span *said = bits ? &once->options[__builtin_ctz(bits)]
			       : option->is_mark      ? &once->mark
			       : option->is_esp_grace ? &once->esp_grace
						      : &once->adopt;

	if (!check_once(scope, said, option->name, "option"))
		return;
	if (option->is_mark) {
		program->mark_shift = option->mark_shift;
		program->mark_at = option->name;
	} else if (option->is_esp_grace) {
		program->esp_grace = (uint16_t)option->esp_grace;
	} else if (!bits) {
		program->adopt_s = option->adopt_s;
	}
	if (option->steer) {
		program->steer = *option->steer;
		program->steer_at = option->steer_at;
	}
	program->options &= ~option->clear;
	program->options |= option->set;
	if (option->set & FW_OPT_CT_HOOKS)
		program->ct_hooks_at = option->name;
	if (option->set & FW_OPT_ESP)
		program->esp_at = option->name;
}

static void check_timeout(struct fw_scope *scope,
			  const struct fw_ast_timeout *timeout,
			  struct once *once, struct fw_program *program)
{
	const struct fw_sources *sources = &scope->c->sources;
	int i;

	for (i = 0; i < FW_TIMEOUT_MAX; i++) {
		struct fw_timeout_from *from = &program->timeout_from[i];

		if (!(timeout->timeouts >> i & 1))
			continue;
		if (!check_once(scope, &once->timeouts[i], timeout->name,
				"timeout"))
			return;
		fw_timeout_set(program, (enum fw_timeout)i, timeout->seconds,
			       FW_TIMEOUT_RULES);
		from->file = sources->texts[timeout->name.file].name;
		from->line = fw_sources_place(sources, timeout->name).line;
	}
}

/* Nobody asks how long flows are to live, or what to do with older ones. */
static void check_beside_hooks(struct fw_scope *scope, const struct once *once,
			       const struct fw_program *program)
{
	struct fw_reporter *rep = &scope->c->rep;

	if (!(program->options & FW_OPT_CT_HOOKS))
		return;
	for (int i = 0; i <= FW_TIMEOUT_UDP_STREAM; i++) {
		if (!once->timeouts[i].len)
			continue;
		fw_report_warning(
			rep, once->timeouts[i],
			"timeout '%s' has no effect beside 'option conntrack-hooks on'",
			fw_timeout_name((enum fw_timeout)i));
		fw_report_hint(
			rep,
			"the kernel tracks these flows; set net.netfilter.%s",
			fw_timeout_sysctl((enum fw_timeout)i));
	}
	if (once->adopt.len && program->adopt_s) {
		fw_report_warning(
			rep, once->adopt,
			"option 'adopt' has no effect beside 'option conntrack-hooks on'");
		fw_report_hint(rep,
			       "the kernel picks up older connections itself");
	}
}

/* What `option offload` has set. */
static uint8_t offload_of(uint32_t options)
{
	uint8_t offload = 0;

	if (options & FW_OPT_OFFLOAD)
		offload |= FW_RESULT_OFFLOAD;
	if (options & FW_OPT_OFFLOAD_FIRST)
		offload |= FW_RESULT_OFFLOAD_FIRST;
	return offload;
}

/* ---- all ----------------------------------------------------------------- */

static void check_list(struct fw_scope *scope, const struct fw_item *item)
{
	if (item && item->kind == FW_ITEM_LIST && !item->first)
		fw_report_error(&scope->c->rep, item->at, "the list is empty");
}

static void check_binding(struct fw_scope *scope, struct fw_symbols *symbols,
			  const struct fw_stmt *stmt)
{
	int number;

	number = fw_scope_add(scope, symbols, stmt->binding.name,
			      stmt->binding.item);
	if (number >= 0 && stmt->is_broken)
		symbols->s[number].state = FW_SYMBOL_BAD;
}

static void check_statement(struct fw_scope *scope, const struct fw_ast *ast,
			    const struct fw_stmt *stmt, struct once *once,
			    struct fw_program *program)
{
	switch (stmt->kind) {
	case FW_STMT_INTERFACE:
		check_interface(scope, ast, stmt, once, program);
		break;
	case FW_STMT_DEFINE:
		check_list(scope, stmt->binding.item);
		check_binding(scope, &scope->defines, stmt);
		break;
	case FW_STMT_SET:
		check_binding(scope, &scope->sets, stmt);
		break;
	case FW_STMT_OPTION:
		check_option(scope, &stmt->option, once, program);
		break;
	case FW_STMT_TIMEOUT:
		check_timeout(scope, &stmt->timeout, once, program);
		break;
	case FW_STMT_DEFAULT:
		check_default(scope, &stmt->dflt, once, program);
		break;
	case FW_STMT_ANTISPOOF: /* when all names are known */
		break;
	}
}

/* ---- antispoof ----------------------------------------------------------- */

static void add_antispoof(struct fw_scope *scope, const struct fw_stmt *stmt,
			  uint64_t zone, struct once *once,
			  struct fw_program *program)
{
	struct fw_reporter *rep = &scope->c->rep;
	struct fw_span *first = &once->antispoof[zone];
	uint64_t bit = (uint64_t)1 << zone;

	if (first->len) {
		fw_report_error(rep, stmt->at,
				"'antispoof' is given twice for '%s'",
				program->zones[zone].name);
		fw_report_note(rep, *first, "it is given here first");
		return;
	}
	*first = stmt->at;
	program->antispoof |= bit;
	if (!stmt->antispoof.is_loose)
		program->antispoof_strict |= bit;
	if (!program->antispoof_at.len)
		program->antispoof_at = stmt->at;
}

/* Whether one of the ranges holds a zone. */
static bool holds_zone(const struct fw_ranges *ranges, uint64_t zone)
{
	for (size_t i = 0; i < ranges->n; i++) {
		if (zone >= ranges->r[i].first_lo &&
		    zone <= ranges->r[i].last_lo)
			return true;
	}
	return false;
}

static void check_antispoof(struct fw_scope *scope, const struct fw_stmt *stmt,
			    struct once *once, struct fw_program *program)
{
	const struct fw_item *item = stmt->antispoof.item;
	struct fw_parts parts = { 0 };
	struct fw_value value = { 0 };
	bool is_any;

	check_list(scope, item);
	if (fw_resolve(scope, FW_FIELD_ZONE, item, &parts) &&
	    fw_parts_value(scope, FW_FIELD_ZONE, &parts, &value)) {
		is_any = fw_parts_is_any(FW_FIELD_ZONE, &parts);
		for (uint64_t zone = 0; zone < program->n_zones; zone++) {
			if (is_any || holds_zone(&value.v4, zone))
				add_antispoof(scope, stmt, zone, once, program);
		}
	}
	fw_value_done(&value);
	fw_parts_done(&parts);
}

void fw_check_statements(struct fw_scope *scope, const struct fw_ast *ast,
			 struct fw_program *program)
{
	const struct fw_span start = { .len = 1 };
	struct once once = { 0 };
	const struct fw_stmt *stmt;

	for (stmt = ast->first; stmt; stmt = stmt->next) {
		if (fw_report_is_full(&scope->c->rep))
			return;
		check_statement(scope, ast, stmt, &once, program);
	}
	check_beside_hooks(scope, &once, program);
	program->offload = offload_of(program->options);
	fw_resolve_names(scope);
	for (stmt = ast->first; stmt; stmt = stmt->next) {
		if (stmt->kind == FW_STMT_ANTISPOOF && !stmt->is_broken)
			check_antispoof(scope, stmt, &once, program);
	}
	if (scope->zones.n == 0 && scope->c->rep.diag->errors == 0) {
		fw_report_warning(&scope->c->rep, start,
				  "no interface is declared");
		fw_report_hint(
			&scope->c->rep,
			"these rules protect nothing; write: interface wan = eth0");
	}
}

static void warn_unused(struct fw_scope *scope,
			const struct fw_symbols *symbols)
{
	struct fw_reporter *rep = &scope->c->rep;
	size_t i;

	for (i = 0; i < symbols->n; i++) {
		if (symbols->s[i].is_used)
			continue;
		fw_report_warning(rep, symbols->s[i].name,
				  "%s '%.*s' is never used", symbols->kind,
				  FW_QUOTE(rep, symbols->s[i].name));
	}
}

void fw_check_unused(struct fw_scope *scope)
{
	warn_unused(scope, &scope->defines);
	warn_unused(scope, &scope->sets);
}
