/* SPDX-License-Identifier: GPL-2.0-only */

/* The verbs that change something: load and unload. */
#include <errno.h>
#include <malloc.h>
#include <string.h>

#include "user/bpffs.h"
#include "user/compilation.h"
#include "user/daemon.h"
#include "user/feature.h"
#include "user/log.h"
#include "user/mounts.h"
#include "user/rulesets.h"
#include "user/slots.h"
#include "user/util.h"

const struct fw_verb fw_daemon_verbs[] = {
	{ "prepare", fw_handle_prepare },
	{ "load", fw_handle_load },
	{ "unload", fw_handle_unload },
	{ "status", fw_handle_status },
	{ "rules", fw_handle_rules },
	{ "flows", fw_handle_flows },
	{ "sets", fw_handle_sets },
	{ "set-replace", fw_handle_set_replace },
};
const size_t fw_daemon_n_verbs = ARRAY_SIZE(fw_daemon_verbs);

/* ---- compiling ------------------------------------------------------------- */

static void reply_diag(struct fw_request *request, const struct fw_diag *diag)
{
	for (size_t i = 0; i < diag->n; i++) {
		const struct fw_message *message = &diag->messages[i];

		if (message->severity != FW_SEVERITY_ERROR)
			continue;
		fw_reply_error(request, FW_EXIT_REQUEST,
			       "%s:%u:%u: error: %s (%zu errors)",
			       message->file, message->line, message->column,
			       message->text, diag->errors);
		return;
	}
	fw_reply_error(request, FW_EXIT_REQUEST, "the rules do not compile");
}

static int end_compilation(struct fw_compilation *compilation,
			   struct fw_request *request, struct fw_program **ret)
{
	__attribute__((cleanup(fw_diag_done))) struct fw_diag diag = { 0 };
	int r;

	r = fw_compilation_end(compilation, &diag, ret);
	if (r == -EINVAL) {
		reply_diag(request, &diag);
	} else if (r < 0) {
		fw_reply_error(request, FW_EXIT_REQUEST, "cannot compile: %s",
			       strerror(-r));
	}
	return r;
}

/* ---- load ------------------------------------------------------------------ */

/* A load on its way. */
struct loading {
	struct fw_daemon *daemon;
	struct fw_compilation *compilation;
	struct fw_program *program;
	struct fw_span at; /* of the error, if it has a place */
	char *error;
	int r_open; /* how opening the datapath went */
	uint64_t start_ns;
};

static void loading_free(struct loading *loading)
{
	if (!loading)
		return;
	fw_compilation_free(loading->compilation);
	fw_program_free(loading->program);
	free(loading->error);
	free(loading);
}

static void loading_freep(struct loading **loading)
{
	loading_free(*loading);
}

/*
 * An image holds the texts, and what they are compiled to needs about half as
 * much; each rule has a counter, and so has each default. If it turns out to be
 * more, programs are loaded once more; if less, a little memory is wasted.
 */
static void open_datapath(struct loading *loading)
{
	size_t bytes = fw_compilation_bytes(loading->compilation);
	size_t rules = fw_compilation_rules(loading->compilation);
	struct fw_datapath_size size = {
		.image = fw_rulesets_size(bytes + bytes / 2),
		.slots = fw_slots_size(rules + FW_DIR_MAX),
	};

	if (loading->daemon->datapath)
		return;
	free(take_ptr(loading->error));
	loading->r_open =
		fw_daemon_open(loading->daemon, &size, &loading->error);
}

/* Begin to compile, and meanwhile open the datapath; NULL: has been answered. */
static struct loading *begin(struct fw_daemon *daemon,
			     struct fw_request *request, const json_t *args)
{
	struct loading *loading;
	int r = -ENOMEM;

	/* refused to a process with threads, so not when programs are opened */
	if (!daemon->datapath && fw_bpffs_is_below(daemon->paths.pin_dir))
		fw_mounts_join_outer();
	loading = calloc(1, sizeof(*loading));
	if (loading) {
		loading->daemon = daemon;
		loading->start_ns = fw_now_ns();
		r = fw_compilation_begin(request, args, &loading->compilation);
	}
	if (r < 0) {
		fw_reply_error(request, FW_EXIT_REQUEST,
			       "load: texts are missing or malformed");
		free(loading);
		return NULL;
	}
	open_datapath(loading);
	return loading;
}

static int put_in_force(struct fw_daemon *daemon, struct loading *loading)
{
	int r;

	r = fw_features_check(loading->program, &loading->at, &loading->error);
	if (r == 0) {
		r = fw_apply_load(daemon->apply, loading->program, &loading->at,
				  &loading->error);
	}
	if (r == 0)
		(void)take_ptr(loading->program);
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
static void refuse_load(struct fw_request *request, enum fw_exit status,
			const struct fw_program *program, struct fw_span at,
			const char *reason)
{
	__attribute__((cleanup(fw_diag_done))) struct fw_diag diag = { 0 };
	_cleanup_free_ char *text = NULL;
	const struct fw_message *message;

	if (!at.len || fw_program_error(program, at, &diag, reason) < 0) {
		log_error("load failed: %s", reason);
		fw_reply_error(request, status, "%s", reason);
		return;
	}
	message = &diag.messages[0];
	fw_errorf(&text, "%s:%u:%u: error: %s", message->file, message->line,
		  message->column, message->text);
	log_error("load failed: %s", text ? text : reason);
	fw_reply_refusal(request, status, text ? text : reason,
			 json_pack("{s:{s:I, s:I, s:I}, s:o}", "at", "text",
				   (json_int_t)at.file, "offset",
				   (json_int_t)at.off, "length",
				   (json_int_t)at.len, "reason",
				   fw_json_text(message->text)));
}

static json_t *load_result(const struct fw_daemon *daemon)
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
	return json_pack(
		"{s:I, s:I, s:I, s:O}", "rules", (json_int_t)program->n_rules,
		"sets", (json_int_t)program->n_named_sets, "generation",
		(json_int_t)fw_apply_gen(daemon->apply), "not_covered", idle);
}

/* 0 if the rules are in force; otherwise the request has been answered. */
static int finish(struct loading *loading, struct fw_request *request)
{
	struct fw_daemon *daemon = loading->daemon;
	int r;

	r = end_compilation(loading->compilation, request, &loading->program);
	if (r < 0)
		return r;
	r = loading->r_open;
	if (r == 0)
		r = put_in_force(daemon, loading);
	if (r < 0) {
		refuse_load(request,
			    r == -E2BIG ? FW_EXIT_REQUEST : FW_EXIT_KERNEL,
			    loading->program, loading->at,
			    loading->error ? loading->error : strerror(-r));
	}
	return r;
}

/* The client has gone away, or changed its mind. */
static void drop_prepared(void *data)
{
	struct loading *loading = data;
	struct fw_daemon *daemon = loading->daemon;

	daemon->is_preparing = false;
	loading_free(loading);
	give_up(daemon);
}

/* What "prepare" has begun; NULL: nothing, or the request brings other texts. */
static struct loading *take_prepared(struct fw_daemon *daemon,
				     struct fw_request *request,
				     const json_t *args)
{
	struct loading *loading = fw_request_take(request);

	if (!loading)
		return NULL;
	if (json_object_get(args, "texts")) {
		drop_prepared(loading);
		return NULL;
	}
	daemon->is_preparing = false;
	/* Another client may have unloaded meanwhile. */
	open_datapath(loading);
	return loading;
}

void fw_handle_prepare(void *data, struct fw_request *request,
		       const json_t *args)
{
	struct fw_daemon *daemon = data;
	struct loading *loading;

	/* One at a time: each takes memory, and nobody is worse off without. */
	if (daemon->is_preparing) {
		fw_reply_error(request, FW_EXIT_REQUEST,
			       "another client is about to load");
		return;
	}
	loading = begin(daemon, request, args);
	if (!loading)
		return;
	daemon->is_preparing = true;
	fw_request_keep(request, loading, drop_prepared);
	fw_reply(request, json_object());
}

static int load(struct fw_daemon *daemon, struct fw_request *request,
		const json_t *args)
{
	__attribute__((cleanup(loading_freep))) struct loading *loading;
	int r;

	loading = take_prepared(daemon, request, args);
	if (!loading)
		loading = begin(daemon, request, args);
	if (!loading)
		return -EBADMSG;
	r = finish(loading, request);
	if (r < 0)
		give_up(daemon);
	else
		daemon->last_load_ns = fw_now_ns() - loading->start_ns;
	return r;
}

void fw_handle_load(void *data, struct fw_request *request, const json_t *args)
{
	struct fw_daemon *daemon = data;
	int r;

	r = load(daemon, request, args);
	daemon->last_load_failed = r < 0;
	if (r < 0) {
		daemon->failed_loads++;
		return;
	}
	daemon->loads++;
	daemon->last_load_time = time(NULL);
	log_info("loaded '%s', generation %u",
		 fw_apply_program(daemon->apply)->texts[0].name,
		 fw_apply_gen(daemon->apply));
	fw_reply(request, load_result(daemon));
	/* A hundred thousand rules leave a hundred megabytes in free lists. */
	(void)malloc_trim(0);
}

/* ---- unload ----------------------------------------------------------------- */

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
			r = fw_datapath_purge(daemon->paths.pin_dir, &error);
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
