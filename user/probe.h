/* SPDX-License-Identifier: GPL-2.0-only */

/* Questions to the running kernel that `fwctl doctor` asks. */
#pragma once

#include <stdbool.h>

struct fw_probe; /* type information of the kernel and of nf_conntrack */

/** @brief NULL without memory; a kernel without BTF has nothing to find. */
struct fw_probe *fw_probe_new(void);
void fw_probe_free(struct fw_probe *probe);

/** @brief True if /sys/kernel/btf/vmlinux could be read. */
bool fw_probe_has_btf(const struct fw_probe *probe);

/** @brief True if the kernel or nf_conntrack has a function of this name. */
bool fw_probe_has_func(const struct fw_probe *probe, const char *name);

/** @brief True if an enum of the kernel has a value of this name. */
bool fw_probe_has_enum_value(const struct fw_probe *probe, const char *name);

/** @brief True if `path` is on a bpf file system. */
bool fw_probe_is_bpffs(const char *path);

/**
 * @brief Do the conntrack hooks run in this network namespace?
 *
 * @return 1, 0, or a negative errno if the kernel does not tell (-EOPNOTSUPP)
 */
int fw_probe_conntrack_hooks(void);

/** @brief Name of the driver of an interface; 0 or a negative errno. */
int fw_probe_driver(const char *ifname, char *buf, unsigned int size);
