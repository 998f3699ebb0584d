/* SPDX-License-Identifier: GPL-2.0-only */

/* The directory on a bpf file system that holds our pins. */
#include "user/bpffs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "user/mounts.h"
#include "user/util.h"

bool fw_bpffs_holds(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && (uint32_t)fs.f_type == BPF_FS_MAGIC;
}

bool fw_bpffs_is_below(const char *path)
{
	return strncmp(path, FW_BPFFS_ROOT "/", sizeof(FW_BPFFS_ROOT)) == 0;
}

static int mount_root(char **reterr)
{
	int r;

	if (fw_bpffs_holds(FW_BPFFS_ROOT))
		return 0;
	fw_mounts_join_outer();
	if (fw_bpffs_holds(FW_BPFFS_ROOT))
		return 0;

	if (mount("bpf", FW_BPFFS_ROOT, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		  "mode=0700") == 0)
		return 0;
	r = -errno;
	fw_errorf(reterr, "cannot mount a bpf file system on %s: %s",
		  FW_BPFFS_ROOT, strerror(-r));
	return r;
}

/*
 * Whoever can reach a pin can empty our maps or detach our programs, so each
 * directory of ours is looked at on every start, not only when it is made.
 */
int fw_bpffs_mkdir(const char *path, char **reterr)
{
	struct stat st;
	int r;

	if (mkdir(path, 0700) < 0 && errno != EEXIST) {
		r = -errno;
		fw_errorf(reterr, "cannot make the directory '%s': %s", path,
			  strerror(-r));
		return r;
	}
	if (lstat(path, &st) < 0) {
		r = -errno;
		fw_errorf(reterr, "cannot look at '%s': %s", path,
			  strerror(-r));
		return r;
	}
	if (!S_ISDIR(st.st_mode)) {
		fw_errorf(reterr, "'%s' is not a directory", path);
		return -ENOTDIR;
	}
	if (st.st_uid != 0 || (st.st_mode & 077)) {
		fw_errorf(
			reterr,
			"'%s' is open to others (owner %u, mode %04o): it must be root's, mode 0700",
			path, st.st_uid, st.st_mode & 07777);
		return -EPERM;
	}
	return 0;
}

/*
 * Make the directories of `path` one after the other. Those outside the bpf
 * file system, and the place where it is mounted, are other people's.
 */
static int make_each(char *path, char **reterr)
{
	bool is_inside = false;
	char *end = path;
	char saved;
	int r;

	do {
		end = strchrnul(end + 1, '/');
		saved = *end;
		*end = '\0';
		r = is_inside ? fw_bpffs_mkdir(path, reterr) : 0;
		is_inside = is_inside || fw_bpffs_holds(path);
		*end = saved;
	} while (r == 0 && saved);
	if (r < 0)
		return r;

	if (!is_inside) {
		fw_errorf(
			reterr,
			"'%s' is not on a bpf file system: choose a directory below %s",
			path, FW_BPFFS_ROOT);
		return -EINVAL;
	}
	return 0;
}

int fw_bpffs_make(const char *path, char **reterr)
{
	char copy[PATH_MAX];
	size_t len;
	int r;

	len = strlen(path);
	while (len > 1 && path[len - 1] == '/')
		len--;
	if (path[0] != '/' || len >= sizeof(copy)) {
		fw_errorf(reterr, "'%s' is not an absolute path", path);
		return -EINVAL;
	}
	memcpy(copy, path, len);
	copy[len] = '\0';

	if (fw_bpffs_is_below(copy)) {
		r = mount_root(reterr);
		if (r < 0)
			return r;
	}
	return make_each(copy, reterr);
}
