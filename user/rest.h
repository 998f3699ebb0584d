/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * How long the picture of the connection table may rest between two dumps. A dump that
 * finds it right after such a rest doubles it, whatever casts doubt on it ends that.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define FW_REST_MAX_MS 300000ull

struct fw_rest {
	uint64_t ms;	    /* the last one; 0: there is doubt */
	uint64_t dumped_ms; /* when the last dump ended */
};

/**
 * @brief Milliseconds until the next dump, after one that has ended now.
 *
 * @param usual_ms   if there is doubt, and never less
 * @param known_ms   until then no flow is taken for dead because its time has run out
 * @param was_right  it has found nothing that had not been told
 */
uint64_t fw_rest_after_dump(struct fw_rest *rest, uint64_t now_ms,
			    uint64_t usual_ms, uint64_t known_ms,
			    bool was_right);

/** @brief Something may have happened that nobody tells. */
void fw_rest_doubt(struct fw_rest *rest);
