/* SPDX-License-Identifier: GPL-2.0-only */

/* The exporter: /metrics for Prometheus, /healthz for whoever asks. */
#pragma once

#include "user/daemon.h"

/* Loopback only: who wants more puts a proxy with TLS in front. */
#define FW_METRICS_ADDRESS "127.0.0.1:9477"

/**
 * @brief Serve on "ADDR:PORT" or "[ADDR6]:PORT".
 *
 * The address need not exist yet.
 *
 * @param reterr  on failure one line for the user, malloc()ed
 * @return 0, -EINVAL if it is no address, -EADDRINUSE, or another negative errno
 */
int fw_metrics_new(struct fw_daemon *daemon, const char *address,
		   struct fw_metrics **ret, char **reterr);
void fw_metrics_free(struct fw_metrics *metrics);
