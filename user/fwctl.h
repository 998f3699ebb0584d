/* SPDX-License-Identifier: GPL-2.0-only */

/* What the subcommands of fwctl share. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "rules/rules.h"
#include "user/paths.h"
#include "user/proto.h"

/* The command line, understood. */
struct fw_cli {
	struct fw_paths paths; /* filled in before the first request */
	const char *run_dir;
	const char *pin_dir;
	bool json;
	bool print;
	bool dry_run;
	bool all;
	bool wide;
	bool batch;
	const char *file; /* of --file; NULL: not given, as all that follow */
	const char *hex;
	const char *pcap;
	const char *frame;
	const char *reasons;
	const char *snaplen;
	const char *interval;
	const char *count;
	const char *operand; /* NULL: none was given */
	const char *const
		*words; /* all of them, of a command that takes several */
	size_t n_words;
};

/* Subcommands; each returns the exit status. */
enum fw_exit fw_cmd_check(struct fw_cli *cli);
enum fw_exit fw_cmd_load(struct fw_cli *cli);
enum fw_exit fw_cmd_unload(struct fw_cli *cli);
enum fw_exit fw_cmd_set_replace(struct fw_cli *cli);
enum fw_exit fw_cmd_status(struct fw_cli *cli);
enum fw_exit fw_cmd_show_rules(struct fw_cli *cli);
enum fw_exit fw_cmd_show_flows(struct fw_cli *cli);
enum fw_exit fw_cmd_top(struct fw_cli *cli);
enum fw_exit fw_cmd_monitor(struct fw_cli *cli);
enum fw_exit fw_cmd_explain(struct fw_cli *cli);
enum fw_exit fw_cmd_capture(struct fw_cli *cli);
enum fw_exit fw_cmd_flows_kill(struct fw_cli *cli);
enum fw_exit fw_cmd_show_sets(struct fw_cli *cli);
enum fw_exit fw_cmd_show_ipsec(struct fw_cli *cli);
enum fw_exit fw_cmd_show_interfaces(struct fw_cli *cli);
enum fw_exit fw_cmd_show_timeouts(struct fw_cli *cli);
enum fw_exit fw_cmd_doctor(struct fw_cli *cli);

/** @brief "fwctl: ..." on standard error. */
void fw_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/**
 * @brief Show errors in a file of that name: on standard error, or in JSON on
 *        standard output, where the result would be.
 */
void fw_print_errors(const struct fw_cli *cli, const char *name,
		     const struct fw_diag *diag);

struct fw_alias;

/**
 * @brief Show the messages of a daemon that refuses, as fw_print_errors() does.
 *
 * @param aliases  how the files were called to the daemon
 * @return false if the reply has none
 */
bool fw_print_refusal(const struct fw_cli *cli, const char *name,
		      const json_t *reply, const struct fw_alias *aliases,
		      size_t n_aliases);

/** @brief Print JSON on standard output, indented; NULL: the daemon left it out. */
enum fw_exit fw_print_json(const json_t *json);
