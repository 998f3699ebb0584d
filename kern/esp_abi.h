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
	__u64 steer;	/* fw_steer_word() of its CPU; 0: it has none */
};

/*
 * `esp_steer`: the CPUs that associations are steered to. User space writes; a CPU comes
 * into `esp_cpus` before it comes here, and leaves that after this. While it writes, a
 * packet may see a part of it: no harm, see fw_steer_cpu() and action_steer().
 */
struct fw_esp_steer {
	__u64 has[FW_MAX_STEER_CPUS / 64]; /* a bit for each that is below */
	__u32 n;			   /* 0: nowhere */
	__u32 epoch; /* another one when CPUs have come: all choose again */
	__u32 turn;  /* which of them is the next one's; programs write */
	__u32 pad;
	__u16 cpu[FW_MAX_STEER_CPUS];
};

#define FW_ESP_STEER_QUEUE 2048 /* packets that wait for a CPU, at most */

static __inline__ __u64 fw_steer_word(__u32 epoch, __u32 cpu)
{
	return (__u64)epoch << 32 | (cpu + 1);
}

/* The CPU of such a word, if it is still one of the list; -1: it is not. */
static __inline__ int fw_steer_cpu(const struct fw_esp_steer *s, __u64 word)
{
	__u32 cpu = (__u32)word - 1;

	if (cpu >= FW_MAX_STEER_CPUS || word >> 32 != s->epoch)
		return -1;
	return s->has[cpu / 64] >> cpu % 64 & 1 ? (int)cpu : -1;
}

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
_Static_assert(sizeof(struct fw_sa) == 48, "fw_sa");
_Static_assert(sizeof(struct fw_esp_marks) == 40, "fw_esp_marks");
#endif
