/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The subcommand top: looks at the daemon again and again, and lets the user choose what
 * is shown. Whatever it waits for, it listens to keys and signals meanwhile, so a daemon
 * that does not answer holds up nobody.
 */
#include <errno.h>
#include <locale.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "user/client.h"
#include "user/stop.h"
#include "user/topfeed.h"
#include "user/topmodel.h"
#include "user/topview.h"
#include "user/util.h"

#define LEAST_S	    0.1
#define MOST_S	    3600.0
#define NS_PER_MS   1000000ull
#define MOST_PRINTS 1000000000ul

static int stop_fd = -1; /* readable after a signal */

struct top {
	struct fw_cli *cli;
	struct fw_top_model *model;
	struct fw_top_screen screen;
	char summary[FW_TOP_SUMMARY];
	char note[2 * FW_TOP_SUMMARY];
	char refusal[FW_TOP_SUMMARY]; /* of the last request; "": none */
	enum fw_top_view wanted;      /* view that is to be shown */
	uint64_t interval_ns;
	uint64_t next_ns;   /* when to look again */
	unsigned long left; /* to be printed; 0: without an end */
	bool is_batch;
	bool is_over;
	bool has_answer; /* since the daemon was lost */
};

/* ---- what the user wants --------------------------------------------------------------- */

static void scroll(struct top *top, long by)
{
	size_t n, fit = fw_top_view_rows();
	long first = (long)top->screen.first + by, last;

	(void)fw_top_rows(top->model, &n);
	last = n > fit ? (long)(n - fit) : 0;
	top->screen.first = (size_t)(first < 0	    ? 0
				     : first > last ? last
						    : first);
}

static void sort(struct top *top, size_t column, bool is_reverse)
{
	top->screen.column = column;
	top->screen.is_reverse = is_reverse;
	fw_top_sort(top->model, column, is_reverse);
}

static void choose_column(struct top *top, unsigned int key)
{
	/* Behind the numbers there is the name. */
	size_t n = fw_top_columns(fw_top_model_view(top->model)) + 1;
	size_t step = key == FW_TOP_KEY_SORT_LEFT ? n - 1 : 1;

	sort(top, (top->screen.column + step) % n, false);
}

static void handle_scrolling(struct top *top, unsigned int key)
{
	long page = (long)fw_top_view_rows();
	size_t n;

	(void)fw_top_rows(top->model, &n);
	if (key == FW_TOP_KEY_UP)
		scroll(top, -1);
	else if (key == FW_TOP_KEY_DOWN)
		scroll(top, 1);
	else if (key == FW_TOP_KEY_PAGE_UP)
		scroll(top, -page);
	else if (key == FW_TOP_KEY_PAGE_DOWN)
		scroll(top, page);
	else if (key == FW_TOP_KEY_HOME)
		scroll(top, -(long)n);
	else if (key == FW_TOP_KEY_END)
		scroll(top, (long)n);
}

static void handle_key(struct top *top, unsigned int key)
{
	unsigned int view = top->wanted;

	if (key >= FW_TOP_KEY_VIEW)
		top->wanted = (enum fw_top_view)(key - FW_TOP_KEY_VIEW);
	else if (key == FW_TOP_KEY_QUIT)
		top->is_over = true;
	else if (key == FW_TOP_KEY_NEXT)
		top->wanted = (enum fw_top_view)((view + 1) % FW_TOP_VIEWS);
	else if (key == FW_TOP_KEY_PREVIOUS)
		top->wanted = (enum fw_top_view)((view + FW_TOP_VIEWS - 1) %
						 FW_TOP_VIEWS);
	else if (key >= FW_TOP_KEY_SORT_LEFT && key <= FW_TOP_KEY_SORT_NEXT)
		choose_column(top, key);
	else if (key == FW_TOP_KEY_REVERSE)
		sort(top, top->screen.column, !top->screen.is_reverse);
	else if (key == FW_TOP_KEY_PAUSE)
		top->screen.is_paused = !top->screen.is_paused;
	else if (key == FW_TOP_KEY_HELP)
		top->screen.has_help = !top->screen.has_help;
	else
		handle_scrolling(top, key);
}

static void draw(struct top *top)
{
	if (top->is_batch)
		return;
	scroll(top, 0);
	fw_top_view_draw(&top->screen);
}

static void read_keys(struct top *top)
{
	unsigned int key;
	bool more = true;

	if (top->is_batch)
		return;
	while (more) {
		key = fw_top_view_key(&more);
		handle_key(top, key);
	}
	draw(top);
}

/* ---- waiting --------------------------------------------------------------------------- */

/* True if what is under way is to be given up. */
static bool is_enough(const struct top *top)
{
	return top->is_over || top->wanted != fw_top_model_view(top->model);
}

static int ms_until(uint64_t ns)
{
	uint64_t now_ns = fw_now_ns();

	return ns > now_ns ? (int)((ns - now_ns) / NS_PER_MS + 1) : 0;
}

/* Waits for `fd` (-1: for nothing but time) up to `until_ns`; true: it is enough. */
static bool await(struct top *top, int fd, uint64_t until_ns)
{
	const short gone = POLLERR | POLLHUP | POLLNVAL;

	while (!is_enough(top)) {
		struct pollfd fds[] = {
			{ .fd = fd, .events = POLLIN },
			{ .fd = stop_fd, .events = POLLIN },
			{ .fd = top->is_batch ? -1 : STDIN_FILENO,
			  .events = POLLIN },
			{ .fd = STDOUT_FILENO },
		};
		int n = poll(fds, ARRAY_SIZE(fds),
			     fd < 0 ? ms_until(until_ns) : -1);

		if (n == 0)
			return false;
		/* The size of the terminal has changed, most likely. */
		if (n < 0) {
			read_keys(top);
			continue;
		}
		if (fds[1].revents || fds[2].revents & gone ||
		    fds[3].revents & gone)
			top->is_over = true;
		else if (fds[2].revents)
			read_keys(top);
		else if (fds[0].revents)
			return false;
	}
	return true;
}

/* While a reply is awaited. */
static bool on_wait(void *data, int fd)
{
	return await(data, fd, 0);
}

/* ---- looking ---------------------------------------------------------------------------- */

/* There is another sample: on the screen with it, or on paper. */
static void show(struct top *top)
{
	top->has_answer = true;
	if (!top->is_batch) {
		draw(top);
		return;
	}
	if (!fw_top_has_rates(top->model))
		return;
	(void)printf("# %s: %s%s%s\n",
		     fw_top_layouts[fw_top_model_view(top->model)].name,
		     top->summary, *top->note ? "; " : "", top->note);
	fw_top_print(top->model, stdout);
	(void)putchar('\n');
	if (fflush(stdout) == EOF || (top->left && !--top->left))
		top->is_over = true;
}

/* Once more without the daemon: fwctl starts none while it shows what one does. */
static void lose(struct top *top)
{
	(void)snprintf(top->note, sizeof(top->note), "%s%s",
		       *top->refusal ? top->refusal : "daemon gone",
		       ", waiting");
	if (top->is_batch && top->has_answer)
		fw_complain("%s", top->note);
	top->has_answer = false;
	draw(top);
}

/* Why it does not answer as it should, if it says so: on the screen. */
static bool on_refused(void *data, const json_t *reply)
{
	struct top *top = data;
	const char *error = json_string_value(json_object_get(reply, "error"));

	(void)snprintf(top->refusal, sizeof(top->refusal), "%s",
		       error ? error : "fwctld has sent no sensible reply");
	return true;
}

static enum fw_exit ask(struct top *top, const char *verb, json_t *args,
			fw_row_fn row, json_t **ret)
{
	const struct fw_call call = { .verb = verb,
				      .args = args,
				      .row = row,
				      .data = top,
				      .refused = on_refused,
				      .wait = on_wait,
				      .silent = true };

	*top->refusal = '\0';

	return fw_client_call(top->cli, &call, ret);
}

/* 1 if there is a sample, 0 if the user wants something else, or -errno. */
static int take(struct top *top, enum fw_exit status, const json_t *result,
		int (*feed)(struct fw_top_model *model, const json_t *result,
			    uint64_t now_ns))
{
	if (status != FW_EXIT_OK)
		return -ECONNREFUSED;
	if (!result)
		return 0;
	/* It is the last thing that was counted: as late as its counters. */
	return feed(top->model, result, fw_now_ns()) < 0 ? -ENOMEM : 1;
}

/* What stands above every view. */
static int look_at_status(struct top *top, bool has_rows)
{
	_cleanup_json_ json_t *result = NULL;
	enum fw_exit status = ask(top, "status", NULL, NULL, &result);

	if (status == FW_EXIT_OK && result &&
	    !json_is_true(json_object_get(result, "loaded")))
		return -ECONNREFUSED;
	if (result)
		fw_top_summary(result, top->summary);
	if (has_rows)
		return take(top, status, result, fw_top_feed_status);
	return status != FW_EXIT_OK ? -ECONNREFUSED : result != NULL;
}

static int look_at_rules(struct top *top)
{
	_cleanup_json_ json_t *result = NULL;
	enum fw_exit status;
	int r = look_at_status(top, false);

	if (r <= 0)
		return r;
	status = ask(top, "rule-counts", NULL, NULL, &result);
	return take(top, status, result, fw_top_feed_rules);
}

static void on_item(void *data, json_t *item)
{
	struct top *top = data;

	if (top->screen.is_paused || is_enough(top) ||
	    !(json_real_value(json_object_get(item, "seconds")) > 0))
		return;
	fw_top_note(item, fw_top_model_view(top->model), top->note);
	if (fw_top_feed_flows(top->model, item, fw_now_ns()) == 0)
		show(top);
}

/* The daemon says by itself when there is more, until there is enough. */
static int watch_flows(struct top *top)
{
	_cleanup_json_ json_t *result = NULL;
	int r = look_at_status(top, false);

	if (r <= 0)
		return r;
	*top->note = '\0';
	draw(top);
	return ask(top, "top-flows",
		   json_pack("{s:I}", "interval",
			     (json_int_t)(top->interval_ns / NS_PER_MS)),
		   on_item, &result) == FW_EXIT_OK
		       ? 0
		       : -ECONNREFUSED;
}

/* As watch_flows(), of counters, which are asked for. */
static int watch_counters(struct top *top)
{
	bool is_rules = fw_top_model_view(top->model) == FW_TOP_RULES;
	int r = 1;

	while (r > 0) {
		top->next_ns = fw_now_ns() + top->interval_ns;
		if (!top->screen.is_paused) {
			r = is_rules ? look_at_rules(top)
				     : look_at_status(top, true);
			if (r <= 0)
				break;
			*top->note = '\0';
			show(top);
		}
		if (await(top, -1, top->next_ns))
			return 0;
	}
	return r;
}

/* ---- the whole -------------------------------------------------------------------------- */

static int change_view(struct top *top)
{
	struct fw_top_model *model = fw_top_model_new(top->wanted);

	if (!model)
		return -ENOMEM;
	fw_top_model_free(top->model);
	top->model = model;
	top->screen.model = model;
	top->screen.first = 0;
	sort(top, 0, false);
	return 0;
}

/* Until it is over; 0 or -ENOMEM. */
static int run(struct top *top)
{
	int r;

	while (!top->is_over) {
		if (top->wanted != fw_top_model_view(top->model) &&
		    change_view(top) < 0)
			return -ENOMEM;
		r = top->wanted == FW_TOP_FLOWS || top->wanted == FW_TOP_SOURCES
			    ? watch_flows(top)
			    : watch_counters(top);
		if (r == -ENOMEM)
			return r;
		if (r < 0) {
			lose(top);
			(void)await(top, -1, fw_now_ns() + top->interval_ns);
		}
	}
	return 0;
}

/* The first answer is as for any other command: it starts a daemon, or says why not. */
static enum fw_exit check_daemon(struct fw_cli *cli)
{
	const struct fw_call call = { .verb = "status",
				      .start = FW_START_IF_PINNED };
	_cleanup_json_ json_t *result = NULL;
	enum fw_exit status = fw_client_call(cli, &call, &result);

	if (status == FW_EXIT_OK &&
	    !json_is_true(json_object_get(result, "loaded"))) {
		fw_complain("nothing is loaded");
		return FW_EXIT_NO_DAEMON;
	}
	return status;
}

static bool read_interval(const struct fw_cli *cli, double *ret)
{
	char *end;

	*ret = 1;
	if (!cli->interval)
		return true;
	*ret = strtod(cli->interval, &end);
	if (end != cli->interval && !*end && *ret >= LEAST_S && *ret <= MOST_S)
		return true;
	fw_complain("--interval takes seconds, from %g to %g, not '%s'",
		    LEAST_S, MOST_S, cli->interval);
	return false;
}

static bool read_count(const struct fw_cli *cli, unsigned long *ret)
{
	char *end;

	if (!cli->count)
		return true;
	if (!cli->batch) {
		fw_complain("--count is for --batch");
		return false;
	}
	errno = 0;
	*ret = strtoul(cli->count, &end, 10);
	if (*cli->count >= '0' && *cli->count <= '9' && !*end && !errno &&
	    *ret && *ret <= MOST_PRINTS)
		return true;
	fw_complain("--count takes a number from 1 on, not '%s'", cli->count);
	return false;
}

static bool read_view(const struct fw_cli *cli, enum fw_top_view *ret)
{
	*ret = cli->n_words ? fw_top_find(cli->words[0]) : FW_TOP_RULES;
	if (cli->n_words < 2 && *ret < FW_TOP_VIEWS)
		return true;
	fw_complain(
		"'%s' is no view: top takes one of rules, interfaces, drops, sources, flows",
		cli->words[cli->n_words - 1]);
	return false;
}

static bool read_words(struct fw_cli *cli, struct top *top)
{
	if (cli->json) {
		fw_complain("'top' does not take --json, see --batch");
		return false;
	}
	if (!read_view(cli, &top->wanted) || !read_count(cli, &top->left) ||
	    !read_interval(cli, &top->screen.interval_s))
		return false;
	top->is_batch = cli->batch;
	top->interval_ns = (uint64_t)(top->screen.interval_s * 1e9);
	if (top->is_batch || (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)))
		return true;
	fw_complain("top needs a terminal; --batch prints text");
	return false;
}

enum fw_exit fw_cmd_top(struct fw_cli *cli)
{
	struct top top = { .cli = cli };
	enum fw_exit status;
	int r;

	if (!read_words(cli, &top))
		return FW_EXIT_USAGE;
	status = check_daemon(cli);
	if (status != FW_EXIT_OK)
		return status;
	top.screen.summary = top.summary;
	top.screen.note = top.note;
	(void)setlocale(LC_CTYPE, "");
	stop_fd = fw_stop_catch(0);
	r = stop_fd < 0 ? stop_fd : 0;
	if (r == 0)
		r = change_view(&top);
	if (r == 0 && !top.is_batch)
		r = fw_top_view_open();
	if (r == 0)
		r = run(&top);
	fw_top_view_close();
	fw_top_model_free(top.model);
	if (r == 0)
		return FW_EXIT_OK;
	fw_complain("cannot use the terminal '%s': %s", getenv("TERM") ?: "",
		    strerror(-r));
	return FW_EXIT_REQUEST;
}
