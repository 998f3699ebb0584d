/* SPDX-License-Identifier: GPL-2.0-only */

/* How long flows live: what the system says, and what is in force. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "rules/rules.h"

/**
 * @brief The sysctls of nf_conntrack in this network namespace.
 *
 * @param ret  seconds; 0 where there is no such sysctl
 */
void fw_timeouts_read(uint32_t ret[FW_TIMEOUT_MAX]);

/** @brief What is in force, and where each is from; NULL without memory. */
json_t *fw_timeouts_json(const struct fw_program *program);
