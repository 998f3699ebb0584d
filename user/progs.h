/* SPDX-License-Identifier: GPL-2.0-only */

/* Loading the programs, and saying in one line why a kernel refuses them. */
#pragma once

#include <stdint.h>

#include "user/datapath.h"
#include "user/skel.h"

/** @brief Take over what libbpf prints; once, before anything else here. */
void fw_progs_init(void);

/** @brief Names of a map and of a program, in the object and as pins. */
const char *fw_progs_map_name(enum fw_map map);
const char *fw_progs_name(enum fw_hook hook);

/** @brief The same in an object, borrowed. */
struct bpf_map *fw_progs_map(const struct fwctl_bpf *skel, enum fw_map map);
struct bpf_program *fw_progs_get(const struct fwctl_bpf *skel,
				 enum fw_hook hook);

/**
 * @brief Load all programs, nf_conntrack first if it is a module.
 *
 * @param image_size  bytes of the images they will get: a power of two
 * @param maps  descriptors of the maps to share, by enum fw_map, all but
 *              FW_MAP_RULESETS; NULL: all maps are new
 * @param ret   the object; fwctl_bpf__destroy()
 * @param reterr  on failure one line for the user, malloc()ed
 * @return 0, or a negative errno
 */
int fw_progs_load(uint32_t image_size, const int *maps, struct fwctl_bpf **ret,
		  char **reterr);
