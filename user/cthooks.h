/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * `option conntrack-hooks on`: one nftables table of our own that makes the kernel
 * track connections itself, as anybody's `ct` rule would.
 */
#pragma once

#include <stdbool.h>

/**
 * @brief Make the table be there, or not be there.
 *
 * Nothing is done if it is so already. A table of that name that somebody else made
 * is left alone: it is in the way of ours, and is not removed for want of it.
 *
 * @param reterr  on failure one line for the user, malloc()ed
 * @return 0 if it was so already, 1 if it is so now, -EEXIST if somebody has taken the name, -EIO if the kernel refuses, for
 *         instance because it has no nf_tables, or -ENOMEM
 */
int fw_cthooks_set(bool on, char **reterr);
