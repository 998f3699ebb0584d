/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The event loop.
 *
 * Whatever a callback removes is only marked; it is freed when the batch of
 * events that may still point at it has been worked off.
 */
#include "user/loop.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "user/log.h"
#include "user/util.h"

#define BATCH 32

struct fw_watch {
	struct fw_loop *loop;
	fw_watch_fn fn;
	void *data;
	int fd;
	bool is_dead;
	struct fw_watch *next_dead;
};

struct fw_timer {
	struct fw_watch *watch;
	fw_timer_fn fn;
	void *data;
	int fd;
	bool is_dead;
	struct fw_timer *next_dead;
	struct fw_loop *loop;
};

struct fw_loop {
	int epoll_fd;
	bool is_stopped;
	bool is_dispatching;
	size_t n_watches;
	struct fw_watch *dead_watches;
	struct fw_timer *dead_timers;
};

struct fw_loop *fw_loop_new(void)
{
	struct fw_loop *loop;

	loop = calloc(1, sizeof(*loop));
	if (!loop)
		return NULL;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0) {
		int saved_errno = errno;

		free(loop);
		errno = saved_errno;
		return NULL;
	}
	return loop;
}

void fw_loop_free(struct fw_loop *loop)
{
	if (!loop)
		return;
	if (loop->n_watches) {
		log_warning("%zu watches outlive the event loop",
			    loop->n_watches);
	}
	(void)close(loop->epoll_fd);
	free(loop);
}

static void sweep(struct fw_loop *loop)
{
	while (loop->dead_timers) {
		struct fw_timer *timer = loop->dead_timers;

		loop->dead_timers = timer->next_dead;
		free(timer);
	}
	while (loop->dead_watches) {
		struct fw_watch *watch = loop->dead_watches;

		loop->dead_watches = watch->next_dead;
		free(watch);
	}
}

int fw_loop_run(struct fw_loop *loop)
{
	struct epoll_event events[BATCH];

	loop->is_stopped = false;
	while (!loop->is_stopped) {
		int n;

		n = epoll_wait(loop->epoll_fd, events, BATCH, -1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;

		loop->is_dispatching = true;
		for (int i = 0; i < n; i++) {
			struct fw_watch *watch = events[i].data.ptr;

			if (!watch->is_dead)
				watch->fn(watch->data, events[i].events);
		}
		loop->is_dispatching = false;
		sweep(loop);
	}
	return 0;
}

void fw_loop_stop(struct fw_loop *loop)
{
	loop->is_stopped = true;
}

struct fw_watch *fw_watch_new(struct fw_loop *loop, int fd, uint32_t events,
			      fw_watch_fn fn, void *data)
{
	struct epoll_event event = { .events = events };
	struct fw_watch *watch;

	watch = calloc(1, sizeof(*watch));
	if (!watch)
		return NULL;
	watch->loop = loop;
	watch->fn = fn;
	watch->data = data;
	watch->fd = fd;
	event.data.ptr = watch;
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
		int saved_errno = errno;

		free(watch);
		errno = saved_errno;
		return NULL;
	}
	loop->n_watches++;
	return watch;
}

int fw_watch_set(struct fw_watch *watch, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = watch };

	if (epoll_ctl(watch->loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event) <
	    0)
		return -errno;
	return 0;
}

void fw_watch_free(struct fw_watch *watch)
{
	struct fw_loop *loop;

	if (!watch || watch->is_dead)
		return;
	loop = watch->loop;
	/* Fails only if the descriptor is closed, and then epoll forgot it. */
	(void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
	loop->n_watches--;
	watch->is_dead = true;
	if (!loop->is_dispatching) {
		free(watch);
		return;
	}
	watch->next_dead = loop->dead_watches;
	loop->dead_watches = watch;
}

static void on_expiry(void *data, uint32_t events)
{
	struct fw_timer *timer = data;
	uint64_t n;

	(void)events;
	/* Armed again between the wake-up and now: not due any more. */
	if (read(timer->fd, &n, sizeof(n)) != (ssize_t)sizeof(n))
		return;
	timer->fn(timer->data);
}

struct fw_timer *fw_timer_new(struct fw_loop *loop, fw_timer_fn fn, void *data)
{
	_cleanup_free_ struct fw_timer *timer = NULL;
	_cleanup_close_ int fd = -1;

	timer = calloc(1, sizeof(*timer));
	if (!timer)
		return NULL;
	fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (fd < 0)
		return NULL;
	timer->watch = fw_watch_new(loop, fd, EPOLLIN, on_expiry, timer);
	if (!timer->watch)
		return NULL;
	timer->loop = loop;
	timer->fn = fn;
	timer->data = data;
	timer->fd = take_fd(&fd);
	return take_ptr(timer);
}

static struct timespec to_timespec(uint64_t ms)
{
	return (struct timespec){
		.tv_sec = (time_t)(ms / 1000),
		.tv_nsec = (long)(ms % 1000) * 1000000,
	};
}

int fw_timer_arm(struct fw_timer *timer, uint64_t first_ms, uint64_t every_ms)
{
	struct itimerspec spec = {
		.it_value = to_timespec(first_ms),
		.it_interval = to_timespec(every_ms),
	};

	if (first_ms == FW_TIMER_NEVER) {
		spec = (struct itimerspec){ 0 };
	} else if (!first_ms) { /* a zero would disarm it */
		spec.it_value.tv_nsec = 1;
	}
	if (timerfd_settime(timer->fd, 0, &spec, NULL) < 0)
		return -errno;
	return 0;
}

void fw_timer_free(struct fw_timer *timer)
{
	struct fw_loop *loop;

	if (!timer || timer->is_dead)
		return;
	loop = timer->loop;
	fw_watch_free(timer->watch);
	(void)close(timer->fd);
	timer->is_dead = true;
	if (!loop->is_dispatching) {
		free(timer);
		return;
	}
	timer->next_dead = loop->dead_timers;
	loop->dead_timers = timer;
}
