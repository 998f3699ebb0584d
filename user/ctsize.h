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
