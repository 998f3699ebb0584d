/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The rows of a long list on standard output, as they arrive: the first ones at once,
 * however many follow, and no longer than somebody reads them.
 */
#pragma once

#include "user/client.h"

struct fw_rowout {
	bool is_json; /* an object a line; else `add` and `flush` show them */
	bool is_sorted; /* by the member "order" of the rows, when all are there */
	bool is_reverse;
	void (*add)(void *data, const json_t *row);
	void (*flush)(void *data); /* print what was added */
	void *data;
};

/**
 * @brief Ask the daemon for a list and print it.
 *
 * @param call        without `row`, `wait` and `data`
 * @param ret_result  as for fw_client_call(); NULL if nobody reads the output any more,
 *                    which is no error
 * @return exit status
 */
enum fw_exit fw_rowout_call(struct fw_cli *cli, const struct fw_call *call,
			    const struct fw_rowout *out, json_t **ret_result);
