/* SPDX-License-Identifier: GPL-2.0-only */

/* The programs of an object are verified at the same time, each on a thread. */
#pragma once

struct bpf_object_skeleton;

/** @brief Be asked by libbpf before it loads a program; may be called again. */
void fw_verify_init(void);

/**
 * @brief Load an object, as bpf_object__load_skeleton() does.
 *
 * Without fw_verify_init() it is the same. What libbpf prints does not say why a
 * program was refused: open the object and load it in the usual way to know.
 *
 * @return 0, or a negative errno: nothing is left but the object
 */
int fw_verify_load(struct bpf_object_skeleton *skel);
