/* SPDX-License-Identifier: GPL-2.0-only */

/* Formatted error texts, and numbers out of /proc. */
#include "user/util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>

void fw_errorf(char **ret_text, const char *format, ...)
{
	char *text = NULL;
	va_list args;
	int n;

	if (!ret_text)
		return;

	va_start(args, format);
	n = vasprintf(&text, format, args);
	va_end(args);

	/* The earlier text may be one of the arguments: free it last. */
	free(*ret_text);
	*ret_text = n < 0 ? NULL : text;
}

int fw_read_text(const char *path, char *text, size_t size)
{
	_cleanup_close_ int fd = -1;
	ssize_t n;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, text, size - 1);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	return 0;
}

int fw_read_number(const char *path, uint64_t *ret)
{
	unsigned long long value;
	char text[32], *end;
	int r;

	r = fw_read_text(path, text, sizeof(text));
	if (r < 0)
		return r;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno)
		return -errno;
	if (end == text)
		return -EINVAL;
	*ret = value;
	return 0;
}
