/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Tells XDP which marks security associations have, so that it finds them
 * (struct fw_esp_marks).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kern/esp_abi.h"

struct fw_espmarks;
struct fw_loop;

/**
 * @brief Find the marks, and follow what becomes of them.
 *
 * @param map  descriptor of the map `esp_marks`, borrowed
 * @return 0, also where the kernel has no XFRM, or a negative errno
 */
int fw_espmarks_new(struct fw_loop *loop, int map, struct fw_espmarks **ret);
void fw_espmarks_free(struct fw_espmarks *marks);

/**
 * @brief The marks from now on.
 *
 * A mark that stays keeps its place: a packet that looks at one place after the other
 * meets it, whatever is written meanwhile.
 *
 * @param now   as they are; becomes what is to be written
 * @param want  those that there are, each once, none 0
 * @param n     how many; more than there is room for: `unknown`
 */
void fw_espmarks_place(struct fw_esp_marks *now, const uint32_t *want,
		       size_t n);
