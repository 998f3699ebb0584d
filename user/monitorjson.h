/* SPDX-License-Identifier: GPL-2.0-only */

/* Live events as JSON, with the place of the rule behind them. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "user/mirror.h"

struct fw_daemon;
struct fw_ir_row;
struct fw_places;

/** @brief Where the rules stand in their files; NULL without memory. */
struct fw_places *fw_places_new(const struct fw_daemon *daemon);
void fw_places_free(struct fw_places *places);

/** @brief Other rules may come under the same generation. */
void fw_places_forget(struct fw_places *places);

/** @brief The rule behind a packet, borrowed; NULL: none, or it is gone. */
const struct fw_ir_row *fw_places_row(struct fw_places *places,
				      const struct fw_event *event);

/** @brief Label of the rule behind a packet, borrowed; NULL: no rule is. */
const char *fw_event_label(const struct fw_daemon *daemon,
			   const struct fw_event *event);

/** @brief What became of the packet of a LOG or DROP record. */
enum fw_verdict fw_event_verdict(const struct fw_event *event);

/** @brief A LOG or DROP record; NULL without memory. */
json_t *fw_event_json(struct fw_places *places, const struct fw_event *event);

/** @brief A flow that came or went; NULL without memory. */
json_t *fw_flow_event_json(struct fw_places *places, enum fw_flow_news news,
			   const struct fw_flow *flow,
			   const struct fw_flow *before);

/**
 * @brief So many more packets have no record of their own.
 *
 * @param last  as of fw_budgets_fn
 */
json_t *fw_suppressed_json(struct fw_places *places,
			   const struct fw_event *last, uint64_t n);

/** @brief So many events were left out of a stream. */
json_t *fw_lost_json(uint64_t n);
