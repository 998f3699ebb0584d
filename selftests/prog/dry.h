/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The programs that only explain, beside those of a harness: they look into the same
 * maps, and what is in these can be held against what was in them before.
 */
#pragma once

#include "harness.h"
#include "kern/explain_abi.h"

struct dry_bpf;
struct picture;

/** @brief Load them; exits on error. */
struct dry_bpf *dry_open(struct harness *h);
void dry_close(struct dry_bpf *skel);

/** @brief The next hook is the first one of another packet. */
void dry_begin(struct dry_bpf *skel);

/**
 * @brief Run one of them, as harness_run().
 *
 * @param ret_action  what the program returned
 * @return what it has left behind; of `hook` what is of interest
 */
struct fw_explained dry_run(const struct harness *h, struct dry_bpf *skel,
			    enum fw_hook hook, unsigned int iface, int iif,
			    const uint8_t *frame, uint32_t len,
			    int *ret_action);

/** @brief Everything that the filtering programs write, and the connection table. */
struct picture *picture_take(const struct harness *h);

/** @brief The name of what differs, or NULL; both are freed. */
const char *picture_compare(struct picture *before, struct picture *after);
