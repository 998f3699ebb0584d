/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The passes over the rows: what they say of rules, tried packet by packet.
 *
 * Rules are made of few addresses, ports and interfaces, so that all packets
 * that could tell two of them apart can be tried.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "rules_helper.h"

#define N_RULES	   32
#define N_PROGRAMS 8

/* ---- packets ------------------------------------------------------------- */

static const char *const corners_v4[] = { "9.255.255.255", "10.0.0.0",
					  "10.1.0.0",	   "10.1.2.3",
					  "10.1.255.255",  "10.2.0.0",
					  "10.3.0.0",	   "192.0.2.1" };
static const char *const corners_v6[] = {
	"2001:db7::", "2001:db8::", "2001:db8:1::1",
	"2001:db8:1:ffff:ffff:ffff:ffff:ffff", "2001:db8:2::"
};
static const uint64_t zone_masks[] = { 0, 1, 3, 2, 4 };
static const uint16_t ports[] = { 79, 80, 443, 500, 1000 };
static const uint16_t types[] = { 0,	      8 << 8, 3 << 8 | 1,
				  3 << 8 | 4, 1 << 8, 128 << 8 };

static struct fw_key *keys;
static size_t n_keys;

static void add_key(const struct fw_key *key)
{
	struct fw_key *more;

	if ((n_keys & (n_keys + 1)) == 0) {
		more = realloc(keys, (n_keys + 1) * 2 * sizeof(*keys));
		assert_non_null(more);
		keys = more;
	}
	keys[n_keys++] = *key;
}

static void set_address(struct fw_addr *addr, bool is_v6, size_t i)
{
	*addr = (struct fw_addr){ 0 };
	if (is_v6) {
		assert_int_equal(inet_pton(AF_INET6, corners_v6[i], addr), 1);
		return;
	}
	addr->w[2] = htonl(0xffff);
	assert_int_equal(inet_pton(AF_INET, corners_v4[i], &addr->w[3]), 1);
}

/* What stands above IP, with and without a complete header. */
static void add_protocols(struct fw_key key)
{
	const size_t n_ports = sizeof(ports) / sizeof(ports[0]);
	const uint8_t flags = key.flags;
	size_t i;

	key.proto = 50;
	add_key(&key);
	/* No other rule asks for more. */
	if (key.dir != FW_DIR_IN)
		return;
	for (i = 0; i < n_ports * n_ports * 2; i++) {
		key.proto = i % 2 ? 6 : 17;
		key.flags = flags | FW_KEY_PORTS;
		key.sport = ports[i / 2 % n_ports];
		key.dport = ports[i / 2 / n_ports];
		add_key(&key);
	}
	key.flags = flags;
	key.proto = 6;
	add_key(&key);
	key.proto = 17;
	add_key(&key);
	key.proto = key.family == FW_AF_IPV6 ? 58 : 1;
	add_key(&key);
	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		key.flags = flags | FW_KEY_ICMP;
		key.icmp = types[i];
		add_key(&key);
	}
}

static void add_family(struct fw_key key, bool is_v6)
{
	const size_t n = is_v6 ? sizeof(corners_v6) / sizeof(corners_v6[0])
			       : sizeof(corners_v4) / sizeof(corners_v4[0]);
	const uint8_t flags = key.flags;
	size_t i;

	key.family = is_v6 ? FW_AF_IPV6 : FW_AF_IPV4;
	for (i = 0; i < n * n * 4; i++) {
		set_address(&key.saddr, is_v6, i / 4 % n);
		set_address(&key.daddr, is_v6, i / 4 / n);
		key.flags = flags;
		key.flags |= i & 1 ? FW_KEY_SRC_SELF : 0;
		key.flags |= i & 2 ? FW_KEY_DST_SELF : 0;
		add_protocols(key);
	}
}

/* In clear, and out of two SAs. */
static void add_protected(struct fw_key key, bool is_v6)
{
	for (key.reqid = 0; key.reqid < 3; key.reqid++) {
		key.flags = key.reqid ? FW_KEY_IPSEC : 0;
		add_family(key, is_v6);
	}
}

/* Every packet that could tell two of our rules apart. */
static int make_keys(void **state)
{
	const size_t n = sizeof(zone_masks) / sizeof(zone_masks[0]);
	size_t i;

	(void)state;
	for (i = 0; i < n; i++) {
		struct fw_key key = { .dir = FW_DIR_IN,
				      .in_zones = zone_masks[i] };

		add_family(key, false);
		add_family(key, true);
	}
	for (i = 0; i < n * n * 2; i++) {
		struct fw_key key = { .dir = FW_DIR_FORWARD,
				      .in_zones = zone_masks[i / 2 % n],
				      .out_zones = zone_masks[i / 2 / n] };

		add_protected(key, i % 2);
	}
	for (i = 0; i < n * 2; i++) {
		struct fw_key key = { .dir = FW_DIR_OUT,
				      .out_zones = zone_masks[i / 2] };

		add_protected(key, i % 2);
	}
	return 0;
}

static int free_keys(void **state)
{
	(void)state;
	free(keys);
	return 0;
}

/* ---- rules --------------------------------------------------------------- */

static uint32_t seed;

static uint32_t below(uint32_t n)
{
	seed = seed * 1103515245 + 12345;
	return (seed >> 16) % n;
}

#define PICK(list) list[below(sizeof(list) / sizeof((list)[0]))]

static const char *const addresses[] = {
	"any",
	"10.0.0.0/8",
	"10.0.0.0/15",
	"10.1.0.0/16",
	"10.1.2.3",
	"10.1.2.3-10.1.255.255",
	"{ 10.0.0.0, 10.1.2.3, 2001:db8::/32 }",
	"{ 10.1.0.0/16, 10.2.0.0/16, 2001:db8:1::/48 }",
	"2001:db8::/32",
	"2001:db8:1::/48",
	"{ 2001:db8::, 2001:db8:1::1 }",
	"!10.1.0.0/16",
	"!{ 10.0.0.0/8, 2001:db8::/32 }",
	"!2001:db8:1::/48",
	"self",
	"!self",
	"{ self, 10.1.0.0/16 }",
	"!{ self, 10.0.0.0/8 }",
	"@small",
	"!@small",
	"{ @small, 192.0.2.1 }",
	"0.0.0.0/0",
	"::/0",
	"{ 0.0.0.0/0, ::/0 }",
};
static const char *const port_terms[] = {
	"80",	       "79-80",	   "443",  "!80",   "0-65535",
	"{ 80, 443 }", "!{ 443 }", "@web", "!@web", "{ 79-443, 1000 }"
};

static const char *const pair_terms[] = { "@duo",  "@duo",   "!@duo",
					  "@trio", "!@trio", "{ @duo, @trio }",
					  "@solo" };

static void put_ports(FILE *out, const char *word)
{
	if (below(3))
		fprintf(out, " %s port %s", word, PICK(port_terms));
}

static const char *const ipsec_terms[] = { "via ipsec", "via ipsec reqid 1",
					   "via ipsec reqid 2",
					   "not via ipsec" };

static void put_rule(FILE *out)
{
	static const char *const verdicts[] = { "accept", "drop", "reject" };
	static const char *const zones[] = { "a",  "b",	       "c",
					     "!a", "{ a, c }", "!{ b, c }" };
	bool is_in = below(3), is_forward = !is_in && below(3);

	fprintf(out, "%s%s %s", PICK(verdicts), below(6) ? "" : " stateless",
		is_in	     ? "in"
		: is_forward ? "forward"
			     : "out");
	if (!is_in && below(3) == 0)
		fprintf(out, " %s", PICK(ipsec_terms));
	if (is_forward && below(2)) {
		fprintf(out, " %s -> %s", PICK(zones), PICK(zones));
	} else if (below(3) == 0) {
		fprintf(out, " on %s", PICK(zones));
	}
	if (below(2))
		fprintf(out, " from %s", PICK(addresses));
	if (below(2))
		fprintf(out, " to %s", PICK(addresses));
	fputc('\n', out);
}

/* The same with ports or ICMP types; addresses stand before the ports. */
static void put_rule_l4(FILE *out)
{
	static const char *const icmp[] = {
		"proto icmp",
		"type echo-request",
		"proto icmp4 type 3",
		"proto icmp4 type 3 code 4",
		"proto icmp type destination-unreachable",
		"proto icmp4 type !8",
		"proto icmp6",
		"proto { icmp, tcp }",
	};

	fprintf(out, "%s in%s", below(2) ? "accept" : "drop",
		below(4) ? "" : " on a");
	switch (below(5)) {
	case 0:
		fprintf(out, " %s", PICK(icmp));
		break;
	case 3:
		fprintf(out, "%s %s %s", below(2) ? " proto tcp" : "",
			below(3) ? "to" : "from", PICK(pair_terms));
		if (below(4) == 0)
			fprintf(out, " port %s", PICK(port_terms));
		break;
	case 1:
		fputs(" proto tcp", out);
		put_ports(out, "to");
		put_ports(out, "from");
		break;
	case 2:
		put_ports(out, "to");
		break;
	default:
		fprintf(out, " from %s port %s", PICK(addresses),
			PICK(port_terms));
		break;
	}
	fputc('\n', out);
}

/* Some are wrong, such as !any: those are left out. */
static char *random_rules(uint32_t number)
{
	static const char head[] = "interface a = { e0, e1 }\n"
				   "interface b = { e1, e2 }\n"
				   "interface c = e3\n"
				   "set small { 10.1.2.3, 2001:db8:1::1 }\n"
				   "set web { 80, 443 }\n"
				   "set solo { 10.1.2.3 port 80 }\n"
				   "set duo { 10.1.0.0/16 port 80\n"
				   "2001:db8:1::/48 port 79-80 }\n"
				   "set trio { 10.1.2.3 port { 80, 443 }\n"
				   "10.0.0.0/15 port 80, self port 443 }\n";
	char *text = strdup(head);
	char *line, *longer;
	size_t i, n;

	seed = number * 7919 + 1;
	assert_non_null(text);
	for (i = 0; i < N_RULES;) {
		struct fw_program *program = NULL;
		struct fw_diag diag = { 0 };
		FILE *out = open_memstream(&line, &n);

		assert_non_null(out);
		if (below(2)) {
			put_rule(out);
		} else {
			put_rule_l4(out);
		}
		assert_int_equal(fclose(out), 0);
		assert_true(asprintf(&longer, "%s%s", text, line) > 0);
		free(line);
		if (fw_compile("t", longer, strlen(longer), NULL, NULL, &diag,
			       &program) == 0) {
			free(text);
			text = longer;
			i++;
		} else {
			free(longer);
		}
		fw_program_free(program);
		fw_diag_done(&diag);
	}
	return text;
}

static struct fw_program *compile(const char *text, uint32_t skip_passes,
				  struct fw_diag *diag)
{
	const struct fw_options options = { .skip_passes = skip_passes };
	struct fw_program *program = NULL;
	int r;

	r = fw_compile_with(&options, "t", text, strlen(text), NULL, NULL, diag,
			    &program);
	if (r < 0)
		fw_diag_print(diag, stderr, false);
	assert_int_equal(r, 0);
	return program;
}

/* ---- what is decided ----------------------------------------------------- */

/* Which packets one row matches, alone. */
static bool *matches_of(const struct fw_program *program, size_t i)
{
	struct fw_program alone = *program;
	bool is_stateless = program->rows[i].flags & FW_ROW_STATELESS;
	bool *matches = calloc(n_keys, sizeof(*matches));
	size_t k;

	assert_non_null(matches);
	alone.rows += i;
	alone.n_rows = 1;
	for (k = 0; k < n_keys; k++) {
		struct fw_result result;

		fw_interpret(&alone, &keys[k], is_stateless, &result);
		matches[k] = result.rule == 0;
	}
	return matches;
}

static bool covers(const bool *outer, const bool *inner)
{
	bool is_any = false;
	size_t k;

	for (k = 0; k < n_keys; k++) {
		if (inner[k] && !outer[k])
			return false;
		is_any |= inner[k];
	}
	return is_any;
}

/* Essential messages fall through what denies without naming them. */
static bool spares_what_is_named(const struct fw_ir_row *outer,
				 const struct fw_ir_row *inner)
{
	static const unsigned int essential[] = { 1, 17, 58 };
	size_t i;

	if (outer->verdict == FW_ACCEPT ||
	    (outer->flags & (FW_ROW_STATELESS | FW_ROW_NAMED)) ||
	    !(inner->flags & FW_ROW_NAMED))
		return false;
	for (i = 0; i < 3; i++) {
		if (inner->protos[essential[i] / 64] >> (essential[i] % 64) & 1)
			return true;
	}
	return false;
}

/* The first row that decides all of row `i`, + 1; tried with every packet. */
static size_t decider_of(const struct fw_program *program, bool **matches,
			 size_t i)
{
	const struct fw_ir_row *row = &program->rows[i];
	size_t k;

	for (k = 0; k < i; k++) {
		const struct fw_ir_row *earlier = &program->rows[k];

		if (earlier->dirs == row->dirs &&
		    !((earlier->flags ^ row->flags) & FW_ROW_STATELESS) &&
		    covers(matches[k], matches[i]) &&
		    !spares_what_is_named(earlier, row))
			return k + 1;
	}
	return 0;
}

/* The line that a warning on this line points to, or 0. */
static uint32_t warned_line(const struct fw_diag *diag, uint32_t line)
{
	size_t i;

	for (i = 0; i + 1 < diag->n; i++) {
		if (diag->messages[i].line == line &&
		    diag->messages[i].severity == FW_SEVERITY_WARNING &&
		    strstr(diag->messages[i].text, "earlier rule"))
			return diag->messages[i + 1].line;
	}
	return 0;
}

/*
 * The line of the rule that decides the first row of rule `i` that another rule
 * decides, or 0 if some of its rows is left. A row that another one of the same
 * rule covers says nothing.
 */
static uint32_t decided_line(const struct fw_program *program, bool **matches,
			     size_t i)
{
	const uint32_t rule = program->rows[i].rule;
	uint32_t line = 0;

	for (; i < program->n_rows && program->rows[i].rule == rule; i++) {
		size_t first = decider_of(program, matches, i);

		if (first && program->rows[first - 1].rule == rule)
			continue;
		if (!first && covers(matches[i], matches[i]))
			return 0;
		if (first && !line)
			line = program->rows[first - 1].line;
	}
	return line;
}

static size_t check_warnings(const char *text)
{
	struct fw_diag diag = { 0 };
	struct fw_program *program = compile(text, 0, &diag);
	bool **matches = calloc(program->n_rows, sizeof(*matches));
	size_t i, n = 0;

	assert_non_null(matches);
	assert_int_equal(program->n_rules, N_RULES);
	for (i = 0; i < program->n_rows; i++)
		matches[i] = matches_of(program, i);
	for (i = 0; i < program->n_rows; i++) {
		const struct fw_ir_row *row = &program->rows[i];
		uint32_t want, is = warned_line(&diag, row->line);

		/* What is noted is at least true. */
		if (row->decided_by) {
			assert_int_equal(row->decided_by,
					 decider_of(program, matches, i));
		}
		if (row->rule != i)
			continue;
		want = decided_line(program, matches, i);
		if (is != want) {
			print_error("line %u: warned of %u, not of %u in\n%s",
				    row->line, is, want, text);
			fail();
		}
		n += want != 0;
	}
	for (i = 0; i < program->n_rows; i++)
		free(matches[i]);
	free(matches);
	fw_program_free(program);
	fw_diag_done(&diag);
	return n;
}

static void test_warnings_are_exact(void **state)
{
	size_t n = 0;
	uint32_t i;

	(void)state;
	for (i = 0; i < N_PROGRAMS; i++) {
		char *text = random_rules(i);

		n += check_warnings(text);
		free(text);
	}
	/* Or nothing was tried. */
	assert_in_range(n, N_PROGRAMS, N_PROGRAMS * N_RULES * 3 / 4);
}

/* Two rules and whether the first one decides all that the second matches. */
static const struct {
	const char *first, *second;
	bool is_decided;
} pairs[] = {
	{ "accept in to port 0-65535", "accept in proto tcp", false },
	{ "accept in to port 0-65535", "accept in to port 80", true },
	{ "accept in to port 0-65535", "accept in from port 80", true },
	{ "drop in to port 1024", "drop in proto icmp4 type 4", false },
	{ "drop in to port 0-65535", "drop in proto icmp4 type 4", false },
	{ "drop in proto icmp4 type 3", "drop in type destination-unreachable",
	  false },
	{ "drop in proto icmp4 type 3", "drop in proto icmp4 type 3 code 1",
	  true },
	{ "accept in from self", "accept in from 192.0.2.1", false },
	{ "accept in from { self, 10.0.0.0/8 }", "accept in from self", true },
	{ "accept in from self", "accept in from { self, 10.0.0.0/8 }", false },
	{ "accept in from { self, 10.0.0.0/8 }",
	  "accept in from { 10.1.0.0/16, self }", true },
	{ "accept in from 10.0.0.0/8", "accept in from { 10.1.0.0/16, self }",
	  false },
	{ "accept in from !self", "accept in from 10.0.0.1", false },
	{ "accept in from !self", "accept in from !{ self, 10.0.0.0/8 }",
	  true },
	{ "accept in from !{ self, 10.0.0.0/8 }", "accept in from !self",
	  false },
	{ "accept in from !{ self, 10.0.0.0/8 }", "accept in from !10.0.0.0/8",
	  false },
	{ "accept in from !10.0.0.0/8", "accept in from 11.0.0.0/8", true },
	{ "accept in from !10.0.0.0/8", "accept in from { self, 11.0.0.0/8 }",
	  false },
	{ "accept in from !10.0.0.0/8",
	  "accept in from 11.0.0.0/8 to 10.0.0.0/8", true },
	{ "accept in family ipv6 from { 0:0:0:1::/64, 9::/64 }",
	  "accept in family ipv6 from !{ ::/64, 0:0:0:2::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff }",
	  true },
	{ "accept in from !10.0.0.0/8", "accept in from 10.0.0.0/7", false },
	{ "accept in from !10.0.0.0/8", "accept in from !10.0.0.0/7", true },
	{ "accept in from 10.0.0.0-10.255.255.255", "accept in from 10.0.0.0/8",
	  true },
	{ "accept in family ipv4 from { 0.0.0.0/1, 192.0.0.0/2 }",
	  "accept in family ipv4 from !128.0.0.0/2", true },
	{ "accept in family ipv4 from { 0.0.0.0/1, 192.0.0.0/3 }",
	  "accept in family ipv4 from !128.0.0.0/2", false },
	{ "accept in family ipv6 from { ::-::ffff:ffff:ffff:ffff, 1::/16 }",
	  "accept in family ipv6 from !{ 0:0:0:1::-0:ffff:ffff:ffff:ffff:ffff:ffff:ffff, 2::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff }",
	  true },
	{ "accept in family ipv6 from { ::-::ffff:ffff:ffff:ffff, 1::/16 }",
	  "accept in family ipv6 from !{ 0:0:0:1:1::-0:ffff:ffff:ffff:ffff:ffff:ffff:ffff, 2::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff }",
	  false },
	{ "accept in from 2001:db8::/32", "accept in from 2001:db8:1::/48",
	  true },
	{ "accept in from { 10.0.0.0/8, 2001:db8::/32 }",
	  "accept in from { 10.1.0.0/16, 2001:db9::/48 }", false },
	{ "accept in on a", "accept in on !{ b, c }", false },
	{ "accept in on !c", "accept in on a", true },
	{ "accept in on { a, b }", "accept in on b", true },
	{ "accept in on a", "accept in on b", false },
	{ "accept in on !a", "accept in on b", false },
	{ "accept forward a -> b", "accept forward on a", false },
	{ "accept forward a -> !c", "accept forward a -> b", true },
	{ "accept forward on a", "accept forward a -> b", true },
	{ "accept in proto { tcp, udp }", "accept in proto tcp to port 80",
	  true },
	{ "accept in proto !icmp", "accept in proto tcp", true },
	{ "accept in proto !tcp", "accept in", false },
	{ "drop stateless in", "drop in", false },
	{ "drop in", "accept in to port bootpc", false },
	{ "drop in", "accept in proto tcp to port 80", true },
	{ "accept in to port 80", "accept out to port 80", false },
	{ "accept in via ipsec", "drop in via ipsec reqid 5", true },
	{ "accept in via ipsec", "accept in via ipsec", true },
	{ "accept in via ipsec", "accept in", false },
	{ "accept in via ipsec", "accept in not via ipsec", false },
	{ "accept in via ipsec reqid 5", "drop in via ipsec reqid 5", true },
	{ "accept in via ipsec reqid 5", "accept in via ipsec reqid 6", false },
	{ "accept in via ipsec reqid 5", "accept in via ipsec", false },
	{ "accept in not via ipsec", "drop in not via ipsec", true },
	{ "accept in not via ipsec", "accept in via ipsec", false },
	{ "accept in not via ipsec", "accept in", false },
	{ "accept in", "drop in via ipsec reqid 5", true },
	{ "accept in", "drop in not via ipsec", true },
	/* It drops what the second one would let out. */
	{ "accept out via ipsec", "accept out", true },
	{ "accept out via ipsec", "drop out not via ipsec", true },
	{ "accept out via ipsec", "accept out via ipsec", true },
	{ "accept out to 10.0.0.1 via ipsec", "accept out", false },
	{ "drop out not via ipsec", "accept out via ipsec", false },
	{ "accept out", "accept out via ipsec", true },
	{ "accept out via ipsec", "accept out to port bootps", false },
	{ "accept out via ipsec", "accept out proto tcp to port 80", true },
	{ "accept in from { 1.0.0.0/8, 3.0.0.0/8, 5.0.0.0/8, 7.0.0.0/8, 9.0.0.0/8, 11.0.0.0/8, 13.0.0.0/8, 15.0.0.0/8, 17.0.0.0/8, 19.0.0.0/8 } to { 1.0.0.0/8, 3.0.0.0/8, 5.0.0.0/8, 7.0.0.0/8, 9.0.0.0/8 }",
	  "accept in from { 3.1.0.0/16, 17.0.0.1 } to 9.9.9.9", true },
	{ "accept in from { 1.0.0.0/8, 3.0.0.0/8, 5.0.0.0/8, 7.0.0.0/8, 9.0.0.0/8, 11.0.0.0/8, 13.0.0.0/8, 15.0.0.0/8, 17.0.0.0/8, 19.0.0.0/8 }",
	  "accept in from { 3.1.0.0/16, 16.0.0.1 }", false },
};

static void test_pairs(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		struct fw_diag diag = { 0 };
		struct fw_program *program;
		char *text;

		assert_true(asprintf(&text,
				     "interface a = { e0, e1 }\n"
				     "interface b = { e1, e2 }\n"
				     "interface c = e3\n%s\n%s\n",
				     pairs[i].first, pairs[i].second) > 0);
		program = compile(text, 0, &diag);
		if ((warned_line(&diag, 5) == 4) != pairs[i].is_decided) {
			print_error("%s\n", text);
			fail();
		}
		fw_program_free(program);
		fw_diag_done(&diag);
		free(text);
	}
}

/* ---- what the passes keep ------------------------------------------------ */

/* Every packet gets the same answer of the same row of the file. */
static void check_same(const struct fw_program *a, const struct fw_program *b,
		       const uint32_t *numbers)
{
	static const uint8_t more_flags[] = { 0, FW_KEY_ESSENTIAL,
					      FW_KEY_OUT_UNKNOWN,
					      FW_KEY_IPSEC_UNKNOWN };
	struct fw_result x, y;
	struct fw_key key;
	size_t i;

	for (i = 0; i < n_keys * 8; i++) {
		key = keys[i / 8];
		key.flags |= more_flags[i % 4];
		/* Those are DHCP and ICMP; nothing else is essential. */
		if (key.proto == 6 || key.proto == 50)
			key.flags &= (uint8_t)~FW_KEY_ESSENTIAL;
		fw_interpret(a, &key, i % 8 < 4, &x);
		fw_interpret(b, &key, i % 8 < 4, &y);
		if (numbers && y.rule < b->n_rows)
			y.rule = numbers[y.rule];
		assert_int_equal(x.rule, y.rule);
		assert_int_equal(x.verdict, y.verdict);
		assert_int_equal(x.flags, y.flags);
		assert_int_equal(x.names_reqid, y.names_reqid);
	}
}

/* Without the rows that are decided by others. */
static size_t check_left_out(const struct fw_program *program,
			     const struct fw_program *original)
{
	uint32_t *numbers = calloc(program->n_rows, sizeof(*numbers));
	struct fw_ir_row *rows = calloc(program->n_rows, sizeof(*rows));
	struct fw_program rest = *program;
	size_t i, n = 0;

	assert_non_null(numbers);
	assert_non_null(rows);
	for (i = 0; i < program->n_rows; i++) {
		if (program->rows[i].decided_by)
			continue;
		numbers[n] = (uint32_t)i;
		rows[n++] = program->rows[i];
	}
	rest.rows = rows;
	rest.n_rows = n;
	check_same(original, &rest, numbers);
	free(numbers);
	free(rows);
	return program->n_rows - n;
}

static void test_passes_keep_verdicts(void **state)
{
	const uint32_t all = (1u << FW_PASS_MAX) - 1;
	size_t n = 0;
	uint32_t i;
	int pass;

	(void)state;
	for (i = 0; i < N_PROGRAMS / 4; i++) {
		char *text = random_rules(100 + i);
		struct fw_diag diag = { 0 };
		struct fw_program *none = compile(text, all, &diag);
		struct fw_program *done;

		for (pass = 0; pass < FW_PASS_MAX; pass++) {
			done = compile(text, all & ~(1u << pass), &diag);
			check_same(none, done, NULL);
			n += check_left_out(done, none);
			fw_program_free(done);
		}
		fw_program_free(none);
		fw_diag_done(&diag);
		free(text);
	}
	assert_true(n > 0);
}

static void test_options(void **state)
{
	static const char text[] = "interface a = eth0\n"
				   "accept in family ipv4 from 0.0.0.0/0\n"
				   "drop in from 192.0.2.1\n";
	const struct fw_options impatient = { .shadow_steps = 1 };
	const struct fw_options brief = { .shadow_rows = 1 };
	struct fw_program *program = NULL;
	struct fw_diag diag = { 0 };

	(void)state;
	program = compile(text, 0, &diag);
	assert_int_equal(program->rows[0].src, -1);
	assert_int_equal(program->rows[1].decided_by, 1);
	assert_int_equal(diag.warnings, 1);
	fw_diag_done(&diag);
	fw_program_free(program);

	program = compile(text, 1u << FW_PASS_WIDE | 1u << FW_PASS_DECIDED,
			  &diag);
	assert_true(program->rows[0].src >= 0);
	assert_int_equal(program->rows[1].decided_by, 0);
	assert_int_equal(diag.warnings, 0);
	fw_program_free(program);

	assert_int_equal(fw_compile_with(&impatient, "t", text, strlen(text),
					 NULL, NULL, &diag, &program),
			 0);
	assert_int_equal(diag.warnings, 1);
	assert_non_null(strstr(diag.messages[0].text, "nobody looked"));
	fw_diag_done(&diag);
	fw_program_free(program);

	assert_int_equal(fw_compile_with(&brief, "t", text, strlen(text), NULL,
					 NULL, &diag, &program),
			 0);
	assert_int_equal(program->rows[1].decided_by, 0);
	assert_int_equal(diag.warnings, 1);
	assert_non_null(strstr(diag.messages[0].text, "nobody looked"));
	assert_int_equal(diag.messages[0].line, 3);
	fw_diag_done(&diag);
	fw_program_free(program);

	assert_string_equal(fw_pass_name(FW_PASS_DECIDED), "decided-rows");
	assert_string_equal(fw_pass_name(FW_PASS_MAX), "?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_warnings_are_exact),
		cmocka_unit_test(test_pairs),
		cmocka_unit_test(test_passes_keep_verdicts),
		cmocka_unit_test(test_options),
	};

	return cmocka_run_group_tests_name("passes", tests, make_keys,
					   free_keys);
}
