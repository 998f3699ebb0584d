/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * `option esp-steer`: the CPUs that XDP hands IPsec to (kern/steer.h). Of those that the
 * rules name the online ones have a queue; they are followed as they come and go.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kern/esp_abi.h"
#include "rules/rules.h"

struct fw_apply_iface;
struct fw_daemon;
struct fw_datapath;
struct fw_ifaces;
struct fw_link;
struct fw_steer;

/**
 * @brief Begin with what an earlier daemon has told the programs, and what the rules say.
 *
 * @param daemon  borrowed, with all that is opened before
 * @param reterr  on failure one line for the user, malloc()ed
 * @return 0 or a negative errno
 */
int fw_steer_new(struct fw_daemon *daemon, struct fw_steer **ret,
		 char **reterr);

/** @brief Follow no longer; what the programs know stays. NULL is fine. */
void fw_steer_free(struct fw_steer *steer);

/** @brief There may be other rules, or other CPUs. NULL is fine. */
void fw_steer_follow(struct fw_steer *steer);

/**
 * @brief Can this machine have all CPUs that the rules name?
 *
 * @param ret_at  where they are named
 * @return 0, -EOPNOTSUPP if it cannot, or another negative errno
 */
int fw_steer_check(const struct fw_program *program, struct fw_span *ret_at,
		   char **reterr);

/**
 * @brief What the programs are to know of a device that packets come in by.
 *
 * @param wanted  the mode that the rules want for it
 * @return FW_IFACE_STEER, FW_IFACE_PARTIAL; 0: nothing is steered
 */
uint16_t fw_steer_flags(const struct fw_ifaces *links,
			const struct fw_link *link, enum fw_iface_mode wanted);

/** @brief Why nothing is steered there, static; NULL: it is. */
const char *fw_steer_why_not(const struct fw_ifaces *links,
			     const struct fw_link *link,
			     enum fw_iface_mode mode);

/** @brief The same of a declared interface, as it is attached. */
const char *fw_steer_look(const struct fw_ifaces *links,
			  const struct fw_apply_iface *iface);

/** @brief What the programs know of CPUs; 0 or a negative errno. */
int fw_steer_read(const struct fw_datapath *dp, struct fw_esp_steer *ret);

/**
 * @brief How many packets each CPU was sent, FW_MAX_STEER_CPUS of them.
 *
 * @return 0 or a negative errno
 */
int fw_steer_counts(const struct fw_datapath *dp, uint64_t *ret);

/**
 * @brief The CPUs from now on.
 *
 * @param now  as the programs know them; becomes what is to be written
 * @param set  those that there are
 * @return whether that is something else
 */
bool fw_steer_place(struct fw_esp_steer *now, const struct fw_cpuset *set);

/**
 * @brief Read what the kernel says of a device (NETLINK_KOBJECT_UEVENT).
 *
 * @param text    "offline@/devices/system/cpu/cpu3", and more behind its end
 * @param ret_gone  the CPU is offline, or has been
 * @return the number of the CPU, or -1 of other devices
 */
int fw_steer_uevent(const char *text, bool *ret_gone);
