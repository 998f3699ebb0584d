/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * What a firewall in the middle may conclude from a TCP segment, told once more and
 * in another way than kern/tcp.h does: by what is known of a connection, not by a
 * table of its states.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kern/abi.h"

/* What a segment does to a flow in a state. */
struct tcp_verdict {
	/* FW_REASON_ESTABLISHED, that of a drop, or NEW: the rules are to be asked */
	enum fw_reason reason;
	enum fw_tcp_state next;
	bool is_refreshed; /* without a change of state */
	bool is_reset;	   /* its life does not become longer */
};

/* What the state does not say. */
struct tcp_known {
	bool acks;    /* the segment: the SYN of the other side */
	bool assured; /* the flow: there has been a connection */
};

/** @brief Judge a segment of a flow that the rules have accepted. */
struct tcp_verdict tcp_judge(enum fw_tcp_state state, bool reply, uint8_t flags,
			     struct tcp_known known);
