/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The generated skeleton of path.bpf.c. A system header, so that our warning
 * flags are not applied to what bpftool writes.
 */
#pragma once

#pragma GCC system_header

#include "path_bpf.skel.h"
