/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Messages of the daemon.
 *
 * Under systemd each line begins with "<N>", which journald turns into the
 * priority; elsewhere it begins with the time and the level.
 */
#include "user/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const struct {
	const char *name;
	int priority; /* of syslog(3) */
} levels[] = {
	[FW_LOG_ERROR] = { "error", 3 },
	[FW_LOG_WARNING] = { "warning", 4 },
	[FW_LOG_INFO] = { "info", 6 },
	[FW_LOG_DEBUG] = { "debug", 7 },
};

#define MAX_FILE_BYTES (4 << 20)
#define CHECK_EVERY    64 /* lines */

static enum fw_log_level max_level = FW_LOG_INFO;
static char *bounded_path; /* what standard error goes to, or NULL */
static unsigned int lines;

void fw_log_set_level(enum fw_log_level level)
{
	max_level = level;
}

static void print_prefix(char *buf, size_t size, enum fw_log_level level)
{
	struct tm tm;
	time_t now;
	size_t n;

	if (getenv("JOURNAL_STREAM")) {
		(void)snprintf(buf, size, "<%d>", levels[level].priority);
		return;
	}
	now = time(NULL);
	if (!localtime_r(&now, &tm)) {
		(void)snprintf(buf, size, "%s: ", levels[level].name);
		return;
	}
	n = strftime(buf, size, "%Y-%m-%d %H:%M:%S ", &tm);
	(void)snprintf(buf + n, size - n, "%s: ", levels[level].name);
}

static bool is_stderr(const char *path)
{
	struct stat named, open_one;

	return stat(path, &named) == 0 && fstat(2, &open_one) == 0 &&
	       named.st_dev == open_one.st_dev &&
	       named.st_ino == open_one.st_ino && S_ISREG(named.st_mode);
}

void fw_log_bound(const char *path)
{
	free(bounded_path);
	bounded_path = path && is_stderr(path) ? strdup(path) : NULL;
}

static void rotate(void)
{
	char old[256];
	struct stat st;
	int fd;

	if (!bounded_path || ++lines % CHECK_EVERY || fstat(2, &st) < 0 ||
	    st.st_size < MAX_FILE_BYTES)
		return;
	(void)snprintf(old, sizeof(old), "%s.1", bounded_path);
	if (rename(bounded_path, old) < 0)
		return;
	fd = open(bounded_path,
		  O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return;
	(void)dup2(fd, 1);
	(void)dup2(fd, 2);
	(void)close(fd);
}

void fw_log(enum fw_log_level level, const char *format, ...)
{
	int saved_errno = errno;
	char prefix[64];
	char line[2048];
	va_list args;

	if (level > max_level)
		return;

	print_prefix(prefix, sizeof(prefix), level);
	va_start(args, format);
	(void)vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	/* One call, one line: lines of two processes do not mix. */
	(void)fprintf(stderr, "%s%s\n", prefix, line);
	rotate();
	errno = saved_errno;
}
