/* SPDX-License-Identifier: GPL-2.0-only */

/* Programs that are verified at the same time, and those that are refused. */
#include "selftests/datapath/room.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "user/nflinks.h"
#include "user/nfprogs.h"
#include "user/progs.h"
#include "user/util.h"
#include "user/verify.h"

static int n_fds(void)
{
	return count_files("/proc/self/fd");
}

static struct fwctl_bpf *open_object(void)
{
	struct fwctl_bpf *skel = fwctl_bpf__open();

	if (!skel)
		abort();
	assert_int_equal(fw_skel_set_image_size(skel, FW_IMAGE_MIN), 0);
	assert_true(fw_progs_set_counters(skel, FW_SLOTS_MIN, NULL) > 0);
	return skel;
}

static struct bpf_prog_info info_of(const struct bpf_program *prog)
{
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);

	assert_int_equal(
		bpf_obj_get_info_by_fd(bpf_program__fd(prog), &info, &len), 0);
	return info;
}

/* The kernel has the same, whichever way it came. */
static void programs_are_those_of_libbpf(void **state)
{
	struct fwctl_bpf *usual = open_object(), *skel = open_object();

	(void)state;
	assert_int_equal(bpf_object__load_skeleton(usual->skeleton), 0);
	assert_int_equal(fw_verify_load(skel->skeleton), 0);
	for (int i = 0; i < FW_HOOK_MAX; i++) {
		struct bpf_program *prog = fw_progs_get(skel, (enum fw_hook)i);
		struct bpf_prog_info got = info_of(prog);
		struct bpf_prog_info want =
			info_of(fw_progs_get(usual, (enum fw_hook)i));

		assert_string_equal(got.name, fw_progs_name((enum fw_hook)i));
		assert_memory_equal(got.tag, want.tag, sizeof(got.tag));
		assert_int_equal(got.type, want.type);
		assert_int_equal(got.xlated_prog_len, want.xlated_prog_len);
		assert_int_equal(got.nr_map_ids, want.nr_map_ids);
		assert_int_equal(got.nr_func_info, want.nr_func_info);
		assert_int_equal(got.nr_line_info, want.nr_line_info);
		assert_int_equal(got.gpl_compatible, want.gpl_compatible);
		/* To libbpf it is a stub: it was not loaded in the usual way. */
		assert_int_equal(bpf_program__insn_cnt(prog), 2);
	}
	fwctl_bpf__destroy(usual);
	fwctl_bpf__destroy(skel);
}

/* Whichever it is, the others go with it. */
static void one_that_is_refused_leaves_nothing(void **state)
{
	(void)state;
	for (int i = 0; i < FW_HOOK_MAX; i++) {
		int fds = n_fds(), r;
		struct fwctl_bpf *skel = open_object();

		assert_int_equal(bpf_program__set_type(
					 fw_progs_get(skel, (enum fw_hook)i),
					 BPF_PROG_TYPE_SOCKET_FILTER),
				 0);
		r = fw_verify_load(skel->skeleton);
		assert_true(r == -EACCES || r == -EINVAL);
		fwctl_bpf__destroy(skel);
		assert_int_equal(n_fds(), fds);
	}
}

/* What others have is fine for all programs but those that capture. */
static void refusal_is_told_in_the_words_of_the_kernel(void **state)
{
	const struct fw_datapath_size *size = &fw_datapath_smallest;
	int array =
		bpf_map_create(BPF_MAP_TYPE_ARRAY, "captures", 4, 8, 1, NULL);
	int maps[FW_MAP_MAX], fds, r;
	_cleanup_free_ char *error = NULL;
	struct fwctl_bpf *skel = NULL;

	(void)state;
	assert_true(array >= 0);
	for (int i = 0; i < FW_MAP_MAX; i++)
		maps[i] = i == FW_MAP_CAPTURES ? array : -1;
	fds = n_fds();
	r = fw_progs_load(size, maps, -1, &skel, &error);
	assert_true(r == -EACCES || r == -EINVAL);
	assert_null(skel);
	assert_non_null(error);
	if (!strstr(error, "the kernel refused the BPF programs (") ||
	    !strstr(error, "cannot pass map_type 2 into func bpf_ringbuf"))
		fail_msg("'%s'", error);
	assert_int_equal(n_fds(), fds);
	(void)close(array);

	/* It was not for good. */
	free(take_ptr(error));
	assert_int_equal(fw_progs_load(size, NULL, -1, &skel, &error), 0);
	assert_null(error);
	fwctl_bpf__destroy(skel);
	assert_int_equal(n_fds(), fds - 1);
}

/* Programs that a kernel does not have are left out, and the others are whole. */
static void what_is_left_out_is_not_waited_for(void **state)
{
	struct fwctl_bpf *skel = open_object();

	(void)state;
	assert_int_equal(bpf_program__set_autoload(
				 fw_progs_get(skel, FW_HOOK_XDP), false),
			 0);
	assert_int_equal(fw_verify_load(skel->skeleton), 0);
	assert_true(bpf_program__fd(fw_progs_get(skel, FW_HOOK_XDP)) < 0);
	assert_true(
		info_of(fw_progs_get(skel, FW_HOOK_INGRESS)).xlated_prog_len >
		1000);
	fwctl_bpf__destroy(skel);
}

/* Beside the others, in the same way; none is left of those that are refused. */
static void those_of_netfilter_come_alone(void **state)
{
	const struct fw_datapath_size *size = &fw_datapath_smallest;
	int maps[FW_MAP_MAX], local[FW_LOCAL_MAX], fds;
	_cleanup_close_ int array = -1;
	struct fwctl_bpf *skel = NULL;
	char *error = NULL;

	(void)state;
	if (!fw_nflinks_are_possible())
		skip();
	assert_int_equal(fw_progs_load(size, NULL, -1, &skel, &error), 0);
	for (int i = 0; i < FW_MAP_MAX; i++)
		maps[i] = bpf_map__fd(fw_progs_map(skel, (enum fw_map)i));
	fds = n_fds();
	fw_nfprogs_init(local);
	assert_int_equal(fw_nfprogs_load(size, maps, local, &error), 0);
	assert_int_equal(n_fds(), fds + FW_LOCAL_MAX);
	for (int i = 0; i < FW_LOCAL_MAX; i++) {
		struct bpf_prog_info info = { 0 };
		uint32_t len = sizeof(info);

		assert_int_equal(bpf_obj_get_info_by_fd(local[i], &info, &len),
				 0);
		assert_string_equal(info.name,
				    fw_progs_local_name((enum fw_local)i));
		assert_int_equal(info.type, FW_PROG_TYPE_NETFILTER);
		assert_true(info.xlated_prog_len > 1000);
	}
	fw_nfprogs_close(local);
	assert_false(fw_nfprogs_exist(local));
	assert_int_equal(n_fds(), fds);

	array = bpf_map_create(BPF_MAP_TYPE_ARRAY, "events", 4, 8, 1, NULL);
	assert_true(array >= 0);
	maps[FW_MAP_EVENTS] = array;
	assert_true(fw_nfprogs_load(size, maps, local, &error) < 0);
	assert_false(fw_nfprogs_exist(local));
	if (!error || !strstr(error, "map_type 2 into func bpf_ringbuf"))
		fail_msg("'%s'", error ? error : "");
	free(error);
	assert_int_equal(n_fds(), fds + 1);
	fwctl_bpf__destroy(skel);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(programs_are_those_of_libbpf),
		cmocka_unit_test(one_that_is_refused_leaves_nothing),
		cmocka_unit_test(refusal_is_told_in_the_words_of_the_kernel),
		cmocka_unit_test(what_is_left_out_is_not_waited_for),
		cmocka_unit_test(those_of_netfilter_come_alone),
	};

	room_enter();
	fw_progs_init();
	return cmocka_run_group_tests_name("verify", tests, NULL, NULL);
}
