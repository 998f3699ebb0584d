/* SPDX-License-Identifier: GPL-2.0-only */

/* What entries cannot say: terms, sets, ports, classes of protocols. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "addrset.h"
#include "match_part.h"
#include "mem.h"

/* ---- protocols ----------------------------------------------------------- */

/* What rules name; all other protocols are one class, the last. */
static const uint8_t own_class[FW_MATCH_CLASSES - 1] = {
	6,  /* TCP */
	17, /* UDP */
	1,  /* ICMP */
	58, /* ICMPv6 */
	47, /* GRE */
	50, /* ESP */
	132 /* SCTP */
};

uint8_t fw_match_class(uint8_t proto)
{
	uint8_t i;

	for (i = 0; i < ARRAY_SIZE(own_class); i++) {
		if (own_class[i] == proto)
			return i;
	}
	return FW_MATCH_CLASSES - 1;
}

uint8_t fw_match_row_classes(const uint64_t protos[4], bool *ret_exact)
{
	uint64_t rest[4];
	unsigned int i, classes = 0, others = 0;

	*ret_exact = true;
	if (!(protos[0] | protos[1] | protos[2] | protos[3]))
		return 0xff;
	memcpy(rest, protos, sizeof(rest));
	for (i = 0; i < ARRAY_SIZE(own_class); i++) {
		uint8_t proto = own_class[i];

		if (rest[proto / 64] >> (proto % 64) & 1)
			classes |= 1u << i;
		rest[proto / 64] &= ~(1ull << (proto % 64));
	}
	for (i = 0; i < 4; i++)
		others += (unsigned int)__builtin_popcountll(rest[i]);
	if (others)
		classes |= 1u << (FW_MATCH_CLASSES - 1);
	*ret_exact = others == 0 || others == 256 - ARRAY_SIZE(own_class);
	return (uint8_t)classes;
}

/* ---- terms --------------------------------------------------------------- */

#define FIRST_TERMS 64

static int widen(struct fw_match_builder *b)
{
	size_t capacity =
		b->by_hash_capacity ? b->by_hash_capacity * 2 : FIRST_TERMS;
	uint32_t *wider;
	size_t i, at;

	wider = calloc(capacity, sizeof(*wider));
	if (!wider)
		return -ENOMEM;
	for (i = 0; i < b->by_hash_capacity; i++) {
		if (!b->by_hash[i])
			continue;
		at = fw_mem_hash(FW_HASH_SEED,
				 fw_bytes_at(b->bytes, b->by_hash[i]),
				 sizeof(struct fw_match_term));
		while (wider[at & (capacity - 1)])
			at++;
		wider[at & (capacity - 1)] = b->by_hash[i];
	}
	free(b->by_hash);
	b->by_hash = wider;
	b->by_hash_capacity = capacity;
	return 0;
}

int fw_match_add_term(struct fw_match_builder *b, uint32_t rule,
		      const struct fw_match_term *term)
{
	size_t at;
	uint32_t off;
	int r;

	if (b->n_by_hash * 2 >= b->by_hash_capacity) {
		r = widen(b);
		if (r < 0)
			return r;
	}
	for (at = fw_mem_hash(FW_HASH_SEED, term, sizeof(*term));; at++) {
		at &= b->by_hash_capacity - 1;
		if (!b->by_hash[at])
			break;
		if (memcmp(fw_bytes_at(b->bytes, b->by_hash[at]), term,
			   sizeof(*term)) == 0) {
			b->terms[rule] = b->by_hash[at];
			return 0;
		}
	}
	off = fw_bytes_reserve(b->bytes, sizeof(*term), 8);
	if (off == FW_BYTES_FAILED)
		return -ENOMEM;
	memcpy(fw_bytes_at(b->bytes, off), term, sizeof(*term));
	b->by_hash[at] = b->terms[rule] = off;
	b->n_by_hash++;
	b->stats.terms++;
	return 0;
}

/* ---- sets ---------------------------------------------------------------- */

int fw_match_add_set(struct fw_match_builder *b, int32_t set, uint32_t *ret_off)
{
	int r;

	if (!b->sets[set]) {
		r = fw_addrset_build(&b->program->sets[set], b->bytes,
				     &b->sets[set]);
		if (r < 0)
			return r;
	}
	*ret_off = b->sets[set];
	return 0;
}

int fw_match_add_bounds(struct fw_match_builder *b, int32_t set,
			bool is_negated, uint32_t *ret_off)
{
	const struct fw_ranges *ranges = &b->program->sets[set].port;
	uint32_t *known = &b->bounds[2 * set + is_negated];
	struct fw_match_bounds *out;
	uint32_t off, top = 1;
	size_t i, n = 0;

	if (*known) {
		*ret_off = *known;
		return 0;
	}
	while (2 * top - 1 < 2 * ranges->n + 1)
		top *= 2;
	off = fw_bytes_reserve(b->bytes, sizeof(*out) + (2 * top - 1) * 4ul, 8);
	if (off == FW_BYTES_FAILED)
		return -ENOMEM;
	out = fw_bytes_at(b->bytes, off);
	out->top = top;
	/* Negated: membership changes at 0 as well. */
	if (is_negated && (!ranges->n || ranges->r[0].first_lo != 0))
		out->at[n++] = 0;
	for (i = 0; i < ranges->n; i++) {
		if (!is_negated || ranges->r[i].first_lo != 0)
			out->at[n++] = (uint32_t)ranges->r[i].first_lo;
		out->at[n++] = (uint32_t)ranges->r[i].last_lo + 1;
	}
	while (n < 2 * top - 1)
		out->at[n++] = UINT16_MAX + 1;
	*ret_off = *known = off;
	return 0;
}
