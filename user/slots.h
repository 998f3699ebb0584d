/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Which rule owns which row of `rule_stats`. A label keeps its slot from one
 * rule set to the next, so that its counters go on.
 *
 * A load is a round: begin, assign every label, clear what is new, then either
 * commit, which frees the slots that no label of the round took, or abort, which
 * frees the new ones.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fw_datapath;
struct fw_slots;

/**
 * @brief Size of a map of counters for so many labels.
 *
 * @return a power of two, from FW_SLOTS_MIN to FW_MAX_SLOTS
 */
uint32_t fw_slots_size(size_t n_labels);

/**
 * @brief An empty table; NULL without memory.
 *
 * @param size     how many slots the running programs have, fw_slots_size()
 * @param is_zero  nothing has counted in any of them
 */
struct fw_slots *fw_slots_new(uint32_t size, bool is_zero);
void fw_slots_free(struct fw_slots *slots);

void fw_slots_begin(struct fw_slots *slots, uint32_t size);

/**
 * @brief The slot of `label`: its old one, or a free one.
 *
 * One that the running programs do not have only if all others are taken, by
 * this round or by the rules before; see fw_slots_needed().
 *
 * @return 0, -ENOSPC if all are taken, or -ENOMEM
 */
int fw_slots_assign(struct fw_slots *slots, const char *label,
		    uint32_t *ret_slot);

/** @brief How many slots there have to be for this round, fw_slots_size(). */
uint32_t fw_slots_needed(const struct fw_slots *slots);

/** @brief Have the counters of all new slots be 0. */
void fw_slots_clear_new(const struct fw_slots *slots,
			const struct fw_datapath *dp);

/**
 * @brief Take a slot that `label` owns already, when rules are adopted.
 *
 * @return 0, -ERANGE if there is no such slot, -EBUSY if another label has it,
 *         or -ENOMEM
 */
int fw_slots_claim(struct fw_slots *slots, const char *label, uint32_t slot);

/** @param load  number of the load, from 1; see fw_slots_since() */
void fw_slots_commit(struct fw_slots *slots, uint64_t load);
void fw_slots_abort(struct fw_slots *slots);

/** @brief Label of a slot, also of one that was freed; NULL: never used. */
const char *fw_slots_label(const struct fw_slots *slots, uint32_t slot);

#define FW_SLOTS_NEVER UINT64_MAX

/**
 * @brief Since which load it is the label of that slot.
 *
 * @return what fw_slots_commit() was given; 0: nobody else is known to have had it;
 *         FW_SLOTS_NEVER: of a round that was aborted
 */
uint64_t fw_slots_since(const struct fw_slots *slots, uint32_t slot);
