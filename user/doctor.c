/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The subcommand doctor: what this kernel and these drivers can do. It looks and
 * changes nothing, so it loads no module either.
 */
#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/utsname.h>

#include "user/client.h"
#include "user/feature.h"
#include "user/iface.h"
#include "user/json.h"
#include "user/netdev.h"
#include "user/offloadwhy.h"
#include "user/probe.h"
#include "user/table.h"
#include "user/util.h"

/* ---- interfaces --------------------------------------------------------------------- */

/* What the device could, whatever the rules are. */
static json_t *device_offload(const struct fw_link *link)
{
	uint64_t features = 0;
	const char *why;
	int r;

	r = fw_netdev_query(link->ifindex, &features);
	if (r == 0)
		why = fw_offload_why_device(link, features);
	else
		why = r == -EOPNOTSUPP ? fw_offload_untold : strerror(-r);
	return json_pack("{s:b, s:s?}", "on", !why, "why", why);
}

/* `status` is what the daemon says of it; NULL: nothing. */
static json_t *iface_json(const char *name, const json_t *status)
{
	const char *runs = fw_json_get_text(status, "runs", NULL);
	json_t *offload = json_object_get(status, "offload");
	json_t *steering = json_object_get(status, "steering");
	unsigned int ifindex = if_nametoindex(name);
	struct fw_link link = { 0 };
	const char *would = "does not exist here";
	char driver[64] = "?";

	if (ifindex)
		(void)fw_probe_driver(name, driver, sizeof(driver));
	if (ifindex && fw_link_query(ifindex, &link) == 0)
		would = link.is_virtual ? "TC" : "native XDP + TC";
	if (json_is_object(offload))
		(void)json_incref(offload);
	else
		offload = link.ifindex ? device_offload(&link) : json_null();
	return json_pack("{s:o, s:s, s:I, s:s, s:o, s:o, s:O?}", "name",
			 fw_json_text(name), "driver", driver, "mtu",
			 (json_int_t)link.mtu, "auto", would, "runs",
			 runs ? fw_json_text(runs) : json_null(), "offload",
			 offload, "steering", steering);
}

/* The declared ones if rules run, else all there are. */
static json_t *ifaces_json(struct fw_cli *cli)
{
	const struct fw_call call = { .verb = "status",
				      .start = FW_START_NEVER,
				      .silent = true };
	_cleanup_json_ json_t *status = NULL;
	json_t *list = json_array();
	const json_t *declared, *item;
	struct if_nameindex *all;
	size_t i;

	if (geteuid() == 0 &&
	    fw_client_call(cli, &call, &status) == FW_EXIT_OK) {
		declared = json_object_get(status, "interfaces");
		json_array_foreach(declared, i, item)(void)
			json_array_append_new(
				list,
				iface_json(fw_json_get_text(item, "name", "?"),
					   item));
		if (json_array_size(list))
			return list;
	}
	all = if_nameindex();
	for (i = 0; all && all[i].if_index; i++) {
		(void)json_array_append_new(list,
					    iface_json(all[i].if_name, NULL));
	}
	if (all)
		if_freenameindex(all);
	return list;
}

/* ---- the answers --------------------------------------------------------------------- */

static const char *answer_name(enum fw_answer answer)
{
	static const char *const names[] = {
		[FW_ANSWER_NO] = "no",
		[FW_ANSWER_YES] = "yes",
		[FW_ANSWER_LOADABLE] = "loadable",
		[FW_ANSWER_UNKNOWN] = "unknown",
	};

	return names[answer];
}

static json_t *finding_json(const struct fw_feature *feature,
			    const struct fw_finding *finding)
{
	return json_pack(
		"{s:s, s:o, s:s, s:o, s:b, s:s, s:s}", "feature", feature->name,
		"here",
		finding->answer == FW_ANSWER_UNKNOWN
			? json_null()
			: json_boolean(finding->answer != FW_ANSWER_NO),
		"answer", answer_name(finding->answer), "detail",
		fw_json_text(finding->detail), "required", feature->is_required,
		"needed_for", feature->needed_for, "without", feature->without);
}

static json_t *features_json(bool *ret_is_ok)
{
	json_t *list = json_array();
	struct fw_kernel kernel;

	if (fw_kernel_init(&kernel) < 0) {
		fw_kernel_done(&kernel);
		json_decref(list);
		return NULL;
	}
	*ret_is_ok = true;
	for (size_t i = 0; i < fw_n_features; i++) {
		struct fw_finding finding = { 0 };

		fw_features[i].ask(&kernel, &finding);
		if (fw_features[i].is_required &&
		    finding.answer == FW_ANSWER_NO)
			*ret_is_ok = false;
		(void)json_array_append_new(
			list, finding_json(&fw_features[i], &finding));
	}
	fw_kernel_done(&kernel);
	return list;
}

static const char *answer_text(const json_t *feature)
{
	const char *detail = fw_json_get_text(feature, "detail", "");

	return *detail ? detail : fw_json_get_text(feature, "answer", "?");
}

static void print_features(const json_t *features)
{
	struct fw_table *table;
	const json_t *feature;
	size_t i;

	table = fw_table_new("FEATURE|THIS KERNEL|NEEDED FOR|WITHOUT IT");
	json_array_foreach(features, i, feature)
	{
		fw_table_cell(table, "%s",
			      fw_json_get_text(feature, "feature", "?"));
		fw_table_cell(table, "%s", answer_text(feature));
		fw_table_cell(table, "%s",
			      fw_json_get_text(feature, "needed_for", ""));
		fw_table_cell(table, "%s",
			      fw_json_get_text(feature, "without", ""));
	}
	fw_table_print(table, stdout);
	fw_table_free(table);
}

static void print_ifaces(const json_t *ifaces)
{
	const json_t *iface, *offload, *steering;
	struct fw_table *table;
	size_t i;

	table = fw_table_new(
		"INTERFACE|DRIVER|>MTU|MODE AUTO GIVES|RUNS NOW|OFFLOAD|ESP STEERING");
	json_array_foreach(ifaces, i, iface)
	{
		fw_table_cell(table, "%s",
			      fw_json_get_text(iface, "name", "?"));
		fw_table_cell(table, "%s",
			      fw_json_get_text(iface, "driver", "?"));
		fw_table_cell(table, "%lld", fw_json_get(iface, "mtu"));
		fw_table_cell(table, "%s",
			      fw_json_get_text(iface, "auto", "?"));
		fw_table_cell(table, "%s",
			      fw_json_get_text(iface, "runs", "-"));
		offload = json_object_get(iface, "offload");
		fw_table_cell(table, "%s",
			      fw_json_get_text(offload, "why", "possible"));
		steering = json_object_get(iface, "steering");
		fw_table_cell(table, "%s",
			      json_is_object(steering)
				      ? fw_json_get_text(steering, "why", "yes")
				      : "-");
	}
	fw_table_print(table, stdout);
	fw_table_free(table);
}

enum fw_exit fw_cmd_doctor(struct fw_cli *cli)
{
	_cleanup_json_ json_t *result = NULL;
	struct utsname name = { .release = "?" };
	json_t *features;
	bool is_ok = false;

	features = features_json(&is_ok);
	(void)uname(&name);
	result = json_pack("{s:b, s:o, s:o, s:o}", "ok", is_ok, "kernel",
			   fw_json_text(name.release), "features", features,
			   "interfaces", ifaces_json(cli));
	if (!result) {
		fw_complain("out of memory");
		return FW_EXIT_REQUEST;
	}
	if (cli->json) {
		(void)fw_print_json(result);
		return is_ok ? FW_EXIT_OK : FW_EXIT_KERNEL;
	}
	(void)printf("Linux %s\n\n", name.release);
	print_features(json_object_get(result, "features"));
	(void)putchar('\n');
	print_ifaces(json_object_get(result, "interfaces"));
	(void)puts(
		is_ok ? "\nfwctl can run here"
		      : "\nfwctl cannot run here: something required is missing");
	return is_ok ? FW_EXIT_OK : FW_EXIT_KERNEL;
}
