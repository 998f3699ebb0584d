/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Where entries of the flow table are: a hash table with chains.
 *
 * Tuples are chosen by whoever sends packets, so the hash is keyed (SipHash). The
 * first bits of a hash say which chain it is in, so all flows have an order, by
 * hash, that no change of the number of chains changes: a walk is at a hash, and goes
 * on there whatever has happened to the table meanwhile. The table gets larger or
 * smaller in the same order, some chains at a time. Entries belong to who puts them in.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kern/abi.h"

struct fw_ct;
struct fw_entry;

/* Chains in the order of hashes; `at` NULL: there are none. */
struct fw_heads {
	struct fw_entry **at;
	unsigned int bits;
};

struct fw_chains {
	struct fw_heads now;
	struct fw_heads old; /* as long as entries are on their way to `now` */
	uint64_t moved;	     /* the first hash that is in `old` still */
	uint64_t key[2];
};

/** @brief Few empty chains; -ENOMEM, or -EIO without random numbers. */
int fw_chains_init(struct fw_chains *chains);

/** @brief Free the chains, not what is in them. */
void fw_chains_done(struct fw_chains *chains);

uint64_t fw_chains_hash(const struct fw_chains *chains,
			const struct fw_tuple *tuple, uint16_t zone);

/** @brief The head of the chain of a hash; until chains are moved. */
struct fw_entry **fw_chains_at(const struct fw_chains *chains, uint64_t hash);

/** @brief The pointer to the entry of a tuple, or to where it would be. */
struct fw_entry **fw_chains_link(const struct fw_chains *chains,
				 const struct fw_tuple *tuple, uint16_t zone);

/** @brief The first hash behind those in the chain at `hash`; 0: it is the last one. */
uint64_t fw_chains_behind(const struct fw_chains *chains, uint64_t hash);

/** @brief Is there no smaller hash in its chain? */
bool fw_chains_is_start(const struct fw_chains *chains, uint64_t hash);

/**
 * @brief A walk is there: send for what it comes to soon.
 *
 * Walks go by the order of chains, not of memory.
 */
void fw_chains_prefetch_ahead(const struct fw_chains *chains, uint64_t at);

/** @brief Send for what finding these will look at; FW_CTNL_BATCH of them at most. */
void fw_chains_prefetch(const struct fw_chains *chains, const struct fw_ct *cts,
			size_t n);

/** @brief Go on with a change of size: up to `n` chains; true if there are more. */
bool fw_chains_move(struct fw_chains *chains, size_t n);

/** @brief There will be one entry more than `n`. */
void fw_chains_make_room(struct fw_chains *chains, size_t n);

/** @brief There are `n` entries, perhaps far less than there were. */
void fw_chains_give_room_back(struct fw_chains *chains, size_t n);
