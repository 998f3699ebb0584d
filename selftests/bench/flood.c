/* SPDX-License-Identifier: GPL-2.0-only */

/* Attaches the flood beside a tunnel to a device, and says where it is to go. */
#include <errno.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "selftests/bench/flood.h"
#include "selftests/bench/flood_skel.h"

static const char help[] =
	"usage: bench_flood DEVICE COUNT\n"
	"For each packet of ESP that leaves DEVICE, COUNT more with random SPIs go out of\n"
	"another one, whose name is read from standard input, none for \"-\". Answer to\n"
	"each name: packets of ESP until then, and of the flood.\n";

static int fail(const char *what)
{
	fprintf(stderr, "bench_flood: %s: %s\n", what, strerror(errno));
	return 1;
}

static bool attach(const struct bpf_program *prog, const char *device)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)if_nametoindex(device),
		    .attach_point = BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = bpf_program__fd(prog));

	return bpf_tc_hook_create(&hook) == 0 &&
	       bpf_tc_attach(&hook, &opts) == 0;
}

static void serve(struct flood_bpf__bss *bss)
{
	unsigned long long of_tunnel, of_flood;
	char line[64];

	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		__atomic_store_n(&bss->device, 0, __ATOMIC_SEQ_CST);
		of_tunnel = bss->of_tunnel;
		of_flood = bss->of_flood;
		__atomic_store_n(&bss->device, if_nametoindex(line),
				 __ATOMIC_SEQ_CST);
		printf("%llu %llu\n", of_tunnel, of_flood);
		(void)fflush(stdout);
	}
}

int main(int argc, char **argv)
{
	struct flood_bpf *skel;
	unsigned long copies;
	int r = 0;

	copies = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
	if (!copies || copies > FLOOD_MAX) {
		fputs(help, stderr);
		return 2;
	}
	skel = flood_bpf__open();
	if (!skel)
		return fail("open");
	skel->rodata->copies = (unsigned int)copies;
	if (flood_bpf__load(skel))
		r = fail("load");
	else if (!attach(skel->progs.flood, argv[1]))
		r = fail(argv[1]);
	else
		serve(skel->bss);
	flood_bpf__destroy(skel);
	return r;
}
