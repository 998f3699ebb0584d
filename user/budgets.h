/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * How many records of packets the programs have not made, because there were too
 * many: read from their counters, a second after there were any.
 */
#pragma once

#include <stdint.h>

#include "kern/abi.h"

struct fw_budgets;
struct fw_loop;

/**
 * @brief So many packets have no record.
 *
 * @param last  the last record of the same budget, of which these are more; its
 *              type is 0 if there was none since the start
 */
typedef void (*fw_budgets_fn)(void *data, const struct fw_event *last,
			      uint64_t n);

/**
 * @brief Begin; what was suppressed before is nobody's.
 *
 * @param map  descriptor of the map `log_budgets`, borrowed
 * @return 0 or a negative errno
 */
int fw_budgets_new(struct fw_loop *loop, int map, fw_budgets_fn fn, void *data,
		   struct fw_budgets **ret);
void fw_budgets_free(struct fw_budgets *budgets);

/** @brief A LOG, DROP or ESP record has come. */
void fw_budgets_note(struct fw_budgets *budgets, const struct fw_event *event);
