/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * What judging a packet costs in a program: nanoseconds net of the same program
 * without the classifier, over many different packets; and whether it is right.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "kern/image.h"
#include "rules/match.h"
#include "selftests/bench/classify.h"
#include "selftests/bench/classify_rules.h"
#include "selftests/bench/classify_skel.h"

static unsigned int repeat = 1 << 20; /* packets a measurement */
static unsigned int trials = 7;	      /* the fastest counts */
static unsigned int n_verified = 1000;
static uint64_t seed = 1;
static bool is_v6;

static void die(const char *what)
{
	fprintf(stderr, "bench_classify: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* Of this thread alone: other work on the machine does not count. */
static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* ---- packets ------------------------------------------------------------- */

enum load {
	LOAD_UNIFORM, /* each rule is hit as often */
	LOAD_SKEWED,  /* rules far down the file are hit rarely */
	LOAD_RANDOM,  /* any address and port */
	LOAD_MAX,
};

static size_t pick_rule(enum load load, struct bench_rng *rng, size_t n)
{
	double u;

	if (load == LOAD_UNIFORM)
		return bench_below(rng, (uint32_t)n);
	/* Density falls like the cube: half are among the first eighth. */
	u = (double)bench_below(rng, 1u << 30) / (double)(1u << 30);
	return (size_t)(u * u * u * (double)n);
}

static void make_keys(const struct fw_program *program, enum load load,
		      struct bench_keys *keys)
{
	struct bench_rng rng = { seed + 1 + (uint64_t)load };
	size_t i;

	for (i = 0; i < BENCH_KEYS; i++) {
		if (load == LOAD_RANDOM) {
			bench_random(&rng, is_v6, &keys->key[i]);
		} else {
			bench_hit(program,
				  pick_rule(load, &rng, program->n_rows), &rng,
				  &keys->key[i]);
		}
	}
}

/* ---- the programs -------------------------------------------------------- */

static uint32_t image_size(const struct fw_bytes *bytes)
{
	uint32_t size = 4096;

	while (size < bytes->size)
		size *= 2;
	return size;
}

static void write_map(const struct bpf_map *map, const void *value)
{
	uint32_t zero = 0;

	if (bpf_map_update_elem(bpf_map__fd(map), &zero, value, 0) < 0)
		die("map");
}

static struct classify_bpf *load_programs(const struct fw_bytes *bytes,
					  uint32_t off)
{
	uint32_t size = image_size(bytes);
	struct classify_bpf *skel = classify_bpf__open();
	unsigned char *image;

	if (!skel)
		die("open");
	skel->rodata->fw_image_mask = size - 1;
	skel->rodata->match_off = off;
	if (bpf_map__set_value_size(skel->maps.image, size + FW_IMAGE_SLACK) ||
	    classify_bpf__load(skel))
		die("load");
	image = calloc(1, size + FW_IMAGE_SLACK);
	if (!image)
		die("image");
	memcpy(image, bytes->data, bytes->size);
	write_map(skel->maps.image, image);
	free(image);
	return skel;
}

static void run(const struct bpf_program *prog, unsigned int times)
{
	char frame[64] = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame,
		    .data_size_in = sizeof(frame), .repeat = (int)times);

	if (bpf_prog_test_run_opts(bpf_program__fd(prog), &opts) < 0)
		die("run");
}

/* Time of one run, the fastest of all trials. */
static double measure(const struct bpf_program *prog)
{
	double best = 1e18, t;
	unsigned int i;

	for (i = 0; i < trials; i++) {
		t = now_ns();
		run(prog, repeat);
		t = (now_ns() - t) / repeat;
		best = t < best ? t : best;
	}
	return best;
}

static unsigned int count_wrong(const struct fw_program *program,
				struct classify_bpf *skel,
				const struct bench_keys *keys)
{
	struct bench_answers *answers = malloc(sizeof(*answers));
	unsigned int i, k, wrong = 0;
	uint32_t zero = 0;

	if (!answers)
		die("answers");
	run(skel->progs.answer, BENCH_KEYS);
	if (bpf_map_lookup_elem(bpf_map__fd(skel->maps.answers), &zero,
				answers) < 0)
		die("answers");
	for (i = 0; i < n_verified; i++) {
		struct fw_result right;

		k = (i * 40503u) % BENCH_KEYS;
		fw_interpret(program, &keys->key[k], false, &right);
		wrong += right.rule != answers->result[k].rule ||
			 right.verdict != answers->result[k].verdict ||
			 right.flags != answers->result[k].flags;
	}
	free(answers);
	return wrong;
}

/* ---- one rule set -------------------------------------------------------- */

struct built {
	struct fw_bytes bytes;
	uint32_t off;
	struct fw_match_stats stats;
	double ms;
};

static void build(const struct fw_program *program, struct built *ret)
{
	uint32_t *slots = calloc(program->n_rows + 1, sizeof(*slots));
	uint32_t defaults[FW_DIR_MAX] = { 1, 2, 3 };
	double best = 1e18, t;
	int i, r;

	if (!slots)
		die("slots");
	for (i = 0; i < 3; i++) {
		fw_bytes_done(&ret->bytes);
		t = now_ns();
		fw_bytes_reserve(&ret->bytes, 64, 64);
		r = fw_match_build(program, slots, defaults, &ret->bytes,
				   &ret->off, &ret->stats);
		t = now_ns() - t;
		best = t < best ? t : best;
		if (r < 0) {
			errno = -r;
			die("build");
		}
	}
	ret->ms = best / 1e6;
	free(slots);
}

static void bench(const char *name, const struct fw_program *program)
{
	static struct bench_keys keys;
	struct built built = { 0 };
	struct classify_bpf *skel;
	double ns[LOAD_MAX];
	unsigned int wrong = 0;
	int load;

	build(program, &built);
	skel = load_programs(&built.bytes, built.off);
	for (load = 0; load < LOAD_MAX; load++) {
		make_keys(program, (enum load)load, &keys);
		write_map(skel->maps.keys, &keys);
		ns[load] = measure(skel->progs.classify) -
			   measure(skel->progs.empty);
		skel->bss->at = 0;
		wrong += count_wrong(program, skel, &keys);
	}
	printf("%-12s %7zu  %7.1f %7.1f %7.1f  %6.1f %7.1f  %3u %5u %5u  %u\n",
	       name, program->n_rows, ns[LOAD_UNIFORM], ns[LOAD_SKEWED],
	       ns[LOAD_RANDOM],
	       (double)built.bytes.size / (double)program->n_rows, built.ms,
	       built.stats.most_tables, built.stats.longest_list,
	       built.stats.most_steps, wrong);
	(void)fflush(stdout);
	classify_bpf__destroy(skel);
	fw_bytes_done(&built.bytes);
	if (wrong)
		exit(1);
}

/* ---- command line -------------------------------------------------------- */

static void bench_file(const char *path)
{
	const char *name = strrchr(path, '/');
	struct fw_program program;
	int r;

	r = bench_classbench(path, is_v6, &program);
	if (r < 0) {
		errno = -r;
		die(path);
	}
	bench(name ? name + 1 : path, &program);
	bench_rules_free(&program);
}

static void bench_all(size_t max)
{
	struct fw_program program;
	char name[32];
	int shape;
	size_t n;

	for (shape = 0; shape < BENCH_SHAPE_MAX; shape++) {
		for (n = 10; n <= max; n *= 10) {
			if (bench_synthetic((enum bench_shape)shape, n, seed,
					    is_v6, &program) < 0)
				die("rules");
			(void)snprintf(name, sizeof(name), "%s%s",
				       bench_shapes[shape], is_v6 ? "-v6" : "");
			bench(name, &program);
			bench_rules_free(&program);
		}
	}
}

static const char help[] =
	"usage: bench_classify [OPTION]... [FILE]...\n"
	"Measure synthetic rule sets, or files in the format of ClassBench.\n"
	"  -6, --ipv6        rules of the same shape for IPv6\n"
	"  -m, --max N       largest synthetic rule set, default 100000\n"
	"  -r, --repeat N    packets a measurement, default 1048576\n"
	"  -t, --trials N    the fastest of so many counts, default 7\n"
	"  -s, --seed N      of the synthetic rules and of packets\n"
	"  -v, --verify N    packets compared with the interpreter, default 1000\n";

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "ipv6", no_argument, NULL, '6' },
		{ "max", required_argument, NULL, 'm' },
		{ "repeat", required_argument, NULL, 'r' },
		{ "trials", required_argument, NULL, 't' },
		{ "seed", required_argument, NULL, 's' },
		{ "verify", required_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	size_t max = 100000;
	int c;

	while ((c = getopt_long(argc, argv, "6m:r:t:s:v:h", options, NULL)) !=
	       -1) {
		unsigned long n = optarg ? strtoul(optarg, NULL, 10) : 0;

		switch (c) {
		case '6':
			is_v6 = true;
			break;
		case 'm':
			max = n;
			break;
		case 'r':
			repeat = (unsigned int)n;
			break;
		case 't':
			trials = (unsigned int)n;
			break;
		case 's':
			seed = n;
			break;
		case 'v':
			n_verified = (unsigned int)n;
			break;
		case 'h':
			fputs(help, stdout);
			return 0;
		default:
			fputs(help, stderr);
			return 2;
		}
	}
	printf("set            rules  uniform  skewed  random  B/rule build ms"
	       "  tab  list steps  wrong\n");
	if (optind == argc)
		bench_all(max);
	for (; optind < argc; optind++)
		bench_file(argv[optind]);
	return 0;
}
