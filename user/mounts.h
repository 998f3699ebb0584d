/* SPDX-License-Identifier: GPL-2.0-only */

/* The mount namespace that everybody's pins are in. */
#pragma once

/**
 * @brief Leave the private mounts of `ip netns exec`, where we are in some.
 *
 * Joins the mount namespace of process 1 or, where that is out of reach (in a
 * container), of our farthest ancestor, unless a bpf file system is in sight
 * already. Staying where we are is no error. The working directory becomes /:
 * do not resolve relative paths after this call.
 */
void fw_mounts_join_outer(void);
