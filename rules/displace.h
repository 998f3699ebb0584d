/* SPDX-License-Identifier: GPL-2.0-only */

/* A hash without collisions: where each key of a fixed set goes. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * How a table is read: the uppermost bits of a hash name a bucket, the next ones a place,
 * which is moved on by the shift of the bucket.
 */
struct fw_displace {
	unsigned int bucket_shift; /* hash >> bucket_shift: the bucket */
	unsigned int
		place_shift; /* hash >> place_shift: the place, in its last bits */
	uint32_t place_mask; /* places less one; a power of two */
	uint8_t first_shift; /* the lowest that a bucket with keys gets */
	uint8_t *shifts;     /* by bucket; 0: it has no key */
};

struct fw_displace_key {
	uint64_t hash;
	uint32_t entry;		    /* the caller's number of it */
	uint32_t place;		    /* what it gets */
	uint32_t bucket, in_bucket; /* how many keys are in its bucket */
};

/*
 * Set the place of each key and the shifts of all buckets; the keys change their order.
 * -EEXIST: not with these hashes, another seed may do; -ENOMEM.
 */
int fw_displace(const struct fw_displace *d, struct fw_displace_key *keys,
		size_t n);
