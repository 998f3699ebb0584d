/* SPDX-License-Identifier: GPL-2.0-only */

/* What XDP has counted of IPsec, and of each security association. */
#pragma once

#include <stdbool.h>

#include "kern/esp_abi.h"
#include "user/datapath.h"
#include "user/sad.h"

/** @brief The name of a count, static. */
const char *fw_ipsec_count_name(enum fw_esp_count count);

/** @brief All counts, of all CPUs; 0 or a negative errno. */
int fw_ipsec_counts(const struct fw_datapath *dp, struct fw_esp_counts *ret);

/** @brief What XDP knows of an association; false: it has seen no packet of it. */
bool fw_ipsec_seen(const struct fw_datapath *dp,
		   const struct fw_sad_entry *entry, struct fw_sa *ret);

/** @brief "tunnel", "transport", ...; static. */
const char *fw_ipsec_mode_name(uint8_t mode);
