/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * What those who watch have asked for, monitors and captures, held against the running
 * rules: the words of a request, names in them, and whether a packet or flow is meant.
 */
#pragma once

#include <jansson.h>

#include "user/monitorquery.h"

struct fw_daemon;

typedef int (*fw_watch_parse_fn)(const char *const *words, size_t n,
				 struct fw_monitor_query *ret, char **reterr);

/**
 * @brief Read the words of a request.
 *
 * @param parse      of the command
 * @param ret_words  to be released behind the query, which borrows them; also on
 *                   failure
 * @param reterr     on failure one line for the user
 * @return 0, -EINVAL or -ENOMEM
 */
int fw_watch_read(const struct fw_daemon *daemon, const json_t *args,
		  fw_watch_parse_fn parse, json_t **ret_words,
		  struct fw_monitor_query *ret, char **reterr);

/**
 * @brief Does a flow match all that is no kind and no reason?  Or a packet, as if it
 *        opened a flow.
 *
 * @param label  of the rule; NULL: none
 */
bool fw_watch_matches(const struct fw_daemon *daemon,
		      const struct fw_monitor_query *query,
		      const struct fw_flow *flow, const char *label);
