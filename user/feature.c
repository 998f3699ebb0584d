/* SPDX-License-Identifier: GPL-2.0-only */

/* The table of what fwctl makes use of in a kernel, and how to ask for it. */
#include "user/feature.h"

#include <cap-ng.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "user/antispoof.h"
#include "user/attach.h"
#include "user/ctsize.h"
#include "user/modules.h"
#include "user/probe.h"
#include "user/util.h"

#define MODULE_BTF "/sys/kernel/btf/nf_conntrack"

int fw_kernel_init(struct fw_kernel *ret)
{
	ret->modules = NULL;
	ret->probe = fw_probe_new();
	if (ret->probe)
		ret->modules = fw_modules_new(ret->probe, NULL);
	return ret->modules ? 0 : -ENOMEM;
}

void fw_kernel_done(struct fw_kernel *kernel)
{
	fw_modules_free(kernel->modules);
	fw_probe_free(kernel->probe);
}

/* ---- answers ------------------------------------------------------------------ */

__attribute__((format(printf, 3, 4))) static void
put(struct fw_finding *ret, enum fw_answer answer, const char *format, ...)
{
	va_list args;

	ret->answer = answer;
	va_start(args, format);
	(void)vsnprintf(ret->detail, sizeof(ret->detail), format, args);
	va_end(args);
}

static enum fw_answer yes_if(bool is_so)
{
	return is_so ? FW_ANSWER_YES : FW_ANSWER_NO;
}

static enum fw_answer answer_of(enum fw_module_state state)
{
	if (fw_module_is_here(state))
		return FW_ANSWER_YES;
	if (state == FW_MODULE_LOADABLE)
		return FW_ANSWER_LOADABLE;
	return fw_module_is_lacking(state) ? FW_ANSWER_NO : FW_ANSWER_UNKNOWN;
}

static void ask_module(const struct fw_kernel *kernel, const char *name,
		       struct fw_finding *ret)
{
	enum fw_module_state state = fw_module_state(kernel->modules, name);

	put(ret, answer_of(state), "%s", fw_module_state_text(state));
	if (state == FW_MODULE_BLACKLISTED) {
		put(ret, FW_ANSWER_NO, "%s; modprobe %s loads it",
		    fw_module_state_text(state), name);
	}
}

/* What nf_conntrack brings cannot be seen before it is there. */
static bool is_conntrack_here(const struct fw_kernel *kernel,
			      struct fw_finding *ret)
{
	enum fw_module_state state;

	state = fw_module_state(kernel->modules, FW_MODULE_CONNTRACK);
	if (fw_module_is_here(state))
		return true;
	put(ret, FW_ANSWER_UNKNOWN, "unknown until nf_conntrack is loaded");
	return false;
}

/* ---- the kernel as a whole ------------------------------------------------------ */

static void ask_btf(const struct fw_kernel *kernel, struct fw_finding *ret)
{
	ret->answer = yes_if(fw_probe_has_btf(kernel->probe));
}

static void ask_conntrack(const struct fw_kernel *kernel,
			  struct fw_finding *ret)
{
	ask_module(kernel, FW_MODULE_CONNTRACK, ret);
}

static void ask_ctnetlink(const struct fw_kernel *kernel,
			  struct fw_finding *ret)
{
	ask_module(kernel, FW_MODULE_CTNETLINK, ret);
}

static void ask_module_btf(const struct fw_kernel *kernel,
			   struct fw_finding *ret)
{
	enum fw_module_state state;

	state = fw_module_state(kernel->modules, FW_MODULE_CONNTRACK);
	if (state == FW_MODULE_BUILTIN) {
		put(ret, FW_ANSWER_YES, "not needed, it is built in");
	} else if (is_conntrack_here(kernel, ret)) {
		ret->answer = yes_if(access(MODULE_BTF, F_OK) == 0);
	}
}

static void ask_kfuncs(const struct fw_kernel *kernel, struct fw_finding *ret)
{
	static const char *const names[] = {
		"bpf_xdp_ct_lookup",  "bpf_skb_ct_lookup",
		"bpf_skb_ct_alloc",   "bpf_ct_insert_entry",
		"bpf_ct_set_timeout", "bpf_ct_change_timeout",
		"bpf_ct_set_status",  "bpf_ct_change_status",
		"bpf_ct_release",
	};

	if (!is_conntrack_here(kernel, ret))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (fw_probe_has_func(kernel->probe, names[i]))
			continue;
		put(ret, FW_ANSWER_NO, "no %s", names[i]);
		return;
	}
	ret->answer = FW_ANSWER_YES;
}

static void ask_mark(const struct fw_kernel *kernel, struct fw_finding *ret)
{
	if (is_conntrack_here(kernel, ret)) {
		ret->answer = yes_if(fw_probe_has_func(
			kernel->probe, "_nf_conntrack_btf_struct_access"));
	}
}

static void ask_frags(const struct fw_kernel *kernel, struct fw_finding *ret)
{
	/* The helper came with the frags programs, which have no name in BTF. */
	ret->answer = yes_if(fw_probe_has_enum_value(
		kernel->probe, "BPF_FUNC_xdp_load_bytes"));
}

static void ask_loop(const struct fw_kernel *kernel, struct fw_finding *ret)
{
	ret->answer =
		yes_if(fw_probe_has_enum_value(kernel->probe, "BPF_FUNC_loop"));
}

static void ask_ringbuf(const struct fw_kernel *kernel, struct fw_finding *ret)
{
	ret->answer = yes_if(
		fw_probe_has_enum_value(kernel->probe, "BPF_MAP_TYPE_RINGBUF"));
}

/*
 * Others than root have none and cannot tell what root would have. The types of
 * a module are open to CAP_SYS_ADMIN alone.
 */
static void ask_caps(const struct fw_kernel *kernel, struct fw_finding *ret)
{
	bool is_module =
		fw_module_state(kernel->modules, FW_MODULE_CONNTRACK) !=
		FW_MODULE_BUILTIN;
	const struct {
		const char *name;
		unsigned int cap;
		bool is_needed;
	} caps[] = {
		{ "CAP_NET_ADMIN", CAP_NET_ADMIN, true },
		{ "CAP_BPF", CAP_BPF, true },
		{ "CAP_PERFMON", CAP_PERFMON, true },
		{ "CAP_SYS_ADMIN", CAP_SYS_ADMIN, is_module },
	};

	if (geteuid() != 0 || capng_get_caps_process() < 0) {
		put(ret, FW_ANSWER_UNKNOWN, "unknown: ask as root");
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(caps); i++) {
		if (!caps[i].is_needed ||
		    capng_have_capability(CAPNG_EFFECTIVE, caps[i].cap))
			continue;
		put(ret, FW_ANSWER_NO, "no %s", caps[i].name);
		return;
	}
	ret->answer = FW_ANSWER_YES;
}

static void ask_bpffs(const struct fw_kernel *kernel, struct fw_finding *ret)
{
	(void)kernel;
	ret->answer = yes_if(fw_probe_is_bpffs("/sys/fs/bpf"));
}

/* ---- TC ---------------------------------------------------------------------------- */

static bool has_tcx(const struct fw_kernel *kernel)
{
	/* Trying is the better question, but not everybody may. */
	return fw_attach_has_tcx() ||
	       (geteuid() != 0 &&
		fw_probe_has_kernel_func(kernel->probe, "tcx_link_attach"));
}

static void ask_tcx(const struct fw_kernel *kernel, struct fw_finding *ret)
{
	ret->answer = yes_if(has_tcx(kernel));
}

/* The kernel itself loads these two when a filter is made. */
static void ask_clsact(const struct fw_kernel *kernel, struct fw_finding *ret)
{
	static const char *const names[] = { FW_MODULE_CLSACT,
					     FW_MODULE_CLS_BPF };

	ret->answer = FW_ANSWER_YES;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		enum fw_module_state state =
			fw_module_state(kernel->modules, names[i]);

		if (fw_module_is_here(state))
			continue;
		put(ret, answer_of(state), "%s: %s", names[i],
		    fw_module_state_text(state));
		if (ret->answer == FW_ANSWER_NO)
			return;
	}
}

static void ask_tc(const struct fw_kernel *kernel, struct fw_finding *ret)
{
	struct fw_finding clsact = { 0 };

	if (has_tcx(kernel)) {
		put(ret, FW_ANSWER_YES, "by TCX links");
		return;
	}
	ask_clsact(kernel, &clsact);
	if (clsact.answer == FW_ANSWER_YES) {
		put(ret, FW_ANSWER_YES, "by clsact filters");
	} else {
		put(ret, clsact.answer, "no TCX; %.140s", clsact.detail);
	}
}

static struct fw_span find_interface(const struct fw_program *program)
{
	for (size_t i = 0; i < program->n_zones; i++) {
		if (program->zones[i].n)
			return program->zones[i].members[0].at;
	}
	return (struct fw_span){ 0 };
}

/* ---- what some rules may need -------------------------------------------------------- */

static void ask_opts(const struct fw_kernel *kernel, struct fw_finding *ret)
{
	bool has_zone = false;
	unsigned int size;

	if (!is_conntrack_here(kernel, ret))
		return;
	size = fw_probe_struct(kernel->probe, "bpf_ct_opts", "ct_zone_id",
			       &has_zone);
	if (size)
		put(ret, yes_if(has_zone), "%s (bpf_ct_opts of %u bytes)",
		    has_zone ? "yes" : "no", size);
}

static void ask_xfrm_xdp(const struct fw_kernel *kernel, struct fw_finding *ret)
{
	if (fw_probe_has_func(kernel->probe, "bpf_xdp_get_xfrm_state"))
		ret->answer = FW_ANSWER_YES;
	else
		put(ret, FW_ANSWER_NO, "needs Linux 6.8");
}

static struct fw_span find_esp(const struct fw_program *program)
{
	return program->esp_at;
}

static void ask_xfrm_skb(const struct fw_kernel *kernel, struct fw_finding *ret)
{
	ret->answer = yes_if(fw_probe_has_enum_value(
		kernel->probe, "BPF_FUNC_skb_get_xfrm_state"));
}

static void ask_cast(const struct fw_kernel *kernel, struct fw_finding *ret)
{
	ret->answer = yes_if(fw_probe_has_kernel_func(kernel->probe,
						      "bpf_cast_to_kern_ctx"));
}

static void ask_nf_prog(const struct fw_kernel *kernel, struct fw_finding *ret)
{
	if (fw_probe_has_kernel_func(kernel->probe, "bpf_nf_link_attach"))
		put(ret, FW_ANSWER_YES, "yes, used at LOCAL_IN and LOCAL_OUT");
}

static void ask_vlan(const struct fw_kernel *kernel, struct fw_finding *ret)
{
	ask_module(kernel, "8021q", ret);
}

static void ask_routes(const struct fw_kernel *kernel, struct fw_finding *ret)
{
	const char *path;
	int r = fw_antispoof_probe(&path);

	(void)kernel;
	if (r == 0)
		ret->answer = FW_ANSWER_YES;
	else if (geteuid() != 0)
		put(ret, FW_ANSWER_UNKNOWN, "unknown: ask as root");
	else
		put(ret, FW_ANSWER_NO, "%s is 0, and not to be set: %s", path,
		    strerror(-r));
}

static struct fw_span find_antispoof(const struct fw_program *program)
{
	return program->antispoof_at;
}

static void ask_nftables(const struct fw_kernel *kernel, struct fw_finding *ret)
{
	ask_module(kernel, FW_MODULE_NFTABLES, ret);
}

static struct fw_span find_ct_hooks(const struct fw_program *program)
{
	return program->ct_hooks_at;
}

/* ---- the connection table ------------------------------------------------------------- */

static void ask_hook_list(const struct fw_kernel *kernel,
			  struct fw_finding *ret)
{
	ask_module(kernel, "nfnetlink_hook", ret);
}

static void ask_hooks(const struct fw_kernel *kernel, struct fw_finding *ret)
{
	enum fw_module_state state;
	int r;

	state = fw_module_state(kernel->modules, FW_MODULE_CONNTRACK);
	if (state == FW_MODULE_LOADABLE || fw_module_is_lacking(state)) {
		put(ret, FW_ANSWER_NO, "inactive: nf_conntrack is not loaded");
		return;
	}
	/* The question itself would load the module. */
	state = fw_module_state(kernel->modules, "nfnetlink_hook");
	if (!fw_module_is_here(state)) {
		put(ret, FW_ANSWER_UNKNOWN, "unknown: nfnetlink_hook is %s",
		    fw_module_state_text(state));
		return;
	}
	r = fw_probe_conntrack_hooks();
	if (r < 0) {
		put(ret, FW_ANSWER_UNKNOWN, "unknown: %s", strerror(-r));
	} else {
		put(ret, yes_if(r > 0), "%s",
		    r ? "active: the kernel makes the entries"
		      : "inactive: fwctl makes the entries");
	}
}

/* So many that nobody has to wait for chains: a power of two, as the kernel likes. */
static uint64_t buckets_for(uint64_t entries)
{
	uint64_t n = 1024;

	while (n < entries && n < 1ull << 31)
		n *= 2;
	return n;
}

/*
 * A lookup costs 105 ns in a table with room, 900 ns with chains of four. Room is
 * short first for what is there now, then for what may come.
 */
static void judge_table(const struct fw_ctsize *size, struct fw_finding *ret)
{
	double now = (double)size->entries / (double)size->buckets;
	double full = (double)size->limit / (double)size->buckets;

	if (size->limit && size->entries * 4 >= size->limit * 3) {
		put(ret, FW_ANSWER_NO,
		    "%" PRIu64 " of %" PRIu64
		    " entries: raise nf_conntrack_max, and nf_conntrack_buckets with it",
		    size->entries, size->limit);
	} else if (now > 2) {
		put(ret, FW_ANSWER_NO,
		    "%" PRIu64 " entries, %.1f in each of %" PRIu64
		    " buckets: set nf_conntrack_buckets to %" PRIu64,
		    size->entries, now, size->buckets,
		    buckets_for(size->limit ? size->limit : size->entries));
	} else if (full > 2) {
		put(ret, FW_ANSWER_NO,
		    "%" PRIu64 " of %" PRIu64
		    " entries, when full %.1f in each of %" PRIu64
		    " buckets: set nf_conntrack_buckets to %" PRIu64,
		    size->entries, size->limit, full, size->buckets,
		    buckets_for(size->limit));
	} else {
		put(ret, FW_ANSWER_YES,
		    "%" PRIu64 " of %" PRIu64 " entries in %" PRIu64 " buckets",
		    size->entries, size->limit, size->buckets);
	}
}

static void ask_table(const struct fw_kernel *kernel, struct fw_finding *ret)
{
	struct fw_ctsize size;

	fw_ctsize_read(&size);
	if (size.buckets)
		judge_table(&size, ret);
	else if (is_conntrack_here(kernel, ret))
		ret->answer = FW_ANSWER_UNKNOWN;
}

/* ---- the table --------------------------------------------------------------------------- */

#define REQUIRED true
#define OPTIONAL false

const struct fw_feature fw_features[] = {
	{ "BTF of the kernel", "loading the programs",
	  "nothing can be loaded; CONFIG_DEBUG_INFO_BTF", REQUIRED, ask_btf,
	  NULL },
	{ "nf_conntrack", "state of flows", "nothing can be loaded", REQUIRED,
	  ask_conntrack, NULL },
	{ "BTF of modules", "finding the conntrack kfuncs in nf_conntrack",
	  "nothing can be loaded; CONFIG_DEBUG_INFO_BTF_MODULES", REQUIRED,
	  ask_module_btf, NULL },
	{ "conntrack kfuncs", "state of flows",
	  "nothing can be loaded; Linux 6.1 and later have them", REQUIRED,
	  ask_kfuncs, NULL },
	{ "conntrack mark for BPF", "telling which rules accepted a flow",
	  "nothing can be loaded; Linux 6.1 and later have it", REQUIRED,
	  ask_mark, NULL },
	{ "nf_conntrack_netlink",
	  "show flows, TCP states, marks of earlier rules",
	  "nothing can be loaded", REQUIRED, ask_ctnetlink, NULL },
	{ "xdp.frags", "XDP with an MTU above 3500", "nothing can be loaded",
	  REQUIRED, ask_frags, NULL },
	{ "bpf_loop", "walking rules and sets", "nothing can be loaded",
	  REQUIRED, ask_loop, NULL },
	{ "BPF ring buffer", "flow table and rule log", "nothing can be loaded",
	  REQUIRED, ask_ringbuf, NULL },
	{ "capabilities", "loading and attaching",
	  "be root, outside of an unprivileged container", REQUIRED, ask_caps,
	  NULL },
	{ "TC hooks", "judging packets at the interfaces",
	  "nothing can be attached", REQUIRED, ask_tc, find_interface },
	{ "TCX links", "TC programs that nobody removes by accident",
	  "clsact filters are used", OPTIONAL, ask_tcx, NULL },
	{ "clsact filters", "TC where there are no TCX links",
	  "TCX links are needed", OPTIONAL, ask_clsact, NULL },
	{ "bpf file system", "filtering without the daemon", "fwctld mounts it",
	  OPTIONAL, ask_bpffs, NULL },
	{ "VLAN devices", "interfaces of single VLANs",
	  "VLANs are filtered by their parent only", OPTIONAL, ask_vlan, NULL },
	{ "route lookups for any host", "antispoof", "no antispoof in rules",
	  OPTIONAL, ask_routes, find_antispoof },
	{ "conntrack zones for BPF", "separate tables of connections",
	  "one table for all interfaces", OPTIONAL, ask_opts, NULL },
	{ "bpf_cast_to_kern_ctx", "TC programs that read the skb directly",
	  "each packet costs TC two calls more", OPTIONAL, ask_cast, NULL },
	{ "bpf_skb_get_xfrm_state", "IPsec seen by TC", "no IPsec in rules",
	  OPTIONAL, ask_xfrm_skb, NULL },
	{ "bpf_xdp_get_xfrm_state", "option esp-unknown-spi and esp-steer",
	  "XDP does not know security associations", OPTIONAL, ask_xfrm_xdp,
	  find_esp },
	{ "BPF netfilter programs",
	  "rules for what IPsec in transport mode carries",
	  "packets out of transport-mode SAs are not judged by rules", OPTIONAL,
	  ask_nf_prog, NULL },
	{ "nf_tables", "option conntrack-hooks on",
	  "the kernel tracks only if somebody else makes it", OPTIONAL,
	  ask_nftables, find_ct_hooks },
	{ "list of netfilter hooks", "saying whether conntrack hooks run",
	  "doctor cannot tell; the programs find out by themselves", OPTIONAL,
	  ask_hook_list, NULL },
	{ "conntrack hooks", "NAT, helpers, other people's ct rules",
	  "nothing is missing", OPTIONAL, ask_hooks, NULL },
	{ "size of the connection table", "many flows",
	  "lookups get slow, new flows are refused; sysctl net.netfilter.*",
	  OPTIONAL, ask_table, NULL },
};
const size_t fw_n_features = ARRAY_SIZE(fw_features);

/* ---- what a program needs ------------------------------------------------------------------ */

static int refuse(const struct fw_feature *feature,
		  const struct fw_finding *finding, char **reterr)
{
	fw_errorf(reterr, "this kernel lacks %s, needed for %s%s%s",
		  feature->name, feature->needed_for,
		  finding->detail[0] ? ": " : "", finding->detail);
	return -EOPNOTSUPP;
}

static int check(const struct fw_kernel *kernel,
		 const struct fw_feature *feature,
		 const struct fw_program *program, struct fw_span *ret_at,
		 char **reterr)
{
	struct fw_finding finding = { 0 };
	struct fw_span at;

	if (!feature->find)
		return 0;
	at = feature->find(program);
	if (!at.len)
		return 0;
	feature->ask(kernel, &finding);
	if (finding.answer != FW_ANSWER_NO)
		return 0;
	*ret_at = at;
	return refuse(feature, &finding, reterr);
}

int fw_features_check(const struct fw_program *program, struct fw_span *ret_at,
		      char **reterr)
{
	struct fw_kernel kernel;
	int r;

	r = fw_kernel_init(&kernel);
	for (size_t i = 0; r == 0 && i < fw_n_features; i++)
		r = check(&kernel, &fw_features[i], program, ret_at, reterr);
	fw_kernel_done(&kernel);
	return r;
}
