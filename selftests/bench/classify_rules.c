/* SPDX-License-Identifier: GPL-2.0-only */

/* Rule sets to measure with, and packets that hit or miss them. */
#include "classify_rules.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const char *const bench_shapes[BENCH_SHAPE_MAX] = { "acl", "fw", "ipc" };

uint32_t bench_below(struct bench_rng *rng, uint32_t n)
{
	rng->state ^= rng->state >> 12;
	rng->state ^= rng->state << 25;
	rng->state ^= rng->state >> 27;
	return (uint32_t)((rng->state * 0x2545f4914f6cdd1dull) >> 32) % n;
}

static uint32_t any32(struct bench_rng *rng)
{
	return bench_below(rng, 1u << 16) << 16 | bench_below(rng, 1u << 16);
}

/* A rule as ClassBench has it: IPv4 prefixes, ranges of ports, a protocol. */
struct flat {
	uint32_t addr[2]; /* host order */
	uint8_t len[2];
	uint16_t lo[2], hi[2];
	uint8_t proto;
	bool has_proto;
};

/* ---- rules in memory ----------------------------------------------------- */

static int one_range(struct fw_ranges *ranges, uint64_t first_hi,
		     uint64_t first_lo, uint64_t last_hi, uint64_t last_lo)
{
	ranges->r = malloc(sizeof(*ranges->r));
	if (!ranges->r)
		return -ENOMEM;
	*ranges->r = (struct fw_range){
		first_hi,
		first_lo,
		last_hi,
		last_lo,
	};
	ranges->n = 1;
	return 0;
}

/*
 * IPv4 prefixes as IPv6 ones that are told apart as well: below 2000::/16, each
 * of the first 24 bits becomes two, each further one eight, so that /24 becomes
 * /64 and /32 becomes /128.
 */
static void stretch(uint32_t addr, uint64_t *hi, uint64_t *lo)
{
	int i;

	*hi = 0x2000;
	*lo = 0;
	for (i = 31; i >= 8; i--)
		*hi = *hi << 2 | (addr >> i & 1 ? 3 : 0);
	for (; i >= 0; i--)
		*lo = *lo << 8 | (addr >> i & 1 ? 0xff : 0);
}

static int address_set(const struct flat *f, int side, bool is_v6,
		       struct fw_ir_set *set)
{
	uint32_t mask = f->len[side] ? ~0u << (32 - f->len[side]) : 0;
	uint64_t first_hi, first_lo, last_hi, last_lo;

	if (!is_v6)
		return one_range(&set->v4, 0, f->addr[side] & mask, 0,
				 f->addr[side] | ~mask);
	stretch(f->addr[side] & mask, &first_hi, &first_lo);
	stretch(f->addr[side] | ~mask, &last_hi, &last_lo);
	return one_range(&set->v6, first_hi, first_lo, last_hi, last_lo);
}

/* Append a row; sets that say nothing are left out. */
static int add_row(struct fw_program *program, const struct flat *f, bool is_v6)
{
	struct fw_ir_row *row = &program->rows[program->n_rows++];
	int32_t *sets[4] = { &row->src, &row->dst, &row->l4a, &row->l4b };
	int i, r;

	*row = (struct fw_ir_row){
		.dirs = 1u << FW_DIR_IN,
		.families = is_v6 ? FW_FAMILY_IPV6 : FW_FAMILY_IPV4,
		.verdict = program->n_rows % 2 ? FW_ACCEPT : FW_DROP,
	};
	if (f->has_proto)
		row->protos[f->proto / 64] |= 1ull << (f->proto % 64);
	for (i = 0; i < 4; i++) {
		struct fw_ir_set *set = &program->sets[program->n_sets];

		*sets[i] = -1;
		if (i < 2 ? !f->len[i] : !f->lo[i - 2] && f->hi[i - 2] == 65535)
			continue;
		r = i < 2 ? address_set(f, i, is_v6, set)
			  : one_range(&set->port, 0, f->lo[i - 2], 0,
				      f->hi[i - 2]);
		if (r < 0)
			return r;
		*sets[i] = (int32_t)program->n_sets++;
	}
	return 0;
}

static int rules_init(struct fw_program *program, size_t n)
{
	*program = (struct fw_program){
		.default_verdict = { FW_DROP, FW_DROP, FW_DROP },
		.rows = calloc(n + 1, sizeof(*program->rows)),
		.sets = calloc(4 * n + 1, sizeof(*program->sets)),
	};
	return program->rows && program->sets ? 0 : -ENOMEM;
}

void bench_rules_free(struct fw_program *program)
{
	size_t i;

	for (i = 0; i < program->n_sets; i++) {
		free(program->sets[i].v4.r);
		free(program->sets[i].v6.r);
		free(program->sets[i].port.r);
	}
	free(program->sets);
	free(program->rows);
	*program = (struct fw_program){ 0 };
}

/* ---- synthetic rules ----------------------------------------------------- */

/* Percent of prefixes by length, and what ports and protocols are like. */
struct shape {
	struct {
		uint8_t len, percent;
	} src[6], dst[6];
	uint8_t sport_any, dport_any, dport_one; /* percent */
	uint8_t tcp, udp; /* percent, rest other or any */
};

static const struct shape shapes[BENCH_SHAPE_MAX] = {
	[BENCH_ACL] = {
		.src = { { 32, 35 }, { 24, 30 }, { 27, 15 }, { 16, 15 },
			 { 0, 5 } },
		.dst = { { 32, 60 }, { 24, 30 }, { 28, 9 }, { 0, 1 } },
		.sport_any = 99,
		.dport_any = 15,
		.dport_one = 70,
		.tcp = 75,
		.udp = 15,
	},
	[BENCH_FW] = {
		.src = { { 0, 45 }, { 32, 15 }, { 24, 15 }, { 16, 15 },
			 { 21, 10 } },
		.dst = { { 32, 45 }, { 0, 20 }, { 24, 20 }, { 28, 15 } },
		.sport_any = 75,
		.dport_any = 25,
		.dport_one = 50,
		.tcp = 55,
		.udp = 25,
	},
	[BENCH_IPC] = {
		.src = { { 32, 30 }, { 24, 20 }, { 20, 15 }, { 16, 15 },
			 { 29, 10 }, { 0, 10 } },
		.dst = { { 32, 30 }, { 24, 20 }, { 22, 15 }, { 16, 15 },
			 { 26, 10 }, { 0, 10 } },
		.sport_any = 85,
		.dport_any = 45,
		.dport_one = 40,
		.tcp = 45,
		.udp = 30,
	},
};

/* An address near earlier ones, as networks have them. */
static uint32_t near_address(struct bench_rng *rng, uint32_t sites)
{
	uint32_t site = bench_below(rng, sites) * 0x9e3779b1u;

	return (site & 0xfffff000u) | (any32(rng) & 0xfff);
}

static uint8_t pick_len(struct bench_rng *rng, const uint8_t (*lens)[2])
{
	uint32_t percent = bench_below(rng, 100);
	int i;

	for (i = 0; i < 5 && percent >= lens[i][1]; i++)
		percent -= lens[i][1];
	return lens[i][0];
}

static void pick_port(struct bench_rng *rng, uint8_t any, uint8_t one,
		      uint16_t *lo, uint16_t *hi)
{
	static const uint16_t ranges[][2] = {
		{ 1024, 65535 },  { 0, 1023 },	{ 6000, 6063 },
		{ 33434, 33600 }, { 137, 139 },
	};
	uint32_t percent = bench_below(rng, 100), i;

	*lo = 0;
	*hi = UINT16_MAX;
	if (percent < any)
		return;
	if (percent < any + one) {
		*lo = *hi = (uint16_t)(bench_below(rng, 3)
					       ? bench_below(rng, 120) * 37
					       : bench_below(rng, 65536));
		return;
	}
	i = bench_below(rng, 5);
	*lo = ranges[i][0];
	*hi = ranges[i][1];
}

static void make_flat(struct bench_rng *rng, const struct shape *shape,
		      uint32_t sites, struct flat *f)
{
	uint32_t percent = bench_below(rng, 100);

	*f = (struct flat){ .hi = { UINT16_MAX, UINT16_MAX } };
	f->addr[0] = near_address(rng, sites);
	f->addr[1] = near_address(rng, sites);
	f->len[0] = pick_len(rng, (const uint8_t(*)[2])shape->src);
	f->len[1] = pick_len(rng, (const uint8_t(*)[2])shape->dst);
	f->has_proto = true;
	if (percent < shape->tcp + shape->udp) {
		f->proto = percent < shape->tcp ? IPPROTO_TCP : IPPROTO_UDP;
		pick_port(rng, shape->sport_any, 5, &f->lo[0], &f->hi[0]);
		pick_port(rng, shape->dport_any, shape->dport_one, &f->lo[1],
			  &f->hi[1]);
	} else if (percent % 2) {
		f->proto = percent % 4 == 1 ? IPPROTO_ICMP : IPPROTO_GRE;
	} else {
		f->has_proto = false;
	}
}

int bench_synthetic(enum bench_shape shape, size_t n, uint64_t seed, bool is_v6,
		    struct fw_program *ret)
{
	struct bench_rng rng = { seed * 2 + 1 };
	uint32_t sites = 16 + (uint32_t)n / 8;
	struct flat f;
	size_t i;
	int r;

	r = rules_init(ret, n);
	for (i = 0; r == 0 && i < n; i++) {
		make_flat(&rng, &shapes[shape], sites, &f);
		/* What matches everything would hide all that follows. */
		if (f.len[0] + f.len[1] < 8)
			f.len[1] = 24;
		r = add_row(ret, &f, is_v6);
	}
	if (r < 0)
		bench_rules_free(ret);
	return r;
}

/* ---- ClassBench ---------------------------------------------------------- */

static bool parse_line(const char *line, struct flat *f)
{
	unsigned int a[2][5], port[4], proto, mask;
	int i;

	if (sscanf(line, "@%u.%u.%u.%u/%u %u.%u.%u.%u/%u %u : %u %u : %u %x/%x",
		   &a[0][0], &a[0][1], &a[0][2], &a[0][3], &a[0][4], &a[1][0],
		   &a[1][1], &a[1][2], &a[1][3], &a[1][4], &port[0], &port[1],
		   &port[2], &port[3], &proto, &mask) != 16)
		return false;
	for (i = 0; i < 2; i++) {
		f->addr[i] =
			a[i][0] << 24 | a[i][1] << 16 | a[i][2] << 8 | a[i][3];
		f->len[i] = (uint8_t)a[i][4];
		f->lo[i] = (uint16_t)port[2 * i];
		f->hi[i] = (uint16_t)port[2 * i + 1];
		if (f->len[i] > 32 || f->lo[i] > f->hi[i])
			return false;
	}
	f->proto = (uint8_t)proto;
	f->has_proto = mask != 0;
	return true;
}

static size_t count_lines(FILE *in)
{
	size_t n = 0;
	int c;

	while ((c = getc(in)) != EOF)
		n += c == '\n';
	rewind(in);
	return n + 1;
}

int bench_classbench(const char *path, bool is_v6, struct fw_program *ret)
{
	FILE *in = fopen(path, "re");
	char line[512];
	struct flat f;
	int r;

	if (!in)
		return -errno;
	r = rules_init(ret, count_lines(in));
	while (r == 0 && fgets(line, sizeof(line), in)) {
		if (line[0] == '\n')
			continue;
		r = parse_line(line, &f) ? add_row(ret, &f, is_v6) : -EINVAL;
	}
	(void)fclose(in);
	if (r < 0)
		bench_rules_free(ret);
	return r;
}

/* ---- packets ------------------------------------------------------------- */

/* An address of a set's range, of which there is one. */
static void pick_address(struct bench_rng *rng, const struct fw_program *p,
			 int32_t set, bool is_v6, struct fw_addr *ret)
{
	uint64_t hi = (uint64_t)any32(rng) << 32 | any32(rng);
	uint64_t lo = (uint64_t)any32(rng) << 32 | any32(rng);
	const struct fw_range *r;

	if (set >= 0) {
		r = is_v6 ? p->sets[set].v6.r : p->sets[set].v4.r;
		hi = r->first_hi | (hi & (r->first_hi ^ r->last_hi));
		lo = r->first_lo | (lo & (r->first_lo ^ r->last_lo));
	}
	*ret = (struct fw_addr){ { 0, 0, htonl(0xffff), htonl((uint32_t)lo) } };
	if (is_v6) {
		ret->w[0] = htonl((uint32_t)(hi >> 32));
		ret->w[1] = htonl((uint32_t)hi);
		ret->w[2] = htonl((uint32_t)(lo >> 32));
	}
}

static uint16_t pick_number(struct bench_rng *rng, const struct fw_program *p,
			    int32_t set)
{
	const struct fw_range *r;

	if (set < 0)
		return (uint16_t)bench_below(rng, 65536);
	r = p->sets[set].port.r;
	return (uint16_t)(r->first_lo +
			  bench_below(rng, (uint32_t)(r->last_lo - r->first_lo +
						      1)));
}

static void finish(struct bench_rng *rng, struct fw_key *key)
{
	if (key->proto == IPPROTO_TCP || key->proto == IPPROTO_UDP) {
		key->flags |= FW_KEY_PORTS;
	} else {
		key->sport = key->dport = 0;
	}
	if (key->proto ==
	    (key->family == FW_AF_IPV4 ? IPPROTO_ICMP : IPPROTO_ICMPV6)) {
		key->flags |= FW_KEY_ICMP;
		key->icmp = (uint16_t)(bench_below(rng, 20) << 8);
	}
}

void bench_hit(const struct fw_program *program, size_t row,
	       struct bench_rng *rng, struct fw_key *ret)
{
	const struct fw_ir_row *r = &program->rows[row];
	bool is_v6 = r->families & FW_FAMILY_IPV6;
	int proto = -1, i;

	*ret = (struct fw_key){
		.family = is_v6 ? FW_AF_IPV6 : FW_AF_IPV4,
		.dir = FW_DIR_IN,
	};
	pick_address(rng, program, r->src, is_v6, &ret->saddr);
	pick_address(rng, program, r->dst, is_v6, &ret->daddr);
	ret->sport = pick_number(rng, program, r->l4a);
	ret->dport = pick_number(rng, program, r->l4b);
	for (i = 0; i < 256 && proto < 0; i++) {
		if (r->protos[i / 64] >> (i % 64) & 1)
			proto = i;
	}
	if (proto < 0)
		proto = bench_below(rng, 4) ? IPPROTO_TCP : IPPROTO_UDP;
	ret->proto = (uint8_t)proto;
	finish(rng, ret);
}

void bench_random(struct bench_rng *rng, bool is_v6, struct fw_key *ret)
{
	*ret = (struct fw_key){
		.family = is_v6 ? FW_AF_IPV6 : FW_AF_IPV4,
		.dir = FW_DIR_IN,
		.proto = bench_below(rng, 3) ? IPPROTO_TCP : IPPROTO_UDP,
		.sport = (uint16_t)bench_below(rng, 65536),
		.dport = (uint16_t)bench_below(rng, 65536),
	};
	pick_address(rng, NULL, -1, is_v6, &ret->saddr);
	pick_address(rng, NULL, -1, is_v6, &ret->daddr);
	if (is_v6)
		ret->saddr.w[0] = ret->daddr.w[0] =
			htonl(0x20000000 | bench_below(rng, 65536));
	finish(rng, ret);
}
