/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Random rule files and random packets over the same few addresses and ports,
 * so that rules are hit, missed and missed by one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "rules/rules.h"

/* xorshift64*; the seed names the case, so a failure can be run again. */
struct rng {
	uint64_t state;
};

uint32_t rng_below(struct rng *rng, uint32_t n);

/* Write options: checks that are off, in half of all cases none. */
void random_options(struct rng *rng, FILE *out);

/* Write a rule file for the zones z0..z3 on if0..if3. */
void random_rules(struct rng *rng, FILE *out, unsigned int n_rules);

struct random_packet {
	uint8_t frame[256];
	uint32_t len;
	struct fw_key key; /* addresses, ports, proto, family, icmp, flags */
	bool opens;	   /* is no TCP segment but a SYN */
};

/*
 * A packet that can open a flow: SYN, UDP, echo request, another protocol. One in three
 * has something wrong with it: see sanity.h.
 */
void random_packet(struct rng *rng, struct random_packet *ret);
