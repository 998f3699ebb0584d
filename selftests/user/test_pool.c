/* SPDX-License-Identifier: GPL-2.0-only */

/* Things of one size: each is its own, zero when it is taken, and gone when given back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "user/pool.h"
#include "user/util.h"

#define SIZE 104
#define MANY 70000 /* several chunks */

static uint64_t rnd(void)
{
	static uint64_t x = 88172645463325252u;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

static void expect_all(const uint8_t *thing, uint8_t value)
{
	for (size_t i = 0; i < SIZE; i++)
		assert_int_equal(thing[i], value);
}

static uint8_t *take(struct fw_pool *pool, uint8_t value)
{
	uint8_t *thing = fw_pool_take(pool);

	assert_non_null(thing);
	assert_int_equal((uintptr_t)thing % 8, 0);
	expect_all(thing, 0);
	memset(thing, value, SIZE);
	return thing;
}

static void put(struct fw_pool *pool, uint8_t *thing, uint8_t value)
{
	expect_all(thing, value);
	fw_pool_put(pool, thing);
}

/* Whatever comes and goes, nobody gets the bytes of another. */
static void test_each_is_its_own(void **state)
{
	static uint8_t *things[MANY];
	struct fw_pool pool;

	(void)state;
	fw_pool_init(&pool, SIZE);
	fw_pool_put(&pool, NULL);
	for (size_t i = 0; i < MANY; i++)
		things[i] = take(&pool, (uint8_t)i);
	for (unsigned int n = 0; n < 3 * MANY; n++) {
		size_t i = rnd() % MANY;

		if (things[i])
			put(&pool, things[i], (uint8_t)i);
		things[i] = things[i] ? NULL : take(&pool, (uint8_t)i);
	}
	for (size_t i = 0; i < MANY; i++) {
		if (things[i])
			put(&pool, things[i], (uint8_t)i);
	}
	fw_pool_done(&pool);
}

/* One chunk is kept, however many there were. */
static void test_memory_goes_back(void **state)
{
	static uint8_t *things[MANY];
	struct fw_pool pool;
	size_t most = 0;

	(void)state;
	fw_pool_init(&pool, SIZE);
	for (unsigned int round = 0; round < 3; round++) {
		for (size_t i = 0; i < MANY; i++)
			things[i] = take(&pool, 1);
		assert_true(round == 0 || pool.n_chunks == most);
		most = pool.n_chunks;
		for (size_t i = 0; i < MANY; i++)
			put(&pool, things[i], 1);
		assert_true(pool.n_chunks <= 1);
	}
	fw_pool_done(&pool);
	assert_int_equal(pool.n_chunks, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_is_its_own),
		cmocka_unit_test(test_memory_goes_back),
	};

	return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
