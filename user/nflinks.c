/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Our programs at netfilter's hooks LOCAL_IN and LOCAL_OUT.
 *
 * The kernel has no update of such a link. So another program gets a link beside the old
 * one, with another priority, for no two programs of a hook may have the same; then its
 * pin takes the place of the old one's, which is detached. A packet in between is judged
 * by both.
 */
#include "user/nflinks.h"

#include <errno.h>
#include <limits.h>
#include <linux/netfilter.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "user/skel.h"
#include "user/util.h"

#define PRIORITIES 8 /* that are tried, from the first one on */

static const struct {
	const char *pin;
	enum fw_local prog;
	uint32_t family;
	uint32_t hook;
	int32_t priority; /* in: before, out: behind nftables' filters */
} links[] = {
	{ "local-in-ipv4", FW_LOCAL_IN, NFPROTO_IPV4, NF_INET_LOCAL_IN, -190 },
	{ "local-in-ipv6", FW_LOCAL_IN, NFPROTO_IPV6, NF_INET_LOCAL_IN, -190 },
	{ "local-out-ipv4", FW_LOCAL_OUT, NFPROTO_IPV4, NF_INET_LOCAL_OUT,
	  150 },
	{ "local-out-ipv6", FW_LOCAL_OUT, NFPROTO_IPV6, NF_INET_LOCAL_OUT,
	  150 },
};

/* Of union bpf_attr, as Linux 6.4 has it; missing from the headers of Debian 12. */
struct link_create {
	uint32_t prog_fd;
	uint32_t target_fd;
	uint32_t attach_type;
	uint32_t flags;
	uint32_t family;
	uint32_t hook;
	int32_t priority;
	uint32_t netfilter_flags;
};

struct link_path {
	char text[PATH_MAX];
};

static struct link_path path_of(const char *dir, const char *pin)
{
	struct link_path path;

	(void)snprintf(path.text, sizeof(path.text), "%s/%s", dir, pin);
	return path;
}

bool fw_nflinks_are_possible(void)
{
	LIBBPF_OPTS(bpf_prog_load_opts, opts,
		    .expected_attach_type = FW_BPF_NETFILTER);
	/* NF_ACCEPT */
	const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = 1 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	_cleanup_close_ int fd = -1;

	fd = bpf_prog_load(FW_PROG_TYPE_NETFILTER, "fw_probe", "GPL", insns,
			   ARRAY_SIZE(insns), &opts);
	return fd >= 0;
}

/* ---- one link ------------------------------------------------------------------- */

static int create(size_t i, int prog)
{
	struct link_create attr = {
		.prog_fd = (uint32_t)prog,
		.attach_type = FW_BPF_NETFILTER,
		.family = links[i].family,
		.hook = links[i].hook,
	};
	long fd = -1;

	errno = EBUSY;
	for (int32_t k = 0; fd < 0 && errno == EBUSY && k < PRIORITIES; k++) {
		attr.priority = links[i].priority + k;
		fd = syscall(__NR_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));
	}
	return fd < 0 ? -errno : (int)fd;
}

/* The pin of a new link takes the place of that of an old one. */
static int put_pin(const char *dir, size_t i, int fd)
{
	struct link_path path = path_of(dir, links[i].pin);
	struct link_path fresh = path_of(dir, "local-new");

	(void)unlink(fresh.text);
	if (bpf_obj_pin(fd, fresh.text) < 0)
		return -errno;
	return rename(fresh.text, path.text) < 0 ? -errno : 0;
}

static int get_pin(const char *dir, size_t i)
{
	struct link_path path = path_of(dir, links[i].pin);

	return bpf_obj_get(path.text);
}

static bool is_of(int link, int prog)
{
	struct bpf_prog_info prog_info = { 0 };
	struct bpf_link_info link_info = { 0 };
	uint32_t prog_len = sizeof(prog_info), link_len = sizeof(link_info);

	return bpf_obj_get_info_by_fd(link, &link_info, &link_len) == 0 &&
	       bpf_obj_get_info_by_fd(prog, &prog_info, &prog_len) == 0 &&
	       link_info.prog_id == prog_info.id;
}

static int attach(const char *dir, size_t i, const int progs[FW_LOCAL_MAX])
{
	int prog = progs[links[i].prog], r;
	_cleanup_close_ int old = get_pin(dir, i);
	_cleanup_close_ int fd = -1;

	if (old < 0 && old != -ENOENT)
		return old;
	if (old >= 0 && is_of(old, prog))
		return 0;
	fd = create(i, prog);
	if (fd < 0)
		return fd;
	/* Without a pin the link ends with its descriptor, on return. */
	r = put_pin(dir, i, fd);
	/* Somebody may hold the old one open. */
	if (r == 0 && old >= 0)
		(void)bpf_link_detach(old);
	return r;
}

/* ---- all of them ------------------------------------------------------------------ */

int fw_nflinks_attach(const char *dir, const int progs[FW_LOCAL_MAX])
{
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(links) && r == 0; i++)
		r = attach(dir, i, progs);
	return r;
}

int fw_nflinks_replace(const char *dir, const int progs[FW_LOCAL_MAX])
{
	struct link_path path;
	int r, first = 0;

	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		path = path_of(dir, links[i].pin);
		if (access(path.text, F_OK) < 0)
			continue;
		r = attach(dir, i, progs);
		if (r < 0 && first == 0)
			first = r;
	}
	return first;
}

bool fw_nflinks_are_attached(const char *dir, const int progs[FW_LOCAL_MAX])
{
	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		_cleanup_close_ int fd = get_pin(dir, i);

		if (fd < 0 || !is_of(fd, progs[links[i].prog]))
			return false;
	}
	return true;
}

int fw_nflinks_detach(const char *dir)
{
	struct link_path path;
	int first = 0;

	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		_cleanup_close_ int fd = get_pin(dir, i);

		if (fd == -ENOENT)
			continue;
		path = path_of(dir, links[i].pin);
		/* Somebody may hold the link open: closing ours is not enough. */
		if (fd >= 0)
			(void)bpf_link_detach(fd);
		if ((fd < 0 || unlink(path.text) < 0) && first == 0)
			first = fd < 0 ? fd : -errno;
	}
	return first;
}
