/* SPDX-License-Identifier: GPL-2.0-only */

/* Bytes as text, and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "user/base64.h"
#include "user/util.h"

/* RFC 4648 section 10. */
static void test_vectors(void **state)
{
	static const char *const vectors[][2] = {
		{ "", "" },
		{ "f", "Zg==" },
		{ "fo", "Zm8=" },
		{ "foo", "Zm9v" },
		{ "foob", "Zm9vYg==" },
		{ "fooba", "Zm9vYmE=" },
		{ "foobar", "Zm9vYmFy" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		const char *plain = vectors[i][0];
		_cleanup_free_ char *text = NULL;
		_cleanup_free_ void *data = NULL;
		size_t len;

		text = fw_base64_encode(plain, strlen(plain), &len);
		assert_string_equal(text, vectors[i][1]);
		assert_int_equal(len, strlen(text));
		assert_int_equal(fw_base64_decode(text, len, &data, &len), 0);
		assert_int_equal(len, strlen(plain));
		assert_memory_equal(data, plain, len);
	}
}

static void test_all_bytes(void **state)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_free_ void *data = NULL;
	uint8_t bytes[256];
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)i;
	text = fw_base64_encode(bytes, sizeof(bytes), &len);
	assert_non_null(text);
	assert_non_null(strstr(text, "/"));
	assert_int_equal(fw_base64_decode(text, len, &data, &len), 0);
	assert_int_equal(len, sizeof(bytes));
	assert_memory_equal(data, bytes, len);
}

static void test_refused(void **state)
{
	static const char *const texts[] = {
		"Z",	"Zg=",	"Zg",	    "Zh==", "Zm9=",    "Zg==Zg==",
		"====", "Z===", "Zm9v=g==", "Zm9-", "Zm\x80v", "Z=g=",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		void *data;
		size_t len;

		if (fw_base64_decode(texts[i], strlen(texts[i]), &data, &len) !=
		    -EBADMSG)
			fail_msg("'%s'", texts[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_all_bytes),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
