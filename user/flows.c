/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The verbs about flows: list those that are meant, or end them.
 *
 * A list is made out of the picture as it is while the client reads, a piece at a time: no
 * copy of it exists here, and who wants an order puts the rows into it himself.
 */
#include <errno.h>
#include <string.h>

#include "rules/rules.h"
#include "user/ctsize.h"
#include "user/daemon.h"
#include "user/flowjson.h"
#include "user/flowquery.h"
#include "user/log.h"
#include "user/util.h"

#define MAX_WORDS      32
#define MAX_LISTS      16u    /* that are being read at a time */
#define FLOWS_PER_TURN 4096u  /* looked at, if few or none of them are meant */
#define FEW_FLOWS      32768u /* a dump of them takes some 50 ms */
#define PATIENCE_NS    10000000000ull /* with the first dump of all */

/* ---- what is asked for ---------------------------------------------------------- */

/* A question, with what the running rules know of it. */
struct question {
	const struct fw_daemon *daemon;
	const char *words[MAX_WORDS]; /* borrowed from the request */
	size_t n_words;
	struct fw_flow_query query;
	const struct fw_zone *zone; /* that the query names */
};

static int take_words(struct question *question, const json_t *args,
		      char **reterr)
{
	const json_t *words = json_object_get(args, "words");
	size_t n = json_array_size(words);

	if (n > MAX_WORDS) {
		fw_errorf(reterr, "more than %d words", MAX_WORDS);
		return -EINVAL;
	}
	for (size_t i = 0; i < n; i++) {
		const char *word = json_string_value(json_array_get(words, i));

		if (!word) {
			fw_errorf(reterr, "words are malformed");
			return -EINVAL;
		}
		question->words[i] = word;
	}
	question->n_words = n;
	return 0;
}

static int look_up_zone(struct question *question, char **reterr)
{
	const char *name = question->query.zone;

	question->zone = fw_zone_find(question->daemon, name);
	if (question->zone)
		return 0;
	fw_errorf(
		reterr,
		"no zone is called '%s': zone takes a name that 'interface' declares, see fwctl show interfaces",
		name);
	return -EINVAL;
}

static int look_up(struct question *question, char **reterr)
{
	const struct fw_flow_query *query = &question->query;

	if (query->rule && !fw_label_exists(question->daemon, query->rule)) {
		fw_errorf(
			reterr,
			"no rule is called '%s': rule takes a label, see fwctl show rules",
			query->rule);
		return -EINVAL;
	}
	return query->zone ? look_up_zone(question, reterr) : 0;
}

/* False: it makes no sense, and the request has been answered. */
static bool read_question(struct fw_daemon *daemon, struct fw_request *request,
			  const json_t *args, struct question *ret)
{
	_cleanup_free_ char *error = NULL;
	int r;

	*ret = (struct question){ .daemon = daemon };
	r = take_words(ret, args, &error);
	if (r == 0)
		r = fw_flow_query_parse(ret->words, ret->n_words, &ret->query,
					&error);
	if (r == 0)
		r = look_up(ret, &error);
	if (r < 0)
		fw_reply_error(request, FW_EXIT_REQUEST, "%s",
			       error ? error : strerror(-r));
	return r == 0;
}

static bool is_meant(const struct question *question,
		     const struct fw_flow *flow)
{
	const char *label, *rule = question->query.rule;

	if (!fw_flow_query_matches(&question->query, flow))
		return false;
	/* Its next packet finds that out; until then it is nobody's. */
	if (fw_apply_has_ended(question->daemon->apply,
			       flow->mark >> FW_MARK_GEN_SHIFT))
		return false;
	if (question->query.zone &&
	    (!question->zone ||
	     !fw_zone_has(
		     question->zone,
		     fw_apply_ifname(question->daemon->apply, flow->ifindex))))
		return false;
	label = rule ? fw_flow_label(question->daemon, flow) : NULL;
	return !rule || (label && strcmp(label, rule) == 0);
}

/* ---- listing ------------------------------------------------------------------------ */

/* A list on its way to a client. */
struct listing {
	struct fw_daemon *daemon;
	uint64_t opening; /* of the daemon: that of which picture it is */
	json_t *args;	  /* the question borrows the words */
	struct question question;
	bool is_counted; /* what flows have counted is shown */
	bool is_ready;	 /* there is a picture */
	uint64_t give_up_ns;
	uint64_t at; /* in the walk */
	uint64_t n;  /* flows found */
	json_t *items;
};

static bool is_stale(const struct fw_daemon *daemon)
{
	struct fw_mirror_stats stats = { 0 };

	fw_mirror_stats(daemon->mirror, &stats);
	return !stats.in_sync;
}

/* False: the rules and the picture that it was about are gone. */
static bool is_valid(const struct listing *list)
{
	return list->daemon->mirror && fw_daemon_program(list->daemon) &&
	       list->opening == list->daemon->openings;
}

static json_t *row_json(const struct listing *list, const struct fw_flow *flow)
{
	const struct fw_daemon *daemon = list->daemon;
	enum fw_flow_sort sort = list->question.query.sort;
	_cleanup_free_ char *order = NULL;
	struct fw_flow counted = *flow;
	json_t *json;

	json = fw_flow_json(daemon, flow);
	if (!json)
		return NULL;
	if (list->is_counted) {
		fw_mirror_count(daemon->mirror, &counted);
		fw_flow_json_counts(json, &counted);
	}
	if (sort != FW_FLOW_SORT_NONE) {
		order = fw_flow_order(sort, &counted,
				      fw_flow_label(daemon, flow));
		if (!order ||
		    fw_json_set(json, "order", fw_json_text(order)) < 0) {
			json_decref(json);
			return NULL;
		}
	}
	return json;
}

static int list_flow(void *data, const struct fw_flow *flow)
{
	struct listing *list = data;

	if (!is_meant(&list->question, flow))
		return 0;
	list->n++;
	if (list->question.query.count)
		return 0;
	if (json_array_append_new(list->items, row_json(list, flow)) < 0)
		return -ENOMEM;
	return json_array_size(list->items) >= FW_PROTO_ROWS;
}

/* True if there is a picture, however old: at the start there is none for a while. */
static bool is_ready(struct listing *list)
{
	struct fw_mirror_stats stats;

	if (list->is_ready)
		return true;
	fw_mirror_stats(list->daemon->mirror, &stats);
	list->is_ready = stats.resyncs || fw_now_ns() > list->give_up_ns;
	return list->is_ready;
}

static int listing_next(void *data, json_t *items)
{
	struct listing *list = data;
	struct question *question = &list->question;

	if (!is_valid(list))
		return 0;
	if (!is_ready(list))
		return FW_ROWS_LATER;
	/* Rules that were loaded meanwhile have zones of their own. */
	if (question->query.zone)
		question->zone =
			fw_zone_find(list->daemon, question->query.zone);
	list->items = items;
	return fw_mirror_walk(list->daemon->mirror, &list->at, FLOWS_PER_TURN,
			      list_flow, list);
}

static void listing_end(void *data, struct fw_request *request)
{
	const struct listing *list = data;
	bool stale;

	if (!is_valid(list)) {
		fw_reply_error(request, FW_EXIT_NO_DAEMON,
			       "the rules were unloaded");
		return;
	}
	stale = is_stale(list->daemon);
	if (list->question.query.count)
		fw_reply(request,
			 json_pack("{s:o, s:b}", "count", fw_json_u64(list->n),
				   "stale", stale));
	else
		fw_reply(request, json_pack("{s:s, s:b}", "list", "flows",
					    "stale", stale));
}

static void listing_free(void *data)
{
	struct listing *list = data;

	list->daemon->listings--;
	json_decref(list->args);
	free(list);
}

/*
 * A small table is dumped for the answer, which is exact then. A large one would keep
 * all others waiting: what is known of it now is as old as the last dump at most, and
 * who asks again soon after gets a newer one.
 */
static void bring_up_to_date(struct fw_daemon *daemon)
{
	struct fw_mirror_stats stats;
	struct fw_ctsize size;

	fw_ctsize_read(&size);
	fw_mirror_stats(daemon->mirror, &stats);
	/* If that fails the picture is as it was, and known to be stale. */
	if (size.entries <= FEW_FLOWS && stats.flows <= FEW_FLOWS)
		(void)fw_mirror_refresh(daemon->mirror);
	else
		fw_mirror_catch_up(daemon->mirror);
}

/* NULL: the request has been answered. */
static struct listing *listing_new(struct fw_daemon *daemon,
				   struct fw_request *request,
				   const json_t *args)
{
	struct listing *list;

	list = calloc(1, sizeof(*list));
	if (!list) {
		fw_reply(request, NULL);
		return NULL;
	}
	list->daemon = daemon;
	list->opening = daemon->openings;
	list->give_up_ns = fw_now_ns() + PATIENCE_NS;
	daemon->listings++;
	list->args = json_deep_copy(args);
	if (!read_question(daemon, request, list->args, &list->question)) {
		listing_free(list);
		return NULL;
	}
	list->is_counted = fw_flows_are_counted(daemon);
	return list;
}

static bool check_sort(const struct listing *list, struct fw_request *request)
{
	enum fw_flow_sort sort = list->question.query.sort;

	if ((sort != FW_FLOW_SORT_PACKETS && sort != FW_FLOW_SORT_BYTES) ||
	    list->is_counted)
		return true;
	fw_reply_error(
		request, FW_EXIT_REQUEST,
		"packets and bytes of flows are counted with 'option flow-accounting on' only");
	return false;
}

void fw_handle_flows(void *data, struct fw_request *request, const json_t *args)
{
	struct fw_daemon *daemon = data;
	struct listing *list;

	if (!fw_daemon_check_loaded(daemon, request))
		return;
	if (daemon->listings >= MAX_LISTS) {
		fw_reply_error(
			request, FW_EXIT_REQUEST,
			"%u lists of flows are being read already, end one",
			MAX_LISTS);
		return;
	}
	list = listing_new(daemon, request, args);
	if (!list)
		return;
	if (!check_sort(list, request)) {
		listing_free(list);
		return;
	}
	bring_up_to_date(daemon);
	fw_reply_rows(request,
		      &(struct fw_rows){ .next = listing_next,
					 .end = listing_end,
					 .free = listing_free,
					 .data = list,
					 .is_patient = true },
		      NULL);
}

/* ---- the flows to end ------------------------------------------------------------------ */

struct flow_list {
	const struct question *question;
	struct fw_flow *flows;
	size_t n, size;
};

static int collect_flow(void *data, const struct fw_flow *flow)
{
	struct flow_list *list = data;

	if (!is_meant(list->question, flow))
		return 0;
	if (list->n == list->size) {
		size_t size = list->size ? 2 * list->size : 64;
		struct fw_flow *flows;

		flows = reallocarray(list->flows, size, sizeof(*flows));
		if (!flows)
			return -ENOMEM;
		list->flows = flows;
		list->size = size;
	}
	list->flows[list->n++] = *flow;
	return 0;
}

/* ---- ending ------------------------------------------------------------------------- */

void fw_handle_flows_kill(void *data, struct fw_request *request,
			  const json_t *args)
{
	struct fw_daemon *daemon = data;
	_cleanup_free_ char *error = NULL;
	struct question question;
	struct flow_list list = { .question = &question };
	uint64_t killed = 0;
	int r;

	if (!fw_daemon_check_loaded(daemon, request) ||
	    !read_question(daemon, request, args, &question))
		return;
	if (fw_flow_query_check_kill(&question.query, &error) < 0) {
		fw_reply_error(request, FW_EXIT_REQUEST, "%s",
			       error ? error : "out of memory");
		return;
	}
	r = fw_mirror_refresh(daemon->mirror);
	/* Of a picture that is out of date, what is still there can be ended. */
	if (r < 0)
		log_warning(
			"the flow table is not in sync with the kernel's: %s",
			strerror(-r));
	r = fw_mirror_foreach(daemon->mirror, collect_flow, &list);
	if (r < 0) {
		free(list.flows);
		fw_reply_error(request, FW_EXIT_KERNEL,
			       "cannot list the flows: %s", strerror(-r));
		return;
	}
	r = fw_mirror_kill(daemon->mirror, list.flows, list.n, &killed);
	fw_apply_flows_cut(daemon->apply);
	if (killed)
		log_info("%llu flow%s killed", (unsigned long long)killed,
			 fw_plural((long long)killed));
	if (r < 0) {
		fw_reply_error(
			request, FW_EXIT_KERNEL,
			"killed %llu of %zu flows, then the kernel refused: %s",
			(unsigned long long)killed, list.n, strerror(-r));
	} else {
		fw_reply(request,
			 json_pack("{s:o, s:b}", "killed", fw_json_u64(killed),
				   "stale", is_stale(daemon)));
	}
	free(list.flows);
}
