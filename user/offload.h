/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * What XDP is told to forward by itself (kern/offload_abi.h): by which interfaces
 * packets may come in and leave, and when all that it remembers is out of date.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "user/apply.h"
#include "user/iface.h"

struct fw_hosttab;
struct fw_loop;
struct fw_offload;

/** @brief Some interface can do more or less than before: plan and update again. */
typedef void (*fw_offload_fn)(void *data);

/**
 * @brief Begin with what an earlier daemon has told the programs.
 *
 * @param dp, tables  borrowed
 * @param changed     called from the loop
 */
int fw_offload_new(struct fw_loop *loop, const struct fw_datapath *dp,
		   struct fw_hosttab *tables, fw_offload_fn changed, void *data,
		   struct fw_offload **ret);
void fw_offload_free(struct fw_offload *offload);

/**
 * @brief How many flows XDP remembers of each CPU, if rules want packets forwarded.
 *
 * @return a power of two; 0: nobody knows how many CPUs there are
 */
uint32_t fw_offload_flows(void);

/** @brief The same, if only verdicts are remembered. */
uint32_t fw_offload_verdicts(void);

/**
 * @brief Rules run, or are about to, that want packets forwarded by XDP; or none do.
 *
 * Without them nothing is watched. What cannot be watched is said once, and is then a
 * reason for no interface to offload.
 */
void fw_offload_use(struct fw_offload *offload, bool is_wanted);

/**
 * @brief What the programs are to know of the device that a packet comes in by.
 *
 * @param wanted  the mode that the rules want for it
 * @return FW_IFACE_*
 */
uint16_t fw_offload_flags(const struct fw_offload *offload,
			  const struct fw_link *link,
			  enum fw_iface_mode wanted);

/**
 * @brief Tell the programs by which interfaces packets may leave.
 *
 * @param ifaces  the declared ones, as they are attached
 */
void fw_offload_update(struct fw_offload *offload,
		       const struct fw_ifaces *links,
		       const struct fw_apply_iface *ifaces, size_t n);

/** @brief A flow was cut: nothing that is remembered of any is true any more. */
void fw_offload_forget(struct fw_offload *offload);

/* What becomes of offloading on one interface. */
struct fw_offload_state {
	bool is_wanted; /* by the rules */
	bool is_on;
	const char *why; /* why not; NULL: it is on */
};

/** @brief What hinders TCP where offloading is on; NULL: nothing. */
const char *fw_offload_look_tcp(const struct fw_program *program);

/** @brief Ask about a declared interface; costs some system calls. */
struct fw_offload_state fw_offload_look(const struct fw_offload *offload,
					const struct fw_ifaces *links,
					const struct fw_apply_iface *iface);
