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
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static void handle_end(void *data, struct fw_request *request,
		       const json_t *args)
{
	struct fw_control **control = data;

	(void)args;
	fw_control_finish(*control);
	fw_reply(request, json_object());
}

static const struct fw_verb verbs[] = {
	{ "echo", handle_echo },
	{ "fail", handle_fail },
	{ "rows", handle_rows },
	{ "end", handle_end },
};

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
	(void)fflush(NULL);
	fixture->server = fork();
	if (fixture->server == 0) {
		(void)close(fds[0]);
		exit(serve(fixture->path, fds[1]));
	}
	(void)close(fds[1]);
	(void)read(fds[0], &byte, 1); /* EOF: it listens, or is gone */
	(void)close(fds[0]);
	*state = fixture;
	return 0;
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
static void test_slow_reader(void **state)
{
	const struct fixture *fixture = *state;
	_cleanup_close_ int slow = dial(fixture);
	_cleanup_close_ int idle = -1;
	struct fw_buf in = { 0 };

	send_json(slow, ask("rows"));
	expect_works(fixture);
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
	if (fixture->server == 0)
		exit(serve(fixture->path, -1));
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
		cmocka_unit_test_setup_teardown(test_refusals, start, stop),
		cmocka_unit_test_setup_teardown(test_garbage, start, stop),
		cmocka_unit_test_setup_teardown(test_long_list, start, stop),
		cmocka_unit_test_setup_teardown(test_slow_reader, start, stop),
		cmocka_unit_test_setup_teardown(test_hang_up_at_once, start,
						stop),
		cmocka_unit_test_setup_teardown(test_two_servers, start, stop),
		cmocka_unit_test_setup_teardown(test_stale_socket, start, stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
