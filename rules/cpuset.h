/* SPDX-License-Identifier: GPL-2.0-only */

/* A set of CPUs, and how the kernel writes one: "0-3,6". */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kern/abi.h"

struct fw_cpuset {
	uint64_t bits[FW_MAX_STEER_CPUS / 64];
};

/* Bytes of any set as text, with its end. */
#define FW_CPUSET_TEXT (FW_MAX_STEER_CPUS / 2 * sizeof("1023,"))

static inline bool fw_cpuset_has(const struct fw_cpuset *set, uint32_t cpu)
{
	return cpu < FW_MAX_STEER_CPUS && set->bits[cpu / 64] >> cpu % 64 & 1;
}

static inline void fw_cpuset_add(struct fw_cpuset *set, uint32_t cpu)
{
	set->bits[cpu / 64] |= 1ull << cpu % 64;
}

/* What is wrong with a part of a list. */
enum fw_cpuset_error {
	FW_CPUSET_OK = 0,
	FW_CPUSET_NO_NUMBER,
	FW_CPUSET_TOO_GREAT, /* FW_MAX_STEER_CPUS or more */
	FW_CPUSET_REVERSED,  /* 3-0 */
};

/* One part of a list: a number, or first and last one. */
struct fw_cpuset_part {
	uint32_t first, last; /* the greater ones of any size are UINT32_MAX */
};

/** @brief Read "6" or "0-3", nothing else; *ret is valid also if it is REVERSED. */
enum fw_cpuset_error fw_cpuset_part(const char *s, size_t len,
				    struct fw_cpuset_part *ret);

/** @brief Add all of a part that has been read. */
void fw_cpuset_add_part(struct fw_cpuset *set,
			const struct fw_cpuset_part *part);

/** @brief The set in the same form, ranges as long as can be; "" of an empty one. */
const char *fw_cpuset_text(char buf[FW_CPUSET_TEXT],
			   const struct fw_cpuset *set);
