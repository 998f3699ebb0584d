/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * That something has changed by which the kernel forwards packets: routes, rules,
 * neighbours, links, addresses, sysctls of interfaces, XFRM policies. What it is does
 * not matter to who asks.
 */
#pragma once

struct fw_changes;
struct fw_loop;

/** @brief Something has changed since the last call; at most a hundred times a second. */
typedef void (*fw_changes_fn)(void *data);

/**
 * @brief Watch, in this network namespace.
 *
 * @param fn  called from the loop, within 10 ms of the change
 * @return 0 or a negative errno
 */
int fw_changes_new(struct fw_loop *loop, fw_changes_fn fn, void *data,
		   struct fw_changes **ret);
void fw_changes_free(struct fw_changes *changes);
