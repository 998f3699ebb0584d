/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Rules that outgrow the programs: others take over, and every counter goes on,
 * also under traffic, after a crash at any step, and when it fails.
 */
#include "selftests/datapath/daemon.h"
#include "selftests/datapath/traffic.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "kern/offload_abi.h"
#include "user/attach.h"
#include "user/counters.h"
#include "user/growth.h"
#include "user/log.h"
#include "user/nflinks.h"
#include "user/nfprogs.h"
#include "user/progs.h"
#include "user/util.h"

#define STATS  PIN_DIR "/v1/maps/rule_stats"
#define BEFORE PIN_DIR "/v1/maps/rule_stats_before"
#define NEXT   PIN_DIR "/v1/next"
#define LINKS  PIN_DIR "/v1/links"

/* More labels than there are slots at first, and than after one growth. */
#define MANY (FW_SLOTS_MIN + 500)
#define MORE (2 * FW_SLOTS_MIN + 500)

static int clean_up(void **state)
{
	(void)state;
	(void)system("ip link del dpa 2>/dev/null; rm -rf /sys/fs/bpf/fwctl");
	return 0;
}

/* ---- rules, as many as wanted ------------------------------------------------ */

/* The rule "traffic", and `n` others with labels of this beginning. */
static char *make_rules(const char *mode, const char *beginning, unsigned int n)
{
	char *text = NULL;
	size_t len;
	FILE *f;

	f = open_memstream(&text, &len);
	assert_non_null(f);
	(void)fprintf(f, "interface wan = dpa { mode %s }\ndefault in drop\n%s",
		      mode, TRAFFIC_RULE);
	for (unsigned int i = 0; i < n; i++) {
		(void)fprintf(f, "accept in proto udp to port %u label %s%u\n",
			      1000 + i, beginning, i);
	}
	assert_int_equal(fclose(f), 0);
	return text;
}

static void load_many(struct daemon *d, const char *beginning, unsigned int n)
{
	_cleanup_free_ char *text = make_rules("tc", beginning, n);

	load(d, text);
}

static uint32_t n_cpus(void)
{
	int n = fw_counters_cpus();

	assert_true(n > 0);
	return (uint32_t)n;
}

static uint32_t slots(const struct daemon *d)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);

	assert_int_equal(
		bpf_obj_get_info_by_fd(
			fw_datapath_map(d->dp, FW_MAP_RULE_STATS), &info, &len),
		0);
	assert_int_equal(fw_datapath_size(d->dp).slots * n_cpus(),
			 info.max_entries);
	return fw_datapath_size(d->dp).slots;
}

/* What is pinned is what the programs count in. */
static uint32_t id_of_pin(const char *path)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);
	_cleanup_close_ int fd = bpf_obj_get(path);

	if (fd < 0)
		return 0;
	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
	return info.id;
}

/* ---- steps that fail, and steps that are never done ------------------------------ */

/* The linker sends all that changes pins and links here (-Wl,--wrap). */
int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __real_unlink(const char *path);
int __wrap_unlink(const char *path);
int __real_unlinkat(int dir, const char *name, int flags);
int __wrap_unlinkat(int dir, const char *name, int flags);
int __real_rmdir(const char *path);
int __wrap_rmdir(const char *path);
int __real_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode);
int __real_bpf_obj_pin(int fd, const char *path);
int __wrap_bpf_obj_pin(int fd, const char *path);
int __real_bpf_link_update(int fd, int prog,
			   const struct bpf_link_update_opts *opts);
int __wrap_bpf_link_update(int fd, int prog,
			   const struct bpf_link_update_opts *opts);
int __real_bpf_tc_attach(const struct bpf_tc_hook *hook,
			 struct bpf_tc_opts *opts);
int __wrap_bpf_tc_attach(const struct bpf_tc_hook *hook,
			 struct bpf_tc_opts *opts);

#define DIED 42

static int steps_to_live = -1;	/* -1: for ever */
static const char *last_path;	/* what comes to it dies; NULL: nothing */
static int update_to_fail = -1; /* counted from 0; -1: none */
static int n_updates;		/* since that was set */
static unsigned int n_extra;	/* before each of them */

static void step(const char *path)
{
	if (steps_to_live == 0 ||
	    (last_path && path && strcmp(path, last_path) == 0))
		_exit(DIED);
	if (steps_to_live > 0)
		steps_to_live--;
}

/* Before each change of a hook; true if it is to fail. */
static bool update(void)
{
	step(NULL);
	if (update_to_fail < 0)
		return false;
	send_traffic(10);
	n_extra += 10;
	return n_updates++ == update_to_fail;
}

int __wrap_rename(const char *from, const char *to)
{
	step(to);
	return __real_rename(from, to);
}

int __wrap_unlink(const char *path)
{
	step(path);
	return __real_unlink(path);
}

int __wrap_unlinkat(int dir, const char *name, int flags)
{
	step(NULL);
	return __real_unlinkat(dir, name, flags);
}

int __wrap_rmdir(const char *path)
{
	step(path);
	return __real_rmdir(path);
}

int __wrap_mkdir(const char *path, mode_t mode)
{
	step(path);
	return __real_mkdir(path, mode);
}

int __wrap_bpf_obj_pin(int fd, const char *path)
{
	step(path);
	return __real_bpf_obj_pin(fd, path);
}

int __wrap_bpf_link_update(int fd, int prog,
			   const struct bpf_link_update_opts *opts)
{
	return update() ? -EIO : __real_bpf_link_update(fd, prog, opts);
}

/* On kernels before 6.6. */
int __wrap_bpf_tc_attach(const struct bpf_tc_hook *hook,
			 struct bpf_tc_opts *opts)
{
	return update() ? -EIO : __real_bpf_tc_attach(hook, opts);
}

/* ---- tests ----------------------------------------------------------------------- */

static void few_rules_have_few_counters(void **state)
{
	struct daemon d = start();
	uint32_t id;

	(void)state;
	load_many(&d, "a", 100);
	assert_int_equal(slots(&d), FW_SLOTS_MIN);
	id = id_of_pin(STATS);

	/* They change often: slots are taken again, there are no more of them. */
	for (char c = 'b'; c < 'h'; c++)
		load_many(&d, (char[]){ c, '\0' }, FW_SLOTS_MIN / 3);
	assert_int_equal(slots(&d), FW_SLOTS_MIN);
	assert_int_equal(id_of_pin(STATS), id);
	assert_int_equal(id_of_pin(BEFORE), 0);
	stop(&d);
}

/* Old and new labels together: as many as fit do, and one more does not. */
static void growth_comes_when_it_is_needed(void **state)
{
	const unsigned int others = 1 + 1 + FW_DIR_MAX; /* slot 0, traffic */
	const unsigned int half = (FW_SLOTS_MIN - others) / 2;
	struct daemon d = start();
	uint32_t id;

	(void)state;
	load_many(&d, "a", half);
	id = id_of_pin(STATS);
	load_many(&d, "b", FW_SLOTS_MIN - others - half);
	assert_int_equal(slots(&d), FW_SLOTS_MIN);
	assert_int_equal(id_of_pin(STATS), id);
	load_many(&d, "c", half + 1);
	assert_int_equal(slots(&d), 2 * FW_SLOTS_MIN);
	assert_int_equal(fw_datapath_size(d.dp).image, FW_IMAGE_MIN);
	assert_int_equal(id_of_pin(BEFORE), id);
	id = id_of_pin(STATS);
	load_many(&d, "d", FW_SLOTS_MIN);
	assert_int_equal(id_of_pin(STATS), id);
	stop(&d);
}

/* Entries of the map that the attached XDP program has for flows, of all CPUs. */
static uint32_t groups_in_kernel(void)
{
	_cleanup_close_ int prog = bpf_obj_get(PIN_DIR "/v1/progs/fw_xdp");
	struct bpf_prog_info program = { 0 };
	uint32_t ids[64], len = sizeof(program);

	program.map_ids = (uintptr_t)ids;
	program.nr_map_ids = ARRAY_SIZE(ids);
	assert_int_equal(bpf_obj_get_info_by_fd(prog, &program, &len), 0);
	for (uint32_t i = 0; i < program.nr_map_ids; i++) {
		_cleanup_close_ int fd = bpf_map_get_fd_by_id(ids[i]);
		struct bpf_map_info info = { 0 };

		len = sizeof(info);
		assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
		if (strcmp(info.name, "flow_cache") == 0)
			return info.max_entries;
	}
	fail_msg("no flow_cache");
	return 0;
}

/* Rules without offload have none; once there is room it stays, for a daemon to come, too. */
static void flows_have_room_when_rules_offload(void **state)
{
	static const char on[] = "interface a = dpa { mode tc }\n"
				 "default in accept\ndefault out accept\n"
				 "default forward accept\noption offload on\n";
	struct daemon d = start();
	uint32_t each = fw_flow_cache_entries(FW_FLOW_CACHE_OFFLOAD, n_cpus());

	(void)state;
	load_many(&d, "a", 1);
	assert_int_equal(fw_datapath_size(d.dp).flows, 0);
	assert_int_equal(groups_in_kernel(), n_cpus());
	load(&d, on);
	assert_int_equal(fw_datapath_size(d.dp).flows, each);
	assert_int_equal(groups_in_kernel(), each / FW_CACHED_WAYS * n_cpus());
	load_many(&d, "b", FW_SLOTS_MIN);
	assert_int_equal(fw_datapath_size(d.dp).flows, each);
	stop(&d);
	d = start();
	assert_true(fw_datapath_adopted(d.dp));
	assert_int_equal(fw_datapath_size(d.dp).flows, each);
	stop(&d);
}

static void load_with(const struct daemon *d, uint32_t slot, uint64_t packets,
		      uint64_t bytes, uint64_t flows)
{
	struct fw_rule_counter first = { packets, bytes, flows };
	struct fw_rule_counter last = { 1, 1, 1 };
	uint32_t n = n_cpus();

	/* The last CPU as well as the first. */
	if (n == 1) {
		first = (struct fw_rule_counter){ packets + 1, bytes + 1,
						  flows + 1 };
	} else {
		set_counter(d, n - 1, slot, &last);
	}
	set_counter(d, 0, slot, &first);
}

static void check_counter(const struct daemon *d, uint32_t slot,
			  uint64_t packets, uint64_t bytes, uint64_t flows)
{
	struct fw_rule_counter got;

	assert_int_equal(fw_stats_rule(d->dp, slot, &got), 0);
	assert_int_equal(got.packets, packets);
	assert_int_equal(got.bytes, bytes);
	assert_int_equal(got.flows, flows);
}

static void counters_go_on_over_growths(void **state)
{
	struct daemon d = start();
	uint32_t first, last, late;

	(void)state;
	load_many(&d, "p", 3000);
	first = slot_of(&d, "p0");
	last = slot_of(&d, "p2999");
	load_with(&d, first, 100, 200, 300);
	load_with(&d, last, 1, 2, 3);

	load_many(&d, "p", MANY);
	assert_int_equal(slots(&d), 2 * FW_SLOTS_MIN);
	assert_int_equal(slot_of(&d, "p0"), first);
	check_counter(&d, first, 101, 201, 301);
	check_counter(&d, last, 2, 3, 4);
	late = slot_of(&d, "p4500");
	assert_true(late >= FW_SLOTS_MIN);
	load_with(&d, first, 1000, 2000, 3000);
	load_with(&d, late, 7, 8, 9);
	check_counter(&d, first, 1102, 2202, 3302);
	check_counter(&d, late, 8, 9, 10);

	load_many(&d, "p", MORE);
	assert_int_equal(slots(&d), 4 * FW_SLOTS_MIN);
	check_counter(&d, first, 1102, 2202, 3302);
	check_counter(&d, last, 2, 3, 4);
	check_counter(&d, late, 8, 9, 10);
	stop(&d);

	d = start();
	assert_true(fw_datapath_adopted(d.dp));
	assert_int_equal(slots(&d), 4 * FW_SLOTS_MIN);
	assert_int_equal(slot_of(&d, "p0"), first);
	check_counter(&d, first, 1102, 2202, 3302);
	check_counter(&d, late, 8, 9, 10);
	assert_int_equal(fw_datapath_remove(d.dp), 0);
	assert_int_equal(count_files("/sys/fs/bpf/fwctl"), -1);
	stop(&d);
}

/* A label that a slot is given to; the circle comes round sooner or later. */
static const char *next_owner(struct daemon *d, uint32_t slot)
{
	const char *label = NULL;

	for (char c = 'a'; c < 'h'; c++) {
		load_many(d, (char[]){ c, '\0' }, 2500);
		label = fw_apply_slot_label(d->apply, slot);
		assert_non_null(label);
		if (label[0] == c)
			return label;
	}
	fail_msg("slot %u is not given away", slot);
	return label;
}

static void new_labels_begin_at_zero(void **state)
{
	struct daemon d = start();
	uint32_t slot;

	(void)state;
	load_many(&d, "p", 100);
	slot = slot_of(&d, "p50");
	load_with(&d, slot, 100, 200, 300);
	load_many(&d, "p", MANY);
	load_with(&d, slot, 1000, 2000, 3000);
	check_counter(&d, slot, 1102, 2202, 3302);

	(void)next_owner(&d, slot);
	assert_int_equal(slots(&d), 2 * FW_SLOTS_MIN);
	check_counter(&d, slot, 0, 0, 0);
	load_with(&d, slot, 4, 4, 4);
	load_many(&d, "z", MORE);
	assert_int_equal(slots(&d), 4 * FW_SLOTS_MIN);
	check_counter(&d, slot, 5, 5, 5);
	stop(&d);
}

/* Larger images alone need no other counters. */
static void larger_images_share_the_counters(void **state)
{
	struct daemon d = start();
	struct fw_datapath_size size = fw_datapath_size(d.dp);
	char *error = NULL;
	uint32_t id = id_of_pin(STATS);

	(void)state;
	size.image *= 2;
	assert_int_equal(fw_datapath_grow(d.dp, &size, &size, &error), 0);
	assert_int_equal(fw_datapath_grown(d.dp, &error), 0);
	assert_int_equal(id_of_pin(STATS), id);
	assert_int_equal(id_of_pin(BEFORE), 0);

	size.slots *= 4;
	assert_int_equal(fw_datapath_grow(d.dp, &size, &size, &error), 0);
	assert_int_equal(fw_datapath_grown(d.dp, &error), 0);
	assert_int_equal(slots(&d), 4 * FW_SLOTS_MIN);
	assert_int_equal(fw_datapath_size(d.dp).image, size.image);
	assert_int_equal(id_of_pin(BEFORE), id);
	stop(&d);
}

static uint32_t id_of_map(int fd)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);

	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
	return info.id;
}

/* Is it an XDP program of ours that works with this map? */
static bool is_prog_with(int fd, uint32_t map)
{
	uint32_t ids[64] = { 0 };
	struct bpf_prog_info info = {
		.map_ids = (uintptr_t)ids,
		.nr_map_ids = ARRAY_SIZE(ids),
	};
	uint32_t len = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0 ||
	    strcmp(info.name, "fw_xdp") != 0)
		return false;
	for (uint32_t i = 0; i < info.nr_map_ids && i < ARRAY_SIZE(ids); i++) {
		if (ids[i] == map)
			return true;
	}
	return false;
}

/* XDP programs of this daemon that are loaded, attached or not. */
static unsigned int count_programs(const struct daemon *d)
{
	uint32_t id = 0, map = id_of_map(fw_datapath_map(d->dp, FW_MAP_HOST));
	unsigned int n = 0;

	while (bpf_prog_get_next_id(id, &id) == 0) {
		int fd = bpf_prog_get_fd_by_id(id);

		if (fd < 0)
			continue;
		n += is_prog_with(fd, map);
		(void)close(fd);
	}
	return n;
}

/* A thread loads them. */
static void wait_for_programs(const struct daemon *d, unsigned int n)
{
	const struct timespec pause = { .tv_nsec = 20000000 };

	for (int i = 0; i < 3000 && count_programs(d) != n; i++)
		(void)nanosleep(&pause, NULL);
	assert_int_equal(count_programs(d), n);
}

/* The map that coming programs find their image in. */
static uint32_t coming_image(struct fw_datapath *dp)
{
	uint32_t id = 0, zero = 0;

	assert_int_equal(
		bpf_map_lookup_elem(fw_datapath_map(dp, FW_MAP_RULESETS), &zero,
				    &id),
		0);
	return id;
}

/* Programs may be loaded before anybody knows that they are needed. */
static void what_was_expected_is_taken_if_it_suffices(void **state)
{
	struct daemon d = start();
	struct fw_datapath_size size, larger;
	unsigned int programs;
	uint32_t slot;
	char *error = NULL;
	int fd;

	(void)state;
	load_many(&d, "p", 100);
	slot = slot_of(&d, "p50");
	load_with(&d, slot, 100, 200, 300);
	programs = count_programs(&d);
	size = fw_datapath_size(d.dp);
	fw_datapath_expect(d.dp, &size, &size);
	assert_int_equal(count_programs(&d), programs);

	/* Nobody sees them, and what turns out to be small does without. */
	size.slots = 4 * FW_SLOTS_MIN;
	fw_datapath_expect(d.dp, &size, &size);
	assert_true(fw_datapath_is_expecting(d.dp));
	wait_for_programs(&d, programs + 1);
	assert_int_equal(slots(&d), FW_SLOTS_MIN);
	load_many(&d, "p", 200);
	assert_int_equal(slots(&d), FW_SLOTS_MIN);
	fw_datapath_expect_nothing(d.dp);
	assert_int_equal(count_programs(&d), programs);

	/* More than needed is as good, with counters that were cleared since. */
	fw_datapath_expect(d.dp, &size, &size);
	load_many(&d, "p", MANY);
	assert_int_equal(slots(&d), 4 * FW_SLOTS_MIN);
	assert_int_equal(count_programs(&d), programs);
	load_with(&d, slot, 1000, 2000, 3000);
	check_counter(&d, slot, 1102, 2202, 3302);

	/* What has room is taken, even if others would have been given more. */
	size.image *= 4;
	fw_datapath_expect(d.dp, &size, &size);
	larger = size;
	larger.image *= 2;
	assert_int_equal(fw_datapath_grow(d.dp, &size, &larger, &error), 0);
	assert_int_equal(fw_datapath_size(d.dp).image, size.image);
	/* They have a map for an image, in its place: no need to switch. */
	fd = fw_datapath_take_image(d.dp);
	assert_int_equal(id_of_map(fd), coming_image(d.dp));
	assert_int_equal(fw_datapath_take_image(d.dp), -1);
	(void)close(fd);
	fw_datapath_shrink(d.dp);
	size = fw_datapath_size(d.dp);

	/* What could not be loaded leaves no image that is said to be in its place. */
	larger = size;
	larger.slots = 1u << 30;
	fw_datapath_expect(d.dp, &larger, &larger);
	size.slots *= 2;
	assert_int_equal(fw_datapath_grow(d.dp, &size, &size, &error), 0);
	assert_int_equal(fw_datapath_take_image(d.dp), -1);
	fw_datapath_shrink(d.dp);
	size = fw_datapath_size(d.dp);

	/* Too little is not. */
	size.slots = 8 * FW_SLOTS_MIN;
	fw_datapath_expect(d.dp, &size, &size);
	load_many(&d, "x", 8 * FW_SLOTS_MIN);
	assert_int_equal(slots(&d), 16 * FW_SLOTS_MIN);
	fw_datapath_expect_nothing(d.dp);
	assert_int_equal(count_programs(&d), programs);
	stop(&d);
}

static void failed_load_forgets_what_was_coming(void **state)
{
	_cleanup_free_ char *text = make_rules("xdp", "q", MANY);
	struct daemon d = start();
	uint32_t slot, id;

	(void)state;
	load_many(&d, "p", 100);
	slot = slot_of(&d, "p0");
	load_with(&d, slot, 100, 200, 300);
	id = id_of_pin(STATS);
	(void)add_foreign_xdp("dpa");
	fail_to_load(&d, text, -EBUSY, "somebody", "xdp }");
	assert_int_equal(slots(&d), FW_SLOTS_MIN);
	assert_int_equal(id_of_pin(STATS), id);
	assert_int_equal(id_of_pin(BEFORE), 0);
	assert_int_equal(access(NEXT, F_OK), -1);

	/* Its labels are gone with it: what fits now fits. */
	load_many(&d, "r", FW_SLOTS_MIN - 200);
	assert_int_equal(id_of_pin(STATS), id);
	remove_foreign_xdp("dpa");
	load(&d, text);
	assert_int_equal(slots(&d), 4 * FW_SLOTS_MIN);
	assert_int_equal(id_of_pin(BEFORE), id);
	stop(&d);
}

static void not_a_packet_is_lost_under_traffic(void **state)
{
	struct sender senders[MAX_SENDERS];
	atomic_bool stop_all = false;
	struct daemon d = start();
	uint64_t seen = 0, sent;
	uint32_t slot;
	size_t n;

	(void)state;
	load_many(&d, "p", 100);
	slot = slot_of(&d, "traffic");
	n = start_senders(senders, &stop_all);
	for (unsigned int rules = MANY; rules < 10000; rules *= 2) {
		load_many(&d, "p", rules);
		/* Never less than what was there a moment ago. */
		for (int i = 0; i < 1000; i++) {
			uint64_t now = packets_of(&d, slot);

			assert_true(now >= seen);
			seen = now;
		}
	}
	sent = end_senders(senders, n, &stop_all);
	assert_int_equal(slots(&d), 4 * FW_SLOTS_MIN);
	assert_int_equal(slot_of(&d, "traffic"), slot);
	assert_int_equal(packets_of(&d, slot), sent);
	stop(&d);
}

/* ---- crashes ---------------------------------------------------------------------- */

/* All that a growth moves, and counters that nobody writes any more. */
enum {
	RULESETS,
	COUNTERS,
	XDP,
	INGRESS,
	EGRESS,
	LOCAL, /* two, from Linux 6.4 on */
	COUNTERS_BEFORE = LOCAL + FW_LOCAL_MAX,
	N_PINS,
};

static const char *const pins[N_PINS] = {
	PIN_DIR "/v1/maps/rulesets",	  STATS,
	PIN_DIR "/v1/progs/fw_xdp",	  PIN_DIR "/v1/progs/fw_ingress",
	PIN_DIR "/v1/progs/fw_egress",	  PIN_DIR "/v1/progs/fw_local_in",
	PIN_DIR "/v1/progs/fw_local_out", BEFORE,
};

struct old {
	bool has_local;
	int fd[N_PINS];
	uint32_t id[N_PINS];
};

/* As the programs have them, but for the type, the flags and the number. */
static int new_counters(enum bpf_map_type type, uint32_t flags, uint32_t n)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = flags);
	int fd = bpf_map_create(type, "rule_stats", 4,
				sizeof(struct fw_rule_counter), n, &opts);

	assert_true(fd >= 0);
	return fd;
}

/* The id of a map or a program is at the same place. */
static uint32_t id_of(int fd)
{
	union {
		struct bpf_map_info map;
		struct bpf_prog_info prog;
	} info = { 0 };
	uint32_t len = sizeof(info.map);

	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
	_Static_assert(offsetof(struct bpf_map_info, id) ==
			       offsetof(struct bpf_prog_info, id),
		       "id");
	return info.map.id;
}

static bool is_missing(const struct old *old, int pin)
{
	return pin >= LOCAL && pin < COUNTERS_BEFORE && !old->has_local;
}

static void open_old(struct old *ret)
{
	ret->has_local = fw_nflinks_are_possible();
	for (int i = 0; i < N_PINS; i++) {
		if (is_missing(ret, i)) {
			ret->fd[i] = -1;
			continue;
		}
		ret->fd[i] = i == COUNTERS_BEFORE
				     ? new_counters(BPF_MAP_TYPE_ARRAY,
						    BPF_F_MMAPABLE,
						    FW_SLOTS_MIN * n_cpus())
				     : bpf_obj_get(pins[i]);
		assert_true(ret->fd[i] >= 0);
		ret->id[i] = id_of(ret->fd[i]);
	}
}

/* What was before the growth, whatever is there now. */
static void put_back(const struct old *old)
{
	run("rm -rf " NEXT);
	for (int i = 0; i < N_PINS; i++) {
		(void)unlink(pins[i]);
		if (!is_missing(old, i))
			assert_int_equal(bpf_obj_pin(old->fd[i], pins[i]), 0);
	}
	assert_int_equal(fw_attach_replace(LINKS, old->fd + XDP), 0);
	if (old->has_local)
		assert_int_equal(fw_nflinks_attach(LINKS, old->fd + LOCAL), 0);
}

/* All of it is new, or nothing is, and no counters are lost. */
static bool has_taken_over(const struct old *old)
{
	uint32_t id[N_PINS] = { 0 };
	int fd[N_PINS];
	bool is_new;

	for (int i = 0; i < N_PINS; i++) {
		fd[i] = bpf_obj_get(pins[i]);
		assert_true((fd[i] < 0) == is_missing(old, i));
		if (fd[i] >= 0)
			id[i] = id_of(fd[i]);
	}
	is_new = id[EGRESS] != old->id[EGRESS];
	for (int i = 0; i < COUNTERS_BEFORE; i++) {
		assert_true(is_missing(old, i) ||
			    (id[i] != old->id[i]) == is_new);
	}
	if (old->has_local)
		assert_true(fw_nflinks_are_attached(LINKS, fd + LOCAL));
	for (int i = 0; i < N_PINS; i++)
		fw_closep(&fd[i]);
	assert_int_equal(id[COUNTERS_BEFORE],
			 old->id[is_new ? COUNTERS : COUNTERS_BEFORE]);
	assert_int_equal(native_xdp("dpa"), id[XDP]);
	assert_int_equal(access(NEXT, F_OK), -1);
	return is_new;
}

static struct fwctl_bpf *load_larger(bool has_local, int local[FW_LOCAL_MAX])
{
	const struct fw_datapath_size size = { FW_IMAGE_MIN, 2 * FW_SLOTS_MIN,
					       0 };
	struct fwctl_bpf *skel = NULL;
	int maps[FW_MAP_MAX];
	char *error = NULL;

	/* Maps of their own, all of them: we only look at those that move. */
	if (fw_progs_load(&size, NULL, -1, &skel, &error) < 0)
		fail_msg("fw_progs_load: %s", error);
	for (int i = 0; i < FW_MAP_MAX; i++)
		maps[i] = bpf_map__fd(fw_progs_map(skel, (enum fw_map)i));
	fw_nfprogs_init(local);
	if (has_local && fw_nfprogs_load(&size, maps, local, &error) < 0)
		fail_msg("fw_nfprogs_load: %s", error);
	return skel;
}

/* A growth, or making one good that had died. */
struct life {
	const struct fw_growth *growth; /* NULL: making good */
	const struct old *old;
	int steps;
};

static void live(void *data)
{
	const struct life *life = data;
	const int *fd = life->old->fd;
	int r;

	steps_to_live = life->steps;
	r = life->growth ? fw_growth_take_over(life->growth, fd + XDP,
					       fd + LOCAL, PIN_DIR, NULL)
			 : fw_growth_finish(PIN_DIR);
	_exit(r == 0 ? 0 : 1);
}

/* So many steps of it, in a process that then dies. */
static bool survives(const struct fw_growth *growth, const struct old *old,
		     int steps)
{
	struct life life = { growth, old, steps };
	int status = status_of_child(live, &life);

	assert_true(status == 0 || status == DIED);
	return status == 0;
}

/* A crash at each step, and then one at each step of making it good. */
static void any_crash_is_made_good(void **state)
{
	struct fw_datapath *dp = open_datapath();
	bool has_survived = false, was_new = false;
	struct fw_growth growth;
	struct fw_attachment attachment;
	int steps, local[FW_LOCAL_MAX];
	struct fwctl_bpf *skel;
	struct old old;

	(void)state;
	assert_int_equal(fw_datapath_attach(dp, index_of("dpa"), FW_MODE_XDP,
					    &attachment, NULL),
			 0);
	if (fw_nflinks_are_possible())
		assert_int_equal(fw_datapath_attach_transport(dp, NULL), 0);
	fw_datapath_free(dp);
	open_old(&old);
	skel = load_larger(old.has_local, local);
	growth = (struct fw_growth){ .skel = skel,
				     .local = local,
				     .has_stats = true };
	for (steps = 0; !has_survived; steps++) {
		bool is_good = false, is_new = false;

		for (int more = 0; !is_good; more++) {
			put_back(&old);
			has_survived = survives(&growth, &old, steps);
			is_good = survives(NULL, &old, more);
			assert_int_equal(fw_growth_finish(PIN_DIR), 0);
			is_new = has_taken_over(&old);
			/* There is one step from which it goes on. */
			assert_true(is_new || !was_new);
		}
		was_new = is_new;
	}
	/* mkdir, 5 pins, 3 links, 6 renames, rmdir, and none that kills. */
	assert_true(steps >= 1 + 5 + 3 + 6 + 1 + 1);
	assert_true(was_new);
	fwctl_bpf__destroy(skel);
	fw_nfprogs_close(local);
	for (int i = 0; i < N_PINS; i++)
		fw_closep(&old.fd[i]);
}

/* A load that needs more counters and dies when it comes to this path. */
static void die_growing(void *data)
{
	const char *const *path = data;
	struct daemon d = start();

	last_path = *path;
	load_many(&d, "p", MANY);
}

/* The same with rules and packets. */
static void counters_outlive_a_crash(void **state)
{
	static const struct {
		const char *path;
		bool has_grown;
	} crashes[] = {
		/* All is pinned but the marker. */
		{ NEXT "/fw_egress", false },
		/* It is on all hooks, and nothing has moved. */
		{ PIN_DIR "/v1/maps/rulesets", true },
		/* The old counters have moved, the new ones have not. */
		{ STATS, true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(crashes); i++) {
		const char *path = crashes[i].path;
		struct daemon d = start();
		uint32_t slot;

		load_many(&d, "p", 100);
		slot = slot_of(&d, "traffic");
		send_traffic(5);
		stop(&d);
		assert_int_equal(status_of_child(die_growing, &path), DIED);
		send_traffic(10);

		d = start();
		assert_true(fw_datapath_adopted(d.dp));
		assert_int_equal(slots(&d) > FW_SLOTS_MIN,
				 crashes[i].has_grown);
		assert_int_equal(slot_of(&d, "traffic"), slot);
		assert_int_equal(packets_of(&d, slot), 15);
		send_traffic(10);
		assert_int_equal(packets_of(&d, slot), 25);
		assert_int_equal(fw_datapath_remove(d.dp), 0);
		stop(&d);
	}
}

/* Some hooks had been handed over, and were given back. */
static void failed_take_over_loses_nothing(void **state)
{
	_cleanup_free_ char *text = make_rules("tc", "p", MANY);
	struct daemon d = start();
	uint32_t slot;

	(void)state;
	load_many(&d, "p", 100);
	slot = slot_of(&d, "traffic");
	for (int i = 0; i < 2; i++) {
		/* The hook that counts is handed over and comes back, or stays. */
		update_to_fail = i;
		n_updates = 0;
		fail_to_load(&d, text, -EIO, "larger rules", NULL);
		update_to_fail = -1;
		assert_int_equal(slots(&d), FW_SLOTS_MIN);
		assert_int_equal(packets_of(&d, slot), n_extra);
		assert_int_equal(access(NEXT, F_OK), -1);
	}
	/* there and back, of two hooks, twice */
	assert_true(n_extra >= 10 * 2 * 2 * 2);
	stop(&d);

	d = start();
	assert_int_equal(packets_of(&d, slot), n_extra);
	load(&d, text);
	assert_int_equal(slots(&d), 2 * FW_SLOTS_MIN);
	assert_int_equal(packets_of(&d, slot), n_extra);
	load_many(&d, "p", MORE);
	send_traffic(1);
	assert_int_equal(packets_of(&d, slot), n_extra + 1);
	stop(&d);
}

static void refuse_pin_of(const char *pin, enum bpf_map_type type,
			  uint32_t flags, uint32_t entries)
{
	_cleanup_close_ int fd = new_counters(type, flags, entries);
	_cleanup_free_ char *error = NULL;
	struct fw_datapath *dp;

	(void)unlink(pin);
	assert_int_equal(bpf_obj_pin(fd, pin), 0);
	assert_int_equal(
		fw_datapath_open(PIN_DIR, &fw_datapath_smallest, &dp, &error),
		-EBADMSG);
	assert_non_null(strstr(error, "rm -r"));
	assert_int_equal(unlink(pin), 0);
}

static void refuse_array(const char *pin, uint32_t entries)
{
	refuse_pin_of(pin, BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE, entries);
}

static void counters_of_another_kind_are_refused(void **state)
{
	const uint32_t cpus = n_cpus(), n = FW_SLOTS_MIN * cpus;

	(void)state;
	fw_datapath_free(open_datapath());
	for (int i = 0; i < 2; i++) {
		const char *pin = i == 0 ? BEFORE : STATS;

		refuse_array(pin, n / 2);
		refuse_array(pin, n + 1);
		refuse_array(pin, n + cpus);
		refuse_array(pin, 2 * FW_MAX_SLOTS * cpus);
		/* What cannot be mapped; what came before is per CPU. */
		refuse_pin_of(pin, BPF_MAP_TYPE_ARRAY, 0, n);
		refuse_pin_of(pin, BPF_MAP_TYPE_PERCPU_ARRAY, 0, FW_SLOTS_MIN);
		refuse_pin_of(pin, BPF_MAP_TYPE_PERCPU_ARRAY, 0, n);
		if (i == 0)
			fw_datapath_free(open_datapath());
	}
	/* Right in every way, but the programs count elsewhere. */
	refuse_array(STATS, n);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_devices, clean_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(few_rules_have_few_counters),
		TEST(growth_comes_when_it_is_needed),
		TEST(flows_have_room_when_rules_offload),
		TEST(counters_go_on_over_growths),
		TEST(new_labels_begin_at_zero),
		TEST(larger_images_share_the_counters),
		TEST(what_was_expected_is_taken_if_it_suffices),
		TEST(failed_load_forgets_what_was_coming),
		TEST(not_a_packet_is_lost_under_traffic),
		TEST(any_crash_is_made_good),
		TEST(counters_outlive_a_crash),
		TEST(failed_take_over_loses_nothing),
		TEST(counters_of_another_kind_are_refused),
	};

	room_enter();
	fw_log_set_level(FW_LOG_ERROR);
	return cmocka_run_group_tests_name("growth", tests, NULL, NULL);
}
