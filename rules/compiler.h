/* SPDX-License-Identifier: GPL-2.0-only */

/* What all stages of one compilation share. */
#pragma once

#include "arena.h"
#include "diag.h"
#include "source.h"

struct fw_compiler {
	struct fw_sources sources;
	struct fw_reporter rep; /* is_broken: memory ran out, give up */
	struct fw_arena arena;	/* of the syntax tree */
	const struct fw_options *options;
	fw_read_fn read;
	void *ctx;
	uint64_t n_read; /* bytes of files that were looked at so far */
};

/** @brief Arena memory; NULL and a broken reporter without memory. */
static inline void *fw_compiler_alloc(struct fw_compiler *c, size_t size)
{
	void *p = fw_arena_alloc(&c->arena, size);

	if (!p)
		c->rep.is_broken = true;
	return p;
}
