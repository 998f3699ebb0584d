/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The mirror with all that is static in it: a test includes this once instead of
 * being linked with mirror.c.
 */
#pragma once

#include "user/mirror.c"

#include "lab.h"

/** @brief Whether the picture is right and no dump is running. */
static inline bool is_synced(struct fixture *f)
{
	return f->mirror->stats.in_sync && !is_dumping(f->mirror);
}
