/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The subcommand capture: packets that come from the daemon (user/captures.h) into a
 * pcapng file, until there are enough of them or somebody has had enough.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#include "kern/abi.h"
#include "user/base64.h"
#include "user/client.h"
#include "user/json.h"
#include "user/monitorquery.h"
#include "user/pcapng.h"
#include "user/stop.h"
#include "user/util.h"

#define NS_PER_MS 1000000ull
#define QUIET_MS  100u	/* after a signal: what is on its way still comes */
#define GRACE_MS  1000u /* but not for longer */
#define COMMENT	  512u

/* An interface of the file; its number is its place. */
struct interface {
	long long ifindex;
	char *name; /* NULL: it has none */
	uint16_t link;
	uint64_t packets;
	uint64_t lost;
};

struct session {
	const char *path;
	FILE *out; /* NULL: the daemon has not begun */
	int stop_fd;
	uint64_t wanted; /* packets; 0: any number */
	uint32_t snaplen;
	uint64_t packets, lost;
	uint64_t begin_ns;
	uint64_t grace_ns; /* when it ends after a signal; 0: none has come */
	struct interface *interfaces;
	size_t n_interfaces;
	int error; /* of writing, positive; EPIPE: nobody reads */
};

static void fail(struct session *session, int r)
{
	if (r < 0 && !session->error)
		session->error = -r;
}

static uint64_t real_ns(void)
{
	struct timespec now = { 0 };

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- interfaces ------------------------------------------------------------------- */

static bool is_same(const struct interface *interface, long long ifindex,
		    const char *name)
{
	if (interface->ifindex != ifindex || !interface->name != !name)
		return false;
	return !name || strcmp(interface->name, name) == 0;
}

/* A new one, and its block; its number, or a negative errno. */
static int add_interface(struct session *session, long long ifindex,
			 const char *name, uint16_t link)
{
	const struct fw_pcapng_interface block = {
		.name = name,
		.description =
			name	  ? NULL
			: ifindex ? "an interface that is gone"
				  : "interfaces without their own counters",
		.link = link,
		.snaplen = session->snaplen,
	};
	struct interface *more;
	char *copy = NULL;
	int r;

	more = reallocarray(session->interfaces, session->n_interfaces + 1,
			    sizeof(*more));
	if (!more)
		return -ENOMEM;
	session->interfaces = more;
	if (name) {
		copy = strdup(name);
		if (!copy)
			return -ENOMEM;
	}
	r = fw_pcapng_interface(session->out, &block);
	if (r < 0) {
		free(copy);
		return r;
	}
	more[session->n_interfaces] = (struct interface){ .ifindex = ifindex,
							  .name = copy,
							  .link = link };
	return (int)session->n_interfaces++;
}

/* `link` 0: whichever it is. */
static int find_interface(struct session *session, const json_t *item,
			  uint16_t link)
{
	const char *name = fw_json_get_text(item, "interface", NULL);
	long long ifindex = fw_json_get(item, "ifindex");

	for (size_t i = 0; i < session->n_interfaces; i++) {
		const struct interface *interface = &session->interfaces[i];

		if (is_same(interface, ifindex, name) &&
		    (!link || link == interface->link))
			return (int)i;
	}
	return add_interface(session, ifindex, name,
			     link ? link : FW_PCAPNG_ETHERNET);
}

/* ---- packets ---------------------------------------------------------------------- */

/* "drop-rule xdp in rules.conf:12 label ssh" */
static void print_comment(char *text, size_t size, const json_t *item)
{
	const char *file = fw_json_get_text(item, "file", NULL);
	const char *rule = fw_json_get_text(item, "rule", NULL);
	bool is_drop = json_is_true(json_object_get(item, "dropped"));
	char place[COMMENT / 2] = "";

	if (file)
		(void)snprintf(place, sizeof(place), " in %s:%lld", file,
			       fw_json_get(item, "line"));
	(void)snprintf(text, size, "%s-%s %s%s%s%s",
		       is_drop ? "drop" : "accept",
		       fw_json_get_text(item, "reason", "?"),
		       fw_json_get_text(item, "hook", "?"), place,
		       rule ? " label " : "", rule ? rule : "");
}

static int write_packet(struct session *session, const json_t *item)
{
	const json_t *text = json_object_get(item, "data");
	bool is_raw =
		strcmp(fw_json_get_text(item, "link", "ethernet"), "raw") == 0;
	struct fw_pcapng_packet packet = {
		.time_ns = (uint64_t)fw_json_get(item, "time_ns"),
		.wire_len = (uint32_t)fw_json_get(item, "length"),
		.is_outbound = strcmp(fw_json_get_text(item, "hook", "?"),
				      "egress") == 0,
	};
	_cleanup_free_ void *data = NULL;
	char comment[COMMENT];
	size_t len;
	int r, number;

	r = fw_base64_decode(text ? json_string_value(text) : "",
			     json_string_length(text), &data, &len);
	if (r < 0)
		return r;
	number = find_interface(session, item,
				is_raw ? FW_PCAPNG_RAW : FW_PCAPNG_ETHERNET);
	if (number < 0)
		return number;
	print_comment(comment, sizeof(comment), item);
	packet.interface = (uint32_t)number;
	packet.data = data;
	packet.len = (uint32_t)len;
	packet.comment = comment;
	r = fw_pcapng_packet(session->out, &packet);
	if (r < 0)
		return r;
	session->interfaces[number].packets++;
	session->packets++;
	return 0;
}

static int note_lost(struct session *session, const json_t *item)
{
	uint64_t count = (uint64_t)fw_json_get(item, "count");
	int number = find_interface(session, item, 0);

	session->lost += count;
	if (number < 0)
		return number;
	session->interfaces[number].lost += count;
	return 0;
}

/* ---- the file --------------------------------------------------------------------- */

static int open_file(struct session *session)
{
	_cleanup_close_ int fd = -1;

	/* Others are not to read what has passed by here. */
	if (strcmp(session->path, "-") == 0)
		fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
	else
		fd = open(session->path,
			  O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	session->out = fdopen(fd, "w");
	if (!session->out)
		return -errno;
	(void)take_fd(&fd);
	session->begin_ns = real_ns();
	return fw_pcapng_section(session->out, "fwctl " FW_VERSION);
}

static bool has_enough(const struct session *session)
{
	return session->error ||
	       (session->wanted && session->packets >= session->wanted);
}

static void on_item(void *data, json_t *item)
{
	const char *event = fw_json_get_text(item, "event", "");
	struct session *session = data;

	if (has_enough(session))
		return;
	if (strcmp(event, "start") == 0 && !session->out)
		fail(session, open_file(session));
	else if (!session->out)
		fail(session, -EBADMSG);
	else if (strcmp(event, "packet") == 0)
		fail(session, write_packet(session, item));
	else if (strcmp(event, "lost") == 0)
		fail(session, note_lost(session, item));
}

static void close_file(struct session *session)
{
	struct fw_pcapng_stats stats = { .begin_ns = session->begin_ns,
					 .end_ns = real_ns() };

	for (size_t i = 0; i < session->n_interfaces; i++) {
		struct interface *interface = &session->interfaces[i];

		stats.interface = (uint32_t)i;
		stats.delivered = interface->packets;
		stats.dropped = interface->lost;
		if (session->out && !session->error)
			fail(session, fw_pcapng_stats(session->out, &stats));
		free(interface->name);
	}
	free(session->interfaces);
	if (session->out && fclose(session->out) == EOF)
		fail(session, -errno);
}

/* ---- until it ends ------------------------------------------------------------------ */

/* False: it was quiet for so long. */
static bool is_more_coming(int fd, uint64_t ms)
{
	struct pollfd more = { .fd = fd, .events = POLLIN };
	int r;

	do {
		r = poll(&more, 1, (int)ms);
	} while (r < 0 && errno == EINTR);
	return r > 0;
}

/* After a signal; true: all has come, or too much does. */
static bool is_over(const struct session *session, int fd)
{
	return fw_now_ns() >= session->grace_ns ||
	       !is_more_coming(fd, QUIET_MS);
}

/* All that came is written. Wait for more, or for the end of it all. */
static bool on_wait(void *data, int fd)
{
	struct session *session = data;
	struct pollfd fds[] = { { .fd = fd, .events = POLLIN },
				{ .fd = session->stop_fd, .events = POLLIN },
				{ .fd = -1 } };

	if (session->out && fflush(session->out) == EOF)
		fail(session, -errno);
	if (has_enough(session))
		return true;
	if (session->grace_ns)
		return is_over(session, fd);
	if (session->out)
		fds[2].fd = fileno(session->out);
	while (poll(fds, ARRAY_SIZE(fds), -1) < 0) {
		if (errno != EINTR)
			return true;
	}
	if (fds[2].revents & (POLLERR | POLLHUP | POLLNVAL))
		fail(session, -EPIPE);
	if (session->error)
		return true;
	if (!fds[1].revents)
		return false;
	session->grace_ns = fw_now_ns() + GRACE_MS * NS_PER_MS;
	return is_over(session, fd);
}

static enum fw_exit report(const struct session *session, enum fw_exit status)
{
	char lost[64] = "";

	if (session->error && session->error != EPIPE) {
		fw_complain("cannot write to '%s': %s", session->path,
			    strerror(session->error));
		return FW_EXIT_REQUEST;
	}
	if (!session->out)
		return status;
	if (session->lost)
		(void)snprintf(lost, sizeof(lost), ", %llu lost",
			       (unsigned long long)session->lost);
	fw_complain("%llu packet%s captured%s",
		    (unsigned long long)session->packets,
		    fw_plural((long long)session->packets), lost);
	return status;
}

static enum fw_exit run(struct fw_cli *cli, struct session *session,
			json_t *args)
{
	struct fw_call call = { .verb = "capture",
				.args = args,
				.start = FW_START_IF_PINNED,
				.row = on_item,
				.data = session,
				.wait = on_wait };
	_cleanup_json_ json_t *result = NULL;
	enum fw_exit status;

	status = fw_client_call(cli, &call, &result);
	close_file(session);
	return report(session, status);
}

/* ---- what is wanted ------------------------------------------------------------------ */

/* From 1 to `max`. */
static bool parse_number(const char *text, uint64_t max, uint64_t *ret)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*ret = strtoull(text, &end, 10);
	return !*end && !errno && *ret && *ret <= max;
}

static bool take_numbers(const struct fw_cli *cli, struct session *session)
{
	uint64_t snaplen = FW_CAPTURE_MAX;

	if (cli->count &&
	    !parse_number(cli->count, UINT64_MAX, &session->wanted)) {
		fw_complain("--count takes a number from 1 on, not '%s'",
			    cli->count);
		return false;
	}
	if (cli->snaplen &&
	    !parse_number(cli->snaplen, FW_CAPTURE_MAX, &snaplen)) {
		fw_complain("--snaplen takes 1 to %d bytes, not '%s'",
			    FW_CAPTURE_MAX, cli->snaplen);
		return false;
	}
	session->snaplen = (uint32_t)snaplen;
	return true;
}

/* Says at once what is wrong, as the daemon would. */
static bool check_words(const struct fw_cli *cli)
{
	_cleanup_free_ char *error = NULL;
	struct fw_monitor_query query;
	uint64_t reasons = 0;
	int r;

	if (!cli->n_words) {
		fw_complain("'capture' needs a FILE, or - for standard output");
		return false;
	}
	r = fw_capture_query_parse(cli->words + 1, cli->n_words - 1, &query,
				   &error);
	if (r == 0 && cli->reasons)
		r = fw_reasons_parse(cli->reasons, &reasons, &error);
	if (r < 0)
		fw_complain("%s", error ? error : "out of memory");
	return r == 0;
}

static bool check_output(const char *path)
{
	if (strcmp(path, "-") != 0)
		return true;
	/* It would be the number of the socket. */
	if (fcntl(STDOUT_FILENO, F_GETFD) < 0) {
		fw_complain("standard output is closed");
		return false;
	}
	if (isatty(STDOUT_FILENO)) {
		fw_complain(
			"standard output is a terminal: name a file, or try fwctl capture - | tshark -r -");
		return false;
	}
	return true;
}

static json_t *make_args(const struct fw_cli *cli,
			 const struct session *session)
{
	json_t *words = json_array(), *args;

	for (size_t i = 1; words && i < cli->n_words; i++)
		(void)json_array_append_new(words, fw_json_text(cli->words[i]));
	args = json_pack("{s:o, s:I}", "words", words, "snaplen",
			 (json_int_t)session->snaplen);
	if (args && cli->reasons)
		(void)fw_json_set(args, "reasons", fw_json_text(cli->reasons));
	return args;
}

enum fw_exit fw_cmd_capture(struct fw_cli *cli)
{
	struct session session = { 0 };
	json_t *args;

	if (!check_words(cli) || !take_numbers(cli, &session))
		return FW_EXIT_USAGE;
	session.path = cli->words[0];
	if (!check_output(session.path))
		return FW_EXIT_REQUEST;
	/* The second signal ends it whatever it waits for. */
	session.stop_fd = fw_stop_catch(SA_RESTART | (int)SA_RESETHAND);
	if (session.stop_fd < 0) {
		fw_complain("cannot wait for signals: %s",
			    strerror(-session.stop_fd));
		return FW_EXIT_REQUEST;
	}
	args = make_args(cli, &session);
	if (!args) {
		fw_complain("out of memory");
		return FW_EXIT_REQUEST;
	}
	return run(cli, &session, args);
}
