/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Modules of the kernel: which are there, which could be, and loading one.
 *
 * Nothing is told by version numbers: a module is there if sysfs lists it or if
 * the kernel's type information has a function that only it brings.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct fw_modules;
struct fw_probe;

/* What fwctl itself asks for; names as modprobe(8) takes them. */
#define FW_MODULE_CONNTRACK "nf_conntrack"
#define FW_MODULE_CTNETLINK "nf_conntrack_netlink"
#define FW_MODULE_CLSACT    "sch_ingress"
#define FW_MODULE_CLS_BPF   "cls_bpf"
#define FW_MODULE_NFTABLES  "nf_tables"

enum fw_module_state {
	FW_MODULE_UNKNOWN, /* the kernel has no type information to look into */
	FW_MODULE_BUILTIN,
	FW_MODULE_LOADED,
	FW_MODULE_LOADABLE,
	FW_MODULE_BLACKLISTED, /* in modprobe.d: not without being asked to */
	FW_MODULE_MISSING,
};

/* Where to look; NULL and zero: where the running kernel has it. */
struct fw_module_places {
	const char *dir; /* of modules: /lib/modules/RELEASE */
	const char *const
		*config;   /* directories, NULL at the end: modprobe.d */
	const char *sysfs; /* /sys/module */
};

/**
 * @param probe   borrowed
 * @param places  NULL: those of the running kernel; copied but for what it
 *                points to
 * @return NULL without memory
 */
struct fw_modules *fw_modules_new(struct fw_probe *probe,
				  const struct fw_module_places *places);
void fw_modules_free(struct fw_modules *modules);

/** @brief What there is of a module. Loads nothing. */
enum fw_module_state fw_module_state(const struct fw_modules *modules,
				     const char *name);

/** @brief "built in", "loaded", "not loaded, loadable" and so on. */
const char *fw_module_state_text(enum fw_module_state state);

/** @brief True if it need not be loaded: built in or loaded. */
bool fw_module_is_here(enum fw_module_state state);

/** @brief True if it is certain that it cannot be had without help. */
bool fw_module_is_lacking(enum fw_module_state state);

/**
 * @brief Load a module and what it depends on, unless it is there.
 *
 * As modprobe(8) does, with options, soft dependencies and install commands of
 * modprobe.d; a blacklisted module is left alone, for nobody has named it.
 *
 * @param reterr  on failure one line: why, and what to do; malloc()ed
 * @return 0, also if nothing can be told about it; -ENOENT if it or one that it
 *         depends on is missing, -EACCES if it is blacklisted, -ECANCELED if its
 *         install command failed, or what the kernel answered: -EPERM,
 *         -EKEYREJECTED, ...
 */
int fw_module_load(const struct fw_modules *modules, const char *name,
		   char **reterr);

/** @brief fw_module_load() for the running kernel, once. */
int fw_module_require(const char *name, char **reterr);
