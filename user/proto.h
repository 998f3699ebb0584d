/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The control protocol, shared by fwctld and fwctl.
 *
 * A frame is a length (4 bytes, big endian) and that many bytes of JSON, one
 * object. Request:
 *     {"version":1, "verb":"...", "netns":INODE, "args":{...}}
 * Texts, which are too large to be worth JSON, come along in a file, a NUL behind
 * each and zeros up to where the next one begins: a descriptor of a memfd (SCM_RIGHTS)
 * with the first byte of the request. It is sealed (FW_PROTO_SEALS): nothing changes
 * while it is read, and reading it ends.
 * Reply: any number of {"items":[...]} frames, the rows of a long list, then one
 *     {"version":1, "status":0, "result":{...}}, or
 *     {"version":1, "status":N, "error":"..."}
 * where N is the exit status that fwctl shall end with. If rows were sent,
 * "list" in the result names them. If the error is about what stands in the
 * texts that came along, "error" begins with file, line and column, and there are
 * "messages" (user/messages.h) beside it; so there are in the result of a load.
 */
#pragma once

#include <fcntl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FW_PROTO_VERSION     1
#define FW_PROTO_MAX_REQUEST (64u << 20)
#define FW_PROTO_MAX_FILE    (FW_PROTO_MAX_REQUEST + 1) /* with a NUL */
#define FW_PROTO_MAX_REPLY   (16u << 20) /* one frame; lists come in several */
#define FW_PROTO_MAX_CLIENTS 64
#define FW_PROTO_HEADER	     4
#define FW_PROTO_SEALS	     (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)
#define FW_PROTO_ROWS	     256	  /* rows of a list in one frame */
#define FW_STREAM_BYTES	     (512u << 10) /* of a stream that wait for its reader */
/* Of a load: in less an error is found sooner than a daemon or its programs. */
#define FW_PROTO_MUCH_TEXT   (1u << 20)

/* Exit status of fwctl, and "status" of a reply. */
enum fw_exit {
	FW_EXIT_OK = 0,
	FW_EXIT_REQUEST = 1, /* the rule file or the request is wrong */
	FW_EXIT_USAGE = 2,   /* wrong usage of the command line */
	FW_EXIT_NO_DAEMON =
		3,	     /* none reached or started, or nothing is loaded */
	FW_EXIT_KERNEL = 4,  /* the kernel refused */
	FW_EXIT_DROPPED = 5, /* explain: the packet would not be let through */
};

/* Bytes on their way in or out; data[head..len) are still to be used. */
struct fw_buf {
	uint8_t *data;
	size_t head;
	size_t len;
	size_t size;
};

/** @brief Make room for `n` more bytes behind `len`; 0 or -ENOMEM. */
int fw_buf_reserve(struct fw_buf *buf, size_t n);

/** @brief Mark `n` bytes as used; an empty buffer gives large memory back. */
void fw_buf_consume(struct fw_buf *buf, size_t n);

static inline size_t fw_buf_used(const struct fw_buf *buf)
{
	return buf->len - buf->head;
}

void fw_buf_done(struct fw_buf *buf);

/**
 * @brief Append a frame.
 *
 * @param max  most bytes of JSON that the other side takes
 * @return 0, -EMSGSIZE, or -ENOMEM; on failure `buf` is unchanged
 */
int fw_frame_put(struct fw_buf *buf, const json_t *body, size_t max);

/**
 * @brief Take the first frame out of `buf`.
 *
 * @param ret     a new reference to an object
 * @param reterr  on -EBADMSG what is wrong with it, malloc()ed
 * @return 1, 0 if it is not complete yet, -EMSGSIZE if it announces more than
 *         `max` bytes, -EBADMSG if it is not a JSON object, or -ENOMEM
 */
int fw_frame_take(struct fw_buf *buf, size_t max, json_t **ret, char **reterr);

/**
 * @brief A JSON string of any bytes: each becomes the code point U+00XX.
 *
 * Rule files may hold bytes that are not UTF-8, and JSON strings may not.
 */
json_t *fw_json_bytes(const char *data, size_t len);

/** @brief The way back; -EBADMSG if `json` is not such a string. */
int fw_json_bytes_get(const json_t *json, char **ret_data, size_t *ret_len);

/** @brief A JSON string to be read; bytes that are not UTF-8 become '?'. */
json_t *fw_json_text(const char *text);

/** @brief A counter; JSON integers are signed, beyond that it sticks. */
json_t *fw_json_u64(uint64_t value);

/** @brief Store `value` (taken) under `key`; 0 or -ENOMEM, also if it is NULL. */
int fw_json_set(json_t *object, const char *key, json_t *value);

#define _cleanup_json_ __attribute__((cleanup(fw_json_decrefp)))

static inline void fw_json_decrefp(json_t **json)
{
	json_decref(*json);
}
