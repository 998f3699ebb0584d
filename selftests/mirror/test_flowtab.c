/* SPDX-License-Identifier: GPL-2.0-only */

/* The flow table: every order in which the sources may speak, and the sweep. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>

#include <cmocka.h>

#include "user/flowtab.h"

#define S  1000000000ull
#define T0 (1000 * S)

static struct fw_tuple tuple(uint8_t proto, uint16_t number)
{
	struct fw_tuple t = { .proto = proto, .family = FW_AF_IPV4 };

	t.saddr.w[2] = htonl(0xffff);
	t.saddr.w[3] = htonl(0x0a000001);
	t.daddr.w[2] = htonl(0xffff);
	t.daddr.w[3] = htonl(0x0a000002);
	t.sport = htons(number);
	t.dport = htons(443);
	return t;
}

static struct fw_tuple echo(uint16_t id)
{
	struct fw_tuple t = tuple(IPPROTO_ICMP, id);

	t.dport = 0;
	t.icmp_type = 8;
	return t;
}

static struct fw_ct entry_of(const struct fw_tuple *orig, uint32_t id)
{
	struct fw_ct ct = {
		.orig = *orig,
		.id = id,
		.status = IPS_CONFIRMED,
		.timeout_s = 100,
		.has = FW_CT_HAS_STATUS | FW_CT_HAS_MARK | FW_CT_HAS_TIMEOUT,
	};

	fw_tuple_invert(orig, &ct.reply);
	return ct;
}

static struct fw_event record(uint32_t type, const struct fw_tuple *orig,
			      uint64_t time_ns)
{
	return (struct fw_event){
		.time_ns = time_ns,
		.tuple = *orig,
		.type = type,
		.ifindex = 7,
		.slot = 42,
		.gen = 5,
		.dir = FW_DIR_FORWARD,
		.tcp_state = FW_TCP_SYN_SENT,
	};
}

/* Merges, and gives the entry back if it was accepted. */
static struct fw_entry *say(struct fw_flowtab *tab, enum fw_ct_msg msg,
			    const struct fw_ct *ct)
{
	struct fw_entry *entry;

	assert_int_equal(fw_flowtab_ct(tab, msg, ct, T0, &entry), 0);
	return entry;
}

static struct fw_entry *tell(struct fw_flowtab *tab,
			     const struct fw_event *event)
{
	struct fw_entry *entry;

	assert_int_equal(fw_flowtab_record(tab, event, &entry), 0);
	return entry;
}

static bool is_shown(const struct fw_flowtab *tab, const struct fw_tuple *orig,
		     uint64_t now_ns, struct fw_flow *ret)
{
	const struct fw_entry *entry = fw_flowtab_find(tab, orig, 0);

	return entry && fw_entry_flow(entry, now_ns, ret);
}

static int count_entry(void *data, const struct fw_entry *entry)
{
	struct fw_census *census = data;
	struct fw_flow flow;

	if (fw_entry_flow(entry, 0, &flow))
		census->n[fw_census_cell(flow.orig.proto, flow.tcp_state,
					 flow.replied)]++;
	return 0;
}

static int count_ct(void *data, const struct fw_entry *entry)
{
	size_t *n = data;

	*n += !(entry->flags & FW_ENTRY_DEAD) && entry->sources & FW_SOURCE_CT;
	return 0;
}

/* The running counts are what a walk over the table would find. */
static void check_census(const struct fw_flowtab *tab)
{
	const struct fw_census *have = fw_flowtab_census(tab);
	struct fw_census want = { 0 };
	uint64_t sum = 0;
	size_t n_ct = 0;

	(void)fw_flowtab_foreach(tab, count_ct, &n_ct);
	assert_int_equal(fw_flowtab_count_ct(tab), n_ct);
	(void)fw_flowtab_foreach(tab, count_entry, &want);
	for (unsigned int i = 1; i < FW_CENSUS_CELLS; i++) {
		assert_int_equal(have->n[i], want.n[i]);
		sum += have->n[i];
	}
	assert_int_equal(sum, fw_flowtab_count(tab));
}

static int setup(void **state)
{
	*state = fw_flowtab_new();
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	check_census(*state);
	fw_flowtab_free(*state);
	return 0;
}

static void test_grows_and_shrinks(void **state)
{
	struct fw_flowtab *tab = *state;
	struct fw_tuple t;
	struct fw_ct ct;
	unsigned int i;

	for (i = 0; i < 20000; i++) {
		t = tuple(IPPROTO_UDP, (uint16_t)i);
		ct = entry_of(&t, i + 1);
		assert_non_null(say(tab, FW_CT_NEW, &ct));
	}
	assert_int_equal(fw_flowtab_count(tab), 20000);
	for (i = 0; i < 20000; i++) {
		t = tuple(IPPROTO_UDP, (uint16_t)i);
		assert_int_equal(fw_flowtab_find(tab, &t, 0)->ct_id, i + 1);
		t = tuple(IPPROTO_TCP, (uint16_t)i);
		assert_null(fw_flowtab_find(tab, &t, 0));
	}
	fw_flowtab_begin(tab, T0);
	for (i = 0; i < 20000; i += 1000) {
		t = tuple(IPPROTO_UDP, (uint16_t)i);
		ct = entry_of(&t, i + 1);
		say(tab, FW_CT_DUMPED, &ct);
	}
	fw_flowtab_sweep(tab, FW_SOURCE_CT);
	assert_int_equal(fw_flowtab_count(tab), 20);
	for (i = 0; i < 20000; i++) {
		t = tuple(IPPROTO_UDP, (uint16_t)i);
		assert_int_equal(!!fw_flowtab_find(tab, &t, 0), i % 1000 == 0);
	}
}

/* ---- walks with pauses ------------------------------------------------------------ */

#define STEADY 3000u /* flows that are there throughout */
#define LOOSE  60000u

static struct fw_tuple numbered(uint32_t number)
{
	struct fw_tuple t = tuple(IPPROTO_UDP, 1);

	t.saddr.w[3] = number;
	return t;
}

static void say_numbered(struct fw_flowtab *tab, enum fw_ct_msg msg,
			 uint32_t number)
{
	struct fw_tuple t = numbered(number);
	struct fw_ct ct = entry_of(&t, number + 1);

	(void)say(tab, msg, &ct);
}

struct visits {
	unsigned int n[STEADY + LOOSE];
	unsigned int slice, most; /* in one slice */
	unsigned int enough;
};

static int visit(void *data, const struct fw_entry *entry)
{
	struct visits *visits = data;

	visits->n[entry->orig.saddr.w[3]]++;
	return ++visits->slice >= visits->enough;
}

/* What happens between two slices of a walk. */
static void shake(struct fw_flowtab *tab, unsigned int turn, bool grows)
{
	for (uint32_t i = 0; grows && i < 1500; i++)
		say_numbered(tab, FW_CT_NEW,
			     STEADY + (turn * 1500 + i) % LOOSE);
	if (turn % 16 == 8) {
		fw_flowtab_begin(tab, T0);
		for (uint32_t i = 0; i < STEADY; i++)
			say_numbered(tab, FW_CT_DUMPED, i);
		fw_flowtab_sweep_begin(tab, FW_SOURCE_CT);
	}
	(void)fw_flowtab_sweep_some(tab, turn % 3 ? 200 : 20000);
}

/* Growing, shrinking, half way between: all that stays is met, and met once. */
static void test_walk_of_a_changing_table(void **state)
{
	struct fw_flowtab *tab = *state;
	struct visits *visits = calloc(1, sizeof(*visits));
	unsigned int turns = 0;
	uint64_t at = 0;
	int r;

	assert_non_null(visits);
	for (uint32_t i = 0; i < STEADY; i++)
		say_numbered(tab, FW_CT_NEW, i);
	for (unsigned int round = 0; round < 6; round++) {
		memset(visits, 0, sizeof(*visits));
		visits->enough = round % 2 ? UINT32_MAX : 20;
		at = 0;
		do {
			visits->slice = 0;
			r = fw_flowtab_walk(tab, &at, 40 + 30 * round, visit,
					    visits);
			assert_true(r >= 0);
			if (visits->slice > visits->most)
				visits->most = visits->slice;
			shake(tab, turns, turns / 40 % 2 == 0);
			turns++;
		} while (r);
		for (uint32_t i = 0; i < STEADY; i++)
			assert_int_equal(visits->n[i], 1);
		assert_true(visits->most < 250);
	}
	assert_true(turns > 100);
	free(visits);
}

static int fail_at_once(void *data, const struct fw_entry *entry)
{
	(void)data;
	(void)entry;
	return -EIO;
}

static void test_walk_ends(void **state)
{
	struct fw_flowtab *tab = *state;
	uint64_t at = 0;

	assert_int_equal(
		fw_flowtab_walk(tab, &at, SIZE_MAX, fail_at_once, NULL), 0);
	say_numbered(tab, FW_CT_NEW, 1);
	at = 0;
	assert_int_equal(
		fw_flowtab_walk(tab, &at, SIZE_MAX, fail_at_once, NULL), -EIO);
}

/* ---- sweeps in slices --------------------------------------------------------------- */

/* News of a flow that the sweep has not come to is merged as if it had. */
static void test_news_during_a_sweep(void **state)
{
	struct fw_flowtab *tab = *state;
	struct fw_tuple t = numbered(5);
	struct fw_event old = record(FW_EVENT_FLOW_STATE, &t, T0 - S);
	struct fw_ct ct = entry_of(&t, 77);
	unsigned int slices = 0;
	struct fw_flow flow;

	for (uint32_t i = 0; i < 20000; i++)
		say_numbered(tab, FW_CT_NEW, i);
	fw_flowtab_begin(tab, T0);
	for (uint32_t i = 10; i < 20000; i++)
		say_numbered(tab, FW_CT_DUMPED, i);
	fw_flowtab_sweep_begin(tab, FW_SOURCE_CT);
	/* Older than the dump that did not show it: it has died. */
	tell(tab, &old);
	assert_null(fw_flowtab_find(tab, &t, 0));
	say(tab, FW_CT_NEW, &ct);
	say_numbered(tab, FW_CT_NEW, 30000);
	t = numbered(6);
	old.tuple = t;
	old.time_ns = T0 + S;
	tell(tab, &old);
	say_numbered(tab, FW_CT_DESTROYED, 12);
	while (fw_flowtab_sweep_some(tab, 100))
		slices++;
	assert_true(slices > 100);
	/* 10 to 19999 without 12; 5, 6 and 30000 */
	assert_int_equal(fw_flowtab_count(tab), 19990 - 1 + 3);
	assert_true(is_shown(tab, &t, T0, &flow));
	t = numbered(5);
	assert_true(is_shown(tab, &t, T0, &flow));
	assert_int_equal(flow.ct_id, 77);
	t = numbered(7);
	assert_null(fw_flowtab_find(tab, &t, 0));
}

/* Another generation before the sweep is through: nothing that lives is lost. */
static void test_superseded_sweep(void **state)
{
	struct fw_flowtab *tab = *state;

	for (uint32_t i = 0; i < 10000; i++)
		say_numbered(tab, FW_CT_NEW, i);
	fw_flowtab_begin(tab, T0);
	say_numbered(tab, FW_CT_DESTROYED, 9999);
	fw_flowtab_sweep_begin(tab, FW_SOURCE_CT);
	assert_true(fw_flowtab_sweep_some(tab, 5000));
	assert_in_range(fw_flowtab_count(tab), 1000, 9000);
	fw_flowtab_begin(tab, T0 + S);
	assert_false(fw_flowtab_sweep_some(tab, SIZE_MAX));
	for (uint32_t i = 0; i < 10000; i += 2)
		say_numbered(tab, FW_CT_DUMPED, i);
	fw_flowtab_abort_begin(tab);
	assert_true(fw_flowtab_sweep_some(tab, 10));
	fw_flowtab_begin(tab, T0 + 2 * S);
	for (uint32_t i = 0; i < 10000; i += 2)
		say_numbered(tab, FW_CT_DUMPED, i);
	fw_flowtab_sweep_begin(tab, FW_SOURCE_CT);
	while (fw_flowtab_sweep_some(tab, 64))
		;
	assert_int_equal(fw_flowtab_count(tab), 5000);
}

static void test_zones_are_apart(void **state)
{
	struct fw_flowtab *tab = *state;
	struct fw_tuple t = tuple(IPPROTO_UDP, 1);
	struct fw_ct ct = entry_of(&t, 1);

	say(tab, FW_CT_NEW, &ct);
	ct.zone = 9;
	ct.id = 2;
	say(tab, FW_CT_NEW, &ct);
	assert_int_equal(fw_flowtab_count(tab), 2);
	assert_int_equal(fw_flowtab_find(tab, &t, 0)->ct_id, 1);
	assert_int_equal(fw_flowtab_find(tab, &t, 9)->ct_id, 2);
	say(tab, FW_CT_DESTROYED, &ct);
	assert_non_null(fw_flowtab_find(tab, &t, 0));
	assert_null(fw_flowtab_find(tab, &t, 9));
}

static void test_event_during_dump_survives(void **state)
{
	struct fw_flowtab *tab = *state;
	struct fw_tuple old = tuple(IPPROTO_UDP, 1);
	struct fw_tuple new = tuple(IPPROTO_UDP, 2);
	struct fw_ct ct = entry_of(&old, 1);

	say(tab, FW_CT_NEW, &ct);
	fw_flowtab_begin(tab, T0);
	ct = entry_of(&new, 2);
	say(tab, FW_CT_NEW, &ct);
	fw_flowtab_sweep(tab, FW_SOURCE_CT);
	assert_null(fw_flowtab_find(tab, &old, 0));
	assert_non_null(fw_flowtab_find(tab, &new, 0));
}

static void test_destroyed_is_not_revived_by_an_old_piece(void **state)
{
	struct fw_flowtab *tab = *state;
	struct fw_tuple t = tuple(IPPROTO_UDP, 1);
	struct fw_ct ct = entry_of(&t, 1);
	struct fw_flow flow;

	say(tab, FW_CT_NEW, &ct);
	fw_flowtab_begin(tab, T0);
	say(tab, FW_CT_DESTROYED, &ct);
	assert_false(is_shown(tab, &t, T0, &flow));
	assert_int_equal(fw_flowtab_count(tab), 0);
	assert_null(say(tab, FW_CT_DUMPED, &ct));
	assert_false(is_shown(tab, &t, T0, &flow));
	fw_flowtab_sweep(tab, FW_SOURCE_CT);
	assert_null(fw_flowtab_find(tab, &t, 0));
}

static void test_successor_with_the_same_tuple(void **state)
{
	struct fw_flowtab *tab = *state;
	struct fw_tuple t = tuple(IPPROTO_UDP, 1);
	struct fw_ct first = entry_of(&t, 1);
	struct fw_ct second = entry_of(&t, 2);
	struct fw_flow flow;

	first.mark = 0x00500001;
	say(tab, FW_CT_NEW, &first);
	fw_flowtab_begin(tab, T0);
	say(tab, FW_CT_DESTROYED, &first);
	/* the dump is ahead of the events */
	assert_non_null(say(tab, FW_CT_DUMPED, &second));
	assert_true(is_shown(tab, &t, T0, &flow));
	assert_int_equal(flow.ct_id, 2);
	assert_int_equal(flow.mark, 0);
	/* and behind them */
	first.id = 3;
	say(tab, FW_CT_DESTROYED, &second);
	say(tab, FW_CT_NEW, &first);
	assert_null(say(tab, FW_CT_DUMPED, &second));
	/* a late message about the predecessor */
	say(tab, FW_CT_DESTROYED, &second);
	fw_flowtab_sweep(tab, FW_SOURCE_CT);
	assert_true(is_shown(tab, &t, T0, &flow));
	assert_int_equal(flow.ct_id, 3);
}

static void expect_reply(struct fw_flowtab *tab, const struct fw_tuple *orig,
			 const struct fw_tuple *reply)
{
	struct fw_flow flow;

	assert_true(is_shown(tab, orig, T0, &flow));
	assert_memory_equal(&flow.reply, reply, sizeof(*reply));
}

/* They are kept apart, and only where they are not the inverse. */
static void test_translated_answers(void **state)
{
	struct fw_flowtab *tab = *state;
	struct fw_tuple t = tuple(IPPROTO_UDP, 1);
	struct fw_ct ct = entry_of(&t, 1);
	struct fw_tuple inverse = ct.reply, turned = inverse;
	struct fw_event event = record(FW_EVENT_FLOW_NEW, &t, T0 + S);

	turned.daddr.w[3] ^= htonl(5);
	turned.dport = htons(40000);
	for (unsigned int i = 0; i < 4; i++) {
		ct.reply = i & 1 ? inverse : turned;
		say(tab, FW_CT_UPDATED, &ct);
		expect_reply(tab, &t, &ct.reply);
	}
	ct.reply = turned;
	say(tab, FW_CT_DUMPED, &ct);
	say(tab, FW_CT_DUMPED, &ct);
	expect_reply(tab, &t, &turned);
	/* nobody translates the next flow with that tuple */
	tell(tab, &event);
	expect_reply(tab, &t, &inverse);
	/* one that ends translated, and one that stays so, for the leak detector */
	say(tab, FW_CT_DUMPED, &ct);
	fw_flowtab_end(tab, &t, 0);
	assert_int_equal(fw_flowtab_count(tab), 0);
	say(tab, FW_CT_NEW, &ct);
	expect_reply(tab, &t, &turned);
}

static void test_record_and_dump_merge(void **state)
{
	struct fw_flowtab *tab = *state;
	struct fw_tuple t = tuple(IPPROTO_TCP, 1);
	struct fw_event event = record(FW_EVENT_FLOW_NEW, &t, T0 - 10);
	struct fw_ct ct = entry_of(&t, 77);
	struct fw_flow flow;

	tell(tab, &event);
	assert_true(is_shown(tab, &t, T0, &flow));
	assert_int_equal(flow.ct_id, 0);
	assert_int_equal(flow.slot, 42);
	assert_int_equal(flow.ifindex, 7);
	assert_int_equal(flow.dir, FW_DIR_FORWARD);
	assert_int_equal(flow.tcp_state, FW_TCP_SYN_SENT);
	assert_int_equal(flow.opened_ns, T0 - 10);
	assert_int_equal(flow.reply.sport, t.dport);
	assert_int_equal(flow.mark >> FW_MARK_GEN_SHIFT, 5);

	fw_flowtab_begin(tab, T0);
	ct.mark = 5u << FW_MARK_GEN_SHIFT |
		  FW_TCP_ESTABLISHED << FW_MARK_TCP_SHIFT | 0xbeef;
	ct.status |= IPS_SEEN_REPLY | IPS_ASSURED;
	say(tab, FW_CT_DUMPED, &ct);
	fw_flowtab_sweep(tab, FW_SOURCE_CT | FW_SOURCE_XFLOW);
	assert_true(is_shown(tab, &t, T0, &flow));
	assert_int_equal(flow.ct_id, 77);
	assert_int_equal(flow.slot, 42);
	assert_int_equal(flow.opened_ns, T0 - 10);
	assert_int_equal(flow.mark, ct.mark);
	assert_int_equal(flow.tcp_state, FW_TCP_ESTABLISHED);
	assert_true(flow.replied && flow.assured);
}

static void test_records_around_a_dump(void **state)
{
	struct fw_flowtab *tab = *state;
	struct fw_tuple before = tuple(IPPROTO_UDP, 1);
	struct fw_tuple within = tuple(IPPROTO_UDP, 2);
	struct fw_event event;

	fw_flowtab_begin(tab, T0);
	event = record(FW_EVENT_FLOW_NEW, &before, T0 - 1);
	tell(tab, &event);
	event = record(FW_EVENT_FLOW_NEW, &within, T0);
	tell(tab, &event);
	fw_flowtab_sweep(tab, FW_SOURCE_CT);
	assert_null(fw_flowtab_find(tab, &before, 0));
	assert_non_null(fw_flowtab_find(tab, &within, 0));
	/* read only now, but older than a dump that did not show it */
	event = record(FW_EVENT_FLOW_STATE, &before, T0 - 1);
	assert_null(tell(tab, &event));
	assert_null(fw_flowtab_find(tab, &before, 0));
	event.time_ns = T0 + 1;
	assert_non_null(tell(tab, &event));
}

static void test_aborted_dump_removes_nothing(void **state)
{
	struct fw_flowtab *tab = *state;
	struct fw_tuple a = tuple(IPPROTO_UDP, 1);
	struct fw_tuple b = tuple(IPPROTO_UDP, 2);
	struct fw_ct ct_a = entry_of(&a, 1);
	struct fw_ct ct_b = entry_of(&b, 2);

	say(tab, FW_CT_NEW, &ct_a);
	say(tab, FW_CT_NEW, &ct_b);
	fw_flowtab_begin(tab, T0);
	say(tab, FW_CT_DESTROYED, &ct_b);
	fw_flowtab_abort(tab);
	assert_int_equal(fw_flowtab_count(tab), 1);
	assert_non_null(fw_flowtab_find(tab, &a, 0));
	assert_null(fw_flowtab_find(tab, &b, 0));
}

static void test_end_record(void **state)
{
	struct fw_flowtab *tab = *state;
	struct fw_tuple t = tuple(IPPROTO_TCP, 1);
	struct fw_event event = record(FW_EVENT_FLOW_NEW, &t, T0);
	struct fw_ct ct = entry_of(&t, 4);

	tell(tab, &event);
	event.type = FW_EVENT_FLOW_END;
	tell(tab, &event);
	assert_null(fw_flowtab_find(tab, &t, 0));

	say(tab, FW_CT_DUMPED, &ct);
	fw_flowtab_begin(tab, T0);
	tell(tab, &event);
	assert_null(say(tab, FW_CT_DUMPED, &ct));
	fw_flowtab_sweep(tab, FW_SOURCE_CT);
	assert_int_equal(fw_flowtab_count(tab), 0);
	tell(tab, &event); /* of a flow that nobody knows */
}

static void test_bpf_flow_is_not_ended_by_its_predecessor(void **state)
{
	struct fw_flowtab *tab = *state;
	struct fw_tuple t = tuple(IPPROTO_TCP, 1);
	struct fw_event event = record(FW_EVENT_FLOW_NEW, &t, T0);
	struct fw_ct ct = entry_of(&t, 4);

	say(tab, FW_CT_NEW, &ct);
	tell(tab, &event);
	say(tab, FW_CT_DESTROYED, &ct);
	assert_non_null(fw_flowtab_find(tab, &t, 0));
	say(tab, FW_CT_NEW, &ct);
	say(tab, FW_CT_DESTROYED, &ct);
	assert_null(fw_flowtab_find(tab, &t, 0));
}

static void test_expiry(void **state)
{
	struct fw_flowtab *tab = *state;
	struct fw_tuple t = tuple(IPPROTO_UDP, 1);
	struct fw_ct ct = entry_of(&t, 1);
	struct fw_flow flow;

	ct.timeout_s = 0; /* less than a second left */
	say(tab, FW_CT_NEW, &ct);
	assert_true(is_shown(tab, &t, T0 + S / 2, &flow));
	assert_false(is_shown(tab, &t, T0 + S, &flow));
	ct.timeout_s = 30;
	say(tab, FW_CT_UPDATED, &ct);
	assert_true(is_shown(tab, &t, T0, &flow));
	assert_int_equal((flow.expires_ns - T0) / S, 30);
	assert_true(is_shown(tab, &t, T0 + 30 * S, &flow));
	assert_false(is_shown(tab, &t, T0 + 31 * S, &flow));
	ct.timeout_s = UINT32_MAX;
	say(tab, FW_CT_UPDATED, &ct);
	assert_true(is_shown(tab, &t, T0 + 1000000 * S, &flow));
	ct.has &= (uint8_t)~FW_CT_HAS_TIMEOUT; /* offloaded */
	say(tab, FW_CT_DUMPED, &ct);
	assert_true(is_shown(tab, &t, T0 + 3600 * S, &flow));
}

static void test_first_expiry(void **state)
{
	struct fw_flowtab *tab = *state;
	struct fw_tuple t = tuple(IPPROTO_UDP, 1), e = echo(7);
	struct fw_xflow xflow = { .expires_ns = T0 + 9 * S };
	struct fw_ct ct = entry_of(&t, 1);

	assert_true(fw_flowtab_first_expiry(tab) == UINT64_MAX);
	say(tab, FW_CT_NEW, &ct);
	assert_true(fw_flowtab_first_expiry(tab) == T0 + 101 * S - 1);
	assert_int_equal(fw_flowtab_xflow(tab, &e, &xflow), 0);
	assert_true(fw_flowtab_first_expiry(tab) == T0 + 9 * S);
	/* a dump shows which of them there are, and how long they live now */
	fw_flowtab_begin(tab, T0);
	ct.timeout_s = 200;
	say(tab, FW_CT_DUMPED, &ct);
	fw_flowtab_sweep(tab, FW_SOURCE_CT | FW_SOURCE_XFLOW);
	assert_true(fw_flowtab_first_expiry(tab) == T0 + 201 * S - 1);
}

/* What a dump shows that nobody had told. */
static void test_corrections(void **state)
{
	struct fw_flowtab *tab = *state;
	struct fw_tuple t[] = { tuple(IPPROTO_TCP, 1), tuple(IPPROTO_TCP, 2) };
	struct fw_ct told = entry_of(&t[0], 1), silent = entry_of(&t[1], 2);

	say(tab, FW_CT_NEW, &told);
	fw_flowtab_begin(tab, T0);
	say(tab, FW_CT_DUMPED, &told);
	assert_int_equal(fw_flowtab_corrections(tab), 0);
	say(tab, FW_CT_DUMPED, &silent);
	fw_flowtab_sweep(tab, FW_SOURCE_CT);
	assert_int_equal(fw_flowtab_corrections(tab), 1);
	/* in another state; gone before its time */
	fw_flowtab_begin(tab, T0 + S);
	told.status |= IPS_SEEN_REPLY;
	say(tab, FW_CT_DUMPED, &told);
	assert_int_equal(fw_flowtab_corrections(tab), 1);
	fw_flowtab_sweep(tab, FW_SOURCE_CT);
	assert_int_equal(fw_flowtab_corrections(tab), 2);
	/* not so dead */
	fw_flowtab_find(tab, &t[0], 0)->expires_ns = T0;
	fw_flowtab_begin(tab, T0 + 2 * S);
	say(tab, FW_CT_DUMPED, &told);
	assert_int_equal(fw_flowtab_corrections(tab), 1);
	fw_flowtab_sweep(tab, FW_SOURCE_CT);
	/* gone when its time was over */
	fw_flowtab_begin(tab, T0 + 200 * S);
	fw_flowtab_sweep(tab, FW_SOURCE_CT);
	assert_int_equal(fw_flowtab_count(tab), 0);
	assert_int_equal(fw_flowtab_corrections(tab), 0);
}

/* The record of a flow of the kernel's is read before the event that opens it. */
static void test_judged_before_it_opens(void **state)
{
	struct fw_flowtab *tab = *state;
	struct fw_tuple t = tuple(IPPROTO_UDP, 1);
	struct fw_event event = record(FW_EVENT_ADOPT, &t, T0);
	struct fw_ct ct = entry_of(&t, 1);
	const struct fw_entry *entry;

	tell(tab, &event);
	ct.mark = 0x77 & ~FW_MARK_GEN_MASK & ~FW_MARK_TCP_MASK;
	entry = say(tab, FW_CT_NEW, &ct);
	assert_int_equal(entry->mark, ct.mark | 5u << FW_MARK_GEN_SHIFT);
	assert_true(entry->opened_ns == T0);
	assert_int_equal(entry->slot, 42);
	/* a dump shows the same, nobody has to be asked */
	fw_flowtab_begin(tab, T0);
	ct.mark = entry->mark;
	entry = say(tab, FW_CT_DUMPED, &ct);
	assert_int_equal(entry->asked, FW_ASKED_ENOUGH);
	fw_flowtab_sweep(tab, FW_SOURCE_CT);
	/* but what the kernel says later it has changed */
	ct.mark = 0;
	assert_int_equal(say(tab, FW_CT_NEW, &ct)->mark, 0);
}

static void test_absent_attributes(void **state)
{
	struct fw_flowtab *tab = *state;
	struct fw_tuple t = tuple(IPPROTO_TCP, 1);
	struct fw_ct ct = entry_of(&t, 1);
	struct fw_flow flow;

	ct.mark = 0x1234;
	ct.status = IPS_CONFIRMED | IPS_SEEN_REPLY;
	say(tab, FW_CT_NEW, &ct);
	ct.has = 0;
	ct.mark = 0;
	ct.status = 0;
	say(tab, FW_CT_UPDATED, &ct);
	assert_true(is_shown(tab, &t, T0 + 99 * S, &flow));
	assert_int_equal(flow.mark, 0x1234);
	assert_true(flow.replied);
	/* a dump says everything: what is absent there is zero */
	say(tab, FW_CT_DUMPED, &ct);
	assert_true(is_shown(tab, &t, T0, &flow));
	assert_int_equal(flow.mark, 0);
}

static struct fw_xflow xflow_of(uint64_t expires_ns)
{
	return (struct fw_xflow){
		.opened_ns = T0 - 5 * S,
		.expires_ns = expires_ns,
		.slot = 9,
		.ifindex = 3,
		.gen = 5,
		.dir = FW_DIR_IN,
		.replied = 1,
	};
}

static void test_xflow_alone(void **state)
{
	struct fw_flowtab *tab = *state;
	struct fw_tuple t = echo(77);
	struct fw_xflow x = xflow_of(T0 + 30 * S);
	struct fw_flow flow;

	fw_flowtab_begin(tab, T0);
	assert_int_equal(fw_flowtab_xflow(tab, &t, &x), 0);
	fw_flowtab_sweep(tab, FW_SOURCE_CT | FW_SOURCE_XFLOW);
	assert_true(is_shown(tab, &t, T0, &flow));
	assert_int_equal(flow.ct_id, 0);
	assert_int_equal(flow.slot, 9);
	assert_true(flow.replied);
	assert_int_equal(flow.reply.icmp_type, 0);
	assert_int_equal(flow.reply.sport, t.sport);
	assert_int_equal(flow.tcp_state, FW_TCP_NONE);
	/* a sweep without its map leaves it, one with it does not */
	fw_flowtab_begin(tab, T0);
	fw_flowtab_sweep(tab, FW_SOURCE_CT);
	assert_int_equal(fw_flowtab_count(tab), 1);
	fw_flowtab_begin(tab, T0);
	fw_flowtab_sweep(tab, FW_SOURCE_CT | FW_SOURCE_XFLOW);
	assert_int_equal(fw_flowtab_count(tab), 0);
}

static void test_xflow_that_the_kernel_tracks_too(void **state)
{
	struct fw_flowtab *tab = *state;
	struct fw_tuple t = echo(77);
	struct fw_xflow x = xflow_of(T0 + 300 * S);
	struct fw_ct ct = entry_of(&t, 8);
	struct fw_flow flow;

	fw_flowtab_begin(tab, T0);
	say(tab, FW_CT_DUMPED, &ct);
	fw_flowtab_xflow(tab, &t, &x);
	fw_flowtab_sweep(tab, FW_SOURCE_CT | FW_SOURCE_XFLOW);
	assert_int_equal(fw_flowtab_count(tab), 1);
	assert_true(is_shown(tab, &t, T0 + 200 * S, &flow));
	assert_int_equal(flow.ct_id, 8);
	assert_int_equal(flow.slot, 9);
	/* the kernel's entry ends, ours lives */
	say(tab, FW_CT_DESTROYED, &ct);
	assert_true(is_shown(tab, &t, T0, &flow));
	assert_int_equal(flow.ct_id, 0);
	/* and the other way round */
	fw_flowtab_begin(tab, T0);
	say(tab, FW_CT_DUMPED, &ct);
	fw_flowtab_sweep(tab, FW_SOURCE_CT | FW_SOURCE_XFLOW);
	assert_true(is_shown(tab, &t, T0, &flow));
	assert_int_equal(flow.ct_id, 8);
	say(tab, FW_CT_DESTROYED, &ct);
	assert_int_equal(fw_flowtab_count(tab), 0);
}

static void test_flow_info(void **state)
{
	struct fw_flowtab *tab = *state;
	struct fw_tuple t = tuple(IPPROTO_UDP, 1);
	struct fw_ct ct = entry_of(&t, 1);
	struct fw_flow_info info = {
		.opened_ns = 5, .slot = 6, .ifindex = 7, .dir = FW_DIR_OUT
	};
	struct fw_entry *entry;
	struct fw_flow flow;

	entry = say(tab, FW_CT_DUMPED, &ct);
	fw_entry_info(entry, &info);
	assert_true(is_shown(tab, &t, T0, &flow));
	assert_int_equal(flow.opened_ns, 5);
	assert_int_equal(flow.slot, 6);
	assert_int_equal(flow.ifindex, 7);
	assert_int_equal(flow.dir, FW_DIR_OUT);
	/* another generation has judged it: who was it? */
	entry->asked = FW_ASKED_ENOUGH;
	say(tab, FW_CT_DUMPED, &ct);
	assert_int_equal(entry->asked, FW_ASKED_ENOUGH);
	ct.mark = 8u << FW_MARK_GEN_SHIFT;
	say(tab, FW_CT_DUMPED, &ct);
	assert_int_equal(entry->asked, 0);
}

static void set_own(struct fw_ct *ct, enum fw_tcp_state state)
{
	ct->mark = 5u << FW_MARK_GEN_SHIFT | (uint32_t)state
						     << FW_MARK_TCP_SHIFT;
}

static void test_tcp_state_due(void **state)
{
	static const uint8_t due[FW_TCP_STATE_MAX] = {
		[FW_TCP_ESTABLISHED] = TCP_CONNTRACK_ESTABLISHED,
		[FW_TCP_FIN_ORIG] = TCP_CONNTRACK_FIN_WAIT,
		[FW_TCP_FIN_REPLY] = TCP_CONNTRACK_FIN_WAIT,
		[FW_TCP_TIME_WAIT] = TCP_CONNTRACK_TIME_WAIT,
		[FW_TCP_CLOSE] = TCP_CONNTRACK_CLOSE,
		[FW_TCP_CLOSE_ORIG] = TCP_CONNTRACK_CLOSE,
		[FW_TCP_CLOSE_REPLY] = TCP_CONNTRACK_CLOSE,
	};
	struct fw_flowtab *tab = *state;
	struct fw_tuple t = tuple(IPPROTO_TCP, 1);
	struct fw_ct ct = entry_of(&t, 1);
	struct fw_entry *entry;
	unsigned int i;

	ct.has |= FW_CT_HAS_TCP;
	for (i = 0; i < FW_TCP_STATE_MAX; i++) {
		set_own(&ct, (enum fw_tcp_state)i);
		entry = say(tab, FW_CT_DUMPED, &ct);
		assert_int_equal(fw_entry_kernel_tcp_due(entry), due[i]);
	}
	/* the kernel has it */
	set_own(&ct, FW_TCP_ESTABLISHED);
	ct.tcp_state = TCP_CONNTRACK_ESTABLISHED;
	entry = say(tab, FW_CT_DUMPED, &ct);
	assert_int_equal(fw_entry_kernel_tcp_due(entry), 0);
	/* the kernel has another one, which it found itself */
	set_own(&ct, FW_TCP_TIME_WAIT);
	ct.tcp_flags[0] = 0x2b;
	ct.tcp_flags[1] = IP_CT_TCP_FLAG_BE_LIBERAL;
	entry = say(tab, FW_CT_DUMPED, &ct);
	assert_int_equal(fw_entry_kernel_tcp_due(entry), 0);
	/* it still has what we wrote */
	ct.tcp_flags[0] = IP_CT_TCP_FLAG_BE_LIBERAL;
	entry = say(tab, FW_CT_DUMPED, &ct);
	assert_int_equal(fw_entry_kernel_tcp_due(entry),
			 TCP_CONNTRACK_TIME_WAIT);
	/* not one of ours */
	ct.mark = 0;
	ct.tcp_state = 0;
	entry = say(tab, FW_CT_DUMPED, &ct);
	assert_int_equal(fw_entry_kernel_tcp_due(entry), 0);
	/* UDP has those bits as well */
	t = tuple(IPPROTO_UDP, 1);
	ct = entry_of(&t, 2);
	set_own(&ct, FW_TCP_ESTABLISHED);
	entry = say(tab, FW_CT_DUMPED, &ct);
	assert_int_equal(fw_entry_kernel_tcp_due(entry), 0);
}

static void test_tuple_used_again_by_bpf(void **state)
{
	struct fw_flowtab *tab = *state;
	struct fw_tuple t = tuple(IPPROTO_TCP, 1);
	struct fw_ct ct = entry_of(&t, 1);
	struct fw_event event = record(FW_EVENT_FLOW_NEW, &t, T0 + S);
	struct fw_entry *entry;

	set_own(&ct, FW_TCP_ESTABLISHED);
	ct.has |= FW_CT_HAS_TCP;
	ct.tcp_state = TCP_CONNTRACK_ESTABLISHED;
	ct.tcp_flags[0] = ct.tcp_flags[1] = IP_CT_TCP_FLAG_BE_LIBERAL;
	entry = say(tab, FW_CT_DUMPED, &ct);
	tell(tab, &event);
	event.type = FW_EVENT_FLOW_STATE;
	event.tcp_state = FW_TCP_ESTABLISHED;
	tell(tab, &event);
	assert_int_equal(fw_entry_kernel_tcp_due(entry),
			 TCP_CONNTRACK_ESTABLISHED);
}

static void test_tcp_state_shown(void **state)
{
	static const uint8_t shown[TCP_CONNTRACK_MAX] = {
		FW_TCP_NONE,	    FW_TCP_SYN_SENT,  FW_TCP_SYN_RECV,
		FW_TCP_ESTABLISHED, FW_TCP_FIN_ORIG,  FW_TCP_FIN_ORIG,
		FW_TCP_TIME_WAIT,   FW_TCP_TIME_WAIT, FW_TCP_CLOSE,
		FW_TCP_SYN_SENT2,
	};
	struct fw_flowtab *tab = *state;
	struct fw_tuple t = tuple(IPPROTO_TCP, 1);
	struct fw_ct ct = entry_of(&t, 1);
	struct fw_flow flow;
	unsigned int i;

	ct.has |= FW_CT_HAS_TCP;
	for (i = 0; i < 256; i++) {
		ct.tcp_state = (uint8_t)i;
		say(tab, FW_CT_DUMPED, &ct);
		assert_true(is_shown(tab, &t, T0, &flow));
		assert_int_equal(flow.tcp_state, i < TCP_CONNTRACK_MAX
							 ? shown[i]
							 : FW_TCP_NONE);
	}
	ct.tcp_state = TCP_CONNTRACK_CLOSE_WAIT;
	ct.tcp_flags[1] = IP_CT_TCP_FLAG_CLOSE_INIT;
	say(tab, FW_CT_DUMPED, &ct);
	assert_true(is_shown(tab, &t, T0, &flow));
	assert_int_equal(flow.tcp_state, FW_TCP_FIN_REPLY);
	/* ours comes first */
	set_own(&ct, FW_TCP_SYN_RECV);
	say(tab, FW_CT_DUMPED, &ct);
	assert_true(is_shown(tab, &t, T0, &flow));
	assert_int_equal(flow.tcp_state, FW_TCP_SYN_RECV);
}

/* A kernel-made entry that we judge: three sources, any order, one picture. */
static void test_orders_of_three_sources(void **state)
{
	static const char *const orders[] = { "nad", "nda", "and",
					      "adn", "dna", "dan" };
	struct fw_flow flow;
	size_t i;
	size_t j;

	(void)state;
	for (i = 0; i < sizeof(orders) / sizeof(*orders); i++) {
		struct fw_flowtab *tab = fw_flowtab_new();
		struct fw_tuple t = tuple(IPPROTO_TCP, 1);
		struct fw_event event = record(FW_EVENT_ADOPT, &t, T0 + 1);
		struct fw_ct new = entry_of(&t, 6);
		struct fw_ct whole = new;

		assert_non_null(tab);
		whole.mark = 5u << FW_MARK_GEN_SHIFT;
		fw_flowtab_begin(tab, T0);
		for (j = 0; j < 3; j++) {
			if (orders[i][j] == 'n')
				say(tab, FW_CT_NEW, &new);
			else if (orders[i][j] == 'a')
				tell(tab, &event);
			else
				say(tab, FW_CT_DUMPED, &whole);
		}
		fw_flowtab_sweep(tab, FW_SOURCE_CT | FW_SOURCE_XFLOW);
		assert_int_equal(fw_flowtab_count(tab), 1);
		assert_true(is_shown(tab, &t, T0, &flow));
		assert_int_equal(flow.ct_id, 6);
		assert_int_equal(flow.slot, 42);
		assert_int_equal(flow.ifindex, 7);
		assert_int_equal(flow.dir, FW_DIR_FORWARD);
		say(tab, FW_CT_DESTROYED, &new);
		assert_int_equal(fw_flowtab_count(tab), 0);
		fw_flowtab_free(tab);
	}
}

static void test_records_are_bounded(void **state)
{
	struct fw_flowtab *tab = *state;
	struct fw_entry *entry;
	struct fw_event event;
	struct fw_tuple t;
	uint32_t i;
	int r = 0;

	for (i = 0; i < 2000000 && r == 0; i++) {
		/* that it is time for a dump is known long before */
		assert_true(i < 300000 || fw_flowtab_is_crowded(tab));
		assert_true(i > 200000 || !fw_flowtab_is_crowded(tab));
		t = tuple(IPPROTO_UDP, (uint16_t)i);
		t.saddr.w[3] = i;
		event = record(FW_EVENT_FLOW_NEW, &t, T0);
		r = fw_flowtab_record(tab, &event, &entry);
	}
	assert_int_equal(r, -ENOSPC);
	assert_null(entry);
	assert_true(fw_flowtab_count(tab) > 500000);
	/* who has counted as many knows better */
	fw_flowtab_expect(tab, fw_flowtab_count(tab));
	assert_false(fw_flowtab_is_crowded(tab));
	assert_int_equal(fw_flowtab_record(tab, &event, &entry), 0);
	/* and who could not count knows nothing */
	fw_flowtab_expect(tab, 0);
	assert_false(fw_flowtab_is_crowded(tab));
	fw_flowtab_begin(tab, T0 + S);
	fw_flowtab_sweep(tab, FW_SOURCE_CT);
	assert_int_equal(fw_flowtab_count(tab), 0);
	event.time_ns = T0 + 2 * S;
	assert_int_equal(fw_flowtab_record(tab, &event, &entry), 0);
}

/* One flow on its way from cell to cell, seen by each source in turn. */
static void test_census(void **state)
{
	struct fw_flowtab *tab = *state;
	const struct fw_census *census = fw_flowtab_census(tab);
	struct fw_tuple t = tuple(IPPROTO_TCP, 1), e = echo(7);
	struct fw_event event = record(FW_EVENT_FLOW_NEW, &t, T0);
	struct fw_xflow xflow = { .expires_ns = T0 + 9 * S, .gen = 5 };
	struct fw_ct ct = entry_of(&t, 1);
	unsigned int cell;

	tell(tab, &event);
	assert_int_equal(census->n[1 + FW_TCP_SYN_SENT], 1);
	event.type = FW_EVENT_FLOW_STATE;
	event.tcp_state = FW_TCP_ESTABLISHED;
	tell(tab, &event);
	check_census(tab);
	assert_int_equal(census->n[1 + FW_TCP_ESTABLISHED], 1);
	/* The kernel alone knows it, and says by itself how far it is. */
	ct.has |= FW_CT_HAS_TCP;
	ct.tcp_state = TCP_CONNTRACK_TIME_WAIT;
	say(tab, FW_CT_NEW, &ct);
	check_census(tab);
	assert_int_equal(census->n[1 + FW_TCP_TIME_WAIT], 1);
	assert_int_equal(fw_flowtab_xflow(tab, &e, &xflow), 0);
	cell = fw_census_cell(IPPROTO_ICMP, 0, false);
	assert_int_equal(census->n[cell], 1);
	xflow.replied = 1;
	assert_int_equal(fw_flowtab_xflow(tab, &e, &xflow), 0);
	assert_int_equal(census->n[cell], 0);
	assert_int_equal(census->n[cell + 1], 1);
	/* Dead ones are not counted, whether they have gone yet or not. */
	fw_flowtab_begin(tab, T0);
	say(tab, FW_CT_DESTROYED, &ct);
	check_census(tab);
	assert_int_equal(census->n[1 + FW_TCP_TIME_WAIT], 0);
	fw_flowtab_sweep(tab, FW_SOURCE_CT | FW_SOURCE_XFLOW);
	assert_int_equal(census->n[cell + 1], 0);
}

/* ---- a kernel that changes while it is being read ------------------------------- */

#define SIM_FLOWS 24
#define SIM_PIECE 4
#define SIM_QUEUE 512

struct message {
	enum fw_ct_msg msg;
	struct fw_ct ct;
};

struct sim {
	struct fw_flowtab *tab;
	uint32_t id[SIM_FLOWS]; /* 0: no such flow */
	uint32_t last_id;
	struct message queue[SIM_QUEUE]; /* events not read yet */
	size_t head;
	size_t tail;
	struct fw_ct piece[SIM_PIECE]; /* built, not read yet */
	size_t piece_n;
	size_t pos; /* of the dump */
	bool is_dumping;
	uint64_t random;
};

static uint32_t pick(struct sim *sim, uint32_t n)
{
	sim->random = sim->random * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(sim->random >> 33) % n;
}

static void sim_emit(struct sim *sim, enum fw_ct_msg msg, unsigned int i)
{
	struct fw_tuple t = tuple(IPPROTO_UDP, (uint16_t)i);
	struct message *m = &sim->queue[sim->tail++ % SIM_QUEUE];

	assert_true(sim->tail - sim->head < SIM_QUEUE);
	m->msg = msg;
	m->ct = entry_of(&t, sim->id[i]);
}

static void sim_change(struct sim *sim)
{
	unsigned int i = pick(sim, SIM_FLOWS);

	if (!sim->id[i]) {
		sim->id[i] = ++sim->last_id;
		sim_emit(sim, FW_CT_NEW, i);
	} else if (pick(sim, 3)) {
		sim_emit(sim, FW_CT_DESTROYED, i);
		sim->id[i] = 0;
	} else {
		sim_emit(sim, FW_CT_UPDATED, i);
	}
}

static void sim_read_event(struct sim *sim)
{
	struct message *m;

	if (sim->head == sim->tail)
		return;
	m = &sim->queue[sim->head++ % SIM_QUEUE];
	say(sim->tab, m->msg, &m->ct);
}

static void sim_build(struct sim *sim)
{
	struct fw_tuple t;
	size_t i;

	sim->piece_n = 0;
	for (i = 0; i < SIM_PIECE && sim->pos < SIM_FLOWS; i++, sim->pos++) {
		if (!sim->id[sim->pos])
			continue;
		t = tuple(IPPROTO_UDP, (uint16_t)sim->pos);
		sim->piece[sim->piece_n++] = entry_of(&t, sim->id[sim->pos]);
	}
}

static void sim_compare(struct sim *sim)
{
	struct fw_flow flow;
	struct fw_tuple t;
	unsigned int i;
	size_t n = 0;

	for (i = 0; i < SIM_FLOWS; i++) {
		t = tuple(IPPROTO_UDP, (uint16_t)i);
		assert_int_equal(is_shown(sim->tab, &t, T0, &flow),
				 sim->id[i] != 0);
		if (sim->id[i])
			assert_int_equal(flow.ct_id, sim->id[i]);
		n += sim->id[i] != 0;
	}
	assert_int_equal(fw_flowtab_count(sim->tab), n);
	check_census(sim->tab);
}

/* Like the kernel: reading a piece makes it build the next one. */
static void sim_dump(struct sim *sim)
{
	size_t i;

	if (!sim->is_dumping) {
		fw_flowtab_begin(sim->tab, T0);
		sim->is_dumping = true;
		sim->pos = 0;
		sim_build(sim);
		return;
	}
	for (i = 0; i < sim->piece_n; i++)
		say(sim->tab, FW_CT_DUMPED, &sim->piece[i]);
	if (sim->pos < SIM_FLOWS) {
		sim_build(sim);
		return;
	}
	while (sim->head != sim->tail)
		sim_read_event(sim);
	fw_flowtab_sweep_begin(sim->tab, FW_SOURCE_CT);
	while (fw_flowtab_sweep_some(sim->tab, 64)) {
		sim_change(sim);
		if (pick(sim, 2))
			sim_read_event(sim);
	}
	while (sim->head != sim->tail)
		sim_read_event(sim);
	sim->is_dumping = false;
	sim_compare(sim);
}

static void test_dump_of_a_changing_table(void **state)
{
	static struct sim sim;
	unsigned int i;

	for (unsigned int seed = 1; seed <= 50; seed++) {
		memset(&sim, 0, sizeof(sim));
		sim.tab = fw_flowtab_new();
		assert_non_null(sim.tab);
		sim.random = seed;
		for (i = 0; i < 5000; i++) {
			switch (pick(&sim, 5)) {
			case 0:
			case 1:
				sim_change(&sim);
				break;
			case 2:
			case 3:
				sim_read_event(&sim);
				break;
			default:
				sim_dump(&sim);
				break;
			}
		}
		fw_flowtab_free(sim.tab);
	}
	(void)state;
}

static void count_gone(void *data, const struct fw_entry *entry)
{
	int *n = data;

	assert_false(entry->flags & FW_ENTRY_DEAD);
	(*n)--;
}

/* Told once each: opened and gone make what is there, whoever says so. */
static void test_comings_and_goings(void **state)
{
	struct fw_flowtab *tab = *state;
	struct fw_tuple t = tuple(IPPROTO_TCP, 1), e = echo(2);
	struct fw_event new = record(FW_EVENT_FLOW_NEW, &t, T0);
	struct fw_event end = record(FW_EVENT_FLOW_END, &t, T0);
	struct fw_xflow xflow = { .expires_ns = T0 + S };
	struct fw_ct ct = entry_of(&t, 1);
	int n = 0;

#define MERGE(action)                                            \
	do {                                                     \
		action;                                          \
		n += fw_flowtab_has_new(tab);                    \
		assert_int_equal(n, (int)fw_flowtab_count(tab)); \
	} while (0)

	fw_flowtab_set_gone(tab, count_gone, &n);
	MERGE(tell(tab, &new));
	assert_true(fw_flowtab_has_new(tab));
	MERGE(say(tab, FW_CT_DUMPED, &ct));
	assert_false(fw_flowtab_has_new(tab));
	/* The record of what a dump was first to show, and one of another flow. */
	new.time_ns = T0 + S / 1000;
	MERGE(tell(tab, &new));
	assert_false(fw_flowtab_has_new(tab));
	new.time_ns = T0 + 60 * S;
	MERGE(tell(tab, &new));
	assert_true(fw_flowtab_has_new(tab));
	/* During a dump: ended, made again, ended twice, left to the sweep. */
	fw_flowtab_begin(tab, T0 + 61 * S);
	MERGE(tell(tab, &end));
	assert_int_equal(n, 0);
	ct.id = 2;
	MERGE(say(tab, FW_CT_NEW, &ct));
	ct.id = 3;
	MERGE(say(tab, FW_CT_UPDATED, &ct));
	assert_true(fw_flowtab_has_new(tab));
	MERGE(say(tab, FW_CT_DESTROYED, &ct));
	MERGE(say(tab, FW_CT_DESTROYED, &ct));
	assert_int_equal(n, 0);
	MERGE(assert_int_equal(fw_flowtab_xflow(tab, &e, &xflow), 0));
	MERGE(assert_int_equal(fw_flowtab_xflow(tab, &e, &xflow), 0));
	assert_int_equal(n, 1);
	fw_flowtab_sweep(tab, FW_SOURCE_CT | FW_SOURCE_XFLOW);
	assert_int_equal(n, 1);
	fw_flowtab_begin(tab, T0 + 62 * S);
	fw_flowtab_sweep(tab, FW_SOURCE_CT | FW_SOURCE_XFLOW);
	assert_int_equal(n, 0);
#undef MERGE
}

/* Told once, whoever says so: what people are shown of a flow is another thing. */
static void test_changes_of_state(void **state)
{
	struct fw_flowtab *tab = *state;
	struct fw_tuple t = tuple(IPPROTO_TCP, 1), u = tuple(IPPROTO_UDP, 2);
	struct fw_event event = record(FW_EVENT_FLOW_NEW, &t, T0);
	struct fw_ct ct = entry_of(&u, 1);
	struct fw_flow before = { 0 };

	event.tcp_state = FW_TCP_SYN_SENT;
	tell(tab, &event);
	assert_false(fw_flowtab_has_changed(tab));
	event.type = FW_EVENT_FLOW_STATE;
	event.tcp_state = FW_TCP_ESTABLISHED;
	tell(tab, &event);
	assert_true(fw_flowtab_has_changed(tab));
	fw_flowtab_before(tab, &before);
	assert_int_equal(before.tcp_state, FW_TCP_SYN_SENT);
	assert_false(before.replied || before.assured);
	tell(tab, &event);
	assert_false(fw_flowtab_has_changed(tab));

	ct.status = IPS_CONFIRMED;
	say(tab, FW_CT_NEW, &ct);
	assert_false(fw_flowtab_has_changed(tab));
	ct.timeout_s++; /* of no interest */
	say(tab, FW_CT_UPDATED, &ct);
	assert_false(fw_flowtab_has_changed(tab));
	ct.status |= IPS_SEEN_REPLY;
	say(tab, FW_CT_UPDATED, &ct);
	assert_true(fw_flowtab_has_changed(tab));
	say(tab, FW_CT_DUMPED, &ct);
	assert_false(fw_flowtab_has_changed(tab));
	say(tab, FW_CT_DESTROYED, &ct);
	assert_false(fw_flowtab_has_changed(tab));
	say(tab, FW_CT_NEW, &ct);
	assert_true(fw_flowtab_has_new(tab));
	assert_false(fw_flowtab_has_changed(tab));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
		T(test_grows_and_shrinks),
		T(test_walk_of_a_changing_table),
		T(test_walk_ends),
		T(test_news_during_a_sweep),
		T(test_superseded_sweep),
		T(test_zones_are_apart),
		T(test_census),
		T(test_event_during_dump_survives),
		T(test_destroyed_is_not_revived_by_an_old_piece),
		T(test_successor_with_the_same_tuple),
		T(test_translated_answers),
		T(test_record_and_dump_merge),
		T(test_records_around_a_dump),
		T(test_aborted_dump_removes_nothing),
		T(test_end_record),
		T(test_bpf_flow_is_not_ended_by_its_predecessor),
		T(test_expiry),
		T(test_first_expiry),
		T(test_corrections),
		T(test_judged_before_it_opens),
		T(test_absent_attributes),
		T(test_xflow_alone),
		T(test_xflow_that_the_kernel_tracks_too),
		T(test_flow_info),
		T(test_tcp_state_due),
		T(test_tuple_used_again_by_bpf),
		T(test_tcp_state_shown),
		T(test_orders_of_three_sources),
		T(test_comings_and_goings),
		T(test_changes_of_state),
		T(test_records_are_bounded),
		T(test_dump_of_a_changing_table),
#undef T
	};

	return cmocka_run_group_tests_name("mirror-flowtab", tests, NULL, NULL);
}
