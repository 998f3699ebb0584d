/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * What is to be monitored or captured: the words behind `monitor` and `capture`,
 * those of `show flows` among them. Client and daemon read them with the same function.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "user/flowquery.h"

#define FW_MONITOR_DROPS 0x1u
#define FW_MONITOR_FLOWS 0x2u
#define FW_MONITOR_LOGS	 0x4u /* of packets that are accepted */
#define FW_MONITOR_ALL	 0x7u

#define FW_MONITOR_WORDS 32 /* as many at most */

struct fw_monitor_query {
	unsigned int kinds;	 /* FW_MONITOR_* */
	uint64_t reasons;	 /* a bit for each enum fw_reason; 0: any */
	const char *interface;	 /* borrowed from the words; NULL: any */
	struct fw_flow_query of; /* all else; rule and zone are names */
};

/**
 * @brief Read the words.
 *
 * @param words   borrowed for as long as the query
 * @param reterr  on failure one line for the user that says what would be right
 * @return 0, -EINVAL or -ENOMEM
 */
int fw_monitor_query_parse(const char *const *words, size_t n,
			   struct fw_monitor_query *ret, char **reterr);

/** @brief The same of `capture`: FW_MONITOR_DROPS and FW_MONITOR_LOGS, of any verdict. */
int fw_capture_query_parse(const char *const *words, size_t n,
			   struct fw_monitor_query *ret, char **reterr);

/**
 * @brief Read names of reasons with commas between them.
 *
 * @param ret  their bits are added
 * @return 0 or -EINVAL, as fw_monitor_query_parse()
 */
int fw_reasons_parse(const char *list, uint64_t *ret, char **reterr);
