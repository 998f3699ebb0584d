/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The programs, maps and links in the kernel.
 *
 * <pin_dir>/v1/{maps,progs,links} is the whole state. The last pin that a load
 * makes and the first that a removal takes away is progs/fw_egress: with it the
 * set is complete, without it whatever is there is the rest of a crash and is
 * swept away, links included. After a load the pins are opened again, so that
 * there is one way to a running datapath, and it checks everything. For larger
 * rules other programs take over (growth.c).
 */
#include "user/datapath.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "user/attach.h"
#include "user/bpffs.h"
#include "user/counters.h"
#include "user/growth.h"
#include "user/nflinks.h"
#include "user/nfprogs.h"
#include "user/pins.h"
#include "user/privileges.h"
#include "user/progs.h"
#include "user/rulesets.h"
#include "user/upcoming.h"
#include "user/util.h"

#define DEFAULT_ROOT "/sys/fs/bpf/fwctl" /* removed when nothing is in it */
#define LOCK_TRIES   100 /* of 20 ms: a daemon that is just ending */

#define MAX_PROG_MAPS \
	64u /* that a program may use: MAX_USED_MAPS of the kernel */

struct fw_datapath {
	char *pin_dir;
	int lock;
	int map[FW_MAP_MAX];
	int prog[FW_HOOK_MAX];
	int local[FW_LOCAL_MAX]; /* fw_datapath_ready_transport(); -1: none */
	bool can_have_local;	 /* this kernel has such programs */
	uint32_t cpus;		 /* that there are counters for */
	struct fw_counters stats;
	struct fw_counters rule_stats;
	struct fw_counters stats_before; /* of rules; perhaps none */
	struct fw_datapath_size size;
	struct fwctl_bpf *next;	      /* programs that wait to take over */
	int next_local[FW_LOCAL_MAX]; /* those that go with them */
	struct fw_datapath_size next_size;
	int next_image;	 /* see fw_datapath_take_image(); -1: none */
	int spare_image; /* see fw_datapath_take_spare_image(); -1: none */
	struct fw_upcoming *upcoming;  /* that may become the next ones */
	struct fw_counters next_stats; /* of rules, if they have their own */
	struct fw_attach *attach;
	bool is_adopted;
	uint64_t slots;
};

const struct fw_datapath_size fw_datapath_smallest = {
	.image = FW_IMAGE_MIN,
	.slots = FW_SLOTS_MIN,
};

/* ---- loading -------------------------------------------------------------- */

static int pin_all(const struct fwctl_bpf *skel, const char *pin_dir)
{
	int r = 0;

	for (int i = 0; i < FW_MAP_MAX && r == 0; i++) {
		r = fw_pin_make(bpf_map__fd(fw_progs_map(skel, (enum fw_map)i)),
				pin_dir, "maps",
				fw_progs_map_name((enum fw_map)i));
	}
	/* The last one says that the set is complete. */
	for (int i = 0; i < FW_HOOK_MAX && r == 0; i++) {
		r = fw_pin_make(
			bpf_program__fd(fw_progs_get(skel, (enum fw_hook)i)),
			pin_dir, "progs", fw_progs_name((enum fw_hook)i));
	}
	return r;
}

static int load(struct fw_datapath *dp, const struct fw_datapath_size *size,
		char **reterr)
{
	struct fwctl_bpf *skel;
	int r;

	(void)fw_rulesets_new(size->image, &dp->spare_image);
	r = fw_progs_load(size, NULL, dp->spare_image, &skel, reterr);
	if (r < 0)
		return r;
	r = pin_all(skel, dp->pin_dir);
	if (r < 0) {
		fw_errorf(reterr, "cannot pin below '%s': %s", dp->pin_dir,
			  strerror(-r));
	}
	fwctl_bpf__destroy(skel);
	return r;
}

/* ---- opening what is pinned ------------------------------------------------------ */

static int refuse_pin(const char *pin_dir, const char *name, char **reterr)
{
	fw_errorf(
		reterr,
		"pin '%s' is not what this fwctl makes: remove the pins with 'rm -r %s/" FW_PIN_LAYOUT
		"', which ends filtering, and load again",
		name, pin_dir);
	return -EBADMSG;
}

/* Programs may have been loaded with any number of rule counters on each CPU. */
static bool has_entries(const struct fw_datapath *dp,
			const struct bpf_map_info *info,
			const struct bpf_map *want, enum fw_map map)
{
	uint32_t n = info->max_entries / dp->cpus;

	if (map != FW_MAP_RULE_STATS)
		return info->max_entries == bpf_map__max_entries(want);
	return info->max_entries % dp->cpus == 0 && n >= FW_SLOTS_MIN &&
	       n <= FW_MAX_SLOTS && !(n & (n - 1));
}

/* As the kernel shows them: no program writes to a map of devices. */
static uint32_t map_flags(const struct bpf_map *want)
{
	uint32_t flags = bpf_map__map_flags(want);

	if (bpf_map__type(want) == BPF_MAP_TYPE_DEVMAP_HASH)
		flags |= BPF_F_RDONLY_PROG;
	return flags;
}

/* A pin could be anything: it has to be the map that our object declares. */
static bool is_map(const struct fw_datapath *dp, int fd,
		   const struct fwctl_bpf *skel, enum fw_map map,
		   struct bpf_map_info *ret)
{
	const struct bpf_map *want = fw_progs_map(skel, map);
	uint32_t len = sizeof(*ret);

	return want && fd >= 0 && bpf_obj_get_info_by_fd(fd, ret, &len) == 0 &&
	       strcmp(ret->name, bpf_map__name(want)) == 0 &&
	       ret->type == bpf_map__type(want) &&
	       ret->key_size == bpf_map__key_size(want) &&
	       ret->value_size == bpf_map__value_size(want) &&
	       ret->map_flags == map_flags(want) &&
	       has_entries(dp, ret, want, map);
}

static int open_map(struct fw_datapath *dp, const struct fwctl_bpf *skel,
		    enum fw_map map, uint32_t *ret_id, char **reterr)
{
	const char *name = fw_progs_map_name(map);
	struct fw_pin_path path = fw_pin_path(dp->pin_dir, "/maps/%s", name);
	struct bpf_map_info info = { 0 };

	dp->map[map] = bpf_obj_get(path.text);
	if (!is_map(dp, dp->map[map], skel, map, &info))
		return refuse_pin(dp->pin_dir, name, reterr);
	*ret_id = info.id;
	return 0;
}

static int map_counters(const struct fw_datapath *dp, int fd,
			struct fw_counters *ret, char **reterr)
{
	int r = fw_counters_map(fd, dp->cpus, ret);

	if (r < 0)
		fw_errorf(reterr, "cannot map counters: %s", strerror(-r));
	return r;
}

static int open_stats(struct fw_datapath *dp, char **reterr)
{
	int r = map_counters(dp, dp->map[FW_MAP_STATS], &dp->stats, reterr);

	if (r == 0) {
		r = map_counters(dp, dp->map[FW_MAP_RULE_STATS],
				 &dp->rule_stats, reterr);
	}
	dp->size.slots = dp->rule_stats.n;
	return r;
}

/* They are there after a growth, and only then. */
static int open_stats_before(struct fw_datapath *dp,
			     const struct fwctl_bpf *skel, char **reterr)
{
	struct fw_pin_path path =
		fw_pin_path(dp->pin_dir, "/maps/" FW_GROWTH_STATS_BEFORE);
	struct bpf_map_info info = { 0 };
	_cleanup_close_ int fd = bpf_obj_get(path.text);

	if (fd == -ENOENT)
		return 0;
	if (!is_map(dp, fd, skel, FW_MAP_RULE_STATS, &info))
		return refuse_pin(dp->pin_dir, FW_GROWTH_STATS_BEFORE, reterr);
	return map_counters(dp, fd, &dp->stats_before, reterr);
}

/* 0: not a mask of 2^n - 1, or of nothing */
static uint32_t size_of_mask(uint32_t mask)
{
	return mask & (mask + 1) ? 0 : mask + 1;
}

/*
 * What a map holds, if a program has its constants there: to be freed; those of
 * another version may be fewer, and are filled up with zeros. NULL: it holds
 * something else.
 */
static struct fwctl_bpf__rodata *read_constants(uint32_t map_id)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info), zero = 0;
	_cleanup_free_ void *constants = NULL;
	_cleanup_close_ int fd = -1;

	fd = bpf_map_get_fd_by_id(map_id);
	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len) < 0 ||
	    !strstr(info.name, ".rodata"))
		return NULL;
	/* behind those that have a name there may be others */
	constants =
		calloc(1, info.value_size + sizeof(struct fwctl_bpf__rodata));
	if (!constants || bpf_map_lookup_elem(fd, &zero, constants) < 0)
		return NULL;
	return take_ptr(constants);
}

/*
 * Of a program: bytes of an image, and how many flows it remembers, if this map
 * holds its constants; otherwise it stays as it is.
 */
static void read_size(uint32_t map_id, struct fw_datapath_size *size)
{
	_cleanup_free_ struct fwctl_bpf__rodata *constants = NULL;

	constants = read_constants(map_id);
	if (!constants || constants->fw_abi != FW_ABI_VERSION ||
	    constants->fw_image_mask >= FW_IMAGE_MAX)
		return;
	size->image = size_of_mask(constants->fw_image_mask);
	size->flows = constants->fw_cache_mask
			      ? size_of_mask(constants->fw_cache_mask) *
					FW_CACHED_WAYS
			      : 0;
}

/* Refuse programs whose images, tables or marks are not as ours. */
static int check_version(const struct fw_datapath *dp, char **reterr)
{
	struct fw_pin_path path = fw_pin_path(dp->pin_dir, "/progs/%s",
					      fw_progs_name(FW_HOOK_MAX - 1));
	_cleanup_close_ int fd = bpf_obj_get(path.text);
	uint32_t ids[MAX_PROG_MAPS], len;
	struct bpf_prog_info info = {
		.map_ids = (uintptr_t)ids,
		.nr_map_ids = ARRAY_SIZE(ids),
	};

	len = sizeof(info);
	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return 0; /* not even a program: check_prog() says so */
	for (size_t k = 0; k < info.nr_map_ids && k < ARRAY_SIZE(ids); k++) {
		_cleanup_free_ struct fwctl_bpf__rodata *constants =
			read_constants(ids[k]);

		if (!constants || constants->fw_abi == FW_ABI_VERSION)
			continue;
		fw_errorf(
			reterr,
			"the programs pinned in '%s' are of another version of fwctl and go on with the rules they have: remove them with 'fwctl unload', which ends filtering, and load again",
			dp->pin_dir);
		return -EBADMSG;
	}
	return 0;
}

/*
 * A program has to be of our kind, to judge by the rules and look into the tables
 * that we write, and to count where we read.
 */
static int check_prog(struct fw_datapath *dp, int fd, const char *name,
		      enum bpf_prog_type type, const uint32_t maps[FW_MAP_MAX],
		      char **reterr)
{
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);
	struct fw_datapath_size size = { 0 };
	uint32_t ids[MAX_PROG_MAPS];
	bool judges = false, looks = false, counts = false;

	info.map_ids = (uintptr_t)ids;
	info.nr_map_ids = ARRAY_SIZE(ids);
	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return refuse_pin(dp->pin_dir, name, reterr);
	if (strcmp(info.name, name) != 0 || info.type != type)
		return refuse_pin(dp->pin_dir, name, reterr);
	for (size_t k = 0; k < info.nr_map_ids && k < ARRAY_SIZE(ids); k++) {
		judges |= ids[k] == maps[FW_MAP_RULESETS];
		looks |= ids[k] == maps[FW_MAP_HOST];
		counts |= ids[k] == maps[FW_MAP_RULE_STATS];
		if (!size.image)
			read_size(ids[k], &size);
	}
	if (!judges || !looks || !counts || !size.image ||
	    (dp->size.image && dp->size.image != size.image))
		return refuse_pin(dp->pin_dir, name, reterr);
	dp->size.image = size.image;
	if (type == BPF_PROG_TYPE_XDP)
		dp->size.flows = size.flows;
	return 0;
}

static int open_prog(struct fw_datapath *dp, const struct fwctl_bpf *skel,
		     enum fw_hook hook, const uint32_t maps[FW_MAP_MAX],
		     char **reterr)
{
	const char *name = fw_progs_name(hook);
	struct fw_pin_path path = fw_pin_path(dp->pin_dir, "/progs/%s", name);
	const struct bpf_program *want = fw_progs_get(skel, hook);

	dp->prog[hook] = bpf_obj_get(path.text);
	if (!want)
		return refuse_pin(dp->pin_dir, name, reterr);
	return check_prog(dp, dp->prog[hook], name, bpf_program__type(want),
			  maps, reterr);
}

static void drop_local(struct fw_datapath *dp)
{
	fw_nfprogs_unpin(dp->pin_dir);
	fw_nfprogs_close(dp->local);
}

/* One that need not be there. */
static int open_local(struct fw_datapath *dp, enum fw_local local,
		      const uint32_t maps[FW_MAP_MAX], char **reterr)
{
	const char *name = fw_progs_local_name(local);
	struct fw_pin_path path = fw_pin_path(dp->pin_dir, "/progs/%s", name);
	int fd = bpf_obj_get(path.text);

	if (fd == -ENOENT)
		return 0;
	dp->local[local] = fd;
	return check_prog(dp, fd, name, FW_PROG_TYPE_NETFILTER, maps, reterr);
}

static int open_locals(struct fw_datapath *dp, const uint32_t maps[FW_MAP_MAX],
		       char **reterr)
{
	int r = 0;

	for (int i = 0; i < FW_LOCAL_MAX && r == 0; i++)
		r = open_local(dp, (enum fw_local)i, maps, reterr);
	/* Its daemon died while it pinned them, or unpinned: none is attached. */
	if (r == 0 && !fw_nfprogs_exist(dp->local))
		drop_local(dp);
	return r;
}

static int open_all(struct fw_datapath *dp, const struct fwctl_bpf *skel,
		    char **reterr)
{
	uint32_t ids[FW_MAP_MAX];
	int r;

	r = check_version(dp, reterr);
	if (r < 0)
		return r;
	for (int i = 0; i < FW_MAP_MAX; i++) {
		r = open_map(dp, skel, (enum fw_map)i, &ids[i], reterr);
		if (r < 0)
			return r;
	}
	r = open_stats(dp, reterr);
	if (r == 0)
		r = open_stats_before(dp, skel, reterr);
	if (r < 0)
		return r;
	for (int i = 0; i < FW_HOOK_MAX; i++) {
		r = open_prog(dp, skel, (enum fw_hook)i, ids, reterr);
		if (r < 0)
			return r;
	}
	return open_locals(dp, ids, reterr);
}

static int open_pins(struct fw_datapath *dp, char **reterr)
{
	struct fw_pin_path links = fw_pin_path(dp->pin_dir, "/links");
	struct fwctl_bpf *skel;
	int r;

	skel = fwctl_bpf__open();
	if (!skel)
		return -errno;
	r = fw_progs_set_counters(skel, FW_SLOTS_MIN, reterr);
	if (r > 0) {
		dp->cpus = (uint32_t)r;
		r = open_all(dp, skel, reterr);
	}
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

static int remove_set(const char *pin_dir)
{
	static const char *const dirs[] = { "/links", "/next", "/progs",
					    "/maps", "" };
	struct fw_pin_path marker = fw_pin_path(pin_dir, "/progs/%s",
						fw_progs_name(FW_HOOK_MAX - 1));
	struct fw_pin_path path = fw_pin_path(pin_dir, "/links");
	int r, first;

	(void)unlink(marker.text);
	first = fw_attach_purge(path.text);
	r = fw_nflinks_detach(path.text);
	if (r < 0 && first == 0)
		first = r;
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		path = fw_pin_path(pin_dir, "%s", dirs[i]);
		r = fw_pin_remove_dir(path.text);
		if (r < 0 && first == 0)
			first = r;
	}
	return first;
}

/* ---- programs for larger rules -------------------------------------------------------- */

static int next_map(const struct fw_datapath *dp, enum fw_map map)
{
	return bpf_map__fd(fw_progs_map(dp->next, map));
}

/* Do the programs that wait have rule counters of their own? */
static bool has_own_stats(const struct fw_datapath *dp)
{
	return dp->next_size.slots != dp->size.slots;
}

/* Which maps programs of another size share with those that run. */
static void list_shared(const struct fw_datapath *dp,
			const struct fw_datapath_size *size,
			int maps[FW_MAP_MAX])
{
	memcpy(maps, dp->map, sizeof(dp->map));
	maps[FW_MAP_RULESETS] = -1;
	if (size->slots != dp->size.slots)
		maps[FW_MAP_RULE_STATS] = -1;
}

static int load_beside(const struct fw_datapath *dp,
		       const struct fw_datapath_size *size,
		       struct fwctl_bpf **ret, char **reterr)
{
	bool had = fw_privileges_raised();
	int maps[FW_MAP_MAX], r;

	list_shared(dp, size, maps);
	/* If it does not suffice, the kernel says so, and reterr what for. */
	if (!had)
		(void)fw_privileges_raise();
	r = fw_progs_load(size, maps, -1, ret, reterr);
	if (!had)
		(void)fw_privileges_drop(false);
	return r;
}

/* The same on a thread, which begins with the capabilities of this one. */
static int begin_beside(struct fw_datapath *dp,
			const struct fw_datapath_size *size)
{
	bool had = fw_privileges_raised();
	int maps[FW_MAP_MAX], r;

	list_shared(dp, size, maps);
	if (!had)
		(void)fw_privileges_raise();
	r = fw_upcoming_begin(size, maps, &dp->upcoming);
	if (!had)
		(void)fw_privileges_drop(false);
	return r;
}

static bool suffices(const struct fw_datapath_size *size,
		     const struct fw_datapath_size *need)
{
	return size->image >= need->image && size->slots >= need->slots &&
	       size->flows >= need->flows;
}

void fw_datapath_expect(struct fw_datapath *dp,
			const struct fw_datapath_size *least,
			const struct fw_datapath_size *size)
{
	struct fw_datapath_size larger = dp->size;

	fw_datapath_expect_nothing(dp);
	if (suffices(&dp->size, least))
		return;
	if (larger.image < size->image)
		larger.image = size->image;
	if (larger.slots < size->slots)
		larger.slots = size->slots;
	if (larger.flows < size->flows)
		larger.flows = size->flows;
	(void)begin_beside(dp, &larger);
}

int fw_datapath_expected_image(const struct fw_datapath *dp, uint32_t *ret_size)
{
	if (!dp->upcoming)
		return -1;
	*ret_size = fw_upcoming_size(dp->upcoming)->image;
	return fw_upcoming_image(dp->upcoming);
}

void fw_datapath_expect_nothing(struct fw_datapath *dp)
{
	fw_upcoming_free(take_ptr(dp->upcoming));
}

/* The programs that were expected, if there are any and they suffice. */
static bool take_upcoming(struct fw_datapath *dp,
			  const struct fw_datapath_size *least)
{
	if (!dp->upcoming || !suffices(fw_upcoming_size(dp->upcoming), least))
		return false;
	dp->next_size = *fw_upcoming_size(dp->upcoming);
	dp->next = fw_upcoming_take(dp->upcoming, &dp->next_image);
	return dp->next;
}

static int load_next(struct fw_datapath *dp,
		     const struct fw_datapath_size *least,
		     const struct fw_datapath_size *size, char **reterr)
{
	bool has_come = take_upcoming(dp, least);

	fw_datapath_expect_nothing(dp);
	if (has_come)
		return 0;
	dp->next_size = *size;
	return load_beside(dp, size, &dp->next, reterr);
}

/*
 * The counters that are no longer written when the others take over are those
 * of today, and there is room for one such map: what is in the one of now goes
 * along. No program has written that since the last growth, none of the next
 * ones runs: not a packet is lost.
 */
static int hand_on_counters(struct fw_datapath *dp, char **reterr)
{
	int r;

	if (!has_own_stats(dp))
		return 0;
	r = map_counters(dp, next_map(dp, FW_MAP_RULE_STATS), &dp->next_stats,
			 reterr);
	if (r == 0 && dp->stats_before.words)
		fw_counters_copy(&dp->stats_before, &dp->next_stats);
	return r;
}

/* As those of netfilter go on, others have to come with the others. */
static int load_next_local(struct fw_datapath *dp, char **reterr)
{
	int maps[FW_MAP_MAX];

	if (!fw_nfprogs_exist(dp->local))
		return 0;
	for (int i = 0; i < FW_MAP_MAX; i++)
		maps[i] = next_map(dp, (enum fw_map)i);
	return fw_nfprogs_load(&dp->next_size, maps, dp->next_local, reterr);
}

int fw_datapath_grow(struct fw_datapath *dp,
		     const struct fw_datapath_size *least,
		     const struct fw_datapath_size *size, char **reterr)
{
	int r;

	fw_datapath_shrink(dp);
	r = load_next(dp, least, size, reterr);
	if (r < 0)
		return r;
	r = load_next_local(dp, reterr);
	if (r == 0)
		r = hand_on_counters(dp, reterr);
	if (r < 0)
		fw_datapath_shrink(dp);
	return r;
}

int fw_datapath_take_image(struct fw_datapath *dp)
{
	return take_fd(&dp->next_image);
}

int fw_datapath_take_spare_image(struct fw_datapath *dp)
{
	return take_fd(&dp->spare_image);
}

void fw_datapath_shrink(struct fw_datapath *dp)
{
	fwctl_bpf__destroy(dp->next);
	dp->next = NULL;
	fw_nfprogs_close(dp->next_local);
	fw_closep(&dp->next_image);
	dp->next_image = -1;
	fw_closep(&dp->spare_image);
	dp->spare_image = -1;
	fw_counters_unmap(&dp->next_stats);
}

/* Have a descriptor of our own in the place of another one. */
static int use_fd(int fd, int *ret_fd)
{
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return -errno;
	fw_closep(ret_fd);
	*ret_fd = fd;
	return 0;
}

/* So are our counters; nothing can fail here. */
static void use_next_stats(struct fw_datapath *dp)
{
	if (!has_own_stats(dp))
		return;
	fw_counters_unmap(&dp->stats_before);
	dp->stats_before = dp->rule_stats;
	dp->rule_stats = dp->next_stats;
	dp->next_stats = (struct fw_counters){ 0 };
}

/* Our descriptors are those of the programs that have taken over. */
static int use_next(struct fw_datapath *dp)
{
	int r;

	use_next_stats(dp);
	r = use_fd(next_map(dp, FW_MAP_RULESETS), &dp->map[FW_MAP_RULESETS]);
	if (r == 0)
		r = use_fd(next_map(dp, FW_MAP_RULE_STATS),
			   &dp->map[FW_MAP_RULE_STATS]);
	for (int i = 0; i < FW_HOOK_MAX && r == 0; i++) {
		r = use_fd(bpf_program__fd(
				   fw_progs_get(dp->next, (enum fw_hook)i)),
			   &dp->prog[i]);
	}
	fw_nfprogs_close(dp->local);
	for (int i = 0; i < FW_LOCAL_MAX; i++)
		dp->local[i] = take_fd(&dp->next_local[i]);
	if (r < 0)
		return r;
	dp->size = dp->next_size;
	return fw_attach_use(dp->attach, dp->prog);
}

/* What the others have counted before they gave up was kept. */
static void reopen_stats_before(struct fw_datapath *dp)
{
	struct fw_pin_path path =
		fw_pin_path(dp->pin_dir, "/maps/" FW_GROWTH_STATS_BEFORE);

	_cleanup_close_ int fd = bpf_obj_get(path.text);

	fw_counters_unmap(&dp->stats_before);
	if (fd >= 0)
		(void)fw_counters_map(fd, dp->cpus, &dp->stats_before);
}

int fw_datapath_grown(struct fw_datapath *dp, char **reterr)
{
	const struct fw_growth growth = {
		.skel = dp->next,
		.local = dp->next_local,
		.has_stats = dp->next && has_own_stats(dp),
	};
	int r;

	if (!dp->next)
		return 0;
	r = fw_growth_take_over(&growth, dp->prog, dp->local, dp->pin_dir,
				reterr);
	if (r < 0) {
		reopen_stats_before(dp);
		return r;
	}
	r = use_next(dp);
	if (r < 0) {
		fw_errorf(reterr, "cannot use the new programs: %s",
			  strerror(-r));
		return r;
	}
	fw_datapath_shrink(dp);
	return 0;
}

/* ---- open and close ------------------------------------------------------------------- */

static bool has_marker(const char *prefix, const char *pin_dir)
{
	struct fw_pin_path path = fw_pin_path(pin_dir, "/progs/%s",
					      fw_progs_name(FW_HOOK_MAX - 1));
	struct fw_pin_path full;

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
	struct fw_pin_path path;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		path = fw_pin_path(pin_dir, "%s", dirs[i]);
		r = fw_bpffs_mkdir(path.text, reterr);
		if (r < 0)
			return r;
	}
	return 0;
}

static int open_or_load(struct fw_datapath *dp,
			const struct fw_datapath_size *size, char **reterr)
{
	int r;

	r = fw_bpffs_make(dp->pin_dir, reterr);
	if (r < 0)
		return r;
	r = lock_dir(dp->pin_dir, &dp->lock, reterr);
	if (r < 0)
		return r;

	dp->is_adopted = has_marker("", dp->pin_dir);
	if (dp->is_adopted)
		r = fw_growth_finish(dp->pin_dir);
	if (r < 0 && r != -ENOENT) {
		fw_errorf(reterr, "cannot finish what a crash left in '%s': %s",
			  dp->pin_dir, strerror(-r));
		return r;
	}
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

	r = load(dp, size, reterr);
	if (r == 0)
		r = open_pins(dp, reterr);
	if (r < 0)
		(void)fw_datapath_remove(dp);
	return r;
}

int fw_datapath_open(const char *pin_dir, const struct fw_datapath_size *size,
		     struct fw_datapath **ret, char **reterr)
{
	struct fw_datapath *dp;
	int r;

	if (strlen(pin_dir) > PATH_MAX / 2) {
		fw_errorf(reterr, "the name of the pin directory is too long");
		return -ENAMETOOLONG;
	}
	fw_progs_init();
	dp = calloc(1, sizeof(*dp));
	if (!dp)
		return -ENOMEM;
	dp->lock = -1;
	dp->next_image = -1;
	dp->spare_image = -1;
	for (int i = 0; i < FW_MAP_MAX; i++)
		dp->map[i] = -1;
	for (int i = 0; i < FW_HOOK_MAX; i++)
		dp->prog[i] = -1;
	fw_nfprogs_init(dp->local);
	fw_nfprogs_init(dp->next_local);
	dp->can_have_local = fw_nflinks_are_possible();

	dp->pin_dir = strdup(pin_dir);
	r = dp->pin_dir ? open_or_load(dp, size, reterr) : -ENOMEM;
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
	fw_datapath_shrink(dp);
	fw_datapath_expect_nothing(dp);
	fw_attach_free(dp->attach);
	for (int i = 0; i < FW_MAP_MAX; i++)
		fw_closep(&dp->map[i]);
	fw_counters_unmap(&dp->stats);
	fw_counters_unmap(&dp->rule_stats);
	fw_counters_unmap(&dp->stats_before);
	for (int i = 0; i < FW_HOOK_MAX; i++)
		fw_closep(&dp->prog[i]);
	fw_nfprogs_close(dp->local);
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
	fw_progs_init();
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
	if (dp->next && map == FW_MAP_RULESETS)
		return next_map(dp, map);
	return dp->map[map];
}

const struct fw_counters *fw_datapath_stats(const struct fw_datapath *dp)
{
	return &dp->stats;
}

const struct fw_counters *fw_datapath_rule_stats(const struct fw_datapath *dp)
{
	return &dp->rule_stats;
}

const struct fw_counters *fw_datapath_stats_before(const struct fw_datapath *dp)
{
	return &dp->stats_before;
}

bool fw_datapath_is_expecting(const struct fw_datapath *dp)
{
	return dp->upcoming;
}

bool fw_datapath_is_growing(const struct fw_datapath *dp)
{
	return dp->next != NULL;
}

struct fw_datapath_size fw_datapath_size(const struct fw_datapath *dp)
{
	return dp->next ? dp->next_size : dp->size;
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

void fw_datapath_look(const struct fw_datapath *dp, uint32_t ifindex,
		      struct fw_hooks_found *ret)
{
	fw_attach_look(dp->attach, ifindex, ret);
}

enum fw_transport fw_datapath_transport(const struct fw_datapath *dp)
{
	struct fw_pin_path links = fw_pin_path(dp->pin_dir, "/links");

	if (!dp->can_have_local)
		return FW_TRANSPORT_NOBODY;
	return fw_nfprogs_exist(dp->local) &&
			       fw_nflinks_are_attached(links.text, dp->local)
		       ? FW_TRANSPORT_ON
		       : FW_TRANSPORT_OFF;
}

int fw_datapath_ready_transport(struct fw_datapath *dp, char **reterr)
{
	int r;

	if (!dp->can_have_local)
		return -EOPNOTSUPP;
	if (fw_nfprogs_exist(dp->local))
		return 0;
	r = fw_nfprogs_load(&dp->size, dp->map, dp->local, reterr);
	if (r < 0)
		return r;
	/* What is attached is known by its pin (open_local()). */
	r = fw_nfprogs_pin(dp->local, dp->pin_dir);
	if (r < 0)
		drop_local(dp);
	return r;
}

int fw_datapath_attach_transport(struct fw_datapath *dp, char **reterr)
{
	struct fw_pin_path links = fw_pin_path(dp->pin_dir, "/links");
	int r = fw_datapath_ready_transport(dp, reterr);

	return r < 0 ? r : fw_nflinks_attach(links.text, dp->local);
}

int fw_datapath_detach_transport(struct fw_datapath *dp)
{
	struct fw_pin_path links = fw_pin_path(dp->pin_dir, "/links");
	int r;

	if (!fw_nfprogs_exist(dp->local))
		return 0;
	r = fw_nflinks_detach(links.text);
	/* Given up: no growth has to care for what nobody uses. */
	if (r == 0)
		drop_local(dp);
	return r;
}

int fw_datapath_prog_stats(const struct fw_datapath *dp, enum fw_hook hook,
			   struct fw_prog_stats *ret)
{
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);
	int r;

	r = bpf_obj_get_info_by_fd(dp->prog[hook], &info, &len);
	if (r < 0)
		return r;
	ret->runs = info.run_cnt;
	ret->run_ns = info.run_time_ns;
	return 0;
}

const struct fw_attachment *
fw_datapath_attachments(const struct fw_datapath *dp, size_t *ret_n)
{
	return fw_attach_list(dp->attach, ret_n);
}
