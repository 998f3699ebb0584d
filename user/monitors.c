/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Those who watch live events. The programs and the mirror report while somebody wants
 * it, and as long as he does; an event is made into JSON at most once, and not for
 * somebody who has no room for it: he gets a count instead.
 */
#include "user/monitors.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "rules/rules.h"
#include "user/ctmsg.h"
#include "user/daemon.h"
#include "user/flowjson.h"
#include "user/monitorjson.h"
#include "user/util.h"
#include "user/watchquery.h"

#define MAX_MONITORS 16u
#define PER_SECOND   5000u /* events to all of them: a twentieth of a processor */
#define NS_PER_S     1000000000ull

struct monitor {
	struct fw_monitors *monitors;
	struct monitor *next;
	struct fw_request *request;
	json_t *words; /* the query borrows them */
	struct fw_monitor_query query;
	uint64_t lost; /* not told yet */
};

struct fw_monitors {
	struct fw_daemon *daemon;
	struct monitor *list;
	unsigned int n;
	struct fw_places *places;
	uint64_t second; /* in which so many were sent: */
	unsigned int sent;
};

/* ---- who wants what --------------------------------------------------------------- */

static bool is_wanted(const struct fw_monitors *monitors, unsigned int kinds)
{
	for (const struct monitor *m = monitors->list; m; m = m->next) {
		if (m->query.kinds & kinds)
			return true;
	}
	return false;
}

static void on_flow(void *data, enum fw_flow_news news,
		    const struct fw_flow *flow, const struct fw_flow *before);

/* Who reports does so only while somebody listens. */
static void follow_wishes(struct fw_monitors *monitors)
{
	const struct fw_daemon *daemon = monitors->daemon;

	if (!monitors->list)
		fw_places_forget(monitors->places);
	if (daemon->apply)
		fw_apply_watch(daemon->apply, FW_WATCH_DROPS,
			       is_wanted(monitors, FW_MONITOR_DROPS)
				       ? FW_WATCH_DROPS
				       : 0);
	if (daemon->mirror)
		fw_mirror_watch(daemon->mirror,
				is_wanted(monitors, FW_MONITOR_FLOWS) ? on_flow
								      : NULL,
				monitors);
}

static bool wants_event(const struct monitor *m, const struct fw_event *event,
			const struct fw_flow *as_flow, const char *label)
{
	unsigned int kind = fw_event_verdict(event) == FW_ACCEPT
				    ? FW_MONITOR_LOGS
				    : FW_MONITOR_DROPS;

	if (!(m->query.kinds & kind))
		return false;
	if (m->query.reasons && !(m->query.reasons >> event->reason & 1))
		return false;
	return fw_watch_matches(m->monitors->daemon, &m->query, as_flow, label);
}

/* ---- sending ------------------------------------------------------------------------ */

/* So many in a second and no more, whoever makes packets. */
static bool take_share(struct fw_monitors *monitors)
{
	uint64_t second = fw_now_ns() / NS_PER_S;

	if (monitors->second != second) {
		monitors->second = second;
		monitors->sent = 0;
	}
	return monitors->sent++ < PER_SECOND;
}

static void tell_lost(struct monitor *m)
{
	_cleanup_json_ json_t *json = NULL;

	if (!m->lost || !fw_stream_has_room(m->request))
		return;
	json = fw_lost_json(m->lost);
	if (json && fw_stream_put(m->request, json) == 0)
		m->lost = 0;
}

static bool has_room(struct monitor *m)
{
	if (fw_stream_has_room(m->request) && take_share(m->monitors))
		return true;
	m->lost++;
	return false;
}

/* It stands for `n` events. */
static void send_json(struct monitor *m, json_t *json, uint64_t n)
{
	tell_lost(m);
	if (!json || fw_stream_put(m->request, json) < 0)
		m->lost += n;
}

static bool is_sane(const struct fw_event *event)
{
	return event->verdict < FW_VERDICT_MAX && event->dir < FW_DIR_MAX &&
	       event->hook < FW_HOOK_MAX && event->reason < FW_REASON_MAX;
}

void fw_monitors_event(struct fw_monitors *monitors,
		       const struct fw_event *event)
{
	const struct fw_daemon *daemon = monitors->daemon;
	struct fw_flow as_flow = { .orig = event->tuple,
				   .ifindex = event->ifindex };
	_cleanup_json_ json_t *json = NULL;
	const char *label;

	if (!monitors->list || !daemon->apply || !is_sane(event))
		return;
	fw_tuple_invert(&as_flow.orig, &as_flow.reply);
	label = fw_event_label(daemon, event);
	for (struct monitor *m = monitors->list; m; m = m->next) {
		if (!wants_event(m, event, &as_flow, label) || !has_room(m))
			continue;
		if (!json)
			json = fw_event_json(monitors->places, event);
		send_json(m, json, 1);
	}
}

static void on_flow(void *data, enum fw_flow_news news,
		    const struct fw_flow *flow, const struct fw_flow *before)
{
	struct fw_monitors *monitors = data;
	_cleanup_json_ json_t *json = NULL;
	const char *label;

	if (!monitors->daemon->apply)
		return;
	label = fw_flow_label(monitors->daemon, flow);
	for (struct monitor *m = monitors->list; m; m = m->next) {
		if (!(m->query.kinds & FW_MONITOR_FLOWS) || m->query.reasons ||
		    !fw_watch_matches(monitors->daemon, &m->query, flow,
				      label) ||
		    !has_room(m))
			continue;
		if (!json)
			json = fw_flow_event_json(monitors->places, news, flow,
						  before);
		send_json(m, json, 1);
	}
}

/* Nobody knows which packets they were, but whose `log` it was. */
void fw_monitors_suppressed(struct fw_monitors *monitors,
			    const struct fw_event *last, uint64_t n)
{
	bool may_pass =
		last->type == FW_EVENT_LOG || last->type == FW_EVENT_ESP;
	unsigned int kind = may_pass && last->verdict == FW_ACCEPT
				    ? FW_MONITOR_LOGS
				    : FW_MONITOR_DROPS;
	_cleanup_json_ json_t *json = NULL;
	const char *label = NULL;

	if (!monitors->list || !monitors->daemon->apply)
		return;
	if (last->type == FW_EVENT_LOG)
		label = fw_event_label(monitors->daemon, last);
	json = fw_suppressed_json(monitors->places, last, n);
	for (struct monitor *m = monitors->list; m; m = m->next) {
		const char *rule = m->query.of.rule;

		if (m->query.kinds & kind &&
		    (!label || !rule || strcmp(rule, label) == 0))
			send_json(m, json, n);
	}
}

/* ---- coming and going --------------------------------------------------------------- */

static void on_drained(void *data)
{
	tell_lost(data);
}

static void monitor_free(void *data)
{
	struct monitor *monitor = data;
	struct fw_monitors *monitors = monitor->monitors;

	for (struct monitor **p = &monitors->list; *p; p = &(*p)->next) {
		if (*p == monitor) {
			*p = monitor->next;
			monitors->n--;
			follow_wishes(monitors);
			break;
		}
	}
	json_decref(monitor->words);
	free(monitor);
}

static int monitor_new(struct fw_monitors *monitors, struct fw_request *request,
		       const json_t *args, struct monitor **ret, char **reterr)
{
	struct monitor *monitor;
	int r;

	monitor = calloc(1, sizeof(*monitor));
	if (!monitor)
		return -ENOMEM;
	monitor->monitors = monitors;
	monitor->request = request;
	r = fw_watch_read(monitors->daemon, args, fw_monitor_query_parse,
			  &monitor->words, &monitor->query, reterr);
	if (r < 0) {
		monitor_free(monitor);
		return r;
	}
	*ret = monitor;
	return 0;
}

void fw_handle_monitor(void *data, struct fw_request *request,
		       const json_t *args)
{
	struct fw_daemon *daemon = data;
	struct fw_monitors *monitors = daemon->monitors;
	_cleanup_free_ char *error = NULL;
	struct monitor *monitor = NULL;
	int r;

	if (!fw_daemon_check_loaded(daemon, request))
		return;
	if (monitors->n >= MAX_MONITORS) {
		fw_reply_error(request, FW_EXIT_REQUEST,
			       "%u monitors are running already, end one",
			       MAX_MONITORS);
		return;
	}
	r = monitor_new(monitors, request, args, &monitor, &error);
	if (r < 0) {
		fw_reply_error(request, FW_EXIT_REQUEST, "%s",
			       error ? error : strerror(-r));
		return;
	}
	monitor->next = monitors->list;
	monitors->list = monitor;
	monitors->n++;
	follow_wishes(monitors);
	fw_reply_stream(request, &(struct fw_stream){ .drained = on_drained,
						      .free = monitor_free,
						      .data = monitor });
}

void fw_monitors_end(struct fw_monitors *monitors, const char *why)
{
	while (monitors->list)
		fw_stream_end(monitors->list->request, FW_EXIT_NO_DAEMON, why);
}

unsigned int fw_monitors_count(const struct fw_monitors *monitors)
{
	return monitors->n;
}

struct fw_monitors *fw_monitors_new(struct fw_daemon *daemon)
{
	struct fw_monitors *monitors;

	monitors = calloc(1, sizeof(*monitors));
	if (!monitors)
		return NULL;
	monitors->daemon = daemon;
	monitors->places = fw_places_new(daemon);
	if (!monitors->places) {
		free(monitors);
		return NULL;
	}
	return monitors;
}

void fw_monitors_free(struct fw_monitors *monitors)
{
	if (!monitors)
		return;
	fw_places_free(monitors->places);
	free(monitors);
}
