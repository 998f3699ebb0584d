/* SPDX-License-Identifier: GPL-2.0-only */

/* The subcommand set replace. */
#include <string.h>

#include "user/client.h"
#include "user/json.h"
#include "user/messages.h"
#include "user/rulefile.h"
#include "user/util.h"

/* What an answer that names places in the file is about. */
struct replacing {
	const struct fw_cli *cli;
	struct fw_alias alias; /* the names of the file; borrowed */
};

static bool on_refused(void *data, const json_t *reply)
{
	const struct replacing *replacing = data;

	return fw_print_refusal(replacing->cli, replacing->alias.given, reply,
				&replacing->alias, 1);
}

static enum fw_exit print_replaced(const struct fw_cli *cli, const char *file,
				   json_t *result)
{
	long long ports = fw_json_get(result, "ports");
	long long v4 = fw_json_get(result, "ipv4");
	long long v6 = fw_json_get(result, "ipv6");
	const char *set = fw_json_get_text(result, "set", "?");

	if (cli->json) {
		(void)fw_json_set(result, "file", fw_json_text(file));
		return fw_print_json(result);
	}
	if (cli->dry_run) {
		(void)printf("%s: ok for set '%s'; nothing was changed\n", file,
			     set);
		return FW_EXIT_OK;
	}
	(void)printf("set '%s' replaced by %s: ", set, file);
	if (ports) {
		(void)printf("%lld port range%s", ports, fw_plural(ports));
	} else if (v4 || v6) {
		(void)printf("%lld IPv4 range%s, %lld IPv6 range%s", v4,
			     fw_plural(v4), v6, fw_plural(v6));
	} else {
		(void)fputs("nothing is in it now", stdout);
	}
	(void)printf("; generation %lld\n", fw_json_get(result, "generation"));
	return FW_EXIT_OK;
}

/* Send the text; the daemon knows of what kind the set is. */
static enum fw_exit replace(struct fw_cli *cli, const struct fw_text *text,
			    struct fw_textfile *file)
{
	bool is_stdin = strcmp(cli->file, "-") == 0;
	struct replacing replacing = { cli, { NULL, text->name } };
	struct fw_call call = { .verb = "set-replace",
				.start = FW_START_IF_PINNED,
				.file = file,
				.refused = on_refused,
				.data = &replacing };
	const char *set = cli->operand + (*cli->operand == '@');
	_cleanup_free_ char *absolute = NULL;
	_cleanup_json_ json_t *result = NULL;
	enum fw_exit status;

	absolute = is_stdin ? strdup(text->name)
			    : fw_rulefile_absolute(text->name);
	replacing.alias.sent = absolute;
	if (absolute) {
		call.args = json_pack("{s:o, s:o, s:b}", "set",
				      fw_json_text(set), "file",
				      fw_json_bytes(absolute, strlen(absolute)),
				      "dry_run", cli->dry_run);
	}
	if (!call.args) {
		fw_complain("out of memory");
		return FW_EXIT_REQUEST;
	}
	status = fw_client_call(cli, &call, &result);
	return status == FW_EXIT_OK ? print_replaced(cli, text->name, result)
				    : status;
}

/* In a file of its own, whatever it was read from. */
static enum fw_exit send(struct fw_cli *cli, const struct fw_text *text,
			 struct fw_textfile *file)
{
	size_t at;
	int r = fw_textfile_place(file, text, &at);

	if (r < 0) {
		fw_complain("cannot send '%s': %s", text->name, strerror(-r));
		return FW_EXIT_REQUEST;
	}
	return replace(cli, text, file);
}

enum fw_exit fw_cmd_set_replace(struct fw_cli *cli)
{
	struct fw_textfile file = { 0 };
	struct fw_rulefiles files = { .is_strict = !cli->dry_run,
				      .into = &file };
	struct fw_text text = { 0 };
	const char *error = NULL;
	enum fw_exit status;

	if (!cli->file) {
		fw_complain("'set replace' needs --file FILE");
		return FW_EXIT_USAGE;
	}
	if (fw_rulefile_read(&files, cli->file, &text, &error) < 0) {
		fw_complain("cannot read '%s': %s", cli->file, error);
		fw_textfile_done(&file);
		return FW_EXIT_REQUEST;
	}
	status = send(cli, &text, &file);
	fw_text_done(&text);
	fw_textfile_done(&file);
	return status;
}
