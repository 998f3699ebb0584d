/* SPDX-License-Identifier: GPL-2.0-only */

/* What the oracle of the rules and its programs share. */
#pragma once

#include "kern/abi.h"

#define RULES_KEYS 16384 /* packets a run, a power of two */

struct rules_keys {
	struct fw_key key[RULES_KEYS];
};

struct rules_answers {
	struct fw_result result[RULES_KEYS];
};
