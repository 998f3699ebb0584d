/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The event loop: one epoll descriptor, watches and timers, one thread.
 *
 * A callback may remove any watch or timer, its own included: removed ones are
 * marked and freed after the batch, so nothing that may still be called is freed.
 */
#pragma once

#include <stdint.h>

struct fw_loop;
struct fw_watch;
struct fw_timer;

typedef void (*fw_watch_fn)(void *data, uint32_t events); /* EPOLLIN, ... */
typedef void (*fw_timer_fn)(void *data);

struct fw_loop *fw_loop_new(void); /* NULL with errno set */
void fw_loop_free(struct fw_loop *loop);

/** @brief Dispatch until fw_loop_stop(); 0 or a negative errno of epoll. */
int fw_loop_run(struct fw_loop *loop);
void fw_loop_stop(struct fw_loop *loop);

/** @brief Watch `fd`, which stays the caller's; NULL with errno set. */
struct fw_watch *fw_watch_new(struct fw_loop *loop, int fd, uint32_t events,
			      fw_watch_fn fn, void *data);
int fw_watch_set(struct fw_watch *watch, uint32_t events);
void fw_watch_free(struct fw_watch *watch);

/** @brief A timer of CLOCK_MONOTONIC, not armed yet; NULL with errno set. */
struct fw_timer *fw_timer_new(struct fw_loop *loop, fw_timer_fn fn, void *data);

#define FW_TIMER_NEVER UINT64_MAX

/**
 * @brief Fire after `first_ms`, then each `every_ms` (0: once).
 *
 * `first_ms` 0: as soon as the loop runs; FW_TIMER_NEVER: disarm.
 */
int fw_timer_arm(struct fw_timer *timer, uint64_t first_ms, uint64_t every_ms);
void fw_timer_free(struct fw_timer *timer);
