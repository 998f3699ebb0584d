/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The programs of an object are verified at the same time, each on a thread.
 *
 * libbpf loads one after the other. But it asks before each, and takes other
 * instructions then: what it has made of a program is put aside, and libbpf
 * loads a stub. When it comes to the last one, all are complete. They are loaded
 * before it goes on, for it closes then what they refer to; and at the end their
 * descriptors take the places of those of the stubs. So all of that is parsed
 * and relocated once, and nobody else sees that there were stubs.
 */
#include "user/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "kern/abi.h"
#include "user/nflinks.h"
#include "user/skel.h"
#include "user/util.h"

/*
 * The compiler of rules is waited for, too: three such threads have together as
 * much of the processors as it has.
 */
#define NICE 5

/* A program put aside. */
struct job {
	const struct bpf_program *prog;
	struct bpf_insn *insns; /* a copy */
	size_t n_insns;
	struct bpf_prog_load_opts opts; /* what it points to is libbpf's */
	pthread_t thread;
	bool has_thread;
	int fd; /* or a negative errno; the thread's until it has been joined */
};

struct batch {
	struct job jobs[FW_HOOK_MAX + FW_LOCAL_MAX];
	size_t n;
	size_t wanted; /* how many the object is to load */
};

/* Of the object that this thread is loading; libbpf tells us nothing about it. */
static _Thread_local struct batch *batch;

/* ---- verifying ---------------------------------------------------------------- */

static void verify(struct job *job)
{
	job->fd = bpf_prog_load(bpf_program__type(job->prog),
				bpf_program__name(job->prog), "GPL", job->insns,
				job->n_insns, &job->opts);
}

static void *run(void *data)
{
	struct job *job = data;

	/* Packets that those of netfilter are to judge pass until they are there. */
	if (bpf_program__type(job->prog) != FW_PROG_TYPE_NETFILTER)
		(void)setpriority(PRIO_PROCESS, 0, NICE);
	verify(job);
	return NULL;
}

static int verify_all(struct batch *all)
{
	int r = 0;

	for (size_t i = 0; i < all->n; i++) {
		struct job *job = &all->jobs[i];

		job->has_thread =
			pthread_create(&job->thread, NULL, run, job) == 0;
		/* Without a thread it takes longer, that is all. */
		if (!job->has_thread)
			verify(job);
	}
	for (size_t i = 0; i < all->n; i++) {
		struct job *job = &all->jobs[i];

		if (job->has_thread)
			(void)pthread_join(job->thread, NULL);
		if (job->fd < 0 && r == 0)
			r = job->fd;
	}
	return r;
}

/* ---- between libbpf and the kernel -------------------------------------------- */

static int put_aside(struct batch *all, const struct bpf_program *prog,
		     const struct bpf_prog_load_opts *opts)
{
	struct job *job = &all->jobs[all->n];
	size_t n = bpf_program__insn_cnt(prog);

	*job = (struct job){ .prog = prog, .opts = *opts, .fd = -ECANCELED };
	/* A later libbpf may know more than what was copied. */
	job->opts.sz = sizeof(job->opts);
	job->insns = malloc(n * sizeof(*job->insns));
	if (!job->insns)
		return -ENOMEM;
	memcpy(job->insns, bpf_program__insns(prog), n * sizeof(*job->insns));
	job->n_insns = n;
	all->n++;
	return 0;
}

/* r0 = 0; exit */
static int make_stub(struct bpf_program *prog, struct bpf_prog_load_opts *opts)
{
	struct bpf_insn stub[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K },
		{ .code = BPF_JMP | BPF_EXIT },
	};

	opts->func_info_cnt = 0;
	opts->line_info_cnt = 0;
	return bpf_program__set_insns(prog, stub, ARRAY_SIZE(stub));
}

/* `flags` are those that libbpf would have set itself. */
static int on_prepare(struct bpf_program *prog, struct bpf_prog_load_opts *opts,
		      long flags)
{
	int r;

	opts->prog_flags |= (uint32_t)flags;
	if (!batch)
		return 0;
	if (batch->n == batch->wanted)
		return -E2BIG;
	r = put_aside(batch, prog, opts);
	if (r == 0 && batch->n == batch->wanted)
		r = verify_all(batch);
	return r < 0 ? r : make_stub(prog, opts);
}

static void register_handlers(void)
{
	LIBBPF_OPTS(libbpf_prog_handler_opts, opts,
		    .prog_prepare_load_fn = on_prepare);

	/* If it is refused, libbpf loads as it always does. */
	(void)libbpf_register_prog_handler("tc", BPF_PROG_TYPE_SCHED_CLS, 0,
					   &opts);
	(void)libbpf_register_prog_handler("netfilter", FW_PROG_TYPE_NETFILTER,
					   FW_BPF_NETFILTER, &opts);
	opts.cookie = BPF_F_XDP_HAS_FRAGS;
	(void)libbpf_register_prog_handler("xdp.frags", BPF_PROG_TYPE_XDP,
					   BPF_XDP, &opts);
}

void fw_verify_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	(void)pthread_once(&once, register_handlers);
}

/* ---- the whole object ---------------------------------------------------------- */

/* All or none: where fewer have come, stubs alone are loaded. */
static int replace_stubs(const struct batch *all)
{
	if (all->n > 0 && all->n < all->wanted)
		return -EINVAL;
	for (size_t i = 0; i < all->n; i++) {
		const struct job *job = &all->jobs[i];

		if (dup3(job->fd, bpf_program__fd(job->prog), O_CLOEXEC) < 0)
			return -errno;
	}
	return 0;
}

static void batch_done(struct batch *all)
{
	for (size_t i = 0; i < all->n; i++) {
		free(all->jobs[i].insns);
		fw_closep(&all->jobs[i].fd);
	}
}

static size_t count_wanted(const struct bpf_object *obj)
{
	struct bpf_program *prog;
	size_t n = 0;

	bpf_object__for_each_program(prog, obj) n +=
		bpf_program__autoload(prog);
	return n;
}

int fw_verify_load(struct bpf_object_skeleton *skel)
{
	struct batch all = { .wanted = count_wanted(*skel->obj) };
	int r;

	if (all.wanted > ARRAY_SIZE(all.jobs))
		return -E2BIG;
	batch = &all;
	r = bpf_object__load_skeleton(skel);
	batch = NULL;
	if (r == 0)
		r = replace_stubs(&all);
	batch_done(&all);
	return r;
}
