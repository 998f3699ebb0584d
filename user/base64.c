/* SPDX-License-Identifier: GPL-2.0-only */

/* Bytes as text (RFC 4648 section 4). */
#include "user/base64.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "user/util.h"

static const char digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *fw_base64_encode(const void *data, size_t len, size_t *ret_len)
{
	const uint8_t *in = data;
	char *text, *out;

	if (len > SIZE_MAX / 2)
		return NULL;
	text = out = malloc((len + 2) / 3 * 4 + 1);
	if (!text)
		return NULL;
	for (size_t i = 0; i < len; i += 3) {
		size_t n = len - i < 3 ? len - i : 3;
		uint32_t bits = (uint32_t)in[i] << 16;

		if (n > 1)
			bits |= (uint32_t)in[i + 1] << 8;
		if (n > 2)
			bits |= in[i + 2];
		*out++ = digits[bits >> 18];
		*out++ = digits[bits >> 12 & 63];
		*out++ = n > 1 ? digits[bits >> 6 & 63] : '=';
		*out++ = n > 2 ? digits[bits & 63] : '=';
	}
	*out = '\0';
	*ret_len = (size_t)(out - text);
	return text;
}

/* -1: it is no digit. */
static int value_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

/* Four characters are `n` bytes, that is n + 1 digits. */
static int decode_group(const char *text, size_t n, uint8_t *out)
{
	uint32_t bits = 0;

	for (size_t i = 0; i < 4; i++) {
		int value = i <= n ? value_of(text[i]) : 0;

		if (value < 0 || (i > n && text[i] != '='))
			return -EBADMSG;
		bits = bits << 6 | (uint32_t)value;
	}
	/* What is left over is zero, so that there is one text for some bytes. */
	if (bits & ((1u << 8 * (3 - n)) - 1))
		return -EBADMSG;
	for (size_t i = 0; i < n; i++)
		out[i] = (uint8_t)(bits >> (16 - 8 * i));
	return 0;
}

int fw_base64_decode(const char *text, size_t len, void **ret_data,
		     size_t *ret_len)
{
	_cleanup_free_ uint8_t *data = NULL;
	size_t n = 0;

	if (len % 4)
		return -EBADMSG;
	data = malloc(len / 4 * 3 + 1);
	if (!data)
		return -ENOMEM;
	for (size_t i = 0; i < len; i += 4) {
		bool is_last = i + 4 == len;
		size_t bytes = 3;

		if (is_last && text[i + 3] == '=')
			bytes = text[i + 2] == '=' ? 1 : 2;
		if (decode_group(text + i, bytes, data + n) < 0)
			return -EBADMSG;
		n += bytes;
	}
	*ret_data = take_ptr(data);
	*ret_len = n;
	return 0;
}
