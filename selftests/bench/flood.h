/* SPDX-License-Identifier: GPL-2.0-only */

/* What the flood beside a tunnel and its program share. */
#pragma once

#define FLOOD_SIZE 128 /* bytes of a frame at most */
#define FLOOD_MAX  64  /* packets for each one of the tunnel */
