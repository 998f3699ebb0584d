/* SPDX-License-Identifier: GPL-2.0-only */

/* What the writer of pcapng writes, byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "user/pcapng.h"
#include "user/util.h"

#define TIME_NS 0x1122334455667788ull

struct file {
	FILE *out;
	char *data;
	size_t len;
};

static void open_file(struct file *file)
{
	file->out = open_memstream(&file->data, &file->len);
	assert_non_null(file->out);
}

/* The words of the only block, without its length at both ends. */
static const uint32_t *block_of(struct file *file, uint32_t type, size_t n)
{
	const uint32_t *words;

	assert_int_equal(fclose(file->out), 0);
	assert_int_equal(file->len, 4 * (n + 3));
	words = (const void *)file->data;
	assert_int_equal(words[0], type);
	assert_int_equal(words[1], file->len);
	assert_int_equal(words[n + 2], file->len);
	return words + 2;
}

static uint32_t option(uint16_t code, uint16_t len)
{
	const uint16_t both[] = { code, len };
	uint32_t word;

	memcpy(&word, both, sizeof(word));
	return word;
}

static void test_section(void **state)
{
	struct file file;
	const uint32_t *words;

	(void)state;
	open_file(&file);
	assert_int_equal(fw_pcapng_section(file.out, "fwctl"), 0);
	words = block_of(&file, 0x0a0d0d0a, 8);
	assert_int_equal(words[0], 0x1a2b3c4d);
	assert_int_equal(words[1], option(1, 0)); /* version */
	assert_int_equal(words[2], UINT32_MAX);
	assert_int_equal(words[3], UINT32_MAX);
	assert_int_equal(words[4], option(4, 5));
	assert_memory_equal(words + 5, "fwctl\0\0\0", 8);
	assert_int_equal(words[7], 0);
	free(file.data);
}

static void test_interface(void **state)
{
	const struct fw_pcapng_interface interface = { .name = "eth0",
						       .link = FW_PCAPNG_RAW,
						       .snaplen = 96 };
	struct file file;
	const uint32_t *words;

	(void)state;
	open_file(&file);
	assert_int_equal(fw_pcapng_interface(file.out, &interface), 0);
	words = block_of(&file, 1, 7);
	assert_int_equal(words[0], option(101, 0));
	assert_int_equal(words[1], 96);
	assert_int_equal(words[2], option(2, 4));
	assert_memory_equal(words + 3, "eth0", 4);
	assert_int_equal(words[4], option(9, 1));
	assert_memory_equal(words + 5, "\x09\0\0\0", 4);
	assert_int_equal(words[6], 0);
	free(file.data);
}

static void test_packet(void **state)
{
	struct fw_pcapng_packet packet = { .interface = 3,
					   .time_ns = TIME_NS,
					   .data = "abcdef",
					   .len = 6,
					   .wire_len = 1500,
					   .is_outbound = true,
					   .comment = "why" };
	struct file file;
	const uint32_t *words;

	(void)state;
	open_file(&file);
	assert_int_equal(fw_pcapng_packet(file.out, &packet), 0);
	words = block_of(&file, 6, 12);
	assert_int_equal(words[0], 3);
	assert_int_equal(words[1], TIME_NS >> 32);
	assert_int_equal(words[2], TIME_NS & UINT32_MAX);
	assert_int_equal(words[3], 6);
	assert_int_equal(words[4], 1500);
	assert_memory_equal(words + 5, "abcdef\0\0", 8);
	assert_int_equal(words[7], option(1, 3));
	assert_memory_equal(words + 8, "why\0", 4);
	assert_int_equal(words[9], option(2, 4));
	assert_int_equal(words[10], 2);
	assert_int_equal(words[11], 0);
	free(file.data);
}

/* Nothing of it, and nothing said about it. */
static void test_empty_packet(void **state)
{
	const struct fw_pcapng_packet packet = { .wire_len = 60 };
	struct file file;
	const uint32_t *words;

	(void)state;
	open_file(&file);
	assert_int_equal(fw_pcapng_packet(file.out, &packet), 0);
	words = block_of(&file, 6, 8);
	assert_int_equal(words[3], 0);
	assert_int_equal(words[4], 60);
	assert_int_equal(words[6], 1); /* inbound */
	free(file.data);
}

static void test_stats(void **state)
{
	const struct fw_pcapng_stats stats = { .interface = 1,
					       .begin_ns = 5,
					       .end_ns = TIME_NS,
					       .delivered = 7,
					       .dropped = TIME_NS };
	struct file file;
	const uint64_t dropped = TIME_NS;
	const uint32_t *words;

	(void)state;
	open_file(&file);
	assert_int_equal(fw_pcapng_stats(file.out, &stats), 0);
	words = block_of(&file, 5, 16);
	assert_int_equal(words[0], 1);
	assert_int_equal(words[1], TIME_NS >> 32);
	assert_int_equal(words[3], option(2, 8)); /* halves, the upper first */
	assert_int_equal(words[4], 0);
	assert_int_equal(words[5], 5);
	assert_int_equal(words[6], option(3, 8));
	assert_int_equal(words[7], TIME_NS >> 32);
	assert_int_equal(words[9], option(5, 8)); /* a number of 64 bits */
	assert_memory_equal(words + 10, &dropped, 8);
	assert_int_equal(words[12], option(8, 8));
	assert_int_equal(words[15], 0);
	free(file.data);
}

/* A text that is longer than an option can be is cut, and the block is whole. */
static void test_long_comment(void **state)
{
	_cleanup_free_ char *comment = calloc(1, 70001);
	struct fw_pcapng_packet packet = { .comment = comment };
	struct file file;
	const uint32_t *words;

	(void)state;
	open_file(&file);
	assert_non_null(comment);
	memset(comment, 'x', 70000);
	assert_int_equal(fw_pcapng_packet(file.out, &packet), 0);
	words = block_of(&file, 6, 5 + 1 + 16384 + 3);
	assert_int_equal(words[5], option(1, UINT16_MAX));
	free(file.data);
}

static void test_full(void **state)
{
	FILE *out = fopen("/dev/full", "w");

	(void)state;
	assert_non_null(out);
	assert_int_equal(setvbuf(out, NULL, _IONBF, 0), 0);
	assert_int_equal(fw_pcapng_section(out, NULL), -ENOSPC);
	(void)fclose(out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_section),
		cmocka_unit_test(test_interface),
		cmocka_unit_test(test_packet),
		cmocka_unit_test(test_empty_packet),
		cmocka_unit_test(test_stats),
		cmocka_unit_test(test_long_comment),
		cmocka_unit_test(test_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
