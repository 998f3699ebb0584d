/* SPDX-License-Identifier: GPL-2.0-only */

/* What the exporter says: the text of /metrics and of /healthz. */
#pragma once

#include "user/daemon.h"
#include "user/metrictext.h"

/**
 * @brief All metrics.
 *
 * Takes as long for a million flows as for one: nothing here walks over them. No
 * label holds an address or anything else that packets choose: their number
 * is bounded by the rule file.
 *
 * @return malloc()ed, or NULL without memory: half of it would mislead
 */
char *fw_exposition_metrics(const struct fw_daemon *daemon,
			    enum fw_metric_form form);

/** @brief NULL if rules run, programs are attached and the mirror is in sync;
 *  else why not, static. */
const char *fw_exposition_trouble(const struct fw_daemon *daemon);
