/* SPDX-License-Identifier: GPL-2.0-only */

/* While a load goes on memory is kept; afterwards it goes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "user/heap.h"
#include "user/util.h"

#define BLOCK_BYTES ((size_t)2 << 20)
#define N_BLOCKS    32
#define TOTAL_BYTES (N_BLOCKS * BLOCK_BYTES)

/* Sanitizers bring a malloc() of their own. */
static void skip_if_foreign(void)
{
	if (!mallinfo2().uordblks)
		skip();
}

static size_t resident(void)
{
	size_t all, pages;
	FILE *file = fopen("/proc/self/statm", "re");

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%zu %zu", &all, &pages), 2);
	(void)fclose(file);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void take(void *blocks[N_BLOCKS])
{
	for (size_t i = 0; i < N_BLOCKS; i++) {
		blocks[i] = malloc(BLOCK_BYTES);
		assert_non_null(blocks[i]);
		memset(blocks[i], 1, BLOCK_BYTES);
	}
}

static void drop(void *blocks[N_BLOCKS])
{
	for (size_t i = 0; i < N_BLOCKS; i++)
		free(blocks[i]);
}

static void test_load(void **state)
{
	void *blocks[N_BLOCKS];
	size_t before = resident();

	(void)state;
	skip_if_foreign();
	fw_heap_begin();
	take(blocks);
	drop(blocks);
	assert_true(resident() > before + TOTAL_BYTES / 2);
	fw_heap_end();
	assert_true(resident() < before + TOTAL_BYTES / 8);
}

/* Also if something lies above it that stays. */
static void test_hole(void **state)
{
	void *blocks[N_BLOCKS], *above;
	size_t before = resident();

	(void)state;
	skip_if_foreign();
	fw_heap_begin();
	take(blocks);
	above = malloc(BLOCK_BYTES);
	assert_non_null(above);
	drop(blocks);
	fw_heap_end();
	assert_true(resident() < before + TOTAL_BYTES / 8);
	free(above);
}

static void test_otherwise(void **state)
{
	void *blocks[N_BLOCKS];
	size_t before = resident();

	(void)state;
	skip_if_foreign();
	take(blocks);
	drop(blocks);
	assert_true(resident() < before + TOTAL_BYTES / 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_load),
		cmocka_unit_test(test_hole),
		cmocka_unit_test(test_otherwise),
	};

	fw_heap_init();
	return cmocka_run_group_tests_name("heap", tests, NULL, NULL);
}
