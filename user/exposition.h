/* SPDX-License-Identifier: GPL-2.0-only */

/* What the exporter says: the text of /metrics and of /healthz. */
#pragma once

#include "user/daemon.h"

/**
 * @brief Text format 0.0.4.
 *
 * No label holds an address or anything else that packets choose: their number
 * is bounded by the rule file.
 *
 * @return malloc()ed, or NULL without memory
 */
char *fw_exposition_metrics(const struct fw_daemon *daemon);

/** @brief NULL if rules run, programs are attached and the mirror is in sync;
 *  else why not, static. */
const char *fw_exposition_trouble(const struct fw_daemon *daemon);
