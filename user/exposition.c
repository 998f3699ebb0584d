/* SPDX-License-Identifier: GPL-2.0-only */

/* What the exporter says: the text of /metrics and of /healthz. */
#include "user/exposition.h"

#include <dirent.h>
#include <inttypes.h>
#include <string.h>
#include <sys/resource.h>

#include "user/ctsize.h"
#include "user/fill.h"
#include "user/stats.h"
#include "user/util.h"

/* ---- writing ---------------------------------------------------------------- */

static void head(FILE *out, const char *name, const char *type,
		 const char *help)
{
	(void)fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name,
		      type);
}

static void one(FILE *out, const char *name, const char *type, const char *help,
		double value)
{
	head(out, name, type, help);
	(void)fprintf(out, "%s %.17g\n", name, value);
}

static void whole(FILE *out, const char *name, const char *type,
		  const char *help, uint64_t value)
{
	head(out, name, type, help);
	(void)fprintf(out, "%s %" PRIu64 "\n", name, value);
}

/* A label value: backslash, quote and newline are escaped. */
static void print_escaped(FILE *out, const char *text)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '\\' || c == '"') {
			(void)fprintf(out, "\\%c", c);
		} else if (c == '\n') {
			(void)fputs("\\n", out);
		} else {
			(void)fputc(c < 0x80 ? c : '?', out);
		}
	}
}

/* ---- interfaces and reasons --------------------------------------------------- */

/* One sample with the labels interface, hook and a third one. */
static void sample(FILE *out, const char *name, const char *ifname,
		   const char *hook, const char *key, const char *value,
		   uint64_t number)
{
	(void)fprintf(out, "%s{interface=\"", name);
	print_escaped(out, ifname);
	(void)fprintf(out, "\",hook=\"%s\",%s=\"%s\"} %" PRIu64 "\n", hook, key,
		      value, number);
}

static void write_attached(FILE *out, const struct fw_apply_iface *ifaces,
			   size_t n)
{
	static const char *const name = "fwctl_program_attached";

	head(out, name, "gauge",
	     "Whether programs filter on a declared interface, by the mode that runs.");
	for (size_t i = 0; i < n; i++) {
		bool is_attached = ifaces[i].mode != FW_MODE_AUTO;
		bool has_xdp = is_attached && ifaces[i].mode != FW_MODE_TC;
		bool is_native = ifaces[i].mode == FW_MODE_XDP;
		const char *tc = ifaces[i].tcx ? "tcx" : "clsact";
		const char *xdp = is_native ? "native" : "generic";

		sample(out, name, ifaces[i].name, "tc", "mode",
		       is_attached ? tc : "none", is_attached);
		sample(out, name, ifaces[i].name, "xdp", "mode",
		       has_xdp ? xdp : "none", has_xdp);
	}
}

struct sums {
	struct fw_counter by[2]; /* passed, dropped */
};

static struct sums sum_hook(const struct fw_stats *stats, uint32_t slot,
			    int hook)
{
	struct sums sums = { 0 };

	for (int reason = 0; reason < FW_REASON_MAX; reason++) {
		const struct fw_counter *value = &stats->by[slot][hook][reason];
		bool is_drop = fw_reason_is_drop((enum fw_reason)reason);

		sums.by[is_drop].packets += value->packets;
		sums.by[is_drop].bytes += value->bytes;
	}
	return sums;
}

static void write_verdict(FILE *out, const struct fw_stats *stats,
			  const struct fw_apply_iface *iface, bool is_bytes)
{
	static const char *const verdicts[] = { "accept", "drop" };

	for (int hook = 0; hook < FW_HOOK_MAX; hook++) {
		struct sums sums = sum_hook(stats, iface->slot, hook);

		for (size_t i = 0; i < ARRAY_SIZE(verdicts); i++) {
			sample(out,
			       is_bytes ? "fwctl_bytes_total"
					: "fwctl_packets_total",
			       iface->name, fw_hook_name((enum fw_hook)hook),
			       "verdict", verdicts[i],
			       is_bytes ? sums.by[i].bytes
					: sums.by[i].packets);
		}
	}
}

static void write_verdicts(FILE *out, const struct fw_stats *stats,
			   const struct fw_apply_iface *ifaces, size_t n)
{
	head(out, "fwctl_packets_total", "counter",
	     "Packets judged at a hook, by verdict.");
	for (size_t i = 0; i < n; i++)
		write_verdict(out, stats, &ifaces[i], false);
	head(out, "fwctl_bytes_total", "counter",
	     "Bytes judged at a hook, by verdict.");
	for (size_t i = 0; i < n; i++)
		write_verdict(out, stats, &ifaces[i], true);
}

/* The counters of one reason, if it is one of those that are wanted. */
static void write_reason(FILE *out, const struct fw_stats *stats,
			 const struct fw_apply_iface *iface,
			 enum fw_reason reason, bool is_drop)
{
	if (reason == FW_REASON_NONE || fw_reason_is_drop(reason) != is_drop)
		return;
	for (int hook = 0; hook < FW_HOOK_MAX; hook++) {
		sample(out,
		       is_drop ? "fwctl_drops_total" : "fwctl_passes_total",
		       iface->name, fw_hook_name((enum fw_hook)hook), "reason",
		       fw_reason_name(reason),
		       stats->by[iface->slot][hook][reason].packets);
	}
}

static void write_reasons(FILE *out, const struct fw_stats *stats,
			  const struct fw_apply_iface *ifaces, size_t n,
			  bool is_drop)
{
	for (size_t i = 0; i < n; i++) {
		for (int reason = 0; reason < FW_REASON_MAX; reason++) {
			write_reason(out, stats, &ifaces[i],
				     (enum fw_reason)reason, is_drop);
		}
	}
}

static void write_ifaces(FILE *out, const struct fw_daemon *daemon)
{
	_cleanup_free_ struct fw_stats *stats = NULL;
	const struct fw_apply_iface *ifaces;
	size_t n;

	stats = calloc(1, sizeof(*stats));
	if (!stats)
		return;
	fw_stats_read(daemon->datapath, stats);
	ifaces = fw_apply_ifaces(daemon->apply, &n);
	if (!n)
		return;
	write_attached(out, ifaces, n);
	write_verdicts(out, stats, ifaces, n);
	head(out, "fwctl_drops_total", "counter",
	     "Packets dropped, by reason.");
	write_reasons(out, stats, ifaces, n, true);
	head(out, "fwctl_passes_total", "counter",
	     "Packets passed, by reason.");
	write_reasons(out, stats, ifaces, n, false);
}

/* ---- rules ------------------------------------------------------------------- */

struct rule_value {
	const char *label;
	struct fw_rule_counter counter;
};

/* Rules with one label share one counter, which appears once. */
static bool add_rule(const struct fw_daemon *daemon, uint8_t *seen,
		     uint32_t slot, const char *label, struct rule_value *ret)
{
	if (slot >= FW_MAX_SLOTS || seen[slot])
		return false;
	seen[slot] = 1;
	ret->label = label;
	return fw_stats_rule(daemon->datapath, slot, &ret->counter) == 0;
}

static size_t read_rules(const struct fw_daemon *daemon,
			 struct rule_value *values, uint8_t *seen)
{
	const struct fw_program *program = fw_daemon_program(daemon);
	size_t n = 0;

	for (size_t i = 0; i < program->n_rows; i++) {
		if (program->rows[i].rule != i)
			continue;
		n += add_rule(daemon, seen, fw_apply_row_slot(daemon->apply, i),
			      program->rows[i].label, &values[n]);
	}
	for (int dir = 0; dir < FW_DIR_MAX; dir++) {
		n += add_rule(
			daemon, seen,
			fw_apply_default_slot(daemon->apply, (enum fw_dir)dir),
			fw_default_label((enum fw_dir)dir), &values[n]);
	}
	return n;
}

static void write_rule_metric(FILE *out, const struct rule_value *values,
			      size_t n, size_t offset, const char *name,
			      const char *help)
{
	head(out, name, "counter", help);
	for (size_t i = 0; i < n; i++) {
		const char *base = (const char *)&values[i].counter;
		uint64_t value;

		memcpy(&value, base + offset, sizeof(value));
		(void)fprintf(out, "%s{rule=\"", name);
		print_escaped(out, values[i].label);
		(void)fprintf(out, "\"} %" PRIu64 "\n", value);
	}
}

static void write_rules(FILE *out, const struct fw_daemon *daemon)
{
	const struct fw_program *program = fw_daemon_program(daemon);
	_cleanup_free_ struct rule_value *values = NULL;
	_cleanup_free_ uint8_t *seen = NULL;
	size_t n;

	values = calloc(program->n_rules + FW_DIR_MAX, sizeof(*values));
	seen = calloc(FW_MAX_SLOTS, 1);
	if (!values || !seen)
		return;
	n = read_rules(daemon, values, seen);
	if (!n)
		return;
	write_rule_metric(out, values, n,
			  offsetof(struct fw_rule_counter, packets),
			  "fwctl_rule_packets_total",
			  "Packets that a rule itself decided.");
	write_rule_metric(out, values, n,
			  offsetof(struct fw_rule_counter, bytes),
			  "fwctl_rule_bytes_total",
			  "Bytes of packets that a rule itself decided.");
	write_rule_metric(
		out, values, n, offsetof(struct fw_rule_counter, flows),
		"fwctl_rule_flows_total", "Flows that a rule opened.");
}

/* ---- mirror, daemon, process --------------------------------------------------- */

static void write_mirror(FILE *out, const struct fw_daemon *daemon)
{
	static const char *const events[] = { "new", "update", "destroy" };
	static const char *const records[] = { NULL,	     "flow-new",
					       "flow-state", "flow-end",
					       "log",	     "adopt" };
	struct fw_mirror_stats stats = { 0 };

	fw_mirror_stats(daemon->mirror, &stats);
	whole(out, "fwctl_mirror_in_sync", "gauge",
	      "Whether the flow table agrees with the kernel's.",
	      stats.in_sync);
	whole(out, "fwctl_mirror_flows", "gauge", "Flows in the flow table.",
	      stats.flows);
	head(out, "fwctl_mirror_events_total", "counter",
	     "Events received from ctnetlink.");
	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		(void)fprintf(out,
			      "fwctl_mirror_events_total{type=\"%s\"} %" PRIu64
			      "\n",
			      events[i], stats.events[i]);
	}
	head(out, "fwctl_mirror_records_total", "counter",
	     "Records received from the programs in the kernel.");
	for (size_t i = 1; i < ARRAY_SIZE(records); i++) {
		(void)fprintf(out,
			      "fwctl_mirror_records_total{type=\"%s\"} %" PRIu64
			      "\n",
			      records[i], stats.records[i]);
	}
	whole(out, "fwctl_mirror_overruns_total", "counter",
	      "Times that events were lost; each leads to a dump.",
	      stats.overruns);
	whole(out, "fwctl_mirror_resyncs_total", "counter",
	      "Dumps of the connection table that were completed.",
	      stats.resyncs);
	one(out, "fwctl_mirror_last_resync_duration_seconds", "gauge",
	    "How long the last dump took.",
	    (double)stats.last_duration_ns / 1e9);
	whole(out, "fwctl_mirror_state_writes_total", "counter",
	      "Entries of the connection table that got another TCP state or life.",
	      stats.state_writes);
	whole(out, "fwctl_mirror_lives_shortened_total", "counter",
	      "Unanswered flows that live shorter because the table fills up.",
	      stats.shortened);
}

static void write_loads(FILE *out, const struct fw_daemon *daemon)
{
	head(out, "fwctl_reloads_total", "counter",
	     "Rule files loaded since the daemon started, by result.");
	(void)fprintf(out,
		      "fwctl_reloads_total{result=\"success\"} %" PRIu64 "\n"
		      "fwctl_reloads_total{result=\"failure\"} %" PRIu64 "\n",
		      daemon->loads, daemon->failed_loads);
	whole(out, "fwctl_config_last_reload_successful", "gauge",
	      "Whether the last load succeeded.", !daemon->last_load_failed);
	whole(out, "fwctl_config_last_reload_success_timestamp_seconds",
	      "gauge", "When rules were last loaded; 0: not by this process.",
	      (uint64_t)daemon->last_load_time);
	one(out, "fwctl_last_reload_duration_seconds", "gauge",
	    "How long the last successful load took.",
	    (double)daemon->last_load_ns / 1e9);
	head(out, "fwctl_set_replacements_total", "counter",
	     "Sets given other content since the daemon started, by result.");
	(void)fprintf(
		out,
		"fwctl_set_replacements_total{result=\"success\"} %" PRIu64 "\n"
		"fwctl_set_replacements_total{result=\"failure\"} %" PRIu64
		"\n",
		daemon->replacements, daemon->failed_replacements);
}

static void write_ruleset(FILE *out, const struct fw_daemon *daemon)
{
	const struct fw_program *program = fw_daemon_program(daemon);

	whole(out, "fwctl_ruleset_generation", "gauge",
	      "Generation of the running rules; 0: none.",
	      program ? fw_apply_gen(daemon->apply) : 0);
	whole(out, "fwctl_ruleset_rules", "gauge", "Number of rules that run.",
	      program ? program->n_rules : 0);
}

static void write_refused(FILE *out, const struct fw_daemon *daemon)
{
	struct fw_fill_stats stats = { 0 };

	fw_fill_stats(daemon->fill, &stats);
	whole(out, "fwctl_conntrack_pressure", "gauge",
	      "Whether the connection table fills up, so that unanswered flows have short lives.",
	      stats.is_tight);
	head(out, "fwctl_conntrack_refused_total", "counter",
	     "Packets of new flows that got no entry since the daemon started, by cause.");
	for (int cause = 0; cause < FW_REFUSED_MAX; cause++) {
		(void)fprintf(
			out,
			"fwctl_conntrack_refused_total{cause=\"%s\"} %" PRIu64
			"\n",
			fw_refusal_cause_name((enum fw_refusal_cause)cause),
			stats.refused[cause]);
	}
	whole(out, "fwctl_conntrack_reaps_total", "counter",
	      "Walks over the connection table that freed expired entries.",
	      stats.reaps);
}

static void write_conntrack(FILE *out, const struct fw_daemon *daemon)
{
	struct fw_ctsize size;

	fw_ctsize_read(&size);
	whole(out, "fwctl_conntrack_entries", "gauge",
	      "Entries in the connection table of the network namespace.",
	      size.entries);
	whole(out, "fwctl_conntrack_entries_limit", "gauge",
	      "Most entries that the connection table takes.", size.limit);
	whole(out, "fwctl_conntrack_buckets", "gauge",
	      "Buckets of the connection table, of all namespaces together.",
	      size.buckets);
	if (daemon->fill)
		write_refused(out, daemon);
}

static uint64_t count_fds(void)
{
	struct dirent *entry;
	uint64_t n = 0;
	DIR *dir;

	dir = opendir("/proc/self/fd");
	if (!dir)
		return 0;
	for (entry = readdir(dir); entry; entry = readdir(dir))
		n += entry->d_name[0] != '.';
	(void)closedir(dir);
	return n ? n - 1 : 0; /* not the one that reads the directory */
}

/* Virtual and resident size in pages, which are the first two numbers. */
static void read_memory(uint64_t ret_pages[2])
{
	char line[128] = "";
	char *end = line;
	FILE *file;

	ret_pages[0] = 0;
	ret_pages[1] = 0;
	file = fopen("/proc/self/statm", "re");
	if (!file)
		return;
	if (fgets(line, sizeof(line), file)) {
		ret_pages[0] = strtoull(end, &end, 10);
		ret_pages[1] = strtoull(end, &end, 10);
	}
	(void)fclose(file);
}

static void write_process(FILE *out, const struct fw_daemon *daemon)
{
	uint64_t pages[2];
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	struct rlimit limit = { 0 };
	struct timespec cpu = { 0 };

	read_memory(pages);
	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
	(void)getrlimit(RLIMIT_NOFILE, &limit);
	one(out, "process_cpu_seconds_total", "counter",
	    "Total user and system CPU time spent in seconds.",
	    (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9);
	whole(out, "process_resident_memory_bytes", "gauge",
	      "Resident memory size in bytes.", pages[1] * page);
	whole(out, "process_virtual_memory_bytes", "gauge",
	      "Virtual memory size in bytes.", pages[0] * page);
	whole(out, "process_open_fds", "gauge",
	      "Number of open file descriptors.", count_fds());
	whole(out, "process_max_fds", "gauge",
	      "Maximum number of open file descriptors.", limit.rlim_cur);
	whole(out, "process_start_time_seconds", "gauge",
	      "Start time of the process since unix epoch in seconds.",
	      (uint64_t)daemon->started);
}

char *fw_exposition_metrics(const struct fw_daemon *daemon)
{
	char *text = NULL;
	bool is_broken;
	size_t size;
	FILE *out;

	out = open_memstream(&text, &size);
	if (!out)
		return NULL;
	head(out, "fwctl_build_info", "gauge",
	     "Constant 1, labelled with the version of fwctld.");
	(void)fprintf(out, "fwctl_build_info{version=\"%s\",abi=\"%d\"} 1\n",
		      FW_VERSION, FW_ABI_VERSION);
	write_ruleset(out, daemon);
	write_loads(out, daemon);
	write_conntrack(out, daemon);
	if (fw_daemon_program(daemon)) {
		write_ifaces(out, daemon);
		write_rules(out, daemon);
	}
	if (daemon->mirror)
		write_mirror(out, daemon);
	write_process(out, daemon);
	is_broken = ferror(out);
	if (fclose(out) != 0 || is_broken) {
		free(text);
		return NULL;
	}
	return text;
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
		if (ifaces[i].ifindex && ifaces[i].mode == FW_MODE_AUTO)
			return "a declared interface is not filtered";
	}
	fw_mirror_stats(daemon->mirror, &stats);
	return stats.in_sync ? NULL : "the flow table is not in sync";
}
