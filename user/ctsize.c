/* SPDX-License-Identifier: GPL-2.0-only */

/* How large the connection table is, and how full. */
#include "user/ctsize.h"

#include "user/util.h"

#define SYSCTL "/proc/sys/net/netfilter/nf_conntrack_"

void fw_ctsize_read(struct fw_ctsize *ret)
{
	*ret = (struct fw_ctsize){ 0 };
	(void)fw_read_number(SYSCTL "count", &ret->entries);
	(void)fw_read_number(SYSCTL "max", &ret->limit);
	(void)fw_read_number(SYSCTL "buckets", &ret->buckets);
}
