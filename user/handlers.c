/* SPDX-License-Identifier: GPL-2.0-only */

/* The verbs that change something: load and unload. */
#include <errno.h>
#include <string.h>

#include "user/antispoof.h"
#include "user/bpffs.h"
#include "user/compilation.h"
#include "user/cthooks.h"
#include "user/daemon.h"
#include "user/feature.h"
#include "user/heap.h"
#include "user/log.h"
#include "user/messages.h"
#include "user/mounts.h"
#include "user/offload.h"
#include "user/refusal.h"
#include "user/rulesets.h"
#include "user/slots.h"
#include "user/steer.h"
#include "user/topserve.h"
#include "user/transport.h"
#include "user/util.h"

const struct fw_verb fw_daemon_verbs[] = {
	{ "load", fw_handle_load },
	{ "unload", fw_handle_unload },
	{ "status", fw_handle_status },
	{ "rules", fw_handle_rules },
	{ "flows", fw_handle_flows },
	{ "flows-kill", fw_handle_flows_kill },
	{ "monitor", fw_handle_monitor },
	{ "explain", fw_handle_explain },
	{ "rule-counts", fw_handle_rule_counts },
	{ "top-flows", fw_handle_top_flows },
	{ "capture", fw_handle_capture },
	{ "sets", fw_handle_sets },
	{ "ipsec", fw_handle_ipsec },
	{ "set-replace", fw_handle_set_replace },
};
const size_t fw_daemon_n_verbs = ARRAY_SIZE(fw_daemon_verbs);

/* ---- load ------------------------------------------------------------------ */

/* A load on its way. */
struct loading {
	struct fw_daemon *daemon;
	struct fw_request *request;
	struct fw_compilation *compilation;
	char *error; /* of the kernel, or NULL */
	uint64_t start_ns;
};

static void loading_done(struct loading *loading)
{
	if (loading->daemon->datapath)
		fw_datapath_expect_nothing(loading->daemon->datapath);
	if (loading->daemon->apply)
		fw_apply_expect_nothing(loading->daemon->apply);
	fw_compilation_free(loading->compilation);
	free(loading->error);
}

/*
 * An image holds the texts, and what they are compiled to needs half as much to
 * nearly as much (IPv4, IPv6), for which there is room; each rule has a counter, and
 * so has each default; flows are remembered for offload, which has to be named. If it turns out to be more, programs are loaded once
 * more; if less, a little memory is wasted.
 */
static int open_datapath(struct loading *loading)
{
	size_t bytes = fw_compilation_bytes(loading->compilation);
	size_t labels = fw_compilation_rules(loading->compilation) + FW_DIR_MAX;
	bool may_offload =
		fw_compilation_has_word(loading->compilation, "offload");
	const struct fw_datapath_size size = {
		.image = fw_rulesets_size(bytes + bytes / 2),
		.slots = fw_slots_size(labels),
		.flows = may_offload ? fw_offload_flows()
				     : fw_offload_verdicts(),
	};
	const struct fw_datapath_size least = {
		.image = (uint32_t)(bytes + bytes / 2),
		.slots = size.slots,
		.flows = size.flows,
	};
	struct fw_daemon *daemon = loading->daemon;

	if (daemon->datapath) {
		fw_datapath_expect(daemon->datapath, &least, &size);
		return 0;
	}
	return fw_daemon_open(daemon, &size, &loading->error);
}

/* What needs no rules, but time. */
static int prepare(struct loading *loading)
{
	struct fw_daemon *daemon = loading->daemon;
	int r;

	r = open_datapath(loading);
	if (r == 0)
		fw_apply_expect(daemon->apply);
	return r;
}

/* Never leave programs behind that have no rules. */
static void give_up(struct fw_daemon *daemon)
{
	if (daemon->datapath && !fw_daemon_program(daemon) &&
	    !fw_datapath_adopted(daemon->datapath))
		(void)fw_daemon_remove(daemon, NULL);
}

/*
 * What the kernel refuses has a place in the rules as often as what the
 * compiler refuses; the client shows both in the same way.
 */
static void refuse(const struct loading *loading, enum fw_exit status,
		   const struct fw_program *program, struct fw_span at,
		   const char *reason)
{
	__attribute__((cleanup(fw_diag_done))) struct fw_diag diag = { 0 };
	_cleanup_free_ char *text = NULL;

	if (!at.len || fw_program_error(program, at, &diag, reason) < 0) {
		log_error("load failed: %s", reason);
		fw_reply_error(loading->request, status, "%s", reason);
		return;
	}
	text = fw_first_error(&diag);
	log_error("load failed: %s", text ? text : reason);
	fw_refuse_texts(loading->request, status, &diag);
}

static json_t *load_result(const struct fw_daemon *daemon,
			   const struct fw_diag *warnings)
{
	const struct fw_program *program = fw_apply_program(daemon->apply);
	const struct fw_apply_iface *ifaces;
	_cleanup_json_ json_t *idle = NULL;
	size_t n;

	idle = json_array();
	ifaces = fw_apply_ifaces(daemon->apply, &n);
	for (size_t i = 0; idle && i < n; i++) {
		const struct fw_apply_iface *iface = &ifaces[i];

		if (iface->mode == FW_MODE_AUTO) {
			(void)json_array_append_new(
				idle,
				json_pack("{s:o, s:o}", "name",
					  fw_json_text(iface->name), "error",
					  fw_json_text(iface->error
							       ? iface->error
							       : "?")));
		}
	}
	return json_pack("{s:I, s:I, s:I, s:O, s:o}", "rules",
			 (json_int_t)program->n_rules, "sets",
			 (json_int_t)program->n_named_sets, "generation",
			 (json_int_t)fw_apply_gen(daemon->apply), "not_covered",
			 idle, "messages", fw_messages_pack(warnings));
}

/* Before the rules run, which may be refused for it; nothing else depends on it. */
static int hold_hooks(struct loading *loading, const struct fw_program *program,
		      struct fw_span *ret_at)
{
	int r;

	if (!(program->options & FW_OPT_CT_HOOKS))
		return 0;
	*ret_at = program->ct_hooks_at;
	loading->daemon->may_hold_hooks = true;
	r = fw_cthooks_set(true, &loading->error);
	return r < 0 ? r : 0;
}

/* The rules are right: into the kernel with them. */
static int put_in_force(struct loading *loading, struct fw_program *program,
			int r_open)
{
	struct fw_apply *apply = loading->daemon->apply;
	struct fw_span at = { 0 };
	int r = r_open;

	if (r == 0)
		r = fw_features_check(program, &at, &loading->error);
	if (r == 0)
		r = fw_steer_check(program, &at, &loading->error);
	if (r == 0)
		r = fw_antispoof_prepare(program, &at, &loading->error);
	if (r == 0)
		r = hold_hooks(loading, program, &at);
	if (r == 0)
		r = fw_apply_load(apply, program, &at, &loading->error);
	/* What runs now says whether they are held. */
	(void)fw_daemon_follow_option(loading->daemon);
	fw_transport_follow(loading->daemon->transport);
	fw_steer_follow(loading->daemon->steer);
	if (r < 0) {
		refuse(loading, r == -E2BIG ? FW_EXIT_REQUEST : FW_EXIT_KERNEL,
		       program, at,
		       loading->error ? loading->error : strerror(-r));
	}
	return r;
}

static void refuse_rules(struct loading *loading, int r)
{
	if (r == -EINVAL) {
		fw_refuse_texts(loading->request, FW_EXIT_REQUEST,
				fw_compilation_end(loading->compilation));
	} else {
		fw_reply_error(loading->request, FW_EXIT_REQUEST,
			       "cannot compile: %s", strerror(-r));
	}
}

static void warn(const struct fw_daemon *daemon, const char *what,
		 const struct fw_apply_iface *iface, const char *why,
		 struct fw_diag *warnings)
{
	_cleanup_free_ char *text = NULL;

	fw_errorf(&text, "%s on '%s': %s", what, iface->name, why);
	if (!text)
		return;
	log_warning("%s", text);
	(void)fw_program_warning(fw_apply_program(daemon->apply), iface->at,
				 warnings, text);
}

/* What the rules ask for and interfaces cannot do; of TCP once is enough. */
static void warn_of_offload(const struct fw_daemon *daemon,
			    struct fw_diag *warnings)
{
	const struct fw_apply_iface *ifaces;
	struct fw_offload_state state;
	const char *why_tcp = NULL;
	bool has_asked = false;
	size_t n;

	ifaces = fw_apply_ifaces(daemon->apply, &n);
	for (size_t i = 0; i < n; i++) {
		state = fw_offload_look(fw_apply_offload(daemon->apply),
					fw_apply_links(daemon->apply),
					&ifaces[i]);
		if (!state.is_wanted)
			return;
		if (state.is_on && !has_asked) {
			why_tcp =
				fw_offload_look_tcp(fw_daemon_program(daemon));
			has_asked = true;
		}
		if (!state.is_on)
			warn(daemon, "offload", &ifaces[i], state.why,
			     warnings);
		else if (why_tcp)
			warn(daemon, "offload", &ifaces[i], take_ptr(why_tcp),
			     warnings);
	}
}

/* Where there is no XDP nobody expects it, unless that is so everywhere. */
static void warn_of_steering(const struct fw_daemon *daemon,
			     struct fw_diag *warnings)
{
	const struct fw_program *program = fw_apply_program(daemon->apply);
	const struct fw_apply_iface *ifaces;
	bool is_somewhere = false;
	const char *why;
	size_t n;

	if (!(program->options & FW_OPT_ESP_STEER))
		return;
	ifaces = fw_apply_ifaces(daemon->apply, &n);
	for (size_t i = 0; i < n; i++) {
		why = fw_steer_look(fw_apply_links(daemon->apply), &ifaces[i]);
		if (why && ifaces[i].mode != FW_MODE_TC &&
		    ifaces[i].mode != FW_MODE_AUTO)
			warn(daemon, "esp-steer", &ifaces[i], why, warnings);
		is_somewhere |= !why;
	}
	if (is_somewhere)
		return;
	log_warning("no interface steers IPsec, as option esp-steer asks for");
	(void)fw_program_warning(program, program->steer_at, warnings,
				 "no interface steers: it needs mode xdp");
}

/* Where the kernel is not asked for SPIs: with `mode tc` by intention, unless everywhere. */
static void warn_of_unknown_spis(const struct fw_daemon *daemon,
				 struct fw_diag *warnings)
{
	const struct fw_program *program = fw_apply_program(daemon->apply);
	const struct fw_apply_iface *ifaces;
	bool is_somewhere = false;
	size_t n;

	if (!(program->options & (FW_OPT_ESP_LOG | FW_OPT_ESP_DROP)))
		return;
	ifaces = fw_apply_ifaces(daemon->apply, &n);
	for (size_t i = 0; i < n; i++) {
		if (ifaces[i].mode == FW_MODE_TC &&
		    ifaces[i].wanted != FW_MODE_TC)
			warn(daemon, "esp-unknown-spi", &ifaces[i],
			     "XDP does not run there", warnings);
		is_somewhere |= ifaces[i].mode != FW_MODE_TC &&
				ifaces[i].mode != FW_MODE_AUTO;
	}
	if (is_somewhere)
		return;
	log_warning(
		"no interface looks for unknown SPIs, as option esp-unknown-spi asks for");
	(void)fw_program_warning(
		program, program->esp_at, warnings,
		"no interface looks for unknown SPIs: it needs mode xdp");
}

/* The rules run; the client hears of it when there are no more warnings to find. */
static void welcome(struct loading *loading)
{
	struct fw_compilation *compilation = loading->compilation;
	struct fw_daemon *daemon = loading->daemon;
	struct fw_image_cost cost = fw_apply_cost(daemon->apply);
	struct fw_diag *warnings = fw_compilation_end(compilation);

	/* It is theirs who have put it in force. */
	(void)fw_compilation_take(compilation);
	(void)fw_image_warn(&cost, fw_apply_program(daemon->apply), warnings);
	warn_of_offload(daemon, warnings);
	warn_of_steering(daemon, warnings);
	warn_of_unknown_spis(daemon, warnings);
	fw_reply(loading->request, load_result(daemon, warnings));
	fw_reply_flush(loading->request);
}

/* 0 if the rules are in force; the request has been answered anyway. */
static int load(struct loading *loading, const json_t *args)
{
	struct fw_program *program;
	int r, r_open = 0;

	r = fw_compilation_begin(loading->request, args, &loading->compilation);
	if (r < 0) {
		fw_reply_error(loading->request, FW_EXIT_REQUEST,
			       "load: texts are missing or malformed");
		return r;
	}
	/* Much text takes its time; of little an error is found sooner. */
	if (fw_compilation_bytes(loading->compilation) >= FW_PROTO_MUCH_TEXT)
		r_open = prepare(loading);
	r = fw_compilation_wait(loading->compilation, &program);
	if (r < 0) {
		refuse_rules(loading, r);
		return r;
	}
	if (r_open == 0 && !loading->daemon->datapath)
		r_open = open_datapath(loading);
	r = put_in_force(loading, program, r_open);
	if (r < 0)
		return r;
	loading->daemon->last_load_ns = fw_now_ns() - loading->start_ns;
	welcome(loading);
	return 0;
}

static void handle_load(struct fw_daemon *daemon, struct fw_request *request,
			const json_t *args)
{
	struct loading loading = { .daemon = daemon,
				   .request = request,
				   .start_ns = fw_now_ns() };
	int r;

	/* refused to a process with threads, so not when programs are opened */
	if (!daemon->datapath && fw_bpffs_is_below(daemon->paths.pin_dir))
		fw_mounts_join_outer();
	r = load(&loading, args);
	loading_done(&loading);
	daemon->last_load_failed = r < 0;
	if (r < 0) {
		daemon->failed_loads++;
		give_up(daemon);
		return;
	}
	daemon->loads++;
	daemon->last_load_time = time(NULL);
	log_info("loaded '%s', generation %u",
		 fw_apply_program(daemon->apply)->texts[0].name,
		 fw_apply_gen(daemon->apply));
}

void fw_handle_load(void *data, struct fw_request *request, const json_t *args)
{
	fw_heap_begin();
	handle_load(data, request, args);
	fw_heap_end();
}

/* ---- unload ----------------------------------------------------------------- */

/* Pins that cannot be adopted, and what nobody knows of them. */
static int purge(struct fw_daemon *daemon, char **reterr)
{
	daemon->may_hold_hooks = true;
	(void)fw_daemon_follow_option(daemon);
	return fw_datapath_purge(daemon->paths.pin_dir, reterr);
}

void fw_handle_unload(void *data, struct fw_request *request,
		      const json_t *args)
{
	struct fw_daemon *daemon = data;
	_cleanup_free_ char *error = NULL;
	bool was_loaded;
	int r;

	(void)args;
	was_loaded = fw_datapath_exists(daemon->paths.pin_dir);
	if (was_loaded && !daemon->datapath) {
		r = fw_daemon_open(daemon, &fw_datapath_smallest, &error);
		if (r < 0) /* pins that nobody can adopt, but one can remove */
			r = purge(daemon, &error);
		if (r < 0) {
			fw_reply_error(request, FW_EXIT_KERNEL, "%s",
				       error ? error : strerror(-r));
			return;
		}
	}
	if (daemon->datapath) {
		r = fw_daemon_remove(daemon, &error);
		if (r < 0) {
			log_error("unload: %s", error ? error : strerror(-r));
			fw_reply_error(request, FW_EXIT_KERNEL, "%s",
				       error ? error : strerror(-r));
			return;
		}
		log_info("unloaded");
	}
	/* Before the reply: the next fwctl must not meet a daemon that ends. */
	if (daemon->exit_on_unload)
		fw_control_finish(daemon->control);
	fw_reply(request, json_pack("{s:b}", "was_loaded", was_loaded));
}
