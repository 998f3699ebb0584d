/* SPDX-License-Identifier: GPL-2.0-only */

/* From the syntax tree to meaning: one rule. */
#include <stdlib.h>
#include <string.h>

#include "addrport.h"
#include "check.h"
#include "field.h"
#include "mem.h"

#define BOTH_FAMILIES (FW_FAMILY_IPV4 | FW_FAMILY_IPV6)

/* A rule on its way. */
struct check {
	struct fw_scope *scope;
	struct fw_set_pool *pool;
	struct fw_reporter *rep;
	struct fw_checked_rule *rule;
	/* What narrowed the families last, to name both sides of a conflict. */
	struct fw_span family_at;
	char family_what[32];
	bool family_has_set;
};

static const enum fw_field term_fields[] = {
	[FW_TERM_IN] = FW_FIELD_ZONE,	  [FW_TERM_OUT] = FW_FIELD_ZONE,
	[FW_TERM_PROTO] = FW_FIELD_PROTO, [FW_TERM_TYPE] = FW_FIELD_ICMP,
	[FW_TERM_CODE] = FW_FIELD_ICMP,	  [FW_TERM_SRC] = FW_FIELD_ADDRESS,
	[FW_TERM_SPORT] = FW_FIELD_PORT,  [FW_TERM_DST] = FW_FIELD_ADDRESS,
	[FW_TERM_DPORT] = FW_FIELD_PORT,
};

static bool out_of_memory(struct check *check)
{
	check->rep->is_broken = true;
	return false;
}

/* ---- terms --------------------------------------------------------------- */

static bool check_empty(struct check *check, const struct fw_ast_term *ast)
{
	if (ast->item->kind != FW_ITEM_LIST || ast->item->first)
		return true;
	fw_report_error(check->rep, ast->at, "the list is empty");
	fw_report_hint(check->rep, "leave the clause out to match everything");
	return false;
}

/* `any` is the same as nothing, and so its opposite never matches. */
static bool check_any(struct check *check, struct fw_term *term)
{
	term->is_given = false;
	if (!term->is_negated)
		return true;
	fw_report_error(check->rep, term->at, "'!any' never matches a packet");
	return false;
}

/* What was appended to the texts since `start` is that of a term. */
static bool take_text(struct check *check, size_t start, struct fw_term *term)
{
	const struct fw_str *texts = &check->scope->texts;

	if (texts->is_broken || texts->n > UINT32_MAX)
		return out_of_memory(check);
	term->text_off = (uint32_t)start;
	term->text_len = (uint32_t)(texts->n - start);
	return true;
}

/* Addresses with ports; the ports of the same side were looked at before. */
static bool fill_pairs(struct check *check, const struct fw_parts *parts,
		       struct fw_term *term)
{
	const struct fw_term *terms = check->rule->terms;
	const struct fw_term *port = term == &terms[FW_TERM_SRC]
					     ? &terms[FW_TERM_SPORT]
					     : &terms[FW_TERM_DPORT];

	if (port->is_given && port->set < 0)
		return false; /* its error was reported */
	/* The rows are made of both: the ports are not worked out again. */
	if (port->is_given)
		fw_set_pool_fix(check->pool, check->scope, port->set);
	term->pairs =
		fw_addrport_rows(check->scope, check->pool, term, parts, port);
	if (!term->pairs)
		return false;
	if (!term->pairs->is_never || term->pairs->is_empty)
		return true;
	fw_report_warning(
		check->rep, term->at,
		term->is_negated
			? "rule can never match: the set leaves nothing"
			: "rule can never match: no entry has such a port");
	if (port->is_given)
		fw_report_note(check->rep, port->at, "the port is given here");
	return true;
}

static bool fill_term(struct check *check, enum fw_field field,
		      const struct fw_parts *parts, struct fw_term *term)
{
	struct fw_str *texts = &check->scope->texts;
	size_t start = texts->n;

	term->has_set = parts->has_set;
	fw_parts_text(check->scope, field, parts, texts);
	if (!take_text(check, start, term))
		return false;
	if (fw_parts_is_any(field, parts))
		return check_any(check, term);
	if (field == FW_FIELD_PAIR)
		return fill_pairs(check, parts, term);
	if (field != FW_FIELD_ADDRESS && field != FW_FIELD_PORT)
		return fw_parts_value(check->scope, field, parts, &term->value);
	term->set = fw_set_pool_get(check->pool, check->scope, field, parts,
				    term->at);
	return term->set >= 0;
}

/* As what a term is read: sets of addresses with ports are a field of their own. */
static enum fw_field field_of(const struct check *check, enum fw_term_id id)
{
	const struct fw_item *item = check->rule->ast->terms[id].item;
	enum fw_field field = term_fields[id];

	if (field == FW_FIELD_ADDRESS && item &&
	    fw_addrport_is_in(check->scope, item))
		return FW_FIELD_PAIR;
	return field;
}

/* Understand a term that is there; `ret` is freed by fw_parts_done(), always. */
static bool read_term(struct check *check, enum fw_term_id id,
		      enum fw_field field, struct fw_parts *ret)
{
	const struct fw_ast_term *ast = &check->rule->ast->terms[id];
	struct fw_term *term = &check->rule->terms[id];

	*ret = (struct fw_parts){ 0 };
	term->at = ast->at;
	term->is_given = true;
	term->is_negated = ast->is_negated;
	if (!check_empty(check, ast) ||
	    !fw_resolve(check->scope, field, ast->item, ret))
		return false;
	fw_set_pool_expect(check->pool, field, ret);
	return true;
}

static bool check_term(struct check *check, enum fw_term_id id,
		       enum fw_field field)
{
	struct fw_parts parts;
	bool is_good;

	is_good = read_term(check, id, field, &parts) &&
		  fill_term(check, field, &parts, &check->rule->terms[id]);
	fw_parts_done(&parts);
	return is_good;
}

/* ---- families ------------------------------------------------------------ */

static const char *family_name(uint8_t families)
{
	return families == FW_FAMILY_IPV4 ? "IPv4" : "IPv6";
}

/* Narrow the rule to some families, or report that nothing is left. */
static bool narrow(struct check *check, uint8_t families, struct fw_span at,
		   const char *what, bool has_set)
{
	uint8_t left = check->rule->families & families;

	if (!has_set)
		check->rule->given_families &= families;
	if (left == check->rule->families)
		return true;
	if (left) {
		check->rule->families = left;
		check->family_at = at;
		check->family_has_set = has_set;
		(void)snprintf(check->family_what, sizeof(check->family_what),
			       "%s", what);
		return true;
	}
	has_set |= check->family_has_set;
	if (has_set) {
		/* The set may hold others tomorrow: no reason to refuse. */
		fw_report_warning(check->rep, at,
				  "rule can never match: %s is %s only", what,
				  family_name(families));
	} else {
		fw_report_error(check->rep, at,
				"rule can never match: %s is %s only", what,
				family_name(families));
	}
	fw_report_note(check->rep, check->family_at, "but %s is %s only",
		       check->family_what, family_name(check->rule->families));
	return has_set;
}

static bool check_address(struct check *check, enum fw_term_id id,
			  const char *what)
{
	const struct fw_term *term = &check->rule->terms[id];
	uint8_t families;

	if (!term->is_given)
		return true;
	families = term->pairs ? term->pairs->families
			       : fw_set_families(&check->pool->sets[term->set],
						 term->is_negated);
	if (families)
		return narrow(check, families, term->at, what, term->has_set);
	if (term->has_set) {
		fw_report_warning(check->rep, term->at,
				  "rule can never match: no address is left");
		return true;
	}
	fw_report_error(check->rep, term->at,
			"rule can never match: no address is left");
	return false;
}

/* ---- protocols and ports ------------------------------------------------- */

static bool has_proto(const uint64_t protos[4], unsigned int proto)
{
	return protos[proto / 64] >> (proto % 64) & 1;
}

static void add_proto(uint64_t protos[4], unsigned int proto)
{
	protos[proto / 64] |= (uint64_t)1 << (proto % 64);
}

static bool is_zero(const uint64_t protos[4])
{
	return !(protos[0] | protos[1] | protos[2] | protos[3]);
}

/* Is every protocol of the mask one of two? */
static bool is_within(const uint64_t protos[4], unsigned int a, unsigned int b)
{
	uint64_t rest[4];

	memcpy(rest, protos, sizeof(rest));
	rest[a / 64] &= ~((uint64_t)1 << (a % 64));
	rest[b / 64] &= ~((uint64_t)1 << (b % 64));
	return is_zero(rest) && !is_zero(protos);
}

static bool check_proto(struct check *check)
{
	struct fw_checked_rule *rule = check->rule;
	const struct fw_term *term = &rule->terms[FW_TERM_PROTO];
	const struct fw_ranges *ranges = &term->value.v4;
	uint64_t proto;
	size_t i;

	if (!term->is_given)
		return true;
	for (i = 0; i < ranges->n; i++) {
		for (proto = ranges->r[i].first_lo;
		     proto <= ranges->r[i].last_lo; proto++)
			add_proto(rule->protos, (unsigned int)proto);
	}
	for (i = 0; i < 4 && term->is_negated; i++)
		rule->protos[i] = ~rule->protos[i];
	if (is_zero(rule->protos)) {
		fw_report_error(check->rep, term->at,
				"rule can never match: no protocol is left");
		return false;
	}
	if (is_within(rule->protos, FW_PROTO_ICMP, FW_PROTO_ICMP))
		return narrow(check, FW_FAMILY_IPV4, term->at, "icmp4", false);
	if (is_within(rule->protos, FW_PROTO_ICMP6, FW_PROTO_ICMP6))
		return narrow(check, FW_FAMILY_IPV6, term->at, "icmp6", false);
	return true;
}

/* What a rule says without saying it, by the term at `at`; shown in canonical form. */
static bool imply_protos(struct check *check, unsigned int a, unsigned int b,
			 const char *text, struct fw_span at)
{
	struct fw_term *term = &check->rule->terms[FW_TERM_PROTO];
	struct fw_str *texts = &check->scope->texts;
	size_t start = texts->n;

	fw_str_puts(texts, text);
	if (!take_text(check, start, term))
		return false;
	term->at = at;
	term->is_given = true;
	add_proto(check->rule->protos, a);
	add_proto(check->rule->protos, b);
	return true;
}

/* A term that asks for ports, or NULL. */
static const struct fw_term *find_ports(const struct fw_checked_rule *rule)
{
	static const enum fw_term_id ids[] = { FW_TERM_DPORT, FW_TERM_SPORT,
					       FW_TERM_DST, FW_TERM_SRC };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(ids); i++) {
		const struct fw_term *term = &rule->terms[ids[i]];

		if (term->is_given && (i < 2 || term->pairs))
			return term;
	}
	return NULL;
}

static bool check_ports(struct check *check)
{
	struct fw_checked_rule *rule = check->rule;
	const struct fw_term *proto = &rule->terms[FW_TERM_PROTO];
	const struct fw_term *port = find_ports(rule);

	if (!port)
		return true;
	if (!proto->is_given) {
		return imply_protos(check, FW_PROTO_TCP, FW_PROTO_UDP,
				    "{ tcp, udp }", port->at);
	}
	if (is_within(rule->protos, FW_PROTO_TCP, FW_PROTO_UDP))
		return true;
	fw_report_error(check->rep, proto->at,
			"'port' needs proto tcp or udp, not %s%.*s",
			proto->is_negated ? "!" : "", (int)proto->text_len,
			fw_term_text(check->scope, proto));
	fw_report_note(check->rep, port->at,
		       port->pairs ? "the set holds ports"
				   : "the port is given here");
	return false;
}

/* ---- ICMP types and codes ------------------------------------------------ */

/* Negate by complement: the image has no flag for it. */
static bool complement(struct check *check, struct fw_ranges *ranges)
{
	struct fw_ranges rest = { 0 };
	uint64_t i;

	for (i = 0; i <= UINT8_MAX; i++) {
		if (fw_ranges_has(ranges, (struct fw_u128){ .lo = i }))
			continue;
		if (fw_ranges_add_small(&rest, i, i) < 0) {
			fw_ranges_done(&rest);
			return out_of_memory(check);
		}
	}
	fw_ranges_merge(&rest);
	fw_ranges_done(ranges);
	*ranges = rest;
	return true;
}

/* As what the types are read: the protocol says which numbers they are. */
static bool type_field(struct check *check, enum fw_field *ret)
{
	const uint64_t *protos = check->rule->protos;
	bool has_icmp4 = has_proto(protos, FW_PROTO_ICMP);
	bool has_icmp6 = has_proto(protos, FW_PROTO_ICMP6);
	const struct fw_term *proto = &check->rule->terms[FW_TERM_PROTO];

	if (!proto->is_given) {
		*ret = FW_FIELD_ICMP;
		return imply_protos(check, FW_PROTO_ICMP, FW_PROTO_ICMP6,
				    "icmp",
				    check->rule->ast->terms[FW_TERM_TYPE].at);
	}
	if (!is_within(protos, FW_PROTO_ICMP, FW_PROTO_ICMP6)) {
		fw_report_error(check->rep, proto->at,
				"'type' needs proto icmp, not %s%.*s",
				proto->is_negated ? "!" : "",
				(int)proto->text_len,
				fw_term_text(check->scope, proto));
		fw_report_note(check->rep,
			       check->rule->ast->terms[FW_TERM_TYPE].at,
			       "the type is given here");
		return false;
	}
	*ret = FW_FIELD_ICMP;
	if (!has_icmp6) {
		*ret = FW_FIELD_ICMP4;
	} else if (!has_icmp4) {
		*ret = FW_FIELD_ICMP6;
	}
	return true;
}

/* To the families of which types or codes (`what`) are left. */
static bool narrow_to_rest(struct check *check, const struct fw_term *term,
			   const char *what)
{
	uint8_t families = 0;
	char clause[16];

	if (term->value.v4.n)
		families |= FW_FAMILY_IPV4;
	if (term->value.v6.n)
		families |= FW_FAMILY_IPV6;
	if (!families) {
		fw_report_error(check->rep, term->at,
				"rule can never match: no %s is left", what);
		return false;
	}
	(void)snprintf(clause, sizeof(clause), "the %s", what);
	return narrow(check, families, term->at, clause, false);
}

static bool check_types(struct check *check, enum fw_field field)
{
	struct fw_term *term = &check->rule->terms[FW_TERM_TYPE];

	if (!check_term(check, FW_TERM_TYPE, field))
		return false;
	if (term->is_negated &&
	    ((field != FW_FIELD_ICMP6 && !complement(check, &term->value.v4)) ||
	     (field != FW_FIELD_ICMP4 && !complement(check, &term->value.v6))))
		return false;
	return narrow_to_rest(check, term, "type");
}

/* The only number of a list, -1 for none, -2 for several. */
static int only_type(const struct fw_ranges *ranges)
{
	if (ranges->n == 0)
		return -1;
	if (ranges->n > 1 || ranges->r[0].first_lo != ranges->r[0].last_lo)
		return -2;
	return (int)ranges->r[0].first_lo;
}

static bool collect_codes(struct check *check, const struct fw_item *item,
			  int type4, int type6, struct fw_value *value)
{
	const struct fw_item *sub;
	bool is_good = true;

	if (item->kind == FW_ITEM_WORD) {
		return fw_field_parse_code(check->scope, item->at, type4, type6,
					   value);
	}
	if (item->kind == FW_ITEM_LIST) {
		for (sub = item->first; sub; sub = sub->next) {
			is_good &=
				collect_codes(check, sub, type4, type6, value);
		}
		return is_good;
	}
	fw_report_error(check->rep, item->at,
			"codes are written out: numbers or names");
	return false;
}

static bool fill_codes(struct check *check, struct fw_term *term, int type4,
		       int type6)
{
	struct fw_list list = fw_list_at(&check->scope->texts);

	fw_value_merge(&term->value);
	fw_field_print_codes(&term->value, type4, type6, &list);
	fw_list_end(&list);
	if (!take_text(check, list.start, term))
		return false;
	if (term->is_negated &&
	    ((type4 >= 0 && !complement(check, &term->value.v4)) ||
	     (type6 >= 0 && !complement(check, &term->value.v6))))
		return false;
	return narrow_to_rest(check, term, "code");
}

static bool check_codes(struct check *check)
{
	const struct fw_ast_term *ast = &check->rule->ast->terms[FW_TERM_CODE];
	const struct fw_term *type = &check->rule->terms[FW_TERM_TYPE];
	struct fw_term *term = &check->rule->terms[FW_TERM_CODE];
	int type4, type6;

	if (!ast->item)
		return true;
	if (!type->is_given) {
		fw_report_error(check->rep, ast->at,
				"'code' needs the type that it belongs to");
		fw_report_hint(
			check->rep,
			"write 'type destination-unreachable code port-unreachable'");
		return false;
	}
	type4 = only_type(&type->value.v4);
	type6 = only_type(&type->value.v6);
	if (type4 == -2 || type6 == -2) {
		fw_report_error(check->rep, ast->at,
				"'code' needs exactly one type");
		fw_report_note(check->rep, type->at, "these are several");
		return false;
	}
	term->at = ast->at;
	term->is_given = true;
	term->is_negated = ast->is_negated;
	return check_empty(check, ast) &&
	       collect_codes(check, ast->item, type4, type6, &term->value) &&
	       fill_codes(check, term, type4, type6);
}

static bool check_icmp(struct check *check)
{
	enum fw_field field;

	if (!check->rule->ast->terms[FW_TERM_TYPE].item)
		return check_codes(check);
	return type_field(check, &field) && check_types(check, field) &&
	       check_codes(check);
}

/* ---- the whole rule ------------------------------------------------------ */

static bool is_label(const char *s, size_t len)
{
	static const char allowed[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
	size_t i;

	for (i = 0; i < len; i++) {
		if (!s[i] || !strchr(allowed, s[i]))
			return false;
	}
	return len > 0 && len <= FW_MAX_LABEL;
}

static bool check_label(struct check *check)
{
	struct fw_span at = check->rule->ast->label;
	const char *s = fw_span_text(check->rep->sources, at);
	int dir;

	if (at.len == 0)
		return true;
	if (!is_label(s, at.len)) {
		fw_report_error(check->rep, at, "'%.*s' cannot be a label",
				FW_QUOTE(check->rep, at));
		fw_report_hint(
			check->rep,
			"a label is up to %d letters, digits, '_', '.' and '-'",
			FW_MAX_LABEL);
		return false;
	}
	for (dir = 0; dir < FW_DIR_MAX; dir++) {
		const char *taken = fw_default_label((enum fw_dir)dir);

		if (strlen(taken) != at.len || memcmp(taken, s, at.len) != 0)
			continue;
		fw_report_error(check->rep, at,
				"'%s' is the label of a default", taken);
		return false;
	}
	return true;
}

static bool check_prefix(struct check *check)
{
	struct fw_span at = check->rule->ast->prefix;
	const char *s = fw_span_text(check->rep->sources, at);
	uint32_t i;

	for (i = 0; i < at.len; i++) {
		if ((unsigned char)s[i] >= ' ')
			continue;
		fw_report_error(check->rep, at,
				"the prefix holds a control character");
		return false;
	}
	if (at.len <= FW_MAX_PREFIX)
		return true;
	fw_report_error(check->rep, at, "the prefix is longer than %d bytes",
			FW_MAX_PREFIX);
	return false;
}

/* Only what lets forwarded flows in has something to offload. */
static bool check_offload(struct check *check)
{
	const struct fw_ast_rule *ast = check->rule->ast;
	const char *wrong = NULL;

	if (!ast->offload_at.len)
		return true;
	if (ast->verdict != FW_ACCEPT) {
		wrong = "accept";
	} else if (ast->dir != FW_DIR_FORWARD) {
		wrong = "forward";
	}
	if (wrong) {
		fw_report_error(
			check->rep, ast->offload_at,
			"'offload' belongs to rules that accept what is forwarded");
		fw_report_hint(check->rep, "this one does not %s", wrong);
		return false;
	}
	if (!ast->is_stateless)
		return true;
	fw_report_error(check->rep, ast->offload_at,
			"a stateless rule has no flows to offload");
	fw_report_hint(check->rep,
		       "write 'accept forward', without 'stateless'");
	return false;
}

/* What goes out is never seen encrypted: a rule can only promise that it will be. */
static bool check_promise(struct check *check)
{
	const struct fw_ast_rule *ast = check->rule->ast;

	if (ast->verdict != FW_ACCEPT) {
		fw_report_error(
			check->rep, ast->ipsec_at,
			"'via ipsec' of what goes out belongs to rules that accept");
		fw_report_hint(
			check->rep,
			"write 'accept out ... via ipsec': what would leave in clear is dropped");
		return false;
	}
	if (ast->reqid_at.len) {
		fw_report_error(check->rep, ast->reqid_at,
				"'reqid' belongs to rules for what comes in");
		fw_report_hint(
			check->rep,
			"write 'via ipsec' alone: by which SA a packet leaves is the kernel's policy");
		return false;
	}
	return true;
}

static bool check_ipsec(struct check *check)
{
	const struct fw_ast_rule *ast = check->rule->ast;

	if (!ast->ipsec_at.len)
		return true;
	if (ast->is_stateless) {
		fw_report_error(check->rep, ast->ipsec_at,
				"a stateless rule cannot ask for IPsec");
		fw_report_hint(
			check->rep,
			"write '%s %s', without 'stateless', which is asked before anybody knows",
			fw_verdict_name((enum fw_verdict)ast->verdict),
			fw_dir_name((enum fw_dir)ast->dir));
		return false;
	}
	if (ast->is_not_ipsec)
		return true;
	if (ast->offload) {
		fw_report_error(
			check->rep, ast->offload_at,
			"what comes out of an SA is forwarded by the stack alone");
		fw_report_hint(check->rep, "write 'offload off', or nothing");
		return false;
	}
	return ast->dir != FW_DIR_OUT || check_promise(check);
}

static bool check_family(struct check *check)
{
	const struct fw_ast_rule *ast = check->rule->ast;

	if (!ast->families)
		return true;
	return narrow(check, ast->families, ast->family_at, "'family'", false);
}

static const enum fw_term_id plain[] = {
	FW_TERM_IN,    FW_TERM_OUT, FW_TERM_PROTO, FW_TERM_SRC,
	FW_TERM_SPORT, FW_TERM_DST, FW_TERM_DPORT,
};

/* A term that was read, of which the value or set is to be found. */
struct reading {
	enum fw_term_id id;
	enum fw_field field;
	bool is_good;
	struct fw_parts parts;
};

/* All but those with pairs; returns how many. */
static size_t read_terms(struct check *check, struct reading *ret)
{
	struct fw_checked_rule *rule = check->rule;
	size_t i, n = 0;

	for (i = 0; i < ARRAY_SIZE(plain); i++) {
		struct reading *r = &ret[n];

		rule->terms[plain[i]].set = -1;
		if (!rule->ast->terms[plain[i]].item)
			continue;
		r->id = plain[i];
		r->field = field_of(check, plain[i]);
		if (r->field == FW_FIELD_PAIR)
			continue;
		r->is_good = read_term(check, r->id, r->field, &r->parts);
		n++;
	}
	return n;
}

/* All are read before the set of the first is sought: memory takes its time. */
static bool check_terms(struct check *check)
{
	const struct fw_ast_term *terms = check->rule->ast->terms;
	struct reading readings[ARRAY_SIZE(plain)];
	size_t i, n = read_terms(check, readings);
	bool is_good = true;

	for (i = 0; i < n; i++) {
		struct reading *r = &readings[i];

		is_good &= r->is_good && fill_term(check, r->field, &r->parts,
						   &check->rule->terms[r->id]);
		fw_parts_done(&r->parts);
	}
	/* They need to know the ports of the rule. */
	for (i = 0; i < ARRAY_SIZE(plain); i++) {
		if (terms[plain[i]].item &&
		    field_of(check, plain[i]) == FW_FIELD_PAIR)
			is_good &= check_term(check, plain[i], FW_FIELD_PAIR);
	}
	return is_good;
}

bool fw_check_rule(struct fw_scope *scope, struct fw_set_pool *pool,
		   const struct fw_ast_rule *ast, struct fw_span at,
		   struct fw_checked_rule *ret)
{
	struct check check = {
		.scope = scope,
		.pool = pool,
		.rep = &scope->c->rep,
		.rule = ret,
	};
	bool is_good;

	fw_str_clear(&scope->texts);
	ret->ast = ast;
	ret->at = at;
	ret->families = BOTH_FAMILIES;
	ret->given_families = BOTH_FAMILIES;
	ret->terms[FW_TERM_TYPE].set = -1;
	ret->terms[FW_TERM_CODE].set = -1;
	is_good = check_label(&check);
	is_good &= check_prefix(&check);
	is_good &= check_offload(&check);
	is_good &= check_ipsec(&check);
	is_good &= check_terms(&check);
	if (!is_good)
		return false;
	return check_family(&check) && check_proto(&check) &&
	       check_ports(&check) && check_icmp(&check) &&
	       check_address(&check, FW_TERM_SRC, "'from'") &&
	       check_address(&check, FW_TERM_DST, "'to'");
}

void fw_checked_rule_done(struct fw_checked_rule *rule)
{
	int i;

	for (i = 0; i < FW_TERM_MAX; i++) {
		/* Most terms have none. */
		if (rule->terms[i].at.len)
			fw_value_done(&rule->terms[i].value);
	}
}
