/* SPDX-License-Identifier: GPL-2.0-only */

/* Few IPv4 addresses in a form that programs in the kernel find at once. */
#pragma once

#include "bytes.h"
#include "kern/addrset_abi.h"
#include "rules.h"

/**
 * @brief Append a hash of all addresses of some ranges to an image.
 *
 * @param v4     ranges, merged; borrowed
 * @param bytes  the image; after a failure there may be more in it
 * @param ret    the hash; zeroed if there is no address, or more than FW_ADDRSET_FEW
 * @return 0, or -ENOMEM
 */
int fw_addrhash_build(const struct fw_ranges *v4, struct fw_bytes *bytes,
		      struct fw_addrset_hash *ret);
