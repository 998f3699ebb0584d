/* SPDX-License-Identifier: GPL-2.0-only */

/* Random rules in the intermediate form with every clause, and packets at each of
 * their bounds, before it and behind it. */
#include "random_program.h"

#include <arpa/inet.h>
#include <stdlib.h>

uint64_t rnd_seed;

uint32_t rnd(void)
{
	uint64_t z = rnd_seed += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (uint32_t)(z >> 32);
}

uint32_t below(uint32_t n)
{
	return rnd() % n;
}

static uint64_t random64(void)
{
	return (uint64_t)rnd() << 32 | rnd();
}

bool chance(uint32_t percent)
{
	return below(100) < percent;
}

/* ---- programs ------------------------------------------------------------ */

void program_init(struct fw_program *p, size_t n_rows)
{
	*p = (struct fw_program){
		.rows = calloc(n_rows + 1, sizeof(*p->rows)),
		.sets = calloc(4 * n_rows + 1, sizeof(*p->sets)),
	};
	if (!p->rows || !p->sets)
		abort();
}

void program_done(struct fw_program *p)
{
	size_t i;

	for (i = 0; i < p->n_sets; i++) {
		fw_ranges_done(&p->sets[i].v4);
		fw_ranges_done(&p->sets[i].v6);
		fw_ranges_done(&p->sets[i].port);
	}
	free(p->sets);
	free(p->rows);
}

struct fw_ir_row *add_row(struct fw_program *p)
{
	struct fw_ir_row *row = &p->rows[p->n_rows++];

	*row = (struct fw_ir_row){
		.rule = (uint32_t)(row - p->rows),
		.dirs = 1u << FW_DIR_IN,
		.families = FW_FAMILY_IPV4 | FW_FAMILY_IPV6,
		.src = -1,
		.dst = -1,
		.l4a = -1,
		.l4b = -1,
	};
	return row;
}

/* A set without members; filled in by the caller. */
struct fw_ir_set *add_set(struct fw_program *p, int32_t *ret)
{
	*ret = (int32_t)p->n_sets;
	return &p->sets[p->n_sets++];
}

void add_range(struct fw_ranges *ranges, struct fw_u128 first,
	       struct fw_u128 last)
{
	if (fw_ranges_add(ranges, first, last) < 0)
		abort();
}

int32_t port_set(struct fw_program *p, uint16_t first, uint16_t last)
{
	int32_t set;

	add_range(&add_set(p, &set)->port, (struct fw_u128){ 0, first },
		  (struct fw_u128){ 0, last });
	return set;
}

/* A prefix of 10.0.0.0 and the same of an IPv6 address. */
int32_t prefix_set(struct fw_program *p, uint32_t addr, unsigned int len)
{
	uint32_t mask = len ? ~0u << (32 - len) : 0;
	struct fw_ir_set *s;
	int32_t set;

	s = add_set(p, &set);
	add_range(&s->v4, (struct fw_u128){ 0, addr & mask },
		  (struct fw_u128){ 0, addr | ~mask });
	add_range(&s->v6, (struct fw_u128){ addr & mask, 0 },
		  (struct fw_u128){ addr | ~mask, UINT64_MAX });
	return set;
}

/* ---- random programs ----------------------------------------------------- */

/* Few addresses with many prefixes, so that rules overlap. */
struct fw_u128 random_address(bool is_v6)
{
	static const uint32_t nets[] = { 0x0a000000, 0x0a010000, 0xc0a80000,
					 0x0a0000f0, 0,		 0xffffff00 };
	uint32_t v4 = nets[below(6)] + below(chance(30) ? 4096 : 16);

	if (!is_v6)
		return (struct fw_u128){ 0, v4 };
	if (chance(50))
		return (struct fw_u128){ (uint64_t)v4 << 32 | below(3),
					 chance(30) ? UINT64_MAX : below(16) };
	return (struct fw_u128){ 0x20010db800000000u, v4 };
}

static void random_range(struct fw_ranges *ranges, bool is_v6)
{
	struct fw_u128 first = random_address(is_v6), last = first;
	unsigned int len = below(is_v6 ? 129 : 33);
	uint64_t mask = len % 64 ? UINT64_MAX >> (len % 64) : UINT64_MAX;

	switch (below(4)) {
	case 0:
		break;
	case 1: /* not a prefix */
		last.lo += below(9);
		if (last.lo < first.lo || (!is_v6 && last.lo > UINT32_MAX))
			last = first;
		break;
	default:
		if (!is_v6) {
			mask = len ? UINT32_MAX >> (len - 1) >> 1 : UINT32_MAX;
			first.lo &= ~mask;
			last.lo |= mask;
		} else if (len < 64) {
			first.hi &= ~mask;
			last.hi |= mask;
			first.lo = 0;
			last.lo = UINT64_MAX;
		} else if (len < 128) {
			first.lo &= ~mask;
			last.lo |= mask;
		}
	}
	add_range(ranges, first, last);
}

static int32_t random_addresses(struct fw_program *p)
{
	uint32_t i, n = chance(8) ? 40 + below(150) : below(4);
	struct fw_ir_set *s;
	int32_t set;

	if (p->n_sets > 4 && chance(20))
		return (int32_t)below((uint32_t)p->n_sets);
	s = add_set(p, &set);
	for (i = 0; i < n; i++) {
		if (chance(70))
			random_range(&s->v4, false);
		if (chance(70))
			random_range(&s->v6, true);
	}
	if (n > 10) { /* far apart, and many */
		for (i = 0; i < 100; i++) {
			add_range(&s->v4,
				  (struct fw_u128){ 0, 0x0a000000 + 2 * i },
				  (struct fw_u128){ 0, 0x0a000000 + 2 * i });
			add_range(&s->v6, (struct fw_u128){ 1, 2 * i },
				  (struct fw_u128){ 1, 2 * i });
		}
	}
	fw_ranges_merge(&s->v4);
	fw_ranges_merge(&s->v6);
	s->has_self = chance(15);
	return set;
}

static uint16_t random_port(void)
{
	static const uint16_t edges[] = { 0, 65535, 255, 256, 1024, 80 };

	return chance(30) ? edges[below(6)] : (uint16_t)(60 + below(40));
}

static int32_t random_ports(struct fw_program *p)
{
	uint32_t i, n = chance(8) ? 200 : below(4);
	struct fw_ir_set *s;
	int32_t set;

	s = add_set(p, &set);
	for (i = 0; i < n; i++) {
		uint32_t first = n > 10 ? below(65536) : random_port();
		uint32_t last = first + (chance(50) ? 0 : below(600));

		if (last > UINT16_MAX)
			last = UINT16_MAX;
		add_range(&s->port, (struct fw_u128){ 0, first },
			  (struct fw_u128){ 0, last });
	}
	fw_ranges_merge(&s->port);
	return set;
}

static const uint8_t some_protos[] = { 6, 17, 1, 58, 47, 50, 132, 2, 89, 255 };

static void random_protos(uint64_t protos[4])
{
	uint32_t i, n = chance(30) ? 0 : 1 + below(3);

	for (i = 0; i < n; i++) {
		uint8_t proto = some_protos[below(10)];

		protos[proto / 64] |= 1ull << (proto % 64);
	}
	if (chance(5)) { /* negated */
		for (i = 0; i < 4; i++)
			protos[i] = ~protos[i];
	}
}

static uint64_t random_zones(void)
{
	return 1ull << below(chance(80) ? 3 : 64) |
	       (chance(20) ? 1ull << below(64) : 0);
}

static uint32_t random_reqid(void)
{
	static const uint32_t reqids[] = { 1, 2, 256, UINT32_MAX };

	return reqids[below(4)];
}

/* via ipsec, not via ipsec, or neither. */
static void random_ipsec(struct fw_ir_row *row)
{
	if (chance(40))
		row->flags |= FW_ROW_NOT_IPSEC;
	else
		row->flags |= FW_ROW_IPSEC;
	if (row->flags & FW_ROW_IPSEC && chance(50))
		row->reqid = random_reqid();
}

static void random_row(struct fw_program *p, bool has_many_zones)
{
	struct fw_ir_row *row = add_row(p);

	row->dirs = (uint8_t)(chance(80) ? 1u << below(3) : 1 + below(7));
	row->families = (uint8_t)(1 + below(3));
	row->verdict = (uint8_t)below(FW_VERDICT_MAX);
	row->flags = below(0x40);
	row->flags |= chance(15) ? FW_ROW_ICMP : 0;
	row->flags |= chance(15) ? FW_ROW_LOG : 0;
	row->flags |= chance(20) ? FW_ROW_STATELESS : 0;
	row->flags |= chance(15) ? FW_ROW_OFFLOAD : 0;
	row->flags |= chance(15) ? FW_ROW_OFFLOAD_FIRST : 0;
	row->flags |= chance(15) ? FW_ROW_NAMED : 0;
	if (chance(20))
		random_ipsec(row);
	row->in_zones = chance(30) ? random_zones() : 0;
	row->out_zones = chance(20) ? random_zones() : 0;
	if (has_many_zones)
		row->in_zones = rnd();
	random_protos(row->protos);
	row->src = chance(60) ? random_addresses(p) : -1;
	row->dst = chance(60) ? random_addresses(p) : -1;
	row->l4a = chance(30) ? random_ports(p) : -1;
	row->l4b = chance(50) ? random_ports(p) : -1;
}

/* One more row of the last rule, as sets of addresses with ports make them. */
static void random_twin(struct fw_program *p)
{
	const struct fw_ir_row *last = &p->rows[p->n_rows - 1];
	struct fw_ir_row *row = add_row(p);

	*row = *last;
	row->dst = random_addresses(p);
	row->l4b = random_ports(p);
}

void random_program(struct fw_program *p, uint32_t n)
{
	bool has_many_zones = chance(10);
	uint32_t i;

	program_init(p, n);
	for (i = 0; i < n; i++) {
		if (i && chance(15)) {
			random_twin(p);
		} else {
			random_row(p, has_many_zones);
		}
	}
	for (i = 0; i < FW_DIR_MAX; i++)
		p->default_verdict[i] = (uint8_t)below(FW_VERDICT_MAX);
	p->default_log = (uint8_t)below(8);
	p->offload = chance(30) ? FW_RESULT_OFFLOAD : 0;
}

/* ---- packets ------------------------------------------------------------- */

/* A bound of the list, the number before it or behind it; or inside. */
static struct fw_u128 near_bound(const struct fw_ranges *ranges)
{
	const struct fw_range *r;
	struct fw_u128 v;

	if (!ranges->n)
		return (struct fw_u128){ 0, 0 };
	r = &ranges->r[below((uint32_t)ranges->n)];
	v = chance(50) ? (struct fw_u128){ r->first_hi, r->first_lo }
		       : (struct fw_u128){ r->last_hi, r->last_lo };
	switch (below(6)) {
	case 0:
		v.hi -= v.lo == 0;
		v.lo--;
		break;
	case 1:
		v.lo++;
		v.hi += v.lo == 0;
		break;
	case 2: /* of a prefix: inside */
		v.hi ^= (r->first_hi ^ r->last_hi) & random64();
		v.lo ^= (r->first_lo ^ r->last_lo) & random64();
		break;
	default:
		break;
	}
	return v;
}

static void pick_address(const struct fw_program *p, int32_t set, bool is_v6,
			 struct fw_addr *ret)
{
	struct fw_u128 v = random_address(is_v6);

	if (set >= 0 && chance(80))
		v = near_bound(is_v6 ? &p->sets[set].v6 : &p->sets[set].v4);
	*ret = (struct fw_addr){ { 0, 0, htonl(0xffff),
				   htonl((uint32_t)v.lo) } };
	if (is_v6) {
		ret->w[0] = htonl((uint32_t)(v.hi >> 32));
		ret->w[1] = htonl((uint32_t)v.hi);
		ret->w[2] = htonl((uint32_t)(v.lo >> 32));
	}
}

static uint16_t pick_number(const struct fw_program *p, int32_t set)
{
	if (set >= 0 && chance(80))
		return (uint16_t)near_bound(&p->sets[set].port).lo;
	return random_port();
}

static uint8_t pick_proto(const struct fw_ir_row *row)
{
	unsigned int i;

	for (i = 0; i < 20; i++) {
		uint8_t proto = some_protos[below(10)];

		if (row->protos[proto / 64] >> (proto % 64) & 1)
			return proto;
	}
	return some_protos[below(10)];
}

/* From an SA, in clear, or nobody knows; of a row that asks for it, or of none. */
static void pick_ipsec(const struct fw_ir_row *row, struct fw_key *key)
{
	if (chance(15)) {
		key->flags |= FW_KEY_IPSEC_UNKNOWN;
	} else if (chance(row->flags & FW_ROW_IPSEC ? 75 : 30)) {
		key->flags |= FW_KEY_IPSEC;
		key->reqid = chance(70) ? row->reqid : random_reqid();
	}
}

/* A packet that matches a row, or nearly. */
void pick_key(const struct fw_program *p, struct fw_key *key)
{
	const struct fw_ir_row *row = &p->rows[below((uint32_t)p->n_rows)];
	bool is_v6 = row->families == 3 ? chance(50) : row->families == 2;

	*key = (struct fw_key){ .family = is_v6 ? FW_AF_IPV6 : FW_AF_IPV4 };
	pick_address(p, row->src, is_v6, &key->saddr);
	pick_address(p, row->dst, is_v6, &key->daddr);
	key->sport = pick_number(p, row->l4a);
	key->dport = pick_number(p, row->l4b);
	key->icmp = pick_number(p, is_v6 ? row->l4b : row->l4a);
	key->proto = pick_proto(row);
	do {
		key->dir = (uint8_t)below(3);
	} while (chance(80) && !(row->dirs >> key->dir & 1));
	key->in_zones = chance(70) ? row->in_zones : random_zones();
	key->out_zones = chance(70) ? row->out_zones : random_zones();
	key->in_zones = chance(10) ? 0 : key->in_zones;
	if ((key->proto == 6 || key->proto == 17) && chance(90))
		key->flags |= FW_KEY_PORTS;
	else if (row->flags & FW_ROW_ICMP || chance(10))
		key->flags |= FW_KEY_ICMP;
	if (!(key->flags & FW_KEY_PORTS))
		key->sport = key->dport = 0;
	if (!(key->flags & FW_KEY_ICMP))
		key->icmp = 0;
	key->flags |= chance(15) ? FW_KEY_ESSENTIAL : 0;
	key->flags |= chance(30) ? FW_KEY_OUT_UNKNOWN : 0;
	key->flags |= chance(20) ? FW_KEY_SRC_SELF : 0;
	key->flags |= chance(20) ? FW_KEY_DST_SELF : 0;
	pick_ipsec(row, key);
}
