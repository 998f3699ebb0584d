/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * A hash without collisions, of few addresses (displace.h): how many buckets and places it
 * has, by which seed, and how it lies in the image.
 */
#include "addrhash.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "displace.h"
#include "mem.h"

#define MAX_SEEDS 100 /* nearly each one does */
#define MIN_BITS  2   /* of buckets and places */

struct layout {
	struct fw_addrset_hash *hash;
	struct fw_displace how;
	struct fw_displace_key *keys;
	uint32_t *addrs; /* as they lie in memory, by entry of a key */
	size_t n;
	size_t n_buckets, n_places;
};

static void layout_done(struct layout *l)
{
	free(l->keys);
	free(l->addrs);
	free(l->how.shifts);
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
	l->how = (struct fw_displace){
		.bucket_shift = 64 - buckets,
		.place_shift = 64 - buckets - places,
		.place_mask = (uint32_t)l->n_places - 1,
		.shifts = calloc(l->n_buckets, sizeof(*l->how.shifts)),
	};
	l->hash->bucket = (uint8_t)l->how.bucket_shift;
	l->hash->place = (uint8_t)l->how.place_shift;
	l->hash->mask = l->how.place_mask;
	l->keys = calloc(l->n, sizeof(*l->keys));
	l->addrs = calloc(l->n, sizeof(*l->addrs));
	return l->keys && l->addrs && l->how.shifts ? 0 : -ENOMEM;
}

static void take_addresses(struct layout *l, const struct fw_ranges *v4)
{
	size_t n = 0;

	for (size_t i = 0; i < v4->n; i++)
		for (uint64_t a = v4->r[i].first_lo; a <= v4->r[i].last_lo; a++)
			l->addrs[n++] = htonl((uint32_t)a);
}

static int try_seed(struct layout *l)
{
	for (uint32_t i = 0; i < l->n; i++)
		l->keys[i] = (struct fw_displace_key){
			.hash = l->addrs[i] * l->hash->seed,
			.entry = i,
		};
	return fw_displace(&l->how, l->keys, l->n);
}

static int write_hash(const struct layout *l, struct fw_bytes *bytes)
{
	uint32_t shifts = fw_bytes_reserve(bytes, l->n_buckets, 64);
	uint32_t places =
		fw_bytes_reserve(bytes, l->n_places * sizeof(*l->addrs), 64);
	uint32_t *at;

	if (shifts == FW_BYTES_FAILED || places == FW_BYTES_FAILED)
		return -ENOMEM;
	memcpy(fw_bytes_at(bytes, shifts), l->how.shifts, l->n_buckets);
	at = fw_bytes_at(bytes, places);
	for (size_t i = 0; i < l->n_places; i++)
		at[i] = l->addrs[0]; /* nobody's: any member will do */
	for (size_t i = 0; i < l->n; i++)
		at[l->keys[i].place] = l->addrs[l->keys[i].entry];
	l->hash->shifts = shifts;
	l->hash->places = places;
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
	int r;

	*ret = (struct fw_addrset_hash){ .places = 0 };
	if (!l.n || l.n > FW_ADDRSET_FEW)
		return 0;
	if (layout_init(&l) < 0)
		return -ENOMEM;
	take_addresses(&l, v4);
	/* odd, so that no two addresses have the same product */
	ret->seed = golden;
	for (int i = 0; i < MAX_SEEDS; i++, ret->seed *= golden) {
		r = try_seed(&l);
		if (r != -EEXIST)
			return r < 0 ? r : write_hash(&l, bytes);
	}
	return 0; /* without a hash there is still the set */
}
