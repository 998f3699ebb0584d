/* SPDX-License-Identifier: GPL-2.0-only */

/* Many ranges into order. */
#pragma once

#include <stddef.h>

#include "rules.h"

/** @brief Sort by the first number, then by the last; with little memory it is slower. */
void fw_range_sort(struct fw_range *ranges, size_t n);
