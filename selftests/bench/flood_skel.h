/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The skeleton of the flood's program, a system header: our warning flags are not
 * for what bpftool writes.
 */
#pragma once

#pragma GCC system_header

#include "flood_bpf.skel.h"
