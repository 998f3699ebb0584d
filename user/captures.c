/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Those who capture packets. The programs put packets into a ring while somebody wants
 * them, and only then is it open; what he asked for is sent to each, or counted if
 * there is no room for it.
 */
#include "user/captures.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "rules/rules.h"
#include "user/base64.h"
#include "user/counters.h"
#include "user/ctmsg.h"
#include "user/daemon.h"
#include "user/flowjson.h"
#include "user/log.h"
#include "user/loop.h"
#include "user/monitorjson.h"
#include "user/util.h"
#include "user/watchquery.h"

#define MAX_CAPTURES 16u
#define PER_SECOND   20000u /* packets to all of them */
#define PER_TURN     256u
#define COUNT_MS     50 /* after a packet: what else has been lost? */
#define NS_PER_S     1000000000ull
#define VLAN_AT	     12u /* where a tag is in a frame, and how long */
#define VLAN_LEN     4u

struct capture {
	struct fw_captures *captures;
	struct capture *next;
	struct fw_request *request;
	json_t *words; /* the query borrows them */
	struct fw_monitor_query query;
	uint32_t snaplen;
	uint64_t lost[FW_MAX_IFSLOTS]; /* not told yet; by row of `stats` */
};

struct fw_captures {
	struct fw_daemon *daemon;
	struct capture *list;
	unsigned int n;
	struct fw_places *places;
	uint64_t second; /* in which so many were sent: */
	unsigned int sent;

	/* While somebody captures. */
	struct ring_buffer *ring;
	struct fw_watch *watch;
	struct fw_timer *timer;
	bool is_armed;
	bool is_draining;    /* what is there is older than all of them */
	unsigned int budget; /* of a turn */
	uint64_t to_real_ns; /* from CLOCK_MONOTONIC to CLOCK_REALTIME */
	size_t n_cpus;
	struct fw_capture_budget
		*values; /* of all CPUs, as the kernel has them */
	uint64_t known[FW_MAX_IFSLOTS]; /* what the programs had no room for */
};

/* One packet, as it is sent. */
struct packet {
	const struct fw_capture *head;
	uint8_t frame[FW_CAPTURE_MAX + VLAN_LEN];
	uint32_t len;
	uint32_t wire_len;
};

/* ---- what is lost ------------------------------------------------------------------- */

/* Of the interface that has this row; its name may be NULL. */
static uint32_t ifindex_of(const struct fw_captures *captures, uint32_t slot,
			   const char **ret_name)
{
	const struct fw_apply_iface *ifaces;
	size_t n;

	*ret_name = NULL;
	if (!slot || !captures->daemon->apply)
		return 0;
	ifaces = fw_apply_ifaces(captures->daemon->apply, &n);
	for (size_t i = 0; i < n; i++) {
		if (ifaces[i].slot == slot && ifaces[i].ifindex) {
			*ret_name = ifaces[i].name;
			return ifaces[i].ifindex;
		}
	}
	return 0;
}

static void tell_lost(struct capture *c)
{
	for (uint32_t slot = 0; slot < FW_MAX_IFSLOTS; slot++) {
		_cleanup_json_ json_t *json = NULL;
		const char *name;
		uint32_t ifindex;

		if (!c->lost[slot])
			continue;
		if (!fw_stream_has_room(c->request))
			return;
		ifindex = ifindex_of(c->captures, slot, &name);
		json = json_pack("{s:s, s:o, s:I, s:o}", "event", "lost",
				 "interface", fw_json_name(name), "ifindex",
				 (json_int_t)ifindex, "count",
				 fw_json_u64(c->lost[slot]));
		if (json && fw_stream_put(c->request, json) == 0)
			c->lost[slot] = 0;
	}
}

static int read_values(struct fw_captures *captures)
{
	int map = fw_datapath_map(captures->daemon->datapath,
				  FW_MAP_CAPTURE_BUDGET);
	const uint32_t key = 0;

	return bpf_map_lookup_elem(map, &key, captures->values) < 0 ? -errno
								    : 0;
}

static uint64_t sum_of(const struct fw_captures *captures, uint32_t slot)
{
	uint64_t sum = 0;

	for (size_t cpu = 0; cpu < captures->n_cpus; cpu++)
		sum += captures->values[cpu].lost[slot];
	return sum;
}

/* What the programs had no room for, everybody has lost. */
static void on_count(void *data)
{
	struct fw_captures *captures = data;
	int r;

	captures->is_armed = false;
	r = read_values(captures);
	if (r < 0) {
		log_debug("cannot read what was not captured: %s, ignoring",
			  strerror(-r));
		return;
	}
	for (uint32_t slot = 0; slot < FW_MAX_IFSLOTS; slot++) {
		uint64_t sum = sum_of(captures, slot);
		uint64_t more = sum - captures->known[slot];

		captures->known[slot] = sum;
		for (struct capture *c = captures->list; c; c = c->next)
			c->lost[slot] += more;
	}
	for (struct capture *c = captures->list; c; c = c->next)
		tell_lost(c);
}

/* ---- sending ------------------------------------------------------------------------ */

static bool is_sane(const struct fw_capture *head, size_t size)
{
	const struct fw_event *event = &head->event;

	return size >= sizeof(*head) && head->len <= FW_CAPTURE_MAX &&
	       head->len <= size - sizeof(*head) &&
	       head->iface < FW_MAX_IFSLOTS &&
	       event->verdict < FW_VERDICT_MAX && event->dir < FW_DIR_MAX &&
	       event->hook < FW_HOOK_MAX && event->reason < FW_REASON_MAX;
}

/* The frame as it was on the wire: with the tag that the kernel keeps beside it. */
static void rebuild(const struct fw_capture *head, struct packet *ret)
{
	const uint8_t *bytes = (const uint8_t *)(head + 1);
	uint32_t at = head->len < VLAN_AT ? head->len : VLAN_AT;

	ret->head = head;
	ret->len = head->len;
	ret->wire_len = head->wire_len;
	if (!head->vlan_proto || !(head->flags & FW_CAPTURE_HAS_L2)) {
		memcpy(ret->frame, bytes, head->len);
		return;
	}
	ret->wire_len += VLAN_LEN;
	memcpy(ret->frame, bytes, at);
	if (at < VLAN_AT) /* so short: the tag lies behind the end */
		return;
	memcpy(ret->frame + at, &head->vlan_proto, sizeof(head->vlan_proto));
	ret->frame[at + 2] = (uint8_t)(head->vlan_tci >> 8);
	ret->frame[at + 3] = (uint8_t)head->vlan_tci;
	memcpy(ret->frame + at + VLAN_LEN, bytes + at, head->len - at);
	ret->len += VLAN_LEN;
}

static bool is_wanted(const struct capture *c, const struct fw_capture *head,
		      const struct fw_flow *as_flow, const char *label)
{
	const struct fw_event *event = &head->event;
	unsigned int kinds = 0;

	if (fw_reason_is_drop((enum fw_reason)event->reason))
		kinds |= FW_MONITOR_DROPS;
	if (head->flags & FW_CAPTURE_LOGGED)
		kinds |= FW_MONITOR_LOGS;
	if (!(c->query.kinds & kinds))
		return false;
	if (c->query.reasons && !(c->query.reasons >> event->reason & 1))
		return false;
	return fw_watch_matches(c->captures->daemon, &c->query, as_flow, label);
}

static json_t *data_json(const struct packet *packet, uint32_t snaplen)
{
	_cleanup_free_ char *text = NULL;
	size_t len = packet->len < snaplen ? packet->len : snaplen;

	text = fw_base64_encode(packet->frame, len, &len);
	return text ? json_stringn_nocheck(text, len) : NULL;
}

static json_t *packet_json(const struct capture *c, const struct packet *packet)
{
	const struct fw_captures *captures = c->captures;
	const struct fw_daemon *daemon = captures->daemon;
	const struct fw_capture *head = packet->head;
	const struct fw_event *event = &head->event;
	const struct fw_ir_row *row = fw_places_row(captures->places, event);
	enum fw_reason reason = (enum fw_reason)event->reason;

	return json_pack(
		"{s:s, s:I, s:I, s:o, s:s, s:s, s:s, s:b, s:o, s:o, s:o, s:I, s:o}",
		"event", "packet", "time_ns",
		(json_int_t)(event->time_ns + captures->to_real_ns), "ifindex",
		(json_int_t)head->rx_ifindex, "interface",
		fw_json_name(fw_apply_ifname(daemon->apply, head->rx_ifindex)),
		"link", head->flags & FW_CAPTURE_HAS_L2 ? "ethernet" : "raw",
		"hook", fw_hook_name((enum fw_hook)event->hook), "reason",
		fw_reason_name(reason), "dropped", fw_reason_is_drop(reason),
		"rule", fw_json_name(fw_event_label(daemon, event)), "file",
		fw_json_name(row ? row->file : NULL), "line",
		row ? json_integer(row->line) : json_null(), "length",
		(json_int_t)packet->wire_len, "data",
		data_json(packet, c->snaplen));
}

/* So many in a second and no more, whoever makes packets. */
static bool take_share(struct fw_captures *captures)
{
	uint64_t second = fw_now_ns() / NS_PER_S;

	if (captures->second != second) {
		captures->second = second;
		captures->sent = 0;
	}
	return captures->sent++ < PER_SECOND;
}

static void send_packet(struct capture *c, const struct packet *packet)
{
	_cleanup_json_ json_t *json = NULL;

	if (fw_stream_has_room(c->request) && take_share(c->captures))
		json = packet_json(c, packet);
	if (!json || fw_stream_put(c->request, json) < 0)
		c->lost[packet->head->iface]++;
}

static int on_record(void *data, void *bytes, size_t size)
{
	struct fw_captures *captures = data;
	const struct fw_capture *head = bytes;
	struct fw_flow as_flow;
	struct packet packet;
	const char *label;

	if (captures->is_draining)
		return 0;
	if (is_sane(head, size) && captures->daemon->apply) {
		as_flow = (struct fw_flow){ .orig = head->event.tuple,
					    .ifindex = head->event.ifindex };
		fw_tuple_invert(&as_flow.orig, &as_flow.reply);
		label = fw_event_label(captures->daemon, &head->event);
		packet.head = NULL;
		for (struct capture *c = captures->list; c; c = c->next) {
			if (!is_wanted(c, head, &as_flow, label))
				continue;
			if (!packet.head)
				rebuild(head, &packet);
			send_packet(c, &packet);
		}
	}
	return --captures->budget ? 0 : -EAGAIN;
}

static uint64_t real_ns(void)
{
	struct timespec now = { 0 };

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static void on_readable(void *data, uint32_t events)
{
	struct fw_captures *captures = data;

	(void)events;
	captures->to_real_ns = real_ns() - fw_now_ns();
	captures->budget = PER_TURN;
	(void)ring_buffer__consume(captures->ring);
	if (!captures->is_armed)
		captures->is_armed =
			fw_timer_arm(captures->timer, COUNT_MS, 0) == 0;
}

/* ---- the ring ------------------------------------------------------------------------ */

static void close_ring(struct fw_captures *captures)
{
	fw_watch_free(take_ptr(captures->watch));
	fw_timer_free(take_ptr(captures->timer));
	ring_buffer__free(take_ptr(captures->ring));
	free(take_ptr(captures->values));
	captures->is_armed = false;
	fw_places_forget(captures->places);
}

static int start_counting(struct fw_captures *captures)
{
	int n_cpus = fw_counters_values();
	int r;

	if (n_cpus < 0)
		return n_cpus;
	captures->n_cpus = (size_t)n_cpus;
	captures->values = calloc(captures->n_cpus, sizeof(*captures->values));
	if (!captures->values)
		return -ENOMEM;
	r = read_values(captures);
	for (uint32_t slot = 0; r == 0 && slot < FW_MAX_IFSLOTS; slot++)
		captures->known[slot] = sum_of(captures, slot);
	return r;
}

static int start_reading(struct fw_captures *captures)
{
	struct fw_loop *loop = captures->daemon->loop;

	captures->ring = ring_buffer__new(
		fw_datapath_map(captures->daemon->datapath, FW_MAP_CAPTURES),
		on_record, captures, NULL);
	if (!captures->ring)
		return -errno;
	/* Whoever captured before may have died, and left packets behind. */
	captures->is_draining = true;
	(void)ring_buffer__consume(captures->ring);
	captures->is_draining = false;
	captures->timer = fw_timer_new(loop, on_count, captures);
	if (!captures->timer)
		return -errno;
	captures->watch =
		fw_watch_new(loop, ring_buffer__epoll_fd(captures->ring),
			     EPOLLIN, on_readable, captures);
	return captures->watch ? 0 : -errno;
}

static int open_ring(struct fw_captures *captures)
{
	int r;

	if (captures->ring)
		return 0;
	r = start_reading(captures);
	if (r == 0)
		r = start_counting(captures);
	if (r < 0)
		close_ring(captures);
	return r;
}

/* The programs send what somebody wants, and as much of it. */
static void follow_wishes(struct fw_captures *captures)
{
	const struct fw_apply *apply = captures->daemon->apply;
	uint32_t snaplen = 0;
	uint8_t kinds = 0;

	for (const struct capture *c = captures->list; c; c = c->next) {
		if (c->query.kinds & FW_MONITOR_DROPS)
			kinds |= FW_WATCH_CAPTURE_DROPS;
		if (c->query.kinds & FW_MONITOR_LOGS)
			kinds |= FW_WATCH_CAPTURE_MATCHES;
		if (c->snaplen > snaplen)
			snaplen = c->snaplen;
	}
	if (apply && kinds)
		fw_apply_snap(apply, (uint16_t)snaplen);
	if (apply)
		fw_apply_watch(apply, FW_WATCH_CAPTURES, kinds);
	if (!captures->list)
		close_ring(captures);
}

/* ---- coming and going ---------------------------------------------------------------- */

static void on_drained(void *data)
{
	tell_lost(data);
}

static void capture_free(void *data)
{
	struct capture *capture = data;
	struct fw_captures *captures = capture->captures;

	for (struct capture **p = &captures->list; *p; p = &(*p)->next) {
		if (*p == capture) {
			*p = capture->next;
			captures->n--;
			follow_wishes(captures);
			break;
		}
	}
	json_decref(capture->words);
	free(capture);
}

static int take_args(struct capture *capture, const json_t *args, char **reterr)
{
	const json_t *snaplen = json_object_get(args, "snaplen");
	const char *reasons =
		json_string_value(json_object_get(args, "reasons"));
	json_int_t n = snaplen ? json_integer_value(snaplen) : FW_CAPTURE_MAX;
	int r;

	if (n < 1 || n > FW_CAPTURE_MAX) {
		fw_errorf(reterr, "a snaplen is 1 to %d bytes", FW_CAPTURE_MAX);
		return -EINVAL;
	}
	capture->snaplen = (uint32_t)n;
	r = fw_watch_read(capture->captures->daemon, args,
			  fw_capture_query_parse, &capture->words,
			  &capture->query, reterr);
	if (r == 0 && reasons)
		r = fw_reasons_parse(reasons, &capture->query.reasons, reterr);
	return r;
}

static int capture_new(struct fw_captures *captures, struct fw_request *request,
		       const json_t *args, struct capture **ret, char **reterr)
{
	struct capture *capture;
	int r;

	capture = calloc(1, sizeof(*capture));
	if (!capture)
		return -ENOMEM;
	capture->captures = captures;
	capture->request = request;
	r = take_args(capture, args, reterr);
	if (r == 0)
		r = open_ring(captures);
	if (r < 0) {
		capture_free(capture);
		return r;
	}
	*ret = capture;
	return 0;
}

static void begin(struct capture *capture)
{
	struct fw_captures *captures = capture->captures;
	_cleanup_json_ json_t *start = json_pack("{s:s}", "event", "start");
	struct fw_request *request = capture->request;

	capture->next = captures->list;
	captures->list = capture;
	captures->n++;
	follow_wishes(captures);
	/* It may be gone after that, without memory for a reply. */
	fw_reply_stream(request, &(struct fw_stream){ .drained = on_drained,
						      .free = capture_free,
						      .data = capture });
	if (captures->list == capture && start)
		(void)fw_stream_put(request, start);
}

void fw_handle_capture(void *data, struct fw_request *request,
		       const json_t *args)
{
	struct fw_daemon *daemon = data;
	struct fw_captures *captures = daemon->captures;
	_cleanup_free_ char *error = NULL;
	struct capture *capture = NULL;
	int r;

	if (!fw_daemon_check_loaded(daemon, request))
		return;
	if (captures->n >= MAX_CAPTURES) {
		fw_reply_error(request, FW_EXIT_REQUEST,
			       "%u captures are running already, end one",
			       MAX_CAPTURES);
		return;
	}
	r = capture_new(captures, request, args, &capture, &error);
	if (r < 0) {
		fw_reply_error(request, FW_EXIT_REQUEST, "%s",
			       error ? error : strerror(-r));
		return;
	}
	begin(capture);
}

void fw_captures_end(struct fw_captures *captures, const char *why)
{
	while (captures->list)
		fw_stream_end(captures->list->request, FW_EXIT_NO_DAEMON, why);
}

unsigned int fw_captures_count(const struct fw_captures *captures)
{
	return captures->n;
}

struct fw_captures *fw_captures_new(struct fw_daemon *daemon)
{
	struct fw_captures *captures;

	captures = calloc(1, sizeof(*captures));
	if (!captures)
		return NULL;
	captures->daemon = daemon;
	captures->places = fw_places_new(daemon);
	if (!captures->places) {
		free(captures);
		return NULL;
	}
	return captures;
}

void fw_captures_free(struct fw_captures *captures)
{
	if (!captures)
		return;
	fw_places_free(captures->places);
	free(captures);
}
