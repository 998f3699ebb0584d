/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Modules of the kernel, by libkmod: what modprobe(8) itself is made of.
 *
 * A program of its own would tell success from failure and no more; the
 * library tells a module that does not exist from one that is blacklisted and
 * from one that the kernel refuses, and it can look without loading.
 */
#include "user/modules.h"

#include <errno.h>
#include <libkmod.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include "user/log.h"
#include "user/probe.h"
#include "user/util.h"

#define SYSFS	     "/sys/module"
#define SWITCHED_OFF "/proc/sys/kernel/modules_disabled"
#define MAX_NAME     64 /* MODULE_NAME_LEN of the kernel, at most */

struct fw_modules {
	struct fw_probe *probe;
	struct kmod_ctx *kmod;
	const char *sysfs;
};

/*
 * Functions that are in the kernel's type information only where the module is
 * built in. All of them are exported or called through a pointer, so that no
 * compiler inlines them. sysfs lists only built-in modules with parameters.
 */
static const struct {
	const char *module;
	const char *func;
} witnesses[] = {
	{ "nf_conntrack", "nf_conntrack_in" },
	{ "nf_conntrack_netlink", "ctnetlink_dump_table" },
	{ "nfnetlink_hook", "nfnl_hook_dump" },
	{ "sch_ingress", "clsact_init" },
	{ "cls_bpf", "cls_bpf_classify" },
	{ "8021q", "vlan_dev_init" },
	{ "nf_tables", "nf_tables_newtable" },
};

__attribute__((format(printf, 6, 0))) static void
on_kmod(void *data, int priority, const char *file, int line, const char *fn,
	const char *format, va_list args)
{
	char text[256];

	(void)data;
	(void)priority;
	(void)file;
	(void)line;
	(void)fn;
	(void)vsnprintf(text, sizeof(text), format, args);
	text[strcspn(text, "\n")] = '\0';
	log_debug("libkmod: %s", text);
}

struct fw_modules *fw_modules_new(struct fw_probe *probe,
				  const struct fw_module_places *places)
{
	static const struct fw_module_places usual;
	struct fw_modules *modules;

	if (!places)
		places = &usual;
	modules = calloc(1, sizeof(*modules));
	if (!modules)
		return NULL;
	modules->probe = probe;
	modules->sysfs = places->sysfs ? places->sysfs : SYSFS;
	modules->kmod = kmod_new(places->dir, places->config);
	if (!modules->kmod) {
		free(modules);
		return NULL;
	}
	kmod_set_log_fn(modules->kmod, on_kmod, NULL);
	return modules;
}

void fw_modules_free(struct fw_modules *modules)
{
	if (!modules)
		return;
	(void)kmod_unref(modules->kmod);
	free(modules);
}

/* ---- what there is -------------------------------------------------------- */

/* In sysfs a dash is an underscore, and what has no initstate is built in. */
static enum fw_module_state state_of_sysfs(const struct fw_modules *modules,
					   const char *name)
{
	char path[PATH_MAX], sys_name[MAX_NAME], word[16] = "";
	struct stat st;
	FILE *f;

	(void)snprintf(sys_name, sizeof(sys_name), "%s", name);
	for (char *p = sys_name; *p; p++)
		*p = *p == '-' ? '_' : *p;
	(void)snprintf(path, sizeof(path), "%s/%s", modules->sysfs, sys_name);
	if (stat(path, &st) < 0)
		return FW_MODULE_UNKNOWN;
	(void)snprintf(path, sizeof(path), "%s/%s/initstate", modules->sysfs,
		       sys_name);
	f = fopen(path, "re");
	if (!f)
		return FW_MODULE_BUILTIN;
	if (!fgets(word, sizeof(word), f))
		word[0] = '\0';
	(void)fclose(f);
	/* One that is coming is waited for, one that is going is loaded anew. */
	return strcmp(word, "live\n") == 0 ? FW_MODULE_LOADED
					   : FW_MODULE_UNKNOWN;
}

static bool has_witness(const struct fw_modules *modules, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(witnesses); i++) {
		if (strcmp(witnesses[i].module, name) == 0 &&
		    fw_probe_has_kernel_func(modules->probe, witnesses[i].func))
			return true;
	}
	return false;
}

/* The module, referenced; NULL: there is none. */
static struct kmod_module *find(const struct fw_modules *modules,
				const char *name)
{
	struct kmod_list *list = NULL;
	struct kmod_module *mod = NULL;

	if (kmod_module_new_from_lookup(modules->kmod, name, &list) >= 0 &&
	    list)
		mod = kmod_module_get_module(list);
	(void)kmod_module_unref_list(list);
	return mod;
}

static bool is_blacklisted(const struct fw_modules *modules,
			   const struct kmod_module *mod)
{
	const char *name = kmod_module_get_name(mod);
	struct kmod_config_iter *iter;
	bool found = false;

	iter = kmod_config_get_blacklists(modules->kmod);
	while (iter && !found && kmod_config_iter_next(iter))
		found = strcmp(kmod_config_iter_get_key(iter), name) == 0;
	kmod_config_iter_free_iter(iter);
	return found;
}

static enum fw_module_state state_of_file(const struct fw_modules *modules,
					  const struct kmod_module *mod)
{
	const char *path = kmod_module_get_path(mod);

	if (kmod_module_get_initstate(mod) == KMOD_MODULE_BUILTIN)
		return FW_MODULE_BUILTIN;
	if (!kmod_module_get_install_commands(mod) &&
	    (!path || access(path, F_OK) < 0))
		return FW_MODULE_MISSING;
	return is_blacklisted(modules, mod) ? FW_MODULE_BLACKLISTED
					    : FW_MODULE_LOADABLE;
}

enum fw_module_state fw_module_state(const struct fw_modules *modules,
				     const char *name)
{
	enum fw_module_state state = state_of_sysfs(modules, name);
	struct kmod_module *mod;

	if (state != FW_MODULE_UNKNOWN)
		return state;
	mod = find(modules, name);
	if (mod) {
		state = state_of_file(modules, mod);
		(void)kmod_module_unref(mod);
	}
	if (state == FW_MODULE_BUILTIN || state == FW_MODULE_LOADABLE)
		return state;
	if (has_witness(modules, name))
		return FW_MODULE_BUILTIN;
	if (mod)
		return state;
	/* Neither file nor function: it is not there, if anybody can tell. */
	return fw_probe_has_btf(modules->probe) ? FW_MODULE_MISSING
						: FW_MODULE_UNKNOWN;
}

const char *fw_module_state_text(enum fw_module_state state)
{
	static const char *const texts[] = {
		[FW_MODULE_UNKNOWN] = "unknown",
		[FW_MODULE_BUILTIN] = "built in",
		[FW_MODULE_LOADED] = "loaded",
		[FW_MODULE_LOADABLE] = "not loaded, loadable",
		[FW_MODULE_BLACKLISTED] = "not loaded, blacklisted",
		[FW_MODULE_MISSING] = "missing",
	};

	return texts[state];
}

bool fw_module_is_here(enum fw_module_state state)
{
	return state == FW_MODULE_BUILTIN || state == FW_MODULE_LOADED;
}

bool fw_module_is_lacking(enum fw_module_state state)
{
	return state == FW_MODULE_MISSING || state == FW_MODULE_BLACKLISTED;
}

/* ---- loading --------------------------------------------------------------- */

/* Two kinds of remedy: the user may load it, or there is nothing to load. */
enum remedy {
	LOAD_IT,
	INSTALL_IT,
};

static void explain(const char *name, const char *why, enum remedy remedy,
		    char **reterr)
{
	if (remedy == LOAD_IT) {
		fw_errorf(
			reterr,
			"%s is not loaded and cannot be loaded: %s; load it with 'modprobe %s'",
			name, why, name);
	} else {
		fw_errorf(
			reterr,
			"%s is not loaded and cannot be loaded: %s; install a kernel that has it",
			name, why);
	}
}

static int refuse_missing(const struct fw_modules *modules, const char *name,
			  char **reterr)
{
	const char *dir = kmod_get_dirname(modules->kmod);
	_cleanup_free_ char *why = NULL;

	if (access(dir, F_OK) < 0) {
		fw_errorf(
			&why,
			"there is no directory %s, as in a container or after the kernel's package was replaced",
			dir);
	} else {
		fw_errorf(&why, "no such module in %s", dir);
	}
	explain(name, why ? why : "no such module", INSTALL_IT, reterr);
	return -ENOENT;
}

static bool is_switched_off(void)
{
	uint64_t value = 0;

	return fw_read_number(SWITCHED_OFF, &value) == 0 && value;
}

/* The kernel's answer in words; NULL: strerror() says it. */
static const char *why_refused(int r)
{
	switch (r) {
	case -EPERM:
		return is_switched_off()
			       ? "Operation not permitted (kernel.modules_disabled is 1)"
			       : NULL;
	case -ENOEXEC:
		return "its file was made for another kernel";
	case -ENOKEY:
	case -EKEYREJECTED:
	case -EBADMSG:
		return "the kernel does not accept its signature";
	default:
		return NULL;
	}
}

static int refuse_insert(const struct fw_modules *modules, const char *name,
			 int r, char **reterr)
{
	const char *why = why_refused(r);
	_cleanup_free_ char *text = NULL;

	/* Its own file is there, so this is about one whose symbols it uses. */
	if (r == -ENOENT) {
		fw_errorf(&text, "a module that it depends on is missing in %s",
			  kmod_get_dirname(modules->kmod));
		explain(name, text ? text : strerror(-r), INSTALL_IT, reterr);
		return r;
	}
	explain(name, why ? why : strerror(-r), LOAD_IT, reterr);
	return r;
}

static int insert(const struct fw_modules *modules, struct kmod_module *mod,
		  const char *name, char **reterr)
{
	const char *command = kmod_module_get_install_commands(mod);
	_cleanup_free_ char *why = NULL;
	int r;

	r = kmod_module_probe_insert_module(mod, KMOD_PROBE_APPLY_BLACKLIST,
					    NULL, NULL, NULL, NULL);
	if (r == 0)
		return 0;
	if (r == KMOD_PROBE_APPLY_BLACKLIST) {
		explain(name, "it is blacklisted in modprobe.d", LOAD_IT,
			reterr);
		return -EACCES;
	}
	if (command) {
		fw_errorf(&why, "its install command in modprobe.d failed (%s)",
			  command);
		explain(name, why ? why : "its install command failed", LOAD_IT,
			reterr);
		return -ECANCELED;
	}
	return refuse_insert(modules, name, r < 0 ? r : -EIO, reterr);
}

int fw_module_load(const struct fw_modules *modules, const char *name,
		   char **reterr)
{
	enum fw_module_state state = fw_module_state(modules, name);
	struct kmod_module *mod;
	int r;

	if (fw_module_is_here(state))
		return 0;
	if (state == FW_MODULE_MISSING)
		return refuse_missing(modules, name, reterr);
	mod = find(modules, name);
	/* Nothing can be told: whoever needs it finds out. */
	if (!mod)
		return 0;
	r = insert(modules, mod, name, reterr);
	(void)kmod_module_unref(mod);
	if (r == 0)
		log_info("loaded the module %s", name);
	return r;
}

int fw_module_require(const char *name, char **reterr)
{
	struct fw_modules *modules = NULL;
	struct fw_probe *probe;
	int r = -ENOMEM;

	probe = fw_probe_new();
	if (probe)
		modules = fw_modules_new(probe, NULL);
	if (modules)
		r = fw_module_load(modules, name, reterr);
	fw_modules_free(modules);
	fw_probe_free(probe);
	return r;
}
