/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Sends frames into a veth as fast as its other end takes them: test runs of a
 * program with live frames, on one CPU. Serves a small protocol, see help[].
 */
#include <errno.h>
#include <linux/if_ether.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "selftests/bench/traffic.h"
#include "selftests/bench/traffic_skel.h"

static const char help[] =
	"usage: bench_traffic CPU DESTINATION-MAC SOURCE-MAC\n"
	"Commands on standard input, each answered by one line:\n"
	"  keys 4|6 FILE [STEP]\n"
	"                    packets to send: an array of struct traffic_key4 or 6; each\n"
	"                    round their source ports are larger by so many\n"
	"  run DEVICE COUNT [BYTES [RATE]]\n"
	"                    send so many, round and round, of the shortest frames or of\n"
	"                    such as have so many bytes, no more than so many a second;\n"
	"                    answer: nanoseconds from the first batch to the last one,\n"
	"                    frames sent between\n";

#define NS_PER_S 1000000000ull

static struct traffic_bpf *skel;
static bool is_v6;

static void answer_error(const char *what)
{
	printf("error %s: %s\n", what, strerror(errno));
}

static bool parse_mac(const char *text, unsigned char *mac)
{
	char end;

	return sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx%c", &mac[0], &mac[1],
		      &mac[2], &mac[3], &mac[4], &mac[5], &end) == ETH_ALEN;
}

static bool pin_to(const char *text)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(strtoul(text, NULL, 10), &cpus);
	return sched_setaffinity(0, sizeof(cpus), &cpus) == 0;
}

/* ---- keys ---------------------------------------------------------------- */

static bool load_keys(const struct bpf_map *map, FILE *in)
{
	size_t size = bpf_map__value_size(map);
	unsigned char key[sizeof(struct traffic_key6)];
	uint32_t n = 0;

	while (n < TRAFFIC_KEYS && fread(key, size, 1, in) == 1) {
		if (bpf_map_update_elem(bpf_map__fd(map), &n, key, 0) < 0)
			return false;
		n++;
	}
	if (!n) {
		errno = EINVAL;
		return false;
	}
	skel->bss->n_keys = n;
	skel->bss->at = 0;
	return true;
}

static void do_keys(const char *family, const char *path,
		    unsigned int port_step)
{
	FILE *in = fopen(path, "re");

	if (!in) {
		answer_error(path);
		return;
	}
	is_v6 = family[0] == '6';
	skel->bss->port_step = port_step;
	skel->bss->port_add = 0;
	if (load_keys(is_v6 ? skel->maps.keys6 : skel->maps.keys4, in))
		printf("ok %u\n", skel->bss->n_keys);
	else
		answer_error(path);
	(void)fclose(in);
}

/* ---- sending ------------------------------------------------------------- */

/* No frame is shorter than the shortest one. */
static void do_run(const char *device, int count, unsigned int size,
		   unsigned int rate)
{
	const unsigned int least = is_v6 ? TRAFFIC_SIZE_6 : TRAFFIC_SIZE_4;
	char frame[TRAFFIC_SIZE_MAX] = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame,
		    .data_size_in = size > least ? size : least,
		    .flags = BPF_F_TEST_XDP_LIVE_FRAMES, .repeat = count,
		    .batch_size = TRAFFIC_BATCH);
	const struct bpf_program *prog =
		is_v6 ? skel->progs.send6 : skel->progs.send4;

	if (size > TRAFFIC_SIZE_MAX) {
		errno = EMSGSIZE;
		answer_error("run");
		return;
	}
	skel->bss->device = if_nametoindex(device);
	if (!skel->bss->device) {
		answer_error(device);
		return;
	}
	skel->bss->batch_ns = rate ? NS_PER_S * TRAFFIC_BATCH / rate : 0;
	skel->bss->sent = 0;
	skel->bss->first_ns = 0;
	if (bpf_prog_test_run_opts(bpf_program__fd(prog), &opts) < 0)
		answer_error("run");
	else
		printf("%llu %d\n",
		       (unsigned long long)(skel->bss->last_ns -
					    skel->bss->first_ns),
		       (count - 1) / TRAFFIC_BATCH * TRAFFIC_BATCH);
}

static void serve(void)
{
	char line[512], a[256], b[256];
	unsigned int n, rate;

	while (fgets(line, sizeof(line), stdin)) {
		n = rate = 0;
		if (sscanf(line, "keys %255s %255s %u", a, b, &n) >= 2)
			do_keys(a, b, n);
		else if (sscanf(line, "run %255s %255s %u %u", a, b, &n,
				&rate) >= 2)
			do_run(a, (int)strtol(b, NULL, 10), n, rate);
		else
			printf("error unknown command\n");
		(void)fflush(stdout);
	}
}

static int fail(const char *what)
{
	fprintf(stderr, "bench_traffic: %s: %s\n", what, strerror(errno));
	return 1;
}

int main(int argc, char **argv)
{
	unsigned char macs[2 * ETH_ALEN];
	unsigned int i;

	if (argc != 4 || !parse_mac(argv[2], macs) ||
	    !parse_mac(argv[3], macs + ETH_ALEN)) {
		fputs(help, stderr);
		return 2;
	}
	if (!pin_to(argv[1]))
		return fail(argv[1]);
	skel = traffic_bpf__open();
	if (!skel)
		return fail("open");
	for (i = 0; i < sizeof(macs); i++)
		skel->rodata->macs[i] = macs[i];
	if (traffic_bpf__load(skel))
		return fail("load");
	serve();
	traffic_bpf__destroy(skel);
	return 0;
}
