/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The control socket.
 *
 * A client is either being read from or being written to, never both: while a
 * reply is on its way nothing more is read, and rows of a list are made only when
 * the ones before are gone. So one client costs at most one request and one
 * frame of reply, and who does not read or write for a while is cut off, unless the
 * list is one that is read by people. One frame is made in a turn of the loop, however
 * fast it is read. A stream is a reply that does not end: its client may take any time,
 * and misses what there is no room for.
 */
#include "user/control.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "user/log.h"
#include "user/loop.h"
#include "user/util.h"

#define PATIENCE_MS 10000
#define READ_BYTES  65536u
#define LATER_MS    10 /* see FW_ROWS_LATER */

struct fw_request { /* one client */
	struct fw_control *control;
	struct fw_request *next;
	int fd;
	struct fw_watch *watch;
	struct fw_timer *timer;
	struct fw_buf in;
	int file_fd; /* what came along with the request; -1: nothing */
	struct fw_buf out;
	struct fw_rows rows;	 /* next == NULL: no list under way */
	json_t *last;		 /* the reply that follows the list */
	struct fw_stream stream; /* free == NULL: none */
	bool is_replying;
	bool is_patient; /* until the reply is through */
	bool is_waiting; /* for rows, see FW_ROWS_LATER */
	bool is_closing; /* nothing more will be read */
};

struct fw_control {
	struct fw_loop *loop;
	struct fw_control_config config;
	char *path;
	int fd;
	struct fw_watch *watch;
	struct fw_request *clients;
	size_t n_clients;
	bool is_finishing;
};

/* ---- one client ---------------------------------------------------------- */

static void drop_rows(struct fw_request *client)
{
	if (client->rows.next && client->rows.free)
		client->rows.free(client->rows.data);
	client->rows = (struct fw_rows){ 0 };
	json_decref(client->last);
	client->last = NULL;
}

static bool is_streaming(const struct fw_request *client)
{
	return client->stream.free;
}

static void drop_stream(struct fw_request *client)
{
	struct fw_stream stream = client->stream;

	client->stream = (struct fw_stream){ 0 };
	if (stream.free)
		stream.free(stream.data);
}

static void client_free(struct fw_request *client)
{
	struct fw_control *control = client->control;

	for (struct fw_request **p = &control->clients; *p; p = &(*p)->next) {
		if (*p == client) {
			*p = client->next;
			control->n_clients--;
			break;
		}
	}
	fw_watch_free(client->watch);
	fw_timer_free(client->timer);
	(void)close(client->fd);
	fw_closep(&client->file_fd);
	fw_buf_done(&client->in);
	fw_buf_done(&client->out);
	drop_rows(client);
	drop_stream(client);
	free(client);
	if (control->clients)
		return;
	if (control->is_finishing) {
		fw_loop_stop(control->loop);
	} else if (control->config.on_idle) {
		control->config.on_idle(control->config.data);
	}
}

/* Wait for the client, for a while. */
static int be_patient(struct fw_request *client)
{
	unsigned int ms = client->control->config.patience_ms;

	if (client->is_waiting) /* the timer has something else to do */
		return 0;
	if (is_streaming(client) ||
	    (client->is_patient && !client->control->is_finishing))
		return fw_timer_arm(client->timer, FW_TIMER_NEVER, 0);
	return fw_timer_arm(client->timer, ms ? ms : PATIENCE_MS, 0);
}

/* Write what fits; 0 when all is gone, -EAGAIN when the client must read first. */
static int flush_out(struct fw_request *client)
{
	struct fw_buf *out = &client->out;

	while (fw_buf_used(out)) {
		ssize_t n;

		n = send(client->fd, out->data + out->head, fw_buf_used(out),
			 MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		fw_buf_consume(out, (size_t)n);
		(void)be_patient(client);
	}
	return 0;
}

/* Put the frame that ends a list. */
static int end_rows(struct fw_request *client)
{
	int r = 0;

	if (client->rows.end)
		client->rows.end(client->rows.data, client);
	else
		r = fw_frame_put(&client->out, client->last,
				 FW_PROTO_MAX_REPLY);
	drop_rows(client);
	return r < 0 ? r : 0;
}

/* Put the next frame of a list, or the one that ends it. */
static int put_rows(struct fw_request *client)
{
	_cleanup_json_ json_t *frame = NULL;
	json_t *items;
	int r, more;

	items = json_array();
	frame = json_pack("{s:o}", "items", items);
	if (!frame)
		return -ENOMEM;
	more = client->rows.next(client->rows.data, items);
	if (more < 0)
		return more;
	if (json_array_size(items)) {
		r = fw_frame_put(&client->out, frame, FW_PROTO_MAX_REPLY);
		if (r < 0)
			return r;
	}
	if (!more)
		return end_rows(client);
	client->is_waiting = more == FW_ROWS_LATER;
	return client->is_waiting ? fw_timer_arm(client->timer, LATER_MS, 0)
				  : 0;
}

/* All is written: there may be more now. 1: it waits, if only for news. */
static int go_on_streaming(struct fw_request *client)
{
	client->stream.drained(client->stream.data);
	return 1;
}

/* What the loop is to tell of a client. */
static uint32_t events_of(const struct fw_request *client)
{
	bool is_idle = is_streaming(client) || client->is_waiting;

	if (!client->is_replying)
		return EPOLLIN;
	/* That it hangs up is told anyway. */
	return is_idle && !fw_buf_used(&client->out) ? 0 : EPOLLOUT;
}

/*
 * Go on writing; 0 when the reply is through, 1 if it waits for the client, or for
 * those who have been waiting while a piece of a list was made.
 */
static int go_on(struct fw_request *client)
{
	bool was_turn = false;
	int r;

	for (;;) {
		r = flush_out(client);
		if (r == -EAGAIN)
			return 1;
		if (r < 0)
			return r;
		if (is_streaming(client))
			return go_on_streaming(client);
		if (!client->rows.next)
			return 0;
		if (was_turn)
			return 1;
		r = put_rows(client);
		if (r < 0)
			return r;
		was_turn = true;
	}
}

static void reply_done(struct fw_request *client)
{
	client->is_replying = false;
	client->is_patient = false;
	(void)be_patient(client);
}

static const struct fw_verb *find_verb(const struct fw_control *control,
				       const char *name)
{
	for (size_t i = 0; i < control->config.n_verbs; i++) {
		if (strcmp(control->config.verbs[i].name, name) == 0)
			return &control->config.verbs[i];
	}
	return NULL;
}

static void dispatch(struct fw_request *client, json_t *body)
{
	unsigned long own = client->control->config.netns;
	const struct fw_verb *verb;
	json_int_t version, netns;
	const char *name;
	json_t *args;

	client->is_replying = true;
	if (json_unpack(body, "{s:I, s:s, s:I, s:o}", "version", &version,
			"verb", &name, "netns", &netns, "args", &args) < 0) {
		fw_reply_error(client, FW_EXIT_REQUEST,
			       "request lacks version, verb, netns or args");
		return;
	}
	if (version != FW_PROTO_VERSION) {
		fw_reply_error(
			client, FW_EXIT_NO_DAEMON,
			"fwctld %s speaks version %d of the control protocol, fwctl version %lld; restart fwctld",
			FW_VERSION, FW_PROTO_VERSION, (long long)version);
		return;
	}
	if (netns != (json_int_t)own) {
		fw_reply_error(
			client, FW_EXIT_REQUEST,
			"this fwctld serves network namespace net:[%lu], fwctl runs in net:[%lld]; run fwctl there, or give each its own --run-dir",
			own, (long long)netns);
		return;
	}
	verb = find_verb(client->control, name);
	if (!verb) {
		fw_reply_error(client, FW_EXIT_REQUEST,
			       "fwctld %s does not know the request '%s'",
			       FW_VERSION, name);
		return;
	}
	verb->fn(client->control->config.data, client, args);
}

/* Work off complete requests, as long as each is answered at once. */
static int serve(struct fw_request *client)
{
	for (;;) {
		_cleanup_json_ json_t *body = NULL;
		_cleanup_free_ char *error = NULL;
		int r;

		r = fw_frame_take(&client->in, FW_PROTO_MAX_REQUEST, &body,
				  &error);
		if (r == 0)
			return 0;
		if (r == 1) {
			dispatch(client, body);
			fw_closep(&client->file_fd);
			client->file_fd = -1;
		} else {
			client->is_replying = true;
			client->is_closing = true;
			fw_reply_error(client, FW_EXIT_REQUEST, "%s",
				       r == -EMSGSIZE ? "request is too long"
				       : error	      ? error
						      : strerror(-r));
		}
		r = go_on(client);
		if (r != 0)
			return r;
		reply_done(client);
		if (client->is_closing)
			return -ECONNRESET;
	}
}

/* Keep a descriptor that came with the bytes; one at a time. */
static int take_file(struct fw_request *client, struct msghdr *message)
{
	struct cmsghdr *header = CMSG_FIRSTHDR(message);
	int fd;

	if (!header)
		return 0;
	if (header->cmsg_level != SOL_SOCKET ||
	    header->cmsg_type != SCM_RIGHTS ||
	    header->cmsg_len != CMSG_LEN(sizeof(fd)))
		return -EBADMSG;
	memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	if (client->file_fd >= 0) {
		(void)close(fd);
		return -EBADMSG;
	}
	client->file_fd = fd;
	return 0;
}

/* As recv(); the kernel itself closes descriptors that there is no room for. */
static ssize_t receive(struct fw_request *client, void *to, size_t size)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec vec = { to, size };
	struct msghdr message = {
		.msg_iov = &vec,
		.msg_iovlen = 1,
		.msg_control = &control,
		/* CMSG_SPACE() might have room for two. */
		.msg_controllen = CMSG_LEN(sizeof(int)),
	};
	ssize_t n;
	int r;

	n = recvmsg(client->fd, &message, MSG_CMSG_CLOEXEC);
	if (n < 0)
		return -errno;
	r = take_file(client, &message);
	return r < 0 ? r : n;
}

static int read_in(struct fw_request *client)
{
	struct fw_buf *in = &client->in;
	ssize_t n;
	int r;

	r = fw_buf_reserve(in, READ_BYTES);
	if (r < 0)
		return r;
	n = receive(client, in->data + in->len, in->size - in->len);
	if (n == -EAGAIN || n == -EINTR)
		return 0;
	if (n <= 0)
		return n < 0 ? (int)n : -ECONNRESET;
	in->len += (size_t)n;
	(void)be_patient(client);
	return 0;
}

static void on_client(void *data, uint32_t events)
{
	struct fw_request *client = data;
	int r = 0;

	if (client->is_replying) {
		if (events & (EPOLLERR | EPOLLHUP)) {
			client_free(client);
			return;
		}
		r = go_on(client);
		if (r == 0)
			reply_done(client);
		if (r == 0 && client->is_closing)
			r = -ECONNRESET;
	} else {
		r = read_in(client);
	}
	if (r == 0)
		r = serve(client);
	if (r >= 0) {
		r = fw_watch_set(client->watch, events_of(client));
	}
	if (r < 0)
		client_free(client);
}

static void on_timeout(void *data)
{
	struct fw_request *client = data;

	if (client->is_waiting) {
		client->is_waiting = false;
		(void)be_patient(client);
		on_client(client, 0);
		return;
	}
	log_debug("a client neither reads nor writes, disconnecting it");
	client_free(client);
}

/* ---- the file of a request ------------------------------------------------- */

static int read_file(int fd, char *data, size_t len)
{
	size_t at = 0;

	while (at < len) {
		ssize_t n = pread(fd, data + at, len - at, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EBADMSG;
		at += (size_t)n;
	}
	return 0;
}

static int check_file(const struct fw_request *request, size_t *ret_len)
{
	struct stat st;
	int seals;

	if (request->file_fd < 0)
		return -ENOENT;
	if (fstat(request->file_fd, &st) < 0)
		return -errno;
	seals = fcntl(request->file_fd, F_GET_SEALS);
	if (seals < 0 || (seals & FW_PROTO_SEALS) != FW_PROTO_SEALS)
		return -EBADMSG;
	if (st.st_size > FW_PROTO_MAX_FILE)
		return -EMSGSIZE;
	*ret_len = (size_t)st.st_size;
	return 0;
}

int fw_request_map(const struct fw_request *request, const char **ret_data,
		   size_t *ret_len)
{
	void *data;
	int r;

	r = check_file(request, ret_len);
	if (r < 0)
		return r;
	*ret_data = NULL;
	if (!*ret_len)
		return 0;
	/* Before Linux 6.7 what is sealed could not be mapped to be shared. */
	data = mmap(NULL, *ret_len, PROT_READ, MAP_PRIVATE, request->file_fd,
		    0);
	if (data == MAP_FAILED)
		return -errno;
	*ret_data = data;
	return 0;
}

int fw_request_file(const struct fw_request *request, char **ret_data,
		    size_t *ret_len)
{
	_cleanup_free_ char *data = NULL;
	size_t len;
	int r;

	r = check_file(request, &len);
	if (r < 0)
		return r;
	data = malloc(len + 1);
	if (!data)
		return -ENOMEM;
	r = read_file(request->file_fd, data, len);
	if (r < 0)
		return r;
	data[len] = '\0';
	*ret_data = take_ptr(data);
	*ret_len = len;
	return 0;
}

/* ---- replies ------------------------------------------------------------- */

static void put_reply(struct fw_request *request, json_t *reply)
{
	if (reply &&
	    fw_frame_put(&request->out, reply, FW_PROTO_MAX_REPLY) == 0)
		return;
	/* Without memory for a reply the client gets none: it sees EOF. */
	request->is_closing = true;
}

void fw_reply(struct fw_request *request, json_t *result)
{
	_cleanup_json_ json_t *reply = NULL;

	if (!result) {
		fw_reply_error(request, FW_EXIT_REQUEST,
			       "fwctld is out of memory");
		return;
	}
	reply = json_pack("{s:i, s:i, s:o}", "version", FW_PROTO_VERSION,
			  "status", FW_EXIT_OK, "result", result);
	put_reply(request, reply);
}

void fw_reply_flush(struct fw_request *request)
{
	/* What is left, and what is wrong, the loop finds out. */
	(void)flush_out(request);
}

void fw_reply_error(struct fw_request *request, enum fw_exit status,
		    const char *format, ...)
{
	char text[2048];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	fw_reply_refusal(request, status, text, NULL);
}

void fw_reply_refusal(struct fw_request *request, enum fw_exit status,
		      const char *text, json_t *more)
{
	_cleanup_json_ json_t *reply = NULL;

	reply = json_pack("{s:i, s:i, s:o}", "version", FW_PROTO_VERSION,
			  "status", (int)status, "error", fw_json_text(text));
	if (reply && more)
		(void)json_object_update_missing(reply, more);
	json_decref(more);
	put_reply(request, reply);
}

void fw_reply_rows(struct fw_request *request, const struct fw_rows *rows,
		   json_t *result)
{
	json_t *last = NULL;

	if (rows->end) {
		request->rows = *rows;
		request->is_patient = rows->is_patient;
		(void)be_patient(request);
		return;
	}
	if (result &&
	    fw_json_set(result, "list", json_string(rows->list)) == 0) {
		last = json_pack("{s:i, s:i, s:O}", "version", FW_PROTO_VERSION,
				 "status", FW_EXIT_OK, "result", result);
	}
	json_decref(result);
	if (!last) {
		rows->free(rows->data);
		fw_reply(request, NULL);
		return;
	}
	request->rows = *rows;
	request->last = last;
}

void fw_reply_stream(struct fw_request *request, const struct fw_stream *stream)
{
	_cleanup_json_ json_t *hello = json_pack("{s:[]}", "items");

	request->stream = *stream;
	if (!hello ||
	    fw_frame_put(&request->out, hello, FW_PROTO_MAX_REPLY) < 0) {
		drop_stream(request);
		request->is_closing = true;
		return;
	}
	(void)be_patient(request);
}

bool fw_stream_has_room(struct fw_request *request)
{
	/* Much may come in one turn. What is wrong the loop finds out. */
	if (fw_buf_used(&request->out) >= FW_STREAM_BYTES)
		(void)flush_out(request);
	return fw_buf_used(&request->out) < FW_STREAM_BYTES;
}

int fw_stream_put(struct fw_request *request, json_t *item)
{
	_cleanup_json_ json_t *frame = json_pack("{s:[O]}", "items", item);
	int r;

	if (!frame)
		return -ENOMEM;
	if (!fw_stream_has_room(request))
		return -EAGAIN;
	r = fw_frame_put(&request->out, frame, FW_PROTO_MAX_REPLY);
	return r < 0 ? r : fw_watch_set(request->watch, EPOLLOUT);
}

void fw_stream_end(struct fw_request *request, enum fw_exit status,
		   const char *text)
{
	drop_stream(request);
	fw_reply_error(request, status, "%s", text);
	(void)flush_out(request);
	client_free(request);
}

struct array_rows {
	json_t *array;
	size_t i;
};

static int array_next(void *data, json_t *items)
{
	struct array_rows *rows = data;
	size_t n = json_array_size(rows->array);
	size_t end = rows->i + FW_PROTO_ROWS < n ? rows->i + FW_PROTO_ROWS : n;

	for (; rows->i < end; rows->i++) {
		if (json_array_append(items,
				      json_array_get(rows->array, rows->i)) < 0)
			return -ENOMEM;
	}
	return rows->i < n;
}

static void array_free(void *data)
{
	struct array_rows *rows = data;

	json_decref(rows->array);
	free(rows);
}

void fw_reply_array(struct fw_request *request, const char *list, json_t *array,
		    json_t *result)
{
	struct array_rows *rows;

	rows = calloc(1, sizeof(*rows));
	if (!rows || !array) {
		free(rows);
		json_decref(array);
		json_decref(result);
		fw_reply(request, NULL);
		return;
	}
	rows->array = array;
	fw_reply_rows(request,
		      &(struct fw_rows){ .list = list,
					 .next = array_next,
					 .free = array_free,
					 .data = rows },
		      result);
}

/* ---- the listening socket ------------------------------------------------- */

static int check_peer(int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	return cred.uid == 0 || cred.uid == geteuid() ? 0 : -EPERM;
}

static int client_new(struct fw_control *control, int fd)
{
	_cleanup_free_ struct fw_request *client = NULL;

	client = calloc(1, sizeof(*client));
	if (!client)
		return -ENOMEM;
	client->control = control;
	client->fd = fd;
	client->file_fd = -1;
	client->timer = fw_timer_new(control->loop, on_timeout, client);
	if (!client->timer)
		return -errno;
	client->watch =
		fw_watch_new(control->loop, fd, EPOLLIN, on_client, client);
	if (!client->watch || be_patient(client) < 0) {
		int r = -errno;

		fw_watch_free(client->watch);
		fw_timer_free(client->timer);
		return r;
	}
	client->next = control->clients;
	control->clients = take_ptr(client);
	control->n_clients++;
	return 0;
}

static void on_accept(void *data, uint32_t events)
{
	struct fw_control *control = data;
	_cleanup_close_ int fd = -1;
	int r;

	(void)events;
	fd = accept4(control->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0) {
		if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
			log_warning("cannot accept a client: %m");
		return;
	}
	r = check_peer(fd);
	if (r < 0) {
		log_warning("a client that is not root was turned away");
		return;
	}
	if (control->n_clients >= FW_PROTO_MAX_CLIENTS) {
		log_warning("more than %d clients, turning one away",
			    FW_PROTO_MAX_CLIENTS);
		return;
	}
	r = client_new(control, fd);
	if (r < 0) {
		log_warning("cannot serve a client: %s", strerror(-r));
	} else {
		(void)take_fd(&fd);
	}
}

/* 0 if nobody answers at the address and what lies there is a socket. */
static int clear_stale(const struct sockaddr_un *addr)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (lstat(addr->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 ||
	    errno != ECONNREFUSED)
		return -EADDRINUSE;
	return unlink(addr->sun_path) < 0 ? -errno : 0;
}

static int listen_at(const char *path, int *ret_fd)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = -1;
	mode_t mask;
	int r;

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	memcpy(addr.sun_path, path, strlen(path));
	r = clear_stale(&addr);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	mask = umask(0177);
	r = bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ? -errno : 0;
	(void)umask(mask);
	if (r < 0)
		return r;
	if (chmod(path, 0600) < 0 || listen(fd, FW_PROTO_MAX_CLIENTS) < 0)
		return -errno;
	*ret_fd = take_fd(&fd);
	return 0;
}

static int open_listener(struct fw_control *control)
{
	int r;

	control->fd = control->config.listen_fd;
	if (control->fd < 0) {
		r = listen_at(control->path, &control->fd);
		if (r < 0)
			return r;
	}
	control->watch = fw_watch_new(control->loop, control->fd, EPOLLIN,
				      on_accept, control);
	return control->watch ? 0 : -errno;
}

int fw_control_new(struct fw_loop *loop, const struct fw_control_config *config,
		   struct fw_control **ret, char **reterr)
{
	struct fw_control *control;
	int r = -ENOMEM;

	control = calloc(1, sizeof(*control));
	if (control) {
		control->loop = loop;
		control->config = *config;
		control->fd = -1;
		control->path = strdup(config->path);
		if (control->path)
			r = open_listener(control);
	}
	if (r < 0) {
		fw_errorf(reterr, "cannot listen on '%s': %s", config->path,
			  r == -EADDRINUSE ? "another fwctld answers there"
			  : r == -EEXIST
				  ? "there is something that is no socket"
				  : strerror(-r));
		fw_control_free(control);
		return r;
	}
	*ret = control;
	return 0;
}

static void close_listener(struct fw_control *control)
{
	if (control->fd < 0)
		return;
	fw_watch_free(control->watch);
	control->watch = NULL;
	(void)close(take_fd(&control->fd));
	/* A socket of systemd stays: it starts us again on the next request. */
	if (control->config.listen_fd < 0)
		(void)unlink(control->path);
}

/* They would never be served, or take their time. */
static void end_streams(struct fw_control *control)
{
	struct fw_request *next;

	for (struct fw_request *c = control->clients; c; c = next) {
		next = c->next;
		if (is_streaming(c))
			fw_stream_end(c, FW_EXIT_NO_DAEMON, "fwctld has ended");
		else if (c->is_patient)
			(void)be_patient(c);
	}
}

void fw_control_free(struct fw_control *control)
{
	if (!control)
		return;
	close_listener(control);
	control->config.on_idle = NULL;
	end_streams(control);
	while (control->clients)
		client_free(control->clients);
	free(control->path);
	free(control);
}

void fw_control_finish(struct fw_control *control)
{
	close_listener(control);
	control->is_finishing = true;
	end_streams(control);
	if (!control->clients)
		fw_loop_stop(control->loop);
}

size_t fw_control_clients(const struct fw_control *control)
{
	return control->n_clients;
}
