/* SPDX-License-Identifier: GPL-2.0-only */

/* What only `fwctl top` asks for, made in slices and only while it runs. */
#pragma once

#include "user/control.h"

/** @brief Counters of rules that have counted anything, a row each. */
void fw_handle_rule_counts(void *data, struct fw_request *request,
			   const json_t *args);

/** @brief A stream: the busiest flows and sources, each interval anew. */
void fw_handle_top_flows(void *data, struct fw_request *request,
			 const json_t *args);
