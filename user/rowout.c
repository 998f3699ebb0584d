/* SPDX-License-Identifier: GPL-2.0-only */

/* The rows of a long list on standard output, as they arrive. */
#include "user/rowout.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <string.h>

#include "user/util.h"

#define FLUSH_ROWS 256u

struct row {
	char *order;
	char *text; /* JSON */
};

struct output {
	const struct fw_rowout *to;
	struct row *rows; /* that wait to be sorted */
	size_t n, size;
	size_t n_added;	 /* since the last flush */
	bool has_failed; /* no memory for a row */
	bool is_unread;	 /* nobody reads what we print */
};

/* ---- printing ----------------------------------------------------------------------- */

/* True if nothing more is to be printed: nobody reads it, or main() will complain. */
static bool is_over(struct output *output)
{
	struct pollfd out = { .fd = STDOUT_FILENO };

	if (!output->is_unread && ferror(stdout) && poll(&out, 1, 0) == 1)
		output->is_unread = out.revents & POLLERR;
	return output->is_unread || ferror(stdout);
}

static void flush(struct output *output)
{
	if (output->to->flush)
		output->to->flush(output->to->data);
	output->n_added = 0;
	(void)fflush(stdout);
	(void)is_over(output);
}

static void print(struct output *output, const json_t *row)
{
	if (is_over(output))
		return;
	if (!output->to->is_json)
		output->to->add(output->to->data, row);
	else if (json_dumpf(row, stdout, JSON_COMPACT) == 0)
		(void)putchar('\n');
	if (++output->n_added >= FLUSH_ROWS)
		flush(output);
}

/* ---- putting into order ------------------------------------------------------------- */

static bool make_room(struct output *output)
{
	size_t size = output->size ? 2 * output->size : 1024;
	struct row *rows;

	if (output->n < output->size)
		return true;
	rows = reallocarray(output->rows, size, sizeof(*rows));
	if (!rows)
		return false;
	output->rows = rows;
	output->size = size;
	return true;
}

/* As text, which takes a tenth of the memory. */
static bool keep(struct output *output, json_t *row)
{
	_cleanup_free_ char *order = NULL, *text = NULL;
	const char *value;

	value = json_string_value(json_object_get(row, "order"));
	order = strdup(value ? value : "");
	(void)json_object_del(row, "order");
	text = json_dumps(row, JSON_COMPACT);
	if (!order || !text || !make_room(output))
		return false;
	output->rows[output->n++] =
		(struct row){ take_ptr(order), take_ptr(text) };
	return true;
}

static int compare(const void *a, const void *b, void *data)
{
	const struct output *output = data;
	const struct row *one = a, *two = b;
	int order = strcmp(one->order, two->order);

	return output->to->is_reverse ? -order : order;
}

static void print_kept(struct output *output)
{
	if (output->n)
		qsort_r(output->rows, output->n, sizeof(*output->rows), compare,
			output);
	for (size_t i = 0; i < output->n && !is_over(output); i++) {
		_cleanup_json_ json_t *row =
			json_loads(output->rows[i].text, 0, NULL);

		if (row)
			print(output, row);
		else
			output->has_failed = true;
	}
}

static void forget_kept(struct output *output)
{
	for (size_t i = 0; i < output->n; i++) {
		free(output->rows[i].order);
		free(output->rows[i].text);
	}
	free(output->rows);
}

/* ---- while they arrive --------------------------------------------------------------- */

static void on_row(void *data, json_t *row)
{
	struct output *output = data;

	if (!output->to->is_sorted)
		print(output, row);
	else if (!keep(output, row))
		output->has_failed = true;
}

/* True if nobody reads any more. */
static bool on_wait(void *data, int fd)
{
	struct output *output = data;
	struct pollfd fds[] = { { .fd = fd, .events = POLLIN },
				{ .fd = STDOUT_FILENO } };

	if (is_over(output) || output->has_failed)
		return true;
	while (poll(fds, ARRAY_SIZE(fds), -1) < 0) {
		if (errno != EINTR)
			return true;
	}
	if (fds[1].revents & POLLERR)
		output->is_unread = true;
	return output->is_unread;
}

static enum fw_exit finish(struct output *output, json_t **result)
{
	if (!output->has_failed)
		print_kept(output);
	flush(output);
	if (output->is_unread) {
		/* What is left cannot be written, and nobody misses it. */
		__fpurge(stdout);
		clearerr(stdout);
	}
	if (!output->has_failed)
		return FW_EXIT_OK;
	json_decref(take_ptr(*result));
	fw_complain("out of memory");
	return FW_EXIT_REQUEST;
}

enum fw_exit fw_rowout_call(struct fw_cli *cli, const struct fw_call *call,
			    const struct fw_rowout *out, json_t **ret_result)
{
	const struct sigaction ignore = { .sa_handler = SIG_IGN };
	struct output output = { .to = out };
	struct fw_call list = *call;
	enum fw_exit status, status_out;

	(void)sigaction(SIGPIPE, &ignore, NULL);
	list.row = on_row;
	list.wait = on_wait;
	list.data = &output;
	*ret_result = NULL;
	status = fw_client_call(cli, &list, ret_result);
	status_out = finish(&output, ret_result);
	forget_kept(&output);
	return status != FW_EXIT_OK ? status : status_out;
}
