/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Where one instance keeps its socket and pins. One fwctld serves one network
 * namespace: the first one of the machine has the plain directories, any other
 * has its own below them, so that nobody talks to the firewall of another one.
 */
#pragma once

#include <stdbool.h>

struct fw_paths {
	char run_dir[108 - 16]; /* /run/fwctl, or /run/fwctl/netns-INODE */
	char socket[108];	/* run_dir/fwctl.sock */
	char log[108]; /* run_dir/fwctld.log, of a daemon that fwctl starts */
	char pin_dir[128]; /* /sys/fs/bpf/fwctl[/netns-INODE] */
};

/**
 * @brief Fill in the paths of the caller's network namespace.
 *
 * @param run_dir  NULL, or what the user asked for
 * @param pin_dir  NULL, or what the user asked for
 * @return 0, -ENAMETOOLONG, -EINVAL if one is not absolute, or a negative errno
 *         of reading /proc
 */
int fw_paths_init(struct fw_paths *ret, const char *run_dir,
		  const char *pin_dir);

/**
 * @brief The caller's network namespace, and whether it is that of process 1.
 *
 * @return 0, or a negative errno of reading /proc
 */
int fw_paths_netns(unsigned long *ret_inode, bool *ret_is_first);

/** @brief True if rules seem to be pinned; fw_datapath_exists() looks closer. */
bool fw_paths_pinned(const struct fw_paths *paths);

/**
 * @brief Make the run directory (0700), or check that only root can write to it.
 *
 * @param reterr  on failure one line for the user, malloc()ed
 */
int fw_paths_make_run_dir(const struct fw_paths *paths, char **reterr);
