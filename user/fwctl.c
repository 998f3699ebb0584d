/* SPDX-License-Identifier: GPL-2.0-only */

/* The command line: one table of subcommands, from which the help is printed too. */
#include "user/fwctl.h"

#include <getopt.h>
#include <string.h>

#include "user/util.h"

/* Options that only some subcommands take. */
#define TAKES_PRINT   0x1u
#define TAKES_DRY_RUN 0x2u
#define TAKES_ALL     0x4u
#define TAKES_WIDE    0x8u
#define TAKES_FILE    0x10u
#define TAKES_WORDS   0x20u  /* any number, from the operand on; none is fine */
#define TAKES_FRAME   0x40u  /* --hex, --pcap, --frame */
#define TAKES_TOP     0x80u  /* --interval, --batch, --count */
#define TAKES_CAPTURE 0x100u /* --reason, --count, --snaplen */

static const struct command {
	const char
		*name; /* one word, or "show WHAT", "set WHAT", "flows WHAT" */
	const char *operand;  /* NULL: takes none */
	unsigned int options; /* TAKES_* */
	const char *help;
	enum fw_exit (*run)(struct fw_cli *cli);
} commands[] = {
	{ "check", "FILE", TAKES_PRINT, "compile a rule file, change nothing",
	  fw_cmd_check },
	{ "load", "FILE", TAKES_DRY_RUN,
	  "replace the running rules; starts fwctld if none runs",
	  fw_cmd_load },
	{ "unload", NULL, 0, "take everything out of the kernel",
	  fw_cmd_unload },
	{ "set replace", "NAME", TAKES_FILE | TAKES_DRY_RUN,
	  "give a set of the running rules other content", fw_cmd_set_replace },
	{ "monitor", "[FILTER]", TAKES_WORDS,
	  "drops, flows or all, as they happen", fw_cmd_monitor },
	{ "explain", "PACKET", TAKES_FRAME | TAKES_WORDS,
	  "what would become of a packet now, and why", fw_cmd_explain },
	{ "top", "[VIEW]", TAKES_WORDS | TAKES_TOP,
	  "rates of rules, drops, flows ..., live", fw_cmd_top },
	{ "capture", "FILE [FILTER]", TAKES_CAPTURE | TAKES_WORDS,
	  "dropped packets, or those that rules log, as pcapng",
	  fw_cmd_capture },
	{ "flows kill", "FILTER", TAKES_WORDS, "end flows at once",
	  fw_cmd_flows_kill },
	{ "status", NULL, TAKES_ALL, "what runs where, and what it has done",
	  fw_cmd_status },
	{ "show rules", NULL, 0, "rules with their counters",
	  fw_cmd_show_rules },
	{ "show flows", "[FILTER]", TAKES_WIDE | TAKES_WORDS,
	  "flows that are let through, all or some", fw_cmd_show_flows },
	{ "show sets", NULL, 0, "named sets and their sizes",
	  fw_cmd_show_sets },
	{ "show ipsec", NULL, 0, "security associations of the kernel",
	  fw_cmd_show_ipsec },
	{ "show interfaces", NULL, 0, "declared interfaces and what they count",
	  fw_cmd_show_interfaces },
	{ "show timeouts", NULL, 0, "how long flows live, and who says so",
	  fw_cmd_show_timeouts },
	{ "doctor", NULL, 0, "what this kernel and these drivers can do",
	  fw_cmd_doctor },
};

static const struct {
	const char *option;
	const char *help;
} option_help[] = {
	{ "-p, --print", "check: print the canonical form of the rules" },
	{ "--dry-run", "load, set replace: check, change nothing" },
	{ "--file FILE", "set replace: the content, one entry a line" },
	{ "--hex BYTES", "explain: a frame in place of a description" },
	{ "--pcap FILE", "explain: a frame of a capture file" },
	{ "--frame N", "explain: which one, from 1 on" },
	{ "--reason NAME,...", "capture: only for these reasons" },
	{ "--count N", "capture: end after so many packets" },
	{ "--snaplen N", "capture: so many bytes of each" },
	{ "--all", "status: also what is zero and what is passed" },
	{ "--wide", "show flows: state of replies, mark and table too" },
	{ "--interval SEC", "top: between two looks (default 1)" },
	{ "--batch", "top: print text, for scripts; --count N times" },
	{ "-j, --json", "print JSON" },
	{ "--run-dir DIR", "socket of the daemon (default /run/fwctl)" },
	{ "--pin-dir DIR", "pins (default /sys/fs/bpf/fwctl)" },
	{ "-h, --help", "this text" },
	{ "--version", "version" },
};

static void print_usage(FILE *out)
{
	(void)fputs("usage: fwctl [options] COMMAND\n\n", out);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		char synopsis[64];

		(void)snprintf(synopsis, sizeof(synopsis), "%s %s",
			       commands[i].name,
			       commands[i].operand ? commands[i].operand : "");
		(void)fprintf(out, "  %-19s %s\n", synopsis, commands[i].help);
	}
	(void)fputs("\noptions:\n", out);
	for (size_t i = 0; i < ARRAY_SIZE(option_help); i++) {
		(void)fprintf(out, "  %-19s %s\n", option_help[i].option,
			      option_help[i].help);
	}
	(void)fputs(
		"\nFILE may be - for standard input, of capture for standard output. See fwctl(8) and fwctl.rules(5).\n",
		out);
}

/* ---- which subcommand ------------------------------------------------------------ */

/* Edit distance of short words; anything long is simply far away. */
static size_t distance(const char *a, const char *b)
{
	size_t row[32], n = strlen(b);

	if (strlen(a) >= ARRAY_SIZE(row) || n >= ARRAY_SIZE(row))
		return SIZE_MAX;
	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 0; a[i]; i++) {
		size_t corner = row[0];

		row[0] = i + 1;
		for (size_t j = 0; j < n; j++) {
			size_t best = corner + (a[i] != b[j]);

			corner = row[j + 1];
			if (corner + 1 < best)
				best = corner + 1;
			if (row[j] + 1 < best)
				best = row[j] + 1;
			row[j + 1] = best;
		}
	}
	return row[n];
}

static const struct command *nearest(const char *name)
{
	const struct command *best = NULL;
	size_t best_distance = strlen(name) / 2 + 1;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		size_t d = distance(name, commands[i].name);

		if (d < best_distance) {
			best_distance = d;
			best = &commands[i];
		}
	}
	return best;
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

/* What may follow the first of two words; NULL: it is the only one. */
static const char *members_of(const char *word)
{
	static const struct {
		const char *word, *members;
	} groups[] = {
		{ "show", "rules, flows, sets, ipsec, timeouts or interfaces" },
		{ "set", "replace" },
		{ "flows", "kill" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
		if (strcmp(groups[i].word, word) == 0)
			return groups[i].members;
	}
	return NULL;
}

/* Takes one or two words off `*argv`; complains and returns NULL if unknown. */
static const struct command *take_command(char ***argv)
{
	char name[64];
	char **word = *argv;
	const struct command *command;
	const char *group;

	if (!*word) {
		print_usage(stderr);
		return NULL;
	}
	(void)snprintf(name, sizeof(name), "%s", *word++);
	group = members_of(name);
	if (group && !*word) {
		fw_complain("%s what? %s", name, group);
		return NULL;
	}
	if (group) {
		size_t n = strlen(name);

		(void)snprintf(name + n, sizeof(name) - n, " %s", *word++);
	}
	command = find_command(name);
	if (!command) {
		const struct command *other = nearest(name);

		if (other) {
			fw_complain("unknown command '%s', did you mean '%s'?",
				    name, other->name);
		} else {
			fw_complain("unknown command '%s', see fwctl --help",
				    name);
		}
		return NULL;
	}
	*argv = word;
	return command;
}

/* ---- options --------------------------------------------------------------------- */

enum {
	OPT_DRY_RUN = 256,
	OPT_ALL,
	OPT_WIDE,
	OPT_FILE,
	OPT_HEX,
	OPT_PCAP,
	OPT_FRAME,
	OPT_INTERVAL,
	OPT_BATCH,
	OPT_COUNT,
	OPT_REASON,
	OPT_SNAPLEN,
	OPT_RUN_DIR,
	OPT_PIN_DIR,
	OPT_VERSION,
};

static const struct option long_options[] = {
	{ "print", no_argument, NULL, 'p' },
	{ "json", no_argument, NULL, 'j' },
	{ "dry-run", no_argument, NULL, OPT_DRY_RUN },
	{ "all", no_argument, NULL, OPT_ALL },
	{ "wide", no_argument, NULL, OPT_WIDE },
	{ "file", required_argument, NULL, OPT_FILE },
	{ "hex", required_argument, NULL, OPT_HEX },
	{ "pcap", required_argument, NULL, OPT_PCAP },
	{ "frame", required_argument, NULL, OPT_FRAME },
	{ "interval", required_argument, NULL, OPT_INTERVAL },
	{ "batch", no_argument, NULL, OPT_BATCH },
	{ "count", required_argument, NULL, OPT_COUNT },
	{ "reason", required_argument, NULL, OPT_REASON },
	{ "snaplen", required_argument, NULL, OPT_SNAPLEN },
	{ "run-dir", required_argument, NULL, OPT_RUN_DIR },
	{ "pin-dir", required_argument, NULL, OPT_PIN_DIR },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ 0 },
};

/* Exit status, or -1 to go on. */
static int take_option(int c, struct fw_cli *cli)
{
	switch (c) {
	case 'p':
		cli->print = true;
		return -1;
	case 'j':
		cli->json = true;
		return -1;
	case OPT_DRY_RUN:
		cli->dry_run = true;
		return -1;
	case OPT_ALL:
		cli->all = true;
		return -1;
	case OPT_WIDE:
		cli->wide = true;
		return -1;
	case OPT_FILE:
		cli->file = optarg;
		return -1;
	case OPT_HEX:
		cli->hex = optarg;
		return -1;
	case OPT_PCAP:
		cli->pcap = optarg;
		return -1;
	case OPT_FRAME:
		cli->frame = optarg;
		return -1;
	case OPT_INTERVAL:
		cli->interval = optarg;
		return -1;
	case OPT_BATCH:
		cli->batch = true;
		return -1;
	case OPT_REASON:
		cli->reasons = optarg;
		return -1;
	case OPT_COUNT:
		cli->count = optarg;
		return -1;
	case OPT_SNAPLEN:
		cli->snaplen = optarg;
		return -1;
	case OPT_RUN_DIR:
		cli->run_dir = optarg;
		return -1;
	case OPT_PIN_DIR:
		cli->pin_dir = optarg;
		return -1;
	case 'h':
		print_usage(stdout);
		return FW_EXIT_OK;
	case OPT_VERSION:
		(void)puts("fwctl " FW_VERSION);
		return FW_EXIT_OK;
	default:
		(void)fputs("see fwctl --help\n", stderr);
		return FW_EXIT_USAGE;
	}
}

static bool check_options(const struct command *command,
			  const struct fw_cli *cli)
{
	const struct {
		bool is_given;
		unsigned int bit;
		const char *name;
	} given[] = {
		{ cli->print, TAKES_PRINT, "--print" },
		{ cli->dry_run, TAKES_DRY_RUN, "--dry-run" },
		{ cli->all, TAKES_ALL, "--all" },
		{ cli->wide, TAKES_WIDE, "--wide" },
		{ cli->file, TAKES_FILE, "--file" },
		{ cli->hex, TAKES_FRAME, "--hex" },
		{ cli->pcap, TAKES_FRAME, "--pcap" },
		{ cli->frame, TAKES_FRAME, "--frame" },
		{ cli->interval, TAKES_TOP, "--interval" },
		{ cli->batch, TAKES_TOP, "--batch" },
		{ cli->count, TAKES_TOP | TAKES_CAPTURE, "--count" },
		{ cli->reasons, TAKES_CAPTURE, "--reason" },
		{ cli->snaplen, TAKES_CAPTURE, "--snaplen" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(given); i++) {
		if (given[i].is_given && !(command->options & given[i].bit)) {
			fw_complain("'%s' does not take %s", command->name,
				    given[i].name);
			return false;
		}
	}
	return true;
}

static bool take_operand(const struct command *command, char **argv,
			 struct fw_cli *cli)
{
	if (command->options & TAKES_WORDS) {
		cli->words = (const char *const *)argv;
		while (argv[cli->n_words])
			cli->n_words++;
		return true;
	}
	if (command->operand && !*argv) {
		fw_complain("'%s' needs a %s", command->name, command->operand);
		return false;
	}
	if (command->operand)
		cli->operand = *argv++;
	if (*argv) {
		fw_complain("unexpected argument '%s' after '%s'", *argv,
			    command->name);
		return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	const struct command *command;
	struct fw_cli cli = { 0 };
	int c, status;

	while ((c = getopt_long(argc, argv, "pjh", long_options, NULL)) != -1) {
		status = take_option(c, &cli);
		if (status >= 0)
			return status;
	}
	argv += optind;
	command = take_command(&argv);
	if (!command || !check_options(command, &cli) ||
	    !take_operand(command, argv, &cli))
		return FW_EXIT_USAGE;
	status = (int)command->run(&cli);
	if (fflush(stdout) == EOF || ferror(stdout)) {
		fw_complain("cannot write to standard output");
		return status ? status : FW_EXIT_REQUEST;
	}
	return status;
}
