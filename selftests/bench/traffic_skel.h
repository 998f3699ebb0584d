/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The skeleton of the generator's programs, a system header: our warning flags
 * are not for what bpftool writes.
 */
#pragma once

#pragma GCC system_header

#include "traffic_bpf.skel.h"
