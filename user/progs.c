/* SPDX-License-Identifier: GPL-2.0-only */

/* Loading the programs, and saying in one line why a kernel refuses them. */
#include "user/progs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "user/counters.h"
#include "user/log.h"
#include "user/modules.h"
#include "user/probe.h"
#include "user/util.h"
#include "user/verify.h"

#define INITSTATE "/sys/module/nf_conntrack/initstate"
#define MAX_LOG	  (1 << 20)

static const char *const map_names[FW_MAP_MAX] = {
	[FW_MAP_RULESETS] = "rulesets",
	[FW_MAP_HOST] = "host",
	[FW_MAP_STATS] = "stats",
	[FW_MAP_RULE_STATS] = "rule_stats",
	[FW_MAP_XFLOWS] = "xflows",
	[FW_MAP_XFLOWS_ANSWERED] = "xflows_answered",
	[FW_MAP_FRAGS] = "frags",
	[FW_MAP_FLOW_INFO] = "flow_info",
	[FW_MAP_EVENTS] = "events",
	[FW_MAP_PRESSURE] = "pressure",
	[FW_MAP_EXPECTED] = "expected",
	[FW_MAP_EXPECTS] = "expects",
	[FW_MAP_LOG_BUDGETS] = "log_budgets",
	[FW_MAP_CAPTURES] = "captures",
	[FW_MAP_CAPTURE_BUDGET] = "capture_budget",
	[FW_MAP_OFFLOAD_OUT] = "offload_out",
	[FW_MAP_OFFLOAD_DEVS] = "offload_devs",
	[FW_MAP_SAS] = "sas",
	[FW_MAP_ESP_MARKS] = "esp_marks",
	[FW_MAP_ESP_COUNTS] = "esp_counts",
	[FW_MAP_ESP_STEER] = "esp_steer",
	[FW_MAP_ESP_CPUS] = "esp_cpus",
	[FW_MAP_ESP_STEERED] = "esp_steered",
};

static const char *const prog_names[FW_HOOK_MAX] = {
	[FW_HOOK_XDP] = "fw_xdp",
	[FW_HOOK_INGRESS] = "fw_ingress",
	[FW_HOOK_EGRESS] = "fw_egress",
};

static const char *const local_names[FW_LOCAL_MAX] = {
	[FW_LOCAL_IN] = "fw_local_in",
	[FW_LOCAL_OUT] = "fw_local_out",
};

const char *fw_progs_map_name(enum fw_map map)
{
	return map_names[map];
}

const char *fw_progs_name(enum fw_hook hook)
{
	return prog_names[hook];
}

struct bpf_map *fw_progs_map(const struct fwctl_bpf *skel, enum fw_map map)
{
	/* A variable, in a map that libbpf names. */
	if (map == FW_MAP_HOST)
		return skel->maps.bss;
	return bpf_object__find_map_by_name(skel->obj, map_names[map]);
}

struct bpf_program *fw_progs_get(const struct fwctl_bpf *skel,
				 enum fw_hook hook)
{
	return bpf_object__find_program_by_name(skel->obj, prog_names[hook]);
}

const char *fw_progs_local_name(enum fw_local local)
{
	return local_names[local];
}

static struct bpf_program *get_local(const struct fwctl_bpf *skel,
				     enum fw_local local)
{
	return bpf_object__find_program_by_name(skel->obj, local_names[local]);
}

/* ---- what libbpf says ------------------------------------------------------- */

/*
 * libbpf has one print callback for the whole process and no argument for it. It
 * speaks on the thread that loads, and only while it does is the text kept.
 */
static _Thread_local FILE *load_log;

__attribute__((format(printf, 2, 0))) static int
on_libbpf(enum libbpf_print_level level, const char *format, va_list args)
{
	char line[256];

	if (load_log) {
		if (level == LIBBPF_WARN && ftell(load_log) < MAX_LOG)
			(void)vfprintf(load_log, format, args);
		return 0;
	}
	if (level == LIBBPF_WARN) {
		(void)vsnprintf(line, sizeof(line), format, args);
		line[strcspn(line, "\n")] = '\0';
		log_debug("%s", line);
	}
	return 0;
}

void fw_progs_init(void)
{
	(void)libbpf_set_print(on_libbpf);
	fw_verify_init();
}

/* The name between the first two quotes of a line, cut out in place. */
static const char *quoted(char *line)
{
	char *start = strchr(line, '\''), *end;

	if (!start)
		return "?";
	end = strchr(start + 1, '\'');
	if (end)
		*end = '\0';
	return start + 1;
}

/*
 * The line that says what is wrong: of a verifier log the last one in front of
 * the statistics, of other messages the first one.
 */
static char *telling_line(char *text)
{
	char *line, *next, *found = NULL;
	bool is_verifier = false;

	for (line = text; line && *line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		if (strstr(line, "not found in kernel or module BTFs"))
			return line;
		if (strstr(line, "BEGIN PROG LOAD LOG")) {
			is_verifier = true;
			continue;
		}
		if (strncmp(line, "processed ", 10) == 0 ||
		    strstr(line, "END PROG LOAD LOG"))
			break;
		if (*line && (is_verifier || !found))
			found = line;
	}
	return found;
}

/* A function of nf_conntrack cannot be found, and nf_conntrack is there. */
static void explain_kfunc(const char *name, char **reterr)
{
	struct fw_probe *probe = fw_probe_new();

	/* Not permitted to search on, libbpf names what need not be there, too. */
	if (strcmp(name, "bpf_cast_to_kern_ctx") == 0)
		name = "bpf_ct_release";
	if (probe && fw_probe_has_func(probe, name)) {
		fw_errorf(
			reterr,
			"fwctld may not look into the types of the module nf_conntrack for '%s': it needs CAP_SYS_ADMIN for that",
			name);
	} else if (probe && access(INITSTATE, F_OK) == 0 &&
		   !fw_probe_has_module_btf(probe)) {
		fw_errorf(
			reterr,
			"nf_conntrack is loaded but has no type information, so '%s' cannot be found: the kernel was built without CONFIG_DEBUG_INFO_BTF_MODULES, or the module for another kernel",
			name);
	} else {
		fw_errorf(
			reterr,
			"nf_conntrack of this kernel has no '%s', a BPF function that Linux 6.1 and later have",
			name);
	}
	fw_probe_free(probe);
}

/* Turn what libbpf printed into one line for the user. */
static void explain_load(int r, char *text, char **reterr)
{
	char *line = telling_line(text);

	if (r == -EPERM) {
		fw_errorf(
			reterr,
			"loading BPF programs is not permitted: run fwctld as root");
		return;
	}
	if (line && strstr(line, "not found in kernel or module BTFs")) {
		explain_kfunc(quoted(line), reterr);
		return;
	}
	if (line && strncmp(line, "libbpf: ", 8) == 0)
		line += 8;
	fw_errorf(reterr, "the kernel refused the BPF programs (%s)%s%s",
		  strerror(-r), line ? ": " : "", line ? line : "");
}

/* ---- loading -------------------------------------------------------------- */

/* Do loads and stores keep their order, as other processors see them? */
static uint8_t is_ordered(void)
{
#if defined(__x86_64__) || defined(__i386__)
	return 1;
#else
	return 0;
#endif
}

/* Jiffies per second: the coarse clock advances once a jiffy. */
static uint32_t kernel_hz(void)
{
	struct timespec ts;

	if (clock_getres(CLOCK_MONOTONIC_COARSE, &ts) < 0 || ts.tv_nsec <= 0)
		return 250;
	return (uint32_t)((1000000000 + ts.tv_nsec / 2) / ts.tv_nsec);
}

static int make_secret(void *ret, size_t len)
{
	return getrandom(ret, len, 0) == (ssize_t)len ? 0 : -EIO;
}

static int set_knobs(struct fwctl_bpf *skel)
{
	uint64_t cookie, keys[ARRAY_SIZE(skel->rodata->fw_hash_keys)];

	if (make_secret(&cookie, sizeof(cookie)) < 0 ||
	    make_secret(keys, sizeof(keys)) < 0)
		return -EIO;
	skel->rodata->fw_cookie = cookie;
	memcpy(skel->rodata->fw_hash_keys, keys, sizeof(keys));
	skel->rodata->fw_hz = kernel_hz();
	skel->rodata->fw_is_ordered = is_ordered();
	return 0;
}

int fw_progs_set_counters(struct fwctl_bpf *skel, uint32_t slots, char **reterr)
{
	int cpus = fw_counters_cpus(), r;

	if (cpus < 0) {
		fw_errorf(reterr, "cannot read " FW_COUNTERS_POSSIBLE ": %s",
			  strerror(-cpus));
		return cpus;
	}
	r = fw_skel_set_counters(skel, slots, (uint32_t)cpus);
	if (r < 0) {
		fw_errorf(reterr,
			  "cannot make room for counters of %d CPUs: %s", cpus,
			  strerror(-r));
	}
	return r < 0 ? r : cpus;
}

/* A way to load an object. */
typedef int (*load_fn)(struct bpf_object_skeleton *skel);

/* Load with the messages of libbpf kept, and explain them if it fails. */
static int load_skel(struct bpf_object_skeleton *skel, load_fn load,
		     char **reterr)
{
	char *text = NULL;
	size_t len = 0;
	int r;

	load_log = open_memstream(&text, &len);
	r = load(skel);
	if (load_log && fclose(load_log) == 0 && r < 0)
		explain_load(r, text, reterr);
	load_log = NULL;
	free(text);
	return r;
}

static int put_bases(const struct fwctl_bpf *skel, uint32_t slots,
		     char **reterr)
{
	int r = fw_counters_put_bases(bpf_map__fd(skel->maps.work), slots);

	if (r < 0) {
		fw_errorf(reterr, "cannot tell the programs where to count: %s",
			  strerror(-r));
	}
	return r;
}

/* Share the maps that are there already. */
static int reuse_maps(const struct fwctl_bpf *skel, const int maps[FW_MAP_MAX])
{
	int r = 0;

	for (int i = 0; i < FW_MAP_MAX && r == 0; i++) {
		if (maps[i] >= 0)
			r = bpf_map__reuse_fd(
				fw_progs_map(skel, (enum fw_map)i), maps[i]);
	}
	return r;
}

/* Of the object the programs of netfilter, which are not loaded else, and no others. */
static int want_local(const struct fwctl_bpf *skel)
{
	int r = 0;

	for (int i = 0; i < FW_HOOK_MAX && r == 0; i++) {
		r = bpf_program__set_autoload(
			fw_progs_get(skel, (enum fw_hook)i), false);
	}
	for (int i = 0; i < FW_LOCAL_MAX && r == 0; i++)
		r = fw_skel_want_netfilter(get_local(skel, (enum fw_local)i));
	return r;
}

/* Maps for images are like the one that the programs are verified with. */
static int set_image(struct fwctl_bpf *skel, uint32_t size, int image_fd)
{
	int r = fw_skel_set_image_size(skel, size);

	if (r == 0 && image_fd >= 0)
		r = bpf_map__set_inner_map_fd(skel->maps.rulesets, image_fd);
	return r;
}

static int load_by(load_fn load, const struct fw_datapath_size *size,
		   const int *maps, int image_fd, bool is_local,
		   struct fwctl_bpf **ret, char **reterr)
{
	struct fwctl_bpf *skel;
	int r;

	skel = fwctl_bpf__open();
	if (!skel)
		return -errno;
	r = set_knobs(skel);
	if (r == 0 && is_local)
		r = want_local(skel);
	if (r == 0)
		r = set_image(skel, size->image, image_fd);
	if (r == 0)
		r = fw_progs_set_counters(skel, size->slots, reterr);
	if (r >= 0)
		r = fw_skel_set_flows(skel, size->flows, (uint32_t)r);
	if (r >= 0 && maps)
		r = reuse_maps(skel, maps);
	if (r >= 0)
		r = load_skel(skel->skeleton, load, reterr);
	if (r == 0)
		r = put_bases(skel, size->slots, reterr);
	if (r < 0) {
		fwctl_bpf__destroy(skel);
		return r;
	}
	*ret = skel;
	return 0;
}

static int load_all(const struct fw_datapath_size *size, const int *maps,
		    int image_fd, bool is_local, struct fwctl_bpf **ret,
		    char **reterr)
{
	int r = load_by(fw_verify_load, size, maps, image_fd, is_local, ret,
			NULL);

	/* Only libbpf itself has the kernel say what it refuses. */
	if (r < 0)
		r = load_by(bpf_object__load_skeleton, size, maps, image_fd,
			    is_local, ret, reterr);
	return r;
}

int fw_progs_load(const struct fw_datapath_size *size, const int *maps,
		  int image_fd, struct fwctl_bpf **ret, char **reterr)
{
	int r;

	/*
	 * The kfuncs are in the module and found by its BTF. From here on the
	 * programs hold a reference to it: nobody can unload it under them.
	 */
	r = fw_module_require(FW_MODULE_CONNTRACK, reterr);
	return r < 0 ? r : load_all(size, maps, image_fd, false, ret, reterr);
}

/* ---- those of netfilter ----------------------------------------------------- */

/* Descriptors that outlive the object. */
static int take_local(const struct fwctl_bpf *skel, int ret[FW_LOCAL_MAX])
{
	int fds[FW_LOCAL_MAX];

	for (int i = 0; i < FW_LOCAL_MAX; i++) {
		const struct bpf_program *prog =
			get_local(skel, (enum fw_local)i);

		fds[i] = fcntl(bpf_program__fd(prog), F_DUPFD_CLOEXEC, 3);
		if (fds[i] < 0) {
			int r = -errno;

			while (i-- > 0)
				fw_closep(&fds[i]);
			return r;
		}
	}
	memcpy(ret, fds, sizeof(fds));
	return 0;
}

int fw_progs_load_local(const struct fw_datapath_size *size,
			const int maps[FW_MAP_MAX], int ret[FW_LOCAL_MAX],
			char **reterr)
{
	struct fwctl_bpf *skel;
	int r;

	r = load_all(size, maps, -1, true, &skel, reterr);
	if (r < 0)
		return r;
	r = take_local(skel, ret);
	fwctl_bpf__destroy(skel);
	return r;
}

/* ---- those that only explain ------------------------------------------------ */

struct bpf_program *fw_progs_get_dry(const struct dry_bpf *skel,
				     enum fw_hook hook)
{
	return bpf_object__find_program_by_name(skel->obj, prog_names[hook]);
}

static int reuse_dry_maps(const struct dry_bpf *skel,
			  const int maps[FW_MAP_MAX])
{
	struct bpf_map *map;
	int r = 0;

	for (int i = 0; i < FW_MAP_MAX && r == 0; i++) {
		map = i == FW_MAP_HOST ? skel->maps.bss
				       : bpf_object__find_map_by_name(
						 skel->obj, map_names[i]);
		r = map ? bpf_map__reuse_fd(map, maps[i]) : -ENOENT;
	}
	return r;
}

int fw_progs_load_dry(uint32_t image_size, const int maps[FW_MAP_MAX],
		      struct dry_bpf **ret, char **reterr)
{
	struct dry_bpf *skel;
	uint64_t cookie;
	int r;

	skel = dry_bpf__open();
	if (!skel)
		return -errno;
	r = make_secret(&cookie, sizeof(cookie));
	if (r == 0) {
		skel->rodata->fw_cookie = cookie;
		skel->rodata->fw_hz = kernel_hz();
		skel->rodata->fw_is_ordered = is_ordered();
		skel->rodata->fw_image_mask = image_size - 1;
		r = reuse_dry_maps(skel, maps);
	}
	if (r == 0)
		r = load_skel(skel->skeleton, bpf_object__load_skeleton,
			      reterr);
	if (r < 0) {
		dry_bpf__destroy(skel);
		return r;
	}
	*ret = skel;
	return 0;
}
