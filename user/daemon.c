/* SPDX-License-Identifier: GPL-2.0-only */

/* How fwctld gets hold of the datapath and lets go of it. */
#include "user/daemon.h"

#include <errno.h>
#include <string.h>

#include "user/budgets.h"
#include "user/captures.h"
#include "user/cthooks.h"
#include "user/espmarks.h"
#include "user/explainer.h"
#include "user/fill.h"
#include "user/log.h"
#include "user/modules.h"
#include "user/monitors.h"
#include "user/privileges.h"
#include "user/rulelog.h"
#include "user/steer.h"
#include "user/transport.h"
#include "user/upkeep.h"
#include "user/util.h"

static void on_log(void *data, const struct fw_event *event)
{
	const struct fw_daemon *daemon = data;

	if (!daemon->apply)
		return;
	if (daemon->budgets)
		fw_budgets_note(daemon->budgets, event);
	fw_rulelog_event(daemon->rulelog, daemon->apply, event);
	fw_monitors_event(daemon->monitors, event);
}

static void on_suppressed(void *data, const struct fw_event *last, uint64_t n)
{
	const struct fw_daemon *daemon = data;

	if (last->type == FW_EVENT_LOG || last->type == FW_EVENT_ESP)
		fw_rulelog_suppressed(daemon->rulelog, n);
	fw_monitors_suppressed(daemon->monitors, last, n);
}

static int count_records(struct fw_daemon *daemon, char **reterr)
{
	int r;

	r = fw_budgets_new(
		daemon->loop,
		fw_datapath_map(daemon->datapath, FW_MAP_LOG_BUDGETS),
		on_suppressed, daemon, &daemon->budgets);
	if (r < 0)
		fw_errorf(reterr, "cannot count records of packets: %s",
			  strerror(-r));
	return r;
}

/* What uses the maps and watches the interfaces. */
static void stop_parts(struct fw_daemon *daemon)
{
	fw_explainer_free(take_ptr(daemon->explainer));
	fw_transport_free(take_ptr(daemon->transport));
	fw_steer_free(take_ptr(daemon->steer));
	fw_upkeep_free(take_ptr(daemon->upkeep));
	fw_fill_free(take_ptr(daemon->fill));
	fw_budgets_free(take_ptr(daemon->budgets));
	fw_espmarks_free(take_ptr(daemon->espmarks));
	fw_mirror_free(take_ptr(daemon->mirror));
	fw_apply_free(take_ptr(daemon->apply));
}

/* A flow that old rules accepted must not pass as judged by the new ones. */
static int forget_gen(void *data, const struct fw_forget *forget)
{
	struct fw_daemon *daemon = data;

	fw_mirror_set_shift(daemon->mirror, forget->mark_shift);
	if (!forget->gen)
		return fw_mirror_forget_all(daemon->mirror);
	if (forget->is_ended)
		return fw_mirror_end_gen(daemon->mirror, forget->gen);
	return fw_mirror_forget_gen(daemon->mirror, forget->gen, forget->heir);
}

static int move_marks(void *data, const struct fw_mark_move *move)
{
	struct fw_daemon *daemon = data;

	if (!move->has_switched)
		return fw_mirror_claim_marks(daemon->mirror, move->to);
	return fw_mirror_carry_marks(daemon->mirror, move->from, move->to);
}

/*
 * Before anything is loaded. Without nf_conntrack_netlink packets could be
 * filtered, but marks of earlier rules would stay in the connection table, so
 * that flows they let in would pass as judged by the new ones.
 */
static int load_modules(char **reterr)
{
	int r;

	r = fw_module_require(FW_MODULE_CONNTRACK, reterr);
	if (r < 0)
		return r;
	return fw_module_require(FW_MODULE_CTNETLINK, reterr);
}

static int open_parts(struct fw_daemon *daemon,
		      const struct fw_datapath_size *size, char **reterr)
{
	int r;

	r = load_modules(reterr);
	if (r < 0)
		return r;
	r = fw_datapath_open(daemon->paths.pin_dir, size, &daemon->datapath,
			     reterr);
	if (r < 0)
		return r;
	r = fw_apply_new(daemon->loop, daemon->datapath, &daemon->apply,
			 reterr);
	if (r < 0)
		return r;
	r = fw_mirror_new(daemon->loop, daemon->datapath, on_log, daemon,
			  &daemon->mirror, reterr);
	if (r < 0)
		return r;
	fw_mirror_set_shift(daemon->mirror, fw_apply_mark_shift(daemon->apply));
	fw_apply_set_forget(daemon->apply, forget_gen, daemon);
	fw_apply_set_move(daemon->apply, move_marks, daemon);
	r = count_records(daemon, reterr);
	if (r < 0)
		return r;
	r = fw_espmarks_new(daemon->loop,
			    fw_datapath_map(daemon->datapath, FW_MAP_ESP_MARKS),
			    &daemon->espmarks);
	if (r < 0) {
		fw_errorf(reterr, "cannot follow security associations: %s",
			  strerror(-r));
		return r;
	}
	r = fw_fill_new(daemon, &daemon->fill, reterr);
	if (r < 0)
		return r;
	r = fw_upkeep_new(daemon, &daemon->upkeep, reterr);
	if (r < 0)
		return r;
	r = fw_steer_new(daemon, &daemon->steer, reterr);
	if (r < 0)
		return r;
	return fw_transport_new(daemon, &daemon->transport, reterr);
}

int fw_daemon_open(struct fw_daemon *daemon,
		   const struct fw_datapath_size *size, char **reterr)
{
	_cleanup_free_ char *error = NULL;
	int r;

	if (daemon->datapath)
		return 0;
	r = fw_privileges_raise();
	if (r < 0) {
		log_warning("cannot raise capabilities: %s, ignoring",
			    strerror(-r));
	}
	r = open_parts(daemon, size, &error);
	if (r < 0) {
		bool is_fresh = daemon->datapath &&
				!fw_datapath_adopted(daemon->datapath);

		if (is_fresh)
			(void)fw_daemon_remove(daemon, NULL);
		fw_daemon_close(daemon);
		fw_errorf(reterr, "%s", error ? error : strerror(-r));
		return r;
	}
	free(take_ptr(daemon->open_error));
	daemon->openings++;
	/* A crash may have left the table behind, somebody have removed it. */
	daemon->may_hold_hooks = true;
	(void)fw_daemon_follow_option(daemon);
	r = fw_privileges_drop(daemon->exit_on_unload);
	if (r < 0) {
		log_warning("cannot drop capabilities: %s, ignoring",
			    strerror(-r));
	}
	return 0;
}

void fw_daemon_close(struct fw_daemon *daemon)
{
	stop_parts(daemon);
	fw_datapath_free(take_ptr(daemon->datapath));
}

int fw_daemon_remove(struct fw_daemon *daemon, char **reterr)
{
	int r;

	fw_monitors_end(daemon->monitors, "the rules have been unloaded");
	fw_captures_end(daemon->captures, "the rules have been unloaded");
	stop_parts(daemon);
	(void)fw_daemon_follow_option(daemon);
	r = fw_datapath_remove(daemon->datapath);
	if (r < 0) {
		fw_errorf(reterr, "cannot remove everything below '%s': %s",
			  daemon->paths.pin_dir, strerror(-r));
	}
	fw_daemon_close(daemon);
	return r;
}

int fw_daemon_follow_option(struct fw_daemon *daemon)
{
	const struct fw_program *program = fw_daemon_program(daemon);
	bool on = program && program->options & FW_OPT_CT_HOOKS;
	_cleanup_free_ char *error = NULL;
	int r;

	if (!on && !daemon->may_hold_hooks)
		return 0;
	/* Rules that cannot be read are in force: they may have asked for it. */
	if (!program && daemon->apply && fw_apply_gen(daemon->apply))
		return 0;
	r = fw_cthooks_set(on, &error);
	if (r < 0 && !daemon->hooks_failed)
		log_warning("%s", error ? error : strerror(-r));
	if (r >= 0)
		daemon->may_hold_hooks = on;
	daemon->hooks_failed = r < 0;
	return r;
}

const struct fw_program *fw_daemon_program(const struct fw_daemon *daemon)
{
	return daemon->apply ? fw_apply_program(daemon->apply) : NULL;
}
