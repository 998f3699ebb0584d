/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Any bytes as what a client sends to the control socket, and any way of reading the
 * answer: all of it, or not at all. The server is the daemon's, in this process.
 *
 * An input is a byte that says what else happens, and parts of bytes, which are sent one
 * after the other. A load is compiled and not put in force; what else the verbs do needs
 * rules in the kernel: selftests/netns/test_hostile_control.py.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "user/captures.h"
#include "user/compilation.h"
#include "user/control.h"
#include "user/daemon.h"
#include "user/log.h"
#include "user/loop.h"
#include "user/messages.h"
#include "user/monitors.h"
#include "user/topserve.h"
#include "user/util.h"

#include "fuzz.h"

#define NETNS	  42
#define SENT_MOST 65536u /* so that a socket holds it, whoever reads */
#define FILE_MASK \
	0x03	      /* 1: a file comes along, 2: not sealed, 3: two of them */
#define HANGS_UP 0x04 /* as soon as all is sent */
#define ITEMS	 3    /* of a stream, before it ends */

static const char rules[] = "default in drop\naccept in proto tcp to port 22\n";

static struct {
	struct fw_loop *loop;
	struct fw_control *control;
	struct sockaddr_un addr;
	socklen_t addr_len;
	struct fw_request *stream; /* the one that streams, or NULL */
	int fd;			   /* the client's */
	struct fw_watch *watch;
	struct fw_buf in; /* what the client has read */
} fuzz;

/* ---- verbs ------------------------------------------------------------------------ */

static void handle_echo(void *data, struct fw_request *request,
			const json_t *args)
{
	(void)data;
	fw_reply(request, json_deep_copy(args));
}

/* Compiles as a load does. */
static void handle_load(void *data, struct fw_request *request,
			const json_t *args)
{
	struct fw_compilation *compilation = NULL;
	struct fw_program *program = NULL;
	struct fw_diag diag = { 0 };
	json_t *messages;

	(void)data;
	if (fw_compilation_begin(request, args, &compilation) < 0) {
		fw_reply_error(request, FW_EXIT_REQUEST, "malformed");
		return;
	}
	(void)fw_compilation_wait(compilation, &program);
	messages = fw_messages_pack(fw_compilation_end(compilation));
	must(fw_messages_take(messages, &diag) == 0);
	fw_diag_done(&diag);
	fw_compilation_free(compilation);
	fw_reply(request, json_pack("{s:o}", "messages", messages));
}

static void handle_rows(void *data, struct fw_request *request,
			const json_t *args)
{
	json_t *array = json_array();

	(void)data;
	for (int i = 0; i < 3 * FW_PROTO_ROWS; i++)
		(void)json_array_append_new(array, json_integer(i));
	fw_reply_array(request, "rows", array,
		       json_pack("{s:O}", "args", args));
}

static void on_drained(void *data)
{
	(void)data;
}

static void on_stream_free(void *data)
{
	(void)data;
	fuzz.stream = NULL;
}

static void handle_stream(void *data, struct fw_request *request,
			  const json_t *args)
{
	static int owner;
	json_t *item = json_deep_copy(args);

	(void)data;
	fuzz.stream = request;
	fw_reply_stream(request, &(struct fw_stream){ .drained = on_drained,
						      .free = on_stream_free,
						      .data = &owner });
	for (int i = 0; fuzz.stream && i < ITEMS; i++)
		(void)fw_stream_put(request, item);
	json_decref(item);
}

/* Those of the daemon that need no rules, or say that there are none. */
static const struct fw_verb verbs[] = {
	{ "echo", handle_echo },
	{ "load", handle_load },
	{ "list", handle_rows },
	{ "stream", handle_stream },
	{ "status", fw_handle_status },
	{ "rules", fw_handle_rules },
	{ "flows", fw_handle_flows },
	{ "monitor", fw_handle_monitor },
	{ "explain", fw_handle_explain },
	{ "top-flows", fw_handle_top_flows },
	{ "capture", fw_handle_capture },
	{ "set-replace", fw_handle_set_replace },
};

/* ---- the client ------------------------------------------------------------------ */

static void hang_up(void)
{
	if (fuzz.fd < 0)
		return;
	fw_watch_free(fuzz.watch);
	fuzz.watch = NULL;
	(void)close(fuzz.fd);
	fuzz.fd = -1;
}

/* All that comes is a sequence of frames. */
static void take_frames(void)
{
	json_t *frame = NULL;

	while (fw_frame_take(&fuzz.in, FW_PROTO_MAX_REPLY, &frame, NULL) == 1)
		json_decref(frame);
}

static void on_reply(void *data, uint32_t events)
{
	ssize_t n;

	(void)data;
	(void)events;
	must(fw_buf_reserve(&fuzz.in, SENT_MOST) == 0);
	n = recv(fuzz.fd, fuzz.in.data + fuzz.in.len,
		 fuzz.in.size - fuzz.in.len, MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		hang_up();
		return;
	}
	fuzz.in.len += (size_t)n;
	take_frames();
	if (fuzz.stream)
		fw_stream_end(fuzz.stream, FW_EXIT_OK, "enough");
}

static int make_file(bool is_sealed)
{
	int fd = memfd_create("rules", MFD_ALLOW_SEALING);
	const size_t len = sizeof(rules); /* with the NUL */

	must(fd >= 0 && write(fd, rules, len) == (ssize_t)len);
	must(!is_sealed || fcntl(fd, F_ADD_SEALS, FW_PROTO_SEALS) == 0);
	return fd;
}

static void send_part(const uint8_t *part, size_t len, const int *fds, size_t n)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(2 * sizeof(int))];
	} control = { 0 };
	struct iovec vec = { (void *)part, len };
	struct msghdr message = { .msg_iov = &vec, .msg_iovlen = 1 };
	struct cmsghdr *header;

	if (n) {
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(n * sizeof(int));
		header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(header), fds, n * sizeof(int));
	}
	(void)sendmsg(fuzz.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void send_all(struct fuzz_input *in, uint8_t mode)
{
	int fds[] = { make_file((mode & FILE_MASK) != 2), -1 };
	size_t n = mode & FILE_MASK ? 1 : 0, len, sent = 0;

	fds[1] = fds[0];
	if ((mode & FILE_MASK) == 3)
		n = 2;
	while (in->left && sent < SENT_MOST) {
		uint8_t *part = fuzz_part(in, &len);

		if (len)
			send_part(part, len, fds, n);
		free(part);
		sent += len;
		n = 0;
	}
	(void)close(fds[0]);
}

/* ---- the server ------------------------------------------------------------------- */

static void on_idle(void *data)
{
	(void)data;
	fw_loop_stop(fuzz.loop);
}

static void start_server(void)
{
	static struct fw_daemon daemon;
	struct fw_control_config config = { .path = "/nowhere",
					    .netns = NETNS,
					    .verbs = verbs,
					    .n_verbs = ARRAY_SIZE(verbs),
					    .on_idle = on_idle,
					    .data = &daemon };
	const struct sockaddr_un any = { .sun_family = AF_UNIX };
	int fd;

	fw_log_set_level(FW_LOG_ERROR);
	fuzz.loop = fw_loop_new();
	must(fuzz.loop);
	daemon.loop = fuzz.loop;
	daemon.monitors = fw_monitors_new(&daemon);
	daemon.captures = fw_captures_new(&daemon);
	must(daemon.monitors && daemon.captures);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	/* No path: the kernel chooses a name. */
	must(fd >= 0 && bind(fd, (const struct sockaddr *)&any,
			     sizeof(any.sun_family)) == 0);
	must(listen(fd, 1) == 0);
	fuzz.addr_len = sizeof(fuzz.addr);
	must(getsockname(fd, (struct sockaddr *)&fuzz.addr, &fuzz.addr_len) ==
	     0);
	config.listen_fd = fd;
	must(fw_control_new(fuzz.loop, &config, &fuzz.control, NULL) == 0);
	daemon.control = fuzz.control;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	uint8_t mode = fuzz_byte(&in);

	if (!fuzz.loop)
		start_server();
	fuzz.fd = socket(AF_UNIX, SOCK_STREAM, 0);
	must(fuzz.fd >= 0);
	must(connect(fuzz.fd, (struct sockaddr *)&fuzz.addr, fuzz.addr_len) ==
	     0);
	send_all(&in, mode);
	if (mode & HANGS_UP) {
		(void)close(fuzz.fd);
		fuzz.fd = -1;
	} else {
		(void)shutdown(fuzz.fd, SHUT_WR);
		fuzz.watch = fw_watch_new(fuzz.loop, fuzz.fd, EPOLLIN, on_reply,
					  NULL);
		must(fuzz.watch);
	}
	must(fw_loop_run(fuzz.loop) == 0);
	hang_up();
	must(!fuzz.stream);
	must(fw_control_clients(fuzz.control) == 0);
	fw_buf_done(&fuzz.in);
	return 0;
}
