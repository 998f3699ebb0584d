/* SPDX-License-Identifier: GPL-2.0-only */

/* Lets route lookups be made for `antispoof`; see antispoof.h. */
#include "user/antispoof.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "user/util.h"

static const char *const paths[] = {
	"/proc/sys/net/ipv4/conf/lo/forwarding",
	"/proc/sys/net/ipv6/conf/lo/forwarding",
};

static bool is_on(const char *path)
{
	uint64_t value;
	int r = fw_read_number(path, &value);

	/* without IPv6 there is nothing to look up */
	return r == -ENOENT || (r == 0 && value != 0);
}

static int open_sysctl(const char *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int switch_on(const char *path)
{
	int fd = open_sysctl(path), r = 0;

	if (fd < 0)
		return fd;
	if (write(fd, "1", 1) != 1)
		r = -errno;
	close(fd);
	return r;
}

int fw_antispoof_probe(const char **ret_path)
{
	int fd;

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		if (is_on(paths[i]))
			continue;
		fd = open_sysctl(paths[i]);
		if (fd < 0) {
			*ret_path = paths[i];
			return fd;
		}
		close(fd);
	}
	return 0;
}

int fw_antispoof_prepare(const struct fw_program *program,
			 struct fw_span *ret_at, char **reterr)
{
	int r;

	if (!program->antispoof)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		r = is_on(paths[i]) ? 0 : switch_on(paths[i]);
		if (r < 0) {
			*ret_at = program->antispoof_at;
			fw_errorf(reterr, "antispoof needs 1 in %s: %s",
				  paths[i], strerror(-r));
			return r;
		}
	}
	return 0;
}
