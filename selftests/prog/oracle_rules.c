/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The rules as XDP and TC walk them against the interpreter, by the number of
 * the rule: up to a hundred thousand rules, a million packets each, at every
 * bound of the rules, before it, behind it, and anywhere. `--help` says more.
 */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "kern/image.h"
#include "rules/match.h"
#include "selftests/bench/classify_rules.h"
#include "selftests/prog/judge.h"
#include "selftests/prog/rules.h"
#include "selftests/prog/rules_skel.h"
#include "selftests/random/random_program.h"

#define THREADS	  2
#define MAX_SHOWN 5

static unsigned long n_packets = 1ul << 20; /* of each rule set */
static unsigned long first_seed = 1;
static unsigned long n_wrong;

static void die(const char *what)
{
	fprintf(stderr, "oracle_rules: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* ---- the programs -------------------------------------------------------- */

struct run {
	struct rules_bpf *skel;
	struct rules_keys *keys;
	const struct rules_answers *answers;
};

static void *map_value(const struct bpf_map *map, size_t size)
{
	void *value = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED,
			   bpf_map__fd(map), 0);

	if (value == MAP_FAILED)
		die("mmap");
	return value;
}

static void load(struct run *run, const struct fw_bytes *bytes, uint32_t off)
{
	unsigned char *image;
	uint32_t size = 4096, zero = 0;

	while (size < bytes->size)
		size *= 2;
	run->skel = rules_bpf__open();
	if (!run->skel)
		die("open");
	run->skel->rodata->fw_image_mask = size - 1;
	run->skel->rodata->match_off = off;
	if (bpf_map__set_value_size(run->skel->maps.image,
				    size + FW_IMAGE_SLACK) ||
	    rules_bpf__load(run->skel))
		die("load");
	image = calloc(1, size + FW_IMAGE_SLACK);
	if (!image)
		die("image");
	memcpy(image, bytes->data, bytes->size);
	if (bpf_map_update_elem(bpf_map__fd(run->skel->maps.image), &zero,
				image, 0) < 0)
		die("image");
	free(image);
	run->keys = map_value(run->skel->maps.keys, sizeof(*run->keys));
	run->answers =
		map_value(run->skel->maps.answers, sizeof(*run->answers));
}

static void unload(struct run *run)
{
	(void)munmap(run->keys, sizeof(*run->keys));
	(void)munmap((void *)(uintptr_t)run->answers, sizeof(*run->answers));
	rules_bpf__destroy(run->skel);
}

/* Judge all keys; the kernel runs a program at most a second without a pause. */
static void judge_keys(struct run *run, const struct bpf_program *prog,
		       bool stateless)
{
	char frame[64] = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame,
		    .data_size_in = sizeof(frame), .repeat = RULES_KEYS);

	run->skel->bss->at = 0;
	run->skel->bss->is_stateless = stateless;
	memset((void *)(uintptr_t)run->answers, 0xff, sizeof(*run->answers));
	if (bpf_prog_test_run_opts(bpf_program__fd(prog), &opts) < 0)
		die("run");
	if (run->skel->bss->at != RULES_KEYS) {
		fprintf(stderr, "oracle_rules: %u of %u runs\n",
			run->skel->bss->at, RULES_KEYS);
		exit(1);
	}
}

/* ---- the judge ----------------------------------------------------------- */

struct work {
	const struct judge *judge;
	const struct rules_keys *keys;
	struct fw_result *right;
	size_t first;
	bool stateless;
};

static void *ask(void *data)
{
	const struct work *w = data;
	size_t i;

	for (i = w->first; i < RULES_KEYS; i += THREADS)
		judge_ask(w->judge, &w->keys->key[i], w->stateless,
			  &w->right[i]);
	return NULL;
}

static void ask_all(const struct judge *judge, const struct rules_keys *keys,
		    bool stateless, struct fw_result *right)
{
	pthread_t threads[THREADS];
	struct work work[THREADS];
	size_t i;

	for (i = 0; i < THREADS; i++) {
		work[i] = (struct work){ judge, keys, right, i, stateless };
		errno = pthread_create(&threads[i], NULL, ask, &work[i]);
		if (errno)
			die("thread");
	}
	for (i = 0; i < THREADS; i++)
		(void)pthread_join(threads[i], NULL);
}

/* The judge's short cut is judged, too. */
static void check_judge(const struct fw_program *program,
			const struct rules_keys *keys, bool stateless,
			const struct fw_result *right)
{
	size_t i, step = program->n_rows / 64 * 8 + 8;
	struct fw_result plain;

	for (i = 0; i < RULES_KEYS; i += step) {
		fw_interpret(program, &keys->key[i], stateless, &plain);
		if (plain.rule != right[i].rule ||
		    plain.verdict != right[i].verdict ||
		    plain.flags != right[i].flags ||
		    plain.names_reqid != right[i].names_reqid) {
			fprintf(stderr, "oracle_rules: the judge errs\n");
			exit(1);
		}
	}
}

static void compare(const char *hook, const struct run *run,
		    const struct fw_result *right)
{
	size_t i;

	for (i = 0; i < RULES_KEYS; i++) {
		const struct fw_result *is = &run->answers->result[i];

		if (is->rule == right[i].rule &&
		    is->verdict == right[i].verdict &&
		    is->flags == right[i].flags &&
		    is->names_reqid == right[i].names_reqid)
			continue;
		if (n_wrong++ >= MAX_SHOWN)
			continue;
		printf("%s packet %zu: is rule %u verdict %u flags %#x, must be rule %u verdict %u flags %#x\n",
		       hook, i, is->rule, is->verdict, is->flags, right[i].rule,
		       right[i].verdict, right[i].flags);
	}
}

/* ---- one rule set -------------------------------------------------------- */

typedef void (*key_fn)(const struct fw_program *program, size_t i,
		       struct fw_key *ret);

static bool has_stateless(const struct fw_program *program)
{
	for (size_t i = 0; i < program->n_rows; i++) {
		if (program->rows[i].flags & FW_ROW_STATELESS)
			return true;
	}
	return false;
}

/* One run of RULES_KEYS packets. */
static void one_run(const struct fw_program *program, const struct judge *judge,
		    struct run *run, key_fn make_key, struct fw_result *right)
{
	size_t i;

	for (i = 0; i < RULES_KEYS; i++)
		make_key(program, i, &run->keys->key[i]);
	for (int stateless = 0; stateless < 1 + has_stateless(program);
	     stateless++) {
		ask_all(judge, run->keys, stateless, right);
		check_judge(program, run->keys, stateless, right);
		judge_keys(run, run->skel->progs.rules_xdp, stateless);
		compare("XDP", run, right);
		judge_keys(run, run->skel->progs.rules_tc, stateless);
		compare("TC", run, right);
	}
}

static void one_set(const char *name, const struct fw_program *program,
		    key_fn make_key)
{
	uint32_t *slots = calloc(program->n_rows + 1, sizeof(*slots));
	struct fw_result *right = calloc(RULES_KEYS, sizeof(*right));
	const uint32_t defaults[FW_DIR_MAX] = { 1, 2, 3 };
	struct judge *judge = judge_new(program);
	unsigned long n = 0, wrong = n_wrong;
	struct fw_bytes bytes = { 0 };
	struct run run = { 0 };
	uint32_t off;

	if (!slots || !right ||
	    fw_bytes_reserve(&bytes, 64, 64) == FW_BYTES_FAILED)
		die("memory");
	errno = -fw_match_build(program, slots, defaults, &bytes, &off, NULL);
	if (errno)
		die("build");
	load(&run, &bytes, off);
	for (; n < n_packets && n_wrong - wrong <= MAX_SHOWN; n += RULES_KEYS)
		one_run(program, judge, &run, make_key, right);
	printf("%-16s %7zu rules %9lu packets in XDP and in TC: %lu wrong\n",
	       name, program->n_rows, n, n_wrong - wrong);
	(void)fflush(stdout);
	unload(&run);
	judge_free(judge);
	fw_bytes_done(&bytes);
	free(slots);
	free(right);
}

/* ---- packets ------------------------------------------------------------- */

static void key_of_all(const struct fw_program *program, size_t i,
		       struct fw_key *ret)
{
	(void)i;
	pick_key(program, ret);
}

/* Corners, rules from inside, and anything: a third each. */
static void key_of_flat(const struct fw_program *program, size_t i,
			struct fw_key *ret)
{
	struct bench_rng rng = { (uint64_t)rnd() << 32 | rnd() | 1 };
	bool is_v6 = program->rows[0].families == FW_FAMILY_IPV6;

	if (i % 3 == 0)
		pick_key(program, ret);
	else if (i % 3 == 1)
		bench_hit(program, below((uint32_t)program->n_rows), &rng, ret);
	else
		bench_random(&rng, is_v6, ret);
}

/* ---- rule sets ----------------------------------------------------------- */

static void random_sets(unsigned long n, uint32_t max_rules)
{
	struct fw_program program;
	char name[32];

	for (unsigned long i = 0; i < n; i++) {
		rnd_seed = first_seed + i;
		/* From one rule to the most, evenly on a logarithmic scale. */
		random_program(&program,
			       1 + below(1 + (max_rules >> below(9))));
		(void)snprintf(name, sizeof(name), "random-%lu",
			       first_seed + i);
		one_set(name, &program, key_of_all);
		program_done(&program);
	}
}

static void synthetic_sets(size_t max_rules)
{
	struct fw_program program;
	char name[32];

	for (size_t n = 1000; n <= max_rules; n *= 10) {
		for (int i = 0; i < 2 * BENCH_SHAPE_MAX; i++) {
			enum bench_shape shape = (enum bench_shape)(i / 2);
			bool is_v6 = i % 2;

			if (bench_synthetic(shape, n, first_seed, is_v6,
					    &program) < 0)
				die("rules");
			(void)snprintf(name, sizeof(name), "%s-v%d",
				       bench_shapes[shape], is_v6 ? 6 : 4);
			rnd_seed = first_seed;
			one_set(name, &program, key_of_flat);
			bench_rules_free(&program);
		}
	}
}

static void classbench_file(const char *path)
{
	const char *name = strrchr(path, '/');
	struct fw_program program;

	for (int is_v6 = 0; is_v6 < 2; is_v6++) {
		errno = -bench_classbench(path, is_v6, &program);
		if (errno)
			die(path);
		rnd_seed = first_seed;
		one_set(name ? name + 1 : path, &program, key_of_flat);
		bench_rules_free(&program);
	}
}

/* ---- command line -------------------------------------------------------- */

static const char help[] =
	"usage: oracle_rules [OPTION]... [FILE]...\n"
	"Hold XDP and TC against the interpreter; files are in the format of ClassBench.\n"
	"  -n, --packets N   for each rule set, default 1048576\n"
	"  -r, --random N    rule sets with every clause, default 12\n"
	"  -R, --rules N     most rules in one of them, default 400\n"
	"  -m, --max N       largest synthetic rule set, default 10000\n"
	"  -s, --seed N      the first one\n";

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "packets", required_argument, NULL, 'n' },
		{ "random", required_argument, NULL, 'r' },
		{ "rules", required_argument, NULL, 'R' },
		{ "max", required_argument, NULL, 'm' },
		{ "seed", required_argument, NULL, 's' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	unsigned long n_random = 12, max_rules = 400, max = 10000;
	int c;

	while ((c = getopt_long(argc, argv, "n:r:R:m:s:h", options, NULL)) !=
	       -1) {
		unsigned long n = optarg ? strtoul(optarg, NULL, 10) : 0;

		if (c == 'n') {
			n_packets = n;
		} else if (c == 'r') {
			n_random = n;
		} else if (c == 'R') {
			max_rules = n;
		} else if (c == 'm') {
			max = n;
		} else if (c == 's') {
			first_seed = n;
		} else {
			fputs(help, c == 'h' ? stdout : stderr);
			return c == 'h' ? 0 : 2;
		}
	}
	/* An emulated machine is told by how much it is slower. */
	if (getenv("FWCTL_SLOWNESS"))
		n_packets /= 1 + strtoul(getenv("FWCTL_SLOWNESS"), NULL, 10);
	random_sets(n_random, (uint32_t)max_rules);
	synthetic_sets(max);
	for (; optind < argc; optind++)
		classbench_file(argv[optind]);
	return n_wrong != 0;
}
