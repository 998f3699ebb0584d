/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Any bytes as what a daemon answers, read by the subcommands of fwctl, as text and as
 * JSON. An input is a byte that says which, and the bytes.
 *
 * What the client does is its own; only the other end of its socket is ours. `top` is left
 * out, which asks again and again.
 */
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int answer(int fd);

/* There is no daemon to be reached, and none must be started. */
#define connect(fd, addr, len) ((void)(addr), (void)(len), answer(fd))
#define geteuid()	       0u
#include "user/client.c"
#undef connect
#undef geteuid

#include "user/rowout.h"

#include "fuzz.h"

#define SENT_MOST 65536u /* so that a socket holds it */

static struct fuzz_input reply;

/* Puts a socket in the place of `fd` in which the answer waits, and its end. */
static int answer(int fd)
{
	size_t len = reply.left < SENT_MOST ? reply.left : SENT_MOST;
	int fds[2];

	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	must(write(fds[1], reply.at, len) == (ssize_t)len);
	must(shutdown(fds[1], SHUT_WR) == 0);
	must(dup2(fds[0], fd) == fd);
	(void)close(fds[0]);
	/* What the client sends is nobody's, and must not break its pipe. */
	(void)close(fds[1]);
	return 0;
}

static enum fw_exit explain(struct fw_cli *cli)
{
	cli->hex = "0200000000020200000000010800";
	cli->words = (const char *const[]){ "in", "eth0" };
	cli->n_words = 2;
	return fw_cmd_explain(cli);
}

static enum fw_exit show_sorted(struct fw_cli *cli)
{
	cli->words = (const char *const[]){ "sort", "age" };
	cli->n_words = 2;
	cli->wide = true;
	return fw_cmd_show_flows(cli);
}

static enum fw_exit kill_all(struct fw_cli *cli)
{
	cli->words = (const char *const[]){ "all" };
	cli->n_words = 1;
	return fw_cmd_flows_kill(cli);
}

static enum fw_exit capture(struct fw_cli *cli)
{
	cli->json = false;
	cli->words = (const char *const[]){ "/dev/null" };
	cli->n_words = 1;
	return fw_cmd_capture(cli);
}

#if defined(__SANITIZE_ADDRESS__) || defined(FW_LIBFUZZER)
#include <sanitizer/common_interface_defs.h>

static void report_to(int fd)
{
	__sanitizer_set_report_fd((void *)(intptr_t)fd);
}
#else
static void report_to(int fd)
{
	(void)fd;
}
#endif

static char rules_path[32];

static enum fw_exit load(struct fw_cli *cli)
{
	cli->operand = rules_path;
	return fw_cmd_load(cli);
}

/* Returns the first descriptor that is the subcommands' own. */
static unsigned int prepare(void)
{
	const char rules[] = "default in drop\n";
	int fd = memfd_create("rules", 0);

	must(fd >= 0 && fchmod(fd, 0600) == 0);
	must(write(fd, rules, sizeof(rules) - 1) == sizeof(rules) - 1);
	(void)snprintf(rules_path, sizeof(rules_path), "/proc/self/fd/%d", fd);
	must(freopen("/dev/null", "w", stdout));
	if (getenv("FUZZ_ALOUD"))
		return (unsigned int)fd + 1;
	/* Complaints are of no interest, findings are. */
	fd = dup(STDERR_FILENO);
	must(fd >= 0);
	report_to(fd);
	must(freopen("/dev/null", "w", stderr));
	return (unsigned int)fd + 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static enum fw_exit (*const commands[])(struct fw_cli *cli) = {
		explain,
		fw_cmd_monitor,
		fw_cmd_show_rules,
		fw_cmd_show_flows,
		show_sorted,
		fw_cmd_show_sets,
		fw_cmd_status,
		fw_cmd_show_interfaces,
		fw_cmd_show_timeouts,
		kill_all,
		capture,
		load,
	};
	static unsigned int first_fd;
	struct fw_cli cli = { .run_dir = "/nowhere/run",
			      .pin_dir = "/nowhere/pin" };
	uint8_t which;

	if (!first_fd)
		first_fd = prepare();
	reply = (struct fuzz_input){ data, size };
	/* Letters, so that seeds can be written by hand: large ones are JSON. */
	which = fuzz_byte(&reply);
	cli.json = which < 'a';
	which = (uint8_t)(which - (cli.json ? 'A' : 'a'));
	if (which < ARRAY_SIZE(commands))
		(void)commands[which](&cli);
	/* A process runs one subcommand, which leaves some to its end. */
	must(close_range(first_fd, ~0u, 0) == 0);
	return 0;
}
