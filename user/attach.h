/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Our programs on interfaces: XDP by link, TC by TCX link or, on kernels before
 * 6.6, by clsact filter. What is attached is pinned and outlives the daemon.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kern/abi.h"
#include "user/datapath.h"

struct fw_attach;

/** @brief True if this kernel has TCX links. */
bool fw_attach_has_tcx(void);

/**
 * @brief Take over what is pinned in a directory of links.
 *
 * Pins of interfaces that are gone or only half attached are removed.
 *
 * @param dir      the directory; copied
 * @param progs    descriptors by enum fw_hook; borrowed
 * @param has_tcx  what fw_attach_has_tcx() says
 */
int fw_attach_new(const char *dir, const int progs[FW_HOOK_MAX], bool has_tcx,
		  struct fw_attach **ret);

/** @brief Forget about it; everything stays attached. */
void fw_attach_free(struct fw_attach *attach);

/** @brief See fw_datapath_attach(). */
int fw_attach_set(struct fw_attach *attach, uint32_t ifindex,
		  enum fw_iface_mode wanted, struct fw_attachment *ret,
		  char **reterr);

/** @brief See fw_datapath_detach(). */
int fw_attach_clear(struct fw_attach *attach, uint32_t ifindex);

/**
 * @brief Let other programs take the place of ours, wherever one is pinned.
 *
 * On each hook one packet sees the old one and the next packet the new one. May
 * be repeated after a crash or a failure half-way.
 *
 * @return 0 or the first negative errno; the other interfaces are done anyway
 */
int fw_attach_replace(const char *dir, const int progs[FW_HOOK_MAX]);

/** @brief Say so to who works with them; `progs` are borrowed from now on. */
int fw_attach_use(struct fw_attach *attach, const int progs[FW_HOOK_MAX]);

/** @brief See fw_datapath_look(). */
void fw_attach_look(const struct fw_attach *attach, uint32_t ifindex,
		    struct fw_hooks_found *ret);

/** @brief See fw_datapath_attachments(). */
const struct fw_attachment *fw_attach_list(const struct fw_attach *attach,
					   size_t *ret_n);

/**
 * @brief Detach whatever is pinned in a directory, and remove the pins.
 *
 * Needs no programs: also for what a crash left behind.
 *
 * @return 0, also without such a directory, or the first negative errno
 */
int fw_attach_purge(const char *dir);
