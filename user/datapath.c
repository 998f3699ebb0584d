/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The programs, maps and links in the kernel.
 *
 * <pin_dir>/v1/{maps,progs,links} is the whole state. The last pin that a load
 * makes and the first that a removal takes away is progs/fw_egress: with it the
 * set is complete, without it whatever is there is the rest of a crash and is
 * swept away, links included. After a load the pins are opened again, so that
 * there is one way to a running datapath, and it checks everything.
 */
#include "user/datapath.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "user/attach.h"
#include "user/bpffs.h"
#include "user/log.h"
#include "user/modules.h"
#include "user/probe.h"
#include "user/skel.h"
#include "user/util.h"

#define DEFAULT_ROOT "/sys/fs/bpf/fwctl" /* removed when nothing is in it */
#define INITSTATE    "/sys/module/nf_conntrack/initstate"
#define LOCK_TRIES   100 /* of 20 ms: a daemon that is just ending */
#define MAX_LOG	     (1 << 20)

static const char *const map_names[FW_MAP_MAX] = {
	[FW_MAP_RULESETS] = "rulesets",	    [FW_MAP_IFACES] = "ifaces",
	[FW_MAP_SELFADDRS] = "selfaddrs",   [FW_MAP_STATS] = "stats",
	[FW_MAP_RULE_STATS] = "rule_stats", [FW_MAP_XFLOWS] = "xflows",
	[FW_MAP_FRAGS] = "frags",	    [FW_MAP_FLOW_INFO] = "flow_info",
	[FW_MAP_EVENTS] = "events",
};

/* In the order of pinning: the last one says that the set is complete. */
static const char *const prog_names[FW_HOOK_MAX] = {
	[FW_HOOK_XDP] = "fw_xdp",
	[FW_HOOK_INGRESS] = "fw_ingress",
	[FW_HOOK_EGRESS] = "fw_egress",
};

struct fw_datapath {
	char *pin_dir;
	int lock;
	int map[FW_MAP_MAX];
	int prog[FW_HOOK_MAX];
	struct fw_attach *attach;
	bool is_adopted;
	uint64_t slots;
};

struct pin_path {
	char text[PATH_MAX];
};

__attribute__((format(printf, 2, 3))) static struct pin_path
path_in(const char *pin_dir, const char *format, ...)
{
	struct pin_path path;
	va_list args;
	int n;

	n = snprintf(path.text, sizeof(path.text), "%s/v%d", pin_dir,
		     FW_ABI_VERSION);
	if (n > 0 && (size_t)n < sizeof(path.text)) {
		va_start(args, format);
		(void)vsnprintf(path.text + n, sizeof(path.text) - (size_t)n,
				format, args);
		va_end(args);
	}
	return path;
}

/* ---- what libbpf says ------------------------------------------------------- */

/*
 * libbpf has one print callback for the whole process and no argument for it.
 * One thread loads, and only while it does is the text kept.
 */
static FILE *load_log;

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

/* ---- loading ------------------------------------------------------------------- */

/* Jiffies per second: the coarse clock advances once a jiffy. */
static uint32_t kernel_hz(void)
{
	struct timespec ts;

	if (clock_getres(CLOCK_MONOTONIC_COARSE, &ts) < 0 || ts.tv_nsec <= 0)
		return 250;
	return (uint32_t)((1000000000 + ts.tv_nsec / 2) / ts.tv_nsec);
}

static int set_knobs(struct fwctl_bpf *skel)
{
	uint64_t cookie;

	if (getrandom(&cookie, sizeof(cookie), 0) != sizeof(cookie))
		return -EIO;
	skel->rodata->fw_cookie = cookie;
	skel->rodata->fw_hz = kernel_hz();
	return 0;
}

static int pin_one(int fd, const char *pin_dir, const char *kind,
		   const char *name)
{
	struct pin_path path = path_in(pin_dir, "/%s/%s", kind, name);

	return bpf_obj_pin(fd, path.text);
}

static int pin_all(const struct fwctl_bpf *skel, const char *pin_dir)
{
	const struct bpf_program *prog;
	const struct bpf_map *map;
	int r;

	for (int i = 0; i < FW_MAP_MAX; i++) {
		map = bpf_object__find_map_by_name(skel->obj, map_names[i]);
		if (!map)
			return -ENOENT;
		r = pin_one(bpf_map__fd(map), pin_dir, "maps", map_names[i]);
		if (r < 0)
			return r;
	}
	for (int i = 0; i < FW_HOOK_MAX; i++) {
		prog = bpf_object__find_program_by_name(skel->obj,
							prog_names[i]);
		if (!prog)
			return -ENOENT;
		r = pin_one(bpf_program__fd(prog), pin_dir, "progs",
			    prog_names[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Load with the messages of libbpf kept, and explain them if it fails. */
static int load_skel(struct fwctl_bpf *skel, char **reterr)
{
	char *text = NULL;
	size_t len = 0;
	int r;

	load_log = open_memstream(&text, &len);
	r = fwctl_bpf__load(skel);
	if (load_log && fclose(load_log) == 0 && r < 0)
		explain_load(r, text, reterr);
	load_log = NULL;
	free(text);
	return r;
}

static int load(const char *pin_dir, char **reterr)
{
	struct fwctl_bpf *skel;
	int r;

	/*
	 * The kfuncs are in the module and found by its BTF. From here on the
	 * programs hold a reference to it: nobody can unload it under them.
	 */
	r = fw_module_require(FW_MODULE_CONNTRACK, reterr);
	if (r < 0)
		return r;
	skel = fwctl_bpf__open();
	if (!skel)
		return -errno;
	r = set_knobs(skel);
	if (r == 0)
		r = load_skel(skel, reterr);
	if (r == 0) {
		r = pin_all(skel, pin_dir);
		if (r < 0) {
			fw_errorf(reterr, "cannot pin below '%s': %s", pin_dir,
				  strerror(-r));
		}
	}
	fwctl_bpf__destroy(skel);
	return r;
}

/* ---- opening what is pinned ------------------------------------------------------ */

static int refuse_pin(const char *pin_dir, const char *name, char **reterr)
{
	fw_errorf(
		reterr,
		"pin '%s' is not what this fwctl makes: remove the pins with 'rm -r %s/v%d', which ends filtering, and load again",
		name, pin_dir, FW_ABI_VERSION);
	return -EBADMSG;
}

/* A pin could be anything: it has to be the map that our object declares. */
static int open_map(struct fw_datapath *dp, const struct fwctl_bpf *skel, int i,
		    uint32_t *ret_id, char **reterr)
{
	struct pin_path path = path_in(dp->pin_dir, "/maps/%s", map_names[i]);
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);
	const struct bpf_map *want;

	want = bpf_object__find_map_by_name(skel->obj, map_names[i]);
	dp->map[i] = bpf_obj_get(path.text);
	if (!want || dp->map[i] < 0 ||
	    bpf_obj_get_info_by_fd(dp->map[i], &info, &len) < 0)
		return refuse_pin(dp->pin_dir, map_names[i], reterr);
	if (strcmp(info.name, map_names[i]) != 0 ||
	    info.type != bpf_map__type(want) ||
	    info.key_size != bpf_map__key_size(want) ||
	    info.value_size != bpf_map__value_size(want) ||
	    info.max_entries != bpf_map__max_entries(want))
		return refuse_pin(dp->pin_dir, map_names[i], reterr);
	*ret_id = info.id;
	return 0;
}

/* A program has to be of our kind and to judge by the rules that we write. */
static int open_prog(struct fw_datapath *dp, const struct fwctl_bpf *skel,
		     int i, uint32_t rulesets_id, char **reterr)
{
	struct pin_path path = path_in(dp->pin_dir, "/progs/%s", prog_names[i]);
	const struct bpf_program *want;
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);
	uint32_t ids[64];

	want = bpf_object__find_program_by_name(skel->obj, prog_names[i]);
	dp->prog[i] = bpf_obj_get(path.text);
	info.map_ids = (uintptr_t)ids;
	info.nr_map_ids = ARRAY_SIZE(ids);
	if (!want || dp->prog[i] < 0 ||
	    bpf_obj_get_info_by_fd(dp->prog[i], &info, &len) < 0)
		return refuse_pin(dp->pin_dir, prog_names[i], reterr);
	if (strcmp(info.name, prog_names[i]) != 0 ||
	    info.type != bpf_program__type(want))
		return refuse_pin(dp->pin_dir, prog_names[i], reterr);
	for (size_t k = 0; k < info.nr_map_ids && k < ARRAY_SIZE(ids); k++) {
		if (ids[k] == rulesets_id)
			return 0;
	}
	return refuse_pin(dp->pin_dir, prog_names[i], reterr);
}

static int open_all(struct fw_datapath *dp, const struct fwctl_bpf *skel,
		    char **reterr)
{
	uint32_t ids[FW_MAP_MAX];
	int r;

	for (int i = 0; i < FW_MAP_MAX; i++) {
		r = open_map(dp, skel, i, &ids[i], reterr);
		if (r < 0)
			return r;
	}
	for (int i = 0; i < FW_HOOK_MAX; i++) {
		r = open_prog(dp, skel, i, ids[FW_MAP_RULESETS], reterr);
		if (r < 0)
			return r;
	}
	return 0;
}

static int open_pins(struct fw_datapath *dp, char **reterr)
{
	struct pin_path links = path_in(dp->pin_dir, "/links");
	struct fwctl_bpf *skel;
	int r;

	skel = fwctl_bpf__open();
	if (!skel)
		return -errno;
	r = open_all(dp, skel, reterr);
	fwctl_bpf__destroy(skel);
	if (r < 0)
		return r;

	r = fw_attach_new(links.text, dp->prog, fw_attach_has_tcx(),
			  &dp->attach);
	if (r < 0) {
		fw_errorf(reterr, "cannot read the pins in '%s': %s",
			  links.text, strerror(-r));
	}
	return r;
}

/* ---- removing pins ------------------------------------------------------------------ */

/* Remove a directory of pins; missing ones are fine. */
static int remove_dir(const char *path)
{
	const struct dirent *entry;
	DIR *dir;

	dir = opendir(path);
	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] != '.')
			(void)unlinkat(dirfd(dir), entry->d_name, 0);
	}
	(void)closedir(dir);
	return rmdir(path) < 0 ? -errno : 0;
}

static int remove_set(const char *pin_dir)
{
	static const char *const dirs[] = { "/links", "/progs", "/maps", "" };
	struct pin_path marker =
		path_in(pin_dir, "/progs/%s", prog_names[FW_HOOK_MAX - 1]);
	struct pin_path path = path_in(pin_dir, "/links");
	int r, first;

	(void)unlink(marker.text);
	first = fw_attach_purge(path.text);
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		path = path_in(pin_dir, "%s", dirs[i]);
		r = remove_dir(path.text);
		if (r < 0 && first == 0)
			first = r;
	}
	return first;
}

/* ---- open and close ------------------------------------------------------------------- */

static bool has_marker(const char *prefix, const char *pin_dir)
{
	struct pin_path path =
		path_in(pin_dir, "/progs/%s", prog_names[FW_HOOK_MAX - 1]);
	struct pin_path full;

	(void)snprintf(full.text, sizeof(full.text), "%s%.4000s", prefix,
		       path.text);
	return access(full.text, F_OK) == 0;
}

bool fw_datapath_exists(const char *pin_dir)
{
	/* Below `ip netns exec` the pins are in sight of process 1 only. */
	return has_marker("", pin_dir) || has_marker("/proc/1/root", pin_dir);
}

/* Two daemons on one set of pins would undo each other's work. */
static int lock_dir(const char *pin_dir, int *ret_fd, char **reterr)
{
	const struct timespec pause = { .tv_nsec = 20000000 };
	_cleanup_close_ int fd = -1;
	int r;

	fd = open(pin_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		r = -errno;
		fw_errorf(reterr, "cannot open '%s': %s", pin_dir,
			  strerror(-r));
		return r;
	}
	for (int i = 0; i < LOCK_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
			*ret_fd = take_fd(&fd);
			return 0;
		}
		(void)nanosleep(&pause, NULL);
	}
	fw_errorf(reterr, "another fwctld uses '%s'", pin_dir);
	return -EBUSY;
}

static int make_dirs(const char *pin_dir, char **reterr)
{
	static const char *const dirs[] = { "", "/maps", "/progs", "/links" };
	struct pin_path path;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		path = path_in(pin_dir, "%s", dirs[i]);
		r = fw_bpffs_mkdir(path.text, reterr);
		if (r < 0)
			return r;
	}
	return 0;
}

static int open_or_load(struct fw_datapath *dp, char **reterr)
{
	int r;

	r = fw_bpffs_make(dp->pin_dir, reterr);
	if (r < 0)
		return r;
	r = lock_dir(dp->pin_dir, &dp->lock, reterr);
	if (r < 0)
		return r;

	dp->is_adopted = has_marker("", dp->pin_dir);
	if (!dp->is_adopted) {
		r = remove_set(dp->pin_dir);
		if (r < 0) {
			fw_errorf(reterr,
				  "cannot remove what a crash left in '%s': %s",
				  dp->pin_dir, strerror(-r));
			return r;
		}
	}
	r = make_dirs(dp->pin_dir, reterr);
	if (r < 0)
		return r;
	if (dp->is_adopted)
		return open_pins(dp, reterr);

	r = load(dp->pin_dir, reterr);
	if (r == 0)
		r = open_pins(dp, reterr);
	if (r < 0)
		(void)fw_datapath_remove(dp);
	return r;
}

int fw_datapath_open(const char *pin_dir, struct fw_datapath **ret,
		     char **reterr)
{
	struct fw_datapath *dp;
	int r;

	if (strlen(pin_dir) > PATH_MAX / 2) {
		fw_errorf(reterr, "the name of the pin directory is too long");
		return -ENAMETOOLONG;
	}
	(void)libbpf_set_print(on_libbpf);
	dp = calloc(1, sizeof(*dp));
	if (!dp)
		return -ENOMEM;
	dp->lock = -1;
	for (int i = 0; i < FW_MAP_MAX; i++)
		dp->map[i] = -1;
	for (int i = 0; i < FW_HOOK_MAX; i++)
		dp->prog[i] = -1;

	dp->pin_dir = strdup(pin_dir);
	r = dp->pin_dir ? open_or_load(dp, reterr) : -ENOMEM;
	if (r < 0) {
		fw_datapath_free(dp);
		return r;
	}
	*ret = dp;
	return 0;
}

void fw_datapath_free(struct fw_datapath *dp)
{
	if (!dp)
		return;
	fw_attach_free(dp->attach);
	for (int i = 0; i < FW_MAP_MAX; i++)
		fw_closep(&dp->map[i]);
	for (int i = 0; i < FW_HOOK_MAX; i++)
		fw_closep(&dp->prog[i]);
	fw_closep(&dp->lock);
	free(dp->pin_dir);
	free(dp);
}

/* The directory, and the one above if it is ours too and nobody uses it. */
static void remove_pin_dir(const char *pin_dir)
{
	char *parent;

	(void)rmdir(pin_dir);
	parent = strdup(pin_dir);
	if (!parent)
		return;
	*strrchr(parent, '/') = '\0';
	if (strcmp(parent, DEFAULT_ROOT) == 0)
		(void)rmdir(parent);
	free(parent);
}

int fw_datapath_remove(struct fw_datapath *dp)
{
	int r;

	fw_attach_free(dp->attach);
	dp->attach = NULL;
	r = remove_set(dp->pin_dir);
	remove_pin_dir(dp->pin_dir);
	/* Who waits for the lock waits for a directory that is gone. */
	fw_closep(&dp->lock);
	dp->lock = -1;
	return r;
}

int fw_datapath_purge(const char *pin_dir, char **reterr)
{
	_cleanup_close_ int lock = -1;
	int r;

	r = fw_bpffs_make(pin_dir, reterr);
	if (r == 0)
		r = lock_dir(pin_dir, &lock, reterr);
	if (r < 0)
		return r;
	(void)libbpf_set_print(on_libbpf);
	r = remove_set(pin_dir);
	remove_pin_dir(pin_dir);
	if (r < 0) {
		fw_errorf(reterr, "cannot remove everything below '%s': %s",
			  pin_dir, strerror(-r));
	}
	return r;
}

/* ---- access ------------------------------------------------------------------------------ */

bool fw_datapath_adopted(const struct fw_datapath *dp)
{
	return dp->is_adopted;
}

int fw_datapath_map(const struct fw_datapath *dp, enum fw_map map)
{
	return dp->map[map];
}

void fw_datapath_use_slots(struct fw_datapath *dp, uint64_t slots)
{
	dp->slots = slots;
}

uint64_t fw_datapath_slots(const struct fw_datapath *dp)
{
	return dp->slots | 1;
}

int fw_datapath_attach(struct fw_datapath *dp, uint32_t ifindex,
		       enum fw_iface_mode mode, struct fw_attachment *ret,
		       char **reterr)
{
	return fw_attach_set(dp->attach, ifindex, mode, ret, reterr);
}

int fw_datapath_detach(struct fw_datapath *dp, uint32_t ifindex)
{
	return fw_attach_clear(dp->attach, ifindex);
}

const struct fw_attachment *
fw_datapath_attachments(const struct fw_datapath *dp, size_t *ret_n)
{
	return fw_attach_list(dp->attach, ret_n);
}
