/* SPDX-License-Identifier: GPL-2.0-only */

/* Random rule files: every clause of the language, valid by construction. */

#include "random_case.h"

uint32_t rng_below(struct rng *rng, uint32_t n)
{
	rng->state ^= rng->state >> 12;
	rng->state ^= rng->state << 25;
	rng->state ^= rng->state >> 27;
	return (uint32_t)((rng->state * 0x2545f4914f6cdd1dull) >> 33) % n;
}

static int chance(struct rng *rng, uint32_t percent)
{
	return rng_below(rng, 100) < percent;
}

static void random_v4(struct rng *rng, FILE *out)
{
	uint32_t a = rng_below(rng, 16), b = a + rng_below(rng, 4);

	switch (rng_below(rng, 4)) {
	case 0:
		(void)fprintf(out, "198.51.100.%u", a);
		return;
	case 1:
		(void)fprintf(out, "198.51.100.%u/%u", a & ~3u, 30u);
		return;
	case 2:
		(void)fprintf(out, "198.51.100.%u-198.51.100.%u", a, b);
		return;
	default:
		(void)fprintf(out, "198.51.100.%u/29", a & ~7u);
		return;
	}
}

static void random_v6(struct rng *rng, FILE *out)
{
	uint32_t a = rng_below(rng, 16), b = a + rng_below(rng, 4);

	switch (rng_below(rng, 4)) {
	case 0:
		(void)fprintf(out, "2001:db8::%x", a);
		return;
	case 1:
		(void)fprintf(out, "2001:db8::%x/126", a & ~3u);
		return;
	case 2:
		(void)fprintf(out, "2001:db8::%x-2001:db8::%x", a, b);
		return;
	default:
		(void)fprintf(out, "2001:db8::/64");
		return;
	}
}

/* Both families or one; returns a bit per family (1: IPv4, 2: IPv6). */
static void random_addrs(struct rng *rng, FILE *out, int families)
{
	uint32_t n = 1 + rng_below(rng, 3);

	if (chance(rng, 15))
		(void)fputc('!', out);
	(void)fputs("{ ", out);
	for (uint32_t i = 0; i < n; i++) {
		if (families & 1) {
			random_v4(rng, out);
			(void)fputs(", ", out);
		}
		if (families & 2) {
			random_v6(rng, out);
			(void)fputs(", ", out);
		}
		if (chance(rng, 8))
			(void)fputs("self, ", out);
		if (chance(rng, 8))
			(void)fputs("@mixed, ", out);
	}
	if (families & 1)
		random_v4(rng, out);
	else
		random_v6(rng, out);
	(void)fputs(" }", out);
}

static void random_ports(struct rng *rng, FILE *out)
{
	static const char *const edges[] = { "0",	    "65535",   "0-1",
					     "65534-65535", "0-65535", "ssh" };
	uint32_t p = 20 + rng_below(rng, 12);

	if (chance(rng, 15))
		(void)fputc('!', out);
	if (chance(rng, 15)) {
		(void)fprintf(out, "%s", edges[rng_below(rng, 6)]);
		return;
	}
	switch (rng_below(rng, 3)) {
	case 0:
		(void)fprintf(out, "%u", p);
		return;
	case 1:
		(void)fprintf(out, "%u-%u", p, p + rng_below(rng, 5));
		return;
	default:
		(void)fprintf(out, "{ %u, %u-%u, 22 }", p, p + 3, p + 5);
		return;
	}
}

static void random_zone(struct rng *rng, FILE *out)
{
	if (chance(rng, 20))
		(void)fputc('!', out);
	if (chance(rng, 30))
		(void)fprintf(out, "{ z%u, z3 }", rng_below(rng, 3));
	else
		(void)fprintf(out, "z%u", rng_below(rng, 4));
}

#define PORTS	   1 /* ports may follow from and to */
#define ONE_FAMILY 2 /* addresses must be of both families to be sure */

/* proto, type; returns PORTS and ONE_FAMILY as they apply. */
static int random_proto(struct rng *rng, FILE *out)
{
	static const char *const types[] = { "echo-request", "echo-reply",
					     "{ echo-request, echo-reply }" };
	static const char *const others[] = { "gre",  "esp",  "{ sctp, gre }",
					      "47",   "icmp", "icmp6",
					      "icmp4" };

	switch (rng_below(rng, 5)) {
	case 0:
		return 0;
	case 1:
		(void)fprintf(out, " proto icmp type %s",
			      types[rng_below(rng, 3)]);
		return 0;
	case 2:
		(void)fprintf(out, " proto %s", others[rng_below(rng, 7)]);
		return ONE_FAMILY;
	case 3:
		(void)fputs(" proto { tcp, udp }", out);
		return PORTS;
	default:
		(void)fprintf(out, " proto %s",
			      chance(rng, 50) ? "tcp" : "udp");
		return PORTS;
	}
}

/* from or to a set of addresses with ports, perhaps with ports of the rule. */
static void random_pairs(struct rng *rng, FILE *out, const char *word)
{
	static const char *const sets[] = { "@web", "@local",
					    "{ @web, @local }", "@p0", "@p1" };

	(void)fprintf(out, " %s %s%s", word, chance(rng, 35) ? "!" : "",
		      sets[rng_below(rng, 5)]);
	if (!chance(rng, 20))
		return;
	(void)fputs(" port ", out);
	random_ports(rng, out);
}

/* Random entries: they overlap, and some are of this host. */
static void random_pair_set(struct rng *rng, FILE *out, unsigned int number)
{
	uint32_t n = 1 + rng_below(rng, 6);

	(void)fprintf(out, "set p%u {\n", number);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t p = 18 + rng_below(rng, 18);

		if (chance(rng, 12))
			(void)fputs("self", out);
		else if (chance(rng, 50))
			random_v4(rng, out);
		else
			random_v6(rng, out);
		(void)fprintf(out, " port %u-%u\n", p, p + rng_below(rng, 6));
	}
	(void)fputs("}\n", out);
}

/* What goes out can only be promised; `is_accept`: the rule accepts. */
static void random_ipsec(struct rng *rng, FILE *out, bool is_out,
			 bool is_accept)
{
	if (chance(rng, 35) || (is_out && !is_accept)) {
		(void)fputs(" not via ipsec", out);
		return;
	}
	(void)fputs(" via ipsec", out);
	if (!is_out && chance(rng, 40))
		(void)fprintf(out, " reqid %u", 1 + rng_below(rng, 3));
}

static void random_rule(struct rng *rng, FILE *out)
{
	static const char *const verdicts[] = { "accept", "drop", "drop",
						"accept", "reject" };
	static const char *const dirs[] = { "in", "out", "forward", "forward" };
	const char *verdict = verdicts[rng_below(rng, 5)];
	bool is_stateless = chance(rng, 20);
	uint32_t dir = rng_below(rng, 4);
	int ports, families = 1 + (int)rng_below(rng, 3);

	(void)fprintf(out, "%s%s %s", verdict, is_stateless ? " stateless" : "",
		      dirs[dir]);
	if (!is_stateless && chance(rng, 15))
		random_ipsec(rng, out, dir == 1, *verdict == 'a');
	if (dir >= 2 && chance(rng, 60)) {
		(void)fputc(' ', out);
		random_zone(rng, out);
		(void)fputs(" -> ", out);
		random_zone(rng, out);
	} else if (chance(rng, 40)) {
		(void)fputs(" on ", out);
		random_zone(rng, out);
	}
	ports = random_proto(rng, out);
	if (ports & ONE_FAMILY)
		families = 3;
	ports &= PORTS;
	if (ports && chance(rng, 30)) {
		random_pairs(rng, out, "from");
	} else if (chance(rng, 50)) {
		(void)fputs(" from ", out);
		random_addrs(rng, out, families);
		if (ports && chance(rng, 30)) {
			(void)fputs(" port ", out);
			random_ports(rng, out);
		}
	}
	if (ports && chance(rng, 40)) {
		random_pairs(rng, out, "to");
	} else if (chance(rng, 50)) {
		(void)fputs(" to ", out);
		random_addrs(rng, out, families);
		if (ports && chance(rng, 50)) {
			(void)fputs(" port ", out);
			random_ports(rng, out);
		}
	} else if (ports && chance(rng, 40)) {
		(void)fputs(" to port ", out);
		random_ports(rng, out);
	}
	(void)fputc('\n', out);
}

void random_options(struct rng *rng, FILE *out)
{
	if (chance(rng, 20))
		(void)fputs("option ip-options drop\n", out);
	if (chance(rng, 50))
		return;
	for (size_t i = 0; i < fw_n_checks; i++) {
		if (chance(rng, 60))
			(void)fprintf(out, "option check %s %s\n",
				      fw_reason_name(fw_checks[i].reason),
				      chance(rng, 70) ? "off" : "on");
	}
}

/* More than entries can say: each third address. */
static void random_big_set(struct rng *rng, FILE *out, const char *name)
{
	uint32_t first = rng_below(rng, 3);

	(void)fprintf(out, "set %s {\n", name);
	for (uint32_t i = 0; i < 80; i++) {
		(void)fprintf(out, "198.51.100.%u\n", first + 3 * i);
		(void)fprintf(out, "2001:db8::%x\n", first + 3 * i);
	}
	(void)fputs("}\n", out);
}

/* Rules for such sets, before all others: see rules/match_split.c. */
static void random_block(struct rng *rng, FILE *out)
{
	static const char *const dirs[] = { "in", "forward" };
	uint32_t both = (uint32_t)chance(rng, 40);

	random_big_set(rng, out, "many");
	random_big_set(rng, out, "more");
	if (chance(rng, 50))
		(void)fprintf(out, "%s %s from @more\n",
			      chance(rng, 50) ? "drop" : "accept",
			      dirs[rng_below(rng, 2)]);
	for (uint32_t i = 0, dir = rng_below(rng, 2); i <= both; i++) {
		(void)fprintf(out, "%s stateless %s ",
			      chance(rng, 85) ? "drop" : "reject",
			      dirs[dir ^ i]);
		if (chance(rng, 40)) {
			(void)fputs("on ", out);
			random_zone(rng, out);
		}
		(void)fprintf(out, " %s @many\n",
			      chance(rng, 80) ? "from" : "to");
	}
}

void random_rules(struct rng *rng, FILE *out, unsigned int n_rules)
{
	static const char *const verdicts[] = { "accept", "drop", "reject" };
	static const char *const dirs[] = { "in", "out", "forward" };

	for (unsigned int i = 0; i < 4; i++)
		(void)fprintf(out, "interface z%u = if%u\n", i, i);
	(void)fputs("set mixed { 198.51.100.3, 198.51.100.8/30, "
		    "2001:db8::3, 2001:db8::8/126 }\n",
		    out);
	(void)fputs(
		"set web { 198.51.100.3 port 22, 198.51.100.8/30 port 20-30, "
		"2001:db8::3 port { 22, 25-28 }, "
		"198.51.100.9 port 18, ::/0 port 31 }\n"
		"set local { self port { 22, 24 }, "
		"198.51.100.0/29 port 22-23, 2001:db8::/125 port 0-22 }\n",
		out);
	for (unsigned int i = 0; i < 2; i++)
		random_pair_set(rng, out, i);
	random_options(rng, out);
	for (unsigned int i = 0; i < 3; i++)
		(void)fprintf(out, "default %s %s\n", dirs[i],
			      verdicts[rng_below(rng, 3)]);
	if (chance(rng, 20))
		random_rule(rng, out);
	if (chance(rng, 40))
		random_block(rng, out);
	for (unsigned int i = 0; i < n_rules; i++)
		random_rule(rng, out);
}
