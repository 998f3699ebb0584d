/* SPDX-License-Identifier: GPL-2.0-only */

/* Replies of the daemon as samples of what `fwctl top` shows. */
#pragma once

#include <jansson.h>

#include "user/topmodel.h"

#define FW_TOP_SUMMARY 160

/** @brief The rows of a view in a reply to `status`; 0 or -ENOMEM. */
int fw_top_feed_status(struct fw_top_model *model, const json_t *result,
		       uint64_t now_ns);

/** @brief The rows of rules, a reply to `rule-counts`; 0 or -ENOMEM. */
int fw_top_feed_rules(struct fw_top_model *model, const json_t *result,
		      uint64_t now_ns);

/** @brief An item of the stream `top-flows`; 0 or -ENOMEM. */
int fw_top_feed_flows(struct fw_top_model *model, const json_t *item,
		      uint64_t now_ns);

/** @brief How full the connection table is, of a reply to `status`. */
void fw_top_summary(const json_t *result, char text[FW_TOP_SUMMARY]);

/** @brief What to know about an item of `top-flows`: what was left out; or "". */
void fw_top_note(const json_t *item, enum fw_top_view view,
		 char text[FW_TOP_SUMMARY]);
