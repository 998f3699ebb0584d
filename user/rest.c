/* SPDX-License-Identifier: GPL-2.0-only */

/* How long the picture of the connection table may rest between two dumps. */
#include "user/rest.h"

static uint64_t at_least(uint64_t ms, uint64_t least_ms)
{
	return ms > least_ms ? ms : least_ms;
}

static uint64_t at_most(uint64_t ms, uint64_t most_ms)
{
	return ms < most_ms ? ms : most_ms;
}

uint64_t fw_rest_after_dump(struct fw_rest *rest, uint64_t now_ms,
			    uint64_t usual_ms, uint64_t known_ms,
			    bool was_right)
{
	uint64_t rested_ms = now_ms - rest->dumped_ms;

	rest->dumped_ms = now_ms;
	if (!was_right || !rest->ms)
		rest->ms = usual_ms;
	else if (rested_ms >= rest->ms) /* or somebody has asked sooner */
		rest->ms = at_most(2 * at_least(rest->ms, usual_ms),
				   FW_REST_MAX_MS);
	return at_least(at_most(rest->ms, known_ms), usual_ms);
}

void fw_rest_doubt(struct fw_rest *rest)
{
	rest->ms = 0;
}
