/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The programs loaded into a network namespace of our own, fed packet by packet
 * through BPF_PROG_TEST_RUN. No daemon, no traffic: what is tested is kern/.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kern/host_abi.h"
#include "rules/rules.h"
#include "user/counters.h"

struct fw_hosttab;
struct fwctl_bpf;

/* Interfaces of the namespace, veth pairs whose peers nobody looks at. */
#define HARNESS_MAX_IFACES 4
#define HARNESS_MAX_SELVES 64
#define HARNESS_MAX_FRAME  16384

struct harness {
	struct fwctl_bpf *skel;
	struct fw_program *program;
	uint32_t gen;
	struct fw_image_past past;
	uint32_t ifindex[HARNESS_MAX_IFACES]; /* of if0, if1, ... */
	uint16_t iface_flags;		      /* FW_IFACE_* of all */
	unsigned int slave; /* of if0, if that is a bond; 0: none */
	unsigned int ipsec; /* bit of each that encrypts what leaves by it */
	struct fw_self_entry selves[HARNESS_MAX_SELVES];
	size_t n_selves;
	struct fw_hosttab *tables;
	struct fw_counters stats, rule_stats;
};

/* What one run of one program did. */
struct outcome {
	bool drop;
	enum fw_reason reason;	/* the one counter that moved */
	unsigned int n_reasons; /* how many moved: must be 1 */
	uint32_t slot;		/* the rule counter that moved, 0: none */
	unsigned int n_slots;
	uint64_t bytes;			 /* what the counter has grown by */
	uint8_t data[HARNESS_MAX_FRAME]; /* the packet afterwards */
	uint32_t len;
	int action; /* what the program returned */
};

/** @brief Unshare the network namespace, make interfaces, load; exits on error. */
void harness_init(struct harness *h);

/** @brief The same with counters for so many CPUs, and not for all. */
void harness_init_for(struct harness *h, uint32_t cpus);

/** @brief The same with room for so many flows that nf_conntrack does not take. */
void harness_init_small(struct harness *h, uint32_t xflows);

/** @brief The same with as many places for offloaded flows of a CPU as one flow may have. */
void harness_init_tight(struct harness *h);

void harness_done(struct harness *h);

/**
 * @brief Compile `text` and make it the running rules.
 *
 * Zones are matched to if0..if3 by interface name. Row i has counter slot
 * i + 1, the defaults the three behind.
 *
 * @return 0, or -1 with the messages printed to stderr
 */
int harness_rules(struct harness *h, const char *text);

/** @brief Make an address one of this host; text form, FW_SELF_* flags. */
void harness_self(struct harness *h, const char *addr, uint32_t flags);

/**
 * @brief Say how full the connection table is, as the daemon does.
 *
 * @param room       flows that it still takes
 * @param half_open  seconds that unanswered flows live at most; 0: any
 * @param seconds    for how long that holds; 0: it is over
 */
void harness_pressure(struct harness *h, int64_t room, uint32_t half_open,
		      uint32_t seconds);
/** @brief Have the next rules adopt older connections for so many seconds. */
void harness_adopt(struct harness *h, uint64_t seconds);

/** @brief Forget all flows, ours and those of the namespace's conntrack. */
void harness_flush(struct harness *h);

/** @brief Delete all of the namespace's conntrack, and tell nobody. */
void harness_flush_conntrack(void);

/** @brief Forget what is kept of flows beside their entries, as many others would. */
void harness_evict(struct harness *h);

/**
 * @brief Run one program on one frame.
 *
 * @param hook  which program
 * @param iface number of the interface it runs on
 * @param iif   egress: number of the interface it came in by, or -1
 * @return 0, or -1 if the kernel refused to run it
 */
int harness_run(struct harness *h, enum fw_hook hook, unsigned int iface,
		int iif, const uint8_t *frame, uint32_t len,
		struct outcome *ret);
