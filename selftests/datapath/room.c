/* SPDX-License-Identifier: GPL-2.0-only */

/* Namespaces, devices, frames and questions for the tests of the datapath. */
#include "selftests/datapath/room.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>

#include "user/attach.h"
#include "user/util.h"

unsigned int slowness(void)
{
	const char *value = getenv("FWCTL_SLOWNESS");
	unsigned long n = value ? strtoul(value, NULL, 10) : 1;

	return n > 0 && n < 100 ? (unsigned int)n : 1;
}

void room_enter(void)
{
	if (geteuid() != 0 || unshare(CLONE_NEWNET | CLONE_NEWNS) < 0) {
		(void)fprintf(stderr, "needs root: skipped\n");
		exit(77);
	}
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("bpf", "/sys/fs/bpf", "bpf", 0, "mode=0700") < 0) {
		perror("mount");
		exit(1);
	}
	/* A hang is a failure, too. */
	(void)alarm(300 * slowness());
	run("ip link set lo up");
}

void run(const char *format, ...)
{
	char command[512];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	if (system(command) != 0)
		fail_msg("'%s' failed", command);
}

void make_pair(const char *name, const char *peer)
{
	run("ip link add name %s type veth peer name %s", name, peer);
	run("ip link set dev %s addrgenmode none", name);
	run("ip link set dev %s addrgenmode none", peer);
	run("ip link set dev %s up", name);
	run("ip link set dev %s up", peer);
}

int make_devices(void **state)
{
	(void)state;
	make_pair("dpa", "dpb");
	return 0;
}

void die_with_parent(void)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		_exit(1);
}

int status_of_child(void (*work)(void *data), void *data)
{
	int status;
	pid_t pid;

	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		die_with_parent();
		work(data);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

uint32_t index_of(const char *name)
{
	return if_nametoindex(name);
}

void send_frames(const char *name, unsigned int n)
{
	uint8_t frame[64] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02,
			      0,    0,	  0,	0,    1,    0x88, 0xb5 };
	struct sockaddr_ll to = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = (int)index_of(name),
		.sll_halen = ETH_ALEN,
	};
	_cleanup_close_ int fd = -1;

	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	for (unsigned int i = 0; i < n; i++) {
		assert_int_equal(sendto(fd, frame, sizeof(frame), 0,
					(struct sockaddr *)&to, sizeof(to)),
				 sizeof(frame));
	}
}

uint64_t packets_at(const struct fw_datapath *dp, uint32_t slot,
		    enum fw_hook hook)
{
	_cleanup_free_ struct fw_stats *stats = NULL;
	uint64_t n = 0;

	stats = malloc(sizeof(*stats));
	assert_non_null(stats);
	fw_stats_read(dp, stats);
	for (int i = 0; i < FW_STATS_REASONS; i++)
		n += stats->by[slot][hook][i].packets;
	return n;
}

int count_lines(const char *command, const char *word)
{
	char line[512];
	int n = 0;
	FILE *f;

	f = popen(command, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		n += strstr(line, word) != NULL;
	(void)pclose(f);
	return n;
}

uint32_t count_tc(const char *name, bool ingress)
{
	uint32_t ids[64], n = 64;
	char command[128];

	if (!fw_attach_has_tcx()) {
		(void)snprintf(command, sizeof(command),
			       "tc filter show dev %s %s 2>/dev/null", name,
			       ingress ? "ingress" : "egress");
		return (uint32_t)count_lines(command, " handle ");
	}
	if (bpf_prog_query((int)index_of(name),
			   (enum bpf_attach_type)(ingress ? 46 : 47), 0, NULL,
			   ids, &n) < 0)
		return 0;
	return n;
}

/* Two links, or two filters and the qdisc that we made for them. */
int pins_of(int n, int n_xdp)
{
	return n * (fw_attach_has_tcx() ? 2 : 3) + n_xdp;
}

static void query_xdp(const char *name, struct bpf_xdp_query_opts *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->sz = sizeof(*ret);
	assert_int_equal(bpf_xdp_query((int)index_of(name), 0, ret), 0);
}

uint32_t native_xdp(const char *name)
{
	struct bpf_xdp_query_opts opts;

	query_xdp(name, &opts);
	return opts.drv_prog_id;
}

uint32_t generic_xdp(const char *name)
{
	struct bpf_xdp_query_opts opts;

	query_xdp(name, &opts);
	return opts.skb_prog_id;
}

/* A program that is not ours and passes everything. */
static int load_foreign(enum bpf_prog_type type, int32_t verdict)
{
	const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = verdict },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	int fd;

	fd = bpf_prog_load(type, "somebody", "GPL", insns, ARRAY_SIZE(insns),
			   NULL);
	assert_true(fd >= 0);
	return fd;
}

uint32_t add_foreign_xdp(const char *name)
{
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);
	_cleanup_close_ int fd = -1;

	fd = load_foreign(BPF_PROG_TYPE_XDP, XDP_PASS);
	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
	assert_int_equal(bpf_xdp_attach((int)index_of(name), fd,
					XDP_FLAGS_SKB_MODE, NULL),
			 0);
	return info.id;
}

void remove_foreign_xdp(const char *name)
{
	assert_int_equal(
		bpf_xdp_detach((int)index_of(name), XDP_FLAGS_SKB_MODE, NULL),
		0);
}

void add_foreign_filter(const char *name)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)index_of(name),
		    .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = 1, .priority = 7);
	_cleanup_close_ int fd = -1;

	fd = load_foreign(BPF_PROG_TYPE_SCHED_CLS, -1);
	opts.prog_fd = fd;
	assert_int_equal(bpf_tc_attach(&hook, &opts), 0);
}

void remove_foreign_filter(const char *name)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)index_of(name),
		    .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = 1, .priority = 7);

	assert_int_equal(bpf_tc_detach(&hook, &opts), 0);
}

int count_files(const char *path)
{
	const struct dirent *entry;
	int n = 0;
	DIR *dir;

	dir = opendir(path);
	if (!dir)
		return -1;
	while ((entry = readdir(dir)))
		n += entry->d_name[0] != '.';
	(void)closedir(dir);
	return n;
}

struct fw_datapath *open_datapath(void)
{
	struct fw_datapath *dp = NULL;
	char *error = NULL;
	int r;

	r = fw_datapath_open(PIN_DIR, &fw_datapath_smallest, &dp, &error);
	if (r < 0)
		fail_msg("fw_datapath_open: %d, %s", r, error ? error : "");
	assert_null(error);
	return dp;
}

struct fw_program *compile(const char *text)
{
	struct fw_program *program = NULL;
	struct fw_diag diag = { 0 };
	int r;

	r = fw_compile("test.conf", text, strlen(text), NULL, NULL, &diag,
		       &program);
	if (r < 0) {
		fail_msg("test rules: %s",
			 diag.n ? diag.messages[0].text : strerror(-r));
	}
	fw_diag_done(&diag);
	return program;
}

struct wait {
	struct fw_loop *loop;
	bool (*done)(void *data);
	void *data;
	uint64_t deadline_ns;
	bool is_late;
};

static void on_tick(void *data)
{
	struct wait *wait = data;

	wait->is_late = fw_now_ns() > wait->deadline_ns;
	if (wait->is_late || wait->done(wait->data))
		fw_loop_stop(wait->loop);
}

void wait_until(struct fw_loop *loop, bool (*done)(void *data), void *data)
{
	struct wait wait = {
		.loop = loop,
		.done = done,
		.data = data,
		.deadline_ns =
			fw_now_ns() + DEADLINE_S * slowness() * 1000000000ull,
	};
	struct fw_timer *timer;

	timer = fw_timer_new(loop, on_tick, &wait);
	assert_non_null(timer);
	assert_int_equal(fw_timer_arm(timer, 5, 5), 0);
	assert_int_equal(fw_loop_run(loop), 0);
	fw_timer_free(timer);
	assert_false(wait.is_late);
}
