/* SPDX-License-Identifier: GPL-2.0-only */

/* The generated skeleton of the programs that only explain; see skel.h. */
#pragma once

#pragma GCC system_header

#include "kern/explain_abi.h"
#include "kern/host_abi.h" /* the skeleton names what is in them */

#include "dry_bpf.skel.h"
