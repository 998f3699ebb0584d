/* SPDX-License-Identifier: GPL-2.0-only */

/* Texts that go along with a request: read, placed, sealed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "user/proto.h"
#include "user/rulefile.h"
#include "user/textfile.h"
#include "user/util.h"

#define MAX 20000

/* A file with so many bytes that tell where they are. */
static int make(size_t len)
{
	int fd = memfd_create("source", MFD_CLOEXEC);
	char *bytes = malloc(len + 1);

	assert_true(fd >= 0 && bytes);
	for (size_t i = 0; i < len; i++)
		bytes[i] = (char)('a' + i % 23);
	assert_int_equal(write(fd, bytes, len), len);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	free(bytes);
	return fd;
}

static void expect(const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		assert_int_equal(data[i], (char)('a' + i % 23));
	assert_int_equal(data[len], '\0');
}

/* As the daemon sees it. */
static void expect_at(struct fw_textfile *file, size_t at, size_t len)
{
	int fd = fw_textfile_seal(file);
	char *data;

	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GET_SEALS) & FW_PROTO_SEALS,
			 FW_PROTO_SEALS);
	assert_true(at + len < file->bytes);
	data = mmap(NULL, file->bytes, PROT_READ, MAP_PRIVATE, fd, 0);
	assert_ptr_not_equal(data, MAP_FAILED);
	expect(data + at, len);
	(void)munmap(data, file->bytes);
}

/* Of any length, those of whole pages among them; the last one is no file. */
static void test_texts(void **state)
{
	static const size_t lens[] = { 5, 0, 4095, 4096, 4097, 8192, MAX };
	enum { N = sizeof(lens) / sizeof(*lens) };
	struct fw_textfile file = { 0 };
	struct fw_text texts[N + 1] = { 0 };
	size_t at[N + 1];

	(void)state;
	for (size_t i = 0; i < N; i++) {
		_cleanup_close_ int fd = make(lens[i]);

		assert_int_equal(fw_textfile_read(&file, fd, MAX, &texts[i]),
				 0);
		assert_int_equal(texts[i].len, lens[i]);
		expect(texts[i].data, lens[i]);
	}
	texts[N].data = strdup("abcdef");
	texts[N].len = 6;
	for (size_t i = 0; i <= N; i++) {
		assert_int_equal(fw_textfile_place(&file, &texts[i], &at[i]),
				 0);
	}
	for (size_t i = 0; i <= N; i++)
		expect_at(&file, at[i], texts[i].len);
	fw_textfile_done(&file);
	for (size_t i = 0; i <= N; i++) {
		expect(texts[i].data, texts[i].len); /* still */
		fw_text_done(&texts[i]);
	}
}

static void test_too_large(void **state)
{
	_cleanup_close_ int fd = make(MAX + 1);
	struct fw_textfile file = { 0 };
	struct fw_text text = { 0 };

	(void)state;
	assert_int_equal(fw_textfile_read(&file, fd, MAX, &text), -EFBIG);
	assert_null(text.data);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(fw_textfile_read(&file, fd, MAX + 1, &text), 0);
	expect(text.data, MAX + 1);
	fw_text_done(&text);
	fw_textfile_done(&file);
}

/* Of procfs, from which the kernel does not copy by itself. */
static void test_other_files(void **state)
{
	struct fw_textfile file = { 0 };
	struct fw_rulefiles files = { .into = &file };
	const char *error = NULL;
	struct fw_text text = { 0 };
	size_t at;

	(void)state;
	assert_int_equal(
		fw_rulefile_read(&files, "/proc/self/status", &text, &error),
		0);
	assert_memory_equal(text.data, "Name:", 5);
	assert_int_equal(strlen(text.data), text.len);
	assert_int_equal(fw_textfile_place(&file, &text, &at), 0);
	assert_int_equal(file.bytes, at + text.len + 1);
	fw_text_done(&text);
	fw_textfile_done(&file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_other_files),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_too_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
