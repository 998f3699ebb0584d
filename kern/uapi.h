/* SPDX-License-Identifier: GPL-2.0-only */

/* What the kernel promises to user space as well: contexts, headers, numbers. */
#pragma once

/*
 * The verifier wants each access to a context at a constant offset from its
 * pointer; without this clang adds the two before, where accesses share a sum.
 */
#if !__has_attribute(preserve_static_offset)
#error "clang 18 or later is needed"
#endif
struct __attribute__((preserve_static_offset)) xdp_md;
struct __attribute__((preserve_static_offset)) __sk_buff;

#include <stdbool.h>
#include <stddef.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tuple_common.h>
#include <linux/types.h>
#include <linux/udp.h>
