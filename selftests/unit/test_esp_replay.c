/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * kern/replay.h against the kernel's own decisions: a copy of what net/xfrm/xfrm_replay.c
 * does with a window, without the counters. Small windows are tried with all numbers
 * around them, while they move on, also past 2^32.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kern/replay.h"

#define WORDS 8 /* of the greatest window */

/* ---- the kernel ----------------------------------------------------------------- */

struct state {
	enum replay_mode mode;
	uint32_t window;
	uint32_t seq, seq_hi;
	uint32_t bitmap;
	uint32_t bmp[WORDS];
};

static bool check_legacy(const struct state *x, uint32_t seq)
{
	uint32_t diff;

	if (!x->window)
		return true;
	if (seq == 0)
		return false;
	if (seq > x->seq)
		return true;
	diff = x->seq - seq;
	if (diff >= x->window)
		return false;
	return !(x->bitmap & (1U << diff));
}

static bool is_in_ring(const struct state *x, uint32_t diff)
{
	uint32_t pos = (x->seq - 1) % x->window, bitnr;

	if (pos >= diff)
		bitnr = (pos - diff) % x->window;
	else
		bitnr = x->window - (diff - pos);
	return x->bmp[bitnr >> 5] & (1U << (bitnr & 0x1F));
}

static bool check_bmp(const struct state *x, uint32_t seq)
{
	uint32_t diff = x->seq - seq;

	if (!x->window)
		return true;
	if (seq == 0)
		return false;
	if (seq > x->seq)
		return true;
	if (diff >= x->window)
		return false;
	return !is_in_ring(x, diff);
}

static bool check_esn(const struct state *x, uint32_t seq)
{
	uint32_t wsize = x->window, top = x->seq, bottom = top - wsize + 1;
	uint32_t diff;

	if (!wsize)
		return true;
	if (seq == 0 && x->seq_hi == 0 && x->seq < x->window - 1)
		return false;
	diff = top - seq;
	if (top >= wsize - 1) {
		if (seq > top || seq < bottom)
			return true;
	} else {
		if (seq > top && seq < bottom)
			return true;
		if (seq >= bottom)
			diff = ~seq + top + 1;
	}
	if (diff >= x->window)
		return false;
	return !is_in_ring(x, diff);
}

static bool check(const struct state *x, uint32_t seq)
{
	switch (x->mode) {
	case REPLAY_LEGACY:
		return check_legacy(x, seq);
	case REPLAY_BMP:
		return check_bmp(x, seq);
	case REPLAY_ESN:
		return check_esn(x, seq);
	}
	return true;
}

static uint32_t seqhi(const struct state *x, uint32_t seq)
{
	uint32_t bottom = x->seq - x->window + 1;

	if (x->mode != REPLAY_ESN)
		return 0;
	if (x->seq >= x->window - 1)
		return x->seq_hi + (seq < bottom);
	return x->seq_hi - (seq >= bottom);
}

static void advance_legacy(struct state *x, uint32_t seq)
{
	uint32_t diff;

	if (seq > x->seq) {
		diff = seq - x->seq;
		x->bitmap = diff < x->window ? x->bitmap << diff | 1 : 1;
		x->seq = seq;
	} else {
		x->bitmap |= 1U << (x->seq - seq);
	}
}

static void advance_ring(struct state *x, uint32_t seq)
{
	uint32_t pos = (x->seq - 1) % x->window, bitnr, diff, i;
	uint32_t wrap = seqhi(x, seq) - x->seq_hi;

	if ((!wrap && seq > x->seq) || (int32_t)wrap > 0) {
		diff = wrap ? ~x->seq + seq + 1 : seq - x->seq;
		if (diff < x->window) {
			for (i = 1; i < diff; i++) {
				bitnr = (pos + i) % x->window;
				x->bmp[bitnr >> 5] &= ~(1U << (bitnr & 0x1F));
			}
		} else {
			memset(x->bmp, 0, sizeof(x->bmp));
		}
		bitnr = (pos + diff) % x->window;
		x->seq = seq;
		x->seq_hi += wrap;
	} else {
		diff = x->seq - seq;
		bitnr = pos >= diff ? (pos - diff) % x->window
				    : x->window - (diff - pos);
	}
	x->bmp[bitnr >> 5] |= 1U << (bitnr & 0x1F);
}

/* The stack has taken it, and its signature was right. */
static void advance(struct state *x, uint32_t seq)
{
	if (!x->window)
		return;
	if (x->mode == REPLAY_LEGACY)
		advance_legacy(x, seq);
	else
		advance_ring(x, seq);
}

/* ---- ours ---------------------------------------------------------------------------- */

/* As kern/esp.h: is it dropped, with all read at one moment, or without the bits? */
static bool drops(const struct state *x, uint32_t seq, bool has_bits)
{
	const struct replay r = {
		.mode = x->mode, .window = x->window, .top = x->seq, .seq = seq
	};
	int64_t bit = replay_bit(&r);

	if (bit < 0)
		return bit == REPLAY_OLD;
	if (!has_bits)
		return false;
	if (x->mode == REPLAY_LEGACY)
		return x->bitmap >> bit & 1;
	assert_true(bit < x->window);
	return x->bmp[bit / 32] >> bit % 32 & 1;
}

/* The first number of a state that is known by half; the kernel knows that it is wrong. */
static bool is_esn_zero(const struct state *x, uint32_t seq)
{
	return x->mode == REPLAY_ESN && !seq && x->seq < x->window - 1;
}

static void compare(const struct state *x, uint32_t seq)
{
	bool refused = !check(x, seq);

	if (drops(x, seq, false))
		assert_true(refused);
	if (is_esn_zero(x, seq))
		assert_false(drops(x, seq, true));
	else
		assert_int_equal(drops(x, seq, true), refused);
}

static uint32_t rnd(void)
{
	static uint64_t x = 88172645463325252ull;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (uint32_t)(x >> 16);
}

/* A stream that moves on, mostly, and jumps now and then; all numbers around it. */
static void stream(struct state *x, unsigned int packets)
{
	for (unsigned int i = 0; i < packets; i++) {
		uint32_t seq = x->seq + rnd() % 5 - 1;

		if (rnd() % 8 == 0)
			seq = x->seq - rnd() % (x->window + 4);
		if (rnd() % 32 == 0)
			seq = x->seq + rnd() % (2 * x->window + 4);
		for (int32_t k = -300; k < 300; k++)
			compare(x, x->seq + (uint32_t)k);
		compare(x, 0);
		compare(x, 1);
		compare(x, UINT32_MAX);
		if (check(x, seq))
			advance(x, seq);
	}
}

static void test_as_the_kernel(void **unused)
{
	static const uint32_t starts[] = { 0, 1, 31, 1000, UINT32_MAX - 60 };

	(void)unused;
	for (enum replay_mode mode = REPLAY_LEGACY; mode <= REPLAY_ESN; mode++)
		for (uint32_t window = 0;
		     window <= (mode == REPLAY_LEGACY ? 32 : 32 * WORDS);
		     window += window < 35 ? 1 : 13)
			for (size_t i = 0; i < sizeof(starts) / 4; i++) {
				struct state x = { .mode = mode,
						   .window = window,
						   .seq = starts[i] };

				stream(&x, 150);
			}
}

/* What is old once is old for ever, whatever comes meanwhile. */
static void test_old_stays_old(void **unused)
{
	(void)unused;
	for (enum replay_mode mode = REPLAY_LEGACY; mode <= REPLAY_BMP; mode++)
		for (int round = 0; round < 2000; round++) {
			struct state x = { .mode = mode,
					   .window = 1 + rnd() % 32,
					   .seq = rnd() % 1000 };
			uint32_t seq = rnd() % 1100;
			bool was_old = drops(&x, seq, false);

			for (int i = 0; i < 20; i++) {
				uint32_t next = x.seq + rnd() % 40;

				if (check(&x, next))
					advance(&x, next);
				if (was_old)
					assert_false(check(&x, seq));
			}
		}
}

/* Of 64 bits half is known: nothing is too old. */
static void test_esn_is_never_old(void **unused)
{
	(void)unused;
	for (int round = 0; round < 100000; round++) {
		const struct state x = { .mode = REPLAY_ESN,
					 .window = 1 + rnd() % 255,
					 .seq = rnd() };

		assert_false(drops(&x, rnd(), false));
	}
}

/* A window that the bitmap cannot have: nothing is said of what has no bit. */
static void test_impossible_window(void **unused)
{
	const struct replay r = { .window = 64, .top = 1000, .seq = 950 };

	(void)unused;
	assert_int_equal(replay_bit(&r), REPLAY_PASS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_as_the_kernel),
		cmocka_unit_test(test_old_stays_old),
		cmocka_unit_test(test_esn_is_never_old),
		cmocka_unit_test(test_impossible_window),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
