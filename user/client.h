/* SPDX-License-Identifier: GPL-2.0-only */

/* The client's side of the control protocol, and how it gets a daemon. */
#pragma once

#include "rules/rules.h"
#include "user/fwctl.h"
#include "user/textfile.h"

enum fw_start {
	FW_START_NEVER,	    /* no daemon: FW_EXIT_NO_DAEMON without a word */
	FW_START_IF_PINNED, /* start one if rules are pinned */
	FW_START_ALWAYS,
};

/* Called for each row of a list, as it arrives. */
typedef void (*fw_row_fn)(void *data, json_t *row);

/* Shows an error reply in its own way; false: it is shown as any other. */
typedef bool (*fw_refused_fn)(void *data, const json_t *reply);

struct fw_call {
	const char *verb;
	json_t *args;		  /* taken; NULL: none */
	struct fw_textfile *file; /* comes along; NULL: none does */
	enum fw_start start;
	fw_row_fn row;	       /* NULL: rows are put into the result */
	fw_refused_fn refused; /* NULL: "error" is printed */
	void *data;
	bool silent; /* do not complain that no daemon answers, the caller does */
	/*
	 * A reply without an end: called before each wait for more of it, with the
	 * descriptor to wait on; true: enough. NULL: a reply comes in some minutes.
	 */
	bool (*wait)(void *data, int fd);
};

/**
 * @brief Ask the daemon.
 *
 * Complains on standard error if that fails. "nothing is loaded" (no daemon and
 * no pins) is a failure with FW_EXIT_NO_DAEMON.
 *
 * @param ret_result  on FW_EXIT_OK a new reference to the result; NULL if `wait`
 *                    of the call has ended it
 * @return exit status
 */
enum fw_exit fw_client_call(struct fw_cli *cli, const struct fw_call *call,
			    json_t **ret_result);

/**
 * @brief Begin to start a daemon, if none runs, while the caller goes on.
 *
 * For a request that is going to need one: it waits as if another client had
 * begun. Says nothing, whatever happens; the request does.
 */
void fw_client_wake(struct fw_cli *cli);

/* A request that is on its way. */
struct fw_conversation;

/**
 * @brief The first half of fw_client_call(): send the request.
 *
 * @param ret  on FW_EXIT_OK to be freed by fw_client_end(); it borrows no files
 * @return exit status
 */
enum fw_exit fw_client_send(struct fw_cli *cli, const struct fw_call *call,
			    struct fw_conversation **ret);

/**
 * @brief The second half: wait for the reply, with the same call.
 *
 * @return exit status, as fw_client_call()
 */
enum fw_exit fw_client_receive(struct fw_conversation *conversation,
			       const struct fw_call *call, json_t **ret_result);

/** @brief Hang up; NULL is fine. */
void fw_client_end(struct fw_conversation *conversation);
