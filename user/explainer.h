/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The programs that say what would become of a packet, and do nothing (kern/dry.h): one
 * hook after the other, as the packet would meet them.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kern/explain_abi.h"
#include "user/datapath.h"

struct fw_explainer;

/**
 * @brief Have programs that fit those of the datapath.
 *
 * Takes some tenths of a second the first time, and when the datapath has grown.
 *
 * @param explainer  NULL at first; replaced by others if they no longer fit
 * @param reterr     on failure one line for the user, malloc()ed
 * @return 0 or a negative errno; then there are none
 */
int fw_explainer_ready(struct fw_explainer **explainer,
		       const struct fw_datapath *dp, char **reterr);
void fw_explainer_free(struct fw_explainer *explainer);

/**
 * @brief What comes now is another packet; 0 or a negative errno.
 *
 * @param from_sa  it came out of an SA
 * @param reqid    the number of that; 0: not known
 */
int fw_explainer_begin(const struct fw_explainer *explainer, bool from_sa,
		       uint32_t reqid);

/* Where a packet meets a program. */
struct fw_explainer_at {
	enum fw_hook hook;
	uint32_t ifindex;
	uint32_t
		in_ifindex; /* egress: where it came in; 0: it is this host's */
};

/**
 * @brief Run one program.
 *
 * @param frame  with its Ethernet header, of FW_EXPLAINER_LEAST to
 *               FW_EXPLAINER_MOST bytes
 * @param ret    what the program has found out
 * @return 0, -EINVAL if the kernel does not run it on so short a frame, -ENODEV if
 *         the interface is gone, or another negative errno
 */
int fw_explainer_run(const struct fw_explainer *explainer,
		     const struct fw_explainer_at *at, const uint8_t *frame,
		     uint32_t len, struct fw_explained_hook *ret);

/**
 * @brief The next hook is not told what XDP has said; 0 or a negative errno.
 *
 * So it is with generic XDP where TC does not find the metadata.
 */
int fw_explainer_hide(const struct fw_explainer *explainer);

#define FW_EXPLAINER_LEAST 14
/* What a test run of TC takes on all kernels is a page without some room. */
#define FW_EXPLAINER_MOST  3000
