/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The daemon: options, start-up order, loop, shutdown order.
 *
 * It may end at any time, in any way: what it has pinned goes on filtering, and
 * the next one adopts it.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "user/bpffs.h"
#include "user/captures.h"
#include "user/daemon.h"
#include "user/heap.h"
#include "user/log.h"
#include "user/loop.h"
#include "user/metrics.h"
#include "user/monitors.h"
#include "user/mounts.h"
#include "user/notify.h"
#include "user/rulelog.h"
#include "user/util.h"

#define LOCK_TRIES   100 /* the one before us may be just ending */
#define LOCK_WAIT_NS 50000000L
#define IDLE_MS	     30000 /* started for a client that never came */

struct options {
	const char *run_dir;
	const char *pin_dir;
	const char *metrics; /* NULL: the default address */
	int ready_fd;
	bool is_foreground;
	bool exit_on_unload;
};

/* The daemon, and what only this file needs of it. */
struct server {
	struct fw_daemon daemon;
	const struct options *options;
	int ready_fd;
	int lock_fd;
	int signal_fd;
	struct fw_watch *signal_watch;
	struct fw_timer *watchdog;
	struct fw_timer *idle;
};

/* ---- parts ---------------------------------------------------------------------- */

static int start_dir(struct server *server)
{
	_cleanup_free_ char *error = NULL;
	int r;

	r = fw_paths_make_run_dir(&server->daemon.paths, &error);
	if (r < 0)
		log_error("%s", error ? error : strerror(-r));
	return r;
}

static int start_lock(struct server *server)
{
	const struct timespec wait = { .tv_nsec = LOCK_WAIT_NS };
	char path[sizeof(server->daemon.paths.run_dir) + 16];
	_cleanup_close_ int fd = -1;

	(void)snprintf(path, sizeof(path), "%s/fwctld.lock",
		       server->daemon.paths.run_dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		int r = -errno;

		log_error("cannot open '%s': %s", path, strerror(-r));
		return r;
	}
	for (int i = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; i++) {
		if (errno != EWOULDBLOCK || i == LOCK_TRIES) {
			log_error("another fwctld runs for '%s'",
				  server->daemon.paths.run_dir);
			return -EBUSY;
		}
		(void)nanosleep(&wait, NULL);
	}
	server->lock_fd = take_fd(&fd);
	return 0;
}

static void stop_lock(struct server *server)
{
	/* The file stays: who unlinks a lock lets two in. */
	if (server->lock_fd >= 0)
		(void)close(take_fd(&server->lock_fd));
}

static int start_loop(struct server *server)
{
	server->daemon.loop = fw_loop_new();
	if (!server->daemon.loop) {
		log_error("cannot make an event loop: %m");
		return -errno;
	}
	return 0;
}

static void stop_loop(struct server *server)
{
	fw_loop_free(take_ptr(server->daemon.loop));
}

static void on_signal(void *data, uint32_t events)
{
	struct server *server = data;
	struct signalfd_siginfo info;

	(void)events;
	if (read(server->signal_fd, &info, sizeof(info)) !=
	    (ssize_t)sizeof(info))
		return;
	log_info("signal %u: ending, what is loaded goes on filtering",
		 info.ssi_signo);
	fw_loop_stop(server->daemon.loop);
}

static int start_signals(struct server *server)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0 ||
	    signal(SIGPIPE, SIG_IGN) == SIG_ERR ||
	    signal(SIGHUP, SIG_IGN) == SIG_ERR)
		return -errno;
	server->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (server->signal_fd < 0)
		return -errno;
	server->signal_watch =
		fw_watch_new(server->daemon.loop, server->signal_fd, EPOLLIN,
			     on_signal, server);
	return server->signal_watch ? 0 : -errno;
}

static void stop_signals(struct server *server)
{
	fw_watch_free(server->signal_watch);
	if (server->signal_fd >= 0)
		(void)close(take_fd(&server->signal_fd));
}

static int start_rulelog(struct server *server)
{
	server->daemon.rulelog = fw_rulelog_new(server->daemon.loop);
	return server->daemon.rulelog ? 0 : -errno;
}

static void stop_rulelog(struct server *server)
{
	fw_rulelog_free(take_ptr(server->daemon.rulelog));
}

static int start_monitors(struct server *server)
{
	server->daemon.monitors = fw_monitors_new(&server->daemon);
	return server->daemon.monitors ? 0 : -ENOMEM;
}

static void stop_monitors(struct server *server)
{
	fw_monitors_free(take_ptr(server->daemon.monitors));
}

static int start_captures(struct server *server)
{
	server->daemon.captures = fw_captures_new(&server->daemon);
	return server->daemon.captures ? 0 : -ENOMEM;
}

static void stop_captures(struct server *server)
{
	fw_captures_free(take_ptr(server->daemon.captures));
}

static int start_metrics(struct server *server)
{
	const char *wish = server->options->metrics;
	const char *address = wish ? wish : FW_METRICS_ADDRESS;
	struct fw_daemon *daemon = &server->daemon;
	_cleanup_free_ char *error = NULL;
	int r;

	if (strcmp(address, "off") == 0)
		return 0;
	daemon->metrics_address = strdup(address);
	if (!daemon->metrics_address)
		return -ENOMEM;
	r = fw_metrics_new(daemon, address, &daemon->metrics, &error);
	if (r >= 0)
		return 0;
	if (!error) {
		fw_errorf(&error, "cannot serve metrics on %s: %s", address,
			  strerror(-r));
	}
	/* Nobody asked for the default address, so it is not worth failing. */
	if (wish) {
		log_error("%s", error ? error : strerror(-r));
		return r;
	}
	log_warning("%s, going on without", error ? error : strerror(-r));
	daemon->metrics_error = take_ptr(error);
	return 0;
}

static void stop_metrics(struct server *server)
{
	fw_metrics_free(take_ptr(server->daemon.metrics));
	free(take_ptr(server->daemon.metrics_address));
	free(take_ptr(server->daemon.metrics_error));
}

/* Rules that are pinned are adopted before anybody can ask for them. */
static int start_datapath(struct server *server)
{
	struct fw_daemon *daemon = &server->daemon;
	int r;

	if (!fw_datapath_exists(daemon->paths.pin_dir))
		return 0;
	r = fw_daemon_open(daemon, &fw_datapath_smallest, &daemon->open_error);
	if (r < 0) {
		/* Stay, so that `status` can say it and `unload` can end it. */
		log_error("cannot adopt what is pinned below '%s': %s",
			  daemon->paths.pin_dir,
			  daemon->open_error ? daemon->open_error
					     : strerror(-r));
		return 0;
	}
	log_info("adopted generation %u", fw_apply_gen(daemon->apply));
	return 0;
}

static void stop_datapath(struct server *server)
{
	fw_daemon_close(&server->daemon);
	free(take_ptr(server->daemon.open_error));
}

static void on_idle(void *data)
{
	struct fw_daemon *daemon = data;

	if (daemon->exit_on_unload && !fw_daemon_program(daemon) &&
	    !fw_control_clients(daemon->control)) {
		log_info("no rules are loaded, ending");
		fw_control_finish(daemon->control);
	}
}

static int start_control(struct server *server)
{
	struct fw_daemon *daemon = &server->daemon;
	const struct fw_control_config config = {
		.path = daemon->paths.socket,
		.listen_fd = fw_notify_listen_fd(),
		.netns = daemon->netns,
		.verbs = fw_daemon_verbs,
		.n_verbs = fw_daemon_n_verbs,
		.on_idle = on_idle,
		.data = daemon,
	};
	_cleanup_free_ char *error = NULL;
	int r;

	r = fw_control_new(daemon->loop, &config, &daemon->control, &error);
	if (r < 0) {
		log_error("%s", error ? error : strerror(-r));
		return r;
	}
	server->idle = fw_timer_new(daemon->loop, on_idle, daemon);
	if (!server->idle || fw_timer_arm(server->idle, IDLE_MS, 0) < 0)
		return -errno;
	return 0;
}

static void stop_control(struct server *server)
{
	fw_timer_free(take_ptr(server->idle));
	fw_control_free(take_ptr(server->daemon.control));
}

static void on_watchdog(void *data)
{
	(void)data;
	fw_notify("WATCHDOG=1");
}

/* From here on nobody looks at the terminal: messages go to the log file. */
static int redirect_stdio(const struct fw_paths *paths)
{
	_cleanup_close_ int null_fd = -1;
	_cleanup_close_ int log_fd = -1;

	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	log_fd = open(paths->log,
		      O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW,
		      0600);
	if (null_fd < 0 || log_fd < 0) {
		log_error("cannot open '%s': %m", paths->log);
		return -errno;
	}
	if (dup2(null_fd, 0) < 0 || dup2(log_fd, 1) < 0 || dup2(log_fd, 2) < 0)
		return -errno;
	return 0;
}

static int start_notify(struct server *server)
{
	uint64_t every_ms = fw_notify_watchdog_ms();
	int r;

	if (!server->options->is_foreground) {
		r = redirect_stdio(&server->daemon.paths);
		if (r < 0)
			return r;
	}
	fw_log_bound(server->daemon.paths.log);
	if (every_ms) {
		server->watchdog =
			fw_timer_new(server->daemon.loop, on_watchdog, NULL);
		if (!server->watchdog ||
		    fw_timer_arm(server->watchdog, every_ms, every_ms) < 0)
			return -errno;
	}
	fw_notify("READY=1");
	if (server->ready_fd >= 0) {
		if (write(server->ready_fd, "1", 1) < 0)
			log_debug("nobody waits for readiness: %m");
		(void)close(take_fd(&server->ready_fd));
	}
	return 0;
}

static void stop_notify(struct server *server)
{
	fw_notify("STOPPING=1");
	fw_timer_free(take_ptr(server->watchdog));
}

static const struct {
	const char *name;
	int (*start)(struct server *server);
	void (*stop)(struct server *server);
} parts[] = {
	{ "run directory", start_dir, NULL },
	{ "lock", start_lock, stop_lock },
	{ "event loop", start_loop, stop_loop },
	{ "signals", start_signals, stop_signals },
	{ "log of rules", start_rulelog, stop_rulelog },
	{ "monitors", start_monitors, stop_monitors },
	{ "captures", start_captures, stop_captures },
	{ "metrics", start_metrics, stop_metrics },
	{ "datapath", start_datapath, stop_datapath },
	{ "control socket", start_control, stop_control },
	{ "notification", start_notify, stop_notify },
};

/* A part that fails half-way is stopped as well: every stop takes that. */
static int run(struct server *server)
{
	size_t n = 0;
	int r = 0;

	while (n < ARRAY_SIZE(parts) && r >= 0) {
		r = parts[n].start(server);
		if (r < 0) {
			log_error("cannot start: %s: %s", parts[n].name,
				  strerror(-r));
		}
		n++;
	}
	if (r >= 0)
		r = fw_loop_run(server->daemon.loop);
	while (n > 0) {
		n--;
		if (parts[n].stop)
			parts[n].stop(server);
	}
	return r;
}

/* ---- going into the background -------------------------------------------------- */

/* In the parent: 0 when the child is ready, 1 if it ended before. */
static int await_child(pid_t child, int fd)
{
	int status = 0;
	ssize_t n;
	char byte;

	do {
		n = read(fd, &byte, 1);
	} while (n < 0 && errno == EINTR);
	if (n == 1)
		return EXIT_SUCCESS;
	if (waitpid(child, &status, 0) == child && WIFEXITED(status) &&
	    WEXITSTATUS(status))
		return WEXITSTATUS(status);
	return EXIT_FAILURE;
}

/* The child returns with a descriptor to report on; the parent never. */
static int to_background(int *ret_ready_fd)
{
	int fds[2];
	pid_t child;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	child = fork();
	if (child < 0)
		return -errno;
	if (child > 0) {
		(void)close(fds[1]);
		_exit(await_child(child, fds[0]));
	}
	(void)close(fds[0]);
	*ret_ready_fd = fds[1];
	return setsid() < 0 ? -errno : 0;
}

/* ---- options -------------------------------------------------------------------- */

static const char usage[] =
	"usage: fwctld [options]\n"
	"  --foreground           stay there and log to standard error\n"
	"  --metrics ADDR:PORT    serve metrics there (default " FW_METRICS_ADDRESS
	"), or off\n"
	"  --run-dir DIR          socket, lock and log (default /run/fwctl)\n"
	"  --pin-dir DIR          pins (default /sys/fs/bpf/fwctl)\n"
	"  --exit-on-unload       end when no rules are loaded any more\n"
	"  --ready-fd N           write a byte to this descriptor when ready\n"
	"  -v, --verbose          log more\n"
	"  -h, --help             this text\n"
	"  --version              version\n";

enum {
	OPT_RUN_DIR = 256,
	OPT_PIN_DIR,
	OPT_METRICS,
	OPT_FOREGROUND,
	OPT_EXIT_ON_UNLOAD,
	OPT_READY_FD,
	OPT_VERSION,
};

static const struct option long_options[] = {
	{ "run-dir", required_argument, NULL, OPT_RUN_DIR },
	{ "pin-dir", required_argument, NULL, OPT_PIN_DIR },
	{ "metrics", required_argument, NULL, OPT_METRICS },
	{ "foreground", no_argument, NULL, OPT_FOREGROUND },
	{ "exit-on-unload", no_argument, NULL, OPT_EXIT_ON_UNLOAD },
	{ "ready-fd", required_argument, NULL, OPT_READY_FD },
	{ "verbose", no_argument, NULL, 'v' },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ 0 },
};

static int parse_fd(const char *text)
{
	char *end;
	long fd;

	fd = strtol(text, &end, 10);
	if (*end || end == text || fd < 0 || fd > 65535 ||
	    fcntl((int)fd, F_GETFD) < 0)
		return -1;
	(void)fcntl((int)fd, F_SETFD, FD_CLOEXEC);
	return (int)fd;
}

/* Exit status, or -1 to go on. */
static int parse_option(int c, struct options *options)
{
	switch (c) {
	case OPT_RUN_DIR:
		options->run_dir = optarg;
		return -1;
	case OPT_PIN_DIR:
		options->pin_dir = optarg;
		return -1;
	case OPT_METRICS:
		options->metrics = optarg;
		return -1;
	case OPT_FOREGROUND:
		options->is_foreground = true;
		return -1;
	case OPT_EXIT_ON_UNLOAD:
		options->exit_on_unload = true;
		return -1;
	case OPT_READY_FD:
		options->ready_fd = parse_fd(optarg);
		if (options->ready_fd >= 0)
			return -1;
		(void)fprintf(stderr, "fwctld: '%s' is no open descriptor\n",
			      optarg);
		return FW_EXIT_USAGE;
	case 'v':
		fw_log_set_level(FW_LOG_DEBUG);
		return -1;
	case 'h':
		(void)fputs(usage, stdout);
		return 0;
	case OPT_VERSION:
		(void)puts("fwctld " FW_VERSION);
		return 0;
	default:
		(void)fputs(usage, stderr);
		return FW_EXIT_USAGE;
	}
}

static int parse_options(int argc, char **argv, struct options *ret)
{
	int c, status;

	while ((c = getopt_long(argc, argv, "vh", long_options, NULL)) != -1) {
		status = parse_option(c, ret);
		if (status >= 0)
			return status;
	}
	if (optind < argc) {
		(void)fprintf(stderr, "fwctld: unexpected argument '%s'\n%s",
			      argv[optind], usage);
		return FW_EXIT_USAGE;
	}
	return -1;
}

static int init(struct server *server, const struct options *options)
{
	struct fw_daemon *daemon = &server->daemon;
	bool is_first;
	int r;

	server->options = options;
	daemon->started = time(NULL);
	daemon->exit_on_unload = options->exit_on_unload;
	r = fw_paths_init(&daemon->paths, options->run_dir, options->pin_dir);
	if (r >= 0)
		r = fw_paths_netns(&daemon->netns, &is_first);
	if (r < 0) {
		log_error("cannot tell where the socket and pins go: %s",
			  r == -EINVAL ? "directories must be absolute paths"
				       : strerror(-r));
		return r;
	}
	/* as long as our ancestors are ours: pins belong to everybody's mounts */
	if (fw_bpffs_is_below(daemon->paths.pin_dir))
		fw_mounts_join_outer();
	if (options->is_foreground)
		return 0;
	return to_background(&server->ready_fd);
}

int main(int argc, char **argv)
{
	struct options options = { .ready_fd = -1 };
	struct server server = { .lock_fd = -1, .signal_fd = -1 };
	int r;

	r = parse_options(argc, argv, &options);
	if (r >= 0)
		return r;
	if (geteuid() != 0) {
		(void)fprintf(
			stderr,
			"fwctld: must be run as root, it loads programs into the kernel\n");
		return EXIT_FAILURE;
	}
	(void)umask(077);
	fw_heap_init();
	server.ready_fd = options.ready_fd;
	if (!options.metrics)
		options.metrics = getenv("FWCTL_METRICS");
	r = init(&server, &options);
	if (r >= 0)
		r = run(&server);
	fw_log_bound(NULL);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
