/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The control socket: who may speak, framing, one request at a time per client,
 * replies that never fill memory. What a verb means is not known here.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "user/proto.h"

struct fw_control;
struct fw_request;
struct fw_loop;

/* A handler replies exactly once, by one of fw_reply*(), before it returns. */
typedef void (*fw_verb_fn)(void *data, struct fw_request *request,
			   const json_t *args);

struct fw_verb {
	const char *name;
	fw_verb_fn fn;
};

struct fw_control_config {
	const char *path; /* of the socket */
	int listen_fd;	  /* a socket that systemd opened, or -1; taken */
	unsigned long netns;
	const struct fw_verb *verbs;
	size_t n_verbs;
	unsigned int patience_ms;    /* with a silent client; 0: as usual */
	void (*on_idle)(void *data); /* the last client is gone; may be NULL */
	void *data;		     /* for the handlers */
};

/**
 * @brief Listen; replaces a socket that nobody answers on.
 *
 * @param reterr  on failure one line for the user, malloc()ed
 * @return 0, -EADDRINUSE if somebody answers, or another negative errno
 */
int fw_control_new(struct fw_loop *loop, const struct fw_control_config *config,
		   struct fw_control **ret, char **reterr);
void fw_control_free(struct fw_control *control);

/**
 * @brief Take no new client, and stop the loop when the last one is served.
 *
 * The socket is gone when this returns: whoever comes next finds no daemon.
 */
void fw_control_finish(struct fw_control *control);

/** @brief Number of clients that are connected. */
size_t fw_control_clients(const struct fw_control *control);

/**
 * @brief Read the file that came along with a request.
 *
 * @param ret_data  malloc()ed, with a NUL behind it
 * @return 0, -ENOENT if none came, -EMSGSIZE if it is larger than a request may
 *         be, or another negative errno
 */
int fw_request_file(const struct fw_request *request, char **ret_data,
		    size_t *ret_len);

/**
 * @brief The same without a copy, and without a NUL behind it.
 *
 * @param ret_data  to be given to munmap(); NULL if the file is empty
 */
int fw_request_map(const struct fw_request *request, const char **ret_data,
		   size_t *ret_len);

/** @brief Reply with a result, which is taken; NULL means out of memory. */
void fw_reply(struct fw_request *request, json_t *result);

/** @brief Send the reply now, before what the handler has to do still. */
void fw_reply_flush(struct fw_request *request);

void fw_reply_error(struct fw_request *request, enum fw_exit status,
		    const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/**
 * @brief The same with more members, for clients that can make use of them.
 *
 * @param more  an object, taken; NULL: none
 */
void fw_reply_refusal(struct fw_request *request, enum fw_exit status,
		      const char *text, json_t *more);

/*
 * The rows of a long list, made while the client reads: some in a turn of the loop, when
 * those before have been sent.
 */
struct fw_rows {
	const char *list; /* what they are called in the result */
	/*
	 * Append up to FW_PROTO_ROWS to `items`, or none; 1: more to come, FW_ROWS_LATER,
	 * 0, or -errno
	 */
	int (*next)(void *data, json_t *items);
	/* After the last row: replies with what is known then; NULL: the result is */
	void (*end)(void *data, struct fw_request *request);
	void (*free)(void *data);
	void *data; /* taken */
	bool is_patient; /* as long as the client is connected, he may take any time */
};

#define FW_ROWS_LATER 2 /* nothing yet: ask again in some ms */

/*
 * A reply without an end: frames of items, as they come. Who does not read them
 * costs FW_STREAM_BYTES, and as long as he is connected nobody loses patience.
 */
struct fw_stream {
	void (*drained)(void *data); /* all has been sent; may put more */
	void (*free)(void *data); /* it is over; the request must not be used */
	void *data;		  /* taken */
};

/** @brief Begin to stream; the first frame, without items, says so. */
void fw_reply_stream(struct fw_request *request,
		     const struct fw_stream *stream);

/** @brief Is there room for another item?  Sends, if there is not. */
bool fw_stream_has_room(struct fw_request *request);

/**
 * @brief Send an item, which is the caller's, with the next turn of the loop.
 *
 * @return 0 or a negative errno: it is not sent
 */
int fw_stream_put(struct fw_request *request, json_t *item);

/** @brief End a stream: with an error, if the client still reads; then hang up. */
void fw_stream_end(struct fw_request *request, enum fw_exit status,
		   const char *text);

/** @brief Reply with a list, then with `result`, which is taken; NULL: `end` does. */
void fw_reply_rows(struct fw_request *request, const struct fw_rows *rows,
		   json_t *result);

/** @brief The same with the rows in a JSON array, which is taken. */
void fw_reply_array(struct fw_request *request, const char *list, json_t *array,
		    json_t *result);
