/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The directory on a bpf file system that holds our pins: where it may be, who
 * may look into it, and what to do on a machine that has no such file system.
 */
#pragma once

#include <stdbool.h>

#define FW_BPFFS_ROOT "/sys/fs/bpf" /* where Linux mounts it */

/** @brief True if an absolute path lies below FW_BPFFS_ROOT. */
bool fw_bpffs_is_below(const char *path);

/** @brief True if `path` exists and is on a bpf file system. */
bool fw_bpffs_holds(const char *path);

/**
 * @brief Make a directory for pins and all that lead to it, 0700 and root's.
 *
 * Directories that exist already are checked: nobody but root may enter.
 * Below /sys/fs/bpf a bpf file system is mounted if there is none. The process
 * may end up in another mount namespace (see mounts.h), with / as its directory: do
 * not resolve relative paths after this call.
 *
 * @param path    absolute path
 * @param reterr  on failure one line for the user, malloc()ed
 * @return 0, -EPERM if others may enter, -EINVAL if there is no bpf file
 *         system at `path`, or another negative errno
 */
int fw_bpffs_make(const char *path, char **reterr);

/** @brief Make or check one directory, whose parent is ours already. */
int fw_bpffs_mkdir(const char *path, char **reterr);
