/* SPDX-License-Identifier: GPL-2.0-only */

/* The verbs about flows: list those that are meant, or end them. */
#include <errno.h>
#include <string.h>

#include "rules/rules.h"
#include "user/daemon.h"
#include "user/flowjson.h"
#include "user/flowquery.h"
#include "user/log.h"
#include "user/util.h"

#define MAX_WORDS 32

/* ---- what is asked for ---------------------------------------------------------- */

/* A question, with what the running rules know of it. */
struct question {
	const struct fw_daemon *daemon;
	const char *words[MAX_WORDS]; /* borrowed from the request */
	size_t n_words;
	struct fw_flow_query query;
	const struct fw_zone *zone; /* NULL: any */
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
	if (question->zone &&
	    !fw_zone_has(
		    question->zone,
		    fw_apply_ifname(question->daemon->apply, flow->ifindex)))
		return false;
	label = rule ? fw_flow_label(question->daemon, flow) : NULL;
	return !rule || (label && strcmp(label, rule) == 0);
}

/* ---- the flows that are meant ------------------------------------------------------ */

/* A copy out of the flow table: rows are made from it while the client reads. */
struct flow_list {
	struct fw_daemon *daemon;
	const struct question *question; /* while it is collected */
	bool is_counting;
	struct fw_flow *flows;
	size_t n, size, i;
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
	list->flows[list->n] = *flow;
	if (list->is_counting)
		fw_mirror_count(list->daemon->mirror, &list->flows[list->n]);
	list->n++;
	return 0;
}

static void flows_free(void *data)
{
	struct flow_list *list = data;

	if (!list)
		return;
	free(list->flows);
	free(list);
}

static int compare(const void *a, const void *b, void *data)
{
	const struct question *question = data;
	const struct fw_flow *one = a, *two = b;
	const char *label1, *label2;
	int order = 0;

	if (question->query.sort == FW_FLOW_SORT_RULE) {
		label1 = fw_flow_label(question->daemon, one);
		label2 = fw_flow_label(question->daemon, two);
		order = strcmp(label1 ? label1 : "", label2 ? label2 : "");
	}
	if (!order)
		order = fw_flow_compare(question->query.sort, one, two);
	return question->query.reverse ? -order : order;
}

/* The flows of a question, in its order; NULL: the request has been answered. */
static struct flow_list *collect(struct question *question,
				 struct fw_daemon *daemon,
				 struct fw_request *request)
{
	struct flow_list *list;
	int r;

	list = calloc(1, sizeof(*list));
	if (!list) {
		fw_reply(request, NULL);
		return NULL;
	}
	list->daemon = daemon;
	list->question = question;
	list->is_counting = fw_flows_are_counted(daemon);
	r = fw_mirror_foreach(daemon->mirror, collect_flow, list);
	if (r < 0) {
		flows_free(list);
		fw_reply_error(request, FW_EXIT_KERNEL,
			       "cannot list the flows: %s", strerror(-r));
		return NULL;
	}
	if (list->n && question->query.sort != FW_FLOW_SORT_NONE)
		qsort_r(list->flows, list->n, sizeof(*list->flows), compare,
			question);
	list->question = NULL;
	return list;
}

/* ---- listing ------------------------------------------------------------------------ */

static json_t *row_json(const struct flow_list *list,
			const struct fw_flow *flow)
{
	json_t *json = fw_flow_json(list->daemon, flow);

	if (json && list->is_counting)
		fw_flow_json_counts(json, flow);
	return json;
}

static int flows_next(void *data, json_t *items)
{
	struct flow_list *list = data;

	for (int n = 0; n < FW_PROTO_ROWS && list->i < list->n;
	     n++, list->i++) {
		if (json_array_append_new(
			    items, row_json(list, &list->flows[list->i])) < 0)
			return -ENOMEM;
	}
	return list->i < list->n;
}

static bool is_stale(const struct fw_daemon *daemon)
{
	struct fw_mirror_stats stats = { 0 };

	fw_mirror_stats(daemon->mirror, &stats);
	return !stats.in_sync;
}

void fw_handle_flows(void *data, struct fw_request *request, const json_t *args)
{
	struct fw_daemon *daemon = data;
	struct question question;
	struct flow_list *list;
	bool stale;

	if (!fw_daemon_check_loaded(daemon, request) ||
	    !read_question(daemon, request, args, &question))
		return;
	if ((question.query.sort == FW_FLOW_SORT_PACKETS ||
	     question.query.sort == FW_FLOW_SORT_BYTES) &&
	    !fw_flows_are_counted(daemon)) {
		fw_reply_error(
			request, FW_EXIT_REQUEST,
			"packets and bytes of flows are counted with 'option flow-accounting on' only");
		return;
	}
	/* A dump that fails leaves the last picture, marked as stale. */
	stale = fw_mirror_refresh(daemon->mirror) < 0 || is_stale(daemon);
	list = collect(&question, daemon, request);
	if (!list)
		return;
	if (question.query.count) {
		fw_reply(request,
			 json_pack("{s:I, s:b}", "count", (json_int_t)list->n,
				   "stale", stale));
		flows_free(list);
		return;
	}
	fw_reply_rows(request,
		      &(struct fw_rows){ .list = "flows",
					 .next = flows_next,
					 .free = flows_free,
					 .data = list },
		      json_pack("{s:b}", "stale", stale));
}

/* ---- ending ------------------------------------------------------------------------- */

void fw_handle_flows_kill(void *data, struct fw_request *request,
			  const json_t *args)
{
	struct fw_daemon *daemon = data;
	_cleanup_free_ char *error = NULL;
	struct question question;
	struct flow_list *list;
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
	list = collect(&question, daemon, request);
	if (!list)
		return;
	r = fw_mirror_kill(daemon->mirror, list->flows, list->n, &killed);
	if (killed)
		log_info("%llu flow%s killed", (unsigned long long)killed,
			 fw_plural((long long)killed));
	if (r < 0) {
		fw_reply_error(
			request, FW_EXIT_KERNEL,
			"killed %llu of %zu flows, then the kernel refused: %s",
			(unsigned long long)killed, list->n, strerror(-r));
	} else {
		fw_reply(request,
			 json_pack("{s:o, s:b}", "killed", fw_json_u64(killed),
				   "stale", is_stale(daemon)));
	}
	flows_free(list);
}
