/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Programs for rules that are on their way, loaded on a thread: the kernel takes
 * longer to verify them than it takes to compile a hundred thousand rules.
 */
#pragma once

#include "user/datapath.h"

struct fw_upcoming;
struct fwctl_bpf;

/**
 * @brief Begin to load programs, with the capabilities that the caller has now.
 *
 * @param maps  to be shared, by enum fw_map; -1: they have one of their own. Stays
 *              open until the end
 * @param ret   to be freed by fw_upcoming_free()
 * @return 0 or a negative errno
 */
int fw_upcoming_begin(const struct fw_datapath_size *size,
		      const int maps[FW_MAP_MAX], struct fw_upcoming **ret);

/** @brief What they have room for. */
const struct fw_datapath_size *
fw_upcoming_size(const struct fw_upcoming *upcoming);

/** @brief The map for their image, borrowed; -1: there is none. Nobody reads it yet. */
int fw_upcoming_image(const struct fw_upcoming *upcoming);

/**
 * @brief Wait for them.
 *
 * @param ret_image_fd  map for an image of theirs, which is in its place already,
 *                      and that of fw_upcoming_image(); -1: there is none
 * @return the programs, to be destroyed; NULL: they could not be loaded
 */
struct fwctl_bpf *fw_upcoming_take(struct fw_upcoming *upcoming,
				   int *ret_image_fd);

/** @brief Wait for what nobody has taken and free it; NULL is fine. */
void fw_upcoming_free(struct fw_upcoming *upcoming);
