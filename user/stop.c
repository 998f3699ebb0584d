/* SPDX-License-Identifier: GPL-2.0-only */

/* The end of commands that run until somebody has had enough. */
#include "user/stop.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "user/util.h"

static int stop_fd = -1;

static void on_signal(int number)
{
	const uint64_t one = 1;
	int error = errno;

	(void)number;
	/* fails only if it is readable already */
	(void)!write(stop_fd, &one, sizeof(one));
	errno = error;
}

int fw_stop_catch(int flags)
{
	const int numbers[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	struct sigaction action = { .sa_handler = on_signal,
				    .sa_flags = flags };

	stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (stop_fd < 0)
		return -errno;
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		if (sigaction(numbers[i], &action, NULL) < 0)
			return -errno;
	}
	action = (struct sigaction){ .sa_handler = SIG_IGN };
	return sigaction(SIGPIPE, &action, NULL) < 0 ? -errno : stop_fd;
}
