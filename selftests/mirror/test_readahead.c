/* SPDX-License-Identifier: GPL-2.0-only */

/* Datagrams that a thread reads ahead: all, in their order, and the end at any moment. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "user/readahead.h"
#include "user/util.h"

#define MANY 5000

static ssize_t receive(int fd, void *buf, size_t size)
{
	ssize_t n = recv(fd, buf, size, MSG_DONTWAIT);

	return n < 0 ? -errno : n;
}

/* Ends of a pair: what is written into the first comes out of the second. */
struct pair {
	int in, out;
	struct fw_readahead *ahead;
};

static struct pair begin(void)
{
	struct pair pair;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
	pair = (struct pair){ .in = fds[0], .out = fds[1] };
	assert_int_equal(fw_readahead_begin(pair.out, receive, &pair.ahead), 0);
	return pair;
}

static void end(struct pair *pair)
{
	fw_readahead_end(pair->ahead);
	fw_closep(&pair->in);
	fw_closep(&pair->out);
}

static void put(const struct pair *pair, uint32_t number)
{
	assert_int_equal(send(pair->in, &number, sizeof(number), 0),
			 sizeof(number));
}

static bool is_ready(const struct pair *pair, int timeout_ms)
{
	struct pollfd pfd = { .fd = fw_readahead_fd(pair->ahead),
			      .events = POLLIN };

	return poll(&pfd, 1, timeout_ms) == 1;
}

static ssize_t take(const struct pair *pair, uint32_t *ret)
{
	const void *buf;
	ssize_t n;

	assert_true(is_ready(pair, 10000));
	n = fw_readahead_take(pair->ahead, &buf);
	if (n == sizeof(*ret))
		*ret = *(const uint32_t *)buf;
	return n;
}

static void *put_many(void *data)
{
	const struct pair *pair = data;

	for (uint32_t i = 0; i < MANY; i++)
		put(pair, i);
	return NULL;
}

/* Far more than wait at once, whoever is slower. */
static void all_come_in_order(void **state)
{
	struct pair pair = begin();
	pthread_t writer;
	uint32_t number;

	(void)state;
	assert_int_equal(pthread_create(&writer, NULL, put_many, &pair), 0);
	for (uint32_t i = 0; i < MANY; i++) {
		if (i == MANY / 2)
			(void)usleep(20000);
		assert_int_equal(take(&pair, &number), sizeof(number));
		assert_int_equal(number, i);
	}
	(void)pthread_join(writer, NULL);
	end(&pair);
}

static void nothing_is_ready_when_all_is_taken(void **state)
{
	struct pair pair = begin();
	const void *buf;
	uint32_t number;

	(void)state;
	assert_int_equal(fw_readahead_take(pair.ahead, &buf), -EAGAIN);
	assert_false(is_ready(&pair, 0));
	for (uint32_t i = 0; i < 3; i++) {
		put(&pair, i);
		assert_int_equal(take(&pair, &number), sizeof(number));
		assert_int_equal(number, i);
		assert_false(is_ready(&pair, 0));
		assert_int_equal(fw_readahead_take(pair.ahead, &buf), -EAGAIN);
	}
	end(&pair);
}

static ssize_t lose_some(int fd, void *buf, size_t size)
{
	ssize_t n = receive(fd, buf, size);

	return n == 4 && *(const uint32_t *)buf == 2 ? -ENOBUFS : n;
}

static void an_error_comes_in_its_turn_and_stays(void **state)
{
	struct pair pair = begin();
	uint32_t number;

	(void)state;
	fw_readahead_end(pair.ahead);
	assert_int_equal(fw_readahead_begin(pair.out, lose_some, &pair.ahead),
			 0);
	for (uint32_t i = 0; i < 4; i++)
		put(&pair, i);
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(take(&pair, &number), sizeof(number));
		assert_int_equal(number, i);
	}
	assert_int_equal(take(&pair, &number), -ENOBUFS);
	assert_int_equal(take(&pair, &number), -ENOBUFS);
	end(&pair);
}

/* It waits for the socket, for a place, or has something that nobody takes. */
static void it_ends_at_any_moment(void **state)
{
	uint32_t number;

	(void)state;
	for (uint32_t n = 0; n < 40; n++) {
		struct pair pair = begin();

		for (uint32_t i = 0; i < n; i++)
			put(&pair, i);
		for (uint32_t i = 0; i < n / 4; i++)
			assert_int_equal(take(&pair, &number), sizeof(number));
		end(&pair);
	}
	fw_readahead_end(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_come_in_order),
		cmocka_unit_test(nothing_is_ready_when_all_is_taken),
		cmocka_unit_test(an_error_comes_in_its_turn_and_stays),
		cmocka_unit_test(it_ends_at_any_moment),
	};

	return cmocka_run_group_tests_name("readahead", tests, NULL, NULL);
}
