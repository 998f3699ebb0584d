/* SPDX-License-Identifier: GPL-2.0-only */

/* Rule sets to measure with, and packets that hit or miss them. */
#pragma once

#include "rules/rules.h"

/* xorshift64*; the same seed gives the same rules and packets. */
struct bench_rng {
	uint64_t state;
};

/** @brief A number below `n`, which is not 0. */
uint32_t bench_below(struct bench_rng *rng, uint32_t n);

/*
 * What a synthetic rule set looks like: hundreds of pairs of prefix lengths,
 * addresses in clusters, few different ports and protocols that return often, as
 * the sets of ClassBench have them.
 */
enum bench_shape {
	BENCH_ACL, /* specific pairs of networks, single destination ports */
	BENCH_ACL_DENSE, /* networks within networks, many services a pair */
	BENCH_FW,	 /* many wildcards, ranges of ports on both sides */
	BENCH_FW_PORTS,	 /* the same, with hundreds of ranges of source ports */
	BENCH_IPC, /* pairs of networks of all sizes, all kinds of protocols */
	BENCH_IPC_WIDE, /* hardly a port, few pairs of lengths */
	BENCH_SHAPE_MAX,
};

/* Names of enum bench_shape: "acl", "acl-dense" and so on. */
extern const char *const bench_shapes[BENCH_SHAPE_MAX];

/**
 * @brief Make a rule set; all rules are for packets to this host.
 *
 * @param n    rules
 * @param ret  freed by bench_rules_free()
 * @return 0 or -ENOMEM
 */
int bench_synthetic(enum bench_shape shape, size_t n, uint64_t seed, bool is_v6,
		    struct fw_program *ret);

/**
 * @brief Read a rule set in the format of ClassBench.
 *
 * @param is_v6  stretch the IPv4 prefixes to IPv6 ones of the same shape
 * @return 0, -EINVAL if a line is not understood, or another negative errno
 */
int bench_classbench(const char *path, bool is_v6, struct fw_program *ret);

void bench_rules_free(struct fw_program *program);

/** @brief A packet that matches rule `row`, if no earlier one takes it. */
void bench_hit(const struct fw_program *program, size_t row,
	       struct bench_rng *rng, struct fw_key *ret);

/** @brief Any packet of a family. */
void bench_random(struct bench_rng *rng, bool is_v6, struct fw_key *ret);
