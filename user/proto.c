/* SPDX-License-Identifier: GPL-2.0-only */

/* Frames of the control protocol, and JSON values that take any bytes. */
#include "user/proto.h"

#include <errno.h>
#include <string.h>

#include "user/util.h"

#define KEEP_BYTES 65536u /* memory that an empty buffer keeps */

int fw_buf_reserve(struct fw_buf *buf, size_t n)
{
	size_t size = buf->size ? buf->size : 4096;
	uint8_t *data;

	if (buf->head && buf->head == buf->len)
		buf->head = buf->len = 0;
	if (n > SIZE_MAX / 4 - buf->len)
		return -ENOMEM;
	while (size < buf->len + n)
		size *= 2;
	if (size == buf->size)
		return 0;
	data = realloc(buf->data, size);
	if (!data)
		return -ENOMEM;
	buf->data = data;
	buf->size = size;
	return 0;
}

void fw_buf_consume(struct fw_buf *buf, size_t n)
{
	buf->head += n;
	if (buf->head < buf->len) {
		/* Half of it is dead weight: move the rest to the front. */
		if (buf->head > KEEP_BYTES && buf->head > buf->len / 2) {
			memmove(buf->data, buf->data + buf->head,
				buf->len - buf->head);
			buf->len -= buf->head;
			buf->head = 0;
		}
		return;
	}
	buf->head = buf->len = 0;
	if (buf->size > KEEP_BYTES)
		fw_buf_done(buf);
}

void fw_buf_done(struct fw_buf *buf)
{
	free(buf->data);
	*buf = (struct fw_buf){ 0 };
}

struct sink {
	struct fw_buf *buf;
	size_t start;
	size_t max;
	int error;
};

static int put_bytes(const char *data, size_t n, void *arg)
{
	struct sink *sink = arg;
	struct fw_buf *buf = sink->buf;

	if (buf->len - sink->start + n > sink->max) {
		sink->error = -EMSGSIZE;
		return -1;
	}
	sink->error = fw_buf_reserve(buf, n);
	if (sink->error < 0)
		return -1;
	memcpy(buf->data + buf->len, data, n);
	buf->len += n;
	return 0;
}

int fw_frame_put(struct fw_buf *buf, const json_t *body, size_t max)
{
	struct sink sink = { .buf = buf, .max = max };
	size_t start, n;
	int r;

	/* Reserving may move the bytes to the front: only then is `len` final. */
	r = fw_buf_reserve(buf, FW_PROTO_HEADER);
	if (r < 0)
		return r;
	start = buf->len;
	buf->len += FW_PROTO_HEADER;
	sink.start = buf->len;
	if (json_dump_callback(body, put_bytes, &sink, JSON_COMPACT) < 0) {
		buf->len = start;
		return sink.error < 0 ? sink.error : -ENOMEM;
	}
	n = buf->len - sink.start;
	buf->data[start] = (uint8_t)(n >> 24);
	buf->data[start + 1] = (uint8_t)(n >> 16);
	buf->data[start + 2] = (uint8_t)(n >> 8);
	buf->data[start + 3] = (uint8_t)n;
	return 0;
}

int fw_frame_take(struct fw_buf *buf, size_t max, json_t **ret, char **reterr)
{
	_cleanup_json_ json_t *body = NULL;
	json_error_t error;
	const uint8_t *p;
	size_t n;

	if (fw_buf_used(buf) < FW_PROTO_HEADER)
		return 0;
	p = buf->data + buf->head;
	n = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
	if (n > max)
		return -EMSGSIZE;
	if (fw_buf_used(buf) - FW_PROTO_HEADER < n)
		return 0;

	body = json_loadb((const char *)p + FW_PROTO_HEADER, n,
			  JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
	fw_buf_consume(buf, FW_PROTO_HEADER + n);
	if (!body && json_error_code(&error) == json_error_out_of_memory)
		return -ENOMEM;
	if (!body) {
		fw_errorf(reterr, "frame is not JSON: %s", error.text);
		return -EBADMSG;
	}
	if (!json_is_object(body)) {
		fw_errorf(reterr, "frame is not a JSON object");
		return -EBADMSG;
	}
	*ret = take_ptr(body);
	return 1;
}

json_t *fw_json_bytes(const char *data, size_t len)
{
	_cleanup_free_ char *utf8 = NULL;
	size_t n = 0;

	if (len > SIZE_MAX / 2 - 1)
		return NULL;
	utf8 = malloc(2 * len + 1);
	if (!utf8)
		return NULL;
	for (size_t i = 0; i < len; i++) {
		uint8_t byte = (uint8_t)data[i];

		if (byte < 0x80) {
			utf8[n++] = (char)byte;
			continue;
		}
		utf8[n++] = (char)(0xc0 | byte >> 6);
		utf8[n++] = (char)(0x80 | (byte & 0x3f));
	}
	return json_stringn_nocheck(utf8, n);
}

int fw_json_bytes_get(const json_t *json, char **ret_data, size_t *ret_len)
{
	_cleanup_free_ char *data = NULL;
	const char *utf8;
	size_t len, n = 0;

	if (!json_is_string(json))
		return -EBADMSG;
	utf8 = json_string_value(json);
	len = json_string_length(json);
	data = malloc(len + 1);
	if (!data)
		return -ENOMEM;
	for (size_t i = 0; i < len; i++) {
		uint8_t byte = (uint8_t)utf8[i];

		if (byte < 0x80) {
			data[n++] = (char)byte;
			continue;
		}
		/* jansson has checked that this is UTF-8: C2 and C3 lead two. */
		if (byte > 0xc3 || i + 1 == len)
			return -EBADMSG;
		data[n++] = (char)((byte & 3) << 6 | (utf8[++i] & 0x3f));
	}
	data[n] = '\0';
	*ret_data = take_ptr(data);
	*ret_len = n;
	return 0;
}

json_t *fw_json_text(const char *text)
{
	_cleanup_free_ char *copy = NULL;
	json_t *json;

	json = json_string(text);
	if (json)
		return json;
	copy = strdup(text);
	if (!copy)
		return NULL;
	for (char *p = copy; *p; p++) {
		if ((uint8_t)*p >= 0x80)
			*p = '?';
	}
	return json_string(copy);
}

json_t *fw_json_u64(uint64_t value)
{
	return json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value);
}

int fw_json_set(json_t *object, const char *key, json_t *value)
{
	return json_object_set_new(object, key, value) < 0 ? -ENOMEM : 0;
}
