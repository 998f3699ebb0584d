/* SPDX-License-Identifier: GPL-2.0-only */

/* What systemd wants to hear and to hand over, without its library. */
#pragma once

#include <stdint.h>

/** @brief Send a state such as "READY=1"; nothing happens outside of systemd. */
void fw_notify(const char *state);

/** @brief Milliseconds between two WATCHDOG=1, or 0 if none are expected. */
uint64_t fw_notify_watchdog_ms(void);

/** @brief The listening socket that we were started with, or -1. */
int fw_notify_listen_fd(void);
