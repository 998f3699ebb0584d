/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Would the stack refuse a sequence number? What xfrm_replay_check() of the kernel does
 * (net/xfrm/xfrm_replay.c), up to the bit that it looks at. Compiles in user space too,
 * where tests hold it against that.
 */
#pragma once

#include <linux/types.h>

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

enum replay_mode {
	REPLAY_LEGACY = 0, /* 32 bits */
	REPLAY_BMP = 1,	   /* a ring of bits, sequence numbers of 32 bits */
	REPLAY_ESN =
		2, /* the same, of 64 bits, of which packets bear the half */
};

/* One packet, and the window that it meets. */
struct replay {
	__u32 mode; /* enum replay_mode */
	__u32 window;
	__u32 top; /* the greatest number that came so far */
	__u32 seq; /* of the packet */
};

#define REPLAY_PASS (-1) /* nothing is against it */
#define REPLAY_OLD \
	(-2) /* refused: 0, or behind the window, which only moves on */

/* The bit of the ring that stands for what is `back` numbers behind the top. */
static __always_inline __s64 replay_ring(const struct replay *r, __u32 back)
{
	__u32 pos = (r->top - 1) % r->window;

	if (back >= r->window) /* the verifier does not know */
		return REPLAY_PASS;
	return pos >= back ? pos - back : r->window - (back - pos);
}

/*
 * What is below the window may as well belong to the next 2^32, as the kernel sees it:
 * with these numbers nothing is old for certain.
 */
static __always_inline __s64 replay_esn(const struct replay *r)
{
	__u32 bottom = r->top - r->window + 1;

	if (r->top >= r->window - 1) {
		if (r->seq > r->top || r->seq < bottom)
			return REPLAY_PASS;
	} else if (r->seq > r->top && r->seq < bottom) {
		return REPLAY_PASS;
	} else if (!r->seq) {
		return REPLAY_PASS; /* or there was no 2^32 before this one */
	}
	return replay_ring(r, r->top - r->seq);
}

/*
 * REPLAY_PASS, REPLAY_OLD, or the number of a bit: if that is set, the number has been
 * there. Of REPLAY_LEGACY the bit is one of 32.
 */
static __always_inline __s64 replay_bit(const struct replay *r)
{
	__u32 back = r->top - r->seq;

	if (!r->window)
		return REPLAY_PASS;
	if (r->mode == REPLAY_ESN)
		return replay_esn(r);
	if (!r->seq)
		return REPLAY_OLD;
	if (r->seq > r->top)
		return REPLAY_PASS;
	if (back >= r->window)
		return REPLAY_OLD;
	if (r->mode == REPLAY_BMP)
		return replay_ring(r, back);
	return back < 32 ? (__s64)back : REPLAY_PASS;
}
