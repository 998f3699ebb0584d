/* SPDX-License-Identifier: GPL-2.0-only */

/* Loading, pinning, adopting, attaching and removing. */
#include "selftests/datapath/room.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "user/attach.h"
#include "user/bpffs.h"
#include "user/nflinks.h"
#include "user/util.h"

#define MARKER PIN_DIR "/v1/progs/fw_egress"
#define LINKS  PIN_DIR "/v1/links"

/* Each test starts without devices and without pins. */
static int clean_up(void **state)
{
	(void)state;
	(void)system("ip link del dpa 2>/dev/null;"
		     "rm -rf /sys/fs/bpf/fwctl");
	return 0;
}

static uint32_t map_id(const struct fw_datapath *dp, enum fw_map map)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);

	assert_int_equal(
		bpf_obj_get_info_by_fd(fw_datapath_map(dp, map), &info, &len),
		0);
	return info.id;
}

static struct fw_attachment attach(struct fw_datapath *dp, const char *name,
				   enum fw_iface_mode mode)
{
	struct fw_attachment attachment = { 0 };
	char *error = NULL;
	int r;

	r = fw_datapath_attach(dp, index_of(name), mode, &attachment, &error);
	if (r < 0)
		fail_msg("attach '%s': %d, %s", name, r, error ? error : "");
	assert_null(error);
	return attachment;
}

static int try_attach(struct fw_datapath *dp, const char *name,
		      enum fw_iface_mode mode, const char *want_text)
{
	_cleanup_free_ char *error = NULL;
	int r;

	r = fw_datapath_attach(dp, index_of(name), mode, NULL, &error);
	assert_non_null(error);
	if (!strstr(error, want_text))
		fail_msg("'%s' is not in '%s'", want_text, error);
	return r;
}

static void check_tc(const char *name, uint32_t want)
{
	assert_int_equal(count_tc(name, true), want);
	assert_int_equal(count_tc(name, false), want);
}

static void fresh_then_adopted(void **state)
{
	struct fw_datapath *dp;
	uint32_t id;

	(void)state;
	assert_false(fw_datapath_exists(PIN_DIR));
	dp = open_datapath();
	assert_false(fw_datapath_adopted(dp));
	assert_true(fw_datapath_exists(PIN_DIR));
	id = map_id(dp, FW_MAP_STATS);
	fw_datapath_free(dp);

	dp = open_datapath();
	assert_true(fw_datapath_adopted(dp));
	assert_int_equal(map_id(dp, FW_MAP_STATS), id);
	fw_datapath_free(dp);
}

static void remove_leaves_nothing(void **state)
{
	struct fw_datapath *dp = open_datapath();

	(void)state;
	(void)attach(dp, "dpa", FW_MODE_XDP);
	assert_int_equal(fw_datapath_remove(dp), 0);
	fw_datapath_free(dp);
	check_tc("dpa", 0);
	assert_int_equal(native_xdp("dpa"), 0);
	assert_int_equal(count_files("/sys/fs/bpf/fwctl"), -1);
	assert_false(fw_datapath_exists(PIN_DIR));
}

static void open_directory_is_refused(void **state)
{
	_cleanup_free_ char *error = NULL;
	struct fw_datapath *dp;

	(void)state;
	fw_datapath_free(open_datapath());
	assert_int_equal(chmod(PIN_DIR "/v1", 0711), 0);
	assert_int_equal(
		fw_datapath_open(PIN_DIR, &fw_datapath_smallest, &dp, &error),
		-EPERM);
	assert_non_null(strstr(error, "0711"));
	assert_int_equal(chmod(PIN_DIR "/v1", 0700), 0);
	fw_datapath_free(open_datapath());
}

static void other_file_system_is_refused(void **state)
{
	_cleanup_free_ char *error = NULL;
	struct fw_datapath *dp;

	(void)state;
	assert_int_equal(fw_datapath_open("/tmp/fwctl-pins",
					  &fw_datapath_smallest, &dp, &error),
			 -EINVAL);
	assert_non_null(strstr(error, "/sys/fs/bpf"));
	assert_int_equal(count_files("/tmp/fwctl-pins"), -1);
}

/*
 * In a child, because it may join the mounts of process 1, as it should. What
 * it makes there it removes.
 */
static void open_without_bpffs(void *data)
{
	struct fw_datapath *dp;
	bool is_mounted;
	int r;

	(void)data;
	if (unshare(CLONE_NEWNS) < 0)
		_exit(1);
	while (fw_bpffs_holds("/sys/fs/bpf") && umount("/sys/fs/bpf") == 0)
		;
	if (fw_bpffs_holds("/sys/fs/bpf"))
		_exit(2);
	if (fw_datapath_open(PIN_DIR, &fw_datapath_smallest, &dp, NULL) < 0)
		_exit(3);
	is_mounted = fw_bpffs_holds("/sys/fs/bpf");
	r = fw_datapath_remove(dp);
	fw_datapath_free(dp);
	_exit(is_mounted && r == 0 ? 0 : 4);
}

static void missing_file_system_is_mounted(void **state)
{
	(void)state;
	assert_int_equal(status_of_child(open_without_bpffs, NULL), 0);
	assert_false(fw_datapath_exists(PIN_DIR));
}

static void second_owner_is_refused(void **state)
{
	struct fw_datapath *dp = open_datapath(), *second;
	_cleanup_free_ char *error = NULL;

	(void)state;
	assert_int_equal(fw_datapath_open(PIN_DIR, &fw_datapath_smallest,
					  &second, &error),
			 -EBUSY);
	assert_non_null(strstr(error, "another fwctld"));
	fw_datapath_free(dp);
}

/* A crash in the middle of a load or a removal. */
static void partial_set_is_swept_away(void **state)
{
	struct fw_datapath *dp = open_datapath();
	uint32_t id = map_id(dp, FW_MAP_STATS);

	(void)state;
	(void)attach(dp, "dpa", FW_MODE_XDP);
	(void)attach(dp, "dpb", FW_MODE_TC);
	fw_datapath_free(dp);
	assert_int_equal(unlink(MARKER), 0);
	assert_false(fw_datapath_exists(PIN_DIR));

	dp = open_datapath();
	assert_false(fw_datapath_adopted(dp));
	assert_int_not_equal(map_id(dp, FW_MAP_STATS), id);
	assert_int_equal(count_files(LINKS), 0);
	check_tc("dpa", 0);
	check_tc("dpb", 0);
	assert_int_equal(native_xdp("dpa"), 0);
	fw_datapath_free(dp);
}

static void foreign_pin_is_refused(void **state)
{
	_cleanup_free_ char *error = NULL;
	_cleanup_close_ int fd = -1;
	struct fw_datapath *dp;

	(void)state;
	dp = open_datapath();
	(void)attach(dp, "dpa", FW_MODE_XDP);
	fw_datapath_free(dp);
	assert_int_equal(unlink(PIN_DIR "/v1/maps/host"), 0);
	fd = bpf_map_create(BPF_MAP_TYPE_HASH, "host", 8, 8, 16, NULL);
	assert_true(fd >= 0);
	assert_int_equal(bpf_obj_pin(fd, PIN_DIR "/v1/maps/host"), 0);
	assert_int_equal(
		fw_datapath_open(PIN_DIR, &fw_datapath_smallest, &dp, &error),
		-EBADMSG);
	assert_non_null(strstr(error, "'host'"));
	assert_int_equal(count_tc("dpa", true), 1);

	assert_int_equal(fw_datapath_purge(PIN_DIR, NULL), 0);
	check_tc("dpa", 0);
	assert_int_equal(native_xdp("dpa"), 0);
	assert_int_equal(count_files("/sys/fs/bpf/fwctl"), -1);
	/* Nothing to remove is fine. */
	assert_int_equal(fw_datapath_purge(PIN_DIR, NULL), 0);
}

/* A program of a version that had but one constant: whose layouts these are. */
static int load_version(uint32_t version)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_RDONLY_PROG);
	uint32_t zero = 0;
	_cleanup_close_ int map =
		bpf_map_create(BPF_MAP_TYPE_ARRAY, "old.rodata", sizeof(zero),
			       sizeof(version), 1, &opts);
	const struct bpf_insn insns[] = {
		{
			.code = BPF_LD | BPF_DW | BPF_IMM,
			.dst_reg = 1,
			.src_reg = BPF_PSEUDO_MAP_FD,
			.imm = map,
		},
		{ 0 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = -1 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	int fd;

	assert_true(map >= 0);
	assert_int_equal(bpf_map_update_elem(map, &zero, &version, BPF_ANY), 0);
	fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "fw_egress", "GPL", insns,
			   ARRAY_SIZE(insns), NULL);
	assert_true(fd >= 0);
	return fd;
}

/* A daemon of another version leaves programs alone, and can remove them. */
static void other_version_is_refused(void **state)
{
	_cleanup_free_ char *error = NULL;
	_cleanup_close_ int older = load_version(FW_ABI_VERSION - 1);
	struct fw_datapath *dp = open_datapath();
	uint32_t id;

	(void)state;
	(void)attach(dp, "dpa", FW_MODE_XDP);
	fw_datapath_free(dp);
	id = native_xdp("dpa");
	assert_int_equal(unlink(MARKER), 0);
	assert_int_equal(bpf_obj_pin(older, MARKER), 0);
	assert_int_equal(
		fw_datapath_open(PIN_DIR, &fw_datapath_smallest, &dp, &error),
		-EBADMSG);
	assert_non_null(strstr(error, "another version"));
	assert_non_null(strstr(error, "fwctl unload"));
	assert_int_equal(native_xdp("dpa"), id);
	check_tc("dpa", 1);

	assert_int_equal(fw_datapath_purge(PIN_DIR, NULL), 0);
	check_tc("dpa", 0);
	assert_int_equal(native_xdp("dpa"), 0);
	dp = open_datapath();
	assert_false(fw_datapath_adopted(dp));
	fw_datapath_free(dp);
}

static void modes_change_in_place(void **state)
{
	static const enum fw_iface_mode modes[] = {
		FW_MODE_TC,	     FW_MODE_XDP,  FW_MODE_XDP_GENERIC,
		FW_MODE_XDP,	     FW_MODE_TC,   FW_MODE_XDP_GENERIC,
		FW_MODE_XDP_GENERIC, FW_MODE_AUTO,
	};
	struct fw_datapath *dp = open_datapath();
	struct fw_attachment got;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		got = attach(dp, "dpa", modes[i]);
		assert_int_equal(got.wanted, modes[i]);
		assert_int_equal(got.mode, modes[i] == FW_MODE_AUTO ? FW_MODE_TC
								    : modes[i]);
		assert_int_equal(got.tcx, fw_attach_has_tcx());
		check_tc("dpa", 1);
		assert_int_equal(native_xdp("dpa") != 0,
				 got.mode == FW_MODE_XDP);
		assert_int_equal(generic_xdp("dpa") != 0,
				 got.mode == FW_MODE_XDP_GENERIC);
	}
	assert_int_equal(fw_datapath_detach(dp, index_of("dpa")), 0);
	check_tc("dpa", 0);
	assert_int_equal(count_files(LINKS), 0);
	fw_datapath_free(dp);
}

static void attachments_are_adopted(void **state)
{
	struct fw_datapath *dp = open_datapath();
	const struct fw_attachment *list;
	uint32_t id;
	size_t n;

	(void)state;
	(void)attach(dp, "dpa", FW_MODE_XDP);
	(void)attach(dp, "dpb", FW_MODE_XDP_GENERIC);
	id = native_xdp("dpa");
	fw_datapath_free(dp);
	assert_int_equal(native_xdp("dpa"), id);

	dp = open_datapath();
	list = fw_datapath_attachments(dp, &n);
	assert_int_equal(n, 2);
	for (size_t i = 0; i < n; i++) {
		bool is_a = list[i].ifindex == index_of("dpa");

		assert_true(is_a || list[i].ifindex == index_of("dpb"));
		assert_int_equal(list[i].mode,
				 is_a ? FW_MODE_XDP : FW_MODE_XDP_GENERIC);
		assert_int_equal(list[i].tcx, fw_attach_has_tcx());
	}
	assert_int_equal(native_xdp("dpa"), id);
	fw_datapath_free(dp);
}

static uint32_t id_of_pin(const char *path)
{
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);
	_cleanup_close_ int fd = bpf_obj_get(path);

	assert_true(fd >= 0);
	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
	return info.id;
}

#define NEXT  PIN_DIR "/v1/next"
#define LARGE (4 * FW_IMAGE_MIN)

static const struct fw_datapath_size large = { LARGE, FW_SLOTS_MIN, 0 };

/* Programs for larger images take over; those who give up leave no trace. */
static void larger_programs_take_over(void **state)
{
	struct fw_datapath *dp = open_datapath();
	char *error = NULL;
	uint32_t id, rulesets, stats;

	(void)state;
	(void)attach(dp, "dpa", FW_MODE_XDP);
	(void)attach(dp, "dpb", FW_MODE_XDP_GENERIC);
	id = native_xdp("dpa");
	rulesets = map_id(dp, FW_MAP_RULESETS);
	stats = map_id(dp, FW_MAP_STATS);
	assert_int_equal(fw_datapath_size(dp).image, FW_IMAGE_MIN);
	assert_int_equal(fw_datapath_grown(dp, &error), 0);
	assert_int_equal(native_xdp("dpa"), id);

	assert_int_equal(fw_datapath_grow(dp, &large, &large, &error), 0);
	assert_int_equal(fw_datapath_size(dp).image, LARGE);
	assert_int_not_equal(map_id(dp, FW_MAP_RULESETS), rulesets);
	fw_datapath_shrink(dp);
	assert_int_equal(fw_datapath_size(dp).image, FW_IMAGE_MIN);
	assert_int_equal(map_id(dp, FW_MAP_RULESETS), rulesets);
	assert_int_equal(native_xdp("dpa"), id);

	assert_int_equal(fw_datapath_grow(dp, &large, &large, &error), 0);
	assert_int_equal(fw_datapath_grown(dp, &error), 0);
	assert_null(error);
	assert_int_not_equal(native_xdp("dpa"), id);
	assert_int_equal(native_xdp("dpa"), generic_xdp("dpb"));
	assert_int_equal(native_xdp("dpa"),
			 id_of_pin(PIN_DIR "/v1/progs/fw_xdp"));
	check_tc("dpa", 1);
	check_tc("dpb", 1);
	assert_int_equal(access(NEXT, F_OK), -1);
	assert_int_equal(map_id(dp, FW_MAP_STATS), stats);
	(void)attach(dp, "dpa", FW_MODE_TC);
	(void)attach(dp, "dpa", FW_MODE_XDP);
	assert_int_equal(native_xdp("dpa"), generic_xdp("dpb"));
	id = native_xdp("dpa");
	fw_datapath_free(dp);

	dp = open_datapath();
	assert_int_equal(fw_datapath_size(dp).image, LARGE);
	assert_int_equal(native_xdp("dpa"), id);
	fw_datapath_free(dp);
}

/* Put back the pin of an older program, as if it had not been replaced yet. */
static void undo_pin(const char *name, int prog)
{
	char path[128], next[128];

	(void)snprintf(path, sizeof(path), PIN_DIR "/v1/progs/%s", name);
	(void)snprintf(next, sizeof(next), NEXT "/%s", name);
	assert_int_equal(rename(path, next), 0);
	assert_int_equal(bpf_obj_pin(prog, path), 0);
}

/* Killed when all was pinned, and some hooks and pins had been handed over. */
static void half_taken_over_is_finished(void **state)
{
	struct fw_datapath *dp = open_datapath();
	_cleanup_close_ int egress = bpf_obj_get(MARKER);
	_cleanup_close_ int xdp = bpf_obj_get(PIN_DIR "/v1/progs/fw_xdp");
	_cleanup_close_ int link = -1;
	char *error = NULL;
	char path[128];
	uint32_t id;

	(void)state;
	(void)attach(dp, "dpa", FW_MODE_XDP);
	assert_int_equal(fw_datapath_grow(dp, &large, &large, &error), 0);
	assert_int_equal(fw_datapath_grown(dp, &error), 0);
	id = native_xdp("dpa");
	fw_datapath_free(dp);
	assert_int_equal(mkdir(NEXT, 0700), 0);
	undo_pin("fw_xdp", xdp);
	undo_pin("fw_egress", egress);
	(void)snprintf(path, sizeof(path), LINKS "/xdp_%u", index_of("dpa"));
	link = bpf_obj_get(path);
	assert_true(link >= 0);
	assert_int_equal(bpf_link_update(link, xdp, NULL), 0);
	assert_int_not_equal(native_xdp("dpa"), id);

	dp = open_datapath();
	assert_true(fw_datapath_adopted(dp));
	assert_int_equal(native_xdp("dpa"), id);
	check_tc("dpa", 1);
	assert_int_equal(fw_datapath_size(dp).image, LARGE);
	assert_int_equal(access(NEXT, F_OK), -1);
	assert_int_equal(id_of_pin(PIN_DIR "/v1/progs/fw_xdp"), id);
	fw_datapath_free(dp);
}

/* Killed before all was pinned: the old ones have gone on. */
static void unfinished_programs_are_swept_away(void **state)
{
	struct fw_datapath *dp = open_datapath();
	_cleanup_close_ int xdp = bpf_obj_get(PIN_DIR "/v1/progs/fw_xdp");
	uint32_t id;

	(void)state;
	(void)attach(dp, "dpa", FW_MODE_XDP);
	id = native_xdp("dpa");
	fw_datapath_free(dp);
	assert_int_equal(mkdir(NEXT, 0700), 0);
	assert_int_equal(bpf_obj_pin(xdp, NEXT "/fw_xdp"), 0);
	dp = open_datapath();
	assert_int_equal(native_xdp("dpa"), id);
	assert_int_equal(access(NEXT, F_OK), -1);
	assert_int_equal(fw_datapath_size(dp).image, FW_IMAGE_MIN);
	fw_datapath_free(dp);
}

/* ---- programs of netfilter ------------------------------------------------- */

#define LOCAL_IN  PIN_DIR "/v1/progs/fw_local_in"
#define LOCAL_OUT PIN_DIR "/v1/progs/fw_local_out"

static void ready_transport(struct fw_datapath *dp)
{
	char *error = NULL;

	if (fw_datapath_ready_transport(dp, &error) < 0)
		fail_msg("fw_datapath_ready_transport: %s", error);
	assert_int_equal(fw_datapath_transport(dp), FW_TRANSPORT_OFF);
	assert_int_equal(access(LOCAL_IN, F_OK), 0);
	assert_int_equal(access(LOCAL_OUT, F_OK), 0);
}

static void assert_no_local(const struct fw_datapath *dp)
{
	assert_int_equal(fw_datapath_transport(dp), FW_TRANSPORT_OFF);
	assert_int_equal(access(LOCAL_IN, F_OK), -1);
	assert_int_equal(access(LOCAL_OUT, F_OK), -1);
}

/* They come when somebody wants them, and go with who wanted them. */
static void netfilter_programs_are_loaded_when_wanted(void **state)
{
	struct fw_datapath *dp;

	(void)state;
	if (!fw_nflinks_are_possible())
		skip();
	dp = open_datapath();
	assert_no_local(dp);
	assert_int_equal(fw_datapath_detach_transport(dp), 0);
	ready_transport(dp);
	assert_int_equal(fw_datapath_detach_transport(dp), 0);
	assert_no_local(dp);
	assert_int_equal(fw_datapath_attach_transport(dp, NULL), 0);
	assert_int_equal(fw_datapath_transport(dp), FW_TRANSPORT_ON);
	fw_datapath_free(dp);

	dp = open_datapath();
	assert_int_equal(fw_datapath_transport(dp), FW_TRANSPORT_ON);
	assert_int_equal(fw_datapath_detach_transport(dp), 0);
	assert_no_local(dp);
	fw_datapath_free(dp);
}

/* Killed between the two pins: the next daemon has both or none. */
static void one_netfilter_program_is_none(void **state)
{
	static const char *const paths[] = { LOCAL_IN, LOCAL_OUT };
	struct fw_datapath *dp;

	(void)state;
	if (!fw_nflinks_are_possible())
		skip();
	dp = open_datapath();
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		ready_transport(dp);
		fw_datapath_free(dp);
		assert_int_equal(unlink(paths[i]), 0);
		dp = open_datapath();
		assert_true(fw_datapath_adopted(dp));
		assert_no_local(dp);
	}
	ready_transport(dp);
	fw_datapath_free(dp);
}

/* Those for larger rules have others with them, if there are any, attached or not. */
static void netfilter_programs_grow_with_the_others(void **state)
{
	struct fw_datapath *dp;
	uint32_t id;

	(void)state;
	if (!fw_nflinks_are_possible())
		skip();
	dp = open_datapath();
	assert_int_equal(fw_datapath_attach_transport(dp, NULL), 0);
	id = id_of_pin(LOCAL_IN);
	assert_int_equal(fw_datapath_grow(dp, &large, &large, NULL), 0);
	fw_datapath_shrink(dp);
	assert_int_equal(fw_datapath_transport(dp), FW_TRANSPORT_ON);
	assert_int_equal(id_of_pin(LOCAL_IN), id);
	assert_int_equal(fw_datapath_grow(dp, &large, &large, NULL), 0);
	assert_int_equal(fw_datapath_grown(dp, NULL), 0);
	assert_int_equal(fw_datapath_transport(dp), FW_TRANSPORT_ON);
	assert_int_not_equal(id_of_pin(LOCAL_IN), id);
	fw_datapath_free(dp);

	dp = open_datapath();
	assert_int_equal(fw_datapath_transport(dp), FW_TRANSPORT_ON);
	assert_int_equal(fw_datapath_size(dp).image, LARGE);
	assert_int_equal(fw_datapath_detach_transport(dp), 0);
	fw_datapath_free(dp);
}

static void missing_native_mode_is_an_error(void **state)
{
	struct fw_datapath *dp = open_datapath();

	(void)state;
	assert_int_equal(try_attach(dp, "lo", FW_MODE_XDP, "mode tc"),
			 -EOPNOTSUPP);
	check_tc("lo", 0);
	assert_int_equal(count_files(LINKS), 0);

	/* What was attached before stays attached. */
	(void)attach(dp, "lo", FW_MODE_XDP_GENERIC);
	assert_int_equal(try_attach(dp, "lo", FW_MODE_XDP, "xdp-generic"),
			 -EOPNOTSUPP);
	check_tc("lo", 1);
	assert_int_not_equal(generic_xdp("lo"), 0);
	assert_int_equal(fw_datapath_remove(dp), 0);
	fw_datapath_free(dp);
}

static void foreign_xdp_stays(void **state)
{
	struct fw_datapath *dp = open_datapath();
	uint32_t id = add_foreign_xdp("dpa");
	char text[64];

	(void)state;
	(void)snprintf(text, sizeof(text), "id %u, somebody", id);
	assert_int_equal(try_attach(dp, "dpa", FW_MODE_XDP, text), -EBUSY);
	assert_int_equal(try_attach(dp, "dpa", FW_MODE_XDP_GENERIC, text),
			 -EBUSY);
	assert_int_equal(generic_xdp("dpa"), id);
	check_tc("dpa", 0);
	/* TC alone disturbs nobody. */
	(void)attach(dp, "dpa", FW_MODE_AUTO);
	check_tc("dpa", 1);
	assert_int_equal(generic_xdp("dpa"), id);
	fw_datapath_free(dp);
}

static void missing_interface_is_an_error(void **state)
{
	struct fw_datapath *dp = open_datapath();
	_cleanup_free_ char *error = NULL;

	(void)state;
	assert_int_equal(
		fw_datapath_attach(dp, 99999, FW_MODE_TC, NULL, &error),
		-ENODEV);
	assert_int_equal(fw_datapath_detach(dp, 99999), 0);
	fw_datapath_free(dp);
}

static void pins_of_gone_interfaces_are_removed(void **state)
{
	struct fw_datapath *dp = open_datapath();
	size_t n;

	(void)state;
	(void)attach(dp, "dpa", FW_MODE_XDP);
	fw_datapath_free(dp);
	assert_int_equal(count_files(LINKS), pins_of(1, 1));
	run("ip link del dpa");

	dp = open_datapath();
	assert_true(fw_datapath_adopted(dp));
	(void)fw_datapath_attachments(dp, &n);
	assert_int_equal(n, 0);
	assert_int_equal(count_files(LINKS), 0);
	fw_datapath_free(dp);
}

static void detach_link(const char *name)
{
	_cleanup_close_ int fd = -1;
	char path[128];

	(void)snprintf(path, sizeof(path), LINKS "/ingress_%u", index_of(name));
	fd = bpf_obj_get(path);
	assert_true(fd >= 0);
	assert_int_equal(bpf_link_detach(fd), 0);
}

/* Somebody detached ours by hand: attaching again heals it. */
static void what_is_lost_is_made_again(void **state)
{
	struct fw_datapath *dp = open_datapath();

	(void)state;
	(void)attach(dp, "dpa", FW_MODE_XDP);
	if (fw_attach_has_tcx()) {
		detach_link("dpa");
	} else {
		run("tc filter del dev dpa ingress");
	}
	assert_int_equal(count_tc("dpa", true), 0);
	(void)attach(dp, "dpa", FW_MODE_XDP);
	check_tc("dpa", 1);
	fw_datapath_free(dp);
}

/* ---- clsact, the way of kernels before 6.6 ---------------------------------- */

static struct fw_attach *open_attach(void)
{
	static const char *const names[] = { "fw_xdp", "fw_ingress",
					     "fw_egress" };
	struct fw_attach *attach_state = NULL;
	int progs[FW_HOOK_MAX];
	char path[128];

	for (int i = 0; i < FW_HOOK_MAX; i++) {
		(void)snprintf(path, sizeof(path), PIN_DIR "/v1/progs/%s",
			       names[i]);
		progs[i] = bpf_obj_get(path);
		assert_true(progs[i] >= 0);
	}
	assert_int_equal(fw_attach_new(LINKS, progs, false, &attach_state), 0);
	return attach_state;
}

static int count_filters(const char *word)
{
	return count_lines("tc filter show dev dpa ingress;"
			   "tc filter show dev dpa egress",
			   word);
}

static int count_clsact(void)
{
	return count_lines("tc qdisc show dev dpa", "clsact");
}

static void set_clsact(struct fw_attach *attach_state)
{
	struct fw_attachment got;
	char *error = NULL;

	assert_int_equal(fw_attach_set(attach_state, index_of("dpa"),
				       FW_MODE_XDP, &got, &error),
			 0);
	assert_false(got.tcx);
	assert_int_equal(count_filters("fw_ingress"), 1);
	assert_int_equal(count_filters("fw_egress"), 1);
	assert_int_not_equal(native_xdp("dpa"), 0);
}

static void clsact_comes_and_goes(void **state)
{
	struct fw_attach *a;
	size_t n;

	(void)state;
	fw_datapath_free(open_datapath());
	a = open_attach();
	set_clsact(a);
	set_clsact(a);
	fw_attach_free(a);

	a = open_attach();
	(void)fw_attach_list(a, &n);
	assert_int_equal(n, 1);
	assert_int_equal(fw_attach_clear(a, index_of("dpa")), 0);
	assert_int_equal(count_filters("bpf"), 0);
	assert_int_equal(count_clsact(), 0);
	assert_int_equal(count_files(LINKS), 0);
	fw_attach_free(a);
}

/* Other programs take the place of ours without a moment of none. */
static void clsact_is_replaced(void **state)
{
	int progs[FW_HOOK_MAX];
	struct fw_attach *a;

	(void)state;
	fw_datapath_free(open_datapath());
	a = open_attach();
	set_clsact(a);
	/* the two of TC are of one type: each in the place of the other */
	progs[FW_HOOK_XDP] = bpf_obj_get(PIN_DIR "/v1/progs/fw_xdp");
	progs[FW_HOOK_INGRESS] = bpf_obj_get(PIN_DIR "/v1/progs/fw_egress");
	progs[FW_HOOK_EGRESS] = bpf_obj_get(PIN_DIR "/v1/progs/fw_ingress");
	assert_int_equal(fw_attach_replace(LINKS, progs), 0);
	assert_int_equal(
		count_lines("tc filter show dev dpa ingress", "fw_egress"), 1);
	assert_int_equal(
		count_lines("tc filter show dev dpa egress", "fw_ingress"), 1);
	assert_int_equal(count_filters("fw_ingress"), 1);
	assert_int_equal(fw_attach_use(a, progs), 0);
	assert_int_equal(fw_attach_clear(a, index_of("dpa")), 0);
	assert_int_equal(count_filters("bpf"), 0);
	assert_int_equal(count_clsact(), 0);
	assert_int_equal(count_files(LINKS), 0);
	fw_attach_free(a);
	for (int i = 0; i < FW_HOOK_MAX; i++)
		(void)close(progs[i]);
}

static void others_on_clsact_stay(void **state)
{
	struct fw_attach *a;

	(void)state;
	fw_datapath_free(open_datapath());

	/* A filter that came after us keeps the qdisc that we made. */
	a = open_attach();
	set_clsact(a);
	add_foreign_filter("dpa");
	assert_int_equal(fw_attach_clear(a, index_of("dpa")), 0);
	assert_int_equal(count_filters("fw_"), 0);
	assert_int_equal(count_filters("somebody"), 1);

	/* A qdisc that is not of our making stays, also when it is empty. */
	set_clsact(a);
	remove_foreign_filter("dpa");
	assert_int_equal(fw_attach_clear(a, index_of("dpa")), 0);
	assert_int_equal(count_filters("fw_"), 0);
	assert_int_equal(count_clsact(), 1);
	assert_int_equal(count_files(LINKS), 0);
	fw_attach_free(a);
}

static void clsact_of_a_crash_is_swept_away(void **state)
{
	struct fw_attach *a;

	(void)state;
	fw_datapath_free(open_datapath());
	a = open_attach();
	set_clsact(a);
	fw_attach_free(a);
	assert_int_equal(unlink(MARKER), 0);
	fw_datapath_free(open_datapath());
	assert_int_equal(count_filters("bpf"), 0);
	assert_int_equal(count_clsact(), 0);
	assert_int_equal(native_xdp("dpa"), 0);
	assert_int_equal(count_files(LINKS), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_devices, clean_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(fresh_then_adopted),
		TEST(remove_leaves_nothing),
		TEST(open_directory_is_refused),
		TEST(other_file_system_is_refused),
		TEST(missing_file_system_is_mounted),
		TEST(second_owner_is_refused),
		TEST(partial_set_is_swept_away),
		TEST(foreign_pin_is_refused),
		TEST(other_version_is_refused),
		TEST(modes_change_in_place),
		TEST(attachments_are_adopted),
		TEST(larger_programs_take_over),
		TEST(half_taken_over_is_finished),
		TEST(unfinished_programs_are_swept_away),
		TEST(netfilter_programs_are_loaded_when_wanted),
		TEST(one_netfilter_program_is_none),
		TEST(netfilter_programs_grow_with_the_others),
		TEST(missing_native_mode_is_an_error),
		TEST(foreign_xdp_stays),
		TEST(missing_interface_is_an_error),
		TEST(pins_of_gone_interfaces_are_removed),
		TEST(what_is_lost_is_made_again),
		TEST(clsact_comes_and_goes),
		TEST(clsact_is_replaced),
		TEST(others_on_clsact_stay),
		TEST(clsact_of_a_crash_is_swept_away),
	};

	room_enter();
	return cmocka_run_group_tests_name("datapath", tests, NULL, NULL);
}
