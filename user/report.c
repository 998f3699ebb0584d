/* SPDX-License-Identifier: GPL-2.0-only */

/* The subcommands status, show interfaces and show timeouts: one picture of the firewall. */
#include <string.h>
#include <time.h>

#include "user/client.h"
#include "user/json.h"
#include "user/table.h"
#include "user/util.h"

#define _cleanup_table_ __attribute__((cleanup(table_freep)))

static void table_freep(struct fw_table **table)
{
	fw_table_free(*table);
}

static void print_files(const json_t *rules)
{
	const json_t *files = json_object_get(rules, "files");
	size_t n = json_array_size(files);
	const char *name;

	name = json_string_value(json_array_get(files, 0));
	(void)printf("rules       %s", name ? name : "?");
	if (n > 1)
		(void)printf(" and %zu more files", n - 1);
	(void)printf(", generation %lld\n", fw_json_get(rules, "generation"));
}

static void print_since(const json_t *rules)
{
	time_t since = (time_t)fw_json_get(rules, "since_seconds");
	char text[64];
	struct tm tm;

	if (!localtime_r(&since, &tm) ||
	    !strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S %Z", &tm))
		return;
	(void)printf("since       %s\n", text);
}

/* The file of the rules says something else. */
static void print_replaced(const json_t *rules)
{
	const json_t *list = json_object_get(rules, "replaced_sets");
	const json_t *set;
	size_t i;

	json_array_foreach(list, i, set)
	{
		(void)printf(
			"replaced    set '%s' by %s, until the next load\n",
			fw_json_get_text(set, "set", "?"),
			fw_json_get_text(set, "file", "?"));
	}
}

static void print_rules(const json_t *rules)
{
	const json_t *defaults = json_object_get(rules, "defaults");
	long long n_rules = fw_json_get(rules, "rules");
	long long n_sets = fw_json_get(rules, "sets");

	print_files(rules);
	print_since(rules);
	(void)printf(
		"content     %lld rule%s, %lld set%s; default in %s, out %s, forward %s\n",
		n_rules, fw_plural(n_rules), n_sets, fw_plural(n_sets),
		fw_json_get_text(defaults, "in", "?"),
		fw_json_get_text(defaults, "out", "?"),
		fw_json_get_text(defaults, "forward", "?"));
	print_replaced(rules);
}

/* A table that fills up, and what it has refused. */
static void print_pressure(const json_t *conntrack)
{
	const json_t *refused = json_object_get(conntrack, "refused");
	const char *cause, *before = "\nrefused     new flows: ";
	json_t *value;

	if (json_is_true(json_object_get(conntrack, "pressure")))
		(void)printf(
			"\npressure    it fills up: unanswered flows live %lld s at most",
			fw_json_get(conntrack, "half_open_life"));
	json_object_foreach((json_t *)refused, cause, value)
	{
		if (!json_integer_value(value))
			continue;
		(void)printf("%s%s %lld", before, cause,
			     (long long)json_integer_value(value));
		before = ", ";
	}
}

/* What the flow table has missed, if that is why it is stale. */
static const char *why_stale(const json_t *mirror)
{
	static const char *const words[][2] = {
		{ "events",
		  "stale (events of conntrack were lost), being read again" },
		{ "records",
		  "stale (records of the programs were lost), being read again" },
		{ "dump", "stale (a dump was interrupted), being read again" },
		{ "memory", "stale (out of memory), being read again" },
	};
	const char *by = fw_json_get_text(mirror, "stale_by", "");

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcmp(words[i][0], by) == 0)
			return words[i][1];
	}
	return "stale, being read again";
}

static void print_tables(const json_t *result)
{
	const json_t *conntrack = json_object_get(result, "conntrack");
	const json_t *mirror = json_object_get(result, "mirror");
	long long entries = fw_json_get(conntrack, "entries");
	long long limit = fw_json_get(conntrack, "limit");

	(void)printf("conntrack   %lld of %lld entries", entries, limit);
	if (limit)
		(void)printf(" (%lld %%)", entries * 100 / limit);
	print_pressure(conntrack);
	(void)printf("\nflow table  %s, %lld flows\n",
		     json_is_true(json_object_get(mirror, "in_sync"))
			     ? "in sync"
			     : why_stale(mirror),
		     fw_json_get(mirror, "flows"));
}

/* IPsec, if there is any: does anybody see what its transport mode carries? */
static void print_transport(const json_t *result)
{
	const char *text = fw_json_get_text(result, "ipsec_transport", "");

	if (strcmp(text, "judged") == 0)
		(void)puts(
			"ipsec       packets out of transport-mode SAs are judged at netfilter's hooks");
	else if (strcmp(text, "unjudged") == 0)
		(void)puts(
			"ipsec       packets out of transport-mode SAs are not judged by rules");
}

static void print_daemon(const json_t *daemon)
{
	const char *metrics = fw_json_get_text(daemon, "metrics", NULL);
	const char *error = fw_json_get_text(daemon, "metrics_error", NULL);

	(void)printf("daemon      fwctld %s, process %lld\n",
		     fw_json_get_text(daemon, "version", "?"),
		     fw_json_get(daemon, "pid"));
	if (error) {
		(void)printf("metrics     off: %s\n", error);
	} else if (metrics) {
		(void)printf("metrics     http://%s/metrics\n", metrics);
	} else {
		(void)puts("metrics     off");
	}
	if (json_is_true(json_object_get(daemon, "last_load_failed")))
		(void)puts("last load   failed, the rules above go on");
}

/* Only if the rules ask for it: which interfaces do `what`, or why not. */
static void print_abilities(const json_t *list, const char *what,
			    const char *columns)
{
	_cleanup_table_ struct fw_table *table = NULL;
	const json_t *iface, *ability;
	size_t i;

	table = fw_table_new(columns);
	json_array_foreach(list, i, iface)
	{
		ability = json_object_get(iface, what);
		if (!json_is_object(ability))
			continue;
		fw_table_cell(table, "%s",
			      fw_json_get_text(iface, "name", "?"));
		fw_table_cell(table, "%s",
			      json_is_true(json_object_get(ability, "on"))
				      ? "yes"
				      : "no");
		fw_table_cell(table, "%s",
			      fw_json_get_text(ability, "why", ""));
	}
	if (!table || !fw_table_rows(table))
		return;
	(void)putchar('\n');
	fw_table_print(table, stdout);
}

static void print_interfaces(const json_t *list)
{
	_cleanup_table_ struct fw_table *table = NULL;
	const json_t *iface;
	size_t i;

	table = fw_table_new("INTERFACE|ZONE|>INDEX|MODE|RUNS|WHY");
	json_array_foreach(list, i, iface)
	{
		fw_table_cell(table, "%s",
			      fw_json_get_text(iface, "name", "?"));
		fw_table_cell(table, "%s",
			      fw_json_get_text(iface, "zone", "-"));
		fw_table_cell(table, "%lld", fw_json_get(iface, "ifindex"));
		fw_table_cell(table, "%s",
			      fw_json_get_text(iface, "wanted", "?"));
		fw_table_cell(table, "%s",
			      fw_json_get_text(iface, "runs", "?"));
		fw_table_cell(table, "%s", fw_json_get_text(iface, "why", ""));
	}
	if (!json_array_size(list))
		(void)puts("no interface is declared, nothing is filtered");
	fw_table_print(table, stdout);
	print_abilities(list, "offload", "INTERFACE|OFFLOAD|WHY");
	print_abilities(list, "steering", "INTERFACE|ESP STEERING|WHY");
}

static void hook_cells(struct fw_table *table, const json_t *hook)
{
	const json_t *accept = json_object_get(hook, "accept");
	const json_t *drop = json_object_get(hook, "drop");

	fw_table_cell(table, "%s", fw_json_get_text(hook, "hook", "?"));
	fw_table_cell(table, "%lld", fw_json_get(accept, "packets"));
	fw_table_cell(table, "%lld", fw_json_get(accept, "bytes"));
	fw_table_cell(table, "%lld", fw_json_get(drop, "packets"));
	fw_table_cell(table, "%lld", fw_json_get(drop, "bytes"));
}

static void print_hooks(const json_t *list)
{
	_cleanup_table_ struct fw_table *table = NULL;
	const json_t *hook;
	size_t i;

	table = fw_table_new("HOOK|>ACCEPTED|>BYTES|>DROPPED|>BYTES");
	json_array_foreach(list, i, hook) hook_cells(table, hook);
	(void)putchar('\n');
	fw_table_print(table, stdout);
}

/* Packets of one reason at one hook, over all interfaces. */
static long long sum_hook(const json_t *reason, const char *hook)
{
	const json_t *part;
	long long sum = 0;
	size_t i;

	json_array_foreach(
		json_object_get(reason, "by"), i,
		part) if (strcmp(fw_json_get_text(part, "hook", ""), hook) == 0)
		sum += fw_json_get(part, "packets");
	return sum;
}

static void print_reasons(const json_t *list, bool is_drop, bool all)
{
	_cleanup_table_ struct fw_table *table = NULL;
	const json_t *reason;
	size_t i;

	table = fw_table_new(
		is_drop ? "DROPPED BECAUSE|>XDP|>INGRESS|>EGRESS|>PACKETS|MEANING"
			: "PASSED BECAUSE|>XDP|>INGRESS|>EGRESS|>PACKETS|MEANING");
	if (!table)
		return;
	json_array_foreach(list, i, reason)
	{
		if (json_is_true(json_object_get(reason, "drop")) != is_drop ||
		    (!all && !fw_json_get(reason, "packets")))
			continue;
		fw_table_cell(table, "%s",
			      fw_json_get_text(reason, "reason", "?"));
		fw_table_cell(table, "%lld", sum_hook(reason, "xdp"));
		fw_table_cell(table, "%lld", sum_hook(reason, "ingress"));
		fw_table_cell(table, "%lld", sum_hook(reason, "egress"));
		fw_table_cell(table, "%lld", fw_json_get(reason, "packets"));
		fw_table_cell(table, "%s",
			      fw_json_get_text(reason, "text", ""));
	}
	(void)putchar('\n');
	if (fw_table_rows(table)) {
		fw_table_print(table, stdout);
	} else {
		(void)puts("nothing has been dropped");
	}
}

/* The result, or an exit status that has been explained to the user. */
static enum fw_exit get_status(struct fw_cli *cli, json_t **ret)
{
	const struct fw_call call = { .verb = "status",
				      .start = FW_START_IF_PINNED,
				      .silent = cli->json };
	enum fw_exit status;

	status = fw_client_call(cli, &call, ret);
	/* A program that reads JSON gets JSON, also if there is nothing to say. */
	if (status == FW_EXIT_NO_DAEMON && cli->json && *cli->paths.pin_dir &&
	    !fw_paths_pinned(&cli->paths))
		(void)puts("{\n  \"loaded\": false\n}");
	return status;
}

static enum fw_exit check_loaded(const json_t *result)
{
	const char *problem = fw_json_get_text(result, "problem", NULL);

	if (json_is_true(json_object_get(result, "loaded")))
		return FW_EXIT_OK;
	if (problem) {
		fw_complain("what is pinned cannot be adopted: %s", problem);
	} else {
		fw_complain("nothing is loaded");
	}
	return problem ? FW_EXIT_KERNEL : FW_EXIT_NO_DAEMON;
}

enum fw_exit fw_cmd_status(struct fw_cli *cli)
{
	_cleanup_json_ json_t *result = NULL;
	enum fw_exit status;

	status = get_status(cli, &result);
	if (status != FW_EXIT_OK)
		return status;
	status = check_loaded(result);
	if (cli->json) {
		(void)fw_print_json(result);
		return status;
	}
	if (status != FW_EXIT_OK)
		return status;
	print_rules(json_object_get(result, "rules"));
	print_tables(result);
	print_transport(result);
	print_daemon(json_object_get(result, "daemon"));
	(void)putchar('\n');
	print_interfaces(json_object_get(result, "interfaces"));
	print_hooks(json_object_get(result, "packets"));
	print_reasons(json_object_get(result, "reasons"), true, cli->all);
	if (cli->all)
		print_reasons(json_object_get(result, "reasons"), false, true);
	return FW_EXIT_OK;
}

static void print_iface_hooks(const json_t *list)
{
	_cleanup_table_ struct fw_table *table = NULL;
	const json_t *iface, *hook;
	size_t i, j;

	table = fw_table_new("INTERFACE|HOOK|>ACCEPTED|>BYTES|>DROPPED|>BYTES");
	json_array_foreach(list, i, iface){ json_array_foreach(
		json_object_get(iface, "hooks"), j, hook){ fw_table_cell(
		table, "%s", fw_json_get_text(iface, "name", "?"));
	hook_cells(table, hook);
}
}
(void)putchar('\n');
fw_table_print(table, stdout);
}

enum fw_exit fw_cmd_show_interfaces(struct fw_cli *cli)
{
	_cleanup_json_ json_t *result = NULL;
	const json_t *list;
	enum fw_exit status;

	status = get_status(cli, &result);
	if (status == FW_EXIT_OK)
		status = check_loaded(result);
	if (status != FW_EXIT_OK)
		return status;
	list = json_object_get(result, "interfaces");
	if (cli->json) {
		_cleanup_json_ json_t *out = NULL;

		out = json_pack("{s:O}", "interfaces", list);
		return fw_print_json(out);
	}
	print_interfaces(list);
	print_iface_hooks(list);
	return FW_EXIT_OK;
}

/* ---- timeouts ------------------------------------------------------------------ */

static void timeout_row(struct fw_table *table, const json_t *timeout)
{
	const char *from = fw_json_get_text(timeout, "from", "?");
	const char *file = fw_json_get_text(timeout, "file", NULL);
	char life[FW_DURATION_SIZE];

	fw_duration_text((uint32_t)fw_json_get(timeout, "seconds"), life);
	fw_table_cell(table, "%s", fw_json_get_text(timeout, "timeout", "?"));
	fw_table_cell(table, "%s", life);
	fw_table_cell(table, "%s", from);
	if (file) {
		fw_table_cell(table, "%s:%lld", file,
			      fw_json_get(timeout, "line"));
	} else {
		fw_table_cell(table, "%s",
			      fw_json_get_text(timeout, "sysctl", "-"));
	}
}

enum fw_exit fw_cmd_show_timeouts(struct fw_cli *cli)
{
	_cleanup_table_ struct fw_table *table = NULL;
	_cleanup_json_ json_t *result = NULL;
	const json_t *list, *timeout;
	enum fw_exit status;
	size_t i;

	status = get_status(cli, &result);
	if (status == FW_EXIT_OK)
		status = check_loaded(result);
	if (status != FW_EXIT_OK)
		return status;
	list = json_object_get(json_object_get(result, "rules"), "timeouts");
	if (cli->json) {
		_cleanup_json_ json_t *out = NULL;

		out = json_pack("{s:O}", "timeouts", list);
		return fw_print_json(out);
	}
	table = fw_table_new("TIMEOUT|>LIFE|FROM|PLACE");
	json_array_foreach(list, i, timeout) timeout_row(table, timeout);
	fw_table_print(table, stdout);
	return FW_EXIT_OK;
}
