/* SPDX-License-Identifier: GPL-2.0-only */

/* Loading the programs, and saying in one line why a kernel refuses them. */
#pragma once

#include "user/datapath.h"
#include "user/dryskel.h"
#include "user/nflinks.h"
#include "user/skel.h"

/** @brief Take over what libbpf prints; once, before anything else here. */
void fw_progs_init(void);

/** @brief Names of a map and of a program as pins. */
const char *fw_progs_map_name(enum fw_map map);
const char *fw_progs_name(enum fw_hook hook);

/** @brief The same in an object, borrowed. */
struct bpf_map *fw_progs_map(const struct fwctl_bpf *skel, enum fw_map map);
struct bpf_program *fw_progs_get(const struct fwctl_bpf *skel,
				 enum fw_hook hook);

/** @brief The name of a program of netfilter, as a pin and in an object. */
const char *fw_progs_local_name(enum fw_local local);

/**
 * @brief Say how many counters there are, for the CPUs of this machine.
 *
 * @param slots  rule counters of each CPU
 * @param reterr  on failure one line for the user, malloc()ed
 * @return for how many CPUs, or a negative errno
 */
int fw_progs_set_counters(struct fwctl_bpf *skel, uint32_t slots,
			  char **reterr);

/**
 * @brief Load all programs but those of netfilter, nf_conntrack first if it is a module.
 *
 * @param size  what they will work with
 * @param maps  descriptors of the maps to share, by enum fw_map; a negative
 *              one: that map is new; NULL: all are
 * @param image_fd  a map of fw_rulesets_new() to verify them with; -1: one is made for
 *                  that, and cleared for nothing
 * @param ret   the object; fwctl_bpf__destroy()
 * @param reterr  on failure one line for the user, malloc()ed
 * @return 0, or a negative errno
 */
int fw_progs_load(const struct fw_datapath_size *size, const int *maps,
		  int image_fd, struct fwctl_bpf **ret, char **reterr);

/**
 * @brief Load the programs of netfilter, beside those of fw_progs_load().
 *
 * @param size  what these work with
 * @param maps  all of theirs, by enum fw_map
 * @param ret   descriptors, by enum fw_local; the caller's
 * @param reterr  on failure one line for the user, malloc()ed
 * @return 0, or a negative errno: there are none
 */
int fw_progs_load_local(const struct fw_datapath_size *size,
			const int maps[FW_MAP_MAX], int ret[FW_LOCAL_MAX],
			char **reterr);

/** @brief A program of fw_progs_load_dry(), borrowed. */
struct bpf_program *fw_progs_get_dry(const struct dry_bpf *skel,
				     enum fw_hook hook);

/**
 * @brief Load the programs that only explain, beside those that filter.
 *
 * @param image_size  what these work with
 * @param maps        all of theirs, by enum fw_map
 * @param ret         the object; dry_bpf__destroy()
 * @param reterr      on failure one line for the user, malloc()ed
 * @return 0, or a negative errno
 */
int fw_progs_load_dry(uint32_t image_size, const int maps[FW_MAP_MAX],
		      struct dry_bpf **ret, char **reterr);
