/* SPDX-License-Identifier: GPL-2.0-only */

/* The verb that gives a named set of the running rules other content. */
#include <errno.h>
#include <string.h>

#include "user/daemon.h"
#include "user/heap.h"
#include "user/log.h"
#include "user/refusal.h"
#include "user/util.h"

/* What a request asks for. */
struct wish {
	struct fw_text text; /* its name is what people shall read */
	const struct fw_named_set *set;
	bool dry_run;
};

/* The only text, without the NUL behind it. */
static int read_text(const struct fw_request *request, struct fw_text *ret)
{
	_cleanup_free_ char *data = NULL;
	size_t len;
	int r;

	r = fw_request_file(request, &data, &len);
	if (r < 0)
		return r;
	if (!len || data[len - 1] != '\0')
		return -EBADMSG;
	ret->data = take_ptr(data);
	ret->len = len - 1;
	return 0;
}

static int take_text(struct fw_request *request, const json_t *args,
		     struct fw_text *ret)
{
	_cleanup_free_ char *name = NULL;
	size_t len;
	int r;

	r = fw_json_bytes_get(json_object_get(args, "file"), &name, &len);
	if (r == 0)
		r = read_text(request, ret);
	if (r < 0) {
		fw_reply_error(request, FW_EXIT_REQUEST,
			       r == -EMSGSIZE
				       ? "the content of the set is too large"
				       : "set replace: no content came along");
		return r;
	}
	ret->name = take_ptr(name);
	return 0;
}

static const struct fw_named_set *find_set(const struct fw_program *program,
					   struct fw_request *request,
					   const json_t *args)
{
	const char *name = json_string_value(json_object_get(args, "set"));
	const struct fw_named_set *set, *nearest;

	if (!name)
		name = "";
	set = fw_program_set(program, name);
	if (set && (set->is_fixed || fw_named_set_has_pairs(set))) {
		fw_reply_error(
			request, FW_EXIT_REQUEST,
			"set '%s' %s addresses with ports, which only a load of the rules can change",
			name, set->is_fixed ? "is part of" : "holds");
		return NULL;
	}
	if (set)
		return set;
	nearest = fw_program_nearest_set(program, name);
	if (nearest) {
		fw_reply_error(
			request, FW_EXIT_REQUEST,
			"the running rules have no set '%s', did you mean '%s'?",
			name, nearest->name);
	} else {
		fw_reply_error(
			request, FW_EXIT_REQUEST,
			"the running rules have no set '%s', see fwctl show sets",
			name);
	}
	return NULL;
}

static int prepare(const struct fw_program *program, struct fw_request *request,
		   struct wish *wish, struct fw_replacement **ret)
{
	__attribute__((cleanup(fw_diag_done))) struct fw_diag diag = { 0 };
	int r;

	r = fw_replacement_new(program, wish->set, &wish->text, &diag, ret);
	if (r == -EINVAL && diag.n) {
		fw_refuse_texts(request, FW_EXIT_REQUEST, &diag);
	} else if (r == -E2BIG) {
		fw_reply_error(
			request, FW_EXIT_REQUEST,
			"with this content the sets of all rules would have too many ranges");
	} else if (r < 0) {
		fw_reply_error(request, FW_EXIT_REQUEST,
			       "cannot replace set '%s': %s", wish->set->name,
			       strerror(-r));
	}
	return r;
}

static json_t *result_json(const struct fw_daemon *daemon,
			   const struct fw_named_set *set)
{
	return json_pack("{s:o, s:I, s:I, s:I, s:I}", "set",
			 fw_json_text(set->name), "ipv4", (json_int_t)set->v4,
			 "ipv6", (json_int_t)set->v6, "ports",
			 (json_int_t)set->ports, "generation",
			 (json_int_t)fw_apply_gen(daemon->apply));
}

static int put_in_force(struct fw_daemon *daemon, struct fw_request *request,
			const struct wish *wish,
			struct fw_replacement *replacement)
{
	_cleanup_free_ char *error = NULL;
	int r;

	r = fw_apply_replace(daemon->apply, replacement, &error);
	if (r < 0) {
		log_error("set '%s' is not replaced: %s", wish->set->name,
			  error ? error : strerror(-r));
		fw_reply_error(request,
			       r == -E2BIG ? FW_EXIT_REQUEST : FW_EXIT_KERNEL,
			       "%s", error ? error : strerror(-r));
		return r;
	}
	log_info("set '%s' replaced by '%s', generation %u", wish->set->name,
		 wish->set->replaced.name, fw_apply_gen(daemon->apply));
	fw_reply(request, result_json(daemon, wish->set));
	return 0;
}

/* 0, or the request has been answered with what is wrong. */
static int replace(struct fw_daemon *daemon, struct fw_request *request,
		   const json_t *args, bool is_dry_run)
{
	struct fw_replacement *replacement = NULL;
	const struct fw_program *program;
	struct wish wish = { 0 };
	int r;

	program = fw_daemon_program(daemon);
	wish.set = find_set(program, request, args);
	if (!wish.set || take_text(request, args, &wish.text) < 0)
		return -EBADMSG;
	r = prepare(program, request, &wish, &replacement);
	if (r < 0)
		return r;
	if (is_dry_run)
		fw_reply(request, result_json(daemon, wish.set));
	else
		r = put_in_force(daemon, request, &wish, replacement);
	fw_replacement_free(replacement);
	return r;
}

void fw_handle_set_replace(void *data, struct fw_request *request,
			   const json_t *args)
{
	bool is_dry_run = json_is_true(json_object_get(args, "dry_run"));
	struct fw_daemon *daemon = data;
	int r;

	if (!fw_daemon_check_loaded(daemon, request))
		return;
	fw_heap_begin();
	r = replace(daemon, request, args, is_dry_run);
	if (!is_dry_run) {
		daemon->replacements += r == 0;
		daemon->failed_replacements += r < 0;
	}
	fw_heap_end();
}
