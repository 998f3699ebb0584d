/* SPDX-License-Identifier: GPL-2.0-only */

/* What both sides of the bench of address sets know. */
#pragma once

#include "kern/abi.h"

#define BENCH_KEYS  (1u << 18)
#define BENCH_STEPS 256 /* lookups in one run of a program */

/* IPv4 addresses are mapped into IPv6, as in struct fw_key. */
struct bench_keys {
	struct fw_addr addr[BENCH_KEYS];
};
