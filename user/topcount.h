/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The busiest flows and sources of two walks over the flow table: what each flow has
 * counted since the walk before. Pure, and of one size: 6 MiB, however many flows there
 * are; what there is no room for is left out and counted.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "user/mirror.h"

#define FW_TOP_MOST 100 /* rows of a list */

struct fw_top_flow {
	struct fw_flow flow;
	uint64_t packets, bytes; /* since the walk before, both directions */
};

struct fw_top_source {
	struct fw_addr addr;
	uint64_t packets, bytes;
	uint64_t flows; /* that it has opened and that are there */
	uint8_t family; /* 0: unused */
};

struct fw_topcount;

/** @brief Nothing counted; NULL without memory or random numbers. */
struct fw_topcount *fw_topcount_new(void);
void fw_topcount_free(struct fw_topcount *top);

/** @brief Begin a walk at CLOCK_MONOTONIC `now_ns`. */
void fw_topcount_begin(struct fw_topcount *top, uint64_t now_ns);

/** @brief A flow of the walk, with its counts if there are any. */
void fw_topcount_add(struct fw_topcount *top, const struct fw_flow *flow);

/** @brief The walk is over: puts the lists into order. */
void fw_topcount_end(struct fw_topcount *top);

/** @brief Seconds between the beginnings of the last two walks; 0: there was one. */
double fw_topcount_seconds(const struct fw_topcount *top);

/** @brief Flows that have counted most, borrowed; the most bytes first. */
const struct fw_top_flow *fw_topcount_flows(const struct fw_topcount *top,
					    size_t *ret_n);

/**
 * @brief Sources of most bytes, and behind them those of most flows that are not among
 *        them, borrowed; FW_TOP_MOST of each at most.
 */
const struct fw_top_source *fw_topcount_sources(const struct fw_topcount *top,
						size_t *ret_n);

/** @brief Flows and sources of the last walk that there was no room for. */
uint64_t fw_topcount_left_out(const struct fw_topcount *top);

/** @brief Has any flow of the last walk been counted by anybody? */
bool fw_topcount_is_counted(const struct fw_topcount *top);
