/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The subcommands that list something: show rules, flows, sets, interfaces; and flows
 * kill, which takes the same words as the list.
 */
#include <string.h>

#include "user/client.h"
#include "user/flowquery.h"
#include "user/json.h"
#include "user/rowout.h"
#include "user/table.h"
#include "user/util.h"

/* One list of rows as a table. */
struct list {
	const char *verb;
	const char *columns;
	const char *empty; /* what to say if there are none */
	void (*row)(struct fw_table *table, const json_t *row);
	/* for rows that have more columns, behind the others; or NULL */
	const char *more_columns;
	bool (*has_more)(const json_t *row);
	void (*more)(struct fw_table *table, const json_t *row);
	void (*tail)(const json_t *result); /* behind the rows; or NULL */
};

struct output {
	const struct list *list;
	struct fw_table *table;
	bool has_more;
};

/* The first row says which columns there are. */
static void add_row(void *data, const json_t *row)
{
	struct output *output = data;
	const struct list *list = output->list;

	if (!output->table) {
		output->has_more = list->has_more && list->has_more(row);
		output->table = fw_table_new(
			output->has_more ? list->more_columns : list->columns);
	}
	list->row(output->table, row);
	if (output->has_more)
		list->more(output->table, row);
}

static void take_row(void *data, json_t *row)
{
	add_row(data, row);
}

static void print_rows(void *data)
{
	struct output *output = data;

	fw_table_flush(output->table, stdout);
}

static enum fw_exit show(struct fw_cli *cli, const struct list *list)
{
	_cleanup_json_ json_t *result = NULL;
	struct output output = { .list = list };
	struct fw_call call = { .verb = list->verb,
				.start = FW_START_IF_PINNED };
	enum fw_exit status;

	if (!cli->json) {
		call.row = take_row;
		call.data = &output;
	}
	status = fw_client_call(cli, &call, &result);
	if (status == FW_EXIT_OK && cli->json)
		status = fw_print_json(result);
	else if (status == FW_EXIT_OK && !output.table)
		(void)puts(list->empty);
	else if (status == FW_EXIT_OK)
		print_rows(&output);
	fw_table_free(output.table);
	if (status == FW_EXIT_OK && !cli->json && list->tail)
		list->tail(result);
	return status;
}

/* ---- rules ------------------------------------------------------------------------ */

static void rule_row(struct fw_table *table, const json_t *row)
{
	const char *file = fw_json_get_text(row, "file", NULL);

	fw_table_cell(table, "%s", fw_json_get_text(row, "label", "?"));
	fw_table_cell(table, "%lld", fw_json_get(row, "packets"));
	fw_table_cell(table, "%lld", fw_json_get(row, "bytes"));
	fw_table_cell(table, "%lld", fw_json_get(row, "flows"));
	if (file) {
		fw_table_cell(table, "%s:%lld", file, fw_json_get(row, "line"));
	} else {
		fw_table_cell(table, "-");
	}
	fw_table_cell(table, "%s", fw_json_get_text(row, "text", ""));
}

enum fw_exit fw_cmd_show_rules(struct fw_cli *cli)
{
	static const struct list list = {
		.verb = "rules",
		.columns = "LABEL|>PACKETS|>BYTES|>FLOWS|PLACE|RULE",
		.empty = "there are no rules",
		.row = rule_row,
	};

	return show(cli, &list);
}

/* ---- sets ------------------------------------------------------------------------- */

static void set_row(struct fw_table *table, const json_t *row)
{
	fw_table_cell(table, "%s", fw_json_get_text(row, "name", "?"));
	fw_table_cell(table, "%lld", fw_json_get(row, "ipv4"));
	fw_table_cell(table, "%lld", fw_json_get(row, "ipv6"));
	fw_table_cell(table, "%lld", fw_json_get(row, "ports"));
	fw_table_cell(table, "%s:%lld", fw_json_get_text(row, "file", "?"),
		      fw_json_get(row, "line"));
	fw_table_cell(table, "%s", fw_json_get_text(row, "replaced_by", "-"));
}

enum fw_exit fw_cmd_show_sets(struct fw_cli *cli)
{
	static const struct list list = {
		.verb = "sets",
		.columns =
			"SET|>IPV4 RANGES|>IPV6 RANGES|>PORT RANGES|PLACE|REPLACED BY",
		.empty = "there are no named sets",
		.row = set_row,
	};

	return show(cli, &list);
}

/* ---- flows ------------------------------------------------------------------------ */

static void endpoint_text(char *buf, size_t size, const json_t *tuple,
			  const char *address_key, const char *port_key)
{
	const char *address = fw_json_get_text(tuple, address_key, "?");
	const json_t *port = json_object_get(tuple, port_key);

	if (!port) {
		(void)snprintf(buf, size, "%s", address);
	} else if (strchr(address, ':')) {
		(void)snprintf(buf, size, "[%s]:%lld", address,
			       (long long)json_integer_value(port));
	} else {
		(void)snprintf(buf, size, "%s:%lld", address,
			       (long long)json_integer_value(port));
	}
}

static void tuple_cell(struct fw_table *table, const json_t *tuple)
{
	const json_t *id = json_object_get(tuple, "id");
	char from[80], to[80];

	endpoint_text(from, sizeof(from), tuple, "source", "source_port");
	endpoint_text(to, sizeof(to), tuple, "destination", "destination_port");
	if (id) {
		fw_table_cell(table, "%s -> %s id %lld", from, to,
			      (long long)json_integer_value(id));
	} else {
		fw_table_cell(table, "%s -> %s", from, to);
	}
}

static void duration_cell(struct fw_table *table, const json_t *value)
{
	long long s = json_integer_value(value);

	if (!json_is_integer(value)) {
		fw_table_cell(table, "?");
	} else if (s < 100) {
		fw_table_cell(table, "%llds", s);
	} else if (s < 6000) {
		fw_table_cell(table, "%lldm%02llds", s / 60, s % 60);
	} else if (s < 360000) {
		fw_table_cell(table, "%lldh%02lldm", s / 3600, s / 60 % 60);
	} else {
		fw_table_cell(table, "%lldd%02lldh", s / 86400, s / 3600 % 24);
	}
}

/* ---- security associations --------------------------------------------------------- */

static void text_cell(struct fw_table *table, const json_t *row,
		      const char *key)
{
	fw_table_cell(table, "%s", fw_json_get_text(row, key, "-"));
}

static void number_cell(struct fw_table *table, const json_t *row,
			const char *key)
{
	if (json_is_integer(json_object_get(row, key)))
		fw_table_cell(table, "%lld", fw_json_get(row, key));
	else
		fw_table_cell(table, "-");
}

/* "esp in udp 4500", or just the protocol. */
static void sa_protocol_cell(struct fw_table *table, const json_t *row)
{
	const json_t *encap = json_object_get(row, "encapsulation");
	const char *protocol = fw_json_get_text(row, "protocol", "?");

	if (json_is_object(encap))
		fw_table_cell(table, "%s in udp %lld", protocol,
			      fw_json_get(encap, "destination_port"));
	else
		fw_table_cell(table, "%s", protocol);
}

static void ipsec_row(struct fw_table *table, const json_t *row)
{
	text_cell(table, row, "direction");
	fw_table_cell(table, "%s -> %s", fw_json_get_text(row, "source", "?"),
		      fw_json_get_text(row, "destination", "?"));
	sa_protocol_cell(table, row);
	text_cell(table, row, "spi");
	number_cell(table, row, "reqid");
	text_cell(table, row, "mode");
	text_cell(table, row, "state");
	number_cell(table, row, "interface_id");
	text_cell(table, row, "mark");
	number_cell(table, row, "packets");
	number_cell(table, row, "bytes");
	number_cell(table, row, "xdp_packets");
	number_cell(table, row, "xdp_bytes");
	number_cell(table, row, "xdp_replays");
	number_cell(table, row, "cpu");
	duration_cell(table, json_object_get(row, "age"));
	duration_cell(table, json_object_get(row, "ends_in"));
}

/* Only where something is steered, or was. */
static void print_steering(const json_t *result)
{
	const json_t *list = json_object_get(result, "steering"), *cpu;
	struct fw_table *table;
	size_t i;

	if (!json_array_size(list))
		return;
	table = fw_table_new(">CPU|STEERED TO|>PACKETS");
	json_array_foreach(list, i, cpu)
	{
		number_cell(table, cpu, "cpu");
		fw_table_cell(table, "%s",
			      json_is_true(json_object_get(cpu, "chosen"))
				      ? "yes"
				      : "no longer");
		number_cell(table, cpu, "packets");
	}
	(void)putchar('\n');
	fw_table_print(table, stdout);
	fw_table_free(table);
}

enum fw_exit fw_cmd_show_ipsec(struct fw_cli *cli)
{
	static const struct list list = {
		.verb = "ipsec",
		.columns =
			"WAY|ADDRESSES|PROTO|SPI|>REQID|MODE|STATE|>IF ID|MARK|>PACKETS|>BYTES|>XDP PACKETS|>XDP BYTES|>REPLAYS|>CPU|>AGE|>LEFT",
		.empty = "there are no security associations",
		.row = ipsec_row,
		.tail = print_steering,
	};

	return show(cli, &list);
}

static void flow_row(struct fw_table *table, const json_t *row)
{
	fw_table_cell(table, "%s", fw_json_get_text(row, "protocol", "?"));
	tuple_cell(table, json_object_get(row, "original"));
	tuple_cell(table, json_object_get(row, "reply"));
	fw_table_cell(table, "%s", fw_json_get_text(row, "state", "?"));
	duration_cell(table, json_object_get(row, "age"));
	duration_cell(table, json_object_get(row, "left"));
	fw_table_cell(table, "%s", fw_json_get_text(row, "interface", "?"));
	fw_table_cell(table, "%s", fw_json_get_text(row, "rule", "?"));
}

static void wide_row(struct fw_table *table, const json_t *row)
{
	flow_row(table, row);
	fw_table_cell(table, "%s", fw_json_get_text(row, "direction", "?"));
	fw_table_cell(table, "%s%s",
		      json_is_true(json_object_get(row, "replied")) ? "replied"
								    : "-",
		      json_is_true(json_object_get(row, "assured")) ? ",assured"
								    : "");
	fw_table_cell(table, "0x%08llx",
		      (unsigned long long)fw_json_get(row, "mark"));
	fw_table_cell(table, "%s", fw_json_get_text(row, "table", "?"));
}

static bool has_counts(const json_t *row)
{
	return json_object_get(row, "original_packets");
}

static void counts_cells(struct fw_table *table, const json_t *row)
{
	static const char *const keys[] = { "original_packets",
					    "original_bytes", "reply_packets",
					    "reply_bytes" };

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (json_is_integer(json_object_get(row, keys[i])))
			fw_table_cell(table, "%lld", fw_json_get(row, keys[i]));
		else
			fw_table_cell(table, "?");
	}
}

#define FLOW_COLUMNS  "PROTO|ORIGINAL|REPLY|STATE|>AGE|>LEFT|INTERFACE|RULE"
#define WIDE_COLUMNS  FLOW_COLUMNS "|DIRECTION|SEEN|MARK|TABLE"
#define COUNT_COLUMNS "|>PACKETS|>BYTES|>REPLY PACKETS|>REPLY BYTES"

/* A list of flows; with counts if they are counted. */
#define FLOW_LIST(columns, empty, row)                                 \
	{ "flows",    columns,	    empty, row, columns COUNT_COLUMNS, \
	  has_counts, counts_cells, NULL }

/* The words as the daemon takes them, or NULL: they are wrong, or no memory. */
static json_t *flow_args(const struct fw_cli *cli, struct fw_flow_query *ret,
			 enum fw_exit *ret_status)
{
	_cleanup_free_ char *error = NULL;
	json_t *words, *args;

	*ret_status = FW_EXIT_USAGE;
	if (fw_flow_query_parse(cli->words, cli->n_words, ret, &error) < 0) {
		fw_complain("%s", error ? error : "out of memory");
		return NULL;
	}
	*ret_status = FW_EXIT_REQUEST;
	words = json_array();
	for (size_t i = 0; words && i < cli->n_words; i++)
		(void)json_array_append_new(words, fw_json_text(cli->words[i]));
	args = json_pack("{s:o}", "words", words);
	if (!args)
		fw_complain("out of memory");
	return args;
}

/* What is left to say when all flows are printed. */
static void end_list(const struct fw_cli *cli, const struct output *output,
		     const json_t *result)
{
	if (json_is_true(json_object_get(result, "stale"))) {
		fw_complain(
			"warning: the flow table is not in sync with the kernel's");
	}
	if (!json_object_get(result, "count")) {
		if (!output->table && !cli->json)
			(void)puts(output->list->empty);
	} else if (cli->json) {
		(void)json_dumpf(result, stdout, JSON_COMPACT);
		(void)putchar('\n');
	} else {
		(void)printf("%lld\n", fw_json_get(result, "count"));
	}
}

/* `args` are taken. */
static enum fw_exit list_flows(struct fw_cli *cli, const struct list *list,
			       const struct fw_flow_query *query, json_t *args)
{
	const struct fw_call call = { .verb = list->verb,
				      .args = args,
				      .start = FW_START_IF_PINNED };
	struct output output = { .list = list };
	const struct fw_rowout out = {
		.is_json = cli->json,
		.is_sorted = query->sort != FW_FLOW_SORT_NONE && !query->count,
		.is_reverse = query->reverse,
		.add = add_row,
		.flush = print_rows,
		.data = &output,
	};
	_cleanup_json_ json_t *result = NULL;
	enum fw_exit status;

	status = fw_rowout_call(cli, &call, &out, &result);
	if (status == FW_EXIT_OK && result)
		end_list(cli, &output, result);
	fw_table_free(output.table);
	return status;
}

enum fw_exit fw_cmd_show_flows(struct fw_cli *cli)
{
	static const struct list narrow =
		FLOW_LIST(FLOW_COLUMNS, "there are no flows", flow_row);
	static const struct list wide =
		FLOW_LIST(WIDE_COLUMNS, "there are no flows", wide_row);
	static const struct list some =
		FLOW_LIST(FLOW_COLUMNS, "no flow matches", flow_row);
	struct fw_flow_query query;
	enum fw_exit status;
	json_t *args;

	args = flow_args(cli, &query, &status);
	if (!args)
		return status;
	return list_flows(cli,
			  cli->wide	    ? &wide
			  : query.has_terms ? &some
					    : &narrow,
			  &query, args);
}

static void print_killed(const json_t *result)
{
	long long killed = fw_json_get(result, "killed");

	if (json_is_true(json_object_get(result, "stale"))) {
		fw_complain(
			"warning: the flow table is not in sync with the kernel's: some may be left");
	}
	if (killed)
		(void)printf("%lld flow%s killed\n", killed, fw_plural(killed));
	else
		(void)puts("no flow matches");
}

enum fw_exit fw_cmd_flows_kill(struct fw_cli *cli)
{
	struct fw_call call = { .verb = "flows-kill",
				.start = FW_START_IF_PINNED };
	_cleanup_json_ json_t *result = NULL;
	_cleanup_free_ char *error = NULL;
	struct fw_flow_query query;
	enum fw_exit status;

	call.args = flow_args(cli, &query, &status);
	if (!call.args)
		return status;
	if (fw_flow_query_check_kill(&query, &error) < 0) {
		json_decref(call.args);
		fw_complain("%s", error ? error : "out of memory");
		return FW_EXIT_USAGE;
	}
	status = fw_client_call(cli, &call, &result);
	if (status != FW_EXIT_OK)
		return status;
	if (cli->json)
		return fw_print_json(result);
	print_killed(result);
	return FW_EXIT_OK;
}
