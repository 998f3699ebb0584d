/* SPDX-License-Identifier: GPL-2.0-only */

/* Where entries of the flow table are: a hash table with chains. */
#include "user/flowchains.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "user/flowtab.h"
#include "user/util.h"

#define MIN_BITS       10u /* of a hash that choose a chain */
#define MAX_BITS       32u
#define AHEAD	       16u /* chains that a walk sends for */
#define MOVES_PER_FLOW 4u  /* chains; one would do to be done in time */

/* ---- hashing ---------------------------------------------------------------- */

static uint64_t rotate(uint64_t x, unsigned int bits)
{
	return x << bits | x >> (64 - bits);
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] = rotate(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] = rotate(v[2], 32);
}

/* SipHash-1-3 of a tuple and its zone. */
static uint64_t hash_tuple(const uint64_t key[2], const struct fw_tuple *tuple,
			   uint16_t zone)
{
	uint64_t v[4] = { key[0] ^ 0x736f6d6570736575,
			  key[1] ^ 0x646f72616e646f6d,
			  key[0] ^ 0x6c7967656e657261,
			  key[1] ^ 0x7465646279746573 };
	uint64_t words[sizeof(*tuple) / 8 + 1];
	size_t i;

	memcpy(words, tuple, sizeof(*tuple));
	words[ARRAY_SIZE(words) - 1] =
		(uint64_t)(sizeof(*tuple) + 2) << 56 | zone;
	for (i = 0; i < ARRAY_SIZE(words); i++) {
		v[3] ^= words[i];
		sip_round(v);
		v[0] ^= words[i];
	}
	v[2] ^= 0xff;
	for (i = 0; i < 3; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t fw_chains_hash(const struct fw_chains *chains,
			const struct fw_tuple *tuple, uint16_t zone)
{
	return hash_tuple(chains->key, tuple, zone);
}

/* ---- chains ----------------------------------------------------------------- */

static int heads_init(struct fw_heads *heads, unsigned int bits)
{
	heads->at = calloc((size_t)1 << bits, sizeof(struct fw_entry *));
	heads->bits = bits;
	return heads->at ? 0 : -ENOMEM;
}

int fw_chains_init(struct fw_chains *chains)
{
	*chains = (struct fw_chains){ 0 };
	if (getrandom(chains->key, sizeof(chains->key), 0) !=
	    sizeof(chains->key))
		return -EIO;
	return heads_init(&chains->now, MIN_BITS);
}

void fw_chains_done(struct fw_chains *chains)
{
	free(chains->now.at);
	free(chains->old.at);
}

static size_t index_of(const struct fw_heads *heads, uint64_t hash)
{
	return (size_t)(hash >> (64 - heads->bits));
}

/* The first hash behind the chain that `hash` is in; 0 behind the last one. */
static uint64_t end_of(const struct fw_heads *heads, uint64_t hash)
{
	return ((uint64_t)index_of(heads, hash) + 1) << (64 - heads->bits);
}

static const struct fw_heads *heads_at(const struct fw_chains *chains,
				       uint64_t hash)
{
	return chains->old.at && hash >= chains->moved ? &chains->old
						       : &chains->now;
}

struct fw_entry **fw_chains_at(const struct fw_chains *chains, uint64_t hash)
{
	const struct fw_heads *heads = heads_at(chains, hash);

	return &heads->at[index_of(heads, hash)];
}

struct fw_entry **fw_chains_link(const struct fw_chains *chains,
				 const struct fw_tuple *tuple, uint16_t zone)
{
	struct fw_entry **link =
		fw_chains_at(chains, hash_tuple(chains->key, tuple, zone));

	while (*link && ((*link)->zone != zone ||
			 memcmp(&(*link)->orig, tuple, sizeof(*tuple)) != 0))
		link = &(*link)->next;
	return link;
}

uint64_t fw_chains_behind(const struct fw_chains *chains, uint64_t hash)
{
	const struct fw_heads *heads = heads_at(chains, hash);
	uint64_t end = end_of(heads, hash);

	/* Of a chain that takes several old ones some may have come, others not. */
	if (chains->old.at && heads == &chains->now &&
	    (!end || end > chains->moved))
		end = chains->moved;
	return end;
}

bool fw_chains_is_start(const struct fw_chains *chains, uint64_t hash)
{
	return !(hash << heads_at(chains, hash)->bits);
}

/* ---- ahead of time ------------------------------------------------------------ */

/* Nothing needs to be there. */
static void prefetch_entry(const struct fw_entry *entry)
{
	__builtin_prefetch(entry);
	__builtin_prefetch((const void *)((uintptr_t)entry + 64));
}

void fw_chains_prefetch_ahead(const struct fw_chains *chains, uint64_t at)
{
	const struct fw_heads *heads = heads_at(chains, at);
	uint64_t ahead = at + ((uint64_t)AHEAD << (64 - heads->bits));

	if (ahead > at)
		prefetch_entry(heads->at[index_of(heads, ahead)]);
}

void fw_chains_prefetch(const struct fw_chains *chains, const struct fw_ct *cts,
			size_t n)
{
	struct fw_entry **links[FW_CTNL_BATCH];

	n = n < ARRAY_SIZE(links) ? n : ARRAY_SIZE(links);
	for (size_t i = 0; i < n; i++) {
		links[i] = fw_chains_at(
			chains,
			hash_tuple(chains->key, &cts[i].orig, cts[i].zone));
		__builtin_prefetch(links[i]);
	}
	for (size_t i = 0; i < n; i++)
		prefetch_entry(*links[i]);
}

/* ---- as many chains as flows ---------------------------------------------------- */

/* Longer chains are slower but not wrong, so lack of memory is no error. */
static void resize(struct fw_chains *chains, unsigned int bits)
{
	struct fw_heads heads;

	if (chains->old.at || heads_init(&heads, bits) < 0)
		return;
	chains->old = chains->now;
	chains->now = heads;
	chains->moved = 0;
}

static void move_chain(struct fw_chains *chains)
{
	struct fw_entry **from = fw_chains_at(chains, chains->moved), *next;

	fw_chains_prefetch_ahead(chains, chains->moved);
	for (struct fw_entry *entry = *from; entry; entry = next) {
		struct fw_entry **to;
		uint64_t hash =
			hash_tuple(chains->key, &entry->orig, entry->zone);

		next = entry->next;
		to = &chains->now.at[index_of(&chains->now, hash)];
		entry->next = *to;
		*to = entry;
	}
	*from = NULL;
	chains->moved = end_of(&chains->old, chains->moved);
	if (chains->moved)
		return;
	free(chains->old.at);
	chains->old = (struct fw_heads){ 0 };
}

bool fw_chains_move(struct fw_chains *chains, size_t n)
{
	while (chains->old.at && n--)
		move_chain(chains);
	return chains->old.at;
}

void fw_chains_make_room(struct fw_chains *chains, size_t n)
{
	(void)fw_chains_move(chains, MOVES_PER_FLOW);
	if (n >= (size_t)1 << chains->now.bits && chains->now.bits < MAX_BITS)
		resize(chains, chains->now.bits + 1);
}

void fw_chains_give_room_back(struct fw_chains *chains, size_t n)
{
	unsigned int bits = chains->now.bits;

	while (bits > MIN_BITS && n < ((size_t)1 << bits) / 8)
		bits--;
	if (bits != chains->now.bits)
		resize(chains, bits);
}
