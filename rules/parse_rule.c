/* SPDX-License-Identifier: GPL-2.0-only */

/* Tokens to the syntax tree: the clauses of a rule. */
#include <string.h>

#include "mem.h"
#include "parser.h"

/* What was given already, to name the first place when it is given again. */
struct seen {
	struct fw_span at[16]; /* per row of the table below */
};

#define VIA "via" /* in front of 'ipsec' */

struct clause;
typedef bool (*clause_fn)(struct fw_parser *p, const struct clause *clause,
			  struct fw_ast_rule *rule);

struct clause {
	const char *word;
	clause_fn parse;
	const char *what; /* what follows */
	enum fw_term_id term;
	enum fw_term_id port; /* of from and to */
};

static bool parse_plain(struct fw_parser *p, const struct clause *clause,
			struct fw_ast_rule *rule)
{
	return fw_parser_term(p, clause->what, &rule->terms[clause->term]);
}

static bool parse_on(struct fw_parser *p, const struct clause *clause,
		     struct fw_ast_rule *rule)
{
	enum fw_term_id term =
		rule->dir == FW_DIR_OUT ? FW_TERM_OUT : FW_TERM_IN;

	if (!fw_parser_term(p, clause->what, &rule->terms[term]))
		return false;
	if (p->token.kind != FW_TOKEN_ARROW)
		return true;
	fw_report_error(&p->c->rep, p->token.at, "'->' stands behind 'on'");
	fw_report_hint(&p->c->rep, "write '%.*s -> ...' without 'on'",
		       FW_QUOTE(&p->c->rep, rule->terms[term].at));
	return false;
}

/* from|to [ADDRESSES] [port PORTS] */
static bool parse_endpoint(struct fw_parser *p, const struct clause *clause,
			   struct fw_ast_rule *rule)
{
	bool has_address = !fw_parser_at_word(p, "port");

	if (has_address &&
	    !fw_parser_term(p, clause->what, &rule->terms[clause->term]))
		return false;
	if (!fw_parser_accept_word(p, "port"))
		return true;
	return fw_parser_term(p, "a port", &rule->terms[clause->port]);
}

static bool parse_family(struct fw_parser *p, const struct clause *clause,
			 struct fw_ast_rule *rule)
{
	static const struct fw_keyword words[] = {
		{ "ipv4", FW_FAMILY_IPV4 },
		{ "ipv6", FW_FAMILY_IPV6 },
		{ NULL, 0 },
	};
	int family;

	if (!fw_parser_choose(p, words, clause->what, &family))
		return false;
	rule->families = (uint8_t)family;
	rule->family_at = p->last;
	return true;
}

static bool parse_log(struct fw_parser *p, const struct clause *clause,
		      struct fw_ast_rule *rule)
{
	rule->has_log = true;
	if (p->token.kind != FW_TOKEN_STRING)
		return true;
	return fw_parser_expect_text(p, clause->what, &rule->prefix);
}

static bool parse_label(struct fw_parser *p, const struct clause *clause,
			struct fw_ast_rule *rule)
{
	if (!fw_parser_expect_text(p, clause->what, &rule->label))
		return false;
	if (rule->label.len > 0)
		return true;
	fw_report_error(&p->c->rep, p->last, "the label is empty");
	return false;
}

/* offload [on|off|first]; `on` is never that of an interface here */
static bool parse_offload(struct fw_parser *p, const struct clause *clause,
			  struct fw_ast_rule *rule)
{
	(void)clause;
	rule->offload_at = p->last;
	rule->offload = FW_RESULT_OFFLOAD;
	if (fw_parser_accept_word(p, "off")) {
		rule->offload = 0;
	} else if (fw_parser_accept_word(p, "first")) {
		rule->offload = FW_RESULT_OFFLOADS;
	} else if (fw_parser_accept_word(p, "on")) {
		rule->offload_on = p->last;
	}
	return true;
}

/* What follows 'via'; what others put there is an interface. */
static bool parse_via(struct fw_parser *p, const struct clause *clause,
		      struct fw_ast_rule *rule)
{
	struct fw_reporter *rep = &p->c->rep;
	struct fw_span start = p->last;
	struct fw_nearest nearest;

	if (fw_parser_accept_word(p, "ipsec")) {
		rule->ipsec_at = fw_span_join(start, p->last);
		return !fw_parser_at_word(p, "reqid") ||
		       fw_parser_reqid(p, rule);
	}
	fw_parser_unexpected(p, clause->what);
	if (p->token.kind != FW_TOKEN_WORD ||
	    fw_parser_hint_habit(p, p->token.at))
		return false;
	nearest = fw_nearest_to(fw_span_text(rep->sources, p->token.at),
				p->token.at.len);
	fw_nearest_try_word(&nearest, "ipsec");
	if (!fw_report_nearest(rep, &nearest, ""))
		fw_report_hint(rep, "an interface is named with 'on'");
	return false;
}

/* not via ipsec */
static bool parse_not(struct fw_parser *p, const struct clause *clause,
		      struct fw_ast_rule *rule)
{
	struct fw_span start = p->last;

	rule->is_not_ipsec = true;
	if (fw_parser_accept_word(p, "via")) {
		if (!parse_via(p, clause, rule))
			return false;
		rule->ipsec_at = fw_span_join(start, rule->ipsec_at);
		return true;
	}
	fw_parser_unexpected(p, "'via ipsec'");
	fw_report_hint(
		&p->c->rep,
		fw_parser_at_word(p, "ipsec")
			? "write 'not via ipsec'"
			: "other clauses are negated by '!': from !192.0.2.1");
	return false;
}

static const struct clause clauses[] = {
	{ "on", parse_on, "the name of an interface", FW_TERM_IN, 0 },
	{ "proto", parse_plain, "a protocol", FW_TERM_PROTO, 0 },
	{ "from", parse_endpoint, "an address or 'port'", FW_TERM_SRC,
	  FW_TERM_SPORT },
	{ "to", parse_endpoint, "an address or 'port'", FW_TERM_DST,
	  FW_TERM_DPORT },
	{ "type", parse_plain, "an ICMP type", FW_TERM_TYPE, 0 },
	{ "code", parse_plain, "an ICMP code", FW_TERM_CODE, 0 },
	{ "family", parse_family, "'ipv4' or 'ipv6'", FW_TERM_MAX, 0 },
	{ VIA, parse_via, "'ipsec'", FW_TERM_MAX, 0 },
	{ "not", parse_not, "'ipsec'", FW_TERM_MAX, 0 },
	{ "log", parse_log, "a prefix", FW_TERM_MAX, 0 },
	{ "offload", parse_offload, "'on', 'off' or 'first'", FW_TERM_MAX, 0 },
	{ "label", parse_label, "a label", FW_TERM_MAX, 0 },
};

static const char *const later_clauses[] = {
	"limit", "flags", "mark",   "vlan",  "dscp", "length",
	"ttl",	 "rate",  "exceed", "state", "user", "time",
	"mac",	 "tag",	  "once",   "nat",   NULL,
};

bool fw_parser_is_clause(const char *word, size_t len)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(clauses); i++) {
		if (strlen(clauses[i].word) == len &&
		    memcmp(clauses[i].word, word, len) == 0)
			return true;
	}
	for (i = 0; later_clauses[i]; i++) {
		if (strlen(later_clauses[i]) == len &&
		    memcmp(later_clauses[i], word, len) == 0)
			return true;
	}
	return len == 4 && memcmp(word, "port", 4) == 0;
}

static const struct clause *find_clause(const struct fw_parser *p)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(clauses); i++) {
		if (fw_parser_at_word(p, clauses[i].word))
			return &clauses[i];
	}
	return NULL;
}

/* Which clauses may not stand together: 'not via' is the same as 'via'. */
static size_t place_of(const struct clause *clause)
{
	size_t i = (size_t)(clause - clauses);

	return clause->parse == parse_not ? i - 1 : i;
}

static bool parse_clause(struct fw_parser *p, const struct clause *clause,
			 struct fw_ast_rule *rule, struct seen *seen)
{
	struct fw_span *first = &seen->at[place_of(clause)];

	if (first->len) {
		fw_report_error(&p->c->rep, p->token.at,
				"'%s' is given twice in one rule",
				clauses[place_of(clause)].word);
		if (clause->parse == parse_endpoint) {
			fw_report_hint(
				&p->c->rep,
				"address and port stand together: %s ADDRESS port PORT",
				clause->word);
		}
		fw_report_note(&p->c->rep, *first, "it is given here first");
		return false;
	}
	*first = fw_parser_take(p);
	return clause->parse(p, clause, rule);
}

static void unknown_word(struct fw_parser *p, struct fw_span at)
{
	struct fw_reporter *rep = &p->c->rep;
	struct fw_nearest nearest;
	size_t i;

	fw_report_error(rep, at, "unknown word '%.*s' in a rule",
			FW_QUOTE(rep, at));
	if (fw_parser_hint_habit(p, at))
		return;
	nearest = fw_nearest_to(fw_span_text(rep->sources, at), at.len);
	for (i = 0; i < ARRAY_SIZE(clauses); i++)
		fw_nearest_try_word(&nearest, clauses[i].word);
	if (!fw_report_nearest(rep, &nearest, "")) {
		fw_report_hint(
			rep,
			"a rule goes on with 'on', 'proto', 'from', 'to', 'type', 'code', 'family', 'via ipsec', 'log', 'offload' or 'label'");
	}
}

/* What is no clause, and no interface in front of an arrow either. */
static void refuse_without_arrow(struct fw_parser *p,
				 const struct fw_ast_term *in,
				 bool is_behind_on)
{
	struct fw_reporter *rep = &p->c->rep;
	bool is_word = in->item->kind == FW_ITEM_WORD && !in->is_negated;

	if (is_word && is_behind_on) {
		fw_report_error(rep, in->at,
				"'on' in front of '%.*s' belongs to 'offload'",
				FW_QUOTE(rep, in->at));
		fw_report_hint(rep, "write 'on %.*s' before 'offload'",
			       FW_QUOTE(rep, in->at));
	} else if (is_word) {
		unknown_word(p, in->at);
	} else {
		fw_parser_unexpected(p, "'->'");
		if (fw_parser_is(p, in->item->at, VIA))
			fw_report_hint(rep, "write 'not via ipsec'");
	}
}

/* ZONE -> ZONE */
static bool parse_arrow(struct fw_parser *p, struct fw_ast_rule *rule,
			struct seen *seen)
{
	struct fw_reporter *rep = &p->c->rep;
	bool is_behind_on =
		p->last.off == rule->offload_on.off && rule->offload_on.len;
	struct fw_ast_term in;
	struct fw_span arrow;

	if (!fw_parser_term(p, "a clause or the end of the rule", &in))
		return false;
	if (p->token.kind != FW_TOKEN_ARROW) {
		refuse_without_arrow(p, &in, is_behind_on);
		return false;
	}
	arrow = fw_parser_take(p);
	if (rule->dir != FW_DIR_FORWARD) {
		fw_report_error(rep, arrow, "'->' belongs to forward rules");
		fw_report_hint(rep, "write 'on %.*s'", FW_QUOTE(rep, in.at));
		return false;
	}
	if (rule->terms[FW_TERM_IN].item || rule->terms[FW_TERM_OUT].item) {
		fw_report_error(rep, arrow,
				"the interfaces are given twice in one rule");
		fw_report_note(rep, rule->terms[FW_TERM_IN].at,
			       "they are given here first");
		return false;
	}
	rule->terms[FW_TERM_IN] = in;
	seen->at[0] = fw_span_join(in.at, arrow); /* the row of 'on' */
	return fw_parser_term(p, "the name of an interface",
			      &rule->terms[FW_TERM_OUT]);
}

bool fw_parser_rule(struct fw_parser *p, struct fw_ast_rule *rule)
{
	_Static_assert(ARRAY_SIZE(clauses) <=
			       ARRAY_SIZE(((struct seen *)0)->at),
		       "one place per clause");
	struct seen seen = { 0 };
	const struct clause *clause;

	while (p->token.kind != FW_TOKEN_NEWLINE &&
	       p->token.kind != FW_TOKEN_END) {
		clause = find_clause(p);
		if (clause) {
			if (!parse_clause(p, clause, rule, &seen))
				return false;
		} else if (fw_parser_refuse_later(p, later_clauses) ||
			   !parse_arrow(p, rule, &seen)) {
			return false;
		}
	}
	return true;
}
