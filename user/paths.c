/* SPDX-License-Identifier: GPL-2.0-only */

/* Where one instance keeps its socket and pins. */
#include "user/paths.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "user/pins.h"
#include "user/util.h"

#define RUN_DIR "/run/fwctl"
#define PIN_DIR "/sys/fs/bpf/fwctl"

static int print_path(char *buf, size_t size, const char *dir, const char *name)
{
	int n;

	n = snprintf(buf, size, "%s%s", dir, name);
	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

/* What the user asked for: by option, by environment, or not at all. */
static const char *wish(const char *option, const char *variable)
{
	if (!option)
		option = getenv(variable);
	return option && *option ? option : NULL;
}

/*
 * Where a security module hides process 1 from us: the namespace that the
 * kernel was booted with is the first one that got a cookie.
 */
static int compare_cookie(bool *ret_is_first)
{
	_cleanup_close_ int fd = -1;
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len) < 0)
		return -errno;
	*ret_is_first = cookie == 1;
	return 0;
}

int fw_paths_netns(unsigned long *ret_inode, bool *ret_is_first)
{
	struct stat own, first;

	if (stat("/proc/self/ns/net", &own) < 0)
		return -errno;
	*ret_inode = (unsigned long)own.st_ino;
	if (stat("/proc/1/ns/net", &first) < 0)
		return errno == EACCES ? compare_cookie(ret_is_first) : -errno;
	*ret_is_first =
		own.st_ino == first.st_ino && own.st_dev == first.st_dev;
	return 0;
}

int fw_paths_init(struct fw_paths *ret, const char *run_dir,
		  const char *pin_dir)
{
	struct fw_paths paths = { 0 };
	unsigned long inode = 0;
	bool is_first = true;
	char suffix[40] = "";
	int r;

	run_dir = wish(run_dir, "FWCTL_RUN_DIR");
	pin_dir = wish(pin_dir, "FWCTL_PIN_DIR");
	/* The daemon may change its directory, so relative ones have no sense. */
	if ((run_dir && *run_dir != '/') || (pin_dir && *pin_dir != '/'))
		return -EINVAL;
	if (!run_dir || !pin_dir) {
		r = fw_paths_netns(&inode, &is_first);
		if (r < 0)
			return r;
	}
	if (!is_first)
		(void)snprintf(suffix, sizeof(suffix), "/netns-%lu", inode);

	r = print_path(paths.run_dir, sizeof(paths.run_dir),
		       run_dir ? run_dir : RUN_DIR, run_dir ? "" : suffix);
	if (r < 0)
		return r;
	r = print_path(paths.pin_dir, sizeof(paths.pin_dir),
		       pin_dir ? pin_dir : PIN_DIR, pin_dir ? "" : suffix);
	if (r < 0)
		return r;
	r = print_path(paths.socket, sizeof(paths.socket), paths.run_dir,
		       "/fwctl.sock");
	if (r < 0)
		return r;
	r = print_path(paths.log, sizeof(paths.log), paths.run_dir,
		       "/fwctld.log");
	if (r < 0)
		return r;
	*ret = paths;
	return 0;
}

bool fw_paths_pinned(const struct fw_paths *paths)
{
	char path[sizeof(paths->pin_dir) + 40];
	struct stat st;

	(void)snprintf(path, sizeof(path), "%s/" FW_PIN_LAYOUT "/maps/rulesets",
		       paths->pin_dir);
	return stat(path, &st) == 0;
}

static int make_dir(const char *dir, char **reterr)
{
	struct stat st;

	if (mkdir(dir, 0700) == 0)
		return 0;
	if (errno != EEXIST) {
		int r = -errno;

		fw_errorf(reterr, "cannot make directory '%s': %s", dir,
			  strerror(-r));
		return r;
	}
	if (stat(dir, &st) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode)) {
		fw_errorf(reterr, "'%s' is not a directory", dir);
		return -ENOTDIR;
	}
	if (st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH))) {
		fw_errorf(
			reterr,
			"directory '%s' can be written to by others; it must belong to root and have mode 0700",
			dir);
		return -EPERM;
	}
	return 0;
}

int fw_paths_make_run_dir(const struct fw_paths *paths, char **reterr)
{
	char parent[sizeof(paths->run_dir)];
	char *slash;
	int r;

	/* Of /run/fwctl/netns-N the upper one may be missing as well. */
	(void)snprintf(parent, sizeof(parent), "%s", paths->run_dir);
	slash = strrchr(parent, '/');
	if (slash && strncmp(slash, "/netns-", 7) == 0) {
		*slash = '\0';
		r = make_dir(parent, reterr);
		if (r < 0)
			return r;
	}
	return make_dir(paths->run_dir, reterr);
}
