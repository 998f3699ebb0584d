/* SPDX-License-Identifier: GPL-2.0-only */

/* A flow of the mirror in the words of conntrack(8). */
#pragma once

#include "user/mirror.h"

/**
 * @brief For fw_mirror_foreach(): add a row to `data`, a struct rows.
 *
 * Flows of our own are left out, the kernel has no entry of them.
 */
int show(void *data, const struct fw_flow *flow);
