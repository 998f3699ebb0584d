/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Maps of counters (`stats`, `rule_stats`) as memory of ours.
 *
 * Such a map is an array with a block of counters for each CPU, and each counter
 * is some words of 64 bits. CPUs have numbers with gaps here and there, so there
 * is a block for every number up to the greatest possible one.
 *
 * Only programs on its CPU add to a word, and it is aligned: no word is ever
 * seen torn. They never stop while we read, so a sum may miss the packets of the
 * last microseconds.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/types.h>

#include "kern/abi.h"

/* The list of CPUs that there may ever be. */
#define FW_COUNTERS_POSSIBLE "/sys/devices/system/cpu/possible"

/* A map that is mapped; all zero: none. */
struct fw_counters {
	__u64 *words;	/* of CPU 0, counter 0 */
	size_t len;	/* of the mapping, bytes */
	uint32_t cpus;	/* blocks */
	uint32_t n;	/* counters of a block */
	uint32_t width; /* words of a counter */
};

/* CPUs that there may ever be, in ascending order. */
struct fw_cpus {
	uint32_t n;
	uint32_t id[FW_MAX_CPUS];
};

/**
 * @brief Read a list as sysfs writes it, like "0-3,8-11\n".
 *
 * @return the greatest number in it and one, or -EINVAL
 */
int fw_counters_parse_cpus(const char *list, struct fw_cpus *ret);

/**
 * @brief How many blocks such a map needs: the greatest number that a CPU can
 *        have, and one.
 *
 * @return a positive number, or a negative errno if the kernel does not tell
 */
int fw_counters_cpus(void);

/**
 * @brief How many values a per-CPU map has under each key.
 *
 * @return as fw_counters_cpus()
 */
int fw_counters_values(void);

/**
 * @brief Tell programs where the block of each CPU begins, before they run.
 *
 * @param work   their map of that name
 * @param slots  rule counters of each CPU
 * @return 0 or a negative errno
 */
int fw_counters_put_bases(int work, uint32_t slots);

/**
 * @brief Map a map of counters.
 *
 * The mapping keeps the map alive; `fd` may be closed.
 *
 * @param cpus  blocks that it has, fw_counters_cpus()
 * @param ret   fw_counters_unmap(); not touched on failure
 * @return 0, -EBADMSG if it cannot have as many blocks of words, or another
 *         negative errno
 */
int fw_counters_map(int fd, uint32_t cpus, struct fw_counters *ret);

/** @brief Give it back; nothing happens if there is none. */
void fw_counters_unmap(struct fw_counters *counters);

/**
 * @brief Add a counter of all CPUs to a sum.
 *
 * @param index  below `counters->n`
 * @param sum    as many words as a counter has
 */
void fw_counters_add(const struct fw_counters *counters, uint32_t index,
		     __u64 *sum);

/** @brief Zero a counter on all CPUs; `index` is below `counters->n`. */
void fw_counters_clear(const struct fw_counters *counters, uint32_t index);

/**
 * @brief Copy counters CPU by CPU, as many as both have.
 *
 * Exact as long as nobody writes either of them.
 */
void fw_counters_copy(const struct fw_counters *from,
		      const struct fw_counters *to);
