/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Which flows are meant: the words behind `show flows` and `flows kill`.
 *
 * Client and daemon read them with the same function: the client to say at once
 * what is wrong, the daemon to pick the flows out of the table. What the words
 * mean depends on the running rules for labels and zones only, which the daemon
 * looks up.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "user/mirror.h"

enum fw_flow_sort {
	FW_FLOW_SORT_NONE,
	FW_FLOW_SORT_AGE,     /* oldest first */
	FW_FLOW_SORT_TIMEOUT, /* what ends first, first */
	FW_FLOW_SORT_PROTO,
	FW_FLOW_SORT_FROM,
	FW_FLOW_SORT_TO,
	FW_FLOW_SORT_PORT, /* that the opener sent to */
	FW_FLOW_SORT_STATE,
	FW_FLOW_SORT_RULE,
	FW_FLOW_SORT_PACKETS, /* of both directions, most first */
	FW_FLOW_SORT_BYTES,
};

/* A prefix; addresses as in struct fw_addr. */
struct fw_flow_prefix {
	struct fw_addr addr;
	uint8_t family; /* 0: not given */
	uint8_t bits;	/* of the 128 */
};

struct fw_flow_query {
	uint64_t protos[4]; /* a bit for each; all 0: any */
	struct fw_flow_prefix from, to;
	uint16_t first_port, last_port;
	bool has_port;
	uint8_t family;	   /* FW_AF_*; 0: both */
	const char *state; /* as fw_flow_state() says it; NULL: any */
	const char *rule;  /* label, borrowed from the words; NULL: any */
	const char *zone;
	bool all; /* said so */
	bool has_terms;
	/* of show flows only */
	enum fw_flow_sort sort;
	bool reverse;
	bool count;
};

/**
 * @brief Read the words.
 *
 * @param words   borrowed for as long as the query
 * @param reterr  on failure one line for the user that says what would be right
 * @return 0, -EINVAL or -ENOMEM
 */
int fw_flow_query_parse(const char *const *words, size_t n,
			struct fw_flow_query *ret, char **reterr);

/**
 * @brief May these flows be killed?  Words that only list them are refused, and
 *        no words at all: they would mean every flow.
 *
 * @return 0 or -EINVAL, as fw_flow_query_parse()
 */
int fw_flow_query_check_kill(const struct fw_flow_query *query, char **reterr);

/** @brief Does a flow match all terms but those of rule and zone? */
bool fw_flow_query_matches(const struct fw_flow_query *query,
			   const struct fw_flow *flow);

/** @brief The state of a flow in a word: "ESTABLISHED", "UNREPLIED"; static. */
const char *fw_flow_state(const struct fw_flow *flow);

/**
 * @brief Where a flow is in an order: a text; strcmp() of two says which comes first.
 *
 * @param label  of its rule, or NULL
 * @return to be freed; NULL without memory
 */
char *fw_flow_order(enum fw_flow_sort sort, const struct fw_flow *flow,
		    const char *label);
