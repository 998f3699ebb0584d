/* SPDX-License-Identifier: GPL-2.0-only */

/* How large the connection table is, and how full. */
#pragma once

#include <stdint.h>

/* Of this namespace; 0 for what cannot be read. */
struct fw_ctsize {
	uint64_t entries;
	uint64_t limit;	  /* 0 also if there is none */
	uint64_t buckets; /* of all namespaces together */
};

void fw_ctsize_read(struct fw_ctsize *ret);

/** @brief Entries alone, those that have expired and are still there too; 0 or -errno. */
int fw_ctsize_entries(uint64_t *ret);

/* What the kernel counts of its connection table, in all 32 bits: they wrap. */
struct fw_ctevents {
	uint32_t
		inserts; /* by BPF and ctnetlink; not by the kernel's own hooks */
	uint32_t insert_failed;
	uint32_t
		drop; /* packets whose entry the kernel itself could not make */
	uint32_t early_drop; /* entries that made room for others */
};

/**
 * @brief Sums over all CPUs since the network namespace was made.
 *
 * @return 0, or a negative errno if this kernel does not show them
 */
int fw_ctevents_read(struct fw_ctevents *ret);
