/* SPDX-License-Identifier: GPL-2.0-only */

/* Where the socket and the pins are: options before environment before defaults. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "user/paths.h"
#include "user/util.h"

static int clear_environment(void **state)
{
	(void)state;
	(void)unsetenv("FWCTL_RUN_DIR");
	(void)unsetenv("FWCTL_PIN_DIR");
	return 0;
}

static void test_defaults(void **state)
{
	struct fw_paths paths;
	unsigned long inode;
	bool is_first;
	char suffix[64] = "", wanted[200];

	(void)state;
	assert_int_equal(fw_paths_netns(&inode, &is_first), 0);
	if (!is_first)
		(void)snprintf(suffix, sizeof(suffix), "/netns-%lu", inode);
	assert_int_equal(fw_paths_init(&paths, NULL, NULL), 0);
	(void)snprintf(wanted, sizeof(wanted), "/run/fwctl%s", suffix);
	assert_string_equal(paths.run_dir, wanted);
	(void)snprintf(wanted, sizeof(wanted), "/sys/fs/bpf/fwctl%s", suffix);
	assert_string_equal(paths.pin_dir, wanted);
}

static void test_options_win(void **state)
{
	struct fw_paths paths;

	(void)state;
	assert_int_equal(setenv("FWCTL_RUN_DIR", "/e/run", 1), 0);
	assert_int_equal(setenv("FWCTL_PIN_DIR", "/e/pin", 1), 0);
	assert_int_equal(fw_paths_init(&paths, NULL, NULL), 0);
	assert_string_equal(paths.socket, "/e/run/fwctl.sock");
	assert_string_equal(paths.log, "/e/run/fwctld.log");
	assert_string_equal(paths.pin_dir, "/e/pin");
	assert_int_equal(fw_paths_init(&paths, "/o/run", "/o/pin"), 0);
	assert_string_equal(paths.run_dir, "/o/run");
	assert_string_equal(paths.pin_dir, "/o/pin");
}

static void test_refused(void **state)
{
	struct fw_paths paths = { .run_dir = "untouched" };
	char path[300];

	(void)state;
	assert_int_equal(fw_paths_init(&paths, "run", "/pin"), -EINVAL);
	assert_int_equal(fw_paths_init(&paths, "/run", "pin"), -EINVAL);
	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(fw_paths_init(&paths, path, "/pin"), -ENAMETOOLONG);
	assert_int_equal(fw_paths_init(&paths, "/run", path), -ENAMETOOLONG);
	/* The longest one whose socket still fits into a sockaddr_un. */
	path[92] = '\0';
	assert_int_equal(fw_paths_init(&paths, path, "/pin"), -ENAMETOOLONG);
	assert_string_equal(paths.run_dir, "untouched");
	path[91] = '\0';
	assert_int_equal(fw_paths_init(&paths, path, "/pin"), 0);
}

static void test_run_dir(void **state)
{
	char top[] = "/tmp/fwctl-test-XXXXXX";
	_cleanup_free_ char *error = NULL;
	struct fw_paths paths;
	char dir[64];
	struct stat st;

	(void)state;
	assert_non_null(mkdtemp(top));
	(void)snprintf(dir, sizeof(dir), "%s/netns-1", top);
	assert_int_equal(fw_paths_init(&paths, dir, "/pin"), 0);
	assert_int_equal(fw_paths_make_run_dir(&paths, &error), 0);
	assert_int_equal(stat(dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(fw_paths_make_run_dir(&paths, &error), 0);

	assert_int_equal(chmod(dir, 0777), 0);
	assert_int_equal(fw_paths_make_run_dir(&paths, &error), -EPERM);
	assert_non_null(error);
	assert_false(fw_paths_pinned(&paths));
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(rmdir(top), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_defaults, clear_environment),
		cmocka_unit_test_setup(test_options_win, clear_environment),
		cmocka_unit_test_setup(test_refused, clear_environment),
		cmocka_unit_test_setup(test_run_dir, clear_environment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
