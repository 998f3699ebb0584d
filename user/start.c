/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Starting fwctld from fwctl.
 *
 * The daemon tells through a pipe that it listens; the end of the pipe without
 * a byte says that it is gone.
 */
#include "user/start.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "user/fwctl.h"
#include "user/util.h"

#define DEADLINE_MS   30000
#define TAIL_BYTES    4096
#define MAX_LOG_BYTES (4 << 20)

/* Where to look, relative to the directory of fwctl. */
static const char *const places[] = {
	"fwctld",
	"../sbin/fwctld",
	"../libexec/fwctld",
};

static void exec_daemon(const struct fw_paths *paths, int ready_fd)
{
	char self[PATH_MAX], path[PATH_MAX + 32], fd_text[16];
	char *slash = NULL;
	ssize_t n;

	/* Huge pages where the kernel gives them if asked; as fwctld.service. */
	(void)setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1", 0);
	(void)snprintf(fd_text, sizeof(fd_text), "%d", ready_fd);
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n > 0) {
		self[n] = '\0';
		slash = strrchr(self, '/');
	}
	for (size_t i = 0; slash && i < ARRAY_SIZE(places); i++) {
		*slash = '\0';
		(void)snprintf(path, sizeof(path), "%s/%s", self, places[i]);
		(void)execl(path, "fwctld", "--foreground", "--exit-on-unload",
			    "--run-dir", paths->run_dir, "--pin-dir",
			    paths->pin_dir, "--ready-fd", fd_text,
			    (char *)NULL);
		if (errno != ENOENT)
			break;
	}
	(void)execlp("fwctld", "fwctld", "--foreground", "--exit-on-unload",
		     "--run-dir", paths->run_dir, "--pin-dir", paths->pin_dir,
		     "--ready-fd", fd_text, (char *)NULL);
	fw_complain("cannot run fwctld: %s", strerror(errno));
}

static void run_child(const struct fw_paths *paths, int ready_fd, int log_fd)
{
	int null_fd;

	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null_fd < 0 || setsid() < 0 || dup2(null_fd, 0) < 0 ||
	    dup2(log_fd, 1) < 0 || dup2(log_fd, 2) < 0 || chdir("/") < 0)
		_exit(EXIT_FAILURE);
	/* Whatever else the user's shell left open is not for a daemon. */
	if (close_range(3, UINT_MAX, CLOSE_RANGE_CLOEXEC) < 0 ||
	    fcntl(ready_fd, F_SETFD, 0) < 0)
		_exit(EXIT_FAILURE);
	exec_daemon(paths, ready_fd);
	_exit(EXIT_FAILURE);
}

/* 0 when it is ready, -ETIMEDOUT, or -ECHILD. */
static int await_ready(int fd)
{
	uint64_t end_ns = fw_now_ns() + DEADLINE_MS * 1000000ull;
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	for (;;) {
		uint64_t now_ns = fw_now_ns();
		char byte;
		int n;

		if (now_ns >= end_ns)
			return -ETIMEDOUT;
		n = poll(&poll_fd, 1, (int)((end_ns - now_ns) / 1000000) + 1);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n <= 0)
			continue;
		return read(fd, &byte, 1) == 1 ? 0 : -ECHILD;
	}
}

static int open_log(const struct fw_paths *paths, off_t *ret_end)
{
	char old[sizeof(paths->log) + 8];
	struct stat st;
	int fd;

	if (stat(paths->log, &st) == 0 && st.st_size > MAX_LOG_BYTES) {
		(void)snprintf(old, sizeof(old), "%s.1", paths->log);
		(void)rename(paths->log, old);
	}
	fd = open(paths->log,
		  O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	*ret_end = lseek(fd, 0, SEEK_END);
	return fd;
}

static void show_log(int fd, off_t start)
{
	char buf[TAIL_BYTES + 1];
	off_t end = lseek(fd, 0, SEEK_END);
	ssize_t n;

	if (end - start > TAIL_BYTES)
		start = end - TAIL_BYTES;
	n = pread(fd, buf, TAIL_BYTES, start);
	if (n <= 0)
		return;
	buf[n] = '\0';
	(void)fprintf(stderr, "%s%s", buf, buf[n - 1] == '\n' ? "" : "\n");
}

int fw_start_lock(const struct fw_paths *paths)
{
	uint64_t end_ns = fw_now_ns() + DEADLINE_MS * 1000000ull;
	const struct timespec wait = { .tv_nsec = 20000000 };
	char path[sizeof(paths->run_dir) + 16];
	_cleanup_free_ char *error = NULL;
	_cleanup_close_ int fd = -1;
	int r;

	r = fw_paths_make_run_dir(paths, &error);
	if (r < 0) {
		fw_complain("%s", error ? error : strerror(-r));
		return r;
	}
	(void)snprintf(path, sizeof(path), "%s/start.lock", paths->run_dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK || fw_now_ns() > end_ns)
			return -errno;
		(void)nanosleep(&wait, NULL);
	}
	return take_fd(&fd);
}

int fw_start_daemon(const struct fw_paths *paths)
{
	_cleanup_close_ int log_fd = -1, read_fd = -1;
	off_t log_start = 0;
	int fds[2], r;
	pid_t child;

	log_fd = open_log(paths, &log_start);
	if (log_fd < 0) {
		fw_complain("cannot open '%s': %s", paths->log,
			    strerror(-log_fd));
		return log_fd;
	}
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	read_fd = fds[0];
	child = fork();
	if (child == 0)
		run_child(paths, fds[1], log_fd);
	r = child < 0 ? -errno : 0;
	(void)close(fds[1]);
	if (r == 0)
		r = await_ready(read_fd);
	if (r == -ECHILD)
		(void)waitpid(child, NULL, 0);
	if (r < 0) {
		fw_complain(r == -ETIMEDOUT
				    ? "fwctld is not ready yet; its log:"
				    : "fwctld did not start; its log:");
		show_log(log_fd, log_start);
	}
	return r;
}
