/* SPDX-License-Identifier: GPL-2.0-only */

/* The notify, watchdog and socket activation protocols of systemd. */
#include "user/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "user/log.h"
#include "user/util.h"

#define LISTEN_FD 3 /* the first one that is handed over */

void fw_notify(const char *state)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const char *path = getenv("NOTIFY_SOCKET");
	_cleanup_close_ int fd = -1;
	socklen_t len;

	if (!path || (path[0] != '/' && path[0] != '@') ||
	    strlen(path) >= sizeof(addr.sun_path))
		return;
	memcpy(addr.sun_path, path, strlen(path));
	if (addr.sun_path[0] == '@')
		addr.sun_path[0] = '\0';
	len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
			  strlen(path));

	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || sendto(fd, state, strlen(state), MSG_NOSIGNAL,
			     (struct sockaddr *)&addr, len) < 0)
		log_debug("cannot notify systemd: %m");
}

/* A variable that is a number and, if `pid_name` is set, meant for us. */
static unsigned long read_variable(const char *name, const char *pid_name)
{
	const char *text = getenv(name);
	const char *pid = getenv(pid_name);

	if (!text || (pid && strtol(pid, NULL, 10) != (long)getpid()))
		return 0;
	return strtoul(text, NULL, 10);
}

uint64_t fw_notify_watchdog_ms(void)
{
	return read_variable("WATCHDOG_USEC", "WATCHDOG_PID") / 2000;
}

int fw_notify_listen_fd(void)
{
	int type = 0, is_listening = 0;
	socklen_t len = sizeof(int);

	if (!getenv("LISTEN_PID") ||
	    read_variable("LISTEN_FDS", "LISTEN_PID") < 1)
		return -1;
	if (getsockopt(LISTEN_FD, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
	    getsockopt(LISTEN_FD, SOL_SOCKET, SO_ACCEPTCONN, &is_listening,
		       &len) < 0 ||
	    type != SOCK_STREAM || !is_listening) {
		log_warning(
			"descriptor %d is not a listening stream socket, ignoring it",
			LISTEN_FD);
		return -1;
	}
	if (fcntl(LISTEN_FD, F_SETFD, FD_CLOEXEC) < 0 ||
	    fcntl(LISTEN_FD, F_SETFL, O_NONBLOCK) < 0)
		return -1;
	return LISTEN_FD;
}
