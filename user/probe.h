/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Questions to the running kernel. They change nothing: no answer is worth
 * loading a module for.
 */
#pragma once

#include <stdbool.h>

struct fw_probe; /* type information of the kernel and of nf_conntrack */

/**
 * @brief Type information is read when the first question needs it.
 *
 * @return NULL without memory; a kernel without BTF has nothing to find
 */
struct fw_probe *fw_probe_new(void);
void fw_probe_free(struct fw_probe *probe);

/** @brief True if /sys/kernel/btf/vmlinux could be read. */
bool fw_probe_has_btf(struct fw_probe *probe);

/** @brief True if the module nf_conntrack has type information of its own. */
bool fw_probe_has_module_btf(struct fw_probe *probe);

/** @brief True if the kernel itself, without modules, has such a function. */
bool fw_probe_has_kernel_func(struct fw_probe *probe, const char *name);

/** @brief True if the kernel or nf_conntrack has a function of this name. */
bool fw_probe_has_func(struct fw_probe *probe, const char *name);

/** @brief True if an enum of the kernel has a value of this name. */
bool fw_probe_has_enum_value(struct fw_probe *probe, const char *name);

/**
 * @brief Size in bytes of a struct of the kernel or of nf_conntrack, 0: none.
 *
 * @param member      NULL, or a name to look for in it
 * @param ret_has_it  true if it has that member; NULL without `member`
 */
unsigned int fw_probe_struct(struct fw_probe *probe, const char *name,
			     const char *member, bool *ret_has_it);

/** @brief True if `path` is on a bpf file system. */
bool fw_probe_is_bpffs(const char *path);

/**
 * @brief Do the conntrack hooks run in this network namespace?
 *
 * Asking loads nfnetlink_hook where that is a module: look first if it is here.
 *
 * @return 1, 0, or a negative errno if the kernel does not tell (-EOPNOTSUPP)
 */
int fw_probe_conntrack_hooks(void);

/**
 * @brief Does the driver take VLAN tags off, and hand them over beside the packet?
 *
 * @return 1, 0 or a negative errno
 */
int fw_probe_hides_tags(const char *ifname);

/** @brief Name of the driver of an interface; 0 or a negative errno. */
int fw_probe_driver(const char *ifname, char *buf, unsigned int size);
