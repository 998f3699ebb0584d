/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The exporter: HTTP on a socket of our own, in our own loop.
 *
 * libmicrohttpd runs without a thread: it keeps an epoll descriptor, which is
 * a watch of the loop, and tells when it wants to be called at the latest.
 *
 * It knows idle clients, but who sends a byte now and then would never be one. So a
 * connection is cut that has not had an answer for ten seconds, and the one which has
 * waited longest makes room for another.
 */
#include "user/metrics.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "user/exposition.h"
#include "user/loop.h"
#include "user/util.h"

#define BACKLOG	    64
#define MAX_CLIENTS 16u
#define MAX_CUT	    16u /* beside them, until libmicrohttpd has let go */
#define TIMEOUT_S   10u

#define NS_PER_MS 1000000ull

struct client {
	struct client *prev, *next; /* in order of what they have left */
	uint64_t until_ns;
	int fd; /* libmicrohttpd's; -1: cut, and in no list */
};

struct fw_metrics {
	struct fw_daemon *daemon;
	struct MHD_Daemon *http;
	struct fw_watch *watch;
	struct fw_timer *timer;
	struct client *first, *last;
	unsigned int n_clients; /* in the list */
};

/* ---- clients ---------------------------------------------------------------- */

static void enlist(struct fw_metrics *metrics, struct client *client)
{
	client->until_ns = fw_now_ns() + TIMEOUT_S * 1000ull * NS_PER_MS;
	client->prev = metrics->last;
	client->next = NULL;
	if (metrics->last)
		metrics->last->next = client;
	else
		metrics->first = client;
	metrics->last = client;
	metrics->n_clients++;
}

static void delist(struct fw_metrics *metrics, struct client *client)
{
	if (client->prev)
		client->prev->next = client->next;
	else
		metrics->first = client->next;
	if (client->next)
		client->next->prev = client->prev;
	else
		metrics->last = client->prev;
	metrics->n_clients--;
}

/* libmicrohttpd sees the end of it and closes. */
static void cut(struct fw_metrics *metrics, struct client *client)
{
	(void)shutdown(client->fd, SHUT_RDWR);
	client->fd = -1;
	delist(metrics, client);
}

static void add_client(struct fw_metrics *metrics,
		       struct MHD_Connection *connection, void **context)
{
	const union MHD_ConnectionInfo *info;
	struct client *client;

	info = MHD_get_connection_info(connection,
				       MHD_CONNECTION_INFO_CONNECTION_FD);
	if (!info)
		return;
	client = calloc(1, sizeof(*client));
	if (!client) {
		(void)shutdown(info->connect_fd, SHUT_RDWR);
		return;
	}
	client->fd = info->connect_fd;
	*context = client;
	if (metrics->n_clients == MAX_CLIENTS)
		cut(metrics, metrics->first);
	enlist(metrics, client);
}

static void remove_client(struct fw_metrics *metrics, struct client *client)
{
	if (client && client->fd >= 0)
		delist(metrics, client);
	free(client);
}

static void on_connection(void *data, struct MHD_Connection *connection,
			  void **context,
			  enum MHD_ConnectionNotificationCode code)
{
	struct fw_metrics *metrics = data;

	if (code == MHD_CONNECTION_NOTIFY_STARTED)
		add_client(metrics, connection, context);
	else
		remove_client(metrics, take_ptr(*context));
}

/* An answer has been sent whole, or has failed: then the connection ends anyway. */
static void on_completed(void *data, struct MHD_Connection *connection,
			 void **state, enum MHD_RequestTerminationCode code)
{
	struct fw_metrics *metrics = data;
	const union MHD_ConnectionInfo *info;
	struct client *client;

	(void)state;
	info = MHD_get_connection_info(connection,
				       MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	client = info ? info->socket_context : NULL;
	if (code != MHD_REQUEST_TERMINATED_COMPLETED_OK || !client ||
	    client->fd < 0)
		return;
	delist(metrics, client);
	enlist(metrics, client);
}

static void cut_overdue(struct fw_metrics *metrics)
{
	uint64_t now_ns = fw_now_ns();

	while (metrics->first && metrics->first->until_ns <= now_ns)
		cut(metrics, metrics->first);
}

/* ---- answers ---------------------------------------------------------------- */

static enum MHD_Result respond(struct MHD_Connection *connection,
			       unsigned int status, const char *type,
			       char *body)
{
	struct MHD_Response *response;
	enum MHD_Result result;

	/* Takes `body` on success only. */
	response = MHD_create_response_from_buffer(strlen(body), body,
						   MHD_RESPMEM_MUST_FREE);
	if (!response) {
		free(body);
		return MHD_NO;
	}
	result = MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
					 type);
	if (result == MHD_YES) {
		result = MHD_add_response_header(response, MHD_HTTP_HEADER_VARY,
						 MHD_HTTP_HEADER_ACCEPT);
	}
	if (result == MHD_YES && status == MHD_HTTP_METHOD_NOT_ALLOWED) {
		result = MHD_add_response_header(
			response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	}
	if (result == MHD_YES)
		result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result respond_text(struct MHD_Connection *connection,
				    unsigned int status, const char *text)
{
	char *body = NULL;

	fw_errorf(&body, "%s\n", text);
	if (!body)
		return MHD_NO;
	return respond(connection, status, "text/plain; charset=utf-8", body);
}

static enum MHD_Result respond_health(struct fw_metrics *metrics,
				      struct MHD_Connection *connection)
{
	const char *trouble = fw_exposition_trouble(metrics->daemon);

	if (trouble) {
		return respond_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE,
				    trouble);
	}
	return respond_text(connection, MHD_HTTP_OK, "ok");
}

static enum MHD_Result respond_metrics(struct fw_metrics *metrics,
				       struct MHD_Connection *connection)
{
	const char *accept = MHD_lookup_connection_value(
		connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT);
	enum fw_metric_form form = fw_metric_negotiate(accept);
	char *body = fw_exposition_metrics(metrics->daemon, form);

	if (!body)
		return MHD_NO;
	return respond(connection, MHD_HTTP_OK, fw_metric_content_type(form),
		       body);
}

static enum MHD_Result on_request(void *data, struct MHD_Connection *connection,
				  const char *url, const char *method,
				  const char *version, const char *upload,
				  size_t *upload_size, void **state)
{
	struct fw_metrics *metrics = data;

	(void)version;
	(void)upload;
	/* A body is of no use to us: swallow it, or HTTP loses its step. */
	if (!*state) {
		*state = metrics;
		return MHD_YES;
	}
	if (*upload_size) {
		*upload_size = 0;
		return MHD_YES;
	}
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 &&
	    strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
		return respond_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED,
				    "only GET and HEAD are answered");
	}
	if (strcmp(url, "/metrics") == 0)
		return respond_metrics(metrics, connection);
	if (strcmp(url, "/healthz") == 0)
		return respond_health(metrics, connection);
	return respond_text(connection, MHD_HTTP_NOT_FOUND,
			    "there is /metrics and /healthz");
}

/* ---- in the loop -------------------------------------------------------------- */

/* Until the first client is overdue. */
static uint64_t ms_left(const struct fw_metrics *metrics)
{
	uint64_t now_ns = fw_now_ns();

	if (!metrics->first)
		return FW_TIMER_NEVER;
	if (metrics->first->until_ns <= now_ns)
		return 0;
	return (metrics->first->until_ns - now_ns) / NS_PER_MS + 1;
}

static void run(struct fw_metrics *metrics)
{
	MHD_UNSIGNED_LONG_LONG ms, left;

	cut_overdue(metrics);
	(void)MHD_run(metrics->http);
	if (MHD_get_timeout(metrics->http, &ms) != MHD_YES)
		ms = FW_TIMER_NEVER;
	left = ms_left(metrics);
	(void)fw_timer_arm(metrics->timer, left < ms ? left : ms, 0);
}

static void on_ready(void *data, uint32_t events)
{
	(void)events;
	run(data);
}

static void on_timer(void *data)
{
	run(data);
}

/* ---- the socket ---------------------------------------------------------------- */

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static int parse_address(const char *text, union address *ret,
			 socklen_t *ret_len)
{
	char host[64];
	const char *colon = strrchr(text, ':');
	unsigned long port;
	size_t n;
	char *end;

	if (!colon || colon[1] < '0' || colon[1] > '9')
		return -EINVAL;
	port = strtoul(colon + 1, &end, 10);
	n = (size_t)(colon - text);
	if (*end || port < 1 || port > UINT16_MAX || n >= sizeof(host))
		return -EINVAL;
	memset(ret, 0, sizeof(*ret));
	if (n > 2 && text[0] == '[' && text[n - 1] == ']') {
		(void)snprintf(host, sizeof(host), "%.*s", (int)n - 2,
			       text + 1);
		ret->v6.sin6_family = AF_INET6;
		ret->v6.sin6_port = htons((uint16_t)port);
		*ret_len = sizeof(ret->v6);
		return inet_pton(AF_INET6, host, &ret->v6.sin6_addr) == 1
			       ? 0
			       : -EINVAL;
	}
	(void)snprintf(host, sizeof(host), "%.*s", (int)n, text);
	ret->v4.sin_family = AF_INET;
	ret->v4.sin_port = htons((uint16_t)port);
	*ret_len = sizeof(ret->v4);
	return inet_pton(AF_INET, host, &ret->v4.sin_addr) == 1 ? 0 : -EINVAL;
}

static int listen_at(const char *text, int *ret_fd, char **reterr)
{
	_cleanup_close_ int fd = -1;
	union address address;
	socklen_t len = 0;
	int one = 1;
	int r;

	r = parse_address(text, &address, &len);
	if (r < 0) {
		fw_errorf(
			reterr,
			"'%s' is no address for metrics; give ADDR:PORT, [ADDR6]:PORT or off",
			text);
		return r;
	}
	fd = socket(address.any.sa_family,
		    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* Free-bind: in a new namespace the loopback may not be up yet. */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof(one)) < 0)
		return -errno;
	if (bind(fd, &address.any, len) < 0 || listen(fd, BACKLOG) < 0) {
		r = -errno;
		fw_errorf(reterr, "cannot serve metrics on %s: %s", text,
			  strerror(-r));
		return r;
	}
	*ret_fd = take_fd(&fd);
	return 0;
}

static int start_http(struct fw_metrics *metrics, int listen_fd)
{
	const union MHD_DaemonInfo *info;

	metrics->http = MHD_start_daemon(
		MHD_USE_EPOLL, 0, NULL, NULL, on_request, metrics,
		MHD_OPTION_LISTEN_SOCKET, listen_fd,
		MHD_OPTION_CONNECTION_LIMIT, MAX_CLIENTS + MAX_CUT,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, metrics,
		MHD_OPTION_NOTIFY_COMPLETED, on_completed, metrics,
		MHD_OPTION_CONNECTION_TIMEOUT, TIMEOUT_S, MHD_OPTION_END);
	if (!metrics->http)
		return -ENOMEM;
	info = MHD_get_daemon_info(metrics->http, MHD_DAEMON_INFO_EPOLL_FD);
	if (!info)
		return -EINVAL;
	metrics->watch = fw_watch_new(metrics->daemon->loop, info->epoll_fd,
				      EPOLLIN, on_ready, metrics);
	if (!metrics->watch)
		return -errno;
	metrics->timer = fw_timer_new(metrics->daemon->loop, on_timer, metrics);
	return metrics->timer ? 0 : -errno;
}

int fw_metrics_new(struct fw_daemon *daemon, const char *address,
		   struct fw_metrics **ret, char **reterr)
{
	struct fw_metrics *metrics;
	_cleanup_close_ int fd = -1;
	int r;

	r = listen_at(address, &fd, reterr);
	if (r < 0)
		return r;
	metrics = calloc(1, sizeof(*metrics));
	if (!metrics)
		return -ENOMEM;
	metrics->daemon = daemon;
	r = start_http(metrics, fd);
	if (metrics->http)
		(void)take_fd(&fd); /* closed by MHD_stop_daemon() */
	if (r < 0) {
		fw_metrics_free(metrics);
		return r;
	}
	*ret = metrics;
	return 0;
}

void fw_metrics_free(struct fw_metrics *metrics)
{
	if (!metrics)
		return;
	fw_watch_free(metrics->watch);
	fw_timer_free(metrics->timer);
	if (metrics->http)
		MHD_stop_daemon(metrics->http);
	free(metrics);
}
