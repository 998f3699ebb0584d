/* SPDX-License-Identifier: GPL-2.0-only */

/* The verb `status`: everything that one look at the firewall should show. */
#include <errno.h>
#include <string.h>

#include "user/captures.h"
#include "user/ctsize.h"
#include "user/daemon.h"
#include "user/fill.h"
#include "user/monitors.h"
#include "user/offload.h"
#include "user/stats.h"
#include "user/steer.h"
#include "user/timeouts.h"
#include "user/transport.h"
#include "user/util.h"

static json_t *time_text(time_t when)
{
	char buf[32];
	struct tm tm;

	if (!when || !gmtime_r(&when, &tm) ||
	    !strftime(buf, sizeof(buf), "%Y-%m-%dT%H:%M:%SZ", &tm))
		return json_null();
	return json_string(buf);
}

static json_t *text_or_null(const char *text)
{
	return text ? fw_json_text(text) : json_null();
}

static json_t *counter(const struct fw_counter *value)
{
	return json_pack("{s:o, s:o}", "packets", fw_json_u64(value->packets),
			 "bytes", fw_json_u64(value->bytes));
}

static void add(struct fw_counter *sum, const struct fw_counter *value)
{
	sum->packets += value->packets;
	sum->bytes += value->bytes;
}

/* Sums of one interface slot (or all) and hook: [0] passed, [1] dropped. */
static void sum_verdicts(const struct fw_stats *stats, size_t first,
			 size_t last, size_t hook, struct fw_counter ret[2])
{
	memset(ret, 0, 2 * sizeof(*ret));
	for (size_t slot = first; slot <= last; slot++) {
		for (size_t reason = 0; reason < FW_REASON_MAX; reason++) {
			add(&ret[fw_reason_is_drop((enum fw_reason)reason)],
			    &stats->by[slot][hook][reason]);
		}
	}
}

static json_t *hooks_json(const struct fw_stats *stats, size_t first,
			  size_t last)
{
	json_t *hooks = json_array();

	for (size_t hook = 0; hooks && hook < FW_HOOK_MAX; hook++) {
		struct fw_counter sums[2];

		sum_verdicts(stats, first, last, hook, sums);
		(void)json_array_append_new(
			hooks, json_pack("{s:s, s:o, s:o}", "hook",
					 fw_hook_name((enum fw_hook)hook),
					 "accept", counter(&sums[0]), "drop",
					 counter(&sums[1])));
	}
	return hooks;
}

/* What runs on an interface, in words. */
static const char *runs_text(const struct fw_apply_iface *iface)
{
	switch (iface->mode) {
	case FW_MODE_XDP:
		return iface->tcx ? "native XDP + TC (tcx)"
				  : "native XDP + TC (clsact)";
	case FW_MODE_XDP_GENERIC:
		return iface->tcx ? "generic XDP + TC (tcx)"
				  : "generic XDP + TC (clsact)";
	case FW_MODE_TC:
		return iface->tcx ? "TC (tcx)" : "TC (clsact)";
	case FW_MODE_AUTO:
		break;
	}
	return "nothing";
}

static const char *why_text(const struct fw_apply_iface *iface)
{
	if (iface->error)
		return iface->error;
	if (iface->mode == FW_MODE_AUTO)
		return "interface does not exist";
	if (iface->wanted != FW_MODE_AUTO)
		return "the rules say so";
	return iface->mode == FW_MODE_TC
		       ? "auto: virtual interface, XDP would cost it TSO"
		       : "auto: physical interface";
}

/* null: the rules do not ask for it */
static json_t *offload_json(const struct fw_daemon *daemon,
			    const struct fw_apply_iface *iface)
{
	const struct fw_offload_state state =
		fw_offload_look(fw_apply_offload(daemon->apply),
				fw_apply_links(daemon->apply), iface);

	if (!state.is_wanted)
		return json_null();
	return json_pack(
		"{s:b, s:o}", "on", state.is_on, "why",
		text_or_null(state.is_on ? fw_offload_look_tcp(
						   fw_daemon_program(daemon))
					 : state.why));
}

/* null: the rules do not ask for it */
static json_t *steering_json(const struct fw_daemon *daemon,
			     const struct fw_apply_iface *iface)
{
	const struct fw_program *program = fw_daemon_program(daemon);
	const char *why;

	if (!program || !(program->options & FW_OPT_ESP_STEER))
		return json_null();
	why = fw_steer_look(fw_apply_links(daemon->apply), iface);
	return json_pack("{s:b, s:o}", "on", !why, "why", text_or_null(why));
}

static json_t *iface_json(const struct fw_daemon *daemon,
			  const struct fw_apply_iface *iface,
			  const struct fw_stats *stats)
{
	return json_pack(
		"{s:o, s:o, s:I, s:s, s:s, s:b, s:b, s:s, s:o, s:o, s:o, s:o}",
		"name", fw_json_text(iface->name), "zone",
		text_or_null(iface->zone), "ifindex",
		(json_int_t)iface->ifindex, "wanted",
		fw_mode_name(iface->wanted), "mode",
		iface->mode == FW_MODE_AUTO ? "none"
					    : fw_mode_name(iface->mode),
		"tcx", iface->tcx, "attached", iface->mode != FW_MODE_AUTO,
		"runs", runs_text(iface), "why", fw_json_text(why_text(iface)),
		"offload", offload_json(daemon, iface), "steering",
		steering_json(daemon, iface), "hooks",
		hooks_json(stats, iface->slot, iface->slot));
}

static json_t *ifaces_json(const struct fw_daemon *daemon,
			   const struct fw_stats *stats)
{
	const struct fw_apply_iface *ifaces;
	json_t *list = json_array();
	size_t n;

	ifaces = fw_apply_ifaces(daemon->apply, &n);
	for (size_t i = 0; list && i < n; i++) {
		if (ifaces[i].slot < FW_MAX_IFSLOTS) {
			(void)json_array_append_new(
				list, iface_json(daemon, &ifaces[i], stats));
		}
	}
	return list;
}

static const char *slot_name(const struct fw_daemon *daemon, size_t slot)
{
	const struct fw_apply_iface *ifaces;
	size_t n;

	ifaces = fw_apply_ifaces(daemon->apply, &n);
	for (size_t i = 0; i < n; i++) {
		if (ifaces[i].slot == slot)
			return ifaces[i].name;
	}
	return NULL;
}

/* One reason: the sum, and where its packets were counted. */
static json_t *reason_json(const struct fw_daemon *daemon,
			   const struct fw_stats *stats, enum fw_reason reason)
{
	struct fw_counter sum = { 0 };
	json_t *by = json_array();

	for (size_t slot = 0; by && slot < FW_MAX_IFSLOTS; slot++) {
		const char *name = slot_name(daemon, slot);

		for (size_t hook = 0; hook < FW_HOOK_MAX; hook++) {
			const struct fw_counter *value =
				&stats->by[slot][hook][reason];

			if (!value->packets)
				continue;
			add(&sum, value);
			(void)json_array_append_new(
				by,
				json_pack("{s:o, s:s, s:o, s:o}", "interface",
					  text_or_null(name), "hook",
					  fw_hook_name((enum fw_hook)hook),
					  "packets",
					  fw_json_u64(value->packets), "bytes",
					  fw_json_u64(value->bytes)));
		}
	}
	return json_pack("{s:s, s:s, s:b, s:o, s:o, s:o}", "reason",
			 fw_reason_name(reason), "text", fw_reason_text(reason),
			 "drop", fw_reason_is_drop(reason), "packets",
			 fw_json_u64(sum.packets), "bytes",
			 fw_json_u64(sum.bytes), "by", by);
}

static json_t *reasons_json(const struct fw_daemon *daemon,
			    const struct fw_stats *stats)
{
	json_t *list = json_array();

	for (int reason = 0; list && reason < FW_REASON_MAX; reason++) {
		(void)json_array_append_new(
			list,
			reason_json(daemon, stats, (enum fw_reason)reason));
	}
	return list;
}

/* In what the running rules differ from those that were loaded. */
static json_t *replaced_json(const struct fw_program *program)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < program->n_named_sets; i++) {
		const struct fw_named_set *set = &program->named_sets[i];

		if (!set->replaced.name)
			continue;
		(void)json_array_append_new(
			list,
			json_pack("{s:o, s:o}", "set", fw_json_text(set->name),
				  "file", fw_json_text(set->replaced.name)));
	}
	return list;
}

static json_t *rules_json(const struct fw_daemon *daemon,
			  const struct fw_program *program)
{
	json_t *files = json_array(), *defaults = json_object();
	time_t since = fw_apply_time(daemon->apply);

	for (size_t i = 0; i < program->n_texts; i++) {
		(void)json_array_append_new(
			files, fw_json_text(program->texts[i].name));
	}
	for (int dir = 0; dir < FW_DIR_MAX; dir++) {
		(void)json_object_set_new(
			defaults, fw_dir_name((enum fw_dir)dir),
			json_string(fw_verdict_name(
				(enum fw_verdict)
					program->default_verdict[dir])));
	}
	return json_pack("{s:o, s:I, s:o, s:I, s:I, s:I, s:o, s:o, s:o}",
			 "files", files, "generation",
			 (json_int_t)fw_apply_gen(daemon->apply), "since",
			 time_text(since), "since_seconds", (json_int_t)since,
			 "rules", (json_int_t)program->n_rules, "sets",
			 (json_int_t)program->n_named_sets, "replaced_sets",
			 replaced_json(program), "defaults", defaults,
			 "timeouts", fw_timeouts_json(program));
}

static json_t *missed_json(const struct fw_mirror_stats *stats)
{
	json_t *missed = json_object();

	for (int i = 0; missed && i < FW_MISSED_MAX; i++)
		(void)json_object_set_new(missed,
					  fw_missed_name((enum fw_missed)i),
					  fw_json_u64(stats->missed[i]));
	return missed;
}

static json_t *mirror_json(const struct fw_daemon *daemon)
{
	struct fw_mirror_stats stats = { 0 };
	json_t *age;

	fw_mirror_stats(daemon->mirror, &stats);
	age = stats.last_sync_ns
		      ? json_real((double)(fw_now_ns() - stats.last_sync_ns) /
				  1e9)
		      : json_null();
	return json_pack("{s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:f}",
			 "in_sync", stats.in_sync, "stale_by",
			 text_or_null(stats.in_sync
					      ? NULL
					      : fw_missed_name(stats.stale_by)),
			 "flows", fw_json_u64(stats.flows), "missed",
			 missed_json(&stats), "lost_records",
			 fw_json_u64(stats.lost_records), "resyncs",
			 fw_json_u64(stats.resyncs), "state_writes",
			 fw_json_u64(stats.state_writes), "lives_shortened",
			 fw_json_u64(stats.shortened), "last_sync_age", age,
			 "last_duration", (double)stats.last_duration_ns / 1e9);
}

static json_t *daemon_json(const struct fw_daemon *daemon)
{
	return json_pack(
		"{s:s, s:I, s:o, s:s, s:s, s:o, s:o, s:o, s:o, s:b, s:I, s:I}",
		"version", FW_VERSION, "pid", (json_int_t)getpid(), "started",
		time_text(daemon->started), "run_dir", daemon->paths.run_dir,
		"pin_dir", daemon->paths.pin_dir, "metrics",
		text_or_null(daemon->metrics_address), "metrics_error",
		text_or_null(daemon->metrics_error), "loads",
		fw_json_u64(daemon->loads), "failed_loads",
		fw_json_u64(daemon->failed_loads), "last_load_failed",
		daemon->last_load_failed, "monitors",
		(json_int_t)fw_monitors_count(daemon->monitors), "captures",
		(json_int_t)fw_captures_count(daemon->captures));
}

static json_t *refused_json(const struct fw_fill_stats *stats)
{
	json_t *refused = json_object();

	for (int cause = 0; refused && cause < FW_REFUSED_MAX; cause++) {
		(void)json_object_set_new(
			refused,
			fw_refusal_cause_name((enum fw_refusal_cause)cause),
			fw_json_u64(stats->refused[cause]));
	}
	return refused;
}

static json_t *conntrack_json(const struct fw_daemon *daemon)
{
	struct fw_fill_stats stats = { 0 };
	struct fw_ctsize size;

	fw_ctsize_read(&size);
	if (daemon->fill)
		fw_fill_stats(daemon->fill, &stats);
	return json_pack(
		"{s:o, s:o, s:o, s:b, s:I, s:b, s:o}", "entries",
		fw_json_u64(size.entries), "limit", fw_json_u64(size.limit),
		"buckets", fw_json_u64(size.buckets), "pressure",
		stats.is_tight, "half_open_life", (json_int_t)stats.half_open_s,
		"refusing", stats.is_refusing, "refused", refused_json(&stats));
}

/* Only where there is something to be said of it. */
static json_t *transport_json(const struct fw_daemon *daemon)
{
	switch (fw_datapath_transport(daemon->datapath)) {
	case FW_TRANSPORT_ON:
		return json_string("judged");
	case FW_TRANSPORT_OFF:
	case FW_TRANSPORT_NOBODY:
		break;
	}
	return json_string(fw_transport_is_used() ? "unjudged" : "unused");
}

static int add_loaded(const struct fw_daemon *daemon, json_t *result)
{
	const struct fw_program *program = fw_daemon_program(daemon);
	_cleanup_free_ struct fw_stats *stats = NULL;
	int r;

	stats = calloc(1, sizeof(*stats));
	if (!stats)
		return -ENOMEM;
	fw_stats_read(daemon->datapath, stats);
	r = fw_json_set(result, "rules", rules_json(daemon, program));
	r |= fw_json_set(result, "interfaces", ifaces_json(daemon, stats));
	r |= fw_json_set(
		result, "self_addresses",
		json_integer((json_int_t)fw_apply_self_count(daemon->apply)));
	r |= fw_json_set(result, "mirror", mirror_json(daemon));
	r |= fw_json_set(result, "ipsec_transport", transport_json(daemon));
	r |= fw_json_set(result, "packets",
			 hooks_json(stats, 0, FW_MAX_IFSLOTS - 1));
	r |= fw_json_set(result, "reasons", reasons_json(daemon, stats));
	return r < 0 ? -ENOMEM : 0;
}

void fw_handle_status(void *data, struct fw_request *request,
		      const json_t *args)
{
	struct fw_daemon *daemon = data;
	_cleanup_json_ json_t *result = NULL;
	bool is_loaded = fw_daemon_program(daemon);
	int r = 0;

	(void)args;
	result = json_pack("{s:b, s:o, s:o, s:o}", "loaded", is_loaded,
			   "problem", text_or_null(daemon->open_error),
			   "daemon", daemon_json(daemon), "conntrack",
			   conntrack_json(daemon));
	if (result && is_loaded)
		r = add_loaded(daemon, result);
	if (r < 0) {
		fw_reply_error(request, FW_EXIT_KERNEL,
			       "cannot read the counters: %s", strerror(-r));
		return;
	}
	fw_reply(request, take_ptr(result));
}
