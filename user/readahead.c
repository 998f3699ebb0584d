/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * A socket is read ahead on a thread, while what was read before is looked at.
 *
 * The kernel makes each piece of a dump inside of the system call that reads the one
 * before. Of a large connection table that takes twice as long as all that is done with it
 * here, so it is done on another processor.
 */
#include "user/readahead.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "user/util.h"

#define PIECES 8u /* that wait at most */

struct piece {
	ssize_t len; /* or a negative errno, the last one */
	char buf[FW_READAHEAD_SIZE] __attribute__((aligned(8)));
};

struct fw_readahead {
	int fd;
	fw_receive_fn receive;
	pthread_t thread;
	pthread_mutex_t mutex; /* of what follows */
	pthread_cond_t is_free;
	unsigned int first, n; /* pieces that wait, or are being looked at */
	bool is_taken;	       /* the first one is looked at */
	bool is_ending;
	/* ---- */
	int has_come; /* eventfd: readable while a piece waits */
	int end;      /* eventfd: nobody wants more */
	struct piece pieces[PIECES];
};

/* ---- on the thread ------------------------------------------------------------- */

/* A piece to read into; NULL: it is over. */
static struct piece *wait_for_place(struct fw_readahead *ahead)
{
	struct piece *piece = NULL;

	(void)pthread_mutex_lock(&ahead->mutex);
	while (ahead->n == PIECES && !ahead->is_ending)
		(void)pthread_cond_wait(&ahead->is_free, &ahead->mutex);
	if (!ahead->is_ending)
		piece = &ahead->pieces[(ahead->first + ahead->n) % PIECES];
	(void)pthread_mutex_unlock(&ahead->mutex);
	return piece;
}

static ssize_t read_piece(const struct fw_readahead *ahead, struct piece *piece)
{
	struct pollfd fds[] = { { .fd = ahead->fd, .events = POLLIN },
				{ .fd = ahead->end, .events = POLLIN } };
	ssize_t n;

	for (;;) {
		n = ahead->receive(ahead->fd, piece->buf, sizeof(piece->buf));
		if (n != -EAGAIN)
			return n;
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
			return -errno;
		if (fds[1].revents)
			return -ECANCELED;
	}
}

static void put(struct fw_readahead *ahead)
{
	(void)pthread_mutex_lock(&ahead->mutex);
	ahead->n++;
	if (ahead->n == 1u + ahead->is_taken)
		(void)eventfd_write(ahead->has_come, 1);
	(void)pthread_mutex_unlock(&ahead->mutex);
}

static void *run(void *data)
{
	struct fw_readahead *ahead = data;
	struct piece *piece;

	do {
		piece = wait_for_place(ahead);
		if (!piece)
			break;
		piece->len = read_piece(ahead, piece);
		put(ahead);
	} while (piece->len >= 0);
	return NULL;
}

/* ---- on that of the loop --------------------------------------------------------- */

static void free_all(struct fw_readahead *ahead)
{
	fw_closep(&ahead->has_come);
	fw_closep(&ahead->end);
	(void)pthread_cond_destroy(&ahead->is_free);
	(void)pthread_mutex_destroy(&ahead->mutex);
	free(ahead);
}

int fw_readahead_begin(int fd, fw_receive_fn receive, struct fw_readahead **ret)
{
	struct fw_readahead *ahead = calloc(1, sizeof(*ahead));
	int r = 0;

	if (!ahead)
		return -ENOMEM;
	ahead->fd = fd;
	ahead->receive = receive;
	(void)pthread_mutex_init(&ahead->mutex, NULL);
	(void)pthread_cond_init(&ahead->is_free, NULL);
	ahead->has_come = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ahead->end = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ahead->has_come < 0 || ahead->end < 0)
		r = -errno;
	if (r == 0)
		r = -pthread_create(&ahead->thread, NULL, run, ahead);
	if (r < 0) {
		free_all(ahead);
		return r;
	}
	*ret = ahead;
	return 0;
}

void fw_readahead_end(struct fw_readahead *ahead)
{
	if (!ahead)
		return;
	(void)pthread_mutex_lock(&ahead->mutex);
	ahead->is_ending = true;
	(void)pthread_cond_signal(&ahead->is_free);
	(void)pthread_mutex_unlock(&ahead->mutex);
	(void)eventfd_write(ahead->end, 1);
	(void)pthread_join(ahead->thread, NULL);
	free_all(ahead);
}

int fw_readahead_fd(const struct fw_readahead *ahead)
{
	return ahead->has_come;
}

/* The one that was looked at has been. */
static void give_back(struct fw_readahead *ahead)
{
	if (!ahead->is_taken)
		return;
	ahead->is_taken = false;
	ahead->first = (ahead->first + 1) % PIECES;
	ahead->n--;
	(void)pthread_cond_signal(&ahead->is_free);
}

ssize_t fw_readahead_take(struct fw_readahead *ahead, const void **ret_buf)
{
	const struct piece *piece;
	ssize_t len = -EAGAIN;
	eventfd_t count;

	(void)pthread_mutex_lock(&ahead->mutex);
	give_back(ahead);
	if (ahead->n) {
		piece = &ahead->pieces[ahead->first];
		len = piece->len;
		*ret_buf = piece->buf;
		/* What ends it stays: nothing more comes. */
		ahead->is_taken = len >= 0;
		if (ahead->n == 1 && len >= 0)
			(void)eventfd_read(ahead->has_come, &count);
	}
	(void)pthread_mutex_unlock(&ahead->mutex);
	return len;
}
