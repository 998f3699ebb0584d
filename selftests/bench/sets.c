/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * What a lookup in a set of addresses costs in a program, beside maps of the
 * kernel: nanoseconds net of the same program without a lookup, each lookup
 * waiting for the one before it, over the whole set.
 *
 * Usage: bench_sets [--quick] [--max N] [--only SHAPE] [--no-peers]
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "kern/image.h"
#include "rules/addrset.h"
#include "rules/mem.h"
#include "rules/ranges.h"
#include "selftests/bench/sets.h"
#include "selftests/bench/sets_skel.h"

/* Inserts into a map of the kernel by one call. */
#define BATCH 4096

static unsigned repeat = BENCH_KEYS / BENCH_STEPS; /* runs: each key once */
static unsigned trials = 20;
static size_t max_size = 1000000;
static const char *only = ""; /* shapes with this in their name */
static bool has_peers = true;

static uint64_t seed = 42;

static uint64_t rnd(void)
{
	uint64_t z = seed += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static unsigned below(unsigned n)
{
	return (unsigned)(rnd() % n);
}

static void die(const char *what)
{
	fprintf(stderr, "bench_sets: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* ---- sets ------------------------------------------------------------------ */

struct prefix {
	struct fw_u128 addr; /* IPv4 in `lo` */
	unsigned len;
	bool is_v4;
};

/* Spread over all addresses, like a list of hosts from everywhere. */
static struct prefix v4_hosts(size_t i)
{
	(void)i;
	return (struct prefix){ { 0, rnd() >> 32 }, 32, true };
}

/* In networks of 256 addresses, some 30 in each. */
static struct prefix v4_clusters(size_t i)
{
	static uint64_t net;

	if (i % 30 == 0)
		net = rnd() >> 40 << 8;
	return (struct prefix){ { 0, net | below(256) }, 32, true };
}

/* Of each length from 8 on, but none covers much more than a 1024th of all. */
static struct prefix v4_mixed(size_t i)
{
	unsigned len = 8 + (unsigned)(i % 25);
	uint64_t addr = rnd() >> 32;

	if (i / 25 > 1ull << len >> 10)
		len = 24 + below(9);
	return (struct prefix){ { 0, addr >> (32 - len) << (32 - len) },
				len,
				true };
}

/* What providers have: 20,000 blocks of /32 in few regions, split. */
static struct fw_u128 v6_block(void)
{
	static const uint16_t regions[] = { 0x2001, 0x2400, 0x2404, 0x2600,
					    0x2604, 0x2800, 0x2a00, 0x2a01,
					    0x2a02, 0x2a03, 0x2a0e };
	const uint64_t region = regions[below(ARRAY_SIZE(regions))];
	const uint64_t block = below(1800) * 36u;

	return (struct fw_u128){ region << 48 | block << 32 | rnd() >> 32,
				 rnd() };
}

static struct prefix v6_cut(struct fw_u128 a, unsigned len)
{
	if (len <= 64)
		a = (struct fw_u128){ a.hi >> (64 - len) << (64 - len), 0 };
	return (struct prefix){ a, len, false };
}

static struct prefix v6_mixed(size_t i)
{
	static const unsigned lens[] = { 40, 44, 48, 48, 48, 52, 56,
					 56, 64, 64, 64, 64, 64 };

	return v6_cut(v6_block(),
		      i % 1000 ? lens[below(ARRAY_SIZE(lens))] : 32);
}

static struct prefix v6_nets(size_t i)
{
	(void)i;
	return v6_cut((struct fw_u128){ rnd() >> 3 | 1ull << 61, 0 }, 64);
}

static struct prefix v6_hosts(size_t i)
{
	(void)i;
	return v6_cut(v6_block(), 128);
}

static struct prefix both_mixed(size_t i)
{
	return i % 2 ? v6_mixed(i / 2) : v4_mixed(i / 2);
}

struct shape {
	const char *name;
	struct prefix (*make)(size_t i);
	bool is_hosts; /* a hash can hold it */
};

static const struct shape shapes[] = {
	{ "IPv4 hosts", v4_hosts, true },
	{ "IPv4 clusters", v4_clusters, true },
	{ "IPv4 /8../32", v4_mixed, false },
	{ "IPv6 /32../64", v6_mixed, false },
	{ "IPv6 /64", v6_nets, false },
	{ "IPv6 hosts", v6_hosts, true },
	{ "both, mixed", both_mixed, false },
};

/* A set, built, and the map images of it. */
struct bench {
	const struct shape *shape;
	size_t n;
	struct prefix *prefixes;
	struct fw_ir_set set;
	struct fw_bytes bytes;
	uint32_t off;
	double build_ms;
	size_t image_size; /* of the set alone */
	struct sets_bpf *skel;
};

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void add_range(struct bench *b, const struct prefix *p)
{
	struct fw_u128 last = p->addr;
	int r;

	if (p->is_v4)
		last.lo |= (1ull << (32 - p->len)) - 1;
	else if (p->len <= 64)
		last = (struct fw_u128){
			last.hi | (p->len < 64 ? UINT64_MAX >> p->len : 0),
			UINT64_MAX
		};
	r = fw_ranges_add(p->is_v4 ? &b->set.v4 : &b->set.v6, p->addr, last);
	if (r < 0)
		die("out of memory");
}

static void make_set(struct bench *b)
{
	double start;
	size_t i;

	b->prefixes = calloc(b->n, sizeof(*b->prefixes));
	if (!b->prefixes)
		die("out of memory");
	for (i = 0; i < b->n; i++) {
		b->prefixes[i] = b->shape->make(i);
		add_range(b, &b->prefixes[i]);
	}
	fw_ranges_merge(&b->set.v4);
	fw_ranges_merge(&b->set.v6);
	start = now_ms();
	errno = -fw_addrset_build(&b->set, &b->bytes, &b->off);
	if (errno)
		die("cannot build the set");
	b->build_ms = now_ms() - start;
	b->image_size = b->bytes.size - b->off;
}

/* ---- keys -------------------------------------------------------------------- */

static struct fw_u128 random_between(struct fw_u128 first, struct fw_u128 last)
{
	unsigned __int128 a = (unsigned __int128)first.hi << 64 | first.lo;
	unsigned __int128 z = (unsigned __int128)last.hi << 64 | last.lo;
	unsigned __int128 v = (unsigned __int128)rnd() << 64 | rnd();

	if (z - a + 1)
		v %= z - a + 1;
	v += a;
	return (struct fw_u128){ (uint64_t)(v >> 64), (uint64_t)v };
}

/* A member, or an address in the gap behind one. */
static struct fw_u128 random_address(const struct fw_ranges *ranges, bool hit)
{
	const struct fw_range *r = &ranges->r[rnd() % ranges->n];
	struct fw_u128 a = { r->first_hi, r->first_lo };
	struct fw_u128 z = { r->last_hi, r->last_lo };

	if (hit)
		return random_between(a, z);
	if (r + 1 < ranges->r + ranges->n) {
		a = (struct fw_u128){ z.hi + (z.lo == UINT64_MAX), z.lo + 1 };
		z = (struct fw_u128){ r[1].first_hi - !r[1].first_lo,
				      r[1].first_lo - 1 };
		return random_between(a, z);
	}
	return (struct fw_u128){ 0, 1 };
}

static void to_key(bool is_v4, struct fw_u128 v, struct fw_addr *ret)
{
	const uint64_t hi = __builtin_bswap64(is_v4 ? 0 : v.hi);
	const uint64_t lo =
		__builtin_bswap64(is_v4 ? v.lo | 0xffffull << 32 : v.lo);

	memcpy(ret->w, &hi, 8);
	memcpy(ret->w + 2, &lo, 8);
}

/* Say how many of them are members. */
static uint32_t make_keys(const struct bench *b, bool hit)
{
	struct bench_keys *keys = calloc(1, sizeof(*keys));
	uint32_t i, members = 0, zero = 0;

	if (!keys)
		die("out of memory");
	for (i = 0; i < BENCH_KEYS; i++) {
		const bool is_v4 = !b->set.v6.n || (b->set.v4.n && rnd() % 2);
		const struct fw_ranges *ranges =
			is_v4 ? &b->set.v4 : &b->set.v6;
		const struct fw_u128 v = random_address(ranges, hit);

		members += fw_ranges_has(ranges, v);
		to_key(is_v4, v, &keys->addr[i]);
	}
	if (bpf_map__update_elem(b->skel->maps.keys, &zero, sizeof(zero), keys,
				 sizeof(*keys), 0) < 0)
		die("cannot write the keys");
	free(keys);
	return members;
}

/* ---- programs ------------------------------------------------------------------ */

static void open_programs(struct bench *b)
{
	struct sets_bpf *skel = sets_bpf__open();
	size_t size = 4096;
	uint32_t n[2], i;

	if (!skel)
		die("cannot open the programs");
	while (size < b->bytes.size)
		size *= 2;
	n[0] = n[1] = 1;
	for (i = 0; i < b->n; i++)
		n[b->prefixes[i].is_v4]++;
	bpf_map__set_value_size(skel->maps.image,
				(uint32_t)size + FW_IMAGE_SLACK);
	bpf_map__set_max_entries(skel->maps.lpm4, n[1]);
	bpf_map__set_max_entries(skel->maps.lpm6, n[0]);
	if (b->shape->is_hosts) {
		bpf_map__set_max_entries(skel->maps.hash4, n[1]);
		bpf_map__set_max_entries(skel->maps.hash6, n[0]);
	}
	skel->rodata->fw_image_mask = (uint32_t)size - 1;
	skel->rodata->set_off = b->off;
	if (sets_bpf__load(skel) < 0)
		die("cannot load the programs");
	b->skel = skel;
}

static void write_image(struct bench *b)
{
	const size_t size = bpf_map__value_size(b->skel->maps.image);
	unsigned char *value = calloc(1, size);
	uint32_t zero = 0;

	if (!value)
		die("out of memory");
	memcpy(value, b->bytes.data, b->bytes.size);
	if (bpf_map__update_elem(b->skel->maps.image, &zero, sizeof(zero),
				 value, size, 0) < 0)
		die("cannot write the image");
	free(value);
}

struct batch {
	const struct bpf_map *map;
	uint32_t n;
	size_t key_size;
	unsigned char *keys, *values;
};

static void flush(struct batch *batch)
{
	uint32_t n = batch->n;

	if (n && bpf_map_update_batch(bpf_map__fd(batch->map), batch->keys,
				      batch->values, &n, NULL) < 0)
		die("cannot fill a map");
	batch->n = 0;
}

static unsigned char *next(struct batch *batch)
{
	if (batch->n == BATCH)
		flush(batch);
	return batch->keys + batch->n++ * batch->key_size;
}

/* Fill the map of one family; `is_lpm`: keys begin with the length. */
static double fill(const struct bench *b, const struct bpf_map *map, bool is_v4,
		   bool is_lpm)
{
	struct batch batch = { .map = map, .key_size = bpf_map__key_size(map) };
	const double start = now_ms();
	size_t i;

	batch.keys = calloc(BATCH, batch.key_size);
	batch.values = calloc(BATCH, bpf_map__value_size(map));
	if (!batch.keys || !batch.values)
		die("out of memory");
	for (i = 0; i < b->n; i++) {
		const struct prefix *p = &b->prefixes[i];
		const uint32_t len = p->len;
		struct fw_addr addr;
		unsigned char *key;

		if (p->is_v4 != is_v4)
			continue;
		to_key(is_v4, p->addr, &addr);
		key = next(&batch);
		if (is_lpm)
			memcpy(key, &len, sizeof(len));
		memcpy(key + (is_lpm ? sizeof(len) : 0),
		       is_v4 ? &addr.w[3] : addr.w, is_v4 ? 4 : 16);
	}
	flush(&batch);
	free(batch.keys);
	free(batch.values);
	return now_ms() - start;
}

static void fill_peers(const struct bench *b, double *ret_lpm_ms,
		       double *ret_hash_ms)
{
	*ret_lpm_ms = fill(b, b->skel->maps.lpm4, true, true) +
		      fill(b, b->skel->maps.lpm6, false, true);
	if (b->shape->is_hosts)
		*ret_hash_ms = fill(b, b->skel->maps.hash4, true, false) +
			       fill(b, b->skel->maps.hash6, false, false);
}

/* ---- figures --------------------------------------------------------------------- */

/* Nanoseconds a lookup, the least of some trials; `members` is checked. */
static double measure(const struct bench *b, const struct bpf_program *program,
		      uint32_t members)
{
	unsigned char frame[64] = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame,
		    .data_size_in = sizeof(frame),
		    .repeat = BENCH_KEYS / BENCH_STEPS);
	double best = 0, ns;
	unsigned i;

	for (i = 0; i <= trials; i++) {
		b->skel->bss->at = 0;
		b->skel->bss->hits = 0;
		if (bpf_prog_test_run_opts(bpf_program__fd(program), &opts) < 0)
			die("cannot run a program");
		ns = opts.duration / (double)BENCH_STEPS;
		if (i == 0) { /* each key once: also warms up */
			if (members != UINT32_MAX &&
			    b->skel->bss->hits != members) {
				errno = EBADMSG;
				die(bpf_program__name(program));
			}
			opts.repeat = (int)repeat;
		} else if (best == 0 || ns < best) {
			best = ns;
		}
	}
	return best;
}

struct row {
	double set, lpm, hash;
};

static struct row measure_all(struct bench *b, bool hit)
{
	const uint32_t members = make_keys(b, hit);
	const double empty = measure(b, b->skel->progs.empty, UINT32_MAX);
	struct row row = { 0 };

	row.set = measure(b, b->skel->progs.set, members) - empty;
	if (!has_peers)
		return row;
	row.lpm = measure(b, b->skel->progs.lpm, members) - empty;
	if (b->shape->is_hosts)
		row.hash = measure(b, b->skel->progs.hash, members) - empty;
	return row;
}

static void run(const struct shape *shape, size_t n)
{
	struct bench b = { .shape = shape, .n = n };
	double lpm_ms = 0, hash_ms = 0;
	struct row hit, miss;

	make_set(&b);
	open_programs(&b);
	write_image(&b);
	if (has_peers)
		fill_peers(&b, &lpm_ms, &hash_ms);
	hit = measure_all(&b, true);
	miss = measure_all(&b, false);
	printf("%-14s %8zu %8zu %6.1f %6.1f %9.2f", shape->name, n,
	       b.image_size >> 10, hit.set, miss.set, b.build_ms);
	if (has_peers)
		printf(" %7.1f %7.1f %8.0f", hit.lpm, miss.lpm, lpm_ms);
	if (has_peers && shape->is_hosts)
		printf(" %6.1f %6.1f %8.0f", hit.hash, miss.hash, hash_ms);
	putchar('\n');
	fflush(stdout);
	sets_bpf__destroy(b.skel);
	fw_bytes_done(&b.bytes);
	fw_ranges_done(&b.set.v4);
	fw_ranges_done(&b.set.v6);
	free(b.prefixes);
}

static const struct option options[] = {
	{ "quick", no_argument, NULL, 'q' },
	{ "max", required_argument, NULL, 'm' },
	{ "only", required_argument, NULL, 'o' },
	{ "no-peers", no_argument, NULL, 'n' },
	{ 0 },
};

int main(int argc, char **argv)
{
	static const size_t sizes[] = { 1, 10, 1000, 100000, 1000000 };
	size_t i, k;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'q') {
			max_size = 1000;
			repeat = 64;
			trials = 1;
		} else if (c == 'm') {
			max_size = strtoul(optarg, NULL, 10);
		} else if (c == 'o') {
			only = optarg;
		} else if (c == 'n') {
			has_peers = false;
		} else {
			return 2;
		}
	}
	printf("ns a lookup, net of an empty program; ms to build or fill\n");
	printf("set             entries      KiB    hit   miss        ms%s\n",
	       has_peers ? " LPM hit    miss       ms   HASH   miss       ms"
			 : "");
	for (i = 0; i < ARRAY_SIZE(shapes); i++) {
		for (k = 0; k < ARRAY_SIZE(sizes); k++) {
			if (sizes[k] <= max_size &&
			    strstr(shapes[i].name, only))
				run(&shapes[i], sizes[k]);
		}
	}
	return 0;
}
