/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The control socket: a server in a child process, clients that behave well and
 * clients that do not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "user/control.h"
#include "user/loop.h"
#include "user/util.h"

#define NETNS 42
#define ROWS  20000 /* more than a socket buffer holds */

struct fixture {
	char dir[32];
	char path[48];
	pid_t server;
};

/* ---- the server ------------------------------------------------------------- */

static void handle_echo(void *data, struct fw_request *request,
			const json_t *args)
{
	(void)data;
	fw_reply(request, json_deep_copy(args));
}

static void handle_fail(void *data, struct fw_request *request,
			const json_t *args)
{
	(void)data;
	(void)args;
	fw_reply_error(request, FW_EXIT_KERNEL, "refused: %d", 7);
}

static void handle_rows(void *data, struct fw_request *request,
			const json_t *args)
{
	json_t *rows = json_array();

	(void)data;
	(void)args;
	for (int i = 0; i < ROWS; i++)
		(void)json_array_append_new(
			rows, json_pack("{s:i, s:s}", "i", i, "text",
					"a row of a list that is long"));
	fw_reply_array(request, "rows", rows, json_pack("{s:b}", "done", 1));
}

/* ---- a list that people read, of which the server knows one ---- */

static struct {
	int i, looks;
	bool is_open; /* there are rows now */
} list;

/* Nothing yet, then nothing that matters, then rows. */
static int list_next(void *data, json_t *items)
{
	(void)data;
	list.looks++;
	if (!list.is_open)
		return list.looks % 2 ? 1 : FW_ROWS_LATER;
	for (int n = 0; n < 100 && list.i < ROWS; n++, list.i++)
		(void)json_array_append_new(
			items, json_pack("{s:i, s:s}", "i", list.i, "text",
					 "a row of a list that is long"));
	return list.i < ROWS;
}

static void list_end(void *data, struct fw_request *request)
{
	(void)data;
	fw_reply(request, json_pack("{s:s, s:i}", "list", "rows", "n", list.i));
}

static void list_free(void *data)
{
	(void)data;
	list.is_open = false;
}

static void handle_list(void *data, struct fw_request *request,
			const json_t *args)
{
	(void)data;
	(void)args;
	list.i = list.looks = 0;
	fw_reply_rows(request,
		      &(struct fw_rows){ .next = list_next,
					 .end = list_end,
					 .free = list_free,
					 .is_patient = true },
		      NULL);
}

static void handle_open(void *data, struct fw_request *request,
			const json_t *args)
{
	(void)data;
	(void)args;
	list.is_open = true;
	fw_reply(request,
		 json_pack("{s:i, s:i}", "looks", list.looks, "made", list.i));
}

/* What came along, up to its first NUL, and how much it was. */
static void handle_file(void *data, struct fw_request *request,
			const json_t *args)
{
	_cleanup_free_ char *text = NULL;
	const char *mapped = NULL;
	size_t len = 0, mapped_len = 0;
	int r;

	(void)data;
	(void)args;
	r = fw_request_file(request, &text, &len);
	if (fw_request_map(request, &mapped, &mapped_len) != r ||
	    mapped_len != len || (len && memcmp(mapped, text, len) != 0))
		r = -EIO;
	if (mapped)
		(void)munmap((void *)(uintptr_t)mapped, mapped_len);
	if (r < 0) {
		fw_reply_error(request, FW_EXIT_REQUEST, "file: %s",
			       strerror(-r));
		return;
	}
	fw_reply(request, json_pack("{s:s%, s:I}", "head", text,
				    len < 8 ? len : 8, "len", (json_int_t)len));
}

static int goes_on[2] = { -1, -1 }; /* pipe to the handler of "early" */

/* Replies before it is done, and is done when the client says so. */
static void handle_early(void *data, struct fw_request *request,
			 const json_t *args)
{
	char byte;

	(void)data;
	(void)args;
	fw_reply(request, json_pack("{s:i}", "x", 1));
	fw_reply_flush(request);
	(void)read(goes_on[0], &byte, 1);
}

static void handle_end(void *data, struct fw_request *request,
		       const json_t *args)
{
	struct fw_control **control = data;

	(void)args;
	fw_control_finish(*control);
	fw_reply(request, json_object());
}

/* ---- a stream, of which the server knows one ---- */

static struct {
	struct fw_request *request;
	int i, lost, over;
} stream;

static void put_number(const char *key, int value)
{
	json_t *item = json_pack("{s:i, s:s}", key, value, "text",
				 "an item of some length, as they mostly are");

	if (fw_stream_put(stream.request, item) < 0)
		stream.lost++;
	json_decref(item);
}

static void on_drained(void *data)
{
	int lost = stream.lost;

	(void)data;
	stream.lost = 0;
	if (lost)
		put_number("lost", lost);
}

static void on_over(void *data)
{
	(void)data;
	stream.request = NULL;
	stream.over++;
}

static void handle_stream(void *data, struct fw_request *request,
			  const json_t *args)
{
	(void)data;
	(void)args;
	stream.request = request;
	stream.i = 0;
	fw_reply_stream(request, &(struct fw_stream){ .drained = on_drained,
						      .free = on_over });
}

/* Another client has so many items put. */
static void handle_put(void *data, struct fw_request *request,
		       const json_t *args)
{
	json_int_t n = json_integer_value(json_object_get(args, "x"));

	(void)data;
	while (n-- && stream.request)
		put_number("i", stream.i++);
	fw_reply(request,
		 json_pack("{s:i, s:i}", "put", stream.i, "over", stream.over));
}

static void handle_hang_up(void *data, struct fw_request *request,
			   const json_t *args)
{
	(void)data;
	(void)args;
	fw_stream_end(stream.request, FW_EXIT_NO_DAEMON, "enough of it");
	fw_reply(request, json_object());
}

static const struct fw_verb verbs[] = {
	{ "echo", handle_echo },       { "fail", handle_fail },
	{ "rows", handle_rows },       { "file", handle_file },
	{ "early", handle_early },     { "end", handle_end },
	{ "stream", handle_stream },   { "put", handle_put },
	{ "hang up", handle_hang_up }, { "list", handle_list },
	{ "open", handle_open },
};

static unsigned int patience_ms; /* of the next server */

static int serve(const char *path, int ready_fd)
{
	struct fw_loop *loop = fw_loop_new();
	struct fw_control *control = NULL;
	const struct fw_control_config config = {
		.path = path,
		.listen_fd = -1,
		.netns = NETNS,
		.verbs = verbs,
		.n_verbs = ARRAY_SIZE(verbs),
		.patience_ms = patience_ms,
		.data = &control,
	};
	char *error = NULL;

	if (fw_control_new(loop, &config, &control, &error) < 0) {
		(void)fprintf(stderr, "%s\n", error);
		free(error);
		fw_loop_free(loop);
		return 1;
	}
	(void)close(ready_fd);
	(void)fw_loop_run(loop);
	fw_control_free(control);
	fw_loop_free(loop);
	return 0;
}

static int start(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	int fds[2];
	char byte;

	if (!fixture || pipe(fds) < 0)
		return -1;
	(void)snprintf(fixture->dir, sizeof(fixture->dir),
		       "/tmp/fwctl-test-XXXXXX");
	if (!mkdtemp(fixture->dir))
		return -1;
	(void)snprintf(fixture->path, sizeof(fixture->path), "%s/sock",
		       fixture->dir);
	if (pipe2(goes_on, O_CLOEXEC) < 0)
		return -1;
	(void)fflush(NULL);
	fixture->server = fork();
	if (fixture->server == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)close(goes_on[1]);
		(void)close(fds[0]);
		exit(serve(fixture->path, fds[1]));
	}
	(void)close(fds[1]);
	(void)read(fds[0], &byte, 1); /* EOF: it listens, or is gone */
	(void)close(fds[0]);
	*state = fixture;
	return 0;
}

static int start_impatient(void **state)
{
	int r;

	patience_ms = 1000;
	r = start(state);
	patience_ms = 0;
	return r;
}

/* ---- clients ----------------------------------------------------------------- */

static int dial(const struct fixture *fixture)
{
	const struct timeval patience = { .tv_sec = 20 };
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s",
		       fixture->path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)),
			 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience,
				    sizeof(patience)),
			 0);
	return fd;
}

static void send_json(int fd, json_t *json)
{
	struct fw_buf buf = { 0 };

	assert_int_equal(fw_frame_put(&buf, json, FW_PROTO_MAX_REQUEST), 0);
	assert_int_equal(send(fd, buf.data, buf.len, MSG_NOSIGNAL), buf.len);
	fw_buf_done(&buf);
	json_decref(json);
}

static json_t *ask(const char *verb)
{
	return json_pack("{s:i, s:s, s:i, s:{s:i}}", "version",
			 FW_PROTO_VERSION, "verb", verb, "netns", NETNS, "args",
			 "x", 1);
}

/* The next frame, or NULL at the end of the connection. */
static json_t *next(int fd, struct fw_buf *in)
{
	for (;;) {
		json_t *json = NULL;
		ssize_t n;
		int r;

		r = fw_frame_take(in, FW_PROTO_MAX_REPLY, &json, NULL);
		assert_true(r >= 0);
		if (r)
			return json;
		assert_int_equal(fw_buf_reserve(in, 4096), 0);
		n = recv(fd, in->data + in->len, 4096, 0);
		if (n == 0 || (n < 0 && errno == ECONNRESET))
			return NULL;
		assert_true(n > 0);
		in->len += (size_t)n;
	}
}

static void expect_error(int fd, int status, const char *text)
{
	_cleanup_json_ json_t *reply = NULL;
	struct fw_buf in = { 0 };
	const char *error;

	reply = next(fd, &in);
	assert_non_null(reply);
	assert_int_equal(json_integer_value(json_object_get(reply, "status")),
			 status);
	error = json_string_value(json_object_get(reply, "error"));
	assert_non_null(error);
	if (!strstr(error, text))
		fail_msg("'%s' is not in '%s'", text, error);
	fw_buf_done(&in);
}

static void expect_works(const struct fixture *fixture)
{
	_cleanup_close_ int fd = dial(fixture);
	_cleanup_json_ json_t *reply = NULL;
	struct fw_buf in = { 0 };

	send_json(fd, ask("echo"));
	reply = next(fd, &in);
	assert_int_equal(json_integer_value(json_object_get(
				 json_object_get(reply, "result"), "x")),
			 1);
	fw_buf_done(&in);
}

static int stop(void **state)
{
	struct fixture *fixture = *state;
	struct fw_buf in = { 0 };
	int fd = dial(fixture);
	int status = 0;

	send_json(fd, ask("end"));
	json_decref(next(fd, &in));
	/* Gone before the reply: the next client must not meet this server. */
	assert_int_equal(access(fixture->path, F_OK), -1);
	fw_buf_done(&in);
	(void)close(fd);
	assert_int_equal(waitpid(fixture->server, &status, 0), fixture->server);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_int_equal(rmdir(fixture->dir), 0);
	(void)close(goes_on[0]);
	(void)close(goes_on[1]);
	free(fixture);
	return 0;
}

/* ---- tests --------------------------------------------------------------------- */

static void test_answers(void **state)
{
	const struct fixture *fixture = *state;
	_cleanup_close_ int fd = dial(fixture);
	struct stat st;

	assert_int_equal(stat(fixture->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	expect_works(fixture);
	/* Several requests on one connection. */
	send_json(fd, ask("fail"));
	expect_error(fd, FW_EXIT_KERNEL, "refused: 7");
	send_json(fd, ask("nonsense"));
	expect_error(fd, FW_EXIT_REQUEST, "does not know");
}

static void test_replies_early(void **state)
{
	const struct fixture *fixture = *state;
	_cleanup_close_ int fd = dial(fixture);
	_cleanup_json_ json_t *reply = NULL;
	struct fw_buf in = { 0 };

	send_json(fd, ask("early"));
	reply = next(fd, &in);
	assert_non_null(reply);
	fw_buf_done(&in);
	assert_int_equal(write(goes_on[1], "x", 1), 1);
	expect_works(fixture);
}

static void test_refusals(void **state)
{
	const struct fixture *fixture = *state;
	_cleanup_close_ int fd = dial(fixture);
	json_t *json;

	json = ask("echo");
	(void)json_object_set_new(json, "netns", json_integer(7));
	send_json(fd, json);
	expect_error(fd, FW_EXIT_REQUEST, "net:[42]");
	json = ask("echo");
	(void)json_object_set_new(json, "version", json_integer(99));
	send_json(fd, json);
	expect_error(fd, FW_EXIT_NO_DAEMON, "version");
	send_json(fd, json_object());
	expect_error(fd, FW_EXIT_REQUEST, "lacks");
}

static void test_garbage(void **state)
{
	static const char *const garbage[] = {
		"\xff\xff\xff\xff", "\0\0\0\x02[]",	      "\0\0\0\x01{",
		"\0\0\0\0",	    "GET / HTTP/1.1\r\n\r\n",
	};
	static const size_t lengths[] = { 4, 6, 5, 4, 18 };
	const struct fixture *fixture = *state;

	for (size_t i = 0; i < ARRAY_SIZE(garbage); i++) {
		_cleanup_close_ int fd = dial(fixture);
		struct fw_buf in = { 0 };
		json_t *reply;

		assert_int_equal(send(fd, garbage[i], lengths[i], 0),
				 lengths[i]);
		reply = next(fd, &in);
		assert_int_equal(
			json_integer_value(json_object_get(reply, "status")),
			FW_EXIT_REQUEST);
		json_decref(reply);
		assert_null(next(fd, &in)); /* and the connection is closed */
		fw_buf_done(&in);
	}
	expect_works(fixture);
}

/* ---- files that come along ------------------------------------------------------- */

static int make_file(const char *text, off_t len)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(ftruncate(fd, len), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, FW_PROTO_SEALS), 0);
	return fd;
}

/* Send a request, and `n` descriptors with its first byte. */
static void send_files(int fd, json_t *json, const int *files, size_t n)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(2 * sizeof(int))];
	} control = { 0 };
	struct fw_buf buf = { 0 };
	struct iovec vec;
	struct msghdr message = { .msg_iov = &vec, .msg_iovlen = 1 };
	struct cmsghdr *header;

	assert_int_equal(fw_frame_put(&buf, json, FW_PROTO_MAX_REQUEST), 0);
	vec = (struct iovec){ buf.data, buf.len };
	message.msg_control = &control;
	message.msg_controllen = CMSG_SPACE(n * sizeof(int));
	header = CMSG_FIRSTHDR(&message);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(header), files, n * sizeof(int));
	assert_int_equal(sendmsg(fd, &message, MSG_NOSIGNAL), buf.len);
	fw_buf_done(&buf);
	json_decref(json);
}

static void expect_file(int fd, const char *head, json_int_t len)
{
	struct fw_buf in = { 0 };
	_cleanup_json_ json_t *reply = next(fd, &in);
	const json_t *result = json_object_get(reply, "result");

	assert_string_equal(json_string_value(json_object_get(result, "head")),
			    head);
	assert_int_equal(json_integer_value(json_object_get(result, "len")),
			 len);
	fw_buf_done(&in);
}

static void test_file(void **state)
{
	const struct fixture *fixture = *state;
	_cleanup_close_ int fd = dial(fixture);
	_cleanup_close_ int small = make_file("10.0.0.1", 8);
	_cleanup_close_ int empty = make_file("", 0);
	_cleanup_close_ int large = make_file("large", 50 << 20);

	send_files(fd, ask("file"), &small, 1);
	expect_file(fd, "10.0.0.1", 8);
	/* It was of that request alone. */
	send_json(fd, ask("file"));
	expect_error(fd, FW_EXIT_REQUEST, strerror(ENOENT));
	send_files(fd, ask("file"), &empty, 1);
	expect_file(fd, "", 0);
	send_files(fd, ask("file"), &large, 1);
	expect_file(fd, "large", 50 << 20);
	/* A verb that wants none closes it. */
	send_files(fd, ask("fail"), &small, 1);
	expect_error(fd, FW_EXIT_KERNEL, "refused: 7");
	send_json(fd, ask("file"));
	expect_error(fd, FW_EXIT_REQUEST, strerror(ENOENT));
}

static void send_byte(int fd, int file)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec vec = { (char[]){ 0 }, 1 };
	struct msghdr message = { .msg_iov = &vec,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control) };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &file, sizeof(int));
	assert_int_equal(sendmsg(fd, &message, MSG_NOSIGNAL), 1);
}

static void expect_refused(const struct fixture *fixture, const int *files,
			   size_t n, int error)
{
	_cleanup_close_ int fd = dial(fixture);

	send_files(fd, ask("file"), files, n);
	expect_error(fd, FW_EXIT_REQUEST, strerror(error));
}

/* Descriptors of the server. */
static int count_fds(const struct fixture *fixture)
{
	char path[32];
	int n = 0;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", fixture->server);
	dir = opendir(path);
	assert_non_null(dir);
	while (readdir(dir))
		n++;
	(void)closedir(dir);
	return n;
}

static void test_bad_files(void **state)
{
	const struct fixture *fixture = *state;
	_cleanup_close_ int huge = make_file("", (off_t)FW_PROTO_MAX_FILE + 1);
	_cleanup_close_ int unsealed =
		memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	_cleanup_close_ int regular = open("/proc/self/exe", O_RDONLY);
	int pipe_fds[2], twice[2] = { huge, huge };
	int n_fds = count_fds(fixture);
	struct fw_buf in = { 0 };
	int fd, tries;

	/* Nobody will ever write to it: reading must not even begin. */
	assert_int_equal(pipe(pipe_fds), 0);
	expect_refused(fixture, &pipe_fds[0], 1, EBADMSG);
	/* Its content could change, or it could shrink, while it is read. */
	assert_int_equal(write(unsealed, "10.0.0.1", 8), 8);
	expect_refused(fixture, &unsealed, 1, EBADMSG);
	expect_refused(fixture, &regular, 1, EBADMSG);
	expect_refused(fixture, &huge, 1, EMSGSIZE);
	expect_refused(fixture, twice, 2, EMSGSIZE);
	(void)close(pipe_fds[0]);
	(void)close(pipe_fds[1]);
	/* Another one before the request is complete ends the connection. */
	fd = dial(fixture);
	send_byte(fd, huge);
	send_byte(fd, huge);
	assert_null(next(fd, &in));
	fw_buf_done(&in);
	(void)close(fd);
	expect_works(fixture);
	/* And nothing of all that is left open. */
	for (tries = 0; tries < 500 && count_fds(fixture) > n_fds; tries++)
		(void)usleep(10000);
	assert_int_equal(count_fds(fixture), n_fds);
}

static void test_long_list(void **state)
{
	const struct fixture *fixture = *state;
	_cleanup_close_ int fd = dial(fixture);
	struct fw_buf in = { 0 };
	json_int_t n = 0;

	send_json(fd, ask("rows"));
	for (;;) {
		_cleanup_json_ json_t *reply = next(fd, &in);
		json_t *items, *row;
		size_t i;

		assert_non_null(reply);
		items = json_object_get(reply, "items");
		if (!items) {
			json_t *result = json_object_get(reply, "result");

			assert_string_equal(json_string_value(json_object_get(
						    result, "list")),
					    "rows");
			break;
		}
		assert_true(json_array_size(items) <= FW_PROTO_ROWS);
		json_array_foreach(items, i, row) assert_true(
			json_integer_value(json_object_get(row, "i")) == n++);
	}
	assert_int_equal(n, ROWS);
	fw_buf_done(&in);
}

/* Who asks and does not read holds nobody up, and is cut off. */
static json_int_t ask_open(const struct fixture *fixture, const char *key)
{
	_cleanup_close_ int fd = dial(fixture);
	_cleanup_json_ json_t *reply = NULL;
	struct fw_buf in = { 0 };
	json_int_t value;

	send_json(fd, ask("open"));
	reply = next(fd, &in);
	value = json_integer_value(
		json_object_get(json_object_get(reply, "result"), key));
	fw_buf_done(&in);
	return value;
}

/* Who is served last waits for one piece of it; who reads it may take his time. */
static void test_list_that_takes_time(void **state)
{
	const struct fixture *fixture = *state;
	_cleanup_close_ int fd = dial(fixture);
	struct fw_buf in = { 0 };
	json_int_t n = 0;

	send_json(fd, ask("list"));
	expect_works(fixture);
	(void)usleep(200000);
	assert_in_range(ask_open(fixture, "looks"), 2, 100);
	/* Nobody reads: what the sockets hold has been made, and no more. */
	(void)sleep(2); /* longer than this server's patience */
	assert_in_range(ask_open(fixture, "made"), 100, ROWS / 2);
	for (;;) {
		_cleanup_json_ json_t *reply = next(fd, &in);
		json_t *items, *row;
		size_t i;

		assert_non_null(reply);
		items = json_object_get(reply, "items");
		if (!items) {
			json_t *result = json_object_get(reply, "result");

			assert_int_equal(json_integer_value(
						 json_object_get(result, "n")),
					 ROWS);
			break;
		}
		json_array_foreach(items, i, row) assert_true(
			json_integer_value(json_object_get(row, "i")) == n++);
	}
	assert_int_equal(n, ROWS);
	/* The reply is through: patience is as usual. */
	assert_null(next(fd, &in));
	fw_buf_done(&in);
}

static void test_slow_reader(void **state)
{
	const struct fixture *fixture = *state;
	_cleanup_close_ int slow = dial(fixture);
	_cleanup_close_ int idle = -1;
	struct fw_buf in = { 0 };

	send_json(slow, ask("rows"));
	expect_works(fixture);
	(void)usleep(300000); /* for all turns in which the sockets get full */
	/* It came later: when it is cut off, the slow one has been before. */
	idle = dial(fixture);
	assert_null(next(idle, &in));
	fw_buf_done(&in);
	for (;;) {
		json_t *reply = next(slow, &in);
		bool is_last = json_object_get(reply, "status");

		json_decref(reply);
		assert_false(is_last);
		if (!reply)
			break;
	}
	fw_buf_done(&in);
	expect_works(fixture);
}

static void test_hang_up_at_once(void **state)
{
	const struct fixture *fixture = *state;

	for (int i = 0; i < 200; i++) {
		int fd = dial(fixture);

		if (i % 2)
			send_json(fd, ask("rows"));
		(void)close(fd);
	}
	expect_works(fixture);
}

/* Who says nothing has to go; who says something has as long again. */
/* Ask on a connection of its own; returns a member of the result. */
static json_int_t ask_once(const struct fixture *fixture, const char *verb,
			   int x, const char *key)
{
	_cleanup_close_ int fd = dial(fixture);
	_cleanup_json_ json_t *request = ask(verb), *reply = NULL;
	struct fw_buf in = { 0 };

	(void)json_object_set_new(json_object_get(request, "args"), "x",
				  json_integer(x));
	send_json(fd, json_incref(request));
	reply = next(fd, &in);
	assert_non_null(reply);
	fw_buf_done(&in);
	return json_integer_value(
		json_object_get(json_object_get(reply, "result"), key));
}

/* The number under a key of the next item; -1: the item has none. */
static int next_item(int fd, struct fw_buf *in, const char *key)
{
	_cleanup_json_ json_t *frame = next(fd, in);
	const json_t *item;

	assert_non_null(frame);
	item = json_array_get(json_object_get(frame, "items"), 0);
	item = json_object_get(item, key);
	return item ? (int)json_integer_value(item) : -1;
}

/* Items as they come; nobody loses patience with who waits for them. */
static void test_stream(void **state)
{
	const struct fixture *fixture = *state;
	_cleanup_close_ int fd = dial(fixture);
	struct fw_buf in = { 0 };

	send_json(fd, ask("stream"));
	assert_int_equal(next_item(fd, &in, "i"), -1);
	assert_int_equal(ask_once(fixture, "put", 3, "put"), 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(next_item(fd, &in, "i"), i);
	(void)sleep(2); /* longer than this server's patience */
	assert_int_equal(ask_once(fixture, "put", 1, "put"), 4);
	assert_int_equal(next_item(fd, &in, "i"), 3);
	assert_int_equal(ask_once(fixture, "hang up", 0, "x"), 0);
	expect_error(fd, FW_EXIT_NO_DAEMON, "enough of it");
	assert_null(next(fd, &in));
	fw_buf_done(&in);
}

/* Who does not read misses what there is no room for, and is told how much. */
static void test_stream_is_bounded(void **state)
{
	const struct fixture *fixture = *state;
	_cleanup_close_ int fd = dial(fixture);
	struct fw_buf in = { 0 };
	const int items = 50000;
	int got = 0, lost;

	send_json(fd, ask("stream"));
	assert_int_equal(next_item(fd, &in, "i"), -1);
	assert_int_equal(ask_once(fixture, "put", items, "put"), items);
	while ((lost = next_item(fd, &in, "lost")) < 0)
		got++;
	assert_int_equal(got + lost, items);
	/* an item has more than 60 bytes; sockets hold less than a MiB */
	assert_in_range(got, FW_STREAM_BYTES / 100,
			(FW_STREAM_BYTES + (1 << 20)) / 60);
	assert_int_equal(ask_once(fixture, "put", 1, "put"), items + 1);
	assert_int_equal(next_item(fd, &in, "i"), items);
	fw_buf_done(&in);
}

/* The server finds out, and serves on; a stream does not keep it from ending. */
static void test_stream_ends(void **state)
{
	const struct fixture *fixture = *state;
	struct fw_buf in = { 0 };
	int fd;

	for (int i = 0; i < 2; i++) {
		fd = dial(fixture);
		send_json(fd, ask("stream"));
		assert_int_equal(next_item(fd, &in, "i"), -1);
		if (i) /* with something on its way */
			(void)ask_once(fixture, "put", 20000, "put");
		(void)close(fd);
		fw_buf_done(&in);
		while (ask_once(fixture, "put", 0, "over") <= i)
			(void)usleep(1000);
	}
	fd = dial(fixture);
	send_json(fd, ask("stream"));
	assert_int_equal(next_item(fd, &in, "i"), -1);
	fw_buf_done(&in);
	(void)close(dial(fixture));
	/* stop() waits for the end; the descriptor goes with this process */
}

static void test_silent_clients(void **state)
{
	const struct fixture *fixture = *state;
	int silent = dial(fixture);
	struct fw_buf in = { 0 };

	send_json(silent, ask("echo"));
	json_decref(next(silent, &in));
	assert_null(next(silent, &in));
	expect_works(fixture);
	fw_buf_done(&in);
	(void)close(silent);
}

static void test_two_servers(void **state)
{
	const struct fixture *fixture = *state;
	struct fw_loop *loop = fw_loop_new();
	const struct fw_control_config config = { .path = fixture->path,
						  .listen_fd = -1 };
	struct fw_control *control = NULL;
	_cleanup_free_ char *error = NULL;

	assert_int_equal(fw_control_new(loop, &config, &control, &error),
			 -EADDRINUSE);
	assert_non_null(strstr(error, "another fwctld"));
	expect_works(fixture);
	fw_loop_free(loop);
}

static void test_stale_socket(void **state)
{
	struct fixture *fixture = *state;
	int status;

	assert_int_equal(kill(fixture->server, SIGKILL), 0);
	assert_int_equal(waitpid(fixture->server, &status, 0), fixture->server);
	assert_int_equal(access(fixture->path, F_OK), 0);

	/* The next one takes the place of the dead one's socket. */
	(void)fflush(NULL);
	fixture->server = fork();
	if (fixture->server == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		exit(serve(fixture->path, -1));
	}
	for (int i = 0; i < 1000; i++) {
		struct sockaddr_un addr = { .sun_family = AF_UNIX };
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);
		int r;

		(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s",
			       fixture->path);
		r = connect(fd, (struct sockaddr *)&addr, sizeof(addr));
		(void)close(fd);
		if (r == 0)
			break;
		(void)usleep(10000);
	}
	expect_works(fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_answers, start, stop),
		cmocka_unit_test_setup_teardown(test_replies_early, start,
						stop),
		cmocka_unit_test_setup_teardown(test_refusals, start, stop),
		cmocka_unit_test_setup_teardown(test_garbage, start, stop),
		cmocka_unit_test_setup_teardown(test_file, start, stop),
		cmocka_unit_test_setup_teardown(test_bad_files, start, stop),
		cmocka_unit_test_setup_teardown(test_long_list, start, stop),
		cmocka_unit_test_setup_teardown(test_list_that_takes_time,
						start_impatient, stop),
		cmocka_unit_test_setup_teardown(test_slow_reader, start, stop),
		cmocka_unit_test_setup_teardown(test_hang_up_at_once, start,
						stop),
		cmocka_unit_test_setup_teardown(test_silent_clients,
						start_impatient, stop),
		cmocka_unit_test_setup_teardown(test_stream, start_impatient,
						stop),
		cmocka_unit_test_setup_teardown(test_stream_is_bounded, start,
						stop),
		cmocka_unit_test_setup_teardown(test_stream_ends, start, stop),
		cmocka_unit_test_setup_teardown(test_two_servers, start, stop),
		cmocka_unit_test_setup_teardown(test_stale_socket, start, stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
