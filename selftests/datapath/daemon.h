/* SPDX-License-Identifier: GPL-2.0-only */

/* What a daemon has of rules and programs, for the tests of the datapath. */
#pragma once

#include "selftests/datapath/room.h"

struct daemon {
	struct fw_loop *loop;
	struct fw_datapath *dp;
	struct fw_apply *apply;
};

/** @brief Adopt what is there, or load programs; fails the test if it cannot. */
struct daemon start(void);
void stop(struct daemon *d);

/** @brief Load rules that have to be right. */
void load(struct daemon *d, const char *text);

/**
 * @brief Load rules that are refused with this errno and text.
 *
 * @param want_at  what the refusal points to; NULL: nothing
 */
void fail_to_load(struct daemon *d, const char *text, int want,
		  const char *want_text, const char *want_at);

/** @brief Slot of the row with this label; it has to be its owner. */
uint32_t slot_of(const struct daemon *d, const char *label);

/** @brief Let the running programs have counted this on a CPU. */
void set_counter(const struct daemon *d, uint32_t cpu, uint32_t slot,
		 const struct fw_rule_counter *value);

/** @brief Let the running programs have counted packets, on CPU 0. */
void set_packets(const struct daemon *d, uint32_t slot, uint64_t packets);

/** @brief What all programs have counted, on all CPUs. */
uint64_t packets_of(const struct daemon *d, uint32_t slot);
