/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Random rules in the intermediate form, with every clause, and packets at each
 * of their bounds, before it and behind it. Out of memory: abort().
 */
#pragma once

#include "rules/ranges.h"
#include "rules/rules.h"

/* splitmix64; the same seed gives the same rules and packets. */
extern uint64_t rnd_seed;

uint32_t rnd(void);
uint32_t below(uint32_t n);
bool chance(uint32_t percent);

/* ---- programs ------------------------------------------------------------ */

/** @brief An empty program with room for `n_rows` rules of four sets each. */
void program_init(struct fw_program *p, size_t n_rows);
void program_done(struct fw_program *p);

/** @brief One more rule: for all packets that come in to this host. */
struct fw_ir_row *add_row(struct fw_program *p);

/** @brief A set without members; filled in by the caller. */
struct fw_ir_set *add_set(struct fw_program *p, int32_t *ret);

void add_range(struct fw_ranges *ranges, struct fw_u128 first,
	       struct fw_u128 last);
int32_t port_set(struct fw_program *p, uint16_t first, uint16_t last);

/** @brief A prefix of IPv4 and the same of the upper half of IPv6. */
int32_t prefix_set(struct fw_program *p, uint32_t addr, unsigned int len);

/** @brief A program of `n` rows, mostly one a rule; freed by program_done(). */
void random_program(struct fw_program *p, uint32_t n);

/* ---- packets ------------------------------------------------------------- */

/** @brief One of few addresses with many prefixes, so that rules overlap. */
struct fw_u128 random_address(bool is_v6);

/** @brief A packet that matches a rule, or nearly; there must be a rule. */
void pick_key(const struct fw_program *p, struct fw_key *key);
