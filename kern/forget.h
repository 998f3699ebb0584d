/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * A value without what the verifier knows of it. A search or a walk moves
 * differently on each path; tracked, no two paths would ever be equal. A scalar
 * in the upper half of a stack slot, reached through a register, is just bytes
 * to it (6.1 to 6.18), if they are not zeroes. In user space there is nothing to
 * forget.
 */
#pragma once

#include <linux/types.h>

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

static __always_inline __u32 forget(__u32 v)
{
#ifdef __bpf__
	const __u32 no_zero = 0x40000001;
	struct {
		__u32 pad;
		__u32 v;
	} s __attribute__((aligned(8)));
	volatile __u32 *at = &s.v;

	asm volatile("" : "+r"(at));
	*at = v ^ no_zero;
	return *at ^ no_zero;
#else
	return v;
#endif
}

/* The same, with less work where a number is at hand that the verifier does not know. */
static __always_inline __u32 forget_by(__u32 v, __u32 unknown)
{
#ifdef __bpf__
	__u64 to = v;

	asm volatile("%0 ^= %1\n\t%0 ^= %1" : "+r"(to) : "r"((__u64)unknown));
	return (__u32)to;
#else
	(void)unknown;
	return v;
#endif
}
