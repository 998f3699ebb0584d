/* SPDX-License-Identifier: GPL-2.0-only */

/* What XDP knows and counts of security associations, for user space as well. */
#pragma once

#include "kern/abi.h"

#define FW_MAX_SAS	 8192 /* `sas`: those that somebody had packets for */
#define FW_MAX_ESP_MARKS 8

/* `sas`: one association; those that differ in their mark alone are one. */
struct fw_sa_key {
	struct fw_addr daddr;
	__be32 spi;
	__u8 proto;  /* IPPROTO_ESP, IPPROTO_AH */
	__u8 family; /* FW_AF_* */
	__u8 pad[2];
};

/* There is one of each that the kernel had a state for, be it larval, and of no other. */
struct fw_sa {
	__u64 valid_ns;	 /* CLOCK_MONOTONIC, coarse: last valid; 0: never */
	__u64 larval_ns; /* since when it is larval; 0: it is not */
	__u64 packets;	 /* that had a state */
	__u64 bytes;	 /* of their frames */
	__u64 replayed; /* of them, those that had been there, or were too old */
};

/*
 * `esp_marks`: a state with a mark is found by that mark alone. User space writes a mark
 * where it stays, so that no packet misses it for another one that comes or goes. Any
 * mark may be there twice; packets are looked up without a mark first.
 */
struct fw_esp_marks {
	__u32 mark[FW_MAX_ESP_MARKS];
	__u32 n;       /* all behind are unused */
	__u32 unknown; /* there are more: nobody may drop for want of a state */
};

/*
 * `esp_counts`: what lookups of states have come to, packets but for the errors. X(symbol,
 * "name")
 */
#define FW_ESP_COUNTS(X)                                                       \
	X(VALID, "valid")                                                      \
	X(REPLAY, "replay")                                                    \
	X(LARVAL, "larval")   /* in time */                                    \
	X(GRACE, "grace")     /* no longer valid, let in for the rest of it */ \
	X(UNKNOWN, "unknown") /* dropped, or logged alone */                   \
	X(UNSURE, "unsure")   /* not found, but marks or errors leave doubt */ \
	X(NOENT, "enoent")    /* lookups that failed, by error */              \
	X(NONET, "enonet")                                                     \
	X(INVAL, "einval")                                                     \
	X(OTHER, "other")

enum fw_esp_count {
#define FW_ESP_ENUM(sym, name) FW_ESP_##sym,
	FW_ESP_COUNTS(FW_ESP_ENUM)
#undef FW_ESP_ENUM
		FW_ESP_MAX
};

struct fw_esp_counts {
	__u64 n[FW_ESP_MAX];
};

#ifndef __cplusplus
_Static_assert(sizeof(struct fw_sa_key) == 24, "fw_sa_key");
_Static_assert(sizeof(struct fw_sa) == 40, "fw_sa");
_Static_assert(sizeof(struct fw_esp_marks) == 40, "fw_esp_marks");
#endif
