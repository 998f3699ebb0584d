/* SPDX-License-Identifier: GPL-2.0-only */

/* The client's side of the control protocol. */
#include "user/client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "user/mounts.h"
#include "user/start.h"
#include "user/util.h"

#define ANSWER_MS 300000 /* a load of millions of prefixes takes a while */
#define TRIES	  3	 /* a daemon may end just when we come */

void fw_complain(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)fputs("fwctl: ", stderr);
	(void)vfprintf(stderr, format, args);
	(void)fputc('\n', stderr);
	va_end(args);
}

enum fw_exit fw_print_json(const json_t *json)
{
	if (!json) {
		fw_complain("fwctld has sent no sensible reply");
		return FW_EXIT_REQUEST;
	}
	if (json_dumpf(json, stdout, JSON_INDENT(2)) < 0 ||
	    putchar('\n') == EOF) {
		fw_complain("cannot print the result: %s", strerror(errno));
		return FW_EXIT_REQUEST;
	}
	return FW_EXIT_OK;
}

struct fw_conversation {
	struct fw_cli *cli;
	json_t *request;
	int file_fd; /* the file of the call, or -1 */
	int fd;	     /* socket, or -1 */
	int tries;
	struct fw_buf in;
};

/* ---- one conversation ---------------------------------------------------------- */

static int connect_to(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = -1;

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	memcpy(addr.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -errno;
	return take_fd(&fd);
}

/* As send(), with a descriptor unless that is -1. */
static ssize_t send_some(int fd, const struct fw_buf *buf, int file_fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec vec = { buf->data + buf->head, fw_buf_used(buf) };
	struct msghdr message = { .msg_iov = &vec, .msg_iovlen = 1 };
	struct cmsghdr *header;

	if (file_fd >= 0) {
		message.msg_control = &control;
		message.msg_controllen = sizeof(control);
		header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(header), &file_fd, sizeof(int));
	}
	return sendmsg(fd, &message, MSG_NOSIGNAL);
}

static int send_all(int fd, struct fw_buf *buf, int file_fd)
{
	while (fw_buf_used(buf)) {
		ssize_t n;

		n = send_some(fd, buf, file_fd);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		file_fd = -1;
		fw_buf_consume(buf, (size_t)n);
	}
	return 0;
}

/* The file of a call, sealed; *ret_fd is -1 if there is none. */
static int take_file(const struct fw_call *call, int *ret_fd)
{
	int fd;

	*ret_fd = -1;
	if (!call->file)
		return 0;
	if (call->file->bytes > FW_PROTO_MAX_FILE)
		return -EMSGSIZE;
	fd = fw_textfile_seal(call->file);
	if (fd < 0)
		return fd;
	*ret_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return *ret_fd < 0 ? -errno : 0;
}

/* 0, -ETIMEDOUT, or -ECANCELED if the caller has enough. */
static int await_more(const struct fw_call *call, int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	int r;

	if (call->wait)
		return call->wait(call->data, fd) ? -ECANCELED : 0;
	do {
		r = poll(&poll_fd, 1, ANSWER_MS);
	} while (r < 0 && errno == EINTR);
	return r == 0 ? -ETIMEDOUT : 0;
}

static int receive_frame(const struct fw_call *call, int fd, struct fw_buf *in,
			 json_t **ret)
{
	for (;;) {
		ssize_t n;
		int r;

		r = fw_frame_take(in, FW_PROTO_MAX_REPLY, ret, NULL);
		if (r != 0)
			return r;
		r = await_more(call, fd);
		if (r < 0)
			return r;
		r = fw_buf_reserve(in, 65536);
		if (r < 0)
			return r;
		n = recv(fd, in->data + in->len, in->size - in->len, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ECONNRESET;
		in->len += (size_t)n;
	}
}

/* Rows that arrive: to the caller, or into an array for the result. */
static void take_rows(const struct fw_call *call, json_t *items, json_t *rows)
{
	json_t *row;
	size_t i;

	json_array_foreach(items, i, row)
	{
		if (call->row) {
			call->row(call->data, row);
		} else {
			(void)json_array_append(rows, row);
		}
	}
}

/* 1 with the final reply, or a negative errno; -ECONNRESET: no reply at all. */
static int receive_reply(struct fw_conversation *conversation,
			 const struct fw_call *call, json_t **ret)
{
	_cleanup_json_ json_t *rows = json_array();
	bool has_rows = false;
	int r;

	for (;;) {
		_cleanup_json_ json_t *frame = NULL;
		json_t *items, *result;
		const char *list;

		r = receive_frame(call, conversation->fd, &conversation->in,
				  &frame);
		if (r < 0)
			break;
		items = json_object_get(frame, "items");
		if (items) {
			has_rows = true;
			take_rows(call, items, rows);
			continue;
		}
		result = json_object_get(frame, "result");
		list = json_string_value(json_object_get(result, "list"));
		if (list && !call->row)
			(void)json_object_set(result, list, rows);
		(void)json_object_del(result, "list");
		*ret = take_ptr(frame);
		break;
	}
	/* A list that ends early must not look like an attempt worth repeating. */
	return r == -ECONNRESET && has_rows ? -EPIPE : r;
}

/* ---- with a daemon, one way or another ------------------------------------------- */

static bool is_nobody(int r)
{
	return r == -ENOENT || r == -ECONNREFUSED || r == -ECONNRESET ||
	       r == -EPIPE;
}

/* One client starts it, the others wait and use the same one. */
static int start_and_connect(const struct fw_paths *paths)
{
	_cleanup_close_ int lock_fd = -1;
	int fd;

	lock_fd = fw_start_lock(paths);
	if (lock_fd < 0)
		return lock_fd;
	fd = connect_to(paths->socket);
	if (!is_nobody(fd))
		return fd;
	(void)fw_start_daemon(paths);
	return connect_to(paths->socket);
}

/* Nobody is connected to: an idle daemon takes the end of that for its own. */
static void start_if_missing(const struct fw_paths *paths)
{
	_cleanup_close_ int lock_fd = -1;

	fw_mounts_join_outer();
	lock_fd = fw_start_lock(paths);
	if (lock_fd >= 0 && access(paths->socket, F_OK) < 0)
		(void)fw_start_daemon(paths);
}

/* Connected, or FW_EXIT_*; `ret_fd` is set with FW_EXIT_OK. */
static enum fw_exit reach(struct fw_cli *cli, const struct fw_call *call,
			  int *ret_fd)
{
	int fd;

	fd = connect_to(cli->paths.socket);
	if (is_nobody(fd)) {
		if (call->start == FW_START_NEVER)
			return FW_EXIT_NO_DAEMON;
		fw_mounts_join_outer();
		if (call->start == FW_START_IF_PINNED &&
		    !fw_paths_pinned(&cli->paths)) {
			if (!call->silent)
				fw_complain("nothing is loaded");
			return FW_EXIT_NO_DAEMON;
		}
		fd = start_and_connect(&cli->paths);
		if (is_nobody(fd))
			return FW_EXIT_NO_DAEMON;
	}
	if (fd < 0) {
		if (!call->silent)
			fw_complain("cannot reach fwctld at '%s': %s",
				    cli->paths.socket, strerror(-fd));
		return FW_EXIT_NO_DAEMON;
	}
	*ret_fd = fd;
	return FW_EXIT_OK;
}

static enum fw_exit init_paths(struct fw_cli *cli, const char *verb,
			       unsigned long *ret_netns)
{
	bool is_first;
	int r;

	if (geteuid() != 0) {
		fw_complain("'%s' must be run as root", verb);
		return FW_EXIT_NO_DAEMON;
	}
	r = fw_paths_init(&cli->paths, cli->run_dir, cli->pin_dir);
	if (r == -EINVAL) {
		fw_complain("--run-dir and --pin-dir take absolute paths");
		return FW_EXIT_USAGE;
	}
	if (r >= 0)
		r = fw_paths_netns(ret_netns, &is_first);
	if (r < 0) {
		fw_complain("cannot tell where the socket of fwctld is: %s",
			    strerror(-r));
		return FW_EXIT_NO_DAEMON;
	}
	return FW_EXIT_OK;
}

void fw_client_wake(struct fw_cli *cli)
{
	int null_fd;

	if (geteuid() != 0 ||
	    fw_paths_init(&cli->paths, cli->run_dir, cli->pin_dir) < 0 ||
	    access(cli->paths.socket, F_OK) == 0 || fork() != 0)
		return;
	null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (null_fd >= 0 && dup2(null_fd, STDOUT_FILENO) >= 0 &&
	    dup2(null_fd, STDERR_FILENO) >= 0)
		start_if_missing(&cli->paths);
	_exit(EXIT_SUCCESS);
}

static enum fw_exit judge_reply(const struct fw_call *call, const json_t *reply,
				json_t **ret_result)
{
	json_t *result = json_object_get(reply, "result");
	const char *error;
	json_int_t status;
	bool is_said;

	if (json_is_object(result)) {
		*ret_result = json_incref(result);
		return FW_EXIT_OK;
	}
	error = json_string_value(json_object_get(reply, "error"));
	status = json_integer_value(json_object_get(reply, "status"));
	is_said = call->refused && call->refused(call->data, reply);
	if (!is_said && (!call->silent || status != FW_EXIT_NO_DAEMON)) {
		fw_complain("%s", error ? error
					: "fwctld has sent no sensible reply");
	}
	return status >= FW_EXIT_REQUEST && status <= FW_EXIT_KERNEL
		       ? (enum fw_exit)status
		       : FW_EXIT_REQUEST;
}

static int make_request(struct fw_conversation *conversation,
			const struct fw_call *call, unsigned long netns)
{
	json_t *args = call->args ? json_incref(call->args) : json_object();

	conversation->request = json_pack(
		"{s:i, s:s, s:I, s:o}", "version", FW_PROTO_VERSION, "verb",
		call->verb, "netns", (json_int_t)netns, "args", args);
	if (!conversation->request)
		return -ENOMEM;
	return take_file(call, &conversation->file_fd);
}

static enum fw_exit complain_of(int r)
{
	if (r == -EMSGSIZE) {
		fw_complain("what there is to send is larger than %u MiB",
			    FW_PROTO_MAX_REQUEST >> 20);
		return FW_EXIT_REQUEST;
	}
	fw_complain("fwctld does not answer: %s", strerror(-r));
	return FW_EXIT_NO_DAEMON;
}

static int send_frame(const struct fw_conversation *conversation,
		      const json_t *frame, int file_fd)
{
	struct fw_buf out = { 0 };
	int r;

	r = fw_frame_put(&out, frame, FW_PROTO_MAX_REQUEST);
	/* Also after a broken pipe there may be a reply that says why. */
	if (r == 0)
		(void)send_all(conversation->fd, &out, file_fd);
	fw_buf_done(&out);
	return r;
}

static enum fw_exit send_request(struct fw_conversation *conversation,
				 const struct fw_call *call,
				 const json_t *request)
{
	enum fw_exit status;
	int r;

	fw_closep(&conversation->fd);
	conversation->fd = -1;
	fw_buf_done(&conversation->in);
	conversation->tries++;
	status = reach(conversation->cli, call, &conversation->fd);
	if (status != FW_EXIT_OK)
		return status;
	r = send_frame(conversation, request, conversation->file_fd);
	return r < 0 ? complain_of(r) : FW_EXIT_OK;
}

/* Takes the arguments of the call. */
static enum fw_exit new_conversation(struct fw_cli *cli,
				     const struct fw_call *call,
				     struct fw_conversation **ret)
{
	struct fw_conversation *conversation;
	unsigned long netns = 0;
	enum fw_exit status;
	int r;

	status = init_paths(cli, call->verb, &netns);
	if (status != FW_EXIT_OK) {
		json_decref(call->args);
		return status;
	}
	conversation = calloc(1, sizeof(*conversation));
	if (!conversation) {
		json_decref(call->args);
		return complain_of(-ENOMEM);
	}
	conversation->cli = cli;
	conversation->fd = conversation->file_fd = -1;
	r = make_request(conversation, call, netns);
	json_decref(call->args);
	if (r < 0) {
		fw_client_end(conversation);
		return complain_of(r);
	}
	*ret = conversation;
	return FW_EXIT_OK;
}

enum fw_exit fw_client_send(struct fw_cli *cli, const struct fw_call *call,
			    struct fw_conversation **ret)
{
	struct fw_conversation *conversation = NULL;
	enum fw_exit status;

	status = new_conversation(cli, call, &conversation);
	if (status == FW_EXIT_OK) {
		status =
			send_request(conversation, call, conversation->request);
	}
	if (status != FW_EXIT_OK) {
		fw_client_end(conversation);
		return status;
	}
	*ret = conversation;
	return FW_EXIT_OK;
}

enum fw_exit fw_client_receive(struct fw_conversation *conversation,
			       const struct fw_call *call, json_t **ret_result)
{
	_cleanup_json_ json_t *reply = NULL;
	enum fw_exit status;
	int r;

	r = receive_reply(conversation, call, &reply);
	while (r == -ECONNRESET && conversation->tries < TRIES) {
		status =
			send_request(conversation, call, conversation->request);
		if (status != FW_EXIT_OK)
			return status;
		r = receive_reply(conversation, call, &reply);
	}
	if (r == -ECANCELED) {
		*ret_result = NULL;
		return FW_EXIT_OK;
	}
	if (r < 0 && r != -EMSGSIZE && call->silent)
		return FW_EXIT_NO_DAEMON;
	if (r == -EPIPE && call->wait) {
		fw_complain("fwctld has ended");
		return FW_EXIT_NO_DAEMON;
	}
	return r < 0 ? complain_of(r) : judge_reply(call, reply, ret_result);
}

void fw_client_end(struct fw_conversation *conversation)
{
	if (!conversation)
		return;
	json_decref(conversation->request);
	fw_closep(&conversation->file_fd);
	fw_closep(&conversation->fd);
	fw_buf_done(&conversation->in);
	free(conversation);
}

enum fw_exit fw_client_call(struct fw_cli *cli, const struct fw_call *call,
			    json_t **ret_result)
{
	struct fw_conversation *conversation = NULL;
	enum fw_exit status;

	status = fw_client_send(cli, call, &conversation);
	if (status == FW_EXIT_OK)
		status = fw_client_receive(conversation, call, ret_result);
	fw_client_end(conversation);
	return status;
}
