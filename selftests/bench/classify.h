/* SPDX-License-Identifier: GPL-2.0-only */

/* What the bench of the classifier and its programs share. */
#pragma once

#include "kern/abi.h"

#define BENCH_KEYS 65536 /* packets, a power of two */

struct bench_keys {
	struct fw_key key[BENCH_KEYS];
};

struct bench_answers {
	struct fw_result result[BENCH_KEYS];
};
