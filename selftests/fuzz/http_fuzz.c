/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Any bytes as what comes to the exporter's port. libmicrohttpd reads them, which is not
 * ours; the handlers, the account of clients and what is answered are. Two clients at a
 * time, whose parts come in turn; each may hang up before it is answered.
 */
#include "user/metrics.c"

#include <sys/un.h>
#include <unistd.h>

#include "user/log.h"

#include "fuzz.h"

#define SENT_MOST 65536u /* so that a socket holds it, whoever reads */
#define CLIENTS	  2
#define TURNS	  9 /* of the loop, until who has not been answered gives up */

struct http_client {
	int fd;
	struct fw_watch *watch;
	size_t sent;
};

static struct {
	struct fw_daemon daemon;
	struct fw_metrics *metrics;
	struct sockaddr_un addr;
	socklen_t addr_len;
	struct http_client clients[CLIENTS];
	struct fw_timer *timer;
	unsigned int turns;
} fuzz;

static void hang_up(struct http_client *client)
{
	if (client->fd < 0)
		return;
	fw_watch_free(client->watch);
	(void)close(client->fd);
	*client = (struct http_client){ .fd = -1 };
}

/* Who is not answered soon gives up; the server has to let go of all of them. */
static void on_turn(void *data)
{
	bool is_over = fuzz.turns++ > TURNS;

	(void)data;
	for (size_t i = 0; is_over && i < CLIENTS; i++)
		hang_up(&fuzz.clients[i]);
	run(fuzz.metrics);
	if (is_over && !fuzz.metrics->n_clients)
		fw_loop_stop(fuzz.daemon.loop);
	else
		(void)fw_timer_arm(fuzz.timer, 0, 0);
}

static void on_answer(void *data, uint32_t events)
{
	struct http_client *client = data;
	static char bytes[SENT_MOST];
	ssize_t n;

	(void)events;
	n = recv(client->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	if (n > 0 || (n < 0 && errno == EAGAIN))
		return;
	hang_up(client);
}

static void start_server(void)
{
	const struct sockaddr_un any = { .sun_family = AF_UNIX };
	int fd;

	fw_log_set_level(FW_LOG_ERROR);
	fuzz.daemon.loop = fw_loop_new();
	fuzz.metrics = calloc(1, sizeof(*fuzz.metrics));
	must(fuzz.daemon.loop && fuzz.metrics);
	fuzz.metrics->daemon = &fuzz.daemon;
	/* A name and no port, of which there are not so many. */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	must(fd >= 0 && bind(fd, (const struct sockaddr *)&any,
			     sizeof(any.sun_family)) == 0);
	must(listen(fd, CLIENTS) == 0);
	fuzz.addr_len = sizeof(fuzz.addr);
	must(getsockname(fd, (struct sockaddr *)&fuzz.addr, &fuzz.addr_len) ==
	     0);
	must(start_http(fuzz.metrics, fd) == 0);
	fuzz.timer = fw_timer_new(fuzz.daemon.loop, on_turn, NULL);
	must(fuzz.timer);
}

static void connect_client(struct http_client *client)
{
	*client = (struct http_client){ .fd = socket(AF_UNIX, SOCK_STREAM, 0) };
	must(client->fd >= 0);
	must(connect(client->fd, (struct sockaddr *)&fuzz.addr,
		     fuzz.addr_len) == 0);
	client->watch = fw_watch_new(fuzz.daemon.loop, client->fd, EPOLLIN,
				     on_answer, client);
	must(client->watch);
}

/* The server sees what has been sent so far. */
static void send_part(struct http_client *client, const uint8_t *part,
		      size_t len)
{
	if (client->fd < 0 || client->sent + len > SENT_MOST)
		return;
	client->sent += len;
	(void)send(client->fd, part, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	run(fuzz.metrics);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	uint8_t hangs_up = fuzz_byte(&in);

	if (!fuzz.metrics)
		start_server();
	for (size_t i = 0; i < CLIENTS; i++)
		connect_client(&fuzz.clients[i]);
	for (size_t i = 0; in.left; i++) {
		size_t len;
		uint8_t *part = fuzz_part(&in, &len);

		send_part(&fuzz.clients[i % CLIENTS], part, len);
		free(part);
	}
	fuzz.turns = 0;
	for (size_t i = 0; i < CLIENTS; i++) {
		if (hangs_up & 1u << i)
			hang_up(&fuzz.clients[i]);
		else
			(void)shutdown(fuzz.clients[i].fd, SHUT_WR);
	}
	(void)fw_timer_arm(fuzz.timer, 0, 0);
	must(fw_loop_run(fuzz.daemon.loop) == 0);
	must(fuzz.metrics->n_clients == 0 && !fuzz.metrics->first);
	return 0;
}
