/* SPDX-License-Identifier: GPL-2.0-only */

/* What the exporter says: the text of /metrics and of /healthz. */
#include "user/exposition.h"

#include <stdio_ext.h>
#include <string.h>

#include "user/ctsize.h"
#include "user/expoparts.h"
#include "user/fill.h"
#include "user/util.h"

/* ---- loads -------------------------------------------------------------------- */

static void write_results(struct fw_metric_out *out,
			  const struct fw_metric *metric, uint64_t successes,
			  uint64_t failures)
{
	fw_metric_begin(out, metric);
	fw_metric_put(out, metric, FW_LABELS("result", "success"), successes);
	fw_metric_put(out, metric, FW_LABELS("result", "failure"), failures);
}

static void write_loads(struct fw_metric_out *out,
			const struct fw_daemon *daemon)
{
	static const struct fw_metric reloads = {
		"fwctl_reloads_total", "counter",
		"Rule files loaded since the daemon started, by result."
	};
	static const struct fw_metric successful = {
		"fwctl_config_last_reload_successful", "gauge",
		"Whether the last load succeeded."
	};
	static const struct fw_metric timestamp = {
		"fwctl_config_last_reload_success_timestamp_seconds", "gauge",
		"When rules were last loaded; 0: not by this process."
	};
	static const struct fw_metric duration = {
		"fwctl_last_reload_duration_seconds", "gauge",
		"How long the last successful load took."
	};
	static const struct fw_metric replacements = {
		"fwctl_set_replacements_total", "counter",
		"Sets given other content since the daemon started, by result."
	};

	write_results(out, &reloads, daemon->loads, daemon->failed_loads);
	fw_metric_one(out, &successful, !daemon->last_load_failed);
	fw_metric_one(out, &timestamp, (uint64_t)daemon->last_load_time);
	fw_metric_one_real(out, &duration, (double)daemon->last_load_ns / 1e9);
	write_results(out, &replacements, daemon->replacements,
		      daemon->failed_replacements);
}

static void write_ruleset(struct fw_metric_out *out,
			  const struct fw_daemon *daemon)
{
	static const struct fw_metric generation = {
		"fwctl_ruleset_generation", "gauge",
		"Generation of the running rules; 0: none."
	};
	static const struct fw_metric rules = { "fwctl_ruleset_rules", "gauge",
						"Number of rules that run." };
	const struct fw_program *program = fw_daemon_program(daemon);

	fw_metric_one(out, &generation,
		      program ? fw_apply_gen(daemon->apply) : 0);
	fw_metric_one(out, &rules, program ? program->n_rules : 0);
}

/* ---- the connection table -------------------------------------------------------- */

static void write_refused(struct fw_metric_out *out,
			  const struct fw_daemon *daemon)
{
	static const struct fw_metric pressure = {
		"fwctl_conntrack_pressure", "gauge",
		"Whether the connection table fills up, so that unanswered flows have short lives."
	};
	static const struct fw_metric refused = {
		"fwctl_conntrack_refused_total", "counter",
		"Packets of new flows that got no entry since the daemon started, by cause."
	};
	static const struct fw_metric reaps = {
		"fwctl_conntrack_reaps_total", "counter",
		"Walks over the connection table that freed expired entries."
	};
	struct fw_fill_stats stats = { 0 };

	fw_fill_stats(daemon->fill, &stats);
	fw_metric_one(out, &pressure, stats.is_tight);
	fw_metric_begin(out, &refused);
	for (int i = 0; i < FW_REFUSED_MAX; i++) {
		const char *cause =
			fw_refusal_cause_name((enum fw_refusal_cause)i);

		fw_metric_put(out, &refused, FW_LABELS("cause", cause),
			      stats.refused[i]);
	}
	fw_metric_one(out, &reaps, stats.reaps);
}

static void write_ctevents(struct fw_metric_out *out)
{
	static const struct fw_metric inserts = {
		"fwctl_conntrack_inserts_total", "counter",
		"Entries that programs and tools have inserted into the connection table."
	};
	static const struct fw_metric failures = {
		"fwctl_conntrack_failures_total", "counter",
		"Entries that the kernel could not make or has given up, by cause."
	};
	struct fw_ctevents events;

	if (fw_ctevents_read(&events) < 0)
		return;
	fw_metric_one(out, &inserts, events.inserts);
	fw_metric_begin(out, &failures);
	fw_metric_put(out, &failures, FW_LABELS("cause", "insert"),
		      events.insert_failed);
	fw_metric_put(out, &failures, FW_LABELS("cause", "drop"), events.drop);
	fw_metric_put(out, &failures, FW_LABELS("cause", "early-drop"),
		      events.early_drop);
}

static void write_conntrack(struct fw_metric_out *out,
			    const struct fw_daemon *daemon)
{
	static const struct fw_metric entries = {
		"fwctl_conntrack_entries", "gauge",
		"Entries in the connection table of the network namespace."
	};
	static const struct fw_metric limit = {
		"fwctl_conntrack_entries_limit", "gauge",
		"Most entries that the connection table takes."
	};
	static const struct fw_metric buckets = {
		"fwctl_conntrack_buckets", "gauge",
		"Buckets of the connection table, of all namespaces together."
	};
	struct fw_ctsize size;

	fw_ctsize_read(&size);
	fw_metric_one(out, &entries, size.entries);
	fw_metric_one(out, &limit, size.limit);
	fw_metric_one(out, &buckets, size.buckets);
	write_ctevents(out);
	if (daemon->fill)
		write_refused(out, daemon);
}

/* ---- mirror ------------------------------------------------------------------------ */

static void write_flows(struct fw_metric_out *out,
			const struct fw_daemon *daemon)
{
	static const struct fw_metric metric = {
		"fwctl_flows", "gauge",
		"Flows in the flow table, by protocol and state."
	};
	const struct fw_census *census = fw_mirror_census(daemon->mirror);
	uint64_t n;

	fw_metric_begin(out, &metric);
	for (unsigned int i = 1; i < FW_CENSUS_CELLS; i++) {
		if (!fw_census_sum(census, i, &n))
			continue;
		fw_metric_put(out, &metric,
			      FW_LABELS("protocol", fw_census_proto_name(i),
					"state", fw_census_state_name(i)),
			      n);
	}
}

static void write_news(struct fw_metric_out *out,
		       const struct fw_mirror_stats *stats)
{
	static const struct fw_metric events = {
		"fwctl_mirror_events_total", "counter",
		"Events received from ctnetlink."
	};
	static const struct fw_metric records = {
		"fwctl_mirror_records_total", "counter",
		"Records received from the programs in the kernel."
	};
	static const char *const event_types[] = { "new", "update", "destroy" };
	static const char *const record_types[] = { NULL,	  "flow-new",
						    "flow-state", "flow-end",
						    "log",	  "adopt",
						    "drop",	  "esp" };

	fw_metric_begin(out, &events);
	for (size_t i = 0; i < ARRAY_SIZE(event_types); i++)
		fw_metric_put(out, &events, FW_LABELS("type", event_types[i]),
			      stats->events[i]);
	fw_metric_begin(out, &records);
	for (size_t i = 1; i < ARRAY_SIZE(record_types); i++)
		fw_metric_put(out, &records, FW_LABELS("type", record_types[i]),
			      stats->records[i]);
}

/* By the clock of the wall, as it is now; 0: never. */
static double wall_time(uint64_t ns)
{
	struct timespec now = { 0 };

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return ns ? (double)now.tv_sec + (double)now.tv_nsec / 1e9 -
			       (double)(fw_now_ns() - ns) / 1e9
		  : 0.0;
}

static void write_resyncs(struct fw_metric_out *out,
			  const struct fw_mirror_stats *stats)
{
	static const struct fw_metric overruns = {
		"fwctl_mirror_overruns_total", "counter",
		"Times that the flow table was found stale, by what was missed; each leads to a dump."
	};
	static const struct fw_metric lost = {
		"fwctl_mirror_records_lost_total", "counter",
		"Records of flows that the programs in the kernel found no room for."
	};
	static const struct fw_metric resyncs = {
		"fwctl_mirror_resyncs_total", "counter",
		"Dumps of the connection table that were completed."
	};
	static const struct fw_metric durations = {
		"fwctl_mirror_resync_duration_seconds", "histogram",
		"How long completed dumps took."
	};
	static const struct fw_metric last_duration = {
		"fwctl_mirror_last_resync_duration_seconds", "gauge",
		"How long the last dump took."
	};
	static const struct fw_metric last_sync = {
		"fwctl_mirror_last_sync_timestamp_seconds", "gauge",
		"When the last dump was completed; 0: never."
	};

	fw_metric_begin(out, &overruns);
	for (int i = 0; i < FW_MISSED_MAX; i++)
		fw_metric_put(
			out, &overruns,
			FW_LABELS("cause", fw_missed_name((enum fw_missed)i)),
			stats->missed[i]);
	fw_metric_one(out, &lost, stats->lost_records);
	fw_metric_one(out, &resyncs, stats->resyncs);
	fw_metric_histogram(out, &durations, fw_resync_bounds_s,
			    stats->by_duration, ARRAY_SIZE(fw_resync_bounds_s),
			    (double)stats->durations_ns / 1e9);
	fw_metric_one_real(out, &last_duration,
			   (double)stats->last_duration_ns / 1e9);
	fw_metric_one_real(out, &last_sync, wall_time(stats->last_sync_ns));
}

static void write_mirror(struct fw_metric_out *out,
			 const struct fw_daemon *daemon)
{
	static const struct fw_metric in_sync = {
		"fwctl_mirror_in_sync", "gauge",
		"Whether the flow table agrees with the kernel's."
	};
	static const struct fw_metric flows = { "fwctl_mirror_flows", "gauge",
						"Flows in the flow table." };
	static const struct fw_metric writes = {
		"fwctl_mirror_state_writes_total", "counter",
		"Entries of the connection table that got another TCP state or life."
	};
	static const struct fw_metric shortened = {
		"fwctl_mirror_lives_shortened_total", "counter",
		"Unanswered flows that live shorter because the table fills up."
	};
	struct fw_mirror_stats stats = { 0 };

	fw_mirror_stats(daemon->mirror, &stats);
	fw_metric_one(out, &in_sync, stats.in_sync);
	fw_metric_one(out, &flows, stats.flows);
	write_flows(out, daemon);
	write_news(out, &stats);
	write_resyncs(out, &stats);
	fw_metric_one(out, &writes, stats.state_writes);
	fw_metric_one(out, &shortened, stats.shortened);
}

/* ---- all of it ---------------------------------------------------------------------- */

static void write_build(struct fw_metric_out *out)
{
	static const struct fw_metric metric = {
		"fwctl_build_info", "gauge",
		"Constant 1, labelled with the version of fwctld."
	};
	char abi[16];

	(void)snprintf(abi, sizeof(abi), "%d", FW_ABI_VERSION);
	fw_metric_begin(out, &metric);
	fw_metric_put(out, &metric,
		      FW_LABELS("version", FW_VERSION, "abi", abi), 1);
}

static void write_all(struct fw_metric_out *out, const struct fw_daemon *daemon)
{
	write_build(out);
	write_ruleset(out, daemon);
	write_loads(out, daemon);
	write_conntrack(out, daemon);
	if (fw_daemon_program(daemon))
		fw_expo_rules(out, daemon);
	if (daemon->mirror)
		write_mirror(out, daemon);
	if (daemon->datapath)
		fw_expo_ipsec(out, daemon);
	fw_expo_process(out, daemon);
	fw_metric_end(out);
}

char *fw_exposition_metrics(const struct fw_daemon *daemon,
			    enum fw_metric_form form)
{
	struct fw_metric_out out = { .form = form };
	char *text = NULL;
	size_t size;

	out.file = open_memstream(&text, &size);
	if (!out.file)
		return NULL;
	/* Nobody else has it: locks would be half of the time that many rules take. */
	(void)__fsetlocking(out.file, FSETLOCKING_BYCALLER);
	write_all(&out, daemon);
	if (ferror(out.file))
		out.is_broken = true;
	if (fclose(out.file) != 0 || out.is_broken) {
		free(text);
		return NULL;
	}
	return text;
}

/* With TC in its place every packet is judged; XDP only makes it cheaper. */
static bool is_filtered(const struct fw_daemon *daemon,
			const struct fw_apply_iface *iface)
{
	struct fw_hooks_found found;

	if (iface->mode == FW_MODE_AUTO)
		return false;
	fw_datapath_look(daemon->datapath, iface->ifindex, &found);
	return found.has_tc;
}

const char *fw_exposition_trouble(const struct fw_daemon *daemon)
{
	const struct fw_apply_iface *ifaces;
	struct fw_mirror_stats stats = { 0 };
	size_t n;

	if (!fw_daemon_program(daemon)) {
		return daemon->open_error ? "pinned rules cannot be adopted"
					  : "no rules are loaded";
	}
	ifaces = fw_apply_ifaces(daemon->apply, &n);
	for (size_t i = 0; i < n; i++) {
		if (ifaces[i].ifindex && !is_filtered(daemon, &ifaces[i]))
			return "a declared interface is not filtered";
	}
	fw_mirror_stats(daemon->mirror, &stats);
	return stats.in_sync ? NULL : "the flow table is not in sync";
}
