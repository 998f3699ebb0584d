/* SPDX-License-Identifier: GPL-2.0-only */

/* The subcommand doctor: what this kernel and these drivers can do. */
#include <cap-ng.h>
#include <inttypes.h>
#include <net/if.h>
#include <string.h>
#include <sys/utsname.h>

#include "user/client.h"
#include "user/iface.h"
#include "user/json.h"
#include "user/probe.h"
#include "user/table.h"
#include "user/util.h"

#define SYSCTL "/proc/sys/net/netfilter/nf_conntrack_"

enum answer {
	ANSWER_NO,
	ANSWER_YES,
	ANSWER_UNKNOWN,
};

struct finding {
	enum answer answer;
	char detail[128]; /* printed in place of yes and no, unless empty */
};

/* ---- the questions ----------------------------------------------------------------- */

static enum answer yes_if(bool is_so)
{
	return is_so ? ANSWER_YES : ANSWER_NO;
}

static void ask_kernel(const struct fw_probe *probe, struct finding *ret)
{
	unsigned long major, minor = 0;
	struct utsname name;
	char *end;

	(void)probe;
	ret->answer = ANSWER_UNKNOWN;
	if (uname(&name) < 0)
		return;
	(void)snprintf(ret->detail, sizeof(ret->detail), "%s", name.release);
	major = strtoul(name.release, &end, 10);
	if (*end == '.')
		minor = strtoul(end + 1, NULL, 10);
	ret->answer = yes_if(major > 6 || (major == 6 && minor >= 1));
}

static void ask_btf(const struct fw_probe *probe, struct finding *ret)
{
	ret->answer = yes_if(fw_probe_has_btf(probe));
}

static void ask_kfuncs(const struct fw_probe *probe, struct finding *ret)
{
	static const char *const names[] = {
		"bpf_xdp_ct_lookup",  "bpf_skb_ct_lookup",
		"bpf_skb_ct_alloc",   "bpf_ct_insert_entry",
		"bpf_ct_set_timeout", "bpf_ct_change_timeout",
		"bpf_ct_set_status",  "bpf_ct_change_status",
		"bpf_ct_release",
	};

	ret->answer = ANSWER_YES;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (fw_probe_has_func(probe, names[i]))
			continue;
		ret->answer = ANSWER_NO;
		(void)snprintf(ret->detail, sizeof(ret->detail),
			       "no %s; try: modprobe nf_conntrack", names[i]);
		return;
	}
}

static void ask_frags(const struct fw_probe *probe, struct finding *ret)
{
	/* The helper came with the frags programs, which have no name in BTF. */
	ret->answer = yes_if(
		fw_probe_has_enum_value(probe, "BPF_FUNC_xdp_load_bytes"));
}

static void ask_ringbuf(const struct fw_probe *probe, struct finding *ret)
{
	ret->answer =
		yes_if(fw_probe_has_enum_value(probe, "BPF_MAP_TYPE_RINGBUF"));
}

static void ask_caps(const struct fw_probe *probe, struct finding *ret)
{
	static const struct {
		unsigned int cap;
		const char *name;
	} caps[] = {
		{ CAP_NET_ADMIN, "CAP_NET_ADMIN" },
		{ CAP_BPF, "CAP_BPF" },
		{ CAP_PERFMON, "CAP_PERFMON" },
	};

	(void)probe;
	ret->answer = ANSWER_YES;
	for (size_t i = 0; i < ARRAY_SIZE(caps); i++) {
		if (capng_have_capability(CAPNG_EFFECTIVE, caps[i].cap))
			continue;
		ret->answer = ANSWER_NO;
		(void)snprintf(ret->detail, sizeof(ret->detail), "no %s",
			       caps[i].name);
		return;
	}
}

static void ask_bpffs(const struct fw_probe *probe, struct finding *ret)
{
	(void)probe;
	ret->answer = yes_if(fw_probe_is_bpffs("/sys/fs/bpf"));
}

static void ask_tcx(const struct fw_probe *probe, struct finding *ret)
{
	ret->answer = yes_if(fw_probe_has_enum_value(probe, "BPF_TCX_INGRESS"));
}

static void ask_xfrm(const struct fw_probe *probe, struct finding *ret)
{
	ret->answer =
		yes_if(fw_probe_has_func(probe, "bpf_xdp_get_xfrm_state"));
}

static void ask_hooks(const struct fw_probe *probe, struct finding *ret)
{
	int r = fw_probe_conntrack_hooks();

	(void)probe;
	ret->answer = r < 0 ? ANSWER_UNKNOWN : yes_if(r > 0);
	(void)snprintf(ret->detail, sizeof(ret->detail), "%s",
		       r < 0 ? "unknown: no CONFIG_NETFILTER_NETLINK_HOOK"
		       : r   ? "active: the kernel makes the entries"
			     : "inactive: fwctl makes the entries");
}

static void ask_table(const struct fw_probe *probe, struct finding *ret)
{
	uint64_t limit, buckets;

	(void)probe;
	ret->answer = ANSWER_UNKNOWN;
	if (fw_read_number(SYSCTL "max", &limit) < 0 ||
	    fw_read_number(SYSCTL "buckets", &buckets) < 0)
		return;
	/* More than four entries a bucket: lookups walk chains. */
	ret->answer = yes_if(limit <= 4 * buckets);
	(void)snprintf(ret->detail, sizeof(ret->detail),
		       "%" PRIu64 " entries in %" PRIu64 " buckets", limit,
		       buckets);
}

static const struct question {
	const char *feature;
	bool is_required;
	const char *needed_for;
	const char *without;
	void (*ask)(const struct fw_probe *probe, struct finding *ret);
} questions[] = {
	{ "Linux 6.1", true, "everything", "fwctl was never tried",
	  ask_kernel },
	{ "BTF of the kernel", true, "loading the programs",
	  "nothing can be loaded; CONFIG_DEBUG_INFO_BTF", ask_btf },
	{ "conntrack kfuncs", true, "state of flows", "nothing can be loaded",
	  ask_kfuncs },
	{ "xdp.frags", true, "XDP with an MTU above 3500",
	  "nothing can be loaded", ask_frags },
	{ "BPF ring buffer", true, "flow table and rule log",
	  "nothing can be loaded", ask_ringbuf },
	{ "capabilities", true, "loading and attaching",
	  "be root, outside of an unprivileged container", ask_caps },
	{ "bpf file system", false, "filtering without the daemon",
	  "fwctld mounts it", ask_bpffs },
	{ "TCX links", false, "TC programs that nobody removes by accident",
	  "clsact filters are used", ask_tcx },
	{ "bpf_xdp_get_xfrm_state", false, "IPsec seen by XDP",
	  "IPsec is left to TC", ask_xfrm },
	{ "conntrack hooks", false, "NAT, helpers, other people's ct rules",
	  "nothing is missing", ask_hooks },
	{ "size of the connection table", false, "many flows",
	  "lookups get slow; raise nf_conntrack_buckets", ask_table },
};

/* ---- interfaces --------------------------------------------------------------------- */

static json_t *iface_json(const char *name, const char *runs)
{
	unsigned int ifindex = if_nametoindex(name);
	struct fw_link link = { 0 };
	const char *would = "does not exist here";
	char driver[64] = "?";

	if (ifindex)
		(void)fw_probe_driver(name, driver, sizeof(driver));
	if (ifindex && fw_link_query(ifindex, &link) == 0)
		would = link.is_virtual ? "TC" : "native XDP + TC";
	return json_pack("{s:o, s:s, s:I, s:s, s:o}", "name",
			 fw_json_text(name), "driver", driver, "mtu",
			 (json_int_t)link.mtu, "auto", would, "runs",
			 runs ? fw_json_text(runs) : json_null());
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
				iface_json(
					fw_json_get_text(item, "name", "?"),
					fw_json_get_text(item, "runs", NULL)));
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

static json_t *finding_json(const struct question *question,
			    const struct finding *finding)
{
	return json_pack("{s:s, s:o, s:s, s:b, s:s, s:s}", "feature",
			 question->feature, "here",
			 finding->answer == ANSWER_UNKNOWN
				 ? json_null()
				 : json_boolean(finding->answer == ANSWER_YES),
			 "detail", finding->detail, "required",
			 question->is_required, "needed_for",
			 question->needed_for, "without", question->without);
}

static json_t *features_json(bool *ret_is_ok)
{
	struct fw_probe *probe = fw_probe_new();
	json_t *list = json_array();

	if (!probe || capng_get_caps_process() < 0) {
		fw_probe_free(probe);
		json_decref(list);
		return NULL;
	}
	*ret_is_ok = true;
	for (size_t i = 0; i < ARRAY_SIZE(questions); i++) {
		struct finding finding = { ANSWER_UNKNOWN, "" };

		questions[i].ask(probe, &finding);
		if (questions[i].is_required && finding.answer == ANSWER_NO)
			*ret_is_ok = false;
		(void)json_array_append_new(
			list, finding_json(&questions[i], &finding));
	}
	fw_probe_free(probe);
	return list;
}

static const char *answer_text(const json_t *feature)
{
	const char *detail = fw_json_get_text(feature, "detail", "");
	const json_t *here = json_object_get(feature, "here");

	if (*detail)
		return detail;
	if (json_is_null(here))
		return "unknown";
	return json_is_true(here) ? "yes" : "no";
}

static void print_features(const json_t *features)
{
	struct fw_table *table;
	const json_t *feature;
	size_t i;

	table = fw_table_new("FEATURE|HERE|NEEDED FOR|WITHOUT IT");
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
	struct fw_table *table;
	const json_t *iface;
	size_t i;

	table = fw_table_new("INTERFACE|DRIVER|>MTU|MODE AUTO GIVES|RUNS NOW");
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
	}
	fw_table_print(table, stdout);
	fw_table_free(table);
}

enum fw_exit fw_cmd_doctor(struct fw_cli *cli)
{
	_cleanup_json_ json_t *result = NULL;
	json_t *features;
	bool is_ok = false;

	features = features_json(&is_ok);
	result = json_pack("{s:b, s:o, s:o}", "ok", is_ok, "features", features,
			   "interfaces", ifaces_json(cli));
	if (!result) {
		fw_complain("out of memory");
		return FW_EXIT_REQUEST;
	}
	if (cli->json) {
		(void)fw_print_json(result);
		return is_ok ? FW_EXIT_OK : FW_EXIT_KERNEL;
	}
	print_features(json_object_get(result, "features"));
	(void)putchar('\n');
	print_ifaces(json_object_get(result, "interfaces"));
	(void)puts(
		is_ok ? "\nfwctl can run here"
		      : "\nfwctl cannot run here: something required is missing");
	return is_ok ? FW_EXIT_OK : FW_EXIT_KERNEL;
}
