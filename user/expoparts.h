/* SPDX-License-Identifier: GPL-2.0-only */

/* The parts of /metrics, each a file. */
#pragma once

#include "user/daemon.h"
#include "user/metrictext.h"

/** @brief Interfaces, reasons, programs, rules and sets; rules are loaded. */
void fw_expo_rules(struct fw_metric_out *out, const struct fw_daemon *daemon);

/** @brief Security associations; the datapath is open. */
void fw_expo_ipsec(struct fw_metric_out *out, const struct fw_daemon *daemon);

/** @brief What every exporter says of its process. */
void fw_expo_process(struct fw_metric_out *out, const struct fw_daemon *daemon);
