/* SPDX-License-Identifier: GPL-2.0-only */

/* The verbs that change something: load and unload. */
#include <errno.h>
#include <string.h>

#include "user/daemon.h"
#include "user/feature.h"
#include "user/log.h"
#include "user/util.h"

const struct fw_verb fw_daemon_verbs[] = {
	{ "load", fw_handle_load },
	{ "unload", fw_handle_unload },
	{ "status", fw_handle_status },
	{ "rules", fw_handle_rules },
	{ "flows", fw_handle_flows },
	{ "sets", fw_handle_sets },
	{ "set-replace", fw_handle_set_replace },
};
const size_t fw_daemon_n_verbs = ARRAY_SIZE(fw_daemon_verbs);

/* ---- the texts of a load -------------------------------------------------- */

struct texts {
	struct fw_text *items;
	size_t n;
};

static void texts_done(struct texts *texts)
{
	fw_texts_free(texts->items, texts->n);
}

/* What is left of the file that came along. */
struct rest {
	const char *data;
	size_t len;
};

static int take_text(const json_t *json, struct rest *rest, struct fw_text *ret)
{
	const json_t *size = json_object_get(json, "size");
	json_int_t n = json_integer_value(size);
	size_t len;
	int r;

	if (!json_is_integer(size) || n < 0 || (uint64_t)n > rest->len)
		return -EBADMSG;
	r = fw_json_bytes_get(json_object_get(json, "name"), &ret->name, &len);
	if (r < 0)
		return r;
	ret->len = (size_t)n;
	ret->data = malloc(ret->len + 1);
	if (!ret->data)
		return -ENOMEM;
	memcpy(ret->data, rest->data, ret->len);
	ret->data[ret->len] = '\0';
	rest->data += ret->len;
	rest->len -= ret->len;
	return 0;
}

static int take_texts(const struct fw_request *request, const json_t *args,
		      struct texts *ret)
{
	const json_t *list = json_object_get(args, "texts");
	_cleanup_free_ char *data = NULL;
	size_t n = json_array_size(list);
	struct rest rest;
	int r;

	if (!n)
		return -EBADMSG;
	r = fw_request_file(request, &data, &rest.len);
	if (r < 0)
		return r;
	rest.data = data;
	ret->items = calloc(n, sizeof(*ret->items));
	if (!ret->items)
		return -ENOMEM;
	/* A text that is not complete is freed with the others. */
	while (ret->n < n && r == 0) {
		const json_t *text = json_array_get(list, ret->n);

		r = take_text(text, &rest, &ret->items[ret->n++]);
	}
	return r == 0 && rest.len ? -EBADMSG : r;
}

/* Skip what makes no difference in a path: "//" and "/./". */
static const char *skip_idle(const char *p)
{
	while (p[0] == '/' && (p[1] == '/' || (p[1] == '.' && p[2] == '/')))
		p += p[1] == '/' ? 1 : 2;
	return p;
}

static bool is_same_path(const char *a, const char *b)
{
	for (;; a++, b++) {
		a = skip_idle(a);
		b = skip_idle(b);
		if (*a != *b)
			return false;
		if (!*a)
			return true;
	}
}

/* The daemon opens no rule file itself: the client has read them all. */
static int read_sent(void *ctx, const char *name, struct fw_text *ret,
		     const char **reterr)
{
	const struct texts *texts = ctx;

	for (size_t i = 0; i < texts->n; i++) {
		const struct fw_text *text = &texts->items[i];

		if (!is_same_path(text->name, name))
			continue;
		*ret = (struct fw_text){ .name = strdup(name),
					 .data = malloc(text->len + 1),
					 .len = text->len };
		if (ret->name && ret->data) {
			memcpy(ret->data, text->data, text->len + 1);
			return 0;
		}
		free(ret->name);
		free(ret->data);
		*reterr = "out of memory";
		return -ENOMEM;
	}
	*reterr = "fwctl has not sent this file";
	return -ENOENT;
}

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

static int compile(struct fw_request *request, const json_t *args,
		   struct fw_program **ret)
{
	/* The client has shown what there is to be warned of. */
	static const struct fw_options quick = {
		.skip_passes = 1u << FW_PASS_DECIDED,
	};
	__attribute__((cleanup(texts_done))) struct texts texts = { 0 };
	__attribute__((cleanup(fw_diag_done))) struct fw_diag diag = { 0 };
	int r;

	r = take_texts(request, args, &texts);
	if (r < 0) {
		fw_reply_error(request, FW_EXIT_REQUEST,
			       "load: texts are missing or malformed");
		return r;
	}
	r = fw_compile_with(&quick, texts.items[0].name, texts.items[0].data,
			    texts.items[0].len, read_sent, &texts, &diag, ret);
	if (r == -EINVAL) {
		reply_diag(request, &diag);
	} else if (r < 0) {
		fw_reply_error(request, FW_EXIT_REQUEST, "cannot compile: %s",
			       strerror(-r));
	}
	return r;
}

/* ---- load ------------------------------------------------------------------ */

static int replace_rules(struct fw_daemon *daemon, struct fw_program **program,
			 struct fw_span *ret_at, char **reterr)
{
	bool was_open = daemon->datapath;
	uint64_t start_ns = fw_now_ns();
	int r;

	r = fw_daemon_open(daemon, reterr);
	if (r < 0)
		return r;
	r = fw_features_check(*program, ret_at, reterr);
	if (r == 0)
		r = fw_apply_load(daemon->apply, *program, ret_at, reterr);
	if (r < 0) {
		/* Never leave programs behind that have no rules. */
		if (!was_open && !fw_datapath_adopted(daemon->datapath))
			(void)fw_daemon_remove(daemon, NULL);
		return r;
	}
	(void)take_ptr(*program);
	daemon->last_load_ns = fw_now_ns() - start_ns;
	daemon->last_load_time = time(NULL);
	return 0;
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

void fw_handle_load(void *data, struct fw_request *request, const json_t *args)
{
	struct fw_program *program = NULL;
	struct fw_daemon *daemon = data;
	_cleanup_free_ char *error = NULL;
	struct fw_span at = { 0 };
	int r;

	r = compile(request, args, &program);
	if (r < 0) {
		daemon->failed_loads++;
		daemon->last_load_failed = true;
		return;
	}
	r = replace_rules(daemon, &program, &at, &error);
	daemon->last_load_failed = r < 0;
	if (r < 0) {
		daemon->failed_loads++;
		refuse_load(request,
			    r == -E2BIG ? FW_EXIT_REQUEST : FW_EXIT_KERNEL,
			    program, at, error ? error : strerror(-r));
		fw_program_free(program);
		return;
	}
	daemon->loads++;
	log_info("loaded '%s', generation %u",
		 fw_apply_program(daemon->apply)->texts[0].name,
		 fw_apply_gen(daemon->apply));
	fw_reply(request, load_result(daemon));
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
		r = fw_daemon_open(daemon, &error);
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
