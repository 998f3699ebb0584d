/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Sets of addresses with ports, against a judge that knows nothing of groups
 * and rows: it looks at one entry of the file after the other.
 *
 * Addresses are few, so that entries overlap, touch and end where others begin;
 * the lowest and the highest one of each family are among them, and in IPv6 a
 * carry from the lower half to the upper one. What the rules are compiled to is
 * held against the same judge, by the code that the programs run.
 */
#include "rules/match.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "kern/match.h"
#include "rules_helper.h"

#define N_PROGRAMS 300
#define N_KEYS	   2500
#define N_RULES	   6
#define N_SETS	   3
#define MAX_IN_SET 24

__u32 fw_image_mask = UINT32_MAX;

static uint64_t seed;

static uint32_t below(uint32_t n)
{
	uint64_t z = seed += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (uint32_t)(z >> 32) % n;
}

static bool chance(uint32_t percent)
{
	return below(100) < percent;
}

/* ---- addresses and ports ------------------------------------------------- */

/* Places of addresses: -1 is the lowest of all, N_PLACES the highest. */
#define N_PLACES 14

static void address_at(int place, bool is_v6, struct fw_addr *ret)
{
	*ret = (struct fw_addr){ 0 };
	if (!is_v6) {
		ret->w[2] = htonl(0xffff);
		ret->w[3] = place < 0 ? 0
			    : place == N_PLACES
				    ? 0xffffffff
				    : htonl(0x0a0000fau + (uint32_t)place);
	} else if (place == N_PLACES) {
		memset(ret, 0xff, sizeof(*ret));
	} else if (place >= 0) {
		ret->w[0] = htonl(0x20010db8);
		/* 0-6 are below the carry. */
		ret->w[1] = htonl(place >= 7);
		ret->w[2] = place >= 7 ? 0 : 0xffffffff;
		ret->w[3] = htonl(0xfffffff9u + (uint32_t)place);
	}
}

static const uint16_t port_at[] = { 0, 1, 5, 6, 7, 8, 9, 65534, 65535 };
#define N_PORTS (sizeof(port_at) / sizeof(port_at[0]))

/* ---- what was written ---------------------------------------------------- */

struct entry {
	bool is_self, is_v6;
	int first, last;    /* places */
	uint32_t low, high; /* numbers of ports */
};

struct set {
	struct entry entries[MAX_IN_SET * 4];
	size_t n;
};

/* One side of a rule. */
struct side {
	uint32_t sets; /* a bit for each; 0: no set */
	bool is_negated;
	bool has_port, is_port_negated;
	uint32_t low, high;
};

struct rule {
	struct side side[2]; /* from, to */
	bool has_tcp, has_udp;
	bool has_proto;
};

struct written {
	struct set sets[N_SETS];
	struct rule rules[N_RULES];
	char *text;
	struct test_file files[N_SETS + 1];
	char names[N_SETS][8];
};

static void put_address(FILE *out, const struct entry *e, int place)
{
	struct fw_addr addr;
	char buf[INET6_ADDRSTRLEN];

	address_at(place, e->is_v6, &addr);
	if (e->is_v6) {
		inet_ntop(AF_INET6, &addr, buf, sizeof(buf));
	} else {
		inet_ntop(AF_INET, &addr.w[3], buf, sizeof(buf));
	}
	fputs(buf, out);
}

static void put_addresses(FILE *out, const struct entry *e)
{
	if (e->is_self) {
		fputs("self", out);
	} else if (e->first == -1 && e->last == N_PLACES) {
		fputs(e->is_v6 ? "::/0" : "0.0.0.0/0", out);
	} else {
		put_address(out, e, e->first);
		if (e->last > e->first) {
			fputc('-', out);
			put_address(out, e, e->last);
		}
	}
}

static void put_ports(FILE *out, uint32_t low, uint32_t high)
{
	fprintf(out, "%u", port_at[low]);
	if (high > low)
		fprintf(out, "-%u", port_at[high]);
}

static void pick_ports(uint32_t *low, uint32_t *high)
{
	*low = below(N_PORTS);
	*high = chance(50) ? *low : *low + below(N_PORTS - *low);
}

static struct entry pick_entry(void)
{
	struct entry e = { .is_v6 = chance(50), .is_self = chance(6) };

	e.first = (int)below(N_PLACES + 2) - 1;
	e.last = e.first;
	if (chance(60))
		e.last += (int)below((uint32_t)(N_PLACES + 1 - e.first));
	pick_ports(&e.low, &e.high);
	return e;
}

/* A line of a set, which is one entry or the product of lists. */
static void put_entries(FILE *out, struct set *set)
{
	struct entry e[2] = { pick_entry(), pick_entry() };
	size_t i, n_addresses = 1 + chance(15), n_ports = 1 + chance(25);

	fputs(n_addresses > 1 ? "{ " : "", out);
	for (i = 0; i < n_addresses; i++) {
		fputs(i ? ", " : "", out);
		put_addresses(out, &e[i]);
	}
	fputs(n_addresses > 1 ? " } port " : " port ", out);
	fputs(n_ports > 1 ? "{ " : "", out);
	for (i = 0; i < n_ports; i++) {
		fputs(i ? ", " : "", out);
		put_ports(out, e[i].low, e[i].high);
	}
	fputs(n_ports > 1 ? " }\n" : "\n", out);
	for (i = 0; i < n_addresses * n_ports; i++) {
		struct entry *to = &set->entries[set->n++];

		*to = e[i / n_ports];
		to->low = e[i % n_ports].low;
		to->high = e[i % n_ports].high;
	}
}

static void write_file(struct written *w, struct set *set, int number)
{
	size_t i, k, n;
	char *text;
	FILE *out = open_memstream(&text, &n);

	assert_non_null(out);
	for (i = 1 + below(4); i; i--) {
		struct entry *e = &set->entries[set->n++];

		*e = pick_entry();
		put_addresses(out, e);
		fputs(chance(50) ? "\tport  " : " port ", out);
		k = chance(30);
		fputs(k ? "{ " : "", out);
		put_ports(out, e->low, e->high);
		fputs(k ? "}\t# x\n" : "\n", out);
	}
	assert_int_equal(fclose(out), 0);
	snprintf(w->names[number], sizeof(w->names[number]), "f%d", number);
	w->files[number] = (struct test_file){ w->names[number], text };
}

static void write_set(struct written *w, FILE *out, int number)
{
	struct set *set = &w->sets[number];
	size_t i;

	write_file(w, set, number);
	fprintf(out, "set s%d {\n", number);
	if (chance(30))
		fprintf(out, "file \"f%d\"\n", number);
	else
		set->n = 0;
	for (i = 1 + below(8); i; i--)
		put_entries(out, set);
	if (number && chance(30)) {
		const struct set *from = &w->sets[number - 1];

		fprintf(out, "@s%d\n", number - 1);
		for (i = 0; i < from->n && set->n < MAX_IN_SET * 4; i++)
			set->entries[set->n++] = from->entries[i];
		assert_int_equal(i, from->n);
	}
	fputs("}\n", out);
}

static void put_side(FILE *out, struct side *side, const char *word)
{
	uint32_t i;

	if (chance(35))
		return;
	fprintf(out, " %s", word);
	if (chance(75)) {
		side->is_negated = chance(40);
		side->sets = 1u << below(N_SETS);
		if (chance(25))
			side->sets |= 1u << below(N_SETS);
		fputs(side->is_negated ? " !{ " : " { ", out);
		for (i = 0; i < N_SETS; i++) {
			if (side->sets >> i & 1)
				fprintf(out, "%s@s%u",
					side->sets & ((1u << i) - 1) ? ", "
								     : "",
					i);
		}
		fputs(" }", out);
	} else {
		side->has_port = true;
	}
	side->has_port |= chance(30);
	if (!side->has_port)
		return;
	side->is_port_negated = chance(30);
	pick_ports(&side->low, &side->high);
	fputs(side->is_port_negated ? " port !" : " port ", out);
	put_ports(out, side->low, side->high);
}

static void write_rule(FILE *out, struct rule *rule)
{
	static const char *const verdicts[] = { "accept", "drop", "reject" };

	fprintf(out, "%s in", verdicts[below(3)]);
	rule->has_proto = chance(60);
	rule->has_tcp = chance(60);
	rule->has_udp = !rule->has_tcp || chance(30);
	if (rule->has_proto) {
		fprintf(out, " proto { %s%s }", rule->has_tcp ? "tcp" : "udp",
			rule->has_tcp && rule->has_udp ? ", udp" : "");
	}
	put_side(out, &rule->side[0], "from");
	put_side(out, &rule->side[1], "to");
	/* One that decides everything would leave nothing for the others. */
	if (!rule->side[0].sets && !rule->side[1].sets && !rule->has_proto) {
		rule->has_proto = rule->has_tcp = true;
		rule->has_udp = false;
		fputs(" proto tcp", out);
	}
	fputc('\n', out);
}

static struct written *write_all(uint64_t number)
{
	struct written *w = calloc(1, sizeof(*w));
	FILE *out;
	size_t n;
	int i;

	assert_non_null(w);
	seed = number * 7919 + 3;
	out = open_memstream(&w->text, &n);
	assert_non_null(out);
	fputs("interface a = e0\n", out);
	for (i = 0; i < N_SETS; i++)
		write_set(w, out, i);
	for (i = 0; i < N_RULES; i++)
		write_rule(out, &w->rules[i]);
	assert_int_equal(fclose(out), 0);
	return w;
}

static void written_free(struct written *w)
{
	int i;

	for (i = 0; i < N_SETS; i++)
		free((void *)(uintptr_t)w->files[i].text);
	free(w->text);
	free(w);
}

/* ---- the judge ----------------------------------------------------------- */

struct packet {
	int place[2]; /* source, destination */
	uint32_t port[2];
	bool is_self[2];
	bool is_v6, has_ports;
	uint8_t proto;
};

static bool is_entry(const struct entry *e, const struct packet *p, int side)
{
	bool is_address = e->is_self ? p->is_self[side]
				     : e->is_v6 == p->is_v6 &&
					       e->first <= p->place[side] &&
					       p->place[side] <= e->last;

	return is_address && e->low <= p->port[side] &&
	       p->port[side] <= e->high;
}

static bool matches_side(const struct written *w, const struct side *s,
			 const struct packet *p, int side)
{
	bool is_member = false;
	size_t i, k;

	if (s->has_port &&
	    (!p->has_ports || (s->low <= p->port[side] &&
			       p->port[side] <= s->high) == s->is_port_negated))
		return false;
	if (!s->sets)
		return true;
	for (i = 0; i < N_SETS; i++) {
		for (k = 0; k < w->sets[i].n && s->sets >> i & 1; k++)
			is_member |= is_entry(&w->sets[i].entries[k], p, side);
	}
	return p->has_ports && is_member != s->is_negated;
}

static bool matches(const struct written *w, const struct rule *rule,
		    const struct packet *p)
{
	bool is_proto = (p->proto == 6 && rule->has_tcp) ||
			(p->proto == 17 && rule->has_udp);

	if (!rule->has_proto)
		is_proto = p->proto == 6 || p->proto == 17;
	return is_proto && matches_side(w, &rule->side[0], p, 0) &&
	       matches_side(w, &rule->side[1], p, 1);
}

/* The first rule that matches; N_RULES: none. */
static size_t judge(const struct written *w, const struct packet *p)
{
	size_t i;

	for (i = 0; i < N_RULES && !matches(w, &w->rules[i], p); i++)
		;
	return i;
}

/* ---- packets ------------------------------------------------------------- */

static void pick_packet(struct packet *p, struct fw_key *key)
{
	static const uint8_t protos[] = { 6, 6, 17, 17, 17, 132, 50 };
	int i;

	*p = (struct packet){
		.proto = protos[below(sizeof(protos))],
		.is_v6 = chance(50),
	};
	p->has_ports = (p->proto == 6 || p->proto == 17) && chance(95);
	for (i = 0; i < 2; i++) {
		p->place[i] = (int)below(N_PLACES + 2) - 1;
		p->port[i] = below(N_PORTS);
		p->is_self[i] = chance(25);
	}
	*key = (struct fw_key){
		.family = p->is_v6 ? FW_AF_IPV6 : FW_AF_IPV4,
		.proto = p->proto,
		.dir = FW_DIR_IN,
		.sport = p->has_ports ? port_at[p->port[0]] : 0,
		.dport = p->has_ports ? port_at[p->port[1]] : 0,
	};
	key->flags |= p->has_ports ? FW_KEY_PORTS : 0;
	key->flags |= p->is_self[0] ? FW_KEY_SRC_SELF : 0;
	key->flags |= p->is_self[1] ? FW_KEY_DST_SELF : 0;
	address_at(p->place[0], p->is_v6, &key->saddr);
	address_at(p->place[1], p->is_v6, &key->daddr);
}

/* ---- programs ------------------------------------------------------------ */

struct built {
	struct fw_program *program;
	uint32_t *ordinal; /* of the rule of each row */
	struct fw_bytes bytes;
	uint32_t off;
};

static void build(const char *text, const struct test_file *files,
		  struct built *b)
{
	static const uint32_t default_slots[FW_DIR_MAX] = { 1, 2, 3 };
	size_t i, n = 0;

	*b = (struct built){ .program = compile_good(text, files) };
	b->ordinal = calloc(b->program->n_rows + 1, sizeof(*b->ordinal));
	assert_non_null(b->ordinal);
	for (i = 0; i < b->program->n_rows; i++) {
		const struct fw_ir_row *row = &b->program->rows[i];

		n += row->rule == i;
		b->ordinal[i] = (uint32_t)n - 1;
		/* Rows of a rule stand together and share what people see. */
		assert_int_equal(b->ordinal[row->rule], n - 1);
		assert_ptr_equal(row->label, b->program->rows[row->rule].label);
	}
	assert_int_equal(n, b->program->n_rules);
	assert_true(fw_bytes_reserve(&b->bytes, 64, 64) != FW_BYTES_FAILED);
	assert_int_equal(fw_match_build(b->program, b->ordinal, default_slots,
					&b->bytes, &b->off, NULL),
			 0);
	assert_true(fw_bytes_reserve(&b->bytes, FW_IMAGE_SLACK, 1) !=
		    FW_BYTES_FAILED);
}

static void built_done(struct built *b)
{
	fw_program_free(b->program);
	fw_bytes_done(&b->bytes);
	free(b->ordinal);
}

static void assert_judged(const struct written *w, const struct built *b,
			  const struct packet *p, const struct fw_key *key)
{
	struct match_io io = { .key = *key };
	struct fw_result result;
	size_t want = judge(w, p), is;

	fw_interpret(b->program, key, false, &result);
	is = result.rule >= FW_RULE_DEFAULT ? N_RULES : b->ordinal[result.rule];
	if (is != want) {
		print_error("rule %zu decides, must be %zu: src %d dst %d "
			    "sport %u dport %u v6 %d proto %u self %d %d\n%s",
			    is, want, p->place[0], p->place[1], key->sport,
			    key->dport, p->is_v6, p->proto, p->is_self[0],
			    p->is_self[1], w->text);
		fail();
	}
	assert_int_equal(match(b->bytes.data, b->off, &io, false), 0);
	assert_int_equal(io.res.rule, result.rule);
	assert_int_equal(io.res.verdict, result.verdict);
}

static char *print(const struct fw_program *program)
{
	char *text;
	size_t n;
	FILE *out = open_memstream(&text, &n);

	assert_non_null(out);
	fw_program_print(program, out);
	assert_int_equal(fclose(out), 0);
	return text;
}

/* As it was written, and as it is printed. */
static void check_program(const struct written *w, size_t hits[N_RULES + 1])
{
	struct built b, again;
	struct packet p;
	struct fw_key key;
	char *text, *same;
	int i;

	build(w->text, w->files, &b);
	text = print(b.program);
	build(text, NULL, &again);
	same = print(again.program);
	assert_string_equal(text, same);
	assert_int_equal(b.program->n_rows, again.program->n_rows);
	for (i = 0; i < N_KEYS; i++) {
		pick_packet(&p, &key);
		assert_judged(w, &b, &p, &key);
		assert_judged(w, &again, &p, &key);
		hits[judge(w, &p)]++;
	}
	free(text);
	free(same);
	built_done(&b);
	built_done(&again);
}

static void test_random(void **state)
{
	size_t hits[N_RULES + 1] = { 0 };
	uint64_t i;

	(void)state;
	for (i = 0; i < N_PROGRAMS; i++) {
		struct written *w = write_all(i);

		check_program(w, hits);
		written_free(w);
	}
	/* Or not much was tried. */
	for (i = 0; i <= N_RULES; i++)
		assert_true(hits[i] > (size_t)N_PROGRAMS * N_KEYS / 500);
}

/* ---- by hand ------------------------------------------------------------- */

static void test_groups(void **state)
{
	static const char text[] =
		"interface a = e0\n"
		"set web { 192.0.2.1 port 443, 192.0.2.2 port 443\n"
		"	192.0.2.9 port { 80, 443 }, 2001:db8::/32 port 443\n"
		"	192.0.2.9 port 80, 192.0.2.1 port https }\n"
		"accept in to @web label one\n"
		"drop in proto tcp to @web port 80 label two\n"
		"accept in to !@web label three\n"
		"drop in proto tcp from @web to !@web label four\n"
		"drop in proto tcp to @web port 22 label never\n";
	static const struct {
		const char *label;
		size_t rows;
	} want[] = {
		{ "one", 2 },  { "two", 1 },   { "three", 3 },
		{ "four", 6 }, { "never", 1 },
	};
	struct fw_program *program = compile_good(text, NULL);
	const struct fw_named_set *set = &program->named_sets[0];
	size_t i, k, at = 0;

	(void)state;
	for (i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		assert_string_equal(program->rows[at].label, want[i].label);
		for (k = 0; k < want[i].rows; k++)
			assert_int_equal(program->rows[at + k].rule, at);
		at += want[i].rows;
	}
	assert_int_equal(program->n_rows, at);
	assert_int_equal(program->n_rules, 5);
	assert_true(fw_named_set_has_pairs(set));
	assert_int_equal(set->n_pairs, 2);
	assert_int_equal(set->v4, 2); /* two that touch are one */
	assert_int_equal(set->v6, 1);
	assert_int_equal(set->ports, 3);
	fw_program_free(program);
}

/* ---- how large ----------------------------------------------------------- */

/* One entry a line: 10.x.x.x with a port by its number. */
static char *many(const char *head, uint32_t n, uint32_t n_ports,
		  const char *tail)
{
	size_t i, size;
	char *text;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	fputs(head, out);
	for (i = 0; i < n; i++) {
		fprintf(out, "10.%zu.%zu.%zu port %zu\n", i >> 15, i >> 7 & 255,
			i << 1 & 255, 1 + i % n_ports);
	}
	fputs(tail, out);
	assert_int_equal(fclose(out), 0);
	return text;
}

static void check_many(uint32_t n_ports, size_t want_rows)
{
	char *text = many("interface a = e0\nset s {\n", 60000, n_ports,
			  "}\naccept in to @s label one\n"
			  "drop in from !@s label two\n"
			  "accept in proto tcp to @s label three\n");
	struct fw_key key = { .family = FW_AF_IPV4,
			      .proto = 17,
			      .dir = FW_DIR_IN,
			      .flags = FW_KEY_PORTS,
			      .dport = (uint16_t)(1 + 50000 % n_ports) };
	struct fw_result result;
	struct built b;

	build(text, NULL, &b);
	assert_int_equal(b.program->n_rows, want_rows);
	key.daddr.w[2] = htonl(0xffff);
	key.daddr.w[3] = htonl(0x0a000000 + 50000 * 2);
	fw_interpret(b.program, &key, false, &result);
	assert_string_equal(b.program->rows[result.rule].label, "one");
	key.dport++;
	fw_interpret(b.program, &key, false, &result);
	assert_string_equal(b.program->rows[result.rule].label, "two");
	built_done(&b);
	free(text);
}

/* Few different ports are few rows, and as many as there are at most. */
static void test_many_entries(void **state)
{
	(void)state;
	check_many(3, 3 + 4 + 3);
	check_many(60000, 60000 + 60001 + 60000);
}

static void assert_refused(const char *text, uint32_t line, const char *what)
{
	struct fw_diag diag;

	compile_bad(text, NULL, &diag);
	assert_int_equal(diag.messages[0].line, line);
	if (!strstr(diag.messages[0].text, what)) {
		print_error("%s\n", diag.messages[0].text);
		fail();
	}
	assert_non_null(diag.messages[0].hint);
	fw_diag_done(&diag);
}

static void test_limits(void **state)
{
	struct fw_program *program;
	size_t i, n;
	char *text;
	FILE *out;

	(void)state;
	/* The product of two, and several rules together. */
	text = many("set s {\n", 513, 513,
		    "}\nset t { 10.0.0.1 port 1 }\ninterface a = e0\n"
		    "accept in from @t to @s\n"
		    "accept in proto tcp from @s to @s\n");
	assert_refused(text, 519, "take 263169 matches here");
	free(text);
	text = many("set s {\n", 512, 512,
		    "}\ninterface a = e0\naccept in proto tcp from @s to @s\n");
	program = compile_good(text, NULL);
	assert_int_equal(program->n_rows, 512 * 512);
	fw_program_free(program);
	free(text);
	text = many("set s {\n", 512, 512,
		    "}\ninterface a = e0\naccept in proto tcp from @s to @s\n"
		    "drop in proto udp to @s\n");
	assert_refused(text, 517, "take 512 matches here");
	free(text);

	/* Each stretch of addresses has a longer list of ports. */
	out = open_memstream(&text, &n);
	assert_non_null(out);
	fputs("interface a = e0\nset s {\n", out);
	for (i = 0; i < 8000; i++) {
		fprintf(out, "10.0.0.0-10.0.%zu.%zu port %zu\n", i >> 8,
			i & 255, i * 2);
	}
	fputs("}\naccept in to @s\n", out);
	assert_int_equal(fclose(out), 0);
	assert_refused(text, 2, "overlap in too many ways");
	free(text);
	/* But many ports of the same addresses are one list. */
	out = open_memstream(&text, &n);
	assert_non_null(out);
	fputs("interface a = e0\nset s {\n", out);
	for (i = 0; i < 60000; i += 2)
		fprintf(out, "10.0.0.0/8 port %zu\n", i);
	fputs("10.1.1.1 port 1\n}\naccept in to @s\n", out);
	assert_int_equal(fclose(out), 0);
	program = compile_good(text, NULL);
	assert_int_equal(program->n_rows, 2);
	fw_program_free(program);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_many_entries),
		cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
