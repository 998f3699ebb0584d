/* SPDX-License-Identifier: GPL-2.0-only */

/* The event loop: what a callback removes is never called again, nor freed too early. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "user/loop.h"
#include "user/util.h"

#define N 4

/* Watches that are all ready in the same batch. */
struct group {
	struct fw_loop *loop;
	struct fw_watch *watches[N];
	struct member {
		struct group *group;
		unsigned int calls;
	} members[N];
	int fds[N];
	unsigned int called;
};

static void remove_all(void *data, uint32_t events)
{
	struct member *member = data;
	struct group *group = member->group;

	(void)events;
	member->calls++;
	group->called++;
	for (int i = 0; i < N; i++) {
		fw_watch_free(group->watches[i]);
		fw_watch_free(group->watches[i]); /* twice is harmless */
	}
	fw_loop_stop(group->loop);
}

static void test_remove_all_in_one_callback(void **state)
{
	struct group group = { .loop = fw_loop_new() };

	(void)state;
	assert_non_null(group.loop);
	for (int i = 0; i < N; i++) {
		group.fds[i] = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
		assert_true(group.fds[i] >= 0);
		group.members[i].group = &group;
		group.watches[i] =
			fw_watch_new(group.loop, group.fds[i], EPOLLIN,
				     remove_all, &group.members[i]);
		assert_non_null(group.watches[i]);
	}
	assert_int_equal(fw_loop_run(group.loop), 0);
	assert_int_equal(group.called, 1);
	for (int i = 0; i < N; i++)
		(void)close(group.fds[i]);
	fw_loop_free(group.loop);
}

struct clock {
	struct fw_loop *loop;
	struct fw_timer *timer;
	struct fw_timer *other;
	unsigned int ticks;
	unsigned int wanted;
};

static void on_tick(void *data)
{
	struct clock *clock = data;

	if (++clock->ticks == clock->wanted)
		fw_loop_stop(clock->loop);
}

static void test_repeating_timer(void **state)
{
	struct clock clock = { .loop = fw_loop_new(), .wanted = 3 };
	uint64_t start_ns = fw_now_ns();

	(void)state;
	clock.timer = fw_timer_new(clock.loop, on_tick, &clock);
	assert_non_null(clock.timer);
	assert_int_equal(fw_timer_arm(clock.timer, 0, 5), 0);
	assert_int_equal(fw_loop_run(clock.loop), 0);
	assert_int_equal(clock.ticks, 3);
	assert_true(fw_now_ns() - start_ns >= 9000000);
	fw_timer_free(clock.timer);
	fw_loop_free(clock.loop);
}

static void free_both(void *data)
{
	struct clock *clock = data;

	clock->ticks++;
	fw_timer_free(clock->timer);
	fw_timer_free(clock->other);
	fw_loop_stop(clock->loop);
}

static void test_timer_frees_itself_and_another(void **state)
{
	struct clock clock = { .loop = fw_loop_new() };

	(void)state;
	clock.timer = fw_timer_new(clock.loop, free_both, &clock);
	clock.other = fw_timer_new(clock.loop, free_both, &clock);
	assert_int_equal(fw_timer_arm(clock.timer, 0, 1), 0);
	assert_int_equal(fw_timer_arm(clock.other, 0, 1), 0);
	assert_int_equal(fw_loop_run(clock.loop), 0);
	assert_int_equal(clock.ticks, 1);
	fw_loop_free(clock.loop);
}

static void disarm_other(void *data)
{
	struct clock *clock = data;

	assert_int_equal(fw_timer_arm(clock->other, FW_TIMER_NEVER, 0), 0);
	assert_int_equal(fw_timer_arm(clock->timer, FW_TIMER_NEVER, 0), 0);
	fw_loop_stop(clock->loop);
}

static void test_disarm(void **state)
{
	struct clock clock = { .loop = fw_loop_new(), .wanted = 1 };
	struct fw_timer *end;

	(void)state;
	clock.timer = fw_timer_new(clock.loop, disarm_other, &clock);
	clock.other = fw_timer_new(clock.loop, on_tick, &clock);
	assert_int_equal(fw_timer_arm(clock.timer, 0, 0), 0);
	assert_int_equal(fw_timer_arm(clock.other, 10, 10), 0);
	assert_int_equal(fw_loop_run(clock.loop), 0);

	/* Only the new timer ends the loop, twice as long as the other had. */
	clock.wanted = 100;
	end = fw_timer_new(clock.loop, disarm_other, &clock);
	assert_int_equal(fw_timer_arm(end, 20, 0), 0);
	assert_int_equal(fw_loop_run(clock.loop), 0);
	assert_int_equal(clock.ticks, 0);
	fw_timer_free(end);
	fw_timer_free(clock.timer);
	fw_timer_free(clock.other);
	fw_loop_free(clock.loop);
}

static void replace_self(void *data, uint32_t events)
{
	struct group *group = data;

	(void)events;
	/* A new watch may get the memory of the old one only after the batch. */
	fw_watch_free(group->watches[0]);
	group->watches[0] = fw_watch_new(group->loop, group->fds[0], EPOLLIN,
					 replace_self, group);
	assert_non_null(group->watches[0]);
	if (++group->called == 100)
		fw_loop_stop(group->loop);
}

static void test_replace_in_callback(void **state)
{
	struct group group = { .loop = fw_loop_new() };

	(void)state;
	group.fds[0] = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
	group.watches[0] = fw_watch_new(group.loop, group.fds[0], EPOLLIN,
					replace_self, &group);
	assert_int_equal(fw_loop_run(group.loop), 0);
	assert_int_equal(group.called, 100);
	fw_watch_free(group.watches[0]);
	(void)close(group.fds[0]);
	fw_loop_free(group.loop);
}

static void test_errors(void **state)
{
	struct fw_loop *loop = fw_loop_new();

	(void)state;
	assert_null(fw_watch_new(loop, -1, EPOLLIN, replace_self, NULL));
	fw_watch_free(NULL);
	fw_timer_free(NULL);
	fw_loop_free(loop);
	fw_loop_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_remove_all_in_one_callback),
		cmocka_unit_test(test_repeating_timer),
		cmocka_unit_test(test_timer_frees_itself_and_another),
		cmocka_unit_test(test_disarm),
		cmocka_unit_test(test_replace_in_callback),
		cmocka_unit_test(test_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
