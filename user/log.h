/* SPDX-License-Identifier: GPL-2.0-only */

/* Messages of the daemon: to stderr, with the syslog prefixes that journald reads. */
#pragma once

#include <stdbool.h>

enum fw_log_level {
	FW_LOG_ERROR,	/* what the user asked for failed */
	FW_LOG_WARNING, /* we went on, degraded */
	FW_LOG_INFO,	/* state changed: loaded, attached */
	FW_LOG_DEBUG,
};

/** @brief Set the least important level that is printed. */
void fw_log_set_level(enum fw_log_level level);

/**
 * @brief Bound the file that standard error goes to, if it is `path`.
 *
 * When it has grown to some MiB it becomes PATH.1 and a new one is begun.
 */
void fw_log_bound(const char *path);

void fw_log(enum fw_log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#define log_error(...)	 fw_log(FW_LOG_ERROR, __VA_ARGS__)
#define log_warning(...) fw_log(FW_LOG_WARNING, __VA_ARGS__)
#define log_info(...)	 fw_log(FW_LOG_INFO, __VA_ARGS__)
#define log_debug(...)	 fw_log(FW_LOG_DEBUG, __VA_ARGS__)
