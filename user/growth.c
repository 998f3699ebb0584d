/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Programs for larger rules take the place of those that run.
 *
 * They are pinned in a directory of their own, next/, then every hook is handed
 * over, then the pins take the places of the old ones. With next/fw_egress
 * there, the last to come and to go, the way to the end can be walked again.
 *
 * Rule counters go on: those of the old programs, which nobody writes any more,
 * are kept as maps/rule_stats_before, and whoever reads adds them up. So nothing
 * is read and written back that packets change meanwhile. What was kept before
 * them was copied into the new ones when no program used those (datapath.c).
 */
#include "user/growth.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "user/attach.h"
#include "user/nflinks.h"
#include "user/nfprogs.h"
#include "user/pins.h"
#include "user/progs.h"
#include "user/util.h"

static struct fw_pin_path next_path(const char *pin_dir, const char *name)
{
	return fw_pin_path(pin_dir, "/next/%s", name);
}

static bool has_next(const char *pin_dir)
{
	struct fw_pin_path marker =
		next_path(pin_dir, fw_progs_name(FW_HOOK_MAX - 1));

	return access(marker.text, F_OK) == 0;
}

static int pin_next_map(const struct fwctl_bpf *skel, enum fw_map map,
			const char *pin_dir)
{
	return fw_pin_make(bpf_map__fd(fw_progs_map(skel, map)), pin_dir,
			   "next", fw_progs_map_name(map));
}

static int pin_next(const struct fw_growth *growth, const char *pin_dir)
{
	const struct fwctl_bpf *skel = growth->skel;
	struct fw_pin_path path = next_path(pin_dir, "");
	int r;

	(void)fw_pin_remove_dir(path.text);
	if (mkdir(path.text, 0700) < 0)
		return -errno;
	r = pin_next_map(skel, FW_MAP_RULESETS, pin_dir);
	if (r == 0 && growth->has_stats)
		r = pin_next_map(skel, FW_MAP_RULE_STATS, pin_dir);
	for (int i = 0; i < FW_LOCAL_MAX && r == 0; i++) {
		if (growth->local[i] >= 0)
			r = fw_pin_make(growth->local[i], pin_dir, "next",
					fw_progs_local_name((enum fw_local)i));
	}
	for (int i = 0; i < FW_HOOK_MAX && r == 0; i++) {
		r = fw_pin_make(
			bpf_program__fd(fw_progs_get(skel, (enum fw_hook)i)),
			pin_dir, "next", fw_progs_name((enum fw_hook)i));
	}
	return r;
}

static int move_next(const char *pin_dir, const char *kind, const char *name)
{
	struct fw_pin_path from = next_path(pin_dir, name);
	struct fw_pin_path to = fw_pin_path(pin_dir, "/%s/%s", kind, name);

	if (rename(from.text, to.text) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

/*
 * The counters that come are the last to leave next/: as long as they are
 * there, those in maps/, if any, are the old ones, and afterwards they are not.
 */
static int move_stats(const char *pin_dir)
{
	const char *name = fw_progs_map_name(FW_MAP_RULE_STATS);
	struct fw_pin_path next = next_path(pin_dir, name);
	struct fw_pin_path from = fw_pin_path(pin_dir, "/maps/%s", name);
	struct fw_pin_path to =
		fw_pin_path(pin_dir, "/maps/" FW_GROWTH_STATS_BEFORE);

	if (access(next.text, F_OK) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (rename(from.text, to.text) < 0 && errno != ENOENT)
		return -errno;
	return move_next(pin_dir, "maps", name);
}

/*
 * Back to what there was. Without the marker the coming programs do not exist,
 * so that goes first; what they have counted stays.
 */
static void take_back(const char *pin_dir)
{
	struct fw_pin_path path =
		next_path(pin_dir, fw_progs_name(FW_HOOK_MAX - 1));
	struct fw_pin_path to =
		fw_pin_path(pin_dir, "/maps/" FW_GROWTH_STATS_BEFORE);

	(void)unlink(path.text);
	path = next_path(pin_dir, fw_progs_map_name(FW_MAP_RULE_STATS));
	(void)rename(path.text, to.text);
	path = next_path(pin_dir, "");
	(void)fw_pin_remove_dir(path.text);
}

static int move_all(const char *pin_dir)
{
	struct fw_pin_path dir = next_path(pin_dir, "");
	int r;

	r = move_next(pin_dir, "maps", fw_progs_map_name(FW_MAP_RULESETS));
	if (r == 0)
		r = move_stats(pin_dir);
	for (int i = 0; i < FW_LOCAL_MAX && r == 0; i++)
		r = move_next(pin_dir, "progs",
			      fw_progs_local_name((enum fw_local)i));
	for (int i = 0; i < FW_HOOK_MAX && r == 0; i++)
		r = move_next(pin_dir, "progs", fw_progs_name((enum fw_hook)i));
	if (r == 0)
		r = fw_pin_remove_dir(dir.text);
	return r;
}

/* On all hooks; without programs of netfilter (-1) none that knows other rules stays. */
static int replace(const char *links, const int progs[FW_HOOK_MAX],
		   const int local[FW_LOCAL_MAX])
{
	int r = fw_attach_replace(links, progs), also;

	if (fw_nfprogs_exist(local))
		also = fw_nflinks_replace(links, local);
	else
		also = fw_nflinks_detach(links);
	return r < 0 ? r : also;
}

int fw_growth_take_over(const struct fw_growth *growth,
			const int progs[FW_HOOK_MAX],
			const int local[FW_LOCAL_MAX], const char *pin_dir,
			char **reterr)
{
	struct fw_pin_path links = fw_pin_path(pin_dir, "/links");
	int next[FW_HOOK_MAX];
	int r;

	for (int i = 0; i < FW_HOOK_MAX; i++) {
		next[i] = bpf_program__fd(
			fw_progs_get(growth->skel, (enum fw_hook)i));
	}
	r = pin_next(growth, pin_dir);
	if (r == 0)
		r = replace(links.text, next, growth->local);
	if (r < 0) {
		fw_errorf(reterr,
			  "cannot change to programs for larger rules: %s",
			  strerror(-r));
		(void)replace(links.text, progs, local);
		take_back(pin_dir);
		return r;
	}
	/* From here on there is only the way to the end. */
	if (!fw_nfprogs_exist(growth->local))
		fw_nfprogs_unpin(pin_dir);
	r = move_all(pin_dir);
	if (r < 0)
		fw_errorf(reterr, "cannot pin the programs: %s", strerror(-r));
	return r;
}

/* A coming program, from wherever its pin is by now. */
static int open_next(const char *pin_dir, const char *name)
{
	struct fw_pin_path path = next_path(pin_dir, name);

	if (access(path.text, F_OK) < 0)
		path = fw_pin_path(pin_dir, "/progs/%s", name);
	return bpf_obj_get(path.text);
}

int fw_growth_finish(const char *pin_dir)
{
	struct fw_pin_path links = fw_pin_path(pin_dir, "/links");
	struct fw_pin_path path = next_path(pin_dir, "");
	int progs[FW_HOOK_MAX] = { -1, -1, -1 };
	int local[FW_LOCAL_MAX] = { -1, -1 };
	int r = 0;

	if (!has_next(pin_dir))
		return fw_pin_remove_dir(path.text);
	for (int i = 0; i < FW_HOOK_MAX && r == 0; i++) {
		progs[i] = open_next(pin_dir, fw_progs_name((enum fw_hook)i));
		if (progs[i] < 0)
			r = progs[i];
	}
	for (int i = 0; i < FW_LOCAL_MAX; i++)
		local[i] = open_next(pin_dir,
				     fw_progs_local_name((enum fw_local)i));
	if (r == 0)
		r = replace(links.text, progs, local);
	if (r == 0)
		r = move_all(pin_dir);
	for (int i = 0; i < FW_HOOK_MAX; i++)
		fw_closep(&progs[i]);
	for (int i = 0; i < FW_LOCAL_MAX; i++)
		fw_closep(&local[i]);
	return r;
}
