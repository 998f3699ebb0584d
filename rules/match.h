/* SPDX-License-Identifier: GPL-2.0-only */

/* From rules to what kern/match.h walks. */
#pragma once

#include "bytes.h"
#include "rules.h"

/* What became of the rules; for tests, benches and warnings. */
struct fw_match_stats {
	size_t parts; /* single matches that the rules were taken apart into */
	size_t entries; /* as written: some parts several times, dead ones never */
	size_t tables; /* of all chains */
	size_t terms;
	uint32_t most_tables;  /* of one chain */
	uint32_t longest_list; /* entries that one packet may have to pass */
	uint32_t most_steps;   /* of one walk, at worst */
	uint32_t slowest_rule; /* the first one of the longest list */
};

/*
 * More steps than this in one walk, and the rules are no longer judged at one
 * flat cost: worth a warning that names `slowest_rule`.
 */
#define FW_MATCH_FAST_STEPS 64

/**
 * @brief Append the compiled rules to an image.
 *
 * Same program, same bytes. The image grows by at most 88 bytes a rule, its sets,
 * and 140 (IPv4) or 240 (IPv6) bytes for each of its parts, typically 50 and 90.
 * A rule has one part for each family, direction and pair of addresses or ports
 * it names, as long as those beyond the first do not exceed four times the
 * rules, nor 262,144.
 *
 * @param program        compiled rules; borrowed
 * @param slots          counter slot of each row, in file order; borrowed
 * @param default_slots  counter slot of each enum fw_dir
 * @param bytes          image to append to; what is in it must not be empty,
 *                       for offset 0 is nothing; spoiled on failure
 * @param ret_off        offset of the struct fw_match_head
 * @param ret_stats      filled in, or NULL
 * @return 0, -E2BIG if the rules are more than FW_MATCH_MAX_RULES or a set is
 *         too large, or -ENOMEM, also if the image grows beyond FW_BYTES_MAX
 */
int fw_match_build(const struct fw_program *program, const uint32_t *slots,
		   const uint32_t default_slots[FW_DIR_MAX],
		   struct fw_bytes *bytes, uint32_t *ret_off,
		   struct fw_match_stats *ret_stats);
