/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * What is wrong with a packet before any rule is asked: the judge of kern/sanity.h and of
 * the checks in kern/packet.h, for the packets of random_packets.c.
 */
#pragma once

#include "random_case.h"

/**
 * @brief The reason a packet dies for at a hook, or FW_REASON_NONE.
 *
 * @param options  FW_OPT_* and FW_OFF_* of the rules
 * @param is_own   its source is an address of this host
 */
enum fw_reason sanity_of(const struct random_packet *packet, enum fw_hook hook,
			 uint32_t options, bool is_own);
