/* SPDX-License-Identifier: GPL-2.0-only */

/* Sets of addresses in the form that programs in the kernel search. */
#pragma once

#include "bytes.h"
#include "rules.h"

/**
 * @brief Append the addresses of a set to an image.
 *
 * The time grows with the ranges and the memory is at most 64 bytes a range,
 * whatever they are; a lookup reads at most FW_ADDRSET_DEPTH nodes.
 *
 * @param set      its `v4` and `v6`, merged; borrowed
 * @param bytes    the image; as it was if this fails
 * @param ret_off  offset of the struct fw_addrset, or 0 if there is no address
 *                 in the set
 * @return 0, -E2BIG if the image would grow beyond what offsets can say, or
 *         -ENOMEM
 */
int fw_addrset_build(const struct fw_ir_set *set, struct fw_bytes *bytes,
		     uint32_t *ret_off);
