/* SPDX-License-Identifier: GPL-2.0-only */

/* The lines that rules with `log` write: one a packet, not more than a few a second. */
#pragma once

#include <stdint.h>

#include "kern/abi.h"

struct fw_apply;
struct fw_loop;
struct fw_rulelog;

/** @brief NULL with errno set. */
struct fw_rulelog *fw_rulelog_new(struct fw_loop *loop);
void fw_rulelog_free(struct fw_rulelog *log);

/** @brief Print a record of type FW_EVENT_LOG or FW_EVENT_ESP, or count it as suppressed. */
void fw_rulelog_event(struct fw_rulelog *log, const struct fw_apply *apply,
		      const struct fw_event *event);

/** @brief So many more have no record, because a rule had too many. */
void fw_rulelog_suppressed(struct fw_rulelog *log, uint64_t n);
