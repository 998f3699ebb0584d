/* SPDX-License-Identifier: GPL-2.0-only */

/* Rule sets to measure with, and packets that hit or miss them. */
#include "classify_rules.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const char *const bench_shapes[BENCH_SHAPE_MAX] = {
	"acl", "acl-dense", "fw", "fw-ports", "ipc", "ipc-wide",
};

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

#define MAX_SPECS 2048

/* What a rule says besides addresses. */
struct spec {
	uint16_t lo[2], hi[2];
	uint8_t proto;
	bool has_proto;
};

/* Percent of prefixes by length, and what ports and protocols are like. */
struct shape {
	struct {
		uint8_t len, percent;
	} src[6], dst[6];
	uint8_t jitter; /* percent of lengths that are a few bits different */
	uint8_t nested; /* percent of addresses near an earlier rule's */
	uint8_t again;	/* percent of rules for the addresses of the last one */
	uint8_t sport_any, sport_one, dport_any, dport_one; /* percent */
	uint8_t tcp, udp; /* percent, rest other or any */
	uint16_t specs;	  /* different ones of a large set */
};

static const struct shape shapes[BENCH_SHAPE_MAX] = {
	[BENCH_ACL] = {
		.src = { { 32, 60 }, { 31, 20 }, { 23, 15 }, { 16, 4 },
			 { 0, 1 } },
		.dst = { { 32, 70 }, { 31, 17 }, { 22, 12 }, { 0, 1 } },
		.jitter = 25,
		.nested = 10,
		.sport_any = 99,
		.sport_one = 1,
		.dport_any = 35,
		.dport_one = 55,
		.tcp = 75,
		.udp = 15,
		.specs = 200,
	},
	[BENCH_ACL_DENSE] = {
		.src = { { 0, 8 }, { 9, 8 }, { 14, 18 }, { 19, 26 }, { 25, 20 },
			 { 32, 20 } },
		.dst = { { 6, 2 }, { 16, 12 }, { 21, 20 }, { 24, 26 }, { 28, 20 },
			 { 32, 20 } },
		.jitter = 75,
		.nested = 75,
		.again = 25,
		.sport_any = 95,
		.sport_one = 4,
		.dport_any = 25,
		.dport_one = 50,
		.tcp = 60,
		.udp = 30,
		.specs = 90,
	},
	[BENCH_FW] = {
		.src = { { 0, 33 }, { 1, 27 }, { 2, 6 }, { 32, 17 }, { 31, 10 },
			 { 24, 7 } },
		.dst = { { 32, 47 }, { 31, 22 }, { 0, 10 }, { 1, 7 }, { 29, 10 },
			 { 24, 4 } },
		.jitter = 12,
		.nested = 5,
		.again = 1,
		.sport_any = 78,
		.sport_one = 8,
		.dport_any = 30,
		.dport_one = 60,
		.tcp = 60,
		.udp = 25,
		.specs = 430,
	},
	[BENCH_FW_PORTS] = {
		.src = { { 0, 45 }, { 3, 8 }, { 32, 20 }, { 30, 12 }, { 24, 15 } },
		.dst = { { 0, 30 }, { 2, 8 }, { 32, 30 }, { 31, 12 }, { 24, 20 } },
		.jitter = 20,
		.nested = 20,
		.again = 12,
		.sport_any = 10,
		.sport_one = 28,
		.dport_any = 30,
		.dport_one = 40,
		.tcp = 75,
		.udp = 24,
		.specs = 1900,
	},
	[BENCH_IPC] = {
		.src = { { 32, 35 }, { 31, 15 }, { 24, 25 }, { 23, 13 },
			 { 16, 10 }, { 0, 2 } },
		.dst = { { 32, 35 }, { 24, 30 }, { 25, 15 }, { 20, 10 },
			 { 14, 8 }, { 0, 2 } },
		.jitter = 40,
		.nested = 35,
		.sport_any = 84,
		.sport_one = 6,
		.dport_any = 55,
		.dport_one = 35,
		.tcp = 30,
		.udp = 38,
		.specs = 320,
	},
	[BENCH_IPC_WIDE] = {
		.src = { { 32, 40 }, { 0, 30 }, { 28, 20 }, { 24, 10 } },
		.dst = { { 32, 45 }, { 0, 25 }, { 27, 20 }, { 20, 10 } },
		.jitter = 8,
		.nested = 3,
		.sport_any = 98,
		.sport_one = 1,
		.dport_any = 93,
		.dport_one = 5,
		.tcp = 20,
		.udp = 10,
		.specs = 10,
	},
};

/* What is drawn from while rules are made. */
struct maker {
	struct bench_rng rng;
	const struct shape *shape;
	uint32_t sites; /* clusters of addresses */
	uint32_t n_specs;
	struct spec specs[MAX_SPECS];
	struct flat last;
};

static bool chance(struct bench_rng *rng, uint32_t percent)
{
	return bench_below(rng, 100) < percent;
}

/* An address near others, as networks have them. */
static uint32_t near_address(struct maker *m, uint32_t last)
{
	uint32_t site = bench_below(&m->rng, m->sites) * 0x9e3779b1u;
	uint32_t keep = ~0u << (4 + bench_below(&m->rng, 17));

	if (chance(&m->rng, m->shape->nested))
		return (last & keep) | (any32(&m->rng) & ~keep);
	return (site & 0xfffff000u) | (any32(&m->rng) & 0xfff);
}

static uint8_t pick_len(struct maker *m, const uint8_t (*lens)[2])
{
	uint32_t percent = bench_below(&m->rng, 100);
	int i, len;

	for (i = 0; i < 5 && percent >= lens[i][1]; i++)
		percent -= lens[i][1];
	len = lens[i][0];
	if (len && chance(&m->rng, m->shape->jitter))
		len += (int)bench_below(&m->rng, 9) - 4;
	return (uint8_t)(len < 0 ? 0 : len > 32 ? 32 : len);
}

static void pick_ports(struct bench_rng *rng, uint8_t any, uint8_t one,
		       uint16_t *lo, uint16_t *hi)
{
	static const uint16_t ranges[][2] = {
		{ 1024, 65535 },  { 0, 1023 },	  { 6000, 6063 },
		{ 33434, 33600 }, { 137, 139 },	  { 1024, 5000 },
		{ 2300, 2400 },	  { 8000, 8100 },
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
	} else if (bench_below(rng, 3)) {
		i = bench_below(rng, 8);
		*lo = ranges[i][0];
		*hi = ranges[i][1];
	} else {
		*lo = (uint16_t)bench_below(rng, 60000);
		*hi = (uint16_t)(*lo + bench_below(rng, 65536u - *lo));
	}
}

static struct spec make_spec(struct maker *m)
{
	const struct shape *shape = m->shape;
	uint32_t percent = bench_below(&m->rng, 100);
	struct spec s = { .hi = { UINT16_MAX, UINT16_MAX }, .has_proto = true };

	if (percent < shape->tcp + shape->udp) {
		s.proto = percent < shape->tcp ? IPPROTO_TCP : IPPROTO_UDP;
		pick_ports(&m->rng, shape->sport_any, shape->sport_one,
			   &s.lo[0], &s.hi[0]);
		pick_ports(&m->rng, shape->dport_any, shape->dport_one,
			   &s.lo[1], &s.hi[1]);
	} else if (percent % 2) {
		s.proto = percent % 4 == 1 ? IPPROTO_ICMP : IPPROTO_GRE;
	} else {
		s.has_proto = false;
	}
	return s;
}

/* One of the specs, the first ones far more often. */
static const struct spec *pick_spec(struct maker *m)
{
	uint32_t a = bench_below(&m->rng, m->n_specs);
	uint32_t b = bench_below(&m->rng, m->n_specs);
	uint32_t c = bench_below(&m->rng, m->n_specs);

	a = a < b ? a : b;
	return &m->specs[a < c ? a : c];
}

static void make_flat(struct maker *m, struct flat *f)
{
	const struct spec *spec = pick_spec(m);

	*f = m->last;
	if (!chance(&m->rng, m->shape->again)) {
		f->addr[0] = near_address(m, m->last.addr[0]);
		f->addr[1] = near_address(m, m->last.addr[1]);
		f->len[0] = pick_len(m, (const uint8_t(*)[2])m->shape->src);
		f->len[1] = pick_len(m, (const uint8_t(*)[2])m->shape->dst);
	}
	memcpy(f->lo, spec->lo, sizeof(f->lo));
	memcpy(f->hi, spec->hi, sizeof(f->hi));
	f->proto = spec->proto;
	f->has_proto = spec->has_proto;
	m->last = *f;
}

int bench_synthetic(enum bench_shape shape, size_t n, uint64_t seed, bool is_v6,
		    struct fw_program *ret)
{
	struct maker m = {
		.rng = { seed * 2 + 1 },
		.shape = &shapes[shape],
		.sites = 16 + (uint32_t)n / 8,
		.n_specs = 8 + (uint32_t)n / 4,
	};
	struct flat f;
	size_t i;
	int r;

	if (m.n_specs > m.shape->specs)
		m.n_specs = m.shape->specs;
	for (i = 0; i < m.n_specs; i++)
		m.specs[i] = make_spec(&m);
	r = rules_init(ret, n);
	for (i = 0; r == 0 && i < n; i++) {
		make_flat(&m, &f);
		/* What matches everything would hide all that follows. */
		if (f.len[0] + f.len[1] < 8 && !chance(&m.rng, 2))
			f.len[1] = 24 + f.len[1] % 9;
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
