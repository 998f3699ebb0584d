/* SPDX-License-Identifier: GPL-2.0-only */

/* Modules in a directory of the test's own: what is said of each, and why not. */
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

#include "user/modules.h"
#include "user/probe.h"
#include "user/util.h"

static char top[] = "/tmp/fwctl-modules-XXXXXX";
static char dir[128], config[128], sysfs[128];
static struct fw_probe *probe;
static struct fw_modules *modules;

__attribute__((format(printf, 2, 3))) static void
put_file(const char *path, const char *format, ...)
{
	char full[256];
	va_list args;
	FILE *f;

	(void)snprintf(full, sizeof(full), "%s/%s", top, path);
	f = fopen(full, "we");
	assert_non_null(f);
	va_start(args, format);
	(void)vfprintf(f, format, args);
	va_end(args);
	assert_int_equal(fclose(f), 0);
}

static void put_dir(const char *path)
{
	char full[256];

	(void)snprintf(full, sizeof(full), "%s/%s", top, path);
	assert_int_equal(mkdir(full, 0755), 0);
}

/* Files without a byte: depmod complains of them and lists them all the same. */
static int make_modules(void)
{
	static const char *const names[] = {
		"fw_test_plain", "fw_test_black", "fw_test_false",
		"fw_test_true",	 "fw_test_gone",
	};
	char command[256], path[128];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		(void)snprintf(path, sizeof(path),
			       "lib/modules/1.0/kernel/%s.ko", names[i]);
		put_file(path, "%s", "");
	}
	put_file("lib/modules/1.0/modules.order", "%s", "");
	put_file("lib/modules/1.0/modules.builtin", "kernel/fw_test_in.ko\n");
	(void)snprintf(command, sizeof(command),
		       "PATH=/sbin:/usr/sbin:$PATH depmod -b %s 1.0 2>%s/log",
		       top, top);
	return system(command);
}

static int set_up(void **state)
{
	static const char *const dirs[] = {
		"lib",
		"lib/modules",
		"lib/modules/1.0",
		"lib/modules/1.0/kernel",
		"modprobe.d",
		"sys",
		"sys/fw_test_live",
		"sys/fw_test_param",
	};
	static const char *paths[2];
	struct fw_module_places places = { .dir = dir,
					   .config = paths,
					   .sysfs = sysfs };

	(void)state;
	assert_non_null(mkdtemp(top));
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		put_dir(dirs[i]);
	(void)snprintf(dir, sizeof(dir), "%s/lib/modules/1.0", top);
	(void)snprintf(config, sizeof(config), "%s/modprobe.d", top);
	(void)snprintf(sysfs, sizeof(sysfs), "%s/sys", top);
	if (make_modules() != 0) {
		(void)fprintf(stderr, "no depmod: skipped\n");
		exit(77);
	}
	put_file("modprobe.d/test.conf",
		 "blacklist fw_test_black\n"
		 "install fw_test_false /bin/false\n"
		 "install fw_test_true /bin/touch %s/ran\n",
		 top);
	put_file("sys/fw_test_live/initstate", "live\n");
	paths[0] = config;
	probe = fw_probe_new();
	modules = fw_modules_new(probe, &places);
	assert_non_null(modules);
	return 0;
}

static int tear_down(void **state)
{
	char command[128];

	(void)state;
	fw_modules_free(modules);
	fw_probe_free(probe);
	(void)snprintf(command, sizeof(command), "rm -rf %s", top);
	return system(command);
}

/* ---- looking ---------------------------------------------------------------- */

static void assert_state(const char *name, enum fw_module_state want)
{
	assert_string_equal(
		fw_module_state_text(fw_module_state(modules, name)),
		fw_module_state_text(want));
}

static void states_from_sysfs(void **state)
{
	(void)state;
	assert_state("fw_test_live", FW_MODULE_LOADED);
	assert_state("fw-test-live", FW_MODULE_LOADED);
	assert_state("fw_test_param", FW_MODULE_BUILTIN);
}

static void states_from_files(void **state)
{
	(void)state;
	assert_state("fw_test_in", FW_MODULE_BUILTIN);
	assert_state("fw_test_plain", FW_MODULE_LOADABLE);
	assert_state("fw_test_black", FW_MODULE_BLACKLISTED);
	assert_state("fw_test_true", FW_MODULE_LOADABLE);
}

static void state_of_nothing(void **state)
{
	(void)state;
	assert_state("fw_test_none", fw_probe_has_btf(probe)
					     ? FW_MODULE_MISSING
					     : FW_MODULE_UNKNOWN);
}

/* ---- loading ------------------------------------------------------------------ */

static void fail_to_load(const char *name, int want, const char *format, ...)
{
	_cleanup_free_ char *error = NULL;
	char text[512];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	assert_int_equal(fw_module_load(modules, name, &error), want);
	assert_non_null(error);
	assert_string_equal(error, text);
}

static void what_is_here_is_not_loaded(void **state)
{
	_cleanup_free_ char *error = NULL;

	(void)state;
	assert_int_equal(fw_module_load(modules, "fw_test_live", &error), 0);
	assert_int_equal(fw_module_load(modules, "fw_test_in", &error), 0);
	assert_null(error);
}

static void missing_is_refused(void **state)
{
	char path[256];

	(void)state;
	if (!fw_probe_has_btf(probe))
		skip();
	fail_to_load(
		"fw_test_none", -ENOENT,
		"fw_test_none is not loaded and cannot be loaded: no such module in %s; install a kernel that has it",
		dir);

	/* It is in the index still, but its file is not there. */
	(void)snprintf(path, sizeof(path), "%s/kernel/fw_test_gone.ko", dir);
	assert_int_equal(unlink(path), 0);
	assert_state("fw_test_gone", FW_MODULE_MISSING);
	fail_to_load(
		"fw_test_gone", -ENOENT,
		"fw_test_gone is not loaded and cannot be loaded: no such module in %s; install a kernel that has it",
		dir);
}

static void no_directory_is_said(void **state)
{
	static const char *const no_config[] = { "/nonexistent", NULL };
	const struct fw_module_places places = { .dir = "/nonexistent/modules",
						 .config = no_config,
						 .sysfs = sysfs };
	_cleanup_free_ char *error = NULL;
	struct fw_modules *other;

	(void)state;
	if (!fw_probe_has_btf(probe))
		skip();
	other = fw_modules_new(probe, &places);
	assert_non_null(other);
	assert_int_equal(fw_module_load(other, "fw_test_plain", &error),
			 -ENOENT);
	assert_string_equal(
		error,
		"fw_test_plain is not loaded and cannot be loaded: there is no directory /nonexistent/modules, as in a container or after the kernel's package was replaced; install a kernel that has it");
	fw_modules_free(other);
}

static void blacklist_is_honoured(void **state)
{
	(void)state;
	fail_to_load(
		"fw_test_black", -EACCES,
		"fw_test_black is not loaded and cannot be loaded: it is blacklisted in modprobe.d; load it with 'modprobe fw_test_black'");
}

static void install_commands_run(void **state)
{
	_cleanup_free_ char *error = NULL;
	char path[128];

	(void)state;
	assert_int_equal(fw_module_load(modules, "fw_test_true", &error), 0);
	assert_null(error);
	(void)snprintf(path, sizeof(path), "%s/ran", top);
	assert_int_equal(access(path, F_OK), 0);
	fail_to_load(
		"fw_test_false", -ECANCELED,
		"fw_test_false is not loaded and cannot be loaded: its install command in modprobe.d failed (/bin/false); load it with 'modprobe fw_test_false'");
}

/* An empty file is no module, and a kernel may take none from anybody. */
static void kernel_refuses(void **state)
{
	static const char start[] =
		"fw_test_plain is not loaded and cannot be loaded: ";
	static const char end[] = "; load it with 'modprobe fw_test_plain'";
	_cleanup_free_ char *error = NULL;
	int r;

	(void)state;
	r = fw_module_load(modules, "fw_test_plain", &error);
	assert_true(r < 0 && r != -ENOENT);
	assert_non_null(error);
	assert_memory_equal(error, start, strlen(start));
	assert_true(strlen(error) > strlen(start) + strlen(end));
	assert_string_equal(error + strlen(error) - strlen(end), end);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(states_from_sysfs),
		cmocka_unit_test(states_from_files),
		cmocka_unit_test(state_of_nothing),
		cmocka_unit_test(what_is_here_is_not_loaded),
		cmocka_unit_test(missing_is_refused),
		cmocka_unit_test(no_directory_is_said),
		cmocka_unit_test(blacklist_is_honoured),
		cmocka_unit_test(install_commands_run),
		cmocka_unit_test(kernel_refuses),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
