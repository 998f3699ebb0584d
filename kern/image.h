/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * How the parts of a compiled rule set are found in memory.
 *
 * An image is the only value of an array map, a power of two in size and
 * FW_IMAGE_SLACK bytes more. Its parts refer to each other by offsets in bytes
 * from its start. Programs mask each offset instead of checking it: a broken
 * image yields wrong answers, never an access out of bounds.
 */
#pragma once

#include "kern/abi.h"

/* Nothing read from one image_at() on is larger: the entries of a step are not. */
#define FW_IMAGE_SLACK 1024

#ifdef __bpf__
/*
 * Size of the image less one; set before the programs are loaded. Weak, so that
 * the compiler does not know it, and need not read it for each offset.
 */
__weak const __u32 fw_image_mask = 0;

/* Processors that we run on load from anywhere: see ctx_copy(). */
#define FW_IMAGE_ALIGN(type) 1
#else
extern __u32 fw_image_mask;

#define FW_IMAGE_ALIGN(type) _Alignof(type)
#endif

/* The object of a type at an offset; `base` is the value of the map. */
#define image_at(base, off, type)                              \
	((const type *)(const void *)((const char *)(base) +   \
				      ((off) & fw_image_mask & \
				       ~(__u32)(FW_IMAGE_ALIGN(type) - 1))))
