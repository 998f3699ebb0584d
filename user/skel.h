/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The generated skeleton of the BPF object. A system header, so that our
 * warning flags are not applied to what bpftool writes. And the settings that
 * are more than a variable.
 */
#pragma once

#pragma GCC system_header

#include "kern/host_abi.h" /* the skeleton names what is in it */
#include "kern/offload_abi.h"

#include "fwctl_bpf.skel.h"

#include <errno.h>

#include "kern/abi.h"
#include "kern/image.h"

/**
 * @brief Say how large images are, before the programs are loaded.
 *
 * @param size  in bytes, a power of two of FW_IMAGE_MIN or more
 * @return 0 or a negative errno
 */
static inline int fw_skel_set_image_size(struct fwctl_bpf *skel, __u32 size)
{
	skel->rodata->fw_image_mask = size - 1;
	return bpf_map__set_value_size(bpf_map__inner_map(skel->maps.rulesets),
				       size + FW_IMAGE_SLACK);
}

/**
 * @brief Say how many flows XDP remembers, before the programs are loaded.
 *
 * @param flows  of each CPU: a power of two, or 0, without offload
 * @param cpus   fw_counters_cpus(); others remember none
 * @return 0 or a negative errno
 */
static inline int fw_skel_set_flows(struct fwctl_bpf *skel, __u32 flows,
				    __u32 cpus)
{
	__u32 groups = flows ? flows / FW_CACHED_WAYS : 1;

	skel->rodata->fw_cache_mask = groups - 1;
	return bpf_map__set_max_entries(skel->maps.flow_cache, groups * cpus);
}

/**
 * @brief Say how many counters there are, before the programs are loaded, and how
 * many CPUs IPsec can be steered to.
 *
 * @param slots  rule counters of each CPU: a power of two, from FW_SLOTS_MIN to
 *               FW_MAX_SLOTS
 * @param cpus   fw_counters_cpus(); what happens on others is not counted
 * @return 0 or a negative errno
 */
static inline int fw_skel_set_counters(struct fwctl_bpf *skel, __u32 slots,
				       __u32 cpus)
{
	__u32 steered = cpus < FW_MAX_STEER_CPUS ? cpus : FW_MAX_STEER_CPUS;
	int r;

	if (cpus > FW_MAX_CPUS)
		return -E2BIG;
	r = bpf_map__set_max_entries(skel->maps.rule_stats, slots * cpus);
	if (r < 0)
		return r;
	r = bpf_map__set_max_entries(skel->maps.esp_cpus, steered);
	if (r < 0)
		return r;
	r = bpf_map__set_max_entries(skel->maps.esp_steered, steered);
	if (r < 0)
		return r;
	return bpf_map__set_max_entries(skel->maps.stats,
					FW_STATS_ENTRIES * cpus);
}

/* Linux 6.4, missing from the headers of Debian 12 (linux/bpf.h). */
#define FW_PROG_TYPE_NETFILTER ((enum bpf_prog_type)32)
#define FW_BPF_NETFILTER       ((enum bpf_attach_type)45)

/**
 * @brief Have a program of netfilter loaded with the others.
 *
 * Without it such programs are not: the object names a section that libbpf does not know.
 *
 * @return 0 or a negative errno
 */
static inline int fw_skel_want_netfilter(struct bpf_program *prog)
{
	int r;

	r = bpf_program__set_type(prog, FW_PROG_TYPE_NETFILTER);
	if (r == 0)
		r = bpf_program__set_expected_attach_type(prog,
							  FW_BPF_NETFILTER);
	return r < 0 ? r : bpf_program__set_autoload(prog, true);
}
