/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The skeleton of the oracle of the rules, a system header: our warning flags
 * are not for what bpftool writes.
 */
#pragma once

#pragma GCC system_header

#include "rules_bpf.skel.h"
