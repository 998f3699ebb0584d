/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The generated skeleton of sets.bpf.c. A system header, so that our warning
 * flags are not applied to what bpftool writes.
 */
#pragma once

#pragma GCC system_header

#include "sets_bpf.skel.h"
