/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * A connection table that fills up: it is watched, the programs are told how
 * much it still takes, and what holds its room for nothing goes early.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct fw_daemon;
struct fw_fill;

/* Why new flows got no entry. */
enum fw_refusal_cause {
	FW_REFUSED_FULL,
	FW_REFUSED_MEMORY, /* refused by a table that was not full */
	FW_REFUSED_INSERT, /* the chain of its bucket was too long */
	FW_REFUSED_PRESSURE,
	FW_REFUSED_MAX,
};

struct fw_fill_stats {
	bool is_tight;	      /* the table fills up */
	bool is_refusing;     /* new flows were refused in the last seconds */
	uint32_t half_open_s; /* what unanswered flows live at most; 0: any */
	uint64_t reaps;	      /* walks that freed expired entries */
	uint64_t refused[FW_REFUSED_MAX]; /* since the daemon started */
};

/** @brief The cause in a word, for metrics and JSON. */
const char *fw_refusal_cause_name(enum fw_refusal_cause cause);

/** @brief Watch from now on; the daemon's datapath and mirror are open. */
int fw_fill_new(struct fw_daemon *daemon, struct fw_fill **ret, char **reterr);

/** @brief Stop; the programs take new flows again as long as there is room. */
void fw_fill_free(struct fw_fill *fill);

void fw_fill_stats(const struct fw_fill *fill, struct fw_fill_stats *ret);
