/* SPDX-License-Identifier: GPL-2.0-only */

/* Flows as `--json` shows them, and whose they are: for lists and for live events. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "user/mirror.h"

struct fw_daemon;
struct fw_zone;

/** @brief Addresses and ports, or identifier and type; NULL without memory. */
json_t *fw_tuple_json(const struct fw_tuple *tuple);

/** @brief A string, or null for NULL. */
json_t *fw_json_name(const char *name);

/** @brief A flow without its counts; NULL without memory. */
json_t *fw_flow_json(const struct fw_daemon *daemon,
		     const struct fw_flow *flow);

/** @brief Add what it has counted, of both directions; null: nobody has. */
void fw_flow_json_counts(json_t *json, const struct fw_flow *flow);

/** @brief The label of the rule that let it in, borrowed; NULL: not known. */
const char *fw_flow_label(const struct fw_daemon *daemon,
			  const struct fw_flow *flow);

/** @brief Do the running rules count packets and bytes of flows? */
bool fw_flows_are_counted(const struct fw_daemon *daemon);

/** @brief The zone of that name in the running rules, borrowed, or NULL. */
const struct fw_zone *fw_zone_find(const struct fw_daemon *daemon,
				   const char *name);

/** @brief Is it an interface of the zone? NULL is none. */
bool fw_zone_has(const struct fw_zone *zone, const char *ifname);

/** @brief Is it the label of a rule that runs, or of one that flows still bear? */
bool fw_label_exists(const struct fw_daemon *daemon, const char *label);
