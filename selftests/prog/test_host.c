/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The tables of interfaces and own addresses: every entry is found and nothing
 * else is, at any size; and a table that is replaced under packets never gives
 * one of them a wrong answer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "checksum.h"
#include "harness.h"
#include "kern/host.h"
#include "user/hosttab.h"
#include "user/skel.h"
#include "user/util.h"

#define SELF "192.0.2.1"
#define RULES                   \
	"interface wan = if0\n" \
	"default in drop\n"     \
	"accept stateless in on wan proto udp to self port 53\n"

static struct harness h;

static uint32_t rnd(void)
{
	static uint64_t x = 88172645463325252u;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (uint32_t)(x >> 16);
}

/* ---- layout --------------------------------------------------------------- */

static const size_t sizes[] = { 0, 1, 2, 3, 4, 5, 7, 8, 9, 63, 64, 65, 1000 };

/* Neighbours, as hosts have them, of both families. */
static struct fw_addr address(uint32_t i)
{
	struct fw_addr v4 = { .w = { 0, 0, htonl(0xffff),
				     htonl(0x0a000000 + i / 2) } };
	struct fw_addr v6 = { .w = { htonl(0x20010db8), 0, htonl(i / 2), 1 } };

	return i % 2 ? v4 : v6;
}

/* As the programs look. */
static uint32_t look(const struct fw_addr *addr)
{
	const struct fw_host *host = &h.skel->bss->host;
	const struct fw_self_table *t = &host->selves[host->self_pick];
	_Alignas(8) struct fw_addr key = *addr;

	if (!(key.w[0] | key.w[1]) && key.w[2] == htonl(0xffff))
		return self4_find(&t->v4, key.w[3]);
	return self6_find(&t->v6, &key);
}

typedef struct fw_addr (*address_fn)(uint32_t i);

static void check_selves(address_fn make, size_t n)
{
	_cleanup_free_ struct fw_self_entry *entries = NULL, *back = NULL;
	struct fw_addr addr;
	size_t n_back;

	entries = calloc(n + 1, sizeof(*entries));
	assert_non_null(entries);
	for (uint32_t i = 0; i < n; i++)
		entries[i] = (struct fw_self_entry){ make(i), 1 + i % 3 };
	assert_int_equal(fw_hosttab_put_selves(h.tables, entries, n), 0);
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(look(&entries[i].addr), 1 + i % 3);
	for (uint32_t i = 0; i < 10000; i++) {
		addr = address(100000 + i);
		assert_int_equal(look(&addr), 0);
	}
	addr = (struct fw_addr){ 0 };
	assert_int_equal(look(&addr), 0);
	addr.w[2] = htonl(0xffff);
	assert_int_equal(look(&addr), 0);
	assert_int_equal(fw_hosttab_get_selves(h.tables, &back, &n_back), 0);
	assert_int_equal(n_back, n);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(look(&back[i].addr), back[i].flags);
}

static void own_addresses_are_found(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		check_selves(address, sizes[i]);
	check_selves(address, FW_MAX_SELF);
}

/* A router: the first address of each of many networks, by either byte order. */
static struct fw_addr router(uint32_t i)
{
	return (struct fw_addr){ .w = { htonl(0x20010db8), htonl(i), 0,
					htonl(1) } };
}

/* As many networks as hosts in each, so that sums of their numbers are equal. */
static struct fw_addr grid(uint32_t i)
{
	return (struct fw_addr){ .w = { htonl(0x20010db8), htonl(i / 64), 0,
					htonl(i % 64) } };
}

/* The same in the bytes that a multiplication spreads least. */
static struct fw_addr far_grid(uint32_t i)
{
	return (struct fw_addr){ .w = { htonl((i / 64 + 1) << 24), 0, 0,
					htonl(i % 64) } };
}

static struct fw_addr one_host_number(uint32_t i)
{
	return (struct fw_addr){ .w = { 0, 0, htonl(0xffff),
					htonl(i << 20 | 1) } };
}

static struct fw_addr any_network(uint32_t i)
{
	return (struct fw_addr){ .w = { i + 1, i * 77, 0, 0 } };
}

static struct fw_addr same_ends(uint32_t i)
{
	return (struct fw_addr){ .w = { 1, i, i, 1 } };
}

static void hostile_addresses_are_found(void **state)
{
	static const address_fn makers[] = {
		router, grid, far_grid, one_host_number, any_network, same_ends,
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(makers); i++) {
		check_selves(makers[i], 17);
		check_selves(makers[i], FW_MAX_SELF);
	}
}

/* The table of a generation, as the programs see it. */
static const struct fw_iface_table *table_of(uint32_t gen)
{
	const struct fw_host *host = &h.skel->bss->host;
	uint32_t picked = host->iface_pick[gen % FW_HOST_PICKS];

	return &host->ifaces[picked];
}

static void check_ifaces(size_t n)
{
	_cleanup_free_ struct fw_iface_entry *entries = NULL, *back = NULL;
	const struct fw_iface *found;
	size_t n_back;

	entries = calloc(n + 1, sizeof(*entries));
	assert_non_null(entries);
	for (uint32_t i = 0; i < n; i++) {
		entries[i].key.ifindex = 1 + i / 4;
		entries[i].key.vlan = (uint16_t)(i % 4 * 100);
		entries[i].value.ifindex = i;
	}
	assert_int_equal(fw_hosttab_put_ifaces(h.tables, 77, 77, entries, n),
			 0);
	assert_int_equal(table_of(77)->gen, 77);
	for (uint32_t i = 0; i < n; i++) {
		found = iface_find(table_of(77), 1 + i / 4,
				   (uint16_t)(i % 4 * 100));
		assert_true(found && found->ifindex == i);
	}
	for (uint32_t i = 0; i < 10000; i++) {
		assert_null(iface_find(table_of(77), 1 + i / 4, 1));
		assert_null(iface_find(table_of(77), (uint32_t)n + 4 + i, 0));
	}
	assert_int_equal(fw_hosttab_get_ifaces(h.tables, 77, &back, &n_back),
			 0);
	assert_int_equal(n_back, n);
	for (size_t i = 0; i < n; i++) {
		found = iface_find(table_of(77), back[i].key.ifindex,
				   back[i].key.vlan);
		assert_true(found && found->ifindex == back[i].value.ifindex);
	}
}

static void interfaces_are_found(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		check_ifaces(sizes[i]);
	check_ifaces(FW_MAX_IFACES);
}

/* Whoever has looked into the table before looks again. */
static void other_interfaces_are_an_epoch(void **state)
{
	const struct fw_host *host = &h.skel->bss->host;
	const struct fw_iface_entry entry = { .key = { .ifindex = 5 } };
	uint32_t epoch;

	(void)state;
	for (size_t n = 0; n < 3; n++) {
		epoch = host->iface_epoch;
		assert_int_equal(
			fw_hosttab_put_ifaces(h.tables, 77, 77, &entry, n % 2),
			0);
		assert_int_not_equal(host->iface_epoch, epoch);
	}
}

static void put_one_iface(uint32_t running, uint32_t gen, uint32_t ifindex)
{
	const struct fw_iface_entry entry = { .key = { .ifindex = ifindex } };

	assert_int_equal(
		fw_hosttab_put_ifaces(h.tables, running, gen, &entry, 1), 0);
}

static void expect_iface(uint32_t gen, uint32_t ifindex)
{
	const struct fw_iface_table *t = table_of(gen);

	assert_int_equal(t->gen, gen);
	assert_non_null(iface_find(t, ifindex, 0));
}

/* That of the running generation, whichever of both it is, is left alone. */
static void two_generations_have_tables(void **state)
{
	_cleanup_free_ struct fw_iface_entry *back = NULL;
	uint32_t next;
	size_t n;

	(void)state;
	put_one_iface(0, 1, 1);
	for (uint32_t gen = 1; gen <= FW_MARK_GEN_MAX; gen++) {
		next = gen % FW_MARK_GEN_MAX + 1;
		if (gen < 8 || gen == FW_MARK_GEN_MAX) {
			put_one_iface(gen, gen, 1000 + gen);
			expect_iface(gen, 1000 + gen);
			/* a load that fails, and one that was expected */
			put_one_iface(gen, next, 2000 + next);
			assert_int_equal(fw_hosttab_settle(h.tables), 0);
			put_one_iface(gen, gen, 3000 + gen);
			put_one_iface(gen, next, next);
			expect_iface(gen, 3000 + gen);
			expect_iface(next, next);
		} else if (gen < FW_MARK_GEN_MAX - 1) {
			gen = FW_MARK_GEN_MAX - 1;
			put_one_iface(0, FW_MARK_GEN_MAX, 1);
		}
	}
	assert_int_equal(fw_hosttab_get_ifaces(h.tables, 0, &back, &n),
			 -ENOENT);
	assert_int_equal(fw_hosttab_get_ifaces(h.tables, 9, &back, &n),
			 -ENOENT);
}

/* Refused, and what was there stays. */
static void what_does_not_fit_is_refused(void **state)
{
	_cleanup_free_ struct fw_self_entry *entries = NULL, *back = NULL;
	size_t n;

	(void)state;
	check_selves(address, 7);
	entries = calloc(FW_MAX_SELF + 1, sizeof(*entries));
	assert_non_null(entries);
	for (uint32_t i = 0; i <= FW_MAX_SELF; i++)
		entries[i] = (struct fw_self_entry){ address(i), 1 };
	assert_int_equal(
		fw_hosttab_put_selves(h.tables, entries, FW_MAX_SELF + 1),
		-E2BIG);
	entries[1] = entries[0];
	assert_int_equal(fw_hosttab_put_selves(h.tables, entries, 2), -EEXIST);
	assert_int_equal(fw_hosttab_get_selves(h.tables, &back, &n), 0);
	assert_int_equal(n, 7);
}

/* ---- replaced under packets ------------------------------------------------- */

#define SECONDS 3

static volatile bool is_over;

struct reader {
	pthread_t thread;
	const char *src;
	uint32_t n_runs, n_wrong;
	uint32_t wanted; /* what the program has to return */
	int repeat;	 /* in one system call; 0: once */
};

static void make_frame(uint8_t frame[60], const char *src)
{
	static const uint8_t start[] = {
		2,    0, 0, 0,	0, 1, 2, 0, 0,	0,  0, 2, 8, 0, /* Ethernet */
		0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0,	/* IPv4 */
	};
	const uint8_t udp[] = { 0x10, 0, 0, 53, 0, 26, 0, 0 };

	memset(frame, 0, 60);
	memcpy(frame, start, sizeof(start));
	(void)inet_pton(AF_INET, src, frame + 26);
	(void)inet_pton(AF_INET, SELF, frame + 30);
	put_ip_checksum(frame + 14);
	memcpy(frame + 34, udp, sizeof(udp));
}

static void *read_tables(void *data)
{
	struct reader *reader = data;
	struct xdp_md xdp = { .data_end = 60, .ingress_ifindex = h.ifindex[0] };
	uint8_t frame[60];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame,
		    .data_size_in = sizeof(frame), .ctx_in = &xdp,
		    .ctx_size_in = sizeof(xdp), .repeat = reader->repeat);
	int fd = bpf_program__fd(h.skel->progs.fw_xdp);

	make_frame(frame, reader->src);
	while (!is_over) {
		if (bpf_prog_test_run_opts(fd, &opts) ||
		    opts.retval != reader->wanted)
			reader->n_wrong++;
		reader->n_runs++;
		opts.ctx_size_in = sizeof(xdp);
	}
	return NULL;
}

/* Tables of any size in which the one entry that counts is never missing. */
static void rewrite_tables(void)
{
	struct fw_iface_entry ifaces[200] = { 0 };
	struct fw_self_entry selves[200] = { 0 };
	size_t n = 1 + rnd() % 199;

	for (uint32_t i = 0; i < n; i++) {
		ifaces[i].key.ifindex = 1000 + i;
		ifaces[i].value.zones = rnd();
		selves[i] = (struct fw_self_entry){ address(rnd() << 8 | i),
						    FW_SELF_BROADCAST };
	}
	ifaces[n - 1].key.ifindex = h.ifindex[0];
	ifaces[n - 1].value = (struct fw_iface){
		.zones = 1,
		.ifindex = h.ifindex[0],
		.slot = 1,
	};
	selves[n - 1] = h.selves[0];
	assert_int_equal(
		fw_hosttab_put_ifaces(h.tables, h.gen, h.gen, ifaces, n), 0);
	assert_int_equal(fw_hosttab_put_selves(h.tables, selves, n), 0);
}

static void no_packet_meets_half_a_table(void **state)
{
	/* 2: XDP_PASS, 1: XDP_DROP */
	struct reader readers[] = {
		{ .src = "198.51.100.9", .wanted = 2 },
		{ .src = SELF, .wanted = 1 },
		{ .src = "198.51.100.77", .wanted = 2 },
	};
	time_t end = time(NULL) + SECONDS;
	unsigned int n = 0;

	(void)state;
	assert_int_equal(harness_rules(&h, RULES), 0);
	harness_self(&h, SELF, FW_SELF_ADDRESS);
	for (size_t i = 0; i < ARRAY_SIZE(readers); i++)
		assert_int_equal(pthread_create(&readers[i].thread, NULL,
						read_tables, &readers[i]),
				 0);
	for (; time(NULL) < end; n++)
		rewrite_tables();
	is_over = true;
	for (size_t i = 0; i < ARRAY_SIZE(readers); i++)
		(void)pthread_join(readers[i].thread, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(readers); i++) {
		assert_int_equal(readers[i].n_wrong, 0);
		assert_true(readers[i].n_runs > 100);
	}
	print_message("%u tables under %u packets\n", n,
		      readers[0].n_runs + readers[1].n_runs +
			      readers[2].n_runs);
	assert_true(n > 10);
}

/* ---- somebody begins to watch under packets ---------------------------------- */

struct seen {
	uint32_t n, n_blank;
};

static int see_record(void *data, void *record, size_t size)
{
	const struct fw_event *event = record;
	struct seen *seen = data;

	assert_true(size >= sizeof(*event));
	seen->n++;
	seen->n_blank += !event->tuple.family || !event->tuple.dport;
	return 0;
}

/* XDP has judged by what it needed, and learned no more: nobody is shown that. */
static void who_begins_to_watch_sees_whole_packets(void **state)
{
	struct reader reader = { .src = "198.51.100.9",
				 .wanted = 1,
				 .repeat = 1000 };
	int fd = bpf_map__fd(h.skel->maps.events);
	struct ring_buffer *ring;
	struct seen seen = { 0 };
	time_t end = time(NULL) + SECONDS, latest = end + 60;

	(void)state;
	assert_int_equal(
		harness_rules(
			&h, "interface wan = if0\n"
			    "drop stateless in on wan proto udp to port 53\n"),
		0);
	ring = ring_buffer__new(fd, see_record, &seen, NULL);
	assert_non_null(ring);
	is_over = false;
	assert_int_equal(
		pthread_create(&reader.thread, NULL, read_tables, &reader), 0);
	while (time(NULL) < end) {
		fw_hosttab_watch(h.tables, FW_WATCH_DROPS, FW_WATCH_DROPS);
		if (!seen.n) /* the other one may need our processor */
			(void)sched_yield();
		fw_hosttab_watch(h.tables, FW_WATCH_DROPS, 0);
		assert_true(ring_buffer__consume(ring) >= 0);
		if (!seen.n && end < latest)
			end = time(NULL) + SECONDS;
	}
	is_over = true;
	(void)pthread_join(reader.thread, NULL);
	assert_true(ring_buffer__consume(ring) >= 0);
	ring_buffer__free(ring);
	print_message("%u records of %u packets, %u blank\n", seen.n,
		      reader.n_runs, seen.n_blank);
	assert_int_equal(reader.n_wrong, 0);
	assert_int_equal(seen.n_blank, 0);
	assert_true(seen.n > 0);
}

/* ---- missing ------------------------------------------------------------------ */

static void expect_reason(enum fw_reason reason)
{
	uint8_t frame[60];

	make_frame(frame, "198.51.100.9");
	for (int hook = 0; hook < FW_HOOK_MAX; hook++) {
		struct outcome outcome;

		assert_int_equal(harness_run(&h, (enum fw_hook)hook, 1, -1,
					     frame, sizeof(frame), &outcome),
				 0);
		assert_int_equal(outcome.n_reasons, 1);
		assert_int_equal(outcome.reason, reason);
		assert_int_equal(outcome.drop, fw_reason_is_drop(reason));
	}
}

/* Which interfaces there are is not known: none of them is open. */
static void without_tables_nothing_passes(void **state)
{
	(void)state;
	assert_int_equal(harness_rules(&h, RULES), 0);
	expect_reason(FW_REASON_UNCOVERED); /* by if1, not in the rules */
	for (size_t i = 0; i < FW_HOST_TABLES; i++)
		h.skel->bss->host.ifaces[i].gen = 0;
	expect_reason(FW_REASON_DROP_INTERNAL);
	assert_int_equal(harness_rules(&h, RULES), 0);
	expect_reason(FW_REASON_UNCOVERED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(own_addresses_are_found),
		cmocka_unit_test(hostile_addresses_are_found),
		cmocka_unit_test(interfaces_are_found),
		cmocka_unit_test(other_interfaces_are_an_epoch),
		cmocka_unit_test(two_generations_have_tables),
		cmocka_unit_test(what_does_not_fit_is_refused),
		cmocka_unit_test(no_packet_meets_half_a_table),
		cmocka_unit_test(who_begins_to_watch_sees_whole_packets),
		cmocka_unit_test(without_tables_nothing_passes),
	};

	harness_init(&h);
	return cmocka_run_group_tests_name("host", tests, NULL, NULL);
}
