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

bool fw_print_refusal(const struct fw_cli *cli, const char *name,
		      const json_t *reply, const struct fw_alias *aliases,
		      size_t n_aliases)
{
	_cleanup_diag_ struct fw_diag diag = { 0 };

	if (fw_messages_take(json_object_get(reply, "messages"), &diag) < 0)
		return false;
	fw_messages_rename(&diag, aliases, n_aliases);
	fw_print_errors(cli, name, &diag);
	return true;
}

/* What a compilation is for. */
struct job {
	struct fw_rulefiles files;
	struct fw_textfile file; /* what a load sends */
	struct fw_cli *cli;
	bool is_load;
	size_t bytes; /* that were read for it so far */
	struct fw_conversation *sent;
	enum fw_exit status;	  /* of sending it */
	struct fw_alias *aliases; /* of all texts that were sent */
	size_t n_aliases;
};

static int read_file(void *ctx, const char *name, struct fw_text *ret,
		     const char **reterr)
{
	struct job *job = ctx;
	int r;

	r = fw_rulefile_read(&job->files, name, ret, reterr);
	if (r < 0 || !job->is_load)
		return r;
	/* It takes longer to parse much text than to start a daemon for it. */
	if (job->bytes < FW_PROTO_MUCH_TEXT &&
	    job->bytes + ret->len >= FW_PROTO_MUCH_TEXT)
		fw_client_wake(job->cli);
	job->bytes += ret->len;
	return r;
}

/*
 * Much text of a load is compiled by the daemon: here it is enough to find the
 * files. What is wrong with them is told together with what is wrong with rules.
 */
static int compile_text(struct job *job, const struct fw_options *options,
			const struct fw_text *text, struct fw_diag *diag,
			struct fw_program **ret)
{
	struct fw_options passing = *options;
	int r = -EINVAL;

	passing.only_texts = job->is_load && text->len >= FW_PROTO_MUCH_TEXT;
	if (passing.only_texts) {
		r = fw_compile_with(&passing, text->name, text->data, text->len,
				    read_file, job, diag, ret);
	}
	if (r != -EINVAL)
		return r;
	fw_diag_done(diag);
	return fw_compile_with(options, text->name, text->data, text->len,
			       read_file, job, diag, ret);
}

/* FW_EXIT_OK also if the job asked for no more than it has got. */
static enum fw_exit compile(struct job *job, const struct fw_options *options,
			    struct fw_diag *diag, struct fw_program **ret)
{
	const char *operand = job->cli->operand;
	__attribute__((cleanup(fw_text_done))) struct fw_text text = { 0 };
	const char *error = NULL;
	int r;

	r = read_file(job, operand, &text, &error);
	if (r < 0) {
		fw_complain("cannot read '%s': %s", operand, error);
		return FW_EXIT_REQUEST;
	}
	r = compile_text(job, options, &text, diag, ret);
	if (r == -EINVAL) {
		fw_print_errors(job->cli, text.name, diag);
		return FW_EXIT_REQUEST;
	}
	if (r < 0 && r != -ECANCELED) {
		fw_complain("cannot compile '%s': %s", text.name, strerror(-r));
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
	r = fw_image_warn(&image.cost, program, diag);
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

static json_t *text_json(struct job *job, const struct fw_text *text,
			 const char *name)
{
	size_t at;

	if (fw_textfile_place(&job->file, text, &at) < 0)
		return NULL;
	return json_pack("{s:o, s:I, s:I}", "name",
			 fw_json_bytes(name, strlen(name)), "at",
			 (json_int_t)at, "size", (json_int_t)text->len);
}

/* Names and where they are; the texts themselves come along as a file. */
static json_t *texts_json(struct job *job, const struct fw_text *texts,
			  size_t n)
{
	bool is_stdin = strcmp(job->cli->operand, "-") == 0;
	json_t *list = json_array();

	job->aliases = calloc(n + 1, sizeof(*job->aliases));
	while (list && job->aliases && job->n_aliases < n) {
		const struct fw_text *text = &texts[job->n_aliases];
		struct fw_alias *alias = &job->aliases[job->n_aliases++];

		/* What is named relative to nothing stays as it is. */
		alias->given = strdup(text->name);
		alias->sent = is_stdin ? strdup(text->name)
				       : fw_rulefile_absolute(text->name);
		if (!alias->given || !alias->sent)
			break;
		(void)json_array_append_new(list,
					    text_json(job, text, alias->sent));
	}
	if (list && json_array_size(list) == n)
		return list;
	json_decref(list);
	return NULL;
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

/* What the answer to a load is about. */
struct loading {
	const struct job *job;
	const char *name; /* of the file, as the user gave it */
};

static enum fw_exit print_loaded(const struct loading *loading, json_t *result)
{
	const struct job *job = loading->job;
	_cleanup_diag_ struct fw_diag diag = { 0 };
	json_int_t rules, sets;

	if (fw_messages_take(json_object_get(result, "messages"), &diag) == 0)
		fw_messages_rename(&diag, job->aliases, job->n_aliases);
	if (job->cli->json) {
		(void)fw_json_set(result, "file", fw_json_text(loading->name));
		(void)fw_json_set(result, "messages", fw_messages_json(&diag));
		return fw_print_json(result);
	}
	if (diag.n)
		print_diag(&diag);
	print_not_covered(json_object_get(result, "not_covered"));
	rules = json_integer_value(json_object_get(result, "rules"));
	sets = json_integer_value(json_object_get(result, "sets"));
	(void)printf("%s: loaded, %lld rule%s, %lld set%s, generation %lld\n",
		     loading->name, (long long)rules, fw_plural(rules),
		     (long long)sets, fw_plural(sets),
		     (long long)json_integer_value(
			     json_object_get(result, "generation")));
	return FW_EXIT_OK;
}

static bool on_refused(void *data, const json_t *reply)
{
	const struct loading *loading = data;
	const struct job *job = loading->job;

	return fw_print_refusal(job->cli, loading->name, reply, job->aliases,
				job->n_aliases);
}

static struct fw_call load_call(struct loading *loading)
{
	return (struct fw_call){ .verb = "load",
				 .start = FW_START_ALWAYS,
				 .refused = on_refused,
				 .data = loading };
}

static void send_texts(struct job *job, const struct fw_text *texts, size_t n)
{
	struct fw_call call = load_call(NULL);

	call.file = &job->file;
	call.args = json_pack("{s:o}", "texts", texts_json(job, texts, n));
	if (!call.args) {
		fw_complain("out of memory");
		job->status = FW_EXIT_REQUEST;
		return;
	}
	job->status = fw_client_send(job->cli, &call, &job->sent);
}

/* The daemon compiles it anyway: much text is not compiled twice. */
static bool on_read_all(void *ctx, const struct fw_text *texts, size_t n)
{
	struct job *job = ctx;

	if (job->bytes < FW_PROTO_MUCH_TEXT)
		return true;
	send_texts(job, texts, n);
	return false;
}

/* The rules are right; what there is to warn of, the daemon says. */
static bool on_accepted(void *ctx, struct fw_program *program)
{
	send_texts(ctx, program->texts, program->n_texts);
	return false;
}

/* How rules that are under way fared. */
static enum fw_exit receive(const struct job *job)
{
	const char *operand = job->cli->operand;
	struct loading loading = {
		.job = job,
		.name = strcmp(operand, "-") == 0 ? FW_STDIN_NAME : operand,
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
	const struct fw_options options = { .read_all = on_read_all,
					    .accepted = on_accepted };
	_cleanup_program_ struct fw_program *program = NULL;
	_cleanup_diag_ struct fw_diag diag = { 0 };
	enum fw_exit status;

	status = compile(job, &options, &diag, &program);
	if (status == FW_EXIT_OK)
		status = job->status;
	return status == FW_EXIT_OK ? receive(job) : status;
}

static void job_done(struct job *job)
{
	fw_client_end(job->sent);
	for (size_t i = 0; i < job->n_aliases; i++) {
		free(job->aliases[i].sent);
		free(job->aliases[i].given);
	}
	free(job->aliases);
	fw_textfile_done(&job->file);
}

enum fw_exit fw_cmd_load(struct fw_cli *cli)
{
	struct job job = { .files = { .is_strict = true },
			   .cli = cli,
			   .is_load = !cli->dry_run };
	enum fw_exit status;

	if (job.is_load)
		job.files.into = &job.file;
	status = job.is_load ? load(&job) : check(&job);
	job_done(&job);
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
