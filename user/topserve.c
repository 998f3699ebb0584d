/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The verbs of `fwctl top`: counters of rules, and the busiest flows and sources.
 *
 * Flows are walked over in slices; a walk is followed by a pause that is several times
 * as long as it took of the processor, so a million flows are shown less often rather
 * than at the cost of others.
 */
#include "user/topserve.h"

#include <errno.h>
#include <stdlib.h>

#include "user/daemon.h"
#include "user/flowjson.h"
#include "user/loop.h"
#include "user/print.h"
#include "user/stats.h"
#include "user/topcount.h"
#include "user/util.h"

#define RULES_PER_TURN 2048u
#define FLOWS_PER_TURN 1024u
#define MOST_SESSIONS  4u
#define PAUSE_SHARE    4u /* times what a walk took */
#define LEAST_MS       100
#define MOST_MS	       3600000
#define NS_PER_MS      1000000ull

/* ---- rules -------------------------------------------------------------------------- */

struct counting {
	const struct fw_daemon *daemon;
	uint64_t opening;
	size_t at; /* row of the program; behind them the defaults */
};

static int put_counts(const struct fw_daemon *daemon, json_t *items,
		      uint32_t slot, const char *label)
{
	struct fw_rule_counter counter = { 0 };

	if (fw_stats_rule(daemon->datapath, slot, &counter) < 0 ||
	    !(counter.packets | counter.bytes | counter.flows))
		return 0;
	return json_array_append_new(
		items,
		json_pack("{s:o, s:o, s:o, s:o}", "label", fw_json_text(label),
			  "packets", fw_json_u64(counter.packets), "bytes",
			  fw_json_u64(counter.bytes), "flows",
			  fw_json_u64(counter.flows)));
}

static int put_rule(const struct fw_daemon *daemon, json_t *items, size_t i)
{
	const struct fw_program *program = fw_daemon_program(daemon);
	size_t dir = i - program->n_rows;

	if (i >= program->n_rows)
		return put_counts(
			daemon, items,
			fw_apply_default_slot(daemon->apply, (enum fw_dir)dir),
			fw_default_label((enum fw_dir)dir));
	if (program->rows[i].rule != i)
		return 0;
	return put_counts(daemon, items, fw_apply_row_slot(daemon->apply, i),
			  program->rows[i].label);
}

static int counting_next(void *data, json_t *items)
{
	struct counting *counting = data;
	const struct fw_daemon *daemon = counting->daemon;
	const struct fw_program *program = fw_daemon_program(daemon);

	if (!program || counting->opening != daemon->openings)
		return 0;
	for (unsigned int n = 0; n < RULES_PER_TURN; n++) {
		if (counting->at >= program->n_rows + FW_DIR_MAX)
			return 0;
		if (put_rule(daemon, items, counting->at++) < 0)
			return -ENOMEM;
		if (json_array_size(items) >= FW_PROTO_ROWS)
			return 1;
	}
	return 1;
}

void fw_handle_rule_counts(void *data, struct fw_request *request,
			   const json_t *args)
{
	const struct fw_daemon *daemon = data;
	struct counting *counting;

	(void)args;
	if (!fw_daemon_check_loaded(daemon, request))
		return;
	counting = calloc(1, sizeof(*counting));
	if (!counting) {
		fw_reply(request, NULL);
		return;
	}
	counting->daemon = daemon;
	counting->opening = daemon->openings;
	fw_reply_rows(request,
		      &(struct fw_rows){ .list = "rules",
					 .next = counting_next,
					 .free = free,
					 .data = counting },
		      json_object());
}

/* ---- flows -------------------------------------------------------------------------- */

struct session {
	struct fw_daemon *daemon;
	struct fw_request *request;
	uint64_t opening;
	uint64_t interval_ms;
	struct fw_timer *timer;
	struct fw_topcount *top;
	uint64_t at; /* in the walk; 0: none is under way */
	uint64_t walked;
	uint64_t took_ns; /* this walk, of our time */
	uint64_t begin_ns;
	bool counts; /* the programs count flows */
};

static int add_flow(void *data, const struct fw_flow *flow)
{
	struct session *session = data;
	struct fw_flow counted = *flow;

	if (session->counts)
		fw_mirror_count(session->daemon->mirror, &counted);
	fw_topcount_add(session->top, &counted);
	session->walked++;
	return 0;
}

static json_t *per_second(uint64_t n, double seconds)
{
	return json_real(seconds > 0 ? (double)n / seconds : 0);
}

static json_t *flow_json(const struct session *session,
			 const struct fw_top_flow *flow, double seconds)
{
	const struct fw_flow_counts *c = &flow->flow.counts;
	const char *label = fw_flow_label(session->daemon, &flow->flow);
	char protocol[8];

	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "protocol",
			 fw_protocol_print(protocol, flow->flow.orig.proto),
			 "original", fw_tuple_json(&flow->flow.orig), "rule",
			 fw_json_name(label), "packets",
			 fw_json_u64(c->packets[0] + c->packets[1]), "bytes",
			 fw_json_u64(c->bytes[0] + c->bytes[1]), "packet_rate",
			 per_second(flow->packets, seconds), "byte_rate",
			 per_second(flow->bytes, seconds));
}

static json_t *flows_json(const struct session *session)
{
	double seconds = fw_topcount_seconds(session->top);
	json_t *list = json_array();
	const struct fw_top_flow *flows;
	size_t n;

	flows = fw_topcount_flows(session->top, &n);
	for (size_t i = 0; i < n; i++)
		(void)json_array_append_new(
			list, flow_json(session, &flows[i], seconds));
	return list;
}

static json_t *sources_json(const struct session *session)
{
	double seconds = fw_topcount_seconds(session->top);
	const struct fw_top_source *sources;
	json_t *list = json_array();
	char text[FW_ADDR_TEXT];
	size_t n;

	sources = fw_topcount_sources(session->top, &n);
	for (size_t i = 0; i < n; i++) {
		const struct fw_top_source *s = &sources[i];

		(void)json_array_append_new(
			list,
			json_pack("{s:s, s:o, s:o, s:o}", "source",
				  fw_address_print(text, &s->addr, s->family),
				  "flows", fw_json_u64(s->flows), "packet_rate",
				  per_second(s->packets, seconds), "byte_rate",
				  per_second(s->bytes, seconds)));
	}
	return list;
}

static void send_lists(struct session *session)
{
	_cleanup_json_ json_t *item = NULL;

	fw_topcount_end(session->top);
	item = json_pack("{s:f, s:b, s:o, s:o, s:o, s:o}", "seconds",
			 fw_topcount_seconds(session->top), "counted",
			 fw_topcount_is_counted(session->top), "walked",
			 fw_json_u64(session->walked), "left_out",
			 fw_json_u64(fw_topcount_left_out(session->top)),
			 "flows", flows_json(session), "sources",
			 sources_json(session));
	/* Who has no room for it gets the next one. */
	if (item)
		(void)fw_stream_put(session->request, item);
}

/* The pause before the next walk. */
static uint64_t pause_ms(const struct session *session)
{
	uint64_t took_ms = (fw_now_ns() - session->begin_ns) / NS_PER_MS;
	uint64_t rest_ms = session->interval_ms > took_ms
				   ? session->interval_ms - took_ms
				   : 0;
	uint64_t least_ms = session->took_ns * PAUSE_SHARE / NS_PER_MS;

	return rest_ms > least_ms ? rest_ms : least_ms;
}

static void begin_walk(struct session *session)
{
	session->at = session->walked = session->took_ns = 0;
	session->begin_ns = fw_now_ns();
	session->counts = fw_flows_are_counted(session->daemon);
	fw_topcount_begin(session->top, session->begin_ns);
}

static void on_turn(void *data)
{
	struct session *session = data;
	uint64_t now_ns = fw_now_ns();
	int more;

	if (!session->daemon->mirror ||
	    session->opening != session->daemon->openings) {
		fw_stream_end(session->request, FW_EXIT_NO_DAEMON,
			      "the rules have been unloaded");
		return;
	}
	if (!session->at) {
		/* Nobody reads: nobody is counted for. */
		if (!fw_stream_has_room(session->request)) {
			(void)fw_timer_arm(session->timer, session->interval_ms,
					   0);
			return;
		}
		begin_walk(session);
	}
	more = fw_mirror_walk(session->daemon->mirror, &session->at,
			      FLOWS_PER_TURN, add_flow, session);
	session->took_ns += fw_now_ns() - now_ns;
	if (more > 0) {
		(void)fw_timer_arm(session->timer, 0, 0);
		return;
	}
	session->at = 0;
	send_lists(session);
	(void)fw_timer_arm(session->timer, pause_ms(session), 0);
}

static void on_drained(void *data)
{
	(void)data;
}

static void session_free(void *data)
{
	struct session *session = data;

	session->daemon->tops--;
	fw_timer_free(session->timer);
	fw_topcount_free(session->top);
	free(session);
}

static struct session *session_new(struct fw_daemon *daemon,
				   struct fw_request *request,
				   uint64_t interval_ms)
{
	struct session *session;

	session = calloc(1, sizeof(*session));
	if (!session)
		return NULL;
	daemon->tops++;
	session->daemon = daemon;
	session->request = request;
	session->opening = daemon->openings;
	session->interval_ms = interval_ms;
	session->top = fw_topcount_new();
	session->timer = fw_timer_new(daemon->loop, on_turn, session);
	if (!session->top || !session->timer ||
	    fw_timer_arm(session->timer, 0, 0) < 0) {
		session_free(session);
		return NULL;
	}
	return session;
}

void fw_handle_top_flows(void *data, struct fw_request *request,
			 const json_t *args)
{
	json_int_t ms = json_integer_value(json_object_get(args, "interval"));
	struct fw_daemon *daemon = data;
	struct session *session;

	if (!fw_daemon_check_loaded(daemon, request))
		return;
	if (ms < LEAST_MS || ms > MOST_MS) {
		fw_reply_error(request, FW_EXIT_REQUEST,
			       "interval is malformed");
		return;
	}
	if (daemon->tops >= MOST_SESSIONS) {
		fw_reply_error(request, FW_EXIT_REQUEST,
			       "%u are watching flows already", MOST_SESSIONS);
		return;
	}
	session = session_new(daemon, request, (uint64_t)ms);
	if (!session) {
		fw_reply(request, NULL);
		return;
	}
	fw_reply_stream(request, &(struct fw_stream){ .drained = on_drained,
						      .free = session_free,
						      .data = session });
}
