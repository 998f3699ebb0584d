/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Finds the mounts that pins are made on.
 *
 * A pin lives as long as the mounted file system that it is on. `ip netns exec`
 * gives its command a mount namespace of its own with a fresh /sys: what is
 * mounted there is gone when the command ends, and the pins with it, and the
 * links with the pins - the firewall would silently end with the daemon.
 */
#include "user/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "user/bpffs.h"
#include "user/util.h"

#define MAX_ANCESTORS 64

/* Descriptor of a process's mount namespace, or a negative errno. */
static int open_mounts(pid_t pid)
{
	char path[64];
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/ns/mnt", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Parent of a process, or 0; its name may contain anything, even ") 1". */
static pid_t parent_of(pid_t pid)
{
	char path[64], line[512], *end;
	size_t n;
	FILE *f;
	int ppid;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	n = fread(line, 1, sizeof(line) - 1, f);
	(void)fclose(f);
	line[n] = '\0';
	end = strrchr(line, ')');
	if (!end || sscanf(end + 1, " %*c %d", &ppid) != 1)
		return 0;
	return ppid;
}

static int open_outer(void)
{
	_cleanup_close_ int best = -1;
	pid_t pid = getpid();
	int fd;

	fd = open_mounts(1);
	if (fd >= 0)
		return fd;
	for (int i = 0; i < MAX_ANCESTORS; i++) {
		pid = parent_of(pid);
		if (pid <= 1)
			break;
		fd = open_mounts(pid);
		if (fd < 0)
			continue;
		fw_closep(&best);
		best = fd;
	}
	return take_fd(&best);
}

void fw_mounts_join_outer(void)
{
	_cleanup_close_ int fd = -1;
	struct stat ours, outer;

	if (fw_bpffs_holds(FW_BPFFS_ROOT))
		return;
	fd = open_outer();
	if (fd < 0 || fstat(fd, &outer) < 0 ||
	    stat("/proc/self/ns/mnt", &ours) < 0)
		return;
	if (ours.st_ino == outer.st_ino && ours.st_dev == outer.st_dev)
		return;
	/* refused to a process with threads; then it stays where it is */
	(void)setns(fd, CLONE_NEWNS);
}
