/* SPDX-License-Identifier: GPL-2.0-only */

/* Which label has which slot, and how many slots there have to be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "kern/abi.h"
#include "user/slots.h"

/* Assign `n` labels of this beginning; the largest slot that one of them got. */
static uint32_t assign(struct fw_slots *slots, char beginning, unsigned int n)
{
	uint32_t slot, max = 0;
	char label[32];

	for (unsigned int i = 0; i < n; i++) {
		(void)snprintf(label, sizeof(label), "%c%u", beginning, i);
		assert_int_equal(fw_slots_assign(slots, label, &slot), 0);
		assert_int_not_equal(slot, 0);
		assert_string_equal(fw_slots_label(slots, slot), label);
		max = slot > max ? slot : max;
	}
	return max;
}

static void sizes_are_powers_of_two(void **state)
{
	(void)state;
	assert_int_equal(fw_slots_size(0), FW_SLOTS_MIN);
	/* slot 0 is nobody's */
	assert_int_equal(fw_slots_size(FW_SLOTS_MIN - 1), FW_SLOTS_MIN);
	assert_int_equal(fw_slots_size(FW_SLOTS_MIN), 2 * FW_SLOTS_MIN);
	assert_int_equal(fw_slots_size(FW_MAX_RULES + FW_DIR_MAX),
			 FW_MAX_SLOTS / 2);
	assert_int_equal(fw_slots_size(10 * FW_MAX_SLOTS), FW_MAX_SLOTS);
}

static void free_slots_come_before_new_ones(void **state)
{
	struct fw_slots *slots = fw_slots_new(FW_SLOTS_MIN, true);
	uint32_t first, again;

	(void)state;
	assert_non_null(slots);
	fw_slots_begin(slots, FW_SLOTS_MIN);
	assert_true(assign(slots, 'a', FW_SLOTS_MIN - 1) < FW_SLOTS_MIN);
	assert_int_equal(fw_slots_needed(slots), FW_SLOTS_MIN);
	assert_int_equal(fw_slots_assign(slots, "a0", &first), 0);
	fw_slots_commit(slots, 1);

	/* One more, and a round that fails. */
	fw_slots_begin(slots, FW_SLOTS_MIN);
	assert_int_equal(assign(slots, 'b', 1), FW_SLOTS_MIN);
	assert_int_equal(fw_slots_needed(slots), 2 * FW_SLOTS_MIN);
	fw_slots_abort(slots);
	assert_int_equal(fw_slots_needed(slots), FW_SLOTS_MIN);

	/* One that does not: what has a slot keeps it. */
	fw_slots_begin(slots, FW_SLOTS_MIN);
	(void)assign(slots, 'a', FW_SLOTS_MIN / 2);
	assert_true(assign(slots, 'b', 100) >= FW_SLOTS_MIN);
	fw_slots_commit(slots, 1);
	assert_int_equal(fw_slots_assign(slots, "a0", &again), 0);
	assert_int_equal(again, first);

	/* More rounds of few labels need no more slots, only a larger one. */
	for (char c = 'c'; c < 'z'; c++) {
		fw_slots_begin(slots, 2 * FW_SLOTS_MIN);
		assert_true(assign(slots, c, FW_SLOTS_MIN / 2) <
			    2 * FW_SLOTS_MIN);
		assert_int_equal(fw_slots_needed(slots), 2 * FW_SLOTS_MIN);
		fw_slots_commit(slots, 1);
	}
	fw_slots_free(slots);
}

/* A label stays readable until the circle has come round. */
static void freed_slots_keep_their_label(void **state)
{
	struct fw_slots *slots = fw_slots_new(FW_SLOTS_MIN, true);
	uint32_t first;

	(void)state;
	fw_slots_begin(slots, FW_SLOTS_MIN);
	assert_int_equal(fw_slots_assign(slots, "gone", &first), 0);
	fw_slots_commit(slots, 1);
	fw_slots_begin(slots, FW_SLOTS_MIN);
	fw_slots_commit(slots, 1);
	for (unsigned int i = 1; i < FW_SLOTS_MIN - 1; i++) {
		char label[2] = { (char)('a' + i % 2), '\0' };
		uint32_t slot;

		fw_slots_begin(slots, FW_SLOTS_MIN);
		assert_int_equal(fw_slots_assign(slots, label, &slot), 0);
		fw_slots_commit(slots, 1);
		assert_string_equal(fw_slots_label(slots, first), "gone");
	}
	assert_int_equal(fw_slots_since(slots, first), 0);
	fw_slots_begin(slots, FW_SLOTS_MIN);
	(void)assign(slots, 'x', 2);
	fw_slots_commit(slots, 7);
	assert_string_not_equal(fw_slots_label(slots, first), "gone");
	assert_int_equal(fw_slots_since(slots, first), 7);
	fw_slots_begin(slots, FW_SLOTS_MIN);
	fw_slots_commit(slots, 8);
	for (unsigned int i = 0; i < 2; i++) {
		fw_slots_begin(slots, FW_SLOTS_MIN);
		(void)assign(slots, (char)('y' + i), FW_SLOTS_MIN - 1);
		fw_slots_abort(slots);
		assert_int_equal(fw_slots_since(slots, first), FW_SLOTS_NEVER);
	}
	fw_slots_free(slots);
}

static void all_slots_and_no_more(void **state)
{
	struct fw_slots *slots = fw_slots_new(FW_SLOTS_MIN, true);
	uint32_t slot;

	(void)state;
	fw_slots_begin(slots, FW_SLOTS_MIN);
	assert_int_equal(assign(slots, 'a', FW_MAX_SLOTS - 1),
			 FW_MAX_SLOTS - 1);
	assert_int_equal(fw_slots_needed(slots), FW_MAX_SLOTS);
	assert_int_equal(fw_slots_assign(slots, "more", &slot), -ENOSPC);
	fw_slots_abort(slots);

	/* Nothing of it is left. */
	fw_slots_begin(slots, FW_SLOTS_MIN);
	assert_true(assign(slots, 'b', 100) < FW_SLOTS_MIN);
	fw_slots_commit(slots, 1);
	fw_slots_free(slots);
}

static void owned_slots_are_claimed(void **state)
{
	struct fw_slots *slots = fw_slots_new(FW_SLOTS_MIN, true);
	uint32_t slot;

	(void)state;
	assert_int_equal(fw_slots_claim(slots, "a", 0), -ERANGE);
	assert_int_equal(fw_slots_claim(slots, "a", FW_SLOTS_MIN), -ERANGE);
	assert_int_equal(fw_slots_claim(slots, "a", FW_SLOTS_MIN - 1), 0);
	assert_int_equal(fw_slots_claim(slots, "a", FW_SLOTS_MIN - 1), 0);
	assert_int_equal(fw_slots_claim(slots, "b", FW_SLOTS_MIN - 1), -EBUSY);
	fw_slots_begin(slots, FW_SLOTS_MIN);
	assert_int_equal(fw_slots_assign(slots, "a", &slot), 0);
	assert_int_equal(slot, FW_SLOTS_MIN - 1);
	assert_int_equal(fw_slots_assign(slots, "b", &slot), 0);
	assert_true(slot < FW_SLOTS_MIN - 1);
	fw_slots_free(slots);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_are_powers_of_two),
		cmocka_unit_test(free_slots_come_before_new_ones),
		cmocka_unit_test(freed_slots_keep_their_label),
		cmocka_unit_test(all_slots_and_no_more),
		cmocka_unit_test(owned_slots_are_claimed),
	};

	return cmocka_run_group_tests_name("slots", tests, NULL, NULL);
}
