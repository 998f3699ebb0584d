/* SPDX-License-Identifier: GPL-2.0-only */

/* The metrics that running rules have: interfaces, reasons, programs, rules, sets. */
#include <string.h>

#include "user/expoparts.h"
#include "user/offload.h"
#include "user/stats.h"
#include "user/util.h"

/* What the kernel says of an interface that may be covered. */
struct seen {
	const struct fw_apply_iface *iface;
	struct fw_hooks_found found;
};

/* ---- interfaces: programs ---------------------------------------------------- */

static void look(const struct fw_daemon *daemon,
		 const struct fw_apply_iface *iface, struct seen *ret)
{
	*ret = (struct seen){ .iface = iface, .found.xdp = FW_MODE_TC };
	if (iface->ifindex && iface->mode != FW_MODE_AUTO)
		fw_datapath_look(daemon->datapath, iface->ifindex, &ret->found);
}

static const char *xdp_word(enum fw_iface_mode mode)
{
	if (mode == FW_MODE_TC)
		return "none";
	return mode == FW_MODE_XDP ? "native" : "generic";
}

static void write_attached(struct fw_metric_out *out, const struct seen *seen,
			   size_t n)
{
	static const struct fw_metric metric = {
		"fwctl_program_attached", "gauge",
		"Whether programs filter on a declared interface, by the mode that runs."
	};

	fw_metric_begin(out, &metric);
	for (size_t i = 0; i < n; i++) {
		const struct fw_apply_iface *iface = seen[i].iface;
		const struct fw_hooks_found *found = &seen[i].found;
		const char *tc = iface->tcx ? "tcx" : "clsact";

		fw_metric_put(out, &metric,
			      FW_LABELS("interface", iface->name, "hook", "tc",
					"mode", found->has_tc ? tc : "none"),
			      found->has_tc);
		fw_metric_put(out, &metric,
			      FW_LABELS("interface", iface->name, "hook", "xdp",
					"mode", xdp_word(found->xdp)),
			      found->xdp != FW_MODE_TC);
	}
}

/* Is it meant to have XDP?  Where nothing is attached the rules alone can tell. */
static bool wants_xdp(const struct fw_apply_iface *iface)
{
	enum fw_iface_mode mode =
		iface->mode == FW_MODE_AUTO ? iface->wanted : iface->mode;

	return iface->ifindex &&
	       (mode == FW_MODE_XDP || mode == FW_MODE_XDP_GENERIC);
}

static void write_wanted(struct fw_metric_out *out, const struct seen *seen,
			 size_t n)
{
	static const struct fw_metric metric = {
		"fwctl_program_wanted", "gauge",
		"Whether programs should filter on a declared interface; 0 also while it does not exist."
	};

	fw_metric_begin(out, &metric);
	for (size_t i = 0; i < n; i++) {
		const struct fw_apply_iface *iface = seen[i].iface;

		fw_metric_put(out, &metric,
			      FW_LABELS("interface", iface->name, "hook", "tc"),
			      iface->ifindex != 0);
		fw_metric_put(
			out, &metric,
			FW_LABELS("interface", iface->name, "hook", "xdp"),
			wants_xdp(iface));
	}
}

/* Nothing, if the rules do not ask for it. */
static void write_offload(struct fw_metric_out *out,
			  const struct fw_daemon *daemon,
			  const struct fw_apply_iface *ifaces, size_t n)
{
	static const struct fw_metric metric = {
		"fwctl_interface_offload", "gauge",
		"Whether XDP forwards packets of accepted flows past the stack by a declared interface."
	};
	const struct fw_offload *offload = fw_apply_offload(daemon->apply);
	const struct fw_ifaces *links = fw_apply_links(daemon->apply);
	struct fw_offload_state state;
	bool has_begun = false;

	for (size_t i = 0; i < n; i++) {
		state = fw_offload_look(offload, links, &ifaces[i]);
		if (!state.is_wanted)
			break;
		if (!has_begun)
			fw_metric_begin(out, &metric);
		has_begun = true;
		fw_metric_put(out, &metric,
			      FW_LABELS("interface", ifaces[i].name),
			      state.is_on);
	}
}

static void write_programs(struct fw_metric_out *out,
			   const struct fw_daemon *daemon,
			   const struct fw_apply_iface *ifaces, size_t n)
{
	_cleanup_free_ struct seen *seen = NULL;

	seen = calloc(n, sizeof(*seen));
	if (!seen) {
		out->is_broken = true;
		return;
	}
	for (size_t i = 0; i < n; i++)
		look(daemon, &ifaces[i], &seen[i]);
	write_attached(out, seen, n);
	write_wanted(out, seen, n);
	write_offload(out, daemon, ifaces, n);
}

/* ---- interfaces: packets ------------------------------------------------------- */

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

static void write_verdict(struct fw_metric_out *out,
			  const struct fw_metric *metric,
			  const struct fw_stats *stats,
			  const struct fw_apply_iface *iface, bool is_bytes)
{
	static const char *const verdicts[] = { "accept", "drop" };

	for (int hook = 0; hook < FW_HOOK_MAX; hook++) {
		struct sums sums = sum_hook(stats, iface->slot, hook);

		for (size_t i = 0; i < ARRAY_SIZE(verdicts); i++) {
			fw_metric_put(
				out, metric,
				FW_LABELS("interface", iface->name, "hook",
					  fw_hook_name((enum fw_hook)hook),
					  "verdict", verdicts[i]),
				is_bytes ? sums.by[i].bytes
					 : sums.by[i].packets);
		}
	}
}

static void write_verdicts(struct fw_metric_out *out,
			   const struct fw_stats *stats,
			   const struct fw_apply_iface *ifaces, size_t n)
{
	static const struct fw_metric metrics[2] = {
		{ "fwctl_packets_total", "counter",
		  "Packets judged at a hook, by verdict." },
		{ "fwctl_bytes_total", "counter",
		  "Bytes judged at a hook, by verdict." },
	};

	for (size_t m = 0; m < ARRAY_SIZE(metrics); m++) {
		fw_metric_begin(out, &metrics[m]);
		for (size_t i = 0; i < n; i++)
			write_verdict(out, &metrics[m], stats, &ifaces[i],
				      m == 1);
	}
}

static void write_reason(struct fw_metric_out *out,
			 const struct fw_metric *metric,
			 const struct fw_stats *stats,
			 const struct fw_apply_iface *iface,
			 enum fw_reason reason)
{
	for (int hook = 0; hook < FW_HOOK_MAX; hook++) {
		fw_metric_put(out, metric,
			      FW_LABELS("interface", iface->name, "hook",
					fw_hook_name((enum fw_hook)hook),
					"reason", fw_reason_name(reason)),
			      stats->by[iface->slot][hook][reason].packets);
	}
}

/* The counters of those reasons that drop, or of those that do not. */
static void write_reasons(struct fw_metric_out *out,
			  const struct fw_metric *metric,
			  const struct fw_stats *stats,
			  const struct fw_apply_iface *iface, bool is_drop)
{
	for (int reason = 0; reason < FW_REASON_MAX; reason++) {
		if (reason != FW_REASON_NONE &&
		    fw_reason_is_drop((enum fw_reason)reason) == is_drop)
			write_reason(out, metric, stats, iface,
				     (enum fw_reason)reason);
	}
}

static void write_all_reasons(struct fw_metric_out *out,
			      const struct fw_stats *stats,
			      const struct fw_apply_iface *ifaces, size_t n)
{
	static const struct fw_metric metrics[2] = {
		{ "fwctl_passes_total", "counter",
		  "Packets passed, by reason." },
		{ "fwctl_drops_total", "counter",
		  "Packets dropped, by reason." },
	};

	for (size_t m = 0; m < ARRAY_SIZE(metrics); m++) {
		fw_metric_begin(out, &metrics[m]);
		for (size_t i = 0; i < n; i++)
			write_reasons(out, &metrics[m], stats, &ifaces[i],
				      m == 1);
	}
}

static void write_ifaces(struct fw_metric_out *out,
			 const struct fw_daemon *daemon)
{
	_cleanup_free_ struct fw_stats *stats = NULL;
	const struct fw_apply_iface *ifaces;
	size_t n;

	ifaces = fw_apply_ifaces(daemon->apply, &n);
	if (!n)
		return;
	stats = calloc(1, sizeof(*stats));
	if (!stats) {
		out->is_broken = true;
		return;
	}
	fw_stats_read(daemon->datapath, stats);
	write_programs(out, daemon, ifaces, n);
	write_verdicts(out, stats, ifaces, n);
	write_all_reasons(out, stats, ifaces, n);
}

/* ---- programs: what they cost ------------------------------------------------------ */

/* The kernel measures only while it is told to, which costs each packet. */
static bool is_measuring(void)
{
	uint64_t on = 0;

	return fw_read_number("/proc/sys/kernel/bpf_stats_enabled", &on) == 0 &&
	       on;
}

static void write_costs(struct fw_metric_out *out,
			const struct fw_daemon *daemon)
{
	static const struct fw_metric runs = {
		"fwctl_program_runs_total", "counter",
		"Runs of a program that were measured."
	};
	static const struct fw_metric seconds = {
		"fwctl_program_run_seconds_total", "counter",
		"Time that the measured runs of a program took."
	};
	struct fw_prog_stats stats[FW_HOOK_MAX] = { 0 };

	if (!is_measuring())
		return;
	for (int i = 0; i < FW_HOOK_MAX; i++) {
		if (fw_datapath_prog_stats(daemon->datapath, (enum fw_hook)i,
					   &stats[i]) < 0)
			return;
	}
	fw_metric_begin(out, &runs);
	for (int i = 0; i < FW_HOOK_MAX; i++)
		fw_metric_put(out, &runs,
			      FW_LABELS("hook", fw_hook_name((enum fw_hook)i)),
			      stats[i].runs);
	fw_metric_begin(out, &seconds);
	for (int i = 0; i < FW_HOOK_MAX; i++)
		fw_metric_put_real(
			out, &seconds,
			FW_LABELS("hook", fw_hook_name((enum fw_hook)i)),
			(double)stats[i].run_ns / 1e9);
}

/* ---- rules ------------------------------------------------------------------------ */

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

static void write_rule_metric(struct fw_metric_out *out,
			      const struct rule_value *values, size_t n,
			      const struct fw_metric *metric, size_t offset)
{
	uint64_t value;

	fw_metric_begin(out, metric);
	for (size_t i = 0; i < n; i++) {
		memcpy(&value, (const char *)&values[i].counter + offset,
		       sizeof(value));
		fw_metric_put(out, metric, FW_LABELS("rule", values[i].label),
			      value);
	}
}

static void write_rules(struct fw_metric_out *out,
			const struct fw_daemon *daemon)
{
	static const struct fw_metric packets = {
		"fwctl_rule_packets_total", "counter",
		"Packets that a rule itself decided."
	};
	static const struct fw_metric bytes = {
		"fwctl_rule_bytes_total", "counter",
		"Bytes of packets that a rule itself decided."
	};
	static const struct fw_metric flows = { "fwctl_rule_flows_total",
						"counter",
						"Flows that a rule opened." };
	const struct fw_program *program = fw_daemon_program(daemon);
	_cleanup_free_ struct rule_value *values = NULL;
	_cleanup_free_ uint8_t *seen = NULL;
	size_t n;

	values = calloc(program->n_rules + FW_DIR_MAX, sizeof(*values));
	seen = calloc(FW_MAX_SLOTS, 1);
	if (!values || !seen) {
		out->is_broken = true;
		return;
	}
	n = read_rules(daemon, values, seen);
	if (!n)
		return;
	write_rule_metric(out, values, n, &packets,
			  offsetof(struct fw_rule_counter, packets));
	write_rule_metric(out, values, n, &bytes,
			  offsetof(struct fw_rule_counter, bytes));
	write_rule_metric(out, values, n, &flows,
			  offsetof(struct fw_rule_counter, flows));
}

/* How much there is room for; what does not fit is refused when it is loaded. */
static void write_room(struct fw_metric_out *out,
		       const struct fw_daemon *daemon)
{
	static const struct fw_metric rules_limit = {
		"fwctl_ruleset_rules_limit", "gauge", "Most rules that can run."
	};
	static const struct fw_metric image = {
		"fwctl_ruleset_image_bytes", "gauge",
		"Room for compiled rules in the running programs; it grows with the rules."
	};
	static const struct fw_metric image_limit = {
		"fwctl_ruleset_image_limit_bytes", "gauge",
		"Most room that compiled rules can have."
	};
	static const struct fw_metric counters = {
		"fwctl_rule_counters", "gauge",
		"Rule counters in the running programs; they grow with the rules."
	};
	static const struct fw_metric counters_limit = {
		"fwctl_rule_counters_limit", "gauge",
		"Most rule counters that there can be."
	};
	const struct fw_datapath_size size = fw_datapath_size(daemon->datapath);

	fw_metric_one(out, &rules_limit, FW_MAX_RULES);
	fw_metric_one(out, &image, size.image);
	fw_metric_one(out, &image_limit, FW_IMAGE_MAX);
	fw_metric_one(out, &counters, size.slots);
	fw_metric_one(out, &counters_limit, FW_MAX_SLOTS);
}

static void write_sets(struct fw_metric_out *out,
		       const struct fw_program *program)
{
	static const struct fw_metric metric = {
		"fwctl_set_entries", "gauge",
		"Ranges in a named set, by what they are of, after merging."
	};

	if (!program->n_named_sets)
		return;
	fw_metric_begin(out, &metric);
	for (size_t i = 0; i < program->n_named_sets; i++) {
		const struct fw_named_set *set = &program->named_sets[i];

		fw_metric_put(out, &metric,
			      FW_LABELS("set", set->name, "kind", "ipv4"),
			      set->v4);
		fw_metric_put(out, &metric,
			      FW_LABELS("set", set->name, "kind", "ipv6"),
			      set->v6);
		fw_metric_put(out, &metric,
			      FW_LABELS("set", set->name, "kind", "ports"),
			      set->ports);
	}
}

void fw_expo_rules(struct fw_metric_out *out, const struct fw_daemon *daemon)
{
	write_room(out, daemon);
	write_ifaces(out, daemon);
	write_costs(out, daemon);
	write_rules(out, daemon);
	write_sets(out, fw_daemon_program(daemon));
}
