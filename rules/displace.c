/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Keys that share a bucket are shifted together until each has a place of its own, the
 * most numerous ones first (R. Pagh, "Hash and Displace", 1999).
 */
#include "displace.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

#define MAX_SHIFT 255 /* what a byte can say */

static size_t count_buckets(const struct fw_displace *d)
{
	return (size_t)1 << (64 - d->bucket_shift);
}

static int compare_keys(const void *a, const void *b)
{
	const struct fw_displace_key *left = a, *right = b;

	if (left->in_bucket != right->in_bucket)
		return left->in_bucket < right->in_bucket ? 1 : -1;
	if (left->bucket != right->bucket)
		return left->bucket < right->bucket ? -1 : 1;
	return left->entry < right->entry ? -1 : left->entry > right->entry;
}

/* The keys of a bucket next to each other, the largest bucket first. */
static int sort_keys(const struct fw_displace *d, struct fw_displace_key *keys,
		     size_t n)
{
	_cleanup_free_ uint32_t *sizes =
		calloc(count_buckets(d), sizeof(*sizes));

	if (!sizes)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		keys[i].bucket = (uint32_t)(keys[i].hash >> d->bucket_shift);
		sizes[keys[i].bucket]++;
	}
	for (size_t i = 0; i < n; i++)
		keys[i].in_bucket = sizes[keys[i].bucket];
	qsort(keys, n, sizeof(*keys), compare_keys);
	return 0;
}

/* Take places for the keys of the bucket that begins with `k`; false: one is not free. */
static bool try_shift(const struct fw_displace *d, struct fw_displace_key *k,
		      uint32_t shift, bool *is_used)
{
	uint32_t i;

	for (i = 0; i < k->in_bucket; i++) {
		k[i].place = (uint32_t)((k[i].hash >> d->place_shift) + shift) &
			     d->place_mask;
		if (is_used[k[i].place])
			break;
		is_used[k[i].place] = true;
	}
	if (i == k->in_bucket)
		return true;
	while (i-- > 0)
		is_used[k[i].place] = false;
	return false;
}

/* Find the shift of the bucket that begins with `k`; false: there is none. */
static bool place_bucket(const struct fw_displace *d, struct fw_displace_key *k,
			 bool *is_used)
{
	uint32_t shift = d->first_shift;

	while (shift <= MAX_SHIFT && !try_shift(d, k, shift, is_used))
		shift++;
	if (shift > MAX_SHIFT)
		return false;
	d->shifts[k->bucket] = (uint8_t)shift;
	return true;
}

int fw_displace(const struct fw_displace *d, struct fw_displace_key *keys,
		size_t n)
{
	_cleanup_free_ bool *is_used =
		calloc((size_t)d->place_mask + 1, sizeof(*is_used));

	if (!is_used || sort_keys(d, keys, n) < 0)
		return -ENOMEM;
	memset(d->shifts, 0, count_buckets(d) * sizeof(*d->shifts));
	for (size_t i = 0; i < n; i += keys[i].in_bucket)
		if (!place_bucket(d, &keys[i], is_used))
			return -EEXIST;
	return 0;
}
