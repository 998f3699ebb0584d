/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * A hash without collisions, of few addresses: those that share the first bits of the
 * product are shifted together until each has a place of its own, the most numerous ones
 * first (R. Pagh, "Hash and Displace", 1999).
 */
#include "addrhash.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

#define SHIFTS	  256 /* what a byte can say */
#define MAX_KEYS  64 /* that share a shift; with more, the next seed is tried */
#define MAX_SEEDS 100 /* nearly each one does */
#define MIN_BITS  2   /* of buckets and places */

/* An address, and its bucket. */
struct key {
	uint32_t addr; /* as it lies in memory */
	uint32_t bucket;
	uint32_t in_bucket; /* keys of its bucket */
	uint64_t product;
};

struct layout {
	struct fw_addrset_hash *hash;
	struct key *keys;
	size_t n;
	uint32_t *places;
	bool *is_used; /* by place */
	uint8_t *shifts;
	uint32_t *sizes; /* keys by bucket */
	size_t n_buckets, n_places;
};

static void layout_done(struct layout *l)
{
	free(l->keys);
	free(l->places);
	free(l->is_used);
	free(l->shifts);
	free(l->sizes);
}

/* Bits that can tell so many apart. */
static unsigned int bits_for(size_t n)
{
	unsigned int bits = MIN_BITS;

	while (1ul << bits < n)
		bits++;
	return bits;
}

static int layout_init(struct layout *l)
{
	const unsigned int buckets = bits_for(l->n / 4);
	const unsigned int places = bits_for(2 * l->n);

	l->n_buckets = 1ul << buckets;
	l->n_places = 1ul << places;
	l->hash->bucket = (uint8_t)(64 - buckets);
	l->hash->place = (uint8_t)(64 - buckets - places);
	l->hash->mask = (uint32_t)l->n_places - 1;
	l->keys = calloc(l->n, sizeof(*l->keys));
	l->places = calloc(l->n_places, sizeof(*l->places));
	l->is_used = calloc(l->n_places, sizeof(*l->is_used));
	l->shifts = calloc(l->n_buckets, sizeof(*l->shifts));
	l->sizes = calloc(l->n_buckets, sizeof(*l->sizes));
	return l->keys && l->places && l->is_used && l->shifts && l->sizes
		       ? 0
		       : -ENOMEM;
}

static void take_keys(struct layout *l, const struct fw_ranges *v4)
{
	size_t n = 0;

	for (size_t i = 0; i < v4->n; i++)
		for (uint64_t a = v4->r[i].first_lo; a <= v4->r[i].last_lo; a++)
			l->keys[n++].addr = htonl((uint32_t)a);
}

static int compare_keys(const void *a, const void *b)
{
	const struct key *left = a, *right = b;

	if (left->in_bucket != right->in_bucket)
		return left->in_bucket < right->in_bucket ? 1 : -1;
	if (left->bucket != right->bucket)
		return left->bucket < right->bucket ? -1 : 1;
	return left->addr < right->addr ? -1 : left->addr > right->addr;
}

/* The keys of a bucket next to each other, the largest bucket first. */
static void sort_keys(struct layout *l)
{
	size_t i;

	memset(l->sizes, 0, l->n_buckets * sizeof(*l->sizes));
	for (i = 0; i < l->n; i++) {
		struct key *k = &l->keys[i];

		k->product = k->addr * l->hash->seed;
		k->bucket = (uint32_t)(k->product >> l->hash->bucket);
		l->sizes[k->bucket]++;
	}
	for (i = 0; i < l->n; i++)
		l->keys[i].in_bucket = l->sizes[l->keys[i].bucket];
	qsort(l->keys, l->n, sizeof(*l->keys), compare_keys);
}

static size_t place_of(const struct layout *l, const struct key *k,
		       uint32_t shift)
{
	return (uint32_t)((k->product >> l->hash->place) + shift) &
	       l->hash->mask;
}

/* Take places for the keys of the bucket that begins with `k`; false: one is not free. */
static bool try_shift(const struct layout *l, const struct key *k,
		      uint32_t shift)
{
	uint32_t i;

	for (i = 0; i < k->in_bucket; i++) {
		bool *is_used = &l->is_used[place_of(l, &k[i], shift)];

		if (*is_used)
			break;
		*is_used = true;
	}
	if (i == k->in_bucket)
		return true;
	while (i-- > 0)
		l->is_used[place_of(l, &k[i], shift)] = false;
	return false;
}

static bool place_bucket(const struct layout *l, const struct key *k)
{
	uint32_t shift = 0;

	if (k->in_bucket > MAX_KEYS)
		return false;
	while (shift < SHIFTS && !try_shift(l, k, shift))
		shift++;
	if (shift == SHIFTS)
		return false;
	l->shifts[k->bucket] = (uint8_t)shift;
	for (uint32_t i = 0; i < k->in_bucket; i++)
		l->places[place_of(l, &k[i], shift)] = k[i].addr;
	return true;
}

/* False: not with this seed. */
static bool place_all(struct layout *l)
{
	size_t i;

	memset(l->is_used, 0, l->n_places * sizeof(*l->is_used));
	sort_keys(l);
	for (i = 0; i < l->n; i += l->keys[i].in_bucket)
		if (!place_bucket(l, &l->keys[i]))
			return false;
	for (i = 0; i < l->n_places; i++)
		if (!l->is_used[i])
			l->places[i] = l->keys[0].addr;
	return true;
}

static int write_hash(const struct layout *l, struct fw_bytes *bytes)
{
	const size_t places = l->n_places * sizeof(*l->places);
	uint32_t shifts_off = fw_bytes_reserve(bytes, l->n_buckets, 64);
	uint32_t places_off = fw_bytes_reserve(bytes, places, 64);

	if (shifts_off == FW_BYTES_FAILED || places_off == FW_BYTES_FAILED)
		return -ENOMEM;
	memcpy(fw_bytes_at(bytes, shifts_off), l->shifts, l->n_buckets);
	memcpy(fw_bytes_at(bytes, places_off), l->places, places);
	l->hash->shifts = shifts_off;
	l->hash->places = places_off;
	return 0;
}

static size_t count_addresses(const struct fw_ranges *v4)
{
	size_t n = 0;

	for (size_t i = 0; i < v4->n && n <= FW_ADDRSET_FEW; i++)
		n += v4->r[i].last_lo - v4->r[i].first_lo + 1;
	return n;
}

int fw_addrhash_build(const struct fw_ranges *v4, struct fw_bytes *bytes,
		      struct fw_addrset_hash *ret)
{
	const uint64_t golden = 0x9e3779b97f4a7c15u;
	__attribute__((cleanup(layout_done))) struct layout l = {
		.hash = ret,
		.n = count_addresses(v4),
	};

	*ret = (struct fw_addrset_hash){ .places = 0 };
	if (!l.n || l.n > FW_ADDRSET_FEW)
		return 0;
	if (layout_init(&l) < 0)
		return -ENOMEM;
	take_keys(&l, v4);
	/* odd, so that no two addresses have the same product */
	ret->seed = golden;
	for (int i = 0; i < MAX_SEEDS; i++, ret->seed *= golden)
		if (place_all(&l))
			return write_hash(&l, bytes);
	return 0; /* without a hash there is still the set */
}
