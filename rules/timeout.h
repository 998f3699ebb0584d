/* SPDX-License-Identifier: GPL-2.0-only */

/* How long flows live: names, durations, where the values come from. */
#pragma once

#include "rules.h"

/** @brief What everybody has who says nothing. */
void fw_timeouts_init(struct fw_program *program);

/** @brief Set one timeout of a program, whatever it was before. */
void fw_timeout_set(struct fw_program *program, enum fw_timeout timeout,
		    uint32_t seconds, enum fw_timeout_origin origin);

/**
 * @brief Read a duration: digits and a unit, s, m, h or d.
 *
 * @param ret_has_unit  false: only digits, *ret is not written
 * @param ret           seconds, UINT64_MAX if they are too many to count
 * @return false if it is neither
 */
bool fw_duration_read(const char *s, size_t len, bool *ret_has_unit,
		      uint64_t *ret);
