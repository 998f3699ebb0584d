/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The usual way of a packet: what lies on it is kept in registers first, and the
 * code of what is rare lies behind. No verdict depends on it.
 */
#pragma once

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
