/* SPDX-License-Identifier: GPL-2.0-only */

/* The subcommands check, load and unload. */
#include <errno.h>
#include <net/if.h>
#include <string.h>

#include "rules/rules.h"
#include "user/client.h"
#include "user/messages.h"
#include "user/rulefile.h"
#include "user/util.h"

/* Below that an error is found sooner than a daemon. */
#define MUCH_TEXT (1u << 20)

#define _cleanup_program_ __attribute__((cleanup(program_freep)))
#define _cleanup_diag_	  __attribute__((cleanup(fw_diag_done)))

static void program_freep(struct fw_program **program)
{
	fw_program_free(*program);
}

/* ---- compiling ------------------------------------------------------------------ */

static void print_diag(const struct fw_diag *diag)
{
	bool colour = isatty(STDERR_FILENO) && !getenv("NO_COLOR");

	fw_diag_print(diag, stderr, colour);
}

void fw_print_errors(const struct fw_cli *cli, const char *name,
		     const struct fw_diag *diag)
{
	_cleanup_json_ json_t *json = NULL;

	if (!cli->json) {
		print_diag(diag);
		return;
	}
	json = json_pack("{s:o, s:b, s:I, s:o}", "file", fw_json_text(name),
			 "ok", false, "errors", (json_int_t)diag->errors,
			 "messages", fw_messages_json(diag));
	(void)fw_print_json(json);
}

/* What a compilation is for. */
struct job {
	struct fw_rulefiles files;
	struct fw_cli *cli;
	struct fw_conversation *sent; /* the request of a load, or NULL */
	enum fw_exit status;	      /* of sending it */
	bool is_loading;	      /* it has been sent as a whole */
};

static int read_file(void *ctx, const char *name, struct fw_text *ret,
		     const char **reterr)
{
	struct job *job = ctx;

	return fw_rulefile_read(&job->files, name, ret, reterr);
}

static enum fw_exit compile(struct job *job, const struct fw_options *options,
			    struct fw_diag *diag, struct fw_program **ret)
{
	const char *operand = job->cli->operand;
	_cleanup_free_ char *name = NULL;
	_cleanup_free_ char *data = NULL;
	struct fw_text text = { 0 };
	const char *error = NULL;
	int r;

	r = read_file(job, operand, &text, &error);
	name = text.name;
	data = text.data;
	if (r < 0) {
		fw_complain("cannot read '%s': %s", operand, error);
		return FW_EXIT_REQUEST;
	}
	r = fw_compile_with(options, name, data, text.len, read_file, job, diag,
			    ret);
	if (r == -EINVAL) {
		fw_print_errors(job->cli, name, diag);
		return FW_EXIT_REQUEST;
	}
	if (r < 0) {
		fw_complain("cannot compile '%s': %s", name, strerror(-r));
		return FW_EXIT_REQUEST;
	}
	return FW_EXIT_OK;
}

/* ---- check ---------------------------------------------------------------------- */

/*
 * Does it fit into the kernel's image, and is it fast there?  Counter slots do
 * not matter for that.
 */
static int measure(const struct fw_program *program, struct fw_diag *diag,
		   uint32_t *ret_bytes)
{
	const uint32_t defaults[FW_DIR_MAX] = { 1, 2, 3 };
	_cleanup_free_ uint32_t *slots = NULL;
	struct fw_image image = { 0 };
	int r;

	slots = calloc(program->n_rows + 1, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	r = fw_emit(program, 1, slots, defaults, &image);
	if (r < 0)
		return r;
	*ret_bytes = image.size;
	r = fw_image_warn(&image, program, diag);
	fw_image_done(&image);
	return r;
}

static enum fw_exit check_size(const char *name,
			       const struct fw_program *program,
			       struct fw_diag *diag, uint32_t *ret_bytes)
{
	int r;

	r = measure(program, diag, ret_bytes);
	if (r < 0) {
		fw_complain("'%s' does not fit: %s", name,
			    r == -E2BIG ? "rules and sets need too much memory"
					: strerror(-r));
	}
	return r < 0 ? FW_EXIT_REQUEST : FW_EXIT_OK;
}

static void print_missing(const struct fw_program *program)
{
	for (size_t i = 0; i < program->n_zones; i++) {
		const struct fw_zone *zone = &program->zones[i];

		for (size_t j = 0; j < zone->n; j++) {
			if (!if_nametoindex(zone->members[j].ifname)) {
				fw_complain(
					"warning: interface '%s' of zone '%s' does not exist here; it is covered when it appears",
					zone->members[j].ifname, zone->name);
			}
		}
	}
}

static enum fw_exit print_checked(const struct fw_cli *cli,
				  const struct fw_program *program,
				  const struct fw_diag *diag, uint32_t bytes)
{
	const char *name = program->texts[0].name;
	_cleanup_json_ json_t *json = NULL;

	if (cli->json) {
		json = json_pack("{s:o, s:b, s:I, s:I, s:I, s:I, s:o}", "file",
				 fw_json_text(name), "ok", true, "rules",
				 (json_int_t)program->n_rules, "sets",
				 (json_int_t)program->n_named_sets,
				 "image_bytes", (json_int_t)bytes, "warnings",
				 (json_int_t)diag->warnings, "messages",
				 fw_messages_json(diag));
		return fw_print_json(json);
	}
	if (diag->n)
		print_diag(diag);
	if (cli->print) {
		fw_program_print(program, stdout);
	} else {
		(void)printf("%s: ok, %zu rule%s, %zu set%s%s\n", name,
			     program->n_rules,
			     fw_plural((long long)program->n_rules),
			     program->n_named_sets,
			     fw_plural((long long)program->n_named_sets),
			     cli->dry_run ? "; nothing was changed" : "");
	}
	return FW_EXIT_OK;
}

static enum fw_exit check(struct job *job)
{
	const struct fw_options options = { 0 };
	struct fw_cli *cli = job->cli;
	_cleanup_program_ struct fw_program *program = NULL;
	_cleanup_diag_ struct fw_diag diag = { 0 };
	enum fw_exit status;
	uint32_t bytes = 0;

	status = compile(job, &options, &diag, &program);
	if (status == FW_EXIT_OK)
		status = check_size(cli->operand, program, &diag, &bytes);
	if (status != FW_EXIT_OK)
		return status;
	if (cli->dry_run && !cli->json)
		print_missing(program);
	return print_checked(cli, program, &diag, bytes);
}

enum fw_exit fw_cmd_check(struct fw_cli *cli)
{
	struct job job = { .cli = cli };

	return check(&job);
}

/* ---- load ----------------------------------------------------------------------- */

/* Names and lengths; the texts themselves come along as a file. */
static json_t *texts_json(const struct fw_text *texts, size_t n, bool is_stdin)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < n; i++) {
		const struct fw_text *text = &texts[i];
		_cleanup_free_ char *name = NULL;

		/* What is named relative to nothing stays as it is. */
		name = is_stdin ? strdup(text->name)
				: fw_rulefile_absolute(text->name);
		if (!name ||
		    json_array_append_new(
			    list, json_pack("{s:o, s:I}", "name",
					    fw_json_bytes(name, strlen(name)),
					    "size", (json_int_t)text->len)) <
			    0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static void print_not_covered(const json_t *list)
{
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		const char *name, *error;

		name = json_string_value(json_object_get(item, "name"));
		error = json_string_value(json_object_get(item, "error"));
		fw_complain("warning: interface '%s' is not filtered: %s",
			    name ? name : "?", error ? error : "?");
	}
}

/* What a load is about, for its answer. */
struct loading {
	const struct fw_cli *cli;
	const char *name;		  /* of the file, as people know it */
	const struct fw_program *program; /* NULL: lost on the way */
	struct fw_diag *diag;
};

static enum fw_exit print_loaded(const struct loading *loading, json_t *result)
{
	const char *name = loading->name;
	json_int_t rules, sets;

	if (loading->cli->json) {
		(void)fw_json_set(result, "file", fw_json_text(name));
		(void)fw_json_set(result, "messages",
				  fw_messages_json(loading->diag));
		return fw_print_json(result);
	}
	if (loading->diag->n)
		print_diag(loading->diag);
	print_not_covered(json_object_get(result, "not_covered"));
	rules = json_integer_value(json_object_get(result, "rules"));
	sets = json_integer_value(json_object_get(result, "sets"));
	(void)printf("%s: loaded, %lld rule%s, %lld set%s, generation %lld\n",
		     name, (long long)rules, fw_plural(rules), (long long)sets,
		     fw_plural(sets),
		     (long long)json_integer_value(
			     json_object_get(result, "generation")));
	return FW_EXIT_OK;
}

static bool take_span(const json_t *reply, struct fw_span *ret)
{
	json_int_t text, offset, length;

	/* Unpacking changes nothing, but takes no const. */
	if (json_unpack((json_t *)(uintptr_t)reply, "{s:{s:I, s:I, s:I}}", "at",
			"text", &text, "offset", &offset, "length",
			&length) < 0)
		return false;
	if (text < 0 || text > UINT32_MAX || offset < 0 ||
	    offset > UINT32_MAX || length < 0 || length > UINT32_MAX)
		return false;
	*ret = (struct fw_span){ (uint32_t)text, (uint32_t)offset,
				 (uint32_t)length };
	return true;
}

/* We have the same texts as the daemon, by the names that the user gave. */
static bool on_refused(void *data, const json_t *reply)
{
	const char *reason =
		json_string_value(json_object_get(reply, "reason"));
	const struct loading *loading = data;
	struct fw_span at;

	if (!reason || !loading->program || !take_span(reply, &at) ||
	    fw_program_error(loading->program, at, loading->diag, reason) < 0)
		return false;
	fw_print_errors(loading->cli, loading->name, loading->diag);
	return true;
}

static struct fw_call load_call(struct loading *loading)
{
	return (struct fw_call){ .verb = "load",
				 .start = FW_START_ALWAYS,
				 .refused = on_refused,
				 .data = loading };
}

typedef enum fw_exit (*send_fn)(struct fw_cli *cli, const struct fw_call *call,
				struct fw_conversation **ret);

static void send_texts(struct job *job, const struct fw_text *texts, size_t n,
		       send_fn send)
{
	struct fw_call call = load_call(NULL);
	bool is_stdin = strcmp(job->cli->operand, "-") == 0;

	call.files = texts;
	call.n_files = n;
	call.args = json_pack("{s:o}", "texts", texts_json(texts, n, is_stdin));
	if (!call.args) {
		fw_complain("out of memory");
		job->status = FW_EXIT_REQUEST;
		return;
	}
	job->status = send(job->cli, &call, &job->sent);
}

/* While we look for errors in much text, the daemon may compile it. */
static void prepare(void *ctx, const struct fw_text *texts, size_t n)
{
	size_t bytes = 0;

	for (size_t i = 0; i < n; i++)
		bytes += texts[i].len;
	if (bytes >= MUCH_TEXT)
		send_texts(ctx, texts, n, fw_client_prepare);
}

/* The rules are right: while we look for warnings, the daemon may go ahead. */
static void go_ahead(void *ctx, const struct fw_text *texts, size_t n)
{
	struct job *job = ctx;

	if (job->sent)
		fw_client_go_on(job->sent);
	else if (job->status == FW_EXIT_OK)
		send_texts(job, texts, n, fw_client_send);
	job->is_loading = job->sent;
}

/* How rules that are under way fared. */
static enum fw_exit receive(const struct job *job,
			    const struct fw_program *program,
			    struct fw_diag *diag)
{
	const char *operand = job->cli->operand;
	struct loading loading = {
		.cli = job->cli,
		.name = strcmp(operand, "-") == 0 ? FW_STDIN_NAME : operand,
		.program = program,
		.diag = diag,
	};
	const struct fw_call call = load_call(&loading);
	_cleanup_json_ json_t *result = NULL;
	enum fw_exit status;

	status = fw_client_receive(job->sent, &call, &result);
	if (status != FW_EXIT_OK)
		return status;
	return print_loaded(&loading, result);
}

static enum fw_exit load(struct job *job)
{
	const struct fw_options options = { .read_all = prepare,
					    .accepted = go_ahead };
	_cleanup_program_ struct fw_program *program = NULL;
	_cleanup_diag_ struct fw_diag diag = { 0 };
	enum fw_exit status;
	uint32_t bytes;

	status = compile(job, &options, &diag, &program);
	if (!job->is_loading)
		return status != FW_EXIT_OK ? status : job->status;
	/* From here on it is for the daemon to say how it went. */
	if (program)
		(void)measure(program, &diag, &bytes);
	return receive(job, program, &diag);
}

enum fw_exit fw_cmd_load(struct fw_cli *cli)
{
	struct job job = { .files = { .is_strict = true }, .cli = cli };
	enum fw_exit status;

	status = cli->dry_run ? check(&job) : load(&job);
	fw_client_end(job.sent);
	return status;
}

/* ---- unload --------------------------------------------------------------------- */

enum fw_exit fw_cmd_unload(struct fw_cli *cli)
{
	const struct fw_call call = { .verb = "unload",
				      .start = FW_START_IF_PINNED,
				      .silent = true };
	_cleanup_json_ json_t *result = NULL;
	enum fw_exit status;
	bool was_loaded;

	status = fw_client_call(cli, &call, &result);
	/* No daemon, no pins: what was asked for is the case already. */
	if (status == FW_EXIT_NO_DAEMON && *cli->paths.pin_dir &&
	    !fw_paths_pinned(&cli->paths)) {
		result = json_pack("{s:b}", "was_loaded", false);
		status = FW_EXIT_OK;
	}
	if (status != FW_EXIT_OK)
		return status;
	if (cli->json)
		return fw_print_json(result);
	was_loaded = json_is_true(json_object_get(result, "was_loaded"));
	(void)puts(was_loaded ? "unloaded, nothing is filtered any more"
			      : "nothing is loaded");
	return FW_EXIT_OK;
}
