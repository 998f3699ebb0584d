/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Flows that only our own maps know: echo and protocols without ports, in one map
 * when new and in another one when answered. See kern/xflow.h.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kern/abi.h"

#define FW_XFLOW_MAPS 2u /* of what is new, and of what was answered */

struct fw_datapath;

/* Borrowed from the datapath. */
struct fw_xflows {
	int fds[FW_XFLOW_MAPS];
};

/* A negative return value ends the walk, which returns it. */
typedef int (*fw_xflow_fn)(void *data, const struct fw_tuple *tuple,
			   const struct fw_xflow *xflow);

/** @brief The maps of a datapath that is loaded. */
void fw_xflows_open(struct fw_xflows *xflows, const struct fw_datapath *dp);

/**
 * @brief Show all, also those that have expired.
 *
 * A flow that is answered meanwhile is shown, maybe twice.
 *
 * @return 0, -ENOMEM, what bpf(2) fails with, or what `fn` returned.
 */
int fw_xflows_each(const struct fw_xflows *xflows, fw_xflow_fn fn, void *data);

/**
 * @brief Look up a flow by its opener's tuple; true if it is there, in *ret.
 *
 * It may have expired.
 */
bool fw_xflows_find(const struct fw_xflows *xflows, const struct fw_tuple *orig,
		    struct fw_xflow *ret);

/** @brief Delete a flow: 1, 0 if there is none, or a negative errno. */
int fw_xflows_delete(const struct fw_xflows *xflows,
		     const struct fw_tuple *tuple);

/**
 * @brief Hand all flows of a generation of rules over to another one.
 *
 * @param heir  `gen` itself: they are deleted.
 * @return 0 or a negative errno; some are done then.
 */
int fw_xflows_forget(const struct fw_xflows *xflows, uint32_t gen,
		     uint32_t heir);
