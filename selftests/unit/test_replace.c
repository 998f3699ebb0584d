/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Other content for a named set: the program must be the one that is compiled of
 * rules that say so.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "rules_helper.h"

#define N_PROGRAMS     120
#define N_RULES	       14
#define N_REPLACEMENTS 5
#define N_KEYS	       3000

static uint32_t seed;

static uint32_t below(uint32_t n)
{
	seed = seed * 1103515245 + 12345;
	return (seed >> 16) % n;
}

#define PICK(list) list[below(sizeof(list) / sizeof((list)[0]))]

/* ---- packets ------------------------------------------------------------- */

static void random_address(struct fw_addr *addr, bool is_v6)
{
	static const char *const v4[] = { "9.255.255.255", "10.0.0.0",
					  "10.1.2.3",	   "10.1.2.4",
					  "10.1.255.255",  "10.2.0.0",
					  "192.0.2.1",	   "255.255.255.255" };
	static const char *const v6[] = { "2001:db7::", "2001:db8::",
					  "2001:db8:1::1",
					  "2001:db8:2::", "ffff::" };

	*addr = (struct fw_addr){ 0 };
	if (is_v6) {
		assert_int_equal(inet_pton(AF_INET6, PICK(v6), addr), 1);
		return;
	}
	addr->w[2] = htonl(0xffff);
	assert_int_equal(inet_pton(AF_INET, PICK(v4), &addr->w[3]), 1);
}

static struct fw_key random_key(void)
{
	static const uint16_t ports[] = { 22, 79, 80, 443, 1000, 65535 };
	static const uint16_t types[] = { 8 << 8, 3 << 8 | 1, 128 << 8 };
	static const uint8_t protos[] = { 1, 6, 6, 17, 17, 50, 58 };
	bool is_v6 = below(2);
	struct fw_key key = { .dir = FW_DIR_IN,
			      .family = is_v6 ? FW_AF_IPV6 : FW_AF_IPV4,
			      .in_zones = below(2),
			      .proto = PICK(protos) };

	random_address(&key.saddr, is_v6);
	random_address(&key.daddr, is_v6);
	key.flags |= below(4) ? 0 : FW_KEY_SRC_SELF;
	key.flags |= below(4) ? 0 : FW_KEY_DST_SELF;
	if (key.proto == 6 || key.proto == 17) {
		key.flags |= FW_KEY_PORTS;
		key.sport = PICK(ports);
		key.dport = PICK(ports);
	} else if (key.proto != 50) {
		key.flags |= FW_KEY_ICMP;
		key.icmp = PICK(types);
	}
	return key;
}

/* ---- rules --------------------------------------------------------------- */

static const struct test_file files[] = {
	{ "list.txt", "# nothing but this\n10.1.2.3\n2001:db8:1::/48\n" },
	{ NULL, NULL },
};

/* The sets of all random rule files, and what is in them now. */
static struct set {
	const char *name;
	const char *content;
	bool holds_ports;
	char *lines; /* what it was replaced by, or NULL */
} sets[] = {
	{ "a", "10.1.2.3, 2001:db8:1::1", false, NULL },
	{ "v4", "10.0.0.0/8", false, NULL },
	{ "list", "file \"list.txt\"", false, NULL },
	{ "nested", "@a, $plain, 10.2.0.0/16", false, NULL },
	{ "deep", "@nested, $mixed, self", false, NULL },
	{ "web", "80, 443", true, NULL },
	{ "more", "@web, 1000", true, NULL },
};

#define N_SETS (sizeof(sets) / sizeof(sets[0]))

static const char *const addresses[] = {
	"@a",
	"@v4",
	"@list",
	"@nested",
	"@deep",
	"!@a",
	"!@v4",
	"!@nested",
	"!@deep",
	"{ @a, 192.0.2.1 }",
	"{ @v4, @list, 2001:db8:2::/48 }",
	"!{ @list, 10.2.0.0/16 }",
	"{ @nested, self }",
	"$mixed",
	"!$mixed",
	"{ $mixed, $plain }",
	"$over",
	"{ $over, @v4 }",
	"$plain",
	"10.0.0.0/8",
	"2001:db8::/32",
	"0.0.0.0/0",
	"{ 0.0.0.0/0, 2001:db8::/32 }",
	"{ 0.0.0.0/0, ::/0 }",
	"{ 10.1.2.3, 2001:db8:1::1 }",
	"!10.1.0.0/16",
	"self",
};

static void put_rule(FILE *out)
{
	static const char *const ports[] = {
		"@web",	  "!@web", "@more",  "{ @web, 22 }", "{ @more, @web }",
		"$ports", "80",	   "0-65535"
	};
	static const char *const others[] = {
		"",
		" family ipv4",
		" family ipv6",
		" proto icmp",
		" proto icmp type echo-request",
		" proto icmp4 type echo-request",
		" proto icmp6",
		" proto udp",
	};

	fprintf(out, "%s%s in%s", below(2) ? "accept" : "drop",
		below(5) ? "" : " stateless", below(4) ? "" : " on a");
	if (below(3)) {
		fputs(PICK(others), out);
		if (below(2))
			fprintf(out, " from %s", PICK(addresses));
		if (below(2))
			fprintf(out, " to %s", PICK(addresses));
	} else {
		fputs(" proto tcp", out);
		if (below(2))
			fprintf(out, " from %s port %s", PICK(addresses),
				PICK(ports));
		fprintf(out, " to port %s", PICK(ports));
	}
	fputc('\n', out);
}

static void put_set(const struct set *set, FILE *out)
{
	const char *p;

	fprintf(out, "set %s {", set->name);
	if (!set->lines)
		fprintf(out, " %s }\n", set->content);
	for (p = set->lines; p && *p; p++)
		fputc(*p == '\n' ? ',' : *p, out);
	if (set->lines)
		fputs(" }\n", out);
}

/* A rule file with the sets as they are now. */
static char *render(const char *rules)
{
	char *text = NULL;
	size_t i, n;
	FILE *out;

	out = open_memstream(&text, &n);
	assert_non_null(out);
	fputs("interface a = e0\n"
	      "define plain = { 10.1.2.4, 2001:db8:2:: }\n"
	      "define mixed = { @v4, $plain, 2001:db8::/64 }\n"
	      "define over = { $mixed, @list }\n"
	      "define ports = { @web, 22 }\n",
	      out);
	for (i = 0; i < N_SETS; i++)
		put_set(&sets[i], out);
	fputs(rules, out);
	assert_int_equal(fclose(out), 0);
	return text;
}

static int try_compile(const char *text, struct fw_program **ret)
{
	struct fw_diag diag = { 0 };
	int r;

	r = fw_compile("t", text, strlen(text), test_read,
		       (void *)(uintptr_t)files, &diag, ret);
	fw_diag_done(&diag);
	return r;
}

/* Rules that say nothing impossible without any set are right. */
static char *random_rules(void)
{
	char *rules = strdup("");
	size_t i, n;

	for (i = 0; i < N_RULES;) {
		struct fw_program *program = NULL;
		char *line, *longer, *text;
		FILE *out = open_memstream(&line, &n);

		assert_non_null(out);
		put_rule(out);
		assert_int_equal(fclose(out), 0);
		assert_true(asprintf(&longer, "%s%s", rules, line) > 0);
		text = render(longer);
		if (try_compile(text, &program) == 0) {
			free(rules);
			rules = longer;
			i++;
		} else {
			free(longer);
		}
		fw_program_free(program);
		free(text);
		free(line);
	}
	return rules;
}

/* ---- are two programs the same? ------------------------------------------ */

static void same_ranges(const struct fw_ranges *a, const struct fw_ranges *b)
{
	assert_int_equal(a->n, b->n);
	if (a->n)
		assert_memory_equal(a->r, b->r, a->n * sizeof(*a->r));
}

static void same_set(const struct fw_program *p, int32_t a,
		     const struct fw_program *q, int32_t b)
{
	assert_int_equal(a < 0, b < 0);
	if (a < 0)
		return;
	assert_int_equal(p->sets[a].has_self, q->sets[b].has_self);
	same_ranges(&p->sets[a].v4, &q->sets[b].v4);
	same_ranges(&p->sets[a].v6, &q->sets[b].v6);
	same_ranges(&p->sets[a].port, &q->sets[b].port);
}

static void same_program(const struct fw_program *p, const struct fw_program *q)
{
	size_t i;

	assert_int_equal(p->n_rows, q->n_rows);
	for (i = 0; i < p->n_rows; i++) {
		const struct fw_ir_row *a = &p->rows[i], *b = &q->rows[i];

		assert_string_equal(a->label, b->label);
		assert_string_equal(a->text, b->text);
		assert_int_equal(a->families, b->families);
		assert_int_equal(a->given_families, b->given_families);
		assert_int_equal(a->flags, b->flags);
		same_set(p, a->src, q, b->src);
		same_set(p, a->dst, q, b->dst);
		same_set(p, a->l4a, q, b->l4a);
		same_set(p, a->l4b, q, b->l4b);
	}
	assert_int_equal(p->n_named_sets, q->n_named_sets);
	for (i = 0; i < p->n_named_sets; i++) {
		const struct fw_named_set *a = &p->named_sets[i];
		const struct fw_named_set *b = &q->named_sets[i];

		assert_string_equal(a->name, b->name);
		assert_int_equal(a->v4, b->v4);
		assert_int_equal(a->v6, b->v6);
		assert_int_equal(a->ports, b->ports);
		assert_int_equal(a->holds_ports, b->holds_ports);
		same_set(p, a->set, q, b->set);
	}
	/* Names that only a replaced set had are still counted. */
	assert_true(p->n_fixed_entries >= q->n_fixed_entries);
}

static void same_verdicts(const struct fw_program *p,
			  const struct fw_program *q)
{
	for (int i = 0; i < N_KEYS; i++) {
		const struct fw_key key = random_key();
		struct fw_result a, b;

		fw_interpret(p, &key, i % 4 == 0, &a);
		fw_interpret(q, &key, i % 4 == 0, &b);
		assert_memory_equal(&a, &b, sizeof(a));
	}
}

/* Does a row match, alone? */
static bool matches(const struct fw_program *program, size_t row,
		    const struct fw_key *key)
{
	struct fw_program alone = *program;
	struct fw_result result;

	alone.rows += row;
	alone.n_rows = 1;
	fw_interpret(&alone, key, program->rows[row].flags & FW_ROW_STATELESS,
		     &result);
	return result.rule == 0;
}

/* Rows that are said to be decided by another one still are. */
static void check_decided(const struct fw_program *program)
{
	for (size_t i = 0; i < program->n_rows; i++) {
		uint32_t by = program->rows[i].decided_by;

		for (int k = 0; by && k < N_KEYS / 4; k++) {
			const struct fw_key key = random_key();

			if (matches(program, i, &key))
				assert_true(matches(program, by - 1, &key));
		}
	}
}

static char *dump(const struct fw_program *program)
{
	char *text = NULL;
	size_t n;
	FILE *out = open_memstream(&text, &n);

	assert_non_null(out);
	fw_program_dump(program, out);
	for (size_t i = 0; i < program->n_rows; i++)
		fprintf(out, "%u ", program->rows[i].decided_by);
	assert_int_equal(fclose(out), 0);
	return text;
}

/* ---- the way through an image -------------------------------------------- */

struct texts {
	struct fw_text *texts;
	size_t n;
};

static int read_back(void *ctx, const char *name, struct fw_text *ret,
		     const char **reterr)
{
	const struct texts *texts = ctx;

	for (size_t i = 0; i < texts->n; i++) {
		const struct fw_text *text = &texts->texts[i];

		if (strcmp(text->name, name) != 0)
			continue;
		*ret = (struct fw_text){ .name = strdup(name),
					 .data = strdup(text->data),
					 .len = text->len };
		return 0;
	}
	*reterr = "not there";
	return -2;
}

/* What a daemon that starts makes of the image. */
static struct fw_program *recompile(const struct fw_program *program)
{
	static const uint32_t defaults[FW_DIR_MAX] = { 1, 2, 3 };
	struct fw_options options = { .skip_passes = 1u << FW_PASS_DECIDED };
	struct fw_set_text *replaced;
	struct fw_program *again = NULL;
	struct fw_image image = { 0 };
	struct fw_diag diag = { 0 };
	struct texts texts;
	uint32_t *slots;

	slots = calloc(program->n_rows + 1, sizeof(*slots));
	assert_non_null(slots);
	assert_int_equal(fw_emit(program, 1, slots, defaults, &image), 0);
	free(slots);
	assert_int_equal(fw_image_texts(&image, &texts.texts, &texts.n,
					&replaced, &options.n_replaced),
			 0);
	options.replaced = replaced;
	assert_int_equal(fw_compile_with(&options, texts.texts[0].name,
					 texts.texts[0].data,
					 texts.texts[0].len, read_back, &texts,
					 &diag, &again),
			 0);
	assert_int_equal(again->n_texts, program->n_texts);
	for (size_t i = 0; i < program->n_named_sets; i++) {
		const struct fw_text *a = &program->named_sets[i].replaced;
		const struct fw_text *b = &again->named_sets[i].replaced;

		assert_int_equal(!a->name, !b->name);
		assert_int_equal(a->len, b->len);
		if (a->name)
			assert_memory_equal(a->data, b->data, a->len);
	}
	fw_diag_done(&diag);
	fw_texts_free(texts.texts, texts.n);
	fw_set_texts_free(replaced, options.n_replaced);
	fw_image_done(&image);
	return again;
}

/* ---- replacing ------------------------------------------------------------ */

static struct fw_text text_of(const char *lines)
{
	return (struct fw_text){ .name = strdup("new.txt"),
				 .data = strdup(lines),
				 .len = strlen(lines) };
}

static int replace(const struct fw_program *program, const char *name,
		   const char *lines, struct fw_diag *diag,
		   struct fw_replacement **ret)
{
	const struct fw_named_set *set = fw_program_set(program, name);
	struct fw_text text = text_of(lines);

	assert_non_null(set);
	return fw_replacement_new(program, set, &text, diag, ret);
}

static void replace_good(struct fw_program *program, const char *name,
			 const char *lines)
{
	struct fw_replacement *replacement = NULL;
	struct fw_diag diag = { 0 };
	int r;

	r = replace(program, name, lines, &diag, &replacement);
	if (r < 0)
		fw_diag_print(&diag, stderr, false);
	assert_int_equal(r, 0);
	fw_replacement_swap(program, replacement);
	fw_replacement_free(replacement);
	fw_diag_done(&diag);
}

/* At least one line; an empty set cannot be written in place. */
static char *random_lines(bool holds_ports)
{
	static const char *const entries[] = {
		"10.1.2.3",    "10.0.0.0/8",
		"10.1.0.0/16", "192.0.2.1",
		"2001:db8::1", "2001:db8::/32",
		"ffff::/16",   "0.0.0.0/0",
		"::/0",	       "10.1.2.4",
		"self",	       "2001:db8:1::1",
		"10.2.0.0/16", "9.0.0.0-10.1.2.3",
	};
	static const char *const ports[] = { "80",	  "443", "79-80",
					     "0-65535",	  "22",	 "http",
					     "1000-65535" };
	size_t n;
	char *lines;
	FILE *out = open_memstream(&lines, &n);

	assert_non_null(out);
	fputs(holds_ports ? PICK(ports) : PICK(entries), out);
	for (uint32_t i = below(4); i; i--)
		fprintf(out, "\n%s", holds_ports ? PICK(ports) : PICK(entries));
	assert_int_equal(fclose(out), 0);
	return lines;
}

/* One replacement, against a program of rules that say the same. */
static void step(struct fw_program *program, const char *rules)
{
	struct set *set = &sets[below(N_SETS)];
	char *before = dump(program);
	struct fw_replacement *replacement;
	struct fw_diag diag = { 0 };
	struct fw_program *want = NULL, *again;
	char *after, *text;

	free(set->lines);
	set->lines = random_lines(set->holds_ports);
	assert_int_equal(
		replace(program, set->name, set->lines, &diag, &replacement),
		0);
	/* Nothing yet; and what is done can be undone. */
	after = dump(program);
	assert_string_equal(before, after);
	free(after);
	fw_replacement_swap(program, replacement);
	fw_replacement_swap(program, replacement);
	after = dump(program);
	assert_string_equal(before, after);
	free(after);
	free(before);
	fw_replacement_swap(program, replacement);
	fw_replacement_free(replacement);
	fw_diag_done(&diag);

	text = render(rules);
	assert_int_equal(try_compile(text, &want), 0);
	free(text);
	again = recompile(program);
	same_program(program, again);
	same_program(program, want);
	same_verdicts(program, want);
	check_decided(program);
	fw_program_free(again);
	fw_program_free(want);
}

static void test_random(void **state)
{
	(void)state;
	for (uint32_t number = 0; number < N_PROGRAMS; number++) {
		struct fw_program *program = NULL;
		char *rules, *text;

		seed = number * 7919 + 1;
		rules = random_rules();
		text = render(rules);
		assert_int_equal(try_compile(text, &program), 0);
		for (int i = 0; i < N_REPLACEMENTS; i++)
			step(program, rules);
		fw_program_free(program);
		free(text);
		free(rules);
		for (size_t i = 0; i < N_SETS; i++) {
			free(sets[i].lines);
			sets[i].lines = NULL;
		}
	}
}

/* ---- single cases --------------------------------------------------------- */

static const char few[] = "interface wan = eth0\n"
			  "set block { 10.0.0.0/8 }\n"
			  "set allow { 192.0.2.1 }\n"
			  "set web { 80 }\n"
			  "drop in from @block\n"
			  "accept in from @allow to port @web\n";

/* A file may say nothing: then nothing is in the set, and stays of its kind. */
static void test_empty(void **state)
{
	struct fw_program *program = compile_good(few, NULL);
	struct fw_program *again;

	(void)state;
	replace_good(program, "block", "# nobody\r\n\n");
	replace_good(program, "web", "");
	assert_int_equal(fw_program_set(program, "block")->v4, 0);
	assert_int_equal(fw_program_set(program, "web")->ports, 0);
	assert_true(fw_program_set(program, "web")->holds_ports);
	again = recompile(program);
	same_program(program, again);
	fw_program_free(again);
	replace_good(program, "web", "\xef\xbb\xbf 8080 # one\r\n");
	assert_int_equal(fw_program_set(program, "web")->ports, 1);
	assert_int_equal(program->sets[2].port.r[0].first_lo, 8080);
	fw_program_free(program);
}

/* The other set has the same content: it keeps it. */
static void test_twin(void **state)
{
	struct fw_program *program =
		compile_good("set one { 10.0.0.1 }\nset two { 10.0.0.1 }\n"
			     "drop in from @one\naccept in from @two\n"
			     "accept out to 10.0.0.1\n",
			     NULL);

	(void)state;
	replace_good(program, "one", "2001:db8::1\n10.9.9.9\n");
	assert_int_equal(fw_program_set(program, "one")->v6, 1);
	assert_int_equal(fw_program_set(program, "two")->v6, 0);
	assert_int_equal(program->sets[program->rows[1].src].v6.n, 0);
	assert_int_equal(program->sets[program->rows[2].dst].v6.n, 0);
	assert_int_equal(program->rows[0].families, 3);
	fw_program_free(program);
}

/* A replaced set is no longer made of what it was made of. */
static void test_cut_off(void **state)
{
	struct fw_program *program =
		compile_good("set inner { 10.0.0.1 }\n"
			     "set outer { @inner, 10.0.0.9 }\n"
			     "drop in from @outer\n"
			     "accept in from @inner\n",
			     NULL);

	(void)state;
	replace_good(program, "inner", "10.0.0.2\n10.0.0.4\n");
	assert_int_equal(fw_program_set(program, "outer")->v4, 3);
	replace_good(program, "outer", "10.7.7.7\n");
	replace_good(program, "inner", "10.0.0.5\n");
	assert_int_equal(fw_program_set(program, "outer")->v4, 1);
	assert_int_equal(program->sets[1].v4.r[0].first_lo, 0x0a070707);
	fw_program_free(program);
}

/* The file that a set was read from is of no use any more, unless it is. */
static void test_old_file(void **state)
{
	static const struct test_file old[] = {
		{ "one.txt", "10.0.0.1\n10.0.0.3\n" },
		{ "two.txt", "10.0.0.5\n" },
		{ NULL, NULL },
	};
	struct fw_program *program =
		compile_good("set one { file \"one.txt\", file \"two.txt\" }\n"
			     "set two { file \"two.txt\" }\n"
			     "drop in from @one\naccept in from @two\n",
			     old);
	struct fw_program *again;

	(void)state;
	replace_good(program, "one", "10.7.7.7\n");
	again = recompile(program);
	same_program(program, again);
	assert_int_equal(again->texts[1].len, 0);
	assert_string_equal(again->texts[2].data, old[1].text);
	/* As well from there. */
	replace_good(again, "two", "10.8.8.8\n");
	replace_good(program, "two", "10.8.8.8\n");
	same_program(program, again);
	fw_program_free(again);
	again = recompile(program);
	same_program(program, again);
	fw_program_free(again);
	fw_program_free(program);
}

static void test_names(void **state)
{
	struct fw_program *program = compile_good(few, NULL);

	(void)state;
	assert_non_null(fw_program_set(program, "web"));
	assert_null(fw_program_set(program, "wbe"));
	assert_string_equal(fw_program_nearest_set(program, "wbe")->name,
			    "web");
	assert_string_equal(fw_program_nearest_set(program, "blcok")->name,
			    "block");
	assert_null(fw_program_nearest_set(program, "something"));
	assert_null(fw_program_nearest_set(program, ""));
	fw_program_free(program);
}

/* What addresses with ports are made of stays what the rules say. */
static void test_fixed(void **state)
{
	struct fw_program *program = compile_good(
		"set free { 10.0.0.1 }\nset inner { 10.0.0.2 }\n"
		"set outer { @inner }\nset web { @outer port 443 }\n"
		"define pairs = { @web }\n"
		"set low { 80 }\nset ports { @low, 443 }\nset high { 8000 }\n"
		"accept in proto tcp from { @free, @outer } to $pairs\n"
		"accept in proto tcp from @free port @high to @web port @ports\n",
		NULL);

	(void)state;
	assert_false(fw_program_set(program, "free")->is_fixed);
	assert_true(fw_program_set(program, "inner")->is_fixed);
	assert_true(fw_program_set(program, "outer")->is_fixed);
	assert_false(fw_named_set_has_pairs(fw_program_set(program, "outer")));
	/* Ports beside them are part of the same rows, ports elsewhere are not. */
	assert_true(fw_program_set(program, "ports")->is_fixed);
	assert_true(fw_program_set(program, "low")->is_fixed);
	assert_false(fw_program_set(program, "high")->is_fixed);
	assert_true(fw_named_set_has_pairs(fw_program_set(program, "web")));
	fw_program_free(program);
}

static void test_mistakes(void **state)
{
	static const struct {
		const char *set, *lines;
		uint32_t line, column;
		const char *text;
	} cases[] = {
		{ "block", "10.0.0.1\n# more\n  10.0.0.1/8\n", 3, 3,
		  "'10.0.0.1/8' has bits set behind its prefix" },
		{ "block", "10.0.0.1 10.0.0.2\n", 1, 9,
		  "more than one address in a line" },
		{ "web", "22, 80\n", 1, 3, "more than one port in a line" },
		{ "web", "22\n70000\n", 2, 1,
		  "port 70000 is out of range 0-65535" },
		{ "web", "\n10.0.0.0/8\n", 2, 1,
		  "set 'web' holds ports, and this is an address" },
		{ "web", "2001:db8::-2001:db8::5\n", 1, 1,
		  "set 'web' holds ports, and this is an address" },
		{ "block", "# ports\n80-90\n443\n", 2, 1,
		  "set 'block' holds addresses, and this is a port" },
		{ "block", "ssh\n", 1, 1,
		  "set 'block' holds addresses, and this is a port" },
		{ "block", "10.0.0.1\n any\n", 2, 2,
		  "'any' cannot be in a set" },
		{ "block", "10.0.0.1\n@allow\n", 2, 1,
		  "unknown address '@allow'" },
		{ "block", "10.0.0.1\n\x01\n", 2, 1,
		  "this is not text: byte 0x01" },
	};
	struct fw_program *program = compile_good(few, NULL);
	char *before = dump(program), *after;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fw_replacement *replacement = NULL;
		struct fw_diag diag = { 0 };

		assert_int_equal(replace(program, cases[i].set, cases[i].lines,
					 &diag, &replacement),
				 -22);
		assert_null(replacement);
		assert_int_equal(diag.errors, 1);
		assert_string_equal(diag.messages[0].text, cases[i].text);
		assert_string_equal(diag.messages[0].file, "new.txt");
		assert_int_equal(diag.messages[0].line, cases[i].line);
		assert_int_equal(diag.messages[0].column, cases[i].column);
		fw_diag_done(&diag);
	}
	after = dump(program);
	assert_string_equal(before, after);
	free(before);
	free(after);
	fw_program_free(program);
}

/* A file of nothing but mistakes ends soon. */
static void test_many_mistakes(void **state)
{
	enum { LINES = 100000 };
	struct fw_program *program = compile_good(few, NULL);
	struct fw_replacement *replacement = NULL;
	struct fw_diag diag = { 0 };
	char *lines = malloc(LINES * 2 + 1);

	(void)state;
	assert_non_null(lines);
	for (size_t i = 0; i < LINES; i++)
		memcpy(lines + 2 * i, "x\n", 3);
	assert_int_equal(replace(program, "block", lines, &diag, &replacement),
			 -22);
	assert_true(diag.errors <= FW_MAX_ERRORS);
	assert_true(diag.truncated);
	fw_diag_done(&diag);
	free(lines);
	fw_program_free(program);
}

/* As many ranges as one more set of a compilation might have, and no more. */
static void test_too_many(void **state)
{
	enum { RANGES = 1500000 };
	struct fw_program *program =
		compile_good("set one { 10.0.0.1 }\nset two { @one }\n"
			     "drop in from { @one, @two, 10.0.0.3 }\n",
			     NULL);
	struct fw_replacement *replacement = NULL;
	char *lines = malloc((size_t)RANGES * 16 + 1);
	struct fw_diag diag = { 0 };
	size_t n = 0;

	(void)state;
	assert_non_null(lines);
	for (uint32_t i = 0; i < RANGES; i++) {
		n += (size_t)sprintf(lines + n, "11.%u.%u.%u\n", i >> 15 & 0xff,
				     i >> 7 & 0xff, i << 1 & 0xff);
	}
	assert_int_equal(replace(program, "one", lines, &diag, &replacement),
			 -7);
	assert_null(replacement);
	assert_int_equal(diag.errors, 0);
	fw_diag_done(&diag);
	free(lines);
	assert_int_equal(fw_program_set(program, "one")->v4, 1);
	fw_program_free(program);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_twin),
		cmocka_unit_test(test_cut_off),
		cmocka_unit_test(test_old_file),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_fixed),
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_many_mistakes),
		cmocka_unit_test(test_too_many),
	};

	return cmocka_run_group_tests_name("replace", tests, NULL, NULL);
}
