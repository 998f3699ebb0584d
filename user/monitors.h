/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Those who watch live events over the control socket: what each of them wants, and
 * what he has missed. Nobody waits for any of them.
 */
#pragma once

#include "user/mirror.h"

struct fw_daemon;
struct fw_monitors;

/** @brief NULL without memory. */
struct fw_monitors *fw_monitors_new(struct fw_daemon *daemon);

/** @brief Nobody may be connected any more. */
void fw_monitors_free(struct fw_monitors *monitors);

/** @brief A LOG or DROP record has come. */
void fw_monitors_event(struct fw_monitors *monitors,
		       const struct fw_event *event);

/** @brief So many more have none; as fw_budgets_fn. */
void fw_monitors_suppressed(struct fw_monitors *monitors,
			    const struct fw_event *last, uint64_t n);

/** @brief How many there are. */
unsigned int fw_monitors_count(const struct fw_monitors *monitors);

/** @brief There is nothing to watch any more, and this is why. */
void fw_monitors_end(struct fw_monitors *monitors, const char *why);
