/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Sets of addresses as programs in the kernel search them, by the very code that
 * they run, against fw_ranges_has(): at every boundary, before it and behind it.
 *
 * The linker sends realloc() here (-Wl,--wrap): memory that runs out.
 */
#include "rules/addrset.h"

#include <stdlib.h>

#include "kern/addrset.h"
#include "rules/addrhash.h"
#include "rules/mem.h"
#include "rules/ranges.h"
#include "rules_helper.h"

void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);

__u32 fw_image_mask = UINT32_MAX;

static long countdown = -1; /* allocations until one fails; -1: none does */

void *__wrap_realloc(void *p, size_t size)
{
	if (countdown >= 0 && countdown-- == 0)
		return NULL;
	return __real_realloc(p, size);
}

static uint64_t seed = 1;

static uint64_t rnd(void)
{
	uint64_t z = seed += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* A number below n. */
static unsigned below(unsigned n)
{
	return (unsigned)(rnd() % n);
}

/* A number up to n, most often near it. */
static unsigned most(unsigned n)
{
	const unsigned a = below(n + 1), b = below(n + 1);

	return a > b ? a : b;
}

/* A set, what was built of it, and what surrounds it in the image. */
struct fixture {
	struct fw_ir_set set;
	struct fw_bytes bytes;
	uint32_t off;
};

static void set_address(struct fw_key *key, bool dst, bool is_v4,
			struct fw_u128 v)
{
	const uint64_t hi = __builtin_bswap64(v.hi);
	const uint64_t lo = __builtin_bswap64(v.lo);
	struct fw_addr *a = dst ? &key->daddr : &key->saddr;

	key->family = is_v4 ? FW_AF_IPV4 : FW_AF_IPV6;
	if (is_v4) {
		a->w[3] = __builtin_bswap32((uint32_t)v.lo);
		a->w[2] = 0xffff0000;
		return;
	}
	memcpy(a->w, &hi, 8);
	memcpy(a->w + 2, &lo, 8);
}

static bool has(const struct fixture *f, bool is_v4, struct fw_u128 v)
{
	const bool dst = rnd() & 1;
	struct fw_key key = { 0 };
	bool answer;

	/* The other address must not matter. */
	memset(&key.saddr, (int)rnd(), sizeof(key.saddr));
	key.daddr = key.saddr;
	set_address(&key, dst, is_v4, v);
	answer = addrset_has(f->bytes.data, f->off, &key, dst);
	return answer;
}

static void check_at(const struct fixture *f, bool is_v4, struct fw_u128 v)
{
	const struct fw_ranges *ranges = is_v4 ? &f->set.v4 : &f->set.v6;
	bool want;

	if (is_v4) {
		v.hi = 0;
		v.lo &= UINT32_MAX;
	}
	want = fw_ranges_has(ranges, v);
	if (has(f, is_v4, v) == want)
		return;
	fail_msg("%s %016llx:%016llx: not %s", is_v4 ? "v4" : "v6",
		 (unsigned long long)v.hi, (unsigned long long)v.lo,
		 want ? "a member" : "outside");
}

static struct fw_u128 add(struct fw_u128 v, struct fw_u128 more)
{
	v.lo += more.lo;
	v.hi += more.hi + (v.lo < more.lo);
	return v;
}

static void check_around(const struct fixture *f, bool is_v4, struct fw_u128 v)
{
	const struct fw_u128 one = { 0, 1 };
	const struct fw_u128 minus_one = { UINT64_MAX, UINT64_MAX };

	check_at(f, is_v4, v);
	check_at(f, is_v4, add(v, one));
	check_at(f, is_v4, add(v, minus_one));
	if (is_v4)
		return;
	check_at(f, false, (struct fw_u128){ v.hi + 1, v.lo });
	check_at(f, false, (struct fw_u128){ v.hi - 1, v.lo });
	check_at(f, false, (struct fw_u128){ v.hi, v.lo ^ 1ull << 63 });
	check_at(f, false, (struct fw_u128){ v.hi, rnd() });
}

static void check_family(const struct fixture *f, bool is_v4)
{
	const struct fw_ranges *ranges = is_v4 ? &f->set.v4 : &f->set.v6;
	size_t i;

	for (i = 0; i < ranges->n; i++) {
		const struct fw_range *r = &ranges->r[i];

		check_around(f, is_v4,
			     (struct fw_u128){ r->first_hi, r->first_lo });
		check_around(f, is_v4,
			     (struct fw_u128){ r->last_hi, r->last_lo });
	}
	for (i = 0; i < 1000; i++)
		check_at(f, is_v4, (struct fw_u128){ rnd(), rnd() });
	check_around(f, is_v4, (struct fw_u128){ 0 });
}

/* The entry of a bucket; 0: none, its leaf is direct. */
static uint32_t entry_of(const struct fixture *f,
			 const struct fw_addrset_node *node, uint32_t i)
{
	const uint64_t *word;

	if (!node->is_direct)
		return *(const uint32_t *)fw_bytes_at(&f->bytes,
						      node->entries + 4 * i);
	word = fw_bytes_at(&f->bytes,
			   node->entries + 8 * FW_ADDRSET_DIRECT_WORDS * i);
	if (!(*word >> node->top & 1))
		return 0;
	return (uint32_t)(*word >> 32) | (uint32_t)FW_ADDRSET_REF << 30;
}

/* How many nodes lie on the longest path from this one. */
static uint32_t depth(const struct fixture *f, uint32_t node_off)
{
	const struct fw_addrset_node *node = fw_bytes_at(&f->bytes, node_off);
	uint32_t i, deepest = 0;

	for (i = 0; i < node->span; i++) {
		uint32_t e = entry_of(f, node, i), d;

		if (FW_ADDRSET_KIND(e) != FW_ADDRSET_REF ||
		    FW_ADDRSET_WORDS(e) != FW_ADDRSET_NODE)
			continue;
		d = depth(f, f->off + 8 * FW_ADDRSET_OFF(e));
		if (d > deepest)
			deepest = d;
	}
	return deepest + 1;
}

/* What is in none of the ranges. */
static struct fw_ranges invert(const struct fw_ranges *ranges,
			       struct fw_u128 top)
{
	const struct fw_u128 one = { 0, 1 };
	const struct fw_u128 minus_one = { UINT64_MAX, UINT64_MAX };
	struct fw_ranges ret = { 0 };
	struct fw_u128 next = { 0 };
	size_t i;

	for (i = 0; i < ranges->n; i++) {
		const struct fw_range *r = &ranges->r[i];

		if (r->first_hi || r->first_lo)
			(void)fw_ranges_add(&ret, next,
					    add((struct fw_u128){ r->first_hi,
								  r->first_lo },
						minus_one));
		if (r->last_hi == top.hi && r->last_lo == top.lo)
			return ret;
		next = add((struct fw_u128){ r->last_hi, r->last_lo }, one);
	}
	(void)fw_ranges_add(&ret, next, top);
	return ret;
}

/* Build what `f->set` says, after something else, and look everywhere. */
static void check(struct fixture *f)
{
	size_t ranges, size;

	fw_ranges_merge(&f->set.v4);
	fw_ranges_merge(&f->set.v6);
	ranges = f->set.v4.n + f->set.v6.n;
	assert_int_not_equal(fw_bytes_reserve(&f->bytes, below(200), 1),
			     FW_BYTES_FAILED);
	size = f->bytes.size;
	assert_int_equal(fw_addrset_build(&f->set, &f->bytes, &f->off), 0);
	assert_int_equal(f->off == 0, ranges == 0);
	if (f->off) {
		assert_true(f->bytes.size - size <= 512 + 64 * ranges);
		assert_true(depth(f, f->off) <= FW_ADDRSET_DEPTH);
		assert_true(
			depth(f, f->off + (uint32_t)sizeof(
						  struct fw_addrset_node)) <=
			FW_ADDRSET_DEPTH);
	}
	check_family(f, true);
	check_family(f, false);
}

static void done(struct fixture *f)
{
	fw_ranges_done(&f->set.v4);
	fw_ranges_done(&f->set.v6);
	fw_bytes_done(&f->bytes);
	*f = (struct fixture){ 0 };
}

/* The same with all that is not in the set. */
static void check_done(struct fixture *f)
{
	struct fixture not = { 0 };

	check(f);
	not.set.v4 = invert(&f->set.v4, (struct fw_u128){ 0, UINT32_MAX });
	not.set.v6 =
		invert(&f->set.v6, (struct fw_u128){ UINT64_MAX, UINT64_MAX });
	check(&not);
	done(&not);
	done(f);
}

static void add_v4(struct fixture *f, uint64_t first, uint64_t last)
{
	assert_int_equal(fw_ranges_add_small(&f->set.v4, first, last), 0);
}

static void add_v6(struct fixture *f, struct fw_u128 first, struct fw_u128 last)
{
	assert_int_equal(fw_ranges_add(&f->set.v6, first, last), 0);
}

static void add_v4_prefix(struct fixture *f, uint64_t addr, unsigned len)
{
	const uint64_t rest = (1ull << (32 - len)) - 1;

	addr &= UINT32_MAX;
	add_v4(f, addr & ~rest, addr | rest);
}

static void add_v6_prefix(struct fixture *f, struct fw_u128 a, unsigned len)
{
	struct fw_u128 rest = { 0 };

	rest.hi = len >= 64 ? 0 : UINT64_MAX >> len;
	rest.lo = len <= 64    ? UINT64_MAX
		  : len == 128 ? 0
			       : UINT64_MAX >> (len - 64);
	add_v6(f, (struct fw_u128){ a.hi & ~rest.hi, a.lo & ~rest.lo },
	       (struct fw_u128){ a.hi | rest.hi, a.lo | rest.lo });
}

static void test_edges(void **state)
{
	const struct fw_u128 top = { UINT64_MAX, UINT64_MAX };
	struct fixture f = { 0 };

	(void)state;
	check_done(&f); /* nothing */
	add_v4(&f, 0, UINT32_MAX);
	check_done(&f);
	add_v6_prefix(&f, top, 0);
	check_done(&f);
	add_v4(&f, 0, UINT32_MAX);
	add_v6_prefix(&f, top, 0);
	check_done(&f);
	add_v4(&f, 0, 0);
	add_v6_prefix(&f, (struct fw_u128){ 0 }, 128);
	check_done(&f);
	add_v4(&f, UINT32_MAX, UINT32_MAX);
	add_v6_prefix(&f, top, 128);
	check_done(&f);
	add_v4(&f, 0, UINT32_MAX - 1);
	add_v6(&f, (struct fw_u128){ 0, 1 }, top);
	check_done(&f);
	add_v4(&f, 0, 0);
	add_v4(&f, UINT32_MAX, UINT32_MAX);
	add_v6_prefix(&f, top, 128);
	add_v6_prefix(&f, (struct fw_u128){ 0 }, 128);
	add_v6_prefix(&f, (struct fw_u128){ 5, 0 }, 64);
	check_done(&f);
	add_v4(&f, 1ull << 31, UINT32_MAX);
	add_v6_prefix(&f, top, 1);
	check_done(&f);
}

/* Few ranges, of all scales, some within one upper half. */
static void test_small(void **state)
{
	struct fixture f = { 0 };
	int i;

	(void)state;
	for (i = 0; i < 20000; i++) {
		const unsigned scale = below(65), low = below(65);
		size_t n = 1 + below(20);

		while (n--) {
			struct fw_u128 a = { 0 }, b;
			uint64_t v = rnd() >> (32 + below(32));

			add_v4(&f, v, v | rnd() >> (32 + below(32)));
			if (scale)
				a.hi = rnd() << (64 - scale);
			if (low && below(2))
				a.lo = rnd() << (64 - low);
			b.hi = a.hi | (below(4) ? 0 : below(8));
			b.lo = a.lo | (below(3) ? UINT64_MAX : below(16));
			add_v6(&f, a, b);
		}
		check_done(&f);
	}
}

static void test_prefixes(void **state)
{
	static const size_t sizes[] = { 1, 2, 5, 10, 100, 1000, 10000, 100000 };
	struct fixture f = { 0 };
	size_t i, k;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (k = 0; k < sizes[i]; k++) {
			add_v4_prefix(&f, rnd(), 16 + below(17));
			add_v6_prefix(&f,
				      (struct fw_u128){ 1ull << 61 | rnd() >> 3,
							rnd() },
				      16 + below(113));
		}
		check_done(&f);
	}
}

static void test_single(void **state)
{
	struct fixture f = { 0 };
	size_t k, len;

	(void)state;
	for (len = 32; len <= 128; len += 16) {
		for (k = 0; k < 30000; k++) {
			add_v4_prefix(&f, rnd(), 32);
			add_v6_prefix(&f, (struct fw_u128){ rnd(), rnd() },
				      (unsigned)len);
		}
		check_done(&f);
	}
}

/* Up to and beyond what leaves of either kind hold, within one upper half. */
static void test_few(void **state)
{
	struct fixture f = { 0 };
	unsigned n, k, width;

	(void)state;
	for (n = 1; n < 80; n++) {
		for (width = 1; width < 4; width++) {
			for (k = 0; k < n; k++) {
				const struct fw_u128 a = { 9, 1 + 5 * k };
				const struct fw_u128 z = { 9, 5 * k + width };

				add_v4(&f, a.lo, z.lo);
				add_v6(&f, a, z);
				add_v6(&f, (struct fw_u128){ 16 + 5 * k, 0 },
				       (struct fw_u128){ 15 + 5 * k + width,
							 UINT64_MAX });
			}
			check_done(&f);
		}
	}
}

/* All in few places, as lists of hosts are. */
static void test_clusters(void **state)
{
	struct fixture f = { 0 };
	size_t i, k;

	(void)state;
	for (i = 0; i < 50; i++) {
		struct fw_u128 at = { rnd() >> 3 | 1ull << 61, rnd() };

		for (k = 0; k < 3000; k++) {
			const uint64_t offset = rnd() >> (44 + below(16));

			add_v4_prefix(&f, at.lo ^ offset, 32);
			add_v6_prefix(&f,
				      add(at, (struct fw_u128){ offset, 0 }),
				      56 + below(9));
			add_v6_prefix(&f,
				      add(at, (struct fw_u128){ 0, offset }),
				      (unsigned)(120 + below(9)));
		}
	}
	check_done(&f);
}

/* Every second address: no two of them are one range. */
static void test_alternating(void **state)
{
	struct fixture f = { 0 };
	uint64_t i, step;

	(void)state;
	for (step = 2; step <= 4; step++) {
		for (i = 0; i < 70000; i++) {
			const uint64_t v = i * step;

			add_v4(&f, 0xc0000000 + v, 0xc0000000 + v + step - 2);
			add_v6_prefix(&f, (struct fw_u128){ 7 + v, 0 }, 64);
			add_v6(&f, (struct fw_u128){ 5, v },
			       (struct fw_u128){ 5, v + step - 2 });
			add_v6(&f, (struct fw_u128){ 1ull << 60 | v, 1 },
			       (struct fw_u128){ 1ull << 60 | v, step });
		}
		check_done(&f);
	}
}

/* A cluster, a stray outside of it, one outside of both, and so on. */
static void test_chain(void **state)
{
	struct fixture f = { 0 };
	unsigned bit, chain;
	uint64_t i;

	(void)state;
	for (chain = 0; chain < 200; chain++) {
		const struct fw_u128 at = { rnd(), rnd() };

		for (i = 0; i < 64; i++) {
			add_v4_prefix(&f, at.lo ^ 2 * i, 32);
			add_v6_prefix(&f,
				      (struct fw_u128){ at.hi, at.lo ^ 2 * i },
				      128);
		}
		for (bit = 0; bit < 64; bit++) {
			const uint64_t flip = 1ull << bit;

			add_v4_prefix(&f, at.lo ^ (bit < 32 ? flip : 0), 32);
			add_v6_prefix(&f,
				      (struct fw_u128){ at.hi ^ flip, at.lo },
				      128);
			add_v6_prefix(&f,
				      (struct fw_u128){ at.hi, at.lo ^ flip },
				      128);
		}
	}
	check_done(&f);
}

static void test_million(void **state)
{
	struct fixture f = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < 1000000; i++)
		add_v4_prefix(&f, rnd(), 8 + most(24));
	for (i = 0; i < 300000; i++)
		add_v6_prefix(
			&f,
			(struct fw_u128){ 0x2a00000000000000 | rnd() >> 8, 0 },
			48 + below(17));
	check_done(&f);
}

/* Wrong bytes may give wrong answers; the sanitizers see what else they do. */
static void test_broken(void **state)
{
	struct fixture f = { 0 };
	size_t i, size, room;
	uint32_t at;

	(void)state;
	for (i = 0; i < 500; i++) {
		add_v4_prefix(&f, rnd(), 20 + below(13));
		add_v6_prefix(&f, (struct fw_u128){ below(4), rnd() }, 128);
	}
	check(&f);
	for (size = 1; size < f.bytes.size; size *= 2)
		;
	room = size + FW_IMAGE_SLACK - f.bytes.size;
	at = fw_bytes_reserve(&f.bytes, room, 1);
	assert_int_not_equal(at, FW_BYTES_FAILED);
	f.bytes.data = __real_realloc(f.bytes.data, f.bytes.size);
	f.bytes.capacity = f.bytes.size;
	fw_image_mask = (__u32)size - 1;
	for (i = 0; i < 100000; i++) {
		f.bytes.data[rnd() % size] = (unsigned char)rnd();
		(void)has(&f, i % 2, (struct fw_u128){ below(4), rnd() });
	}
	fw_image_mask = UINT32_MAX;
	done(&f);
}

/* How many buckets of a root whose leaves are direct have an entry all the same. */
static size_t with_entry(const struct fixture *f)
{
	const struct fw_addrset_node *root = fw_bytes_at(&f->bytes, f->off);
	size_t n = 0;

	assert_true(root->is_direct);
	for (uint32_t i = 0; i < root->span; i++)
		n += entry_of(f, root, i) != 0;
	return n;
}

static void add_hosts(struct fixture *f, size_t n)
{
	while (n--) {
		const uint64_t a = (uint32_t)rnd();

		add_v4(f, a, a);
	}
}

/* Single addresses, spread evenly: no entries but for buckets that are not like the others. */
static void test_direct(void **state)
{
	static const size_t sizes[] = { 1000, 20000, 300000 };
	struct fixture f = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		add_hosts(&f, sizes[i]);
		check(&f);
		(void)with_entry(&f);
		done(&f);
		/* at both ends, side by side, more than fit, and no single ones */
		add_hosts(&f, sizes[i]);
		add_v4(&f, 0, 0);
		add_v4(&f, UINT32_MAX, UINT32_MAX);
		check(&f);
		(void)with_entry(&f);
		done(&f);
		add_hosts(&f, sizes[i]);
		for (uint64_t a = 0; a < 400; a += 2)
			add_v4(&f, 0xc0000200 + a, 0xc0000200 + a);
		add_v4(&f, 0xcb007100, 0xcb0071ff);
		check(&f);
		assert_true(with_entry(&f) >= 2);
		done(&f);
	}
	/* all within one network */
	for (uint64_t a = 0; a < 4096; a += 1 + below(60))
		add_v4(&f, 0x0a000000 + a, 0x0a000000 + a);
	check_done(&f);
}

static void test_no_memory(void **state)
{
	struct fixture f = { 0 };
	uint32_t off = 42;
	long k;
	int r;

	(void)state;
	for (k = 0; k < 3000; k++) {
		add_v4_prefix(&f, rnd(), 24 + below(9));
		add_v6_prefix(&f, (struct fw_u128){ rnd(), rnd() }, 128);
	}
	fw_ranges_merge(&f.set.v4);
	fw_ranges_merge(&f.set.v6);
	for (k = 0;; k++) {
		fw_bytes_done(&f.bytes);
		assert_int_equal(fw_bytes_reserve(&f.bytes, 20, 1), 0);
		countdown = k;
		r = fw_addrset_build(&f.set, &f.bytes, &off);
		countdown = -1;
		if (r == 0)
			break;
		assert_int_equal(r, -12);
		assert_int_equal(off, 42);
		assert_int_equal(f.bytes.size, 20);
	}
	assert_true(k > 3);
	f.off = off;
	check_family(&f, true);
	check_family(&f, false);
	done(&f);
}

/* ---- few addresses --------------------------------------------------------- */

/* What fw_addrhash_build() makes of `n` addresses, or of neighbours; true: there is one. */
static bool has_hash(size_t n, bool neighbours, struct fw_bytes *bytes,
		     struct fw_ranges *v4, struct fw_addrset_hash *ret)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t a = neighbours ? 0xc0000200 + i : (uint32_t)rnd();
		struct fw_u128 at = { 0, a };

		assert_int_equal(fw_ranges_add(v4, at, at), 0);
	}
	fw_ranges_merge(v4);
	assert_int_equal(fw_bytes_reserve(bytes, 64, 64), 0);
	assert_int_equal(fw_addrhash_build(v4, bytes, ret), 0);
	return ret->places != 0;
}

static bool is_found(const struct fw_bytes *bytes,
		     const struct fw_addrset_hash *hash, uint64_t addr)
{
	return addrset_has_few(bytes->data, hash,
			       __builtin_bswap32((uint32_t)addr));
}

/* All members are found, their neighbours and others only if they are members, too. */
static void test_hash(void **state)
{
	const size_t sizes[] = { 1, 2, 3, 7, 64, 1000, 4097, FW_ADDRSET_FEW };

	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_SIZE(sizes); i++) {
		struct fw_ranges v4 = { 0 };
		struct fw_bytes bytes = { 0 };
		struct fw_addrset_hash hash;

		assert_true(has_hash(sizes[i / 2], i & 1, &bytes, &v4, &hash));
		for (size_t k = 0; k < v4.n; k++) {
			uint64_t first = v4.r[k].first_lo, a;

			for (a = first; a <= v4.r[k].last_lo; a++)
				assert_true(is_found(&bytes, &hash, a));
			assert_int_equal(
				is_found(&bytes, &hash, first - 1),
				fw_ranges_has(&v4, (struct fw_u128){
							   0, (uint32_t)(first -
									 1) }));
		}
		for (size_t k = 0; k < 100000; k++) {
			const uint64_t a = (uint32_t)rnd();

			assert_int_equal(
				is_found(&bytes, &hash, a),
				fw_ranges_has(&v4, (struct fw_u128){ 0, a }));
		}
		fw_ranges_done(&v4);
		fw_bytes_done(&bytes);
	}
}

static void test_no_hash(void **state)
{
	struct fw_ranges v4 = { 0 };
	struct fw_bytes bytes = { 0 };
	struct fw_addrset_hash hash;

	(void)state;
	assert_false(has_hash(0, false, &bytes, &v4, &hash));
	fw_bytes_done(&bytes);
	assert_false(has_hash(FW_ADDRSET_FEW + 1, true, &bytes, &v4, &hash));
	fw_ranges_done(&v4);
	fw_bytes_done(&bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_edges),
		cmocka_unit_test(test_small),
		cmocka_unit_test(test_prefixes),
		cmocka_unit_test(test_single),
		cmocka_unit_test(test_few),
		cmocka_unit_test(test_hash),
		cmocka_unit_test(test_no_hash),
		cmocka_unit_test(test_clusters),
		cmocka_unit_test(test_alternating),
		cmocka_unit_test(test_chain),
		cmocka_unit_test(test_million),
		cmocka_unit_test(test_broken),
		cmocka_unit_test(test_direct),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
