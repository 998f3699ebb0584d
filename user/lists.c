/* SPDX-License-Identifier: GPL-2.0-only */

/* The verbs that list what the rules are made of: rules, sets. */
#include <errno.h>
#include <string.h>

#include "user/daemon.h"
#include "user/stats.h"
#include "user/util.h"

bool fw_daemon_check_loaded(const struct fw_daemon *daemon,
			    struct fw_request *request)
{
	if (fw_daemon_program(daemon))
		return true;
	fw_reply_error(request, FW_EXIT_NO_DAEMON, "%s",
		       daemon->open_error ? daemon->open_error
					  : "nothing is loaded");
	return false;
}

/* ---- rules ------------------------------------------------------------------ */

static json_t *rule_json(const struct fw_daemon *daemon, uint32_t slot,
			 const char *label, const char *text)
{
	struct fw_rule_counter counter = { 0 };
	int r;

	r = fw_stats_rule(daemon->datapath, slot, &counter);
	if (r < 0)
		return NULL;
	return json_pack("{s:o, s:o, s:o, s:o, s:o}", "label",
			 fw_json_text(label), "text", fw_json_text(text),
			 "packets", fw_json_u64(counter.packets), "bytes",
			 fw_json_u64(counter.bytes), "flows",
			 fw_json_u64(counter.flows));
}

static json_t *row_json(const struct fw_daemon *daemon, size_t i)
{
	const struct fw_ir_row *row = &fw_daemon_program(daemon)->rows[i];
	json_t *json;

	json = rule_json(daemon, fw_apply_row_slot(daemon->apply, i),
			 row->label, row->text);
	if (!json)
		return NULL;
	(void)fw_json_set(json, "file", fw_json_text(row->file));
	(void)fw_json_set(json, "line", json_integer(row->line));
	(void)fw_json_set(json, "stateless",
			  json_boolean(row->flags & FW_ROW_STATELESS));
	(void)fw_json_set(json, "default", json_false());
	return json;
}

static json_t *default_json(const struct fw_daemon *daemon, enum fw_dir dir)
{
	const struct fw_program *program = fw_daemon_program(daemon);
	uint8_t verdict = program->default_verdict[dir];
	char text[64];
	json_t *json;

	(void)snprintf(text, sizeof(text), "default %s %s%s", fw_dir_name(dir),
		       fw_verdict_name((enum fw_verdict)verdict),
		       program->default_log & 1u << dir ? " log" : "");
	json = rule_json(daemon, fw_apply_default_slot(daemon->apply, dir),
			 fw_default_label(dir), text);
	if (!json)
		return NULL;
	(void)fw_json_set(json, "file", json_null());
	(void)fw_json_set(json, "line", json_null());
	(void)fw_json_set(json, "stateless", json_false());
	(void)fw_json_set(json, "default", json_true());
	return json;
}

void fw_handle_rules(void *data, struct fw_request *request, const json_t *args)
{
	struct fw_daemon *daemon = data;
	_cleanup_json_ json_t *list = NULL;
	const struct fw_program *program;
	int r = 0;

	(void)args;
	if (!fw_daemon_check_loaded(daemon, request))
		return;
	program = fw_daemon_program(daemon);
	list = json_array();
	for (size_t i = 0; r == 0 && i < program->n_rows; i++) {
		if (program->rows[i].rule == i)
			r = json_array_append_new(list, row_json(daemon, i));
	}
	for (int dir = 0; r == 0 && dir < FW_DIR_MAX; dir++) {
		r = json_array_append_new(
			list, default_json(daemon, (enum fw_dir)dir));
	}
	if (r < 0) {
		fw_reply_error(request, FW_EXIT_KERNEL,
			       "cannot read the counters of the rules");
		return;
	}
	fw_reply_array(request, "rules", take_ptr(list), json_object());
}

/* ---- sets ------------------------------------------------------------------- */

static json_t *set_json(const struct fw_named_set *set)
{
	const char *replaced = set->replaced.name;

	return json_pack(
		"{s:o, s:o, s:I, s:I, s:I, s:I, s:o}", "name",
		fw_json_text(set->name), "file", fw_json_text(set->file),
		"line", (json_int_t)set->line, "ipv4", (json_int_t)set->v4,
		"ipv6", (json_int_t)set->v6, "ports", (json_int_t)set->ports,
		"replaced_by", replaced ? fw_json_text(replaced) : json_null());
}

void fw_handle_sets(void *data, struct fw_request *request, const json_t *args)
{
	struct fw_daemon *daemon = data;
	const struct fw_program *program;
	json_t *list;

	(void)args;
	if (!fw_daemon_check_loaded(daemon, request))
		return;
	program = fw_daemon_program(daemon);
	list = json_array();
	for (size_t i = 0; list && i < program->n_named_sets; i++) {
		const struct fw_named_set *set = &program->named_sets[i];

		(void)json_array_append_new(list, set_json(set));
	}
	fw_reply_array(request, "sets", list, json_object());
}
