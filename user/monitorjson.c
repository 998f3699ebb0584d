/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Live events as JSON. Members that `show flows --json` has as well are called the
 * same there.
 */
#include "user/monitorjson.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rules/rules.h"
#include "user/daemon.h"
#include "user/flowjson.h"
#include "user/flowquery.h"
#include "user/print.h"
#include "user/util.h"

/* ---- where rules stand -------------------------------------------------------- */

/* The row of each counter slot, worked out once for a generation. */
struct fw_places {
	const struct fw_daemon *daemon;
	uint32_t gen;	/* 0: nothing is known */
	uint32_t *rows; /* by slot; 0: none, else its number + 1 */
};

struct fw_places *fw_places_new(const struct fw_daemon *daemon)
{
	struct fw_places *places;

	places = calloc(1, sizeof(*places));
	if (places)
		places->daemon = daemon;
	return places;
}

void fw_places_free(struct fw_places *places)
{
	if (!places)
		return;
	free(places->rows);
	free(places);
}

void fw_places_forget(struct fw_places *places)
{
	free(places->rows);
	places->rows = NULL;
	places->gen = 0;
}

/* Without memory nothing is known. */
static void learn(struct fw_places *places)
{
	const struct fw_program *program = fw_daemon_program(places->daemon);
	const struct fw_apply *apply = places->daemon->apply;

	if (places->gen == fw_apply_gen(apply))
		return;
	free(places->rows);
	places->rows = calloc(FW_MAX_SLOTS, sizeof(*places->rows));
	places->gen = fw_apply_gen(apply);
	for (size_t i = 0; places->rows && i < program->n_rows; i++) {
		uint32_t slot = fw_apply_row_slot(apply, i);

		if (slot < FW_MAX_SLOTS && !places->rows[slot])
			places->rows[slot] = (uint32_t)i + 1;
	}
}

/* The rule that counts there, unless it is one that is gone. */
static const struct fw_ir_row *row_of(struct fw_places *places, uint32_t slot,
				      const char *label)
{
	const struct fw_program *program = fw_daemon_program(places->daemon);
	const struct fw_ir_row *row;

	if (!program || !label || slot >= FW_MAX_SLOTS)
		return NULL;
	learn(places);
	if (!places->rows || !places->rows[slot] ||
	    places->rows[slot] > program->n_rows)
		return NULL;
	row = &program->rows[places->rows[slot] - 1];
	return strcmp(row->label, label) == 0 ? row : NULL;
}

const struct fw_ir_row *fw_places_row(struct fw_places *places,
				      const struct fw_event *event)
{
	return row_of(places, event->slot,
		      fw_event_label(places->daemon, event));
}

static void add_place(json_t *json, const struct fw_ir_row *row)
{
	(void)fw_json_set(json, "file", fw_json_name(row ? row->file : NULL));
	(void)fw_json_set(json, "line",
			  row ? json_integer(row->line) : json_null());
}

/* ---- packets -------------------------------------------------------------------- */

/* Seconds since 1970 of a moment of CLOCK_MONOTONIC. */
static json_t *time_json(uint64_t mono_ns)
{
	struct timespec now = { 0 };
	int64_t ago_us;
	double seconds;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	ago_us = (int64_t)(fw_now_ns() - mono_ns) / 1000;
	seconds = (double)now.tv_sec +
		  (double)(now.tv_nsec / 1000 - ago_us) / 1e6;
	return json_real(seconds);
}

/* Did rules decide, so that it is known which, and in which direction? */
static bool is_of_rules(const struct fw_event *event)
{
	const uint64_t reasons = 1ull << FW_REASON_DROP_RULE |
				 1ull << FW_REASON_DROP_DEFAULT |
				 1ull << FW_REASON_DROP_REJECT |
				 1ull << FW_REASON_DROP_REJECT_LIMIT;

	if (event->type == FW_EVENT_LOG || reasons >> event->reason & 1)
		return true;
	return event->reason == FW_REASON_DROP_RELOAD && event->slot;
}

const char *fw_event_label(const struct fw_daemon *daemon,
			   const struct fw_event *event)
{
	return is_of_rules(event)
		       ? fw_apply_slot_label(daemon->apply, event->slot)
		       : NULL;
}

enum fw_verdict fw_event_verdict(const struct fw_event *event)
{
	if (event->type == FW_EVENT_LOG || event->type == FW_EVENT_ESP)
		return (enum fw_verdict)event->verdict;
	return event->reason == FW_REASON_DROP_REJECT ? FW_REJECT : FW_DROP;
}

static json_t *flags_json(const struct fw_event *event)
{
	static const char flags[] = "FSRPAUEC";
	char set[sizeof(flags)] = "";
	size_t n = 0;

	if (event->tuple.proto != IPPROTO_TCP)
		return json_null();
	for (size_t i = 0; flags[i]; i++) {
		if (event->tcp_flags & 1u << i)
			set[n++] = flags[i];
	}
	return json_string(set);
}

/* What is not IP, or is cut off before its addresses, has none. */
static void add_tuples(json_t *json, const struct fw_daemon *daemon,
		       const struct fw_event *event)
{
	const struct fw_tuple *tuple = &event->tuple;
	bool is_ip = tuple->family == FW_AF_IPV4 || tuple->family == FW_AF_IPV6;
	struct fw_flow flow;
	char protocol[8];
	bool has_flow;

	has_flow = is_ip && fw_mirror_find(daemon->mirror, tuple, &flow);
	(void)fw_json_set(
		json, "protocol",
		is_ip ? json_string(fw_protocol_print(protocol, tuple->proto))
		      : json_null());
	(void)fw_json_set(json, "family",
			  !is_ip			? json_null()
			  : tuple->family == FW_AF_IPV4 ? json_string("ipv4")
							: json_string("ipv6"));
	(void)fw_json_set(json, "packet",
			  is_ip ? fw_tuple_json(tuple) : json_null());
	(void)fw_json_set(json, "original",
			  has_flow ? fw_tuple_json(&flow.orig) : json_null());
	(void)fw_json_set(json, "reply",
			  has_flow ? fw_tuple_json(&flow.reply) : json_null());
}

/* Of IPsec that nobody has keys for. */
static json_t *spi_json(const struct fw_event *event)
{
	return event->type == FW_EVENT_ESP
		       ? json_sprintf("0x%08x", ntohl(event->spi))
		       : json_null();
}

json_t *fw_event_json(struct fw_places *places, const struct fw_event *event)
{
	const struct fw_daemon *daemon = places->daemon;
	const char *label = fw_event_label(daemon, event);
	const struct fw_ir_row *row = row_of(places, event->slot, label);
	bool is_log = event->type == FW_EVENT_LOG;
	bool is_esp = event->type == FW_EVENT_ESP;
	enum fw_verdict verdict = fw_event_verdict(event);
	json_t *json;

	json = json_pack(
		"{s:o, s:s, s:o, s:s, s:o, s:s, s:s, s:o, s:I, s:o, s:b, s:o, s:o}",
		"time", time_json(event->time_ns), "event",
		verdict == FW_ACCEPT ? "accept" : "drop", "interface",
		fw_json_name(fw_apply_ifname(daemon->apply, event->ifindex)),
		"hook", fw_hook_name((enum fw_hook)event->hook), "direction",
		is_of_rules(event)
			? json_string(fw_dir_name((enum fw_dir)event->dir))
			: json_null(),
		"verdict", fw_verdict_name(verdict), "reason",
		fw_reason_name((enum fw_reason)event->reason), "rule",
		fw_json_name(label), "length", (json_int_t)event->len,
		"tcp_flags", flags_json(event), "logged", is_log || is_esp,
		"prefix", fw_json_name(is_log && row ? row->prefix : NULL),
		"spi", spi_json(event));
	if (!json)
		return NULL;
	add_place(json, row);
	add_tuples(json, daemon, event);
	return json;
}

/* ---- flows ---------------------------------------------------------------------- */

json_t *fw_flow_event_json(struct fw_places *places, enum fw_flow_news news,
			   const struct fw_flow *flow,
			   const struct fw_flow *before)
{
	static const char *const names[] = {
		[FW_FLOW_OPENED] = "flow-opened",
		[FW_FLOW_CHANGED] = "flow-changed",
		[FW_FLOW_CLOSED] = "flow-closed",
	};
	const struct fw_daemon *daemon = places->daemon;
	json_t *json = fw_flow_json(daemon, flow);
	struct fw_flow counted = *flow;
	uint64_t at_ns = fw_now_ns();

	if (!json)
		return NULL;
	if (news == FW_FLOW_OPENED && flow->opened_ns)
		at_ns = flow->opened_ns;
	(void)fw_json_set(json, "time", time_json(at_ns));
	(void)fw_json_set(json, "event", json_string(names[news]));
	if (before)
		(void)fw_json_set(json, "previous_state",
				  json_string(fw_flow_state(before)));
	add_place(json,
		  row_of(places, flow->slot, fw_flow_label(daemon, flow)));
	if (news == FW_FLOW_CLOSED && fw_flows_are_counted(daemon)) {
		fw_mirror_count(daemon->mirror, &counted);
		fw_flow_json_counts(json, &counted);
	}
	return json;
}

/* ---- what is not shown ------------------------------------------------------------ */

json_t *fw_suppressed_json(struct fw_places *places,
			   const struct fw_event *last, uint64_t n)
{
	const char *label = NULL;
	json_t *json;

	if (last->type == FW_EVENT_LOG)
		label = fw_event_label(places->daemon, last);
	json = json_pack("{s:o, s:s, s:o, s:o}", "time", time_json(fw_now_ns()),
			 "event", "suppressed", "count", fw_json_u64(n), "rule",
			 fw_json_name(label));
	if (json)
		add_place(json, row_of(places, last->slot, label));
	return json;
}

json_t *fw_lost_json(uint64_t n)
{
	return json_pack("{s:o, s:s, s:o}", "time", time_json(fw_now_ns()),
			 "event", "lost", "count", fw_json_u64(n));
}
