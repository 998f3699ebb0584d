/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * What each program costs the verifier of the running kernel, as JSON. The
 * programs are loaded one by one, so that each pays for what it uses alone.
 */

#include <err.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <jansson.h>

#include "user/nflinks.h"
#include "user/skel.h"

#define LOG_SIZE  (1u << 20)
#define LOG_STATS 4 /* BPF_LOG_STATS: the sums and why it failed */

static int print_warnings(enum libbpf_print_level level, const char *format,
			  va_list args)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, format, args) : 0;
}

static double now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

/* The number behind a word of the log. */
static unsigned long long number(const char *log, const char *word)
{
	const char *at = strstr(log, word);

	if (!at)
		errx(1, "no '%s' in the verifier's log:\n%s", word, log);
	return strtoull(at + strlen(word), NULL, 10);
}

/* "stack depth 256+80+48": the program's own first, then each function's. */
static json_t *stack_depths(const char *log)
{
	static const char word[] = "stack depth ";
	const char *at = strstr(log, word);
	json_t *list = json_array();
	char *end;

	if (!at || !list)
		errx(1, "no '%s' in the verifier's log:\n%s", word, log);
	at += strlen(word);
	for (;; at = end + 1) {
		if (json_array_append_new(list,
					  json_integer(strtol(at, &end, 10))))
			errx(1, "no memory");
		if (*end != '+')
			return list;
	}
}

static json_t *load(const char *name, char *log)
{
	struct fwctl_bpf *skel = fwctl_bpf__open();
	struct bpf_program *prog;
	double start;
	int r;

	if (!skel || fw_skel_set_image_size(skel, FW_IMAGE_MAX))
		err(1, "open");
	bpf_object__for_each_program(
		prog,
		skel->obj) if (strcmp(bpf_program__name(prog), name))(void)
		bpf_program__set_autoload(prog, false);
	prog = bpf_object__find_program_by_name(skel->obj, name);
	if (!bpf_program__autoload(prog) && fw_skel_want_netfilter(prog))
		err(1, "type of '%s'", name);
	log[0] = '\0';
	if (bpf_program__set_log_buf(prog, log, LOG_SIZE) ||
	    bpf_program__set_log_level(prog, LOG_STATS))
		err(1, "log of '%s'", name);
	start = now_ms();
	r = fwctl_bpf__load(skel);
	if (r)
		errx(1, "this kernel refuses '%s': %s\n%s", name, strerror(-r),
		     log);
	start = now_ms() - start;
	fwctl_bpf__destroy(skel);
	return json_pack("{s:I, s:o, s:I, s:I}", "insns",
			 (json_int_t)number(log, "processed "), "stack",
			 stack_depths(log), "verify_us",
			 (json_int_t)number(log, "verification time "),
			 "load_ms", (json_int_t)start);
}

int main(void)
{
	json_t *programs = json_object(), *all;
	char *log = malloc(LOG_SIZE), *text;
	struct fwctl_bpf *skel;
	struct bpf_program *prog;
	struct utsname host;

	if (!log || !programs)
		err(1, "malloc");
	(void)libbpf_set_print(print_warnings);
	skel = fwctl_bpf__open();
	if (!skel)
		err(1, "open");
	bpf_object__for_each_program(prog, skel->obj)
	{
		const char *name = bpf_program__name(prog);

		/* of a type that not all kernels have */
		if (!bpf_program__autoload(prog) && !fw_nflinks_are_possible())
			continue;
		if (json_object_set_new(programs, name, load(name, log)))
			errx(1, "no memory");
	}
	(void)uname(&host);
	all = json_pack("{s:s, s:o}", "release", host.release, "programs",
			programs);
	text = json_dumps(all, JSON_INDENT(2));
	if (!text)
		err(1, "json_dumps");
	puts(text);
	free(text);
	json_decref(all);
	fwctl_bpf__destroy(skel);
	free(log);
	return 0;
}
