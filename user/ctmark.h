/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Conntrack marks turned so that our bits are on top, wherever the rules have
 * them: what is above ctnetlink knows no other marks (FW_MARK_* in kern/abi.h).
 */
#pragma once

#include <stdint.h>

#include "kern/abi.h"

static inline uint32_t fw_mark_rotate(uint32_t mark, unsigned int left)
{
	left %= 32;
	return left ? mark << left | mark >> (32 - left) : mark;
}

/** @brief A mark of the kernel's, ours on top; `shift` as in struct fw_image_head. */
static inline uint32_t fw_mark_turn(uint32_t mark, uint8_t shift)
{
	return fw_mark_rotate(mark, FW_MARK_SHIFT - (unsigned int)shift);
}

/** @brief And back. */
static inline uint32_t fw_mark_turn_back(uint32_t mark, uint8_t shift)
{
	return fw_mark_rotate(mark, 16u + shift);
}
