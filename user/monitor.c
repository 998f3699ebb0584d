/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The subcommand monitor: live events, a line each, until somebody has had enough:
 * the user, who reads our output, or the daemon.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include "user/client.h"
#include "user/json.h"
#include "user/monitorquery.h"
#include "user/stop.h"
#include "user/util.h"

static int stop_fd = -1; /* readable after a signal */

struct output {
	bool is_json;
	FILE *out;  /* what came and is not written yet; NULL: nothing */
	char *text; /* the same */
	size_t len;
	int error; /* of writing; EPIPE: nobody reads */
};

/* ---- text ------------------------------------------------------------------------- */

static const json_t *member(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	return json_is_null(value) ? NULL : value;
}

static void print_time(FILE *out, const json_t *event)
{
	double at = json_real_value(json_object_get(event, "time"));
	time_t seconds = (time_t)at;
	char text[16] = "?";
	struct tm tm;

	if (localtime_r(&seconds, &tm))
		(void)strftime(text, sizeof(text), "%H:%M:%S", &tm);
	(void)fprintf(out, "%s.%06u ", text,
		      (unsigned int)((at - (double)seconds) * 1e6 + 0.5));
}

static void print_endpoint(FILE *out, const json_t *tuple,
			   const char *address_key, const char *port_key)
{
	const char *address = fw_json_get_text(tuple, address_key, "?");

	if (!member(tuple, port_key))
		(void)fprintf(out, "%s", address);
	else
		(void)fprintf(out,
			      strchr(address, ':') ? "[%s]:%lld" : "%s:%lld",
			      address, fw_json_get(tuple, port_key));
}

static void print_tuple(FILE *out, const json_t *tuple)
{
	print_endpoint(out, tuple, "source", "source_port");
	(void)fprintf(out, " -> ");
	print_endpoint(out, tuple, "destination", "destination_port");
	if (member(tuple, "id"))
		(void)fprintf(out, " type %lld id %lld",
			      fw_json_get(tuple, "type"),
			      fw_json_get(tuple, "id"));
}

/* "rule web (rules.conf:7)" */
static void print_rule(FILE *out, const json_t *event)
{
	const char *rule = fw_json_get_text(event, "rule", NULL);

	if (!rule)
		return;
	(void)fprintf(out, ", rule %s", rule);
	if (member(event, "file"))
		(void)fprintf(out, " (%s:%lld)",
			      fw_json_get_text(event, "file", "?"),
			      fw_json_get(event, "line"));
}

static void print_packet(FILE *out, const json_t *event)
{
	const char *prefix = fw_json_get_text(event, "prefix", NULL);
	const char *direction = fw_json_get_text(event, "direction", NULL);
	const char *flags = fw_json_get_text(event, "tcp_flags", NULL);

	if (prefix)
		(void)fprintf(out, "%s ", prefix);
	(void)fprintf(
		out,
		"%s%s%s on %s (%s): ", fw_json_get_text(event, "verdict", "?"),
		direction ? " " : "", direction ? direction : "",
		fw_json_get_text(event, "interface", "an unknown interface"),
		fw_json_get_text(event, "hook", "?"));
	if (member(event, "packet")) {
		(void)fprintf(out, "%s ",
			      fw_json_get_text(event, "protocol", "?"));
		print_tuple(out, json_object_get(event, "packet"));
	} else {
		(void)fprintf(out, "a frame without addresses");
	}
	if (flags)
		(void)fprintf(out, " flags %s", *flags ? flags : "none");
	if (member(event, "spi"))
		(void)fprintf(out, " spi %s",
			      fw_json_get_text(event, "spi", "?"));
	(void)fprintf(out, " len %lld", fw_json_get(event, "length"));
	print_rule(out, event);
	(void)fprintf(out, ", reason %s",
		      fw_json_get_text(event, "reason", "?"));
	if (member(event, "original")) {
		(void)fprintf(out, ", flow ");
		print_tuple(out, json_object_get(event, "original"));
		(void)fprintf(out, " / ");
		print_tuple(out, json_object_get(event, "reply"));
	}
	(void)putc('\n', out);
}

static void print_flow(FILE *out, const json_t *event)
{
	const char *what = fw_json_get_text(event, "event", "?");
	const char *before = fw_json_get_text(event, "previous_state", NULL);
	const char *state = fw_json_get_text(event, "state", "?");

	(void)fprintf(
		out, "%s on %s: %s ",
		strcmp(what, "flow-opened") == 0    ? "opened"
		: strcmp(what, "flow-changed") == 0 ? "changed"
						    : "closed",
		fw_json_get_text(event, "interface", "an unknown interface"),
		fw_json_get_text(event, "protocol", "?"));
	print_tuple(out, json_object_get(event, "original"));
	(void)fprintf(out, " / ");
	print_tuple(out, json_object_get(event, "reply"));
	if (before && strcmp(before, state) != 0)
		(void)fprintf(out, ", %s -> %s", before, state);
	else
		(void)fprintf(out, ", %s", state);
	if (before && json_is_true(json_object_get(event, "assured")))
		(void)fprintf(out, " assured");
	print_rule(out, event);
	(void)putc('\n', out);
}

static void print_missing(FILE *out, const json_t *event)
{
	long long n = fw_json_get(event, "count");

	if (strcmp(fw_json_get_text(event, "event", ""), "lost") == 0) {
		(void)fprintf(out, "... %lld event%s lost\n", n, fw_plural(n));
		return;
	}
	(void)fprintf(out, "... %lld more packet%s, too many to show", n,
		      fw_plural(n));
	print_rule(out, event);
	(void)putc('\n', out);
}

static void print_event(FILE *out, const json_t *event)
{
	print_time(out, event);
	if (member(event, "hook"))
		print_packet(out, event);
	else if (member(event, "original"))
		print_flow(out, event);
	else
		print_missing(out, event);
}

/* ---- until it ends ------------------------------------------------------------------ */

static void on_event(void *data, json_t *event)
{
	struct output *output = data;

	if (!output->out) {
		output->out = open_memstream(&output->text, &output->len);
		if (!output->out)
			return;
	}
	if (!output->is_json)
		print_event(output->out, event);
	else if (json_dumpf(event, output->out,
			    JSON_COMPACT | JSON_REAL_PRECISION(16)) == 0)
		(void)putc('\n', output->out);
}

/* True if a signal has come, or nobody reads our output any more; `fd` may be -1. */
static bool await(struct output *output, int fd, short on_output)
{
	struct pollfd fds[] = { { .fd = fd, .events = POLLIN },
				{ .fd = stop_fd, .events = POLLIN },
				{ .fd = STDOUT_FILENO, .events = on_output } };
	const short gone = POLLERR | POLLHUP | POLLNVAL;

	while (poll(fds, ARRAY_SIZE(fds), -1) < 0) {
		if (errno != EINTR)
			return true;
	}
	if (fds[2].revents & gone)
		output->error = EPIPE;
	/* After a signal what there is goes out all the same, if it can. */
	return fds[2].revents & gone ||
	       (fds[1].revents && !(fds[2].revents & POLLOUT));
}

/* So much never blocks where there is room for anything. */
static bool write_out(struct output *output)
{
	size_t at = 0;

	while (at < output->len) {
		size_t left = output->len - at;
		ssize_t n;

		if (await(output, -1, POLLOUT))
			return false;
		n = write(STDOUT_FILENO, output->text + at,
			  left < PIPE_BUF ? left : PIPE_BUF);
		if (n >= 0) {
			at += (size_t)n;
		} else if (errno != EINTR && errno != EAGAIN) {
			output->error = errno;
			return false;
		}
	}
	return true;
}

static bool flush(struct output *output)
{
	bool is_written;

	if (!output->out)
		return true;
	is_written = fclose(output->out) == 0 && write_out(output);
	output->out = NULL;
	free(take_ptr(output->text));
	return is_written;
}

/* All that came is printed: show it. Then wait for more, or for the end of it all. */
static bool on_wait(void *data, int fd)
{
	struct output *output = data;

	return !flush(output) || await(output, fd, 0);
}

static enum fw_exit watch(struct fw_cli *cli, json_t *args)
{
	struct output output = { .is_json = cli->json };
	struct fw_call call = { .verb = "monitor",
				.args = args,
				.start = FW_START_IF_PINNED,
				.row = on_event,
				.data = &output,
				.wait = on_wait };
	_cleanup_json_ json_t *result = NULL;
	enum fw_exit status;

	status = fw_client_call(cli, &call, &result);
	(void)flush(&output);
	if (!output.error || output.error == EPIPE)
		return status;
	fw_complain("cannot write to standard output: %s",
		    strerror(output.error));
	return FW_EXIT_REQUEST;
}

enum fw_exit fw_cmd_monitor(struct fw_cli *cli)
{
	_cleanup_free_ char *error = NULL;
	struct fw_monitor_query query;
	json_t *words, *args;
	int r;

	if (fw_monitor_query_parse(cli->words, cli->n_words, &query, &error) <
	    0) {
		fw_complain("%s", error ? error : "out of memory");
		return FW_EXIT_USAGE;
	}
	/* It would be the number of the socket. */
	if (fcntl(STDOUT_FILENO, F_GETFD) < 0) {
		fw_complain("standard output is closed");
		return FW_EXIT_REQUEST;
	}
	r = stop_fd = fw_stop_catch(0);
	if (r < 0) {
		fw_complain("cannot wait for signals: %s", strerror(-r));
		return FW_EXIT_REQUEST;
	}
	words = json_array();
	for (size_t i = 0; words && i < cli->n_words; i++)
		(void)json_array_append_new(words, fw_json_text(cli->words[i]));
	args = json_pack("{s:o}", "words", words);
	if (!args) {
		fw_complain("out of memory");
		return FW_EXIT_REQUEST;
	}
	return watch(cli, args);
}
