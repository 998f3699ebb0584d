/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Flows by protocol and state, counted as they come, change and go, so that nobody
 * has to walk over a million of them to know.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "kern/abi.h"

/* Protocols that are told apart. */
enum fw_census_proto {
	FW_CENSUS_TCP,
	FW_CENSUS_UDP,
	FW_CENSUS_ICMP,
	FW_CENSUS_ICMPV6,
	FW_CENSUS_OTHER,
	FW_CENSUS_PROTO_MAX,
};

/* A cell for each state of TCP; two, unanswered and answered, for each other one. */
#define FW_CENSUS_NOBODY \
	0u /* the cell of what is no flow; its count is nothing */
#define FW_CENSUS_OTHERS (1u + FW_TCP_STATE_MAX)
#define FW_CENSUS_CELLS	 (FW_CENSUS_OTHERS + 2u * (FW_CENSUS_PROTO_MAX - 1u))

struct fw_census {
	uint64_t n[FW_CENSUS_CELLS];
};

static inline enum fw_census_proto fw_census_proto(uint8_t proto)
{
	switch (proto) {
	case IPPROTO_TCP:
		return FW_CENSUS_TCP;
	case IPPROTO_UDP:
		return FW_CENSUS_UDP;
	case IPPROTO_ICMP:
		return FW_CENSUS_ICMP;
	case IPPROTO_ICMPV6:
		return FW_CENSUS_ICMPV6;
	default:
		return FW_CENSUS_OTHER;
	}
}

/**
 * @brief The cell of a flow; never FW_CENSUS_NOBODY.
 *
 * @param proto      IPPROTO_*
 * @param tcp_state  enum fw_tcp_state; TCP only
 */
static inline unsigned int fw_census_cell(uint8_t proto, uint8_t tcp_state,
					  bool replied)
{
	enum fw_census_proto p = fw_census_proto(proto);

	if (p == FW_CENSUS_TCP)
		return 1u + (tcp_state < FW_TCP_STATE_MAX ? tcp_state : 0u);
	return FW_CENSUS_OTHERS + 2u * ((unsigned int)p - 1u) + replied;
}

/** @brief A flow has come (before: NOBODY), changed, or gone (after: NOBODY). */
static inline void fw_census_move(struct fw_census *census, unsigned int before,
				  unsigned int after)
{
	census->n[before]--;
	census->n[after]++;
}

/**
 * @brief Flows that people see in one protocol and state, which may be several cells.
 *
 * @param ret  receives the sum
 * @return false if an earlier cell has been asked for them already
 */
bool fw_census_sum(const struct fw_census *census, unsigned int cell,
		   uint64_t *ret);

/** @brief The protocol of a cell in a word: "tcp", "other"; static. */
const char *fw_census_proto_name(unsigned int cell);

/** @brief Its state as fw_flow_state() says it: "ESTABLISHED", "UNREPLIED"; static. */
const char *fw_census_state_name(unsigned int cell);
