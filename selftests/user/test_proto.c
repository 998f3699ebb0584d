/* SPDX-License-Identifier: GPL-2.0-only */

/* Framing: any split of the bytes gives the same frames, any lie an error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "user/proto.h"
#include "user/util.h"

static void put_raw(struct fw_buf *buf, const void *data, size_t n)
{
	assert_int_equal(fw_buf_reserve(buf, n), 0);
	memcpy(buf->data + buf->len, data, n);
	buf->len += n;
}

static void put_frame(struct fw_buf *buf, const char *json)
{
	size_t n = strlen(json);
	const uint8_t head[4] = { 0, 0, (uint8_t)(n >> 8), (uint8_t)n };

	put_raw(buf, head, sizeof(head));
	put_raw(buf, json, n);
}

static void test_round_trip_byte_by_byte(void **state)
{
	struct fw_buf out = { 0 }, in = { 0 };
	_cleanup_json_ json_t *one = json_pack("{s:i}", "a", 1);
	_cleanup_json_ json_t *two = json_pack("{s:s}", "b", "\u00e4");
	int n = 0;

	(void)state;
	assert_int_equal(fw_frame_put(&out, one, 100), 0);
	assert_int_equal(fw_frame_put(&out, two, 100), 0);
	while (fw_buf_used(&out)) {
		_cleanup_json_ json_t *got = NULL;
		int r;

		put_raw(&in, out.data + out.head, 1);
		fw_buf_consume(&out, 1);
		r = fw_frame_take(&in, 100, &got, NULL);
		assert_true(r == 0 || r == 1);
		if (r)
			assert_true(json_equal(got, n++ ? two : one));
	}
	assert_int_equal(n, 2);
	assert_int_equal(fw_buf_used(&in), 0);
	fw_buf_done(&out);
	fw_buf_done(&in);
}

static void test_too_long(void **state)
{
	_cleanup_json_ json_t *json = json_pack("{s:s}", "a", "0123456789");
	_cleanup_json_ json_t *got = NULL;
	struct fw_buf buf = { 0 };

	(void)state;
	assert_int_equal(fw_frame_put(&buf, json, 17), -EMSGSIZE);
	assert_int_equal(fw_buf_used(&buf), 0);
	assert_int_equal(fw_frame_put(&buf, json, 18), 0);
	assert_int_equal(fw_frame_take(&buf, 17, &got, NULL), -EMSGSIZE);
	fw_buf_done(&buf);

	/* Refused by what it announces, before anything of it has come. */
	put_raw(&buf, "\xff\xff\xff\xff", 4);
	assert_int_equal(fw_frame_take(&buf, FW_PROTO_MAX_REQUEST, &got, NULL),
			 -EMSGSIZE);
	fw_buf_done(&buf);
}

static void test_bad_frames(void **state)
{
	static const char *const bad[] = {
		"",
		"{",
		"[]",
		"1",
		"nil",
		"{}{}",
		"{\"a\":1,\"a\":2}",
		"{\"\xff\":1}",
		"{\"a\"",
		"\"text\"",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_json_ json_t *got = NULL;
		_cleanup_free_ char *error = NULL;
		struct fw_buf buf = { 0 };

		put_frame(&buf, bad[i]);
		assert_int_equal(fw_frame_take(&buf, 1000, &got, &error),
				 -EBADMSG);
		assert_null(got);
		assert_non_null(error);
		fw_buf_done(&buf);
	}
}

static void test_any_bytes(void **state)
{
	_cleanup_json_ json_t *json = NULL, *object = NULL, *got = NULL;
	_cleanup_free_ char *back = NULL;
	struct fw_buf buf = { 0 };
	char bytes[512];
	size_t n = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i * 7 + i / 256);
	json = fw_json_bytes(bytes, sizeof(bytes));
	object = json_pack("{s:O}", "x", json);
	assert_int_equal(fw_frame_put(&buf, object, 10000), 0);
	assert_int_equal(fw_frame_take(&buf, 10000, &got, NULL), 1);
	assert_int_equal(
		fw_json_bytes_get(json_object_get(got, "x"), &back, &n), 0);
	assert_int_equal(n, sizeof(bytes));
	assert_memory_equal(back, bytes, n);
	assert_int_equal(back[n], 0);
	fw_buf_done(&buf);
}

static void test_not_bytes(void **state)
{
	_cleanup_json_ json_t *euro = json_string("\u20ac");
	_cleanup_json_ json_t *number = json_integer(1);
	char *data = NULL;
	size_t n;

	(void)state;
	assert_int_equal(fw_json_bytes_get(euro, &data, &n), -EBADMSG);
	assert_int_equal(fw_json_bytes_get(number, &data, &n), -EBADMSG);
	assert_int_equal(fw_json_bytes_get(NULL, &data, &n), -EBADMSG);
	assert_null(data);
}

static void test_text(void **state)
{
	_cleanup_json_ json_t *good = fw_json_text("r\u00e4gel");
	_cleanup_json_ json_t *bad = fw_json_text("r\xe4gel");
	_cleanup_json_ json_t *huge = fw_json_u64(UINT64_MAX);

	(void)state;
	assert_string_equal(json_string_value(good), "r\u00e4gel");
	assert_string_equal(json_string_value(bad), "r?gel");
	assert_true(json_integer_value(huge) == INT64_MAX);
}

static void test_buffer_gives_memory_back(void **state)
{
	struct fw_buf buf = { 0 };

	(void)state;
	assert_int_equal(fw_buf_reserve(&buf, 1 << 20), 0);
	buf.len = 1 << 20;
	fw_buf_consume(&buf, (1 << 20) - 10);
	assert_int_equal(fw_buf_used(&buf), 10);
	assert_int_equal(buf.head, 0); /* moved to the front */
	fw_buf_consume(&buf, 10);
	assert_null(buf.data);
	fw_buf_done(&buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip_byte_by_byte),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_bad_frames),
		cmocka_unit_test(test_any_bytes),
		cmocka_unit_test(test_not_bytes),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_buffer_gives_memory_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
