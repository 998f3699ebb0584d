/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The compiled rules, as programs in the kernel walk them and by the very code
 * that they run, against the interpreter: random rules with every clause, and
 * packets at each of their bounds, before it and behind it.
 */
#include "rules/match.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include "alloc_fails.h"
#include "kern/match.h"
#include "rules/ranges.h"
#include "rules_helper.h"
#include "selftests/random/random_program.h"

__u32 fw_image_mask = UINT32_MAX;

/* ---- images -------------------------------------------------------------- */

struct built {
	struct fw_bytes bytes;
	uint32_t off;
	struct fw_match_stats stats;
	uint32_t *slots;
};

static const uint32_t default_slots[FW_DIR_MAX] = { 1000001, 1000002, 1000003 };

static int try_build(const struct fw_program *p, struct built *b)
{
	uint32_t i;
	int r;

	*b = (struct built){ 0 };
	b->slots = __real_calloc(p->n_rows + 1, sizeof(*b->slots));
	for (i = 0; i < p->n_rows; i++)
		b->slots[i] = p->rows[i].rule * 3 + 7;
	if (fw_bytes_reserve(&b->bytes, 64, 64) == FW_BYTES_FAILED)
		return -12;
	r = fw_match_build(p, b->slots, default_slots, &b->bytes, &b->off,
			   &b->stats);
	/* As the image of a map: what is read behind its end is there. */
	if (r == 0 &&
	    fw_bytes_reserve(&b->bytes, FW_IMAGE_SLACK, 1) == FW_BYTES_FAILED)
		r = -12;
	return r;
}

static void built_done(struct built *b)
{
	fw_bytes_done(&b->bytes);
	free(b->slots);
}

static void build(const struct fw_program *p, struct built *b)
{
	assert_int_equal(try_build(p, b), 0);
}

static uint32_t slot_of(const struct built *b, const struct fw_result *r)
{
	if (r->rule == FW_RULE_NONE || r->flags & FW_RESULT_ESSENTIAL)
		return 0;
	if (r->rule >= FW_RULE_DEFAULT)
		return default_slots[r->rule - FW_RULE_DEFAULT];
	return b->slots[r->rule];
}

static void assert_judged(const struct fw_program *p, const struct built *b,
			  const struct fw_key *key)
{
	struct match_io io = { .key = *key };
	struct fw_result right;
	__u32 stateless;

	for (stateless = 0; stateless < 2; stateless++) {
		fw_interpret(p, key, stateless, &right);
		assert_int_equal(match(b->bytes.data, b->off, &io, stateless),
				 0);
		assert_int_equal(io.res.rule, right.rule);
		assert_int_equal(io.res.verdict, right.verdict);
		assert_int_equal(io.res.flags, right.flags);
		assert_int_equal(io.res.names_reqid, right.names_reqid);
		assert_int_equal(io.res.slot, slot_of(b, &right));
	}
}

/* ---- tests --------------------------------------------------------------- */

static void check_random(uint64_t number, uint32_t n_rows, uint32_t n_keys)
{
	struct fw_program p;
	struct fw_key key;
	struct built b;
	uint32_t i;

	rnd_seed = number;
	random_program(&p, n_rows);
	build(&p, &b);
	for (i = 0; i < n_keys; i++) {
		pick_key(&p, &key);
		assert_judged(&p, &b, &key);
	}
	built_done(&b);
	program_done(&p);
}

static void test_few_rules(void **state)
{
	uint64_t i;

	(void)state;
	for (i = 0; i < 600; i++)
		check_random(i, 1 + (uint32_t)(i % 12), 150);
}

static void test_many_rules(void **state)
{
	uint64_t i;

	(void)state;
	for (i = 0; i < 30; i++)
		check_random(1000 + i, 300, 600);
	check_random(2000, 3000, 2000);
}

/* One rule for everything, then none at all. */
static void test_no_rules(void **state)
{
	struct fw_program p;
	struct fw_key key;
	struct built b;
	int i;

	(void)state;
	program_init(&p, 1);
	p.default_verdict[FW_DIR_IN] = FW_DROP;
	add_row(&p); /* to pick packets of */
	build(&p, &b);
	for (i = 0; i < 50; i++) {
		pick_key(&p, &key);
		assert_judged(&p, &b, &key);
	}
	built_done(&b);
	p.n_rows = 0;
	build(&p, &b);
	for (i = 0; i < 50; i++) {
		p.n_rows = 1;
		pick_key(&p, &key);
		p.n_rows = 0;
		assert_judged(&p, &b, &key);
	}
	built_done(&b);
	program_done(&p);
}

/* Keys for programs of one shape, judged right; returns what was built. */
static void check_shape(struct fw_program *p, uint32_t n_keys,
			struct fw_match_stats *ret, size_t *ret_size)
{
	struct fw_key key;
	struct built b;
	uint32_t i;

	build(p, &b);
	for (i = 0; i < n_keys; i++) {
		pick_key(p, &key);
		assert_judged(p, &b, &key);
	}
	*ret = b.stats;
	*ret_size = b.bytes.size;
	built_done(&b);
	program_done(p);
}

static void test_same_rule(void **state)
{
	struct fw_match_stats stats;
	struct fw_program p;
	size_t i, size;

	(void)state;
	rnd_seed = 1;
	program_init(&p, 100000);
	for (i = 0; i < 100000; i++)
		add_row(&p)->src = i ? 0 : prefix_set(&p, 0x0a000000, 8);
	check_shape(&p, 100, &stats, &size);
	assert_int_equal(stats.entries, 2); /* one a family */
	assert_true(size < 100000 * 20);
}

/* Every pair of prefixes of one address. */
static void test_nested_prefixes(void **state)
{
	struct fw_match_stats stats;
	struct fw_program p;
	unsigned int s, d;
	size_t size;

	(void)state;
	rnd_seed = 2;
	program_init(&p, 33 * 33);
	for (s = 33; s-- > 0;) {
		for (d = 33; d-- > 0;) {
			struct fw_ir_row *row = add_row(&p);

			row->src = prefix_set(&p, 0x0a000001, s);
			row->dst = prefix_set(&p, 0x0a000001, d);
		}
	}
	check_shape(&p, 3000, &stats, &size);
	assert_true(size < 33ul * 33 * 2 * 400);
}

static void test_every_port(void **state)
{
	struct fw_match_stats stats;
	struct fw_program p;
	unsigned int i;
	size_t size;

	(void)state;
	rnd_seed = 3;
	program_init(&p, 65536);
	for (i = 0; i < 65536; i++) {
		struct fw_ir_row *row = add_row(&p);

		row->families = FW_FAMILY_IPV4;
		row->protos[0] = 1ull << 6;
		row->l4b = port_set(&p, (uint16_t)(i * 40503),
				    (uint16_t)(i * 40503));
	}
	check_shape(&p, 100, &stats, &size);
	assert_true(stats.longest_list <= 8);
	assert_true(size < 65536ul * 100);
}

/* Ranges of ports that overlap, each other rule for the source. */
static void test_overlapping_ports(void **state)
{
	struct fw_match_stats stats;
	struct fw_program p;
	size_t i, size;

	(void)state;
	rnd_seed = 4;
	program_init(&p, 100000);
	for (i = 0; i < 100000; i++) {
		struct fw_ir_row *row = add_row(&p);
		uint16_t a = (uint16_t)rnd(), b = (uint16_t)rnd();
		int32_t set = port_set(&p, a < b ? a : b, a < b ? b : a);

		*(i % 2 ? &row->l4a : &row->l4b) = set;
	}
	check_shape(&p, 500, &stats, &size);
	assert_true(size < 100000ul * 500);
}

/* Ranges that span most values of a cut are not copied for each of them. */
static void test_wide_ranges(void **state)
{
	struct fw_match_stats stats;
	struct fw_program p;
	uint32_t i;
	size_t size;

	(void)state;
	rnd_seed = 9;
	program_init(&p, 400);
	for (i = 0; i < 400; i++) {
		struct fw_ir_row *row = add_row(&p);
		uint16_t port = (uint16_t)(i * 163);

		row->protos[0] = 1ull << (i % 3 ? 6 : 17);
		row->verdict = i % 2 ? FW_DROP : FW_ACCEPT;
		if (i % 8)
			row->l4b = port_set(&p, port, port);
		else
			row->l4b = port_set(&p, (uint16_t)(1024 + i),
					    (uint16_t)(65535 - i));
		if (i % 8 == 0)
			row->l4a = port_set(&p, port, (uint16_t)(port + 9));
	}
	check_shape(&p, 3000, &stats, &size);
	assert_in_range(stats.longest_list, 1, 64);
	assert_in_range(size / 400, 1, 250);
}

/* One cut tells the rules of two networks apart, by the byte in which all of them differ. */
static void test_far_bytes(void **state)
{
	struct fw_match_stats stats;
	struct fw_program p;
	uint32_t i;
	size_t size;

	(void)state;
	rnd_seed = 10;
	program_init(&p, 8);
	for (i = 0; i < 8; i++) {
		uint32_t net = i % 2 ? 0x0a010000 : 0x0a420000;

		add_row(&p)->dst = prefix_set(&p, net + (i << 13), 24 + i);
	}
	check_shape(&p, 3000, &stats, &size);
	assert_int_equal(stats.longest_list, 1);
}

/* What nothing but the leaving interface tells apart is one long list. */
static void test_one_long_list(void **state)
{
	struct fw_match_stats stats;
	struct fw_program p;
	size_t i, size;

	(void)state;
	rnd_seed = 5;
	program_init(&p, 20000);
	for (i = 0; i < 20000; i++) {
		struct fw_ir_row *row = add_row(&p);

		row->out_zones = i + 2;
		row->flags = i % 2 ? FW_ROW_NOT_OUT : 0;
	}
	check_shape(&p, 60, &stats, &size);
	assert_int_equal(stats.longest_list, 20000);
	assert_true(stats.most_steps > FW_MATCH_FAST_STEPS);
	assert_int_equal(stats.slowest_rule, 0);
}

/* Rules that differ in nothing but the SA hide each other nowhere. */
static void test_many_reqids(void **state)
{
	struct fw_key key = { .family = FW_AF_IPV4,
			      .proto = 6,
			      .flags = FW_KEY_IPSEC };
	struct fw_program p;
	struct built b;
	uint32_t i;

	(void)state;
	program_init(&p, 402);
	for (i = 0; i < 402; i++) {
		struct fw_ir_row *row = add_row(&p);

		row->verdict = (uint8_t)(i % FW_VERDICT_MAX);
		row->reqid = i < 400 ? i + 1 : 0;
		row->flags = i == 400 ? FW_ROW_NOT_IPSEC : FW_ROW_IPSEC;
	}
	build(&p, &b);
	for (key.reqid = 1; key.reqid <= 410; key.reqid++)
		assert_judged(&p, &b, &key);
	key.reqid = 0;
	key.flags = 0;
	assert_judged(&p, &b, &key);
	key.flags = FW_KEY_IPSEC_UNKNOWN;
	assert_judged(&p, &b, &key);
	built_done(&b);
	program_done(&p);
}

/* Long lists of addresses and ports never become their product. */
static void test_long_lists(void **state)
{
	struct fw_match_stats stats;
	struct fw_ir_set *s;
	struct fw_program p;
	size_t i, k, size;

	(void)state;
	rnd_seed = 6;
	program_init(&p, 100);
	for (i = 0; i < 100; i++) {
		struct fw_ir_row *row = add_row(&p);

		s = add_set(&p, &row->src);
		for (k = 0; k < 1000; k++) {
			struct fw_u128 at = { 0, (uint32_t)(k * 0x9e3779b1) };

			add_range(&s->v4, at, at);
			add_range(&s->v6, at, at);
		}
		fw_ranges_merge(&s->v4);
		fw_ranges_merge(&s->v6);
		s = add_set(&p, &row->l4b);
		for (k = 0; k < 100; k++)
			add_range(&s->port, (struct fw_u128){ 0, k * 7 },
				  (struct fw_u128){ 0, k * 7 + i % 3 });
	}
	check_shape(&p, 2000, &stats, &size);
	assert_true(stats.parts <= 100 * 2 * 8);
}

/* Row `at` of a random program asks for a long list of addresses, and for no more. */
static struct fw_ir_row *ask_set(struct fw_program *p, size_t at, bool dst)
{
	struct fw_ir_row *row = &p->rows[at];
	struct fw_ir_set *s;
	uint32_t i;

	*row = (struct fw_ir_row){
		.rule = row->rule,
		.dirs = 1u << FW_DIR_IN,
		.families = FW_FAMILY_IPV4 | FW_FAMILY_IPV6,
		.verdict = FW_ACCEPT,
		.src = -1,
		.dst = -1,
		.l4a = -1,
		.l4b = -1,
	};
	s = add_set(p, dst ? &row->dst : &row->src);
	for (i = 0; i < 300; i++) {
		struct fw_u128 v4 = { 0, i * 0x9e3779b1u };
		struct fw_u128 v6 = { 0x2001ull << 48 | i % 7, rnd() };

		add_range(&s->v4, v4, v4);
		add_range(&s->v6, v6, v6);
	}
	fw_ranges_merge(&s->v4);
	fw_ranges_merge(&s->v6);
	return row;
}

/* All keys are judged as they should be; is the chain split by a set? */
static bool is_split(struct fw_program *p, bool is_v6)
{
	const struct fw_match_head *head;
	struct fw_key key;
	struct built b;
	uint32_t chain;
	int i;

	build(p, &b);
	for (i = 0; i < 2000; i++) {
		pick_key(p, &key);
		assert_judged(p, &b, &key);
	}
	head = fw_bytes_at(&b.bytes, b.off);
	chain = head->chain[FW_MATCH_CHAIN(0, is_v6, FW_DIR_IN)];
	built_done(&b);
	program_done(p);
	return chain & FW_CHAIN_SPLIT;
}

/* A set that nearly all packets have to be asked for is asked first. */
static void test_set_before_all(void **state)
{
	struct fw_program p;
	unsigned int i;

	(void)state;
	for (i = 0; i < 128; i++) {
		bool dst = i & 1, v6 = i & 2, accepts = i & 4, later = i & 8;
		bool zones = i & 16, is_alone;
		struct fw_ir_row *row;

		rnd_seed = 100 + i;
		random_program(&p, i & 32 ? 4 : 100);
		row = ask_set(&p, later ? 3 : 0, dst);
		row->verdict = accepts ? FW_ACCEPT : FW_DROP;
		row->in_zones = zones ? 5 : 0;
		/* what members may still meet is there twice, if it is little */
		is_alone = accepts && !later && !zones;
		assert_true(is_split(&p, v6) >= is_alone);
	}
}

/* It is not if few packets would be asked for it, or it says what is not in it. */
static void test_set_behind_others(void **state)
{
	struct fw_program p;
	unsigned int i;

	(void)state;
	for (i = 0; i < 16; i++) {
		bool dst = i >= 8;
		struct fw_ir_row *row;

		rnd_seed = 200 + i;
		random_program(&p, 100);
		row = ask_set(&p, i % 8 ? 0 : 60, dst);
		if (i % 8 == 1)
			row->flags = dst ? FW_ROW_NOT_DST : FW_ROW_NOT_SRC;
		else if (i % 8 == 2)
			row->l4b = port_set(&p, 22, 22);
		else if (i % 8 == 3)
			row->protos[0] = 1ull << 6;
		else if (i % 8 == 4)
			row->out_zones = 2;
		else if (i % 8 == 5)
			p.sets[dst ? row->dst : row->src].has_self = true;
		else if (i % 8 == 6)
			row->flags = FW_ROW_NOT_IPSEC;
		else if (i % 8 == 7)
			row->flags = FW_ROW_IPSEC;
		assert_false(is_split(&p, i & 1));
	}
}

/* What XDP asks before it parses: by the rules for what comes in and what is forwarded. */
struct front_case {
	enum fw_verdict verdict;
	uint16_t flags;
	bool zones, ports;
	uint8_t dirs;	  /* of its rule */
	bool other_first; /* another rule stands before it */
	bool other_set;	  /* the other direction has a set of its own */
	bool is_front;
};

static bool front_of(const struct front_case *c, bool dst, bool v6)
{
	const uint8_t other = c->dirs ^ (1 << FW_DIR_IN | 1 << FW_DIR_FORWARD);
	const int direction = c->dirs == 1 << FW_DIR_FORWARD;
	struct fw_match_front front;
	const struct fw_match_head *head;
	struct fw_ir_row *row;
	struct fw_program p;
	struct built b;

	random_program(&p, 40);
	for (size_t i = 0; i < p.n_rows; i++)
		p.rows[i].dirs = 1 << FW_DIR_OUT;
	row = ask_set(&p, 1, dst);
	row->verdict = c->verdict;
	row->flags = (uint16_t)(c->flags | FW_ROW_STATELESS);
	row->dirs = c->dirs;
	row->in_zones = c->zones ? 4 : 0;
	if (c->ports) {
		row->protos[0] = 1ull << 6;
		row->l4b = port_set(&p, 22, 22);
	}
	if (c->other_first) {
		p.rows[0] = *row;
		p.rows[0].rule = 0;
		p.rows[0].src = p.rows[0].dst = -1;
		p.rows[0].verdict = FW_ACCEPT;
		p.rows[0].protos[0] = 1ull << 17;
	}
	if (c->other_set) {
		struct fw_ir_row *second = ask_set(&p, 2, dst);

		second->flags = FW_ROW_STATELESS;
		second->verdict = FW_DROP;
		second->dirs = other;
	}
	build(&p, &b);
	head = fw_bytes_at(&b.bytes, b.off);
	front = head->front[v6];
	if (front.set) {
		assert_int_equal(front.is_dst, dst);
		assert_int_equal(front.zones[direction], row->in_zones);
		assert_int_equal(front.slot[direction], b.slots[1]);
		assert_int_equal(front.slot[!direction], 0);
	}
	built_done(&b);
	program_done(&p);
	return front.set != 0;
}

static void test_front(void **state)
{
	const uint8_t in = 1 << FW_DIR_IN, forward = 1 << FW_DIR_FORWARD;
	const struct front_case cases[] = {
		{ FW_DROP, 0, false, false, in, false, false, true },
		{ FW_DROP, 0, true, false, in, false, false, true },
		{ FW_DROP, 0, false, false, forward, false, false, true },
		{ FW_ACCEPT, 0, false, false, in, false, false, false },
		{ FW_REJECT, 0, false, false, in, false, false, false },
		{ FW_DROP, FW_ROW_LOG, false, false, in, false, false, false },
		{ FW_DROP, FW_ROW_NOT_IN, true, false, in, false, false,
		  false },
		{ FW_DROP, FW_ROW_NOT_IPSEC, false, false, in, false, false,
		  false },
		{ FW_DROP, 0, false, true, in, false, false, false },
		{ FW_DROP, 0, false, false, in, true, false, false },
		{ FW_DROP, 0, false, false, in, false, true, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		for (unsigned int k = 0; k < 4; k++) {
			rnd_seed = 300 + i;
			assert_int_equal(front_of(&cases[i], k & 1, k & 2),
					 cases[i].is_front);
		}
	}
}

static void test_too_many_rules(void **state)
{
	const struct fw_program p = { .n_rows = FW_MATCH_MAX_RULES + 1ul };
	struct fw_bytes bytes = { 0 };
	uint32_t off = 12345;

	(void)state;
	assert_int_equal(
		fw_match_build(&p, NULL, default_slots, &bytes, &off, NULL),
		-7);
	assert_int_equal(off, 12345);
	fw_bytes_done(&bytes);
}

static void test_same_bytes(void **state)
{
	struct fw_program p;
	struct built a, b;

	(void)state;
	rnd_seed = 7;
	random_program(&p, 500);
	build(&p, &a);
	build(&p, &b);
	assert_int_equal(a.bytes.size, b.bytes.size);
	assert_memory_equal(a.bytes.data, b.bytes.data, a.bytes.size);
	built_done(&a);
	built_done(&b);
	program_done(&p);
}

static void test_no_memory(void **state)
{
	struct fw_program p;
	struct built b;
	long i;
	int r;

	(void)state;
	rnd_seed = 8;
	random_program(&p, 120);
	for (i = 0;; i++) {
		countdown = i;
		r = try_build(&p, &b);
		if (r == 0 && countdown >= 0)
			break;
		assert_int_equal(r, -12);
		assert_int_equal(countdown, -1);
		built_done(&b);
	}
	countdown = -1;
	assert_true(i > 50);
	built_done(&b);
	program_done(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_few_rules),
		cmocka_unit_test(test_many_rules),
		cmocka_unit_test(test_no_rules),
		cmocka_unit_test(test_same_rule),
		cmocka_unit_test(test_nested_prefixes),
		cmocka_unit_test(test_every_port),
		cmocka_unit_test(test_overlapping_ports),
		cmocka_unit_test(test_wide_ranges),
		cmocka_unit_test(test_far_bytes),
		cmocka_unit_test(test_one_long_list),
		cmocka_unit_test(test_many_reqids),
		cmocka_unit_test(test_long_lists),
		cmocka_unit_test(test_set_before_all),
		cmocka_unit_test(test_set_behind_others),
		cmocka_unit_test(test_front),
		cmocka_unit_test(test_too_many_rules),
		cmocka_unit_test(test_same_bytes),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests_name("match", tests, NULL, NULL);
}
