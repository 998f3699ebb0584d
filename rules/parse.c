/* SPDX-License-Identifier: GPL-2.0-only */

/* Tokens to the syntax tree: statements and whole files. */
#include "parse.h"

#include <string.h>

#include "ast_rule.h"
#include "file.h"
#include "mem.h"
#include "parser.h"

/* ---- statements ---------------------------------------------------------- */

static const struct fw_keyword mode_words[] = {
	{ "auto", FW_MODE_AUTO },
	{ "xdp", FW_MODE_XDP },
	{ "xdp-generic", FW_MODE_XDP_GENERIC },
	{ "tc", FW_MODE_TC },
	{ NULL, 0 },
};

/* { mode M } */
static bool parse_mode(struct fw_parser *p, struct fw_ast_member *member)
{
	int mode;

	fw_parser_take(p);
	if (!fw_parser_at_word(p, "mode")) {
		fw_parser_unexpected(p, "'mode'");
		return false;
	}
	fw_parser_take(p);
	member->mode_at = p->token.at;
	if (!fw_parser_choose(p, mode_words,
			      "'auto', 'xdp', 'xdp-generic' or 'tc'", &mode))
		return false;
	member->mode = (enum fw_iface_mode)mode;
	member->has_mode = true;
	return fw_parser_expect(p, FW_TOKEN_CLOSE, "'}'");
}

static struct fw_ast_member *parse_member(struct fw_parser *p)
{
	struct fw_ast_member *member;

	member = fw_compiler_alloc(p->c, sizeof(*member));
	if (!member)
		return NULL;
	if (!fw_parser_expect_text(p, "the name of an interface", &member->at))
		return NULL;
	if (p->token.kind == FW_TOKEN_OPEN && !parse_mode(p, member))
		return NULL;
	return member;
}

static bool parse_members(struct fw_parser *p, struct fw_ast_member **tail)
{
	struct fw_span open = fw_parser_take(p);
	bool is_separated;

	while (p->token.kind == FW_TOKEN_NEWLINE)
		fw_parser_take(p);
	while (p->token.kind != FW_TOKEN_CLOSE) {
		*tail = parse_member(p);
		if (!*tail)
			return false;
		tail = &(*tail)->next;
		if (!fw_parser_separators(p, open, &is_separated))
			return false;
		if (!is_separated && p->token.kind != FW_TOKEN_CLOSE) {
			fw_parser_unexpected(p, "',' or '}'");
			return false;
		}
	}
	fw_parser_take(p);
	return true;
}

static bool parse_name(struct fw_parser *p, const char *what,
		       struct fw_span *ret)
{
	if (!fw_parser_expect(p, FW_TOKEN_WORD, what))
		return false;
	*ret = p->last;
	return true;
}

static bool parse_interface(struct fw_parser *p, struct fw_stmt *stmt)
{
	struct fw_ast_interface *interface = &stmt->interface;
	struct fw_ast_member common = { 0 };
	struct fw_ast_member *m;

	stmt->kind = FW_STMT_INTERFACE;
	if (!parse_name(p, "a name for the interface", &interface->name) ||
	    !fw_parser_expect(p, FW_TOKEN_EQUALS, "'='"))
		return false;
	if (p->token.kind != FW_TOKEN_OPEN) {
		interface->members = parse_member(p);
		return interface->members != NULL;
	}
	if (!parse_members(p, &interface->members))
		return false;
	if (p->token.kind != FW_TOKEN_OPEN)
		return true;
	if (!parse_mode(p, &common))
		return false;
	for (m = interface->members; m; m = m->next) {
		if (m->has_mode)
			continue;
		m->mode = common.mode;
		m->mode_at = common.mode_at;
		m->has_mode = true;
	}
	return true;
}

static bool parse_define(struct fw_parser *p, struct fw_stmt *stmt)
{
	stmt->kind = FW_STMT_DEFINE;
	if (!parse_name(p, "a name for the value", &stmt->binding.name) ||
	    !fw_parser_expect(p, FW_TOKEN_EQUALS, "'='"))
		return false;
	stmt->binding.item = fw_parser_value(p, "a value or a list");
	return stmt->binding.item != NULL;
}

/* One element of a set may be: file "path". */
static struct fw_item *parse_file(struct fw_parser *p)
{
	struct fw_span word = fw_parser_take(p);
	struct fw_span path;
	struct fw_item *item;
	int file;

	if (p->token.kind != FW_TOKEN_STRING) {
		fw_parser_unexpected(p, "the path of the file in quotes");
		return NULL;
	}
	if (!fw_parser_expect_text(p, "a path", &path))
		return NULL;
	file = fw_file_get(p->c, path);
	if (file < 0)
		return NULL;
	item = fw_parser_item(p, FW_ITEM_FILE, fw_span_join(word, p->last));
	if (item)
		item->file = (uint32_t)file;
	return item;
}

static bool set_element(struct fw_parser *p, struct fw_item **ret)
{
	static const char *const later[] = { "dynamic", "timeout", "size",
					     "on-full", NULL };

	if (!fw_parser_at_word(p, "file"))
		return fw_parser_refuse_later(p, later);
	*ret = parse_file(p);
	return true;
}

static bool parse_set(struct fw_parser *p, struct fw_stmt *stmt)
{
	stmt->kind = FW_STMT_SET;
	if (!parse_name(p, "a name for the set", &stmt->binding.name))
		return false;
	if (p->token.kind != FW_TOKEN_OPEN) {
		fw_parser_unexpected(p, "'{'");
		fw_report_hint(
			&p->c->rep,
			"write: set NAME { 192.0.2.0/24, file \"more.txt\" }");
		return false;
	}
	stmt->binding.item = fw_parser_list(p, "an address", set_element, 1);
	return stmt->binding.item != NULL;
}

/* Every option and value: what it clears and sets. */
static const struct {
	const char *name;
	const char *value;
	uint32_t clear, set;
} options[] = {
	{ "conntrack-hooks", "auto", FW_OPT_CT_HOOKS, 0 },
	{ "conntrack-hooks", "on", 0, FW_OPT_CT_HOOKS },
	{ "flow-accounting", "off", FW_OPT_FLOW_ACCT, 0 },
	{ "flow-accounting", "on", 0, FW_OPT_FLOW_ACCT },
	{ "esp-unknown-spi", "pass", FW_OPT_ESP_LOG | FW_OPT_ESP_DROP, 0 },
	{ "esp-unknown-spi", "log", FW_OPT_ESP_DROP, FW_OPT_ESP_LOG },
	{ "esp-unknown-spi", "drop", FW_OPT_ESP_LOG, FW_OPT_ESP_DROP },
	{ "fragments", "track", FW_OPT_FRAG_DROP, 0 },
	{ "fragments", "drop", 0, FW_OPT_FRAG_DROP },
	{ "non-ip", "pass", FW_OPT_NON_IP_DROP, 0 },
	{ "non-ip", "drop", 0, FW_OPT_NON_IP_DROP },
	{ "ip-options", "pass", FW_OPT_IP_OPTS_DROP, 0 },
	{ "ip-options", "drop", 0, FW_OPT_IP_OPTS_DROP },
	{ "offload", "off", FW_OPT_OFFLOAD | FW_OPT_OFFLOAD_FIRST, 0 },
	{ "offload", "on", FW_OPT_OFFLOAD_FIRST, FW_OPT_OFFLOAD },
	{ "offload", "first", 0, FW_OPT_OFFLOAD | FW_OPT_OFFLOAD_FIRST },
	{ "on-reload", "recheck", FW_OPT_RELOAD_KEEP | FW_OPT_RELOAD_KILL, 0 },
	{ "on-reload", "keep", FW_OPT_RELOAD_KILL, FW_OPT_RELOAD_KEEP },
	{ "on-reload", "kill", FW_OPT_RELOAD_KEEP, FW_OPT_RELOAD_KILL },
};

/* "'this', 'that' or 'other'" */
static void what_of(const struct fw_keyword *words, int n, char *buf,
		    size_t size)
{
	size_t used = 0;
	int i;

	for (i = 0; i < n && used < size; i++) {
		used += (size_t)snprintf(buf + used, size - used, "%s'%s'",
					 i == 0	      ? ""
					 : i == n - 1 ? " or "
						      : ", ",
					 words[i].word);
	}
}

static bool parse_option_value(struct fw_parser *p,
			       struct fw_ast_option *option)
{
	struct fw_keyword words[ARRAY_SIZE(options) + 1] = { 0 };
	char what[64];
	int i, n = 0;

	for (i = 0; i < (int)ARRAY_SIZE(options); i++) {
		if (fw_parser_is(p, option->name, options[i].name))
			words[n++] = (struct fw_keyword){ options[i].value, i };
	}
	what_of(words, n, what, sizeof(what));
	if (!fw_parser_choose(p, words, what, &i))
		return false;
	option->clear = options[i].clear;
	option->set = options[i].set;
	return true;
}

/* What no rule could judge, for want of addresses, a protocol or ports. */
static bool refuse_unreadable(struct fw_parser *p)
{
	static const enum fw_reason reasons[] = {
		FW_REASON_DROP_TRUNCATED,   FW_REASON_DROP_BAD_IPV4,
		FW_REASON_DROP_BAD_IPV6,    FW_REASON_DROP_EXT_HEADERS,
		FW_REASON_DROP_VLAN_DEPTH,  FW_REASON_DROP_FRAG_TINY,
		FW_REASON_DROP_FRAG_ORPHAN, FW_REASON_DROP_FRAG_BAD,
	};
	struct fw_reporter *rep = &p->c->rep;

	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
		if (!fw_parser_at_word(p, fw_reason_name(reasons[i])))
			continue;
		fw_report_error(rep, p->token.at,
				"'%.*s' cannot be switched off",
				FW_QUOTE(rep, p->token.at));
		fw_report_hint(rep, "no rule can judge what cannot be read");
		return true;
	}
	return false;
}

/* check NAME on|off */
static bool parse_check(struct fw_parser *p, struct fw_ast_option *option)
{
	static const struct fw_keyword states[] = {
		{ "on", true },
		{ "off", false },
		{ NULL, 0 },
	};
	struct fw_keyword *names;
	int bit, is_on;
	size_t i;

	names = fw_compiler_alloc(p->c, (fw_n_checks + 1) * sizeof(*names));
	if (!names)
		return false;
	for (i = 0; i < fw_n_checks; i++)
		names[i] = (struct fw_keyword){
			fw_reason_name(fw_checks[i].reason), (int)i
		};
	if (refuse_unreadable(p) ||
	    !fw_parser_choose(p, names, "the name of a check, such as 'land'",
			      &bit))
		return false;
	option->name = p->last;
	if (!fw_parser_choose(p, states, "'on' or 'off'", &is_on))
		return false;
	option->clear = is_on ? fw_checks[bit].off : 0;
	option->set = is_on ? 0 : fw_checks[bit].off;
	return true;
}

/* adopt DURATION|off */
static bool parse_adopt(struct fw_parser *p, struct fw_ast_option *option)
{
	if (fw_parser_accept_word(p, "off"))
		return true;
	return fw_parser_duration(p, "a duration such as 60s, or 'off'",
				  FW_ADOPT_MAX, &option->adopt_s);
}

/* esp-grace DURATION|off */
static bool parse_esp_grace(struct fw_parser *p, struct fw_ast_option *option)
{
	option->is_esp_grace = true;
	if (fw_parser_accept_word(p, "off"))
		return true;
	return fw_parser_duration(p, "a duration such as 10s, or 'off'",
				  FW_ESP_GRACE_MAX, &option->esp_grace);
}

static bool parse_option(struct fw_parser *p, struct fw_stmt *stmt)
{
	static const char *const later[] = { "syn-cookies", NULL };
	static const struct fw_keyword names[] = {
		{ "conntrack-hooks", 0 }, { "esp-grace", 0 },
		{ "esp-steer", 0 },	  { "esp-unknown-spi", 0 },
		{ "flow-accounting", 0 }, { "fragments", 0 },
		{ "non-ip", 0 },	  { "ip-options", 0 },
		{ "check", 0 },		  { "on-reload", 0 },
		{ "adopt", 0 },		  { "mark-mask", 0 },
		{ "offload", 0 },	  { NULL, 0 },
	};
	int ignored;

	stmt->kind = FW_STMT_OPTION;
	if (fw_parser_refuse_later(p, later))
		return false;
	if (!fw_parser_choose(
		    p, names,
		    "'conntrack-hooks', 'esp-grace', 'esp-steer', 'esp-unknown-spi', "
		    "'flow-accounting', 'fragments', 'non-ip', 'ip-options', 'check', "
		    "'offload', 'on-reload', 'adopt' or 'mark-mask'",
		    &ignored))
		return false;
	stmt->option.name = p->last;
	if (fw_parser_is(p, p->last, "check"))
		return parse_check(p, &stmt->option);
	if (fw_parser_is(p, p->last, "adopt"))
		return parse_adopt(p, &stmt->option);
	if (fw_parser_is(p, p->last, "esp-grace"))
		return parse_esp_grace(p, &stmt->option);
	if (fw_parser_is(p, p->last, "esp-steer"))
		return fw_parser_steer(p, &stmt->option);
	if (fw_parser_is(p, p->last, "mark-mask")) {
		stmt->option.is_mark = true;
		return fw_parser_mark_mask(p, &stmt->option.mark_shift);
	}
	return parse_option_value(p, &stmt->option);
}

static bool parse_timeout(struct fw_parser *p, struct fw_stmt *stmt)
{
	stmt->kind = FW_STMT_TIMEOUT;
	return fw_parser_timeout(p, &stmt->timeout);
}

static const struct fw_keyword dir_words[] = {
	{ "in", FW_DIR_IN },
	{ "out", FW_DIR_OUT },
	{ "forward", FW_DIR_FORWARD },
	{ NULL, 0 },
};

static const struct fw_keyword verdict_words[] = {
	{ "accept", FW_ACCEPT },
	{ "drop", FW_DROP },
	{ "reject", FW_REJECT },
	{ NULL, 0 },
};

static bool parse_default(struct fw_parser *p, struct fw_stmt *stmt)
{
	struct fw_ast_default *dflt = &stmt->dflt;
	int dir, verdict;

	stmt->kind = FW_STMT_DEFAULT;
	if (!fw_parser_choose(p, dir_words, "'in', 'out' or 'forward'", &dir))
		return false;
	dflt->dir_at = p->last;
	if (!fw_parser_choose(p, verdict_words, "'accept', 'drop' or 'reject'",
			      &verdict))
		return false;
	dflt->dir = (uint8_t)dir;
	dflt->verdict = (uint8_t)verdict;
	dflt->has_log = fw_parser_accept_word(p, "log");
	return true;
}

/* on ZONES [strict|loose] */
static bool parse_antispoof(struct fw_parser *p, struct fw_stmt *stmt)
{
	static const struct fw_keyword words[] = {
		{ "strict", false },
		{ "loose", true },
		{ NULL, 0 },
	};
	int is_loose = false;

	stmt->kind = FW_STMT_ANTISPOOF;
	if (!fw_parser_accept_word(p, "on")) {
		fw_parser_unexpected(p, "'on'");
		fw_report_hint(&p->c->rep, "write: antispoof on ZONE");
		return false;
	}
	stmt->antispoof.item = fw_parser_value(p, "the name of an interface");
	if (!stmt->antispoof.item)
		return false;
	if (p->token.kind == FW_TOKEN_WORD &&
	    !fw_parser_choose(p, words, "'strict', 'loose' or nothing",
			      &is_loose))
		return false;
	stmt->antispoof.is_loose = is_loose;
	return true;
}

static bool parse_rule(struct fw_parser *p, struct fw_stmt *stmt)
{
	const struct fw_arena_mark mark = fw_arena_mark(&p->c->arena);
	const struct fw_span start = p->last;
	struct fw_ast_rule rule = { 0 };
	const struct fw_keyword *k;
	int dir;

	(void)stmt; /* there are too many for one each */
	for (k = verdict_words; k->word; k++) {
		if (fw_parser_is(p, p->last, k->word))
			rule.verdict = (uint8_t)k->value;
	}
	rule.is_stateless = fw_parser_accept_word(p, "stateless");
	/* Reported with the place of the first one too many. */
	p->ast->is_full |= ++p->ast->n_rules > FW_MAX_RULES;
	if (!fw_parser_choose(p, dir_words,
			      rule.is_stateless
				      ? "'in', 'out' or 'forward'"
				      : "'stateless', 'in', 'out' or 'forward'",
			      &dir))
		return false;
	rule.dir = (uint8_t)dir;
	if (!fw_parser_rule(p, &rule))
		return false;
	if (!fw_ast_add_rule(&p->c->arena, mark, p->ast,
			     fw_span_join(start, p->last), &rule))
		p->c->rep.is_broken = true;
	return !p->c->rep.is_broken;
}

static bool parse_include(struct fw_parser *p, struct fw_stmt *stmt);

static const struct {
	const char *word;
	bool (*parse)(struct fw_parser *p, struct fw_stmt *stmt);
} statements[] = {
	{ "accept", parse_rule },	  { "drop", parse_rule },
	{ "reject", parse_rule },	  { "interface", parse_interface },
	{ "define", parse_define },	  { "set", parse_set },
	{ "option", parse_option },	  { "default", parse_default },
	{ "include", parse_include },	  { "timeout", parse_timeout },
	{ "antispoof", parse_antispoof },
};

bool fw_parser_at_statement(const struct fw_parser *p)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(statements); i++) {
		/* a set may have a timeout one day, in its braces */
		if (statements[i].parse != parse_timeout &&
		    fw_parser_at_word(p, statements[i].word))
			return true;
	}
	return false;
}

bool fw_parse_is_reserved(const char *word, size_t len)
{
	static const char *const others[] = { "any",	   "self",    "in",
					      "out",	   "forward", "file",
					      "stateless", "mode" };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(statements); i++) {
		if (strlen(statements[i].word) == len &&
		    memcmp(statements[i].word, word, len) == 0)
			return true;
	}
	for (i = 0; i < ARRAY_SIZE(others); i++) {
		if (strlen(others[i]) == len &&
		    memcmp(others[i], word, len) == 0)
			return true;
	}
	return fw_parser_is_clause(word, len);
}

/* ---- whole files --------------------------------------------------------- */

static void unknown_statement(struct fw_parser *p)
{
	static const char *const later[] = { "limit", "nat", "ipsec", "service",
					     NULL };
	struct fw_reporter *rep = &p->c->rep;
	struct fw_nearest nearest;
	size_t i;

	if (fw_parser_refuse_later(p, later))
		return;
	if (p->token.kind != FW_TOKEN_WORD) {
		fw_parser_unexpected(p, "a statement");
		return;
	}
	fw_report_error(rep, p->token.at, "unknown statement '%.*s'",
			FW_QUOTE(rep, p->token.at));
	if (fw_parser_hint_habit(p, p->token.at))
		return;
	nearest = fw_nearest_to(fw_span_text(&p->c->sources, p->token.at),
				p->token.at.len);
	for (i = 0; i < ARRAY_SIZE(statements); i++)
		fw_nearest_try_word(&nearest, statements[i].word);
	fw_report_nearest(rep, &nearest, "");
}

/*
 * After an error: go on behind the statement. Inside braces that is behind the
 * closing one, or at a line that looks like a statement.
 */
static void recover(struct fw_parser *p)
{
	if (fw_parser_is(p, p->last, "\n") && fw_parser_at_statement(p))
		return;
	while (p->token.kind != FW_TOKEN_END) {
		if (p->token.kind == FW_TOKEN_NEWLINE) {
			if (p->open == 0)
				return;
			fw_parser_take(p);
			if (fw_parser_at_statement(p))
				return;
			continue;
		}
		fw_parser_take(p);
	}
}

/* Is there a limit that the rest of the text cannot change any more? */
static void check_room(struct fw_parser *p, const struct fw_stmt *stmt)
{
	struct fw_ast *ast = p->ast;

	if (++ast->n_others <= FW_MAX_OTHERS)
		return;
	fw_report_error(&p->c->rep, stmt->at,
			"more than %u statements besides the rules",
			FW_MAX_OTHERS);
	ast->is_full = true;
}

static void append(struct fw_ast *ast, struct fw_stmt *stmt)
{
	if (stmt->kind == FW_STMT_INTERFACE && ast->last_interface) {
		ast->last_interface->next = &stmt->interface;
		ast->last_interface = &stmt->interface;
	} else if (stmt->kind == FW_STMT_INTERFACE) {
		ast->first_interface = &stmt->interface;
		ast->last_interface = &stmt->interface;
	}
	if (ast->last) {
		ast->last->next = stmt;
	} else {
		ast->first = stmt;
	}
	ast->last = stmt;
}

static bool declares_name(const struct fw_stmt *stmt)
{
	switch (stmt->kind) {
	case FW_STMT_INTERFACE:
		return stmt->interface.name.len > 0;
	case FW_STMT_DEFINE:
	case FW_STMT_SET:
		return stmt->binding.name.len > 0;
	case FW_STMT_OPTION:
	case FW_STMT_TIMEOUT:
	case FW_STMT_DEFAULT:
	case FW_STMT_ANTISPOOF:
		break;
	}
	return false;
}

static bool parse_statement(struct fw_parser *p)
{
	struct fw_span start = p->token.at;
	struct fw_stmt *stmt;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(statements); i++) {
		if (fw_parser_accept_word(p, statements[i].word))
			break;
	}
	if (i == ARRAY_SIZE(statements)) {
		unknown_statement(p);
		return false;
	}
	if (statements[i].parse == parse_include ||
	    statements[i].parse == parse_rule)
		return statements[i].parse(p, NULL);
	stmt = fw_compiler_alloc(p->c, sizeof(*stmt));
	if (!stmt)
		return false;
	stmt->is_broken = !statements[i].parse(p, stmt);
	stmt->at = fw_span_join(start, p->last);
	/* A name whose value is wrong is not unknown as well. */
	if (!stmt->is_broken || declares_name(stmt))
		append(p->ast, stmt);
	check_room(p, stmt);
	return !stmt->is_broken;
}

/*
 * Pass over a rule that ends with its line, for whoever wants the files only.
 * That is sure without a brace or semicolon, be the rule right or wrong.
 */
static bool skip_rule(struct fw_parser *p)
{
	struct fw_lexer *lex = &p->lex;
	const char *rest = lex->data + lex->off;
	size_t n = lex->len - lex->off;
	const char *end = memchr(rest, '\n', n);
	const struct fw_keyword *k = verdict_words;

	while (k->word && !fw_parser_at_word(p, k->word))
		k++;
	if (!k->word)
		return false;
	n = end ? (size_t)(end - rest) : n;
	if (memchr(rest, '{', n) || memchr(rest, ';', n))
		return false;
	lex->off += (uint32_t)n;
	fw_parser_take(p);
	return true;
}

static void parse_statements(struct fw_parser *p)
{
	p->token = fw_lex_next(&p->lex);
	while (p->token.kind != FW_TOKEN_END && !p->ast->is_full &&
	       !fw_report_is_full(&p->c->rep)) {
		if (fw_parser_accept(p, FW_TOKEN_NEWLINE))
			continue;
		p->open = 0;
		if (p->c->options->only_texts && skip_rule(p))
			continue;
		if (!parse_statement(p)) {
			recover(p);
		} else if (p->token.kind != FW_TOKEN_NEWLINE &&
			   p->token.kind != FW_TOKEN_END) {
			fw_parser_unexpected(p, "the end of the statement");
			recover(p);
		}
	}
}

static bool is_open(const struct fw_parser *p, int file)
{
	for (; p; p = p->includer) {
		if (p->lex.file == (uint32_t)file)
			return true;
	}
	return false;
}

static bool parse_include(struct fw_parser *p, struct fw_stmt *stmt)
{
	struct fw_parser inner = {
		.c = p->c,
		.ast = p->ast,
		.includer = p,
		.depth = p->depth + 1,
	};
	struct fw_span path;
	const char *s;
	int file;

	(void)stmt; /* what is included stands in the tree by itself */
	if (p->token.kind != FW_TOKEN_STRING) {
		fw_parser_unexpected(p, "the path of a file in quotes");
		return false;
	}
	if (!fw_parser_expect_text(p, "a path", &path))
		return false;
	s = fw_span_text(&p->c->sources, path);
	if (memchr(s, '*', path.len) || memchr(s, '?', path.len)) {
		fw_report_error(&p->c->rep, path,
				"'include' takes one file, not a pattern");
		return false;
	}
	if (p->depth >= FW_MAX_INCLUDE_DEPTH) {
		fw_report_error(&p->c->rep, path,
				"files include each other deeper than %d",
				FW_MAX_INCLUDE_DEPTH);
		return false;
	}
	file = fw_file_get(p->c, path);
	if (file < 0)
		return false;
	if (is_open(p, file)) {
		fw_report_error(&p->c->rep, path, "'%.*s' includes itself",
				FW_QUOTE(&p->c->rep, path));
		return false;
	}
	if (!fw_file_begin(p->c, path, (uint32_t)file)) {
		p->ast->is_full = true;
		return false;
	}
	fw_lex_init(&inner.lex, &p->c->sources, (uint32_t)file);
	parse_statements(&inner);
	return true;
}

void fw_parse(struct fw_compiler *c, struct fw_ast *ret)
{
	struct fw_parser p = { .c = c, .ast = ret };

	*ret = (struct fw_ast){ 0 };
	if (!fw_file_is_text(c, 0))
		return;
	fw_lex_init(&p.lex, &c->sources, 0);
	parse_statements(&p);
}
