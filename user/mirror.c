/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The mirror's policy: which source is read when, and what is written back.
 *
 * Records are read before events, events before the sweep: what our programs
 * say about a flow is older than the kernel's message that it ended.
 */
#include "user/mirrorstate.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>

#include <linux/netfilter/nf_conntrack_common.h>

#include "kern/host_abi.h"
#include "user/ctnl.h"
#include "user/ctsize.h"
#include "user/flowtab.h"
#include "user/lives.h"
#include "user/log.h"
#include "user/loop.h"
#include "user/util.h"
#include "user/xflows.h"

#define NS_PER_MS	    1000000ull
#define TICK_MS		    1000ull
#define DUMP_EVERY_MS	    5000ull /* while there are flows, see user/rest.h */
#define DUMP_EVERY_EMPTY_MS 30000ull
#define LEAST_REST_NS	    500000000ull /* between dumps, if somebody asks */
#define DUMP_SHARE	    20ull /* dumps take at most this part of the time */
#define RETRY_MS	    1000ull /* after a dump that failed */
#define OVERRUN_GAP_MS	    200ull  /* between dumps that overruns ask for */
#define CALM_MS		    100ull  /* after the last that came fast */
#define OVERRUN_SHARE	    3u /* and so many times the length of the last, at most */
#define DUMP_LIMIT_MS	    60000ull
#define DUMP_ATTEMPTS	    3u	 /* of dumps that are interrupted */
#define DUMP_PIECES	    8u	 /* read in one turn of the loop, 32 KiB each */
#define READ_EVERY_MS	    2ull /* if so much comes, see read_at_pace() */
#define EVENTS_PER_TURN	    1024u
#define RECORDS_PER_TURN    4096u
#define REFRESH_TURNS	    64u /* to drain what waits, under a flood */
#define REFRESH_TIMEOUT_MS  10000
#define SWEEP_PER_TURN	    4096u /* flows */

const double fw_resync_bounds_s[FW_RESYNC_BUCKETS - 1] = {
	0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 2.0, 10.0,
};

/* ---- merging ------------------------------------------------------------------ */

void fw_mirror_set_stale(struct fw_mirror *mirror)
{
	mirror->is_lossy = true;
	mirror->stats.in_sync = false;
	fw_rest_doubt(&mirror->rest);
}

static void miss(struct fw_mirror *mirror, enum fw_missed what)
{
	mirror->stats.missed[what]++;
	mirror->stats.stale_by = what;
	fw_mirror_set_stale(mirror);
}

static void ask_info(struct fw_mirror *mirror, struct fw_entry *entry)
{
	struct fw_flow_info info;

	/* Nobody of ours has judged it, or it is known who has. */
	if (!(entry->mark & FW_MARK_GEN_MASK) ||
	    entry->asked >= FW_ASKED_ENOUGH)
		return;
	if (bpf_map_lookup_elem(mirror->flow_info_fd, &entry->orig, &info) <
		    0 ||
	    !info.slot) {
		/* Perhaps not written yet; or evicted, then the label stays away. */
		entry->asked++;
		return;
	}
	fw_entry_info(entry, &info);
	entry->asked = FW_ASKED_ENOUGH;
}

/* Written at the end of the turn, many with one system call. */
static void write_state(struct fw_mirror *mirror, struct fw_entry *entry)
{
	uint8_t state = fw_entry_kernel_tcp_due(entry);

	if (!state)
		return;
	if (fw_ctnl_queue_tcp_state(mirror->ctnl, &entry->orig, state) < 0)
		return; /* the next dump finds it again */
	entry->kernel_tcp = state;
	entry->flags |= FW_ENTRY_OURS;
}

void fw_mirror_flush(struct fw_mirror *mirror)
{
	int r;

	r = fw_ctnl_flush(mirror->ctnl, &mirror->stats.state_writes);
	if (r < 0)
		log_debug("cannot write to conntrack: %s, ignoring",
			  strerror(-r));
}

/* A flow has come into the table with what was merged last, or is in another state. */
static void tell_news(struct fw_mirror *mirror, const struct fw_entry *entry)
{
	bool is_new = fw_flowtab_has_new(mirror->tab);
	struct fw_flow flow, before;

	if (!mirror->flow || (!is_new && !fw_flowtab_has_changed(mirror->tab)))
		return;
	/* No matter when it expires. */
	if (!fw_entry_flow(entry, 0, &flow))
		return;
	before = flow;
	fw_flowtab_before(mirror->tab, &before);
	mirror->flow(mirror->flow_data,
		     is_new ? FW_FLOW_OPENED : FW_FLOW_CHANGED, &flow,
		     is_new ? NULL : &before);
}

static void on_gone(void *data, const struct fw_entry *entry)
{
	struct fw_mirror *mirror = data;
	struct fw_flow flow;

	if (mirror->flow && fw_entry_flow(entry, 0, &flow))
		mirror->flow(mirror->flow_data, FW_FLOW_CLOSED, &flow, NULL);
}

static void merge_ct(struct fw_mirror *mirror, enum fw_ct_msg msg,
		     const struct fw_ct *ct)
{
	struct fw_entry *entry;

	if (msg != FW_CT_DUMPED)
		mirror->stats.events[msg - FW_CT_NEW]++;
	if (fw_flowtab_ct(mirror->tab, msg, ct, mirror->now_ns, &entry) < 0) {
		miss(mirror, FW_MISSED_MEMORY);
		return;
	}
	if (!entry)
		return;
	ask_info(mirror, entry);
	tell_news(mirror, entry);
	/* An event is the kernel's own news; it needs no advice from us. */
	if (msg == FW_CT_DUMPED) {
		mirror->is_corrected |= fw_entry_kernel_tcp_due(entry) != 0;
		write_state(mirror, entry);
		fw_lives_shorten(&mirror->lives, ct, entry);
		fw_lives_check(&mirror->lives, ct, entry);
	}
}

static void on_cts(void *data, const enum fw_ct_msg *msgs,
		   const struct fw_ct *cts, size_t n)
{
	struct fw_mirror *mirror = data;

	fw_flowtab_prefetch(mirror->tab, cts, n);
	for (size_t i = 0; i < n; i++)
		merge_ct(mirror, msgs[i], &cts[i]);
}

/* Our program could not end an entry of fixed life itself. */
static void end_fixed(struct fw_mirror *mirror, const struct fw_tuple *tuple)
{
	const struct fw_entry *entry = fw_flowtab_find(mirror->tab, tuple, 0);
	int r;

	if (!entry || !entry->ct_id || !(entry->status & IPS_FIXED_TIMEOUT))
		return;
	r = fw_ctnl_delete(mirror->ctnl, tuple, entry->ct_id);
	if (r < 0 && r != -ENOENT)
		log_debug("cannot delete a flow: %s, ignoring", strerror(-r));
}

static void merge_record(struct fw_mirror *mirror, const struct fw_event *event)
{
	struct fw_entry *entry;

	if (event->type == FW_EVENT_FLOW_END)
		end_fixed(mirror, &event->tuple);
	if (fw_flowtab_record(mirror->tab, event, &entry) < 0)
		miss(mirror, FW_MISSED_MEMORY);
	else if (entry && !entry->opened_ns)
		ask_info(mirror, entry);
	if (entry)
		tell_news(mirror, entry);
	if (entry && event->type == FW_EVENT_FLOW_STATE) {
		write_state(mirror, entry);
		fw_lives_restore(&mirror->lives, entry);
	}
}

static int on_record(void *data, void *record, size_t size)
{
	struct fw_mirror *mirror = data;
	struct fw_event event;

	if (size < sizeof(event))
		return 0;
	memcpy(&event, record, sizeof(event));
	if (event.type < ARRAY_SIZE(mirror->stats.records))
		mirror->stats.records[event.type]++;
	switch (event.type) {
	case FW_EVENT_FLOW_NEW:
	case FW_EVENT_FLOW_STATE:
	case FW_EVENT_FLOW_END:
	case FW_EVENT_ADOPT:
		merge_record(mirror, &event);
		break;
	case FW_EVENT_LOG:
	case FW_EVENT_DROP:
	case FW_EVENT_ESP:
		if (mirror->log)
			mirror->log(mirror->log_data, &event);
		break;
	default: /* of a newer program: a number, not our enum */
		break;
	}
	return --mirror->budget ? 0 : -EAGAIN;
}

static uint64_t lost_records(const struct fw_mirror *mirror)
{
	return __atomic_load_n(&mirror->host->lost_records, __ATOMIC_RELAXED);
}

/*
 * Asked at each turn, and before the picture is called right. What the ring had no room
 * for, a dump that begins from now on shows.
 */
static void notice_lost_records(struct fw_mirror *mirror)
{
	uint64_t lost = lost_records(mirror);

	if (lost == mirror->lost_known)
		return;
	mirror->stats.lost_records += lost - mirror->lost_known;
	mirror->lost_known = lost;
	miss(mirror, FW_MISSED_RECORDS);
}

/*
 * Records bring flows, and nothing says when those of BPF end. Where there are far more
 * than the last dump left, the kernel is asked how many it has. If not so many, it is
 * time for a dump: resync_if_stale().
 */
static void size_up_crowd(struct fw_mirror *mirror)
{
	struct fw_ctsize size;

	if (!fw_flowtab_is_crowded(mirror->tab))
		return;
	fw_ctsize_read(&size);
	fw_flowtab_expect(mirror->tab, size.entries);
}

enum progress { READ_NOTHING, READ_ALL, READ_PART };

static enum progress read_records(struct fw_mirror *mirror)
{
	int r;

	mirror->budget = RECORDS_PER_TURN;
	r = ring_buffer__consume(mirror->ring);
	fw_mirror_flush(mirror);
	notice_lost_records(mirror);
	size_up_crowd(mirror);
	if (r == -EAGAIN)
		return READ_PART;
	return r ? READ_ALL : READ_NOTHING;
}

static void lose_events(struct fw_mirror *mirror)
{
	mirror->is_congested = true;
	miss(mirror, FW_MISSED_EVENTS);
}

/*
 * The kernel says once that it has lost events, and nothing
 * of what it loses after that until all that waits has been read: a dump that has begun
 * before is not the whole truth.
 */
static enum progress read_events(struct fw_mirror *mirror)
{
	int r;

	mirror->now_ns = fw_now_ns();
	r = fw_ctnl_read_events(mirror->ctnl, EVENTS_PER_TURN, on_cts, mirror);
	if (r < 0) {
		lose_events(mirror);
	} else if (r < (int)EVENTS_PER_TURN && mirror->is_congested) {
		mirror->is_congested = false;
		fw_mirror_set_stale(mirror);
	}
	if (r < 0 || r == (int)EVENTS_PER_TURN)
		return READ_PART;
	return r ? READ_ALL : READ_NOTHING;
}

/* ---- flows that only our maps know ----------------------------------------------- */

static int merge_xflow(void *data, const struct fw_tuple *tuple,
		       const struct fw_xflow *xflow)
{
	struct fw_mirror *mirror = data;
	int r;

	/* TCP may have been cut: kern/transport.h */
	if (xflow->expires_ns <= mirror->now_ns ||
	    xflow->tcp_state >= FW_TCP_STATE_MAX)
		return 0;
	r = fw_flowtab_xflow(mirror->tab, tuple, xflow);
	if (r < 0)
		return r;
	tell_news(mirror, fw_flowtab_find(mirror->tab, tuple, 0));
	return 0;
}

static int read_xflows(struct fw_mirror *mirror)
{
	mirror->now_ns = fw_now_ns();
	return fw_xflows_each(&mirror->xflows, merge_xflow, mirror);
}

/* ---- dumps --------------------------------------------------------------------- */

static void schedule(struct fw_mirror *mirror, uint64_t wait_ms)
{
	mirror->next_ns = fw_now_ns() + wait_ms * NS_PER_MS;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* Somebody wants to know of all that changes, or has to change it. */
static bool is_awaited(const struct fw_mirror *mirror)
{
	return mirror->is_tightened || mirror->flow;
}

/* From one dump to the next if there is doubt. */
static uint64_t usual_rest_ms(const struct fw_mirror *mirror)
{
	uint64_t last_ms = mirror->stats.last_duration_ns / NS_PER_MS;
	uint64_t every_ms = fw_flowtab_count(mirror->tab) ? DUMP_EVERY_MS
							  : DUMP_EVERY_EMPTY_MS;

	if (is_awaited(mirror))
		every_ms = TICK_MS;
	return max_u64(every_ms, last_ms * DUMP_SHARE);
}

/* Whether the kernel has as many entries as the picture. */
static bool is_as_many(const struct fw_mirror *mirror)
{
	uint64_t entries;

	return fw_ctsize_entries(&entries) == 0 &&
	       entries == fw_flowtab_count_ct(mirror->tab);
}

/* Whether the dump that has just ended has shown what was known, and nothing else. */
static bool was_right(const struct fw_mirror *mirror)
{
	return mirror->stats.in_sync && !mirror->is_corrected &&
	       !is_awaited(mirror) && !mirror->lives.half_open_s &&
	       !fw_flowtab_corrections(mirror->tab) && is_as_many(mirror);
}

/*
 * Milliseconds until a dump has to begin, so that it is over before the time of a flow
 * has run out that may only be silent.
 */
static uint64_t known_ms(const struct fw_mirror *mirror)
{
	uint64_t end_ns = fw_now_ns() + mirror->stats.last_duration_ns +
			  TICK_MS * NS_PER_MS;
	uint64_t first_ns = fw_flowtab_first_expiry(mirror->tab);

	return first_ns > end_ns ? (first_ns - end_ns) / NS_PER_MS : 0;
}

/* When to dump next if nothing happens. */
static void schedule_usual(struct fw_mirror *mirror)
{
	schedule(mirror,
		 fw_rest_after_dump(&mirror->rest, fw_now_ns() / NS_PER_MS,
				    usual_rest_ms(mirror), known_ms(mirror),
				    was_right(mirror)));
}

/*
 * Nothing says which entries BPF has inserted that is not ours, and which of BPF's have
 * been deleted or have expired; but the kernel counts them.
 */
static void cut_rest_short(struct fw_mirror *mirror)
{
	uint64_t due_ns =
		mirror->stats.last_sync_ns + usual_rest_ms(mirror) * NS_PER_MS;

	if (mirror->next_ns <= due_ns)
		return;
	if (!is_as_many(mirror))
		fw_rest_doubt(&mirror->rest);
	if (!mirror->rest.ms || !known_ms(mirror))
		mirror->next_ns = due_ns;
}

static void keep_away(struct fw_mirror *mirror, uint64_t ns)
{
	mirror->earliest_ns = fw_now_ns() + ns;
}

/* What is begun here goes on with the next turns of the loop: on_sweep(). */
static void give_up_generation(struct fw_mirror *mirror)
{
	fw_flowtab_abort_begin(mirror->tab);
	(void)fw_timer_arm(mirror->sweep_timer, 0, 0);
}

static int begin_dump(struct fw_mirror *mirror, unsigned int attempt)
{
	int r;

	mirror->attempt = attempt;
	mirror->is_lossy = false;
	mirror->is_tightened = false;
	mirror->is_corrected = false;
	mirror->begin_ns = fw_now_ns();
	fw_flowtab_begin(mirror->tab, mirror->begin_ns);
	r = fw_ctnl_dump_start(mirror->ctnl);
	if (r < 0) {
		give_up_generation(mirror);
		fw_mirror_set_stale(mirror);
		keep_away(mirror, RETRY_MS * NS_PER_MS);
	}
	return r;
}

static void stop_watching(struct fw_mirror *mirror)
{
	fw_watch_free(mirror->dump_watch);
	mirror->dump_watch = NULL;
}

static void note_duration(struct fw_mirror_stats *stats, uint64_t ns)
{
	size_t i = 0;

	while (i < ARRAY_SIZE(fw_resync_bounds_s) &&
	       (double)ns / 1e9 > fw_resync_bounds_s[i])
		i++;
	stats->by_duration[i]++;
	stats->durations_ns += ns;
	stats->last_duration_ns = ns;
}

static void begin_completion(struct fw_mirror *mirror)
{
	uint8_t sources = FW_SOURCE_CT;
	int r;

	r = read_xflows(mirror);
	if (r >= 0)
		sources |= FW_SOURCE_XFLOW;
	else
		log_debug("cannot read the map of other flows: %s, ignoring",
			  strerror(-r));
	fw_flowtab_sweep_begin(mirror->tab, sources);
	mirror->is_completing = true;
	(void)fw_timer_arm(mirror->sweep_timer, 0, 0);
}

static void complete_dump(struct fw_mirror *mirror)
{
	mirror->is_completing = false;
	notice_lost_records(mirror);
	mirror->stats.resyncs++;
	mirror->stats.last_sync_ns = fw_now_ns();
	note_duration(&mirror->stats,
		      mirror->stats.last_sync_ns - mirror->begin_ns);
	mirror->stats.in_sync = !mirror->is_lossy && !mirror->is_congested;
	/* The first that is missed is made good at once; a dump in vain is a rest. */
	if (mirror->stats.in_sync) {
		mirror->vain = 0;
		mirror->stats.stale_by = FW_MISSED_MAX;
	} else if (mirror->vain < OVERRUN_SHARE) {
		mirror->vain++;
	}
	keep_away(mirror, OVERRUN_GAP_MS * NS_PER_MS);
	mirror->spared_ns = mirror->stats.last_sync_ns +
			    mirror->stats.last_duration_ns * mirror->vain;
}

/*
 * Ends a dump whose result is `r`: 0 if the picture is whole as soon as it is swept, or
 * -errno.
 */
static int end_dump(struct fw_mirror *mirror, int r)
{
	if (r == 1) {
		begin_completion(mirror);
		return 0;
	}
	give_up_generation(mirror);
	miss(mirror, FW_MISSED_DUMP);
	keep_away(mirror, RETRY_MS * NS_PER_MS);
	if (r != -EINTR) {
		log_debug("conntrack dump failed: %s", strerror(-r));
		(void)fw_ctnl_dump_abort(mirror->ctnl);
	}
	return r;
}

static void on_dump(void *data, uint32_t events);

/* A dump is over when what it did not show has gone. */
static bool is_dumping(const struct fw_mirror *mirror)
{
	return mirror->dump_watch || mirror->is_completing;
}

/* Starts a dump that runs inside the loop; a running one goes on. */
static void start_dump(struct fw_mirror *mirror, unsigned int attempt)
{
	schedule(mirror, RETRY_MS);
	if (is_dumping(mirror) || begin_dump(mirror, attempt) < 0)
		return;
	mirror->dump_watch =
		fw_watch_new(mirror->loop, fw_ctnl_dump_fd(mirror->ctnl),
			     EPOLLIN, on_dump, mirror);
	if (!mirror->dump_watch)
		(void)end_dump(mirror, -errno);
}

/*
 * When a dump may begin. While more comes than can be read, one in vain leaves time for
 * reading; when the flood is over there is nothing to wait for.
 */
static uint64_t earliest_dump_ns(const struct fw_mirror *mirror)
{
	uint64_t spared_ns = mirror->spared_ns;
	enum fw_missed by = mirror->stats.stale_by;

	if (!mirror->is_paced && mirror->calm_ns < spared_ns &&
	    (by == FW_MISSED_EVENTS || by == FW_MISSED_RECORDS))
		spared_ns = mirror->calm_ns;
	return max_u64(mirror->earliest_ns, spared_ns);
}

/* A dump as soon as one may begin. */
static void start_dump_soon(struct fw_mirror *mirror)
{
	uint64_t now_ns = fw_now_ns(), from_ns;

	if (is_dumping(mirror))
		return;
	from_ns = earliest_dump_ns(mirror);
	if (now_ns >= from_ns) {
		start_dump(mirror, 1);
	} else if (mirror->next_ns > from_ns) {
		mirror->next_ns = from_ns;
		(void)fw_timer_arm(mirror->timer,
				   (from_ns - now_ns) / NS_PER_MS + 1, TICK_MS);
	}
}

/* Dumps soon after something was missed, but not one dump after the other. */
static bool resync_if_stale(struct fw_mirror *mirror)
{
	if (!mirror->is_lossy && !fw_flowtab_is_crowded(mirror->tab))
		return false;
	start_dump_soon(mirror);
	return true;
}

static void on_dump(void *data, uint32_t events)
{
	struct fw_mirror *mirror = data;
	int r;

	(void)events;
	mirror->now_ns = fw_now_ns();
	r = fw_ctnl_dump_read(mirror->ctnl, DUMP_PIECES, on_cts, mirror);
	fw_mirror_flush(mirror);
	if (r == 0 || r == -EAGAIN)
		return;
	stop_watching(mirror);
	r = end_dump(mirror, r);
	if (r == -EINTR && mirror->attempt < DUMP_ATTEMPTS)
		start_dump(mirror, mirror->attempt + 1);
	(void)resync_if_stale(mirror);
}

/* A slice of a sweep, so that a million flows hold up nobody. */
static void on_sweep(void *data)
{
	struct fw_mirror *mirror = data;

	if (fw_flowtab_sweep_some(mirror->tab, SWEEP_PER_TURN)) {
		(void)fw_timer_arm(mirror->sweep_timer, 0, 0);
		return;
	}
	if (!mirror->is_completing)
		return;
	complete_dump(mirror);
	schedule_usual(mirror);
	(void)resync_if_stale(mirror);
}

/* The same at once. */
static void sweep_to_end(struct fw_mirror *mirror)
{
	(void)fw_timer_arm(mirror->sweep_timer, FW_TIMER_NEVER, 0);
	while (fw_flowtab_sweep_some(mirror->tab, SIZE_MAX))
		;
	if (mirror->is_completing)
		complete_dump(mirror);
}

/* Reads a dump to its end, waiting. */
static int finish_dump(struct fw_mirror *mirror)
{
	struct pollfd pfd = { .events = POLLIN };
	int r;

	for (;;) {
		mirror->now_ns = fw_now_ns();
		r = fw_ctnl_dump_read(mirror->ctnl, DUMP_PIECES, on_cts,
				      mirror);
		if (r == -EAGAIN) {
			pfd.fd = fw_ctnl_dump_fd(mirror->ctnl);
			r = poll(&pfd, 1, REFRESH_TIMEOUT_MS);
			if (r < 0 && errno != EINTR)
				return -errno;
			if (r == 0)
				return -ETIMEDOUT;
		} else if (r) {
			return r;
		}
	}
}

static void drain(struct fw_mirror *mirror)
{
	unsigned int i;

	for (i = 0; i < REFRESH_TURNS && read_records(mirror) == READ_PART; i++)
		;
	for (i = 0; i < REFRESH_TURNS && read_events(mirror) == READ_PART; i++)
		;
}

int fw_mirror_refresh(struct fw_mirror *mirror)
{
	unsigned int i;
	int r = 0;

	/* One that runs has begun in the past: what it has shown may be old. */
	mirror->is_completing = false;
	if (mirror->dump_watch) {
		stop_watching(mirror);
		give_up_generation(mirror);
		r = fw_ctnl_dump_abort(mirror->ctnl);
		if (r < 0)
			goto out;
	}
	for (i = 1; i <= DUMP_ATTEMPTS; i++) {
		drain(mirror);
		r = begin_dump(mirror, i);
		if (r < 0)
			break;
		r = finish_dump(mirror);
		fw_mirror_flush(mirror);
		drain(mirror);
		r = end_dump(mirror, r);
		sweep_to_end(mirror);
		if (r >= 0 && mirror->is_lossy)
			r = -ENOBUFS;
		if (r != -EINTR && r != -ENOBUFS)
			break;
	}
out:
	if (r >= 0)
		schedule_usual(mirror);
	else
		schedule(mirror, RETRY_MS);
	return r;
}

void fw_mirror_catch_up(struct fw_mirror *mirror)
{
	uint64_t rest_ns =
		max_u64(LEAST_REST_NS, mirror->stats.last_duration_ns * 2);

	(void)read_records(mirror);
	(void)read_events(mirror);
	if (fw_now_ns() >= mirror->stats.last_sync_ns + rest_ns)
		start_dump(mirror, 1);
	else
		(void)resync_if_stale(mirror);
}

/* ---- a table that fills up -------------------------------------------------------- */

bool fw_mirror_reap(struct fw_mirror *mirror)
{
	uint64_t begin_ns = fw_now_ns();
	int r;

	/* A dump walks over all of them, too. */
	if (mirror->dump_watch || begin_ns < mirror->reap_ns)
		return false;
	r = fw_ctnl_reap(mirror->ctnl);
	if (r < 0)
		log_debug("cannot walk conntrack: %s, ignoring", strerror(-r));
	mirror->reap_ns = begin_ns + (fw_now_ns() - begin_ns) * DUMP_SHARE;
	return r >= 0;
}

void fw_mirror_set_timeouts(struct fw_mirror *mirror,
			    const struct fw_timeouts *timeouts)
{
	mirror->lives.timeouts = *timeouts;
}

void fw_mirror_tighten(struct fw_mirror *mirror, uint32_t half_open_s)
{
	fw_lives_limit(&mirror->lives, half_open_s);
	if (!half_open_s)
		return;
	/* A dump that runs has missed some. */
	mirror->is_tightened = is_dumping(mirror);
	start_dump(mirror, 1);
}

/* ---- life ------------------------------------------------------------------------- */

static enum progress read_both(struct fw_mirror *mirror)
{
	enum progress records = read_records(mirror);
	enum progress events = read_events(mirror);

	mirror->read_ns = fw_now_ns();
	return records > events ? records : events;
}

static void set_pace(struct fw_mirror *mirror, bool is_paced)
{
	const uint32_t events = is_paced ? 0 : EPOLLIN;

	mirror->is_paced = is_paced;
	mirror->calm_ns = fw_now_ns() + CALM_MS * NS_PER_MS;
	(void)fw_watch_set(mirror->event_watch, events);
	(void)fw_watch_set(mirror->ring_watch, events);
}

/*
 * Who reads each record and event as it comes is woken for each one, and that costs the
 * CPU that handles the packet more than the record: the kernel wakes nobody for what
 * comes while others wait. So what follows closely waits for a timer, until there is
 * nothing when it fires.
 */
static void read_at_pace(struct fw_mirror *mirror)
{
	if (!mirror->is_paced)
		set_pace(mirror, true);
	(void)fw_timer_arm(mirror->read_timer, READ_EVERY_MS, 0);
}

static void on_read_timer(void *data)
{
	struct fw_mirror *mirror = data;
	enum progress progress = read_both(mirror);

	if (progress == READ_NOTHING)
		set_pace(mirror, false);
	else
		(void)fw_timer_arm(mirror->read_timer,
				   progress == READ_PART ? 0 : READ_EVERY_MS,
				   0);
	(void)resync_if_stale(mirror);
}

/* While the timer is to read, only errors come here. */
static void on_readable(void *data, uint32_t events)
{
	struct fw_mirror *mirror = data;

	(void)events;
	if (!mirror->is_paced &&
	    fw_now_ns() < mirror->read_ns + READ_EVERY_MS * NS_PER_MS) {
		read_at_pace(mirror);
		return;
	}
	(void)read_both(mirror);
	(void)resync_if_stale(mirror);
}

/* A dump that does not go on must not keep all others away. */
static void end_stuck_dump(struct fw_mirror *mirror)
{
	if (fw_now_ns() < mirror->begin_ns + DUMP_LIMIT_MS * NS_PER_MS)
		return;
	stop_watching(mirror);
	(void)end_dump(mirror, -ETIMEDOUT);
}

static void on_tick(void *data)
{
	struct fw_mirror *mirror = data;

	(void)read_both(mirror);
	if (!is_dumping(mirror))
		cut_rest_short(mirror);
	if (mirror->dump_watch)
		end_stuck_dump(mirror);
	else if (!resync_if_stale(mirror) && fw_now_ns() >= mirror->next_ns)
		start_dump(mirror, 1); /* unless one is being completed */
}

static int start_watching(struct fw_mirror *mirror)
{
	mirror->event_watch =
		fw_watch_new(mirror->loop, fw_ctnl_event_fd(mirror->ctnl),
			     EPOLLIN, on_readable, mirror);
	if (!mirror->event_watch)
		return -errno;
	mirror->ring_watch =
		fw_watch_new(mirror->loop, ring_buffer__epoll_fd(mirror->ring),
			     EPOLLIN, on_readable, mirror);
	if (!mirror->ring_watch)
		return -errno;
	mirror->timer = fw_timer_new(mirror->loop, on_tick, mirror);
	if (!mirror->timer)
		return -errno;
	mirror->sweep_timer = fw_timer_new(mirror->loop, on_sweep, mirror);
	if (!mirror->sweep_timer)
		return -errno;
	mirror->read_timer = fw_timer_new(mirror->loop, on_read_timer, mirror);
	if (!mirror->read_timer)
		return -errno;
	return fw_timer_arm(mirror->timer, TICK_MS, TICK_MS);
}

/* What was lost before this daemon came, its first dump shows. */
static int map_host(struct fw_mirror *mirror, const struct fw_datapath *dp)
{
	void *host = mmap(NULL, sizeof(*mirror->host), PROT_READ, MAP_SHARED,
			  fw_datapath_map(dp, FW_MAP_HOST), 0);

	if (host == MAP_FAILED)
		return -errno;
	mirror->host = host;
	mirror->lost_known = lost_records(mirror);
	mirror->stats.stale_by = FW_MISSED_MAX;
	return 0;
}

static void unmap_host(const struct fw_host *host)
{
	if (host)
		(void)munmap((void *)host, sizeof(*host));
}

static int start_mirror(struct fw_mirror *mirror, struct fw_datapath *dp,
			char **reterr)
{
	int r;

	r = map_host(mirror, dp);
	if (r < 0)
		return r;
	mirror->flow_info_fd = fw_datapath_map(dp, FW_MAP_FLOW_INFO);
	fw_xflows_open(&mirror->xflows, dp);
	mirror->tab = fw_flowtab_new();
	if (!mirror->tab)
		return -ENOMEM;
	fw_flowtab_set_gone(mirror->tab, on_gone, mirror);
	r = fw_ctnl_new(&mirror->ctnl, reterr);
	if (r < 0)
		return r;
	mirror->lives.ctnl = mirror->ctnl;
	mirror->ring = ring_buffer__new(fw_datapath_map(dp, FW_MAP_EVENTS),
					on_record, mirror, NULL);
	if (!mirror->ring)
		return -errno;
	r = start_watching(mirror);
	if (r < 0)
		return r;
	start_dump(mirror, 1);
	return 0;
}

int fw_mirror_new(struct fw_loop *loop, struct fw_datapath *dp,
		  fw_mirror_log_fn log, void *data, struct fw_mirror **ret,
		  char **reterr)
{
	struct fw_mirror *mirror;
	int r;

	mirror = calloc(1, sizeof(*mirror));
	if (!mirror)
		return -ENOMEM;
	mirror->loop = loop;
	mirror->log = log;
	mirror->log_data = data;
	r = start_mirror(mirror, dp, reterr);
	if (r < 0) {
		if (reterr && !*reterr)
			fw_errorf(reterr,
				  "cannot watch the connection table: %s",
				  strerror(-r));
		fw_mirror_free(mirror);
		return r;
	}
	*ret = mirror;
	return 0;
}

void fw_mirror_free(struct fw_mirror *mirror)
{
	if (!mirror)
		return;
	fw_watch_free(mirror->event_watch);
	fw_watch_free(mirror->ring_watch);
	fw_watch_free(mirror->dump_watch);
	fw_timer_free(mirror->timer);
	fw_timer_free(mirror->sweep_timer);
	fw_timer_free(mirror->read_timer);
	ring_buffer__free(mirror->ring);
	fw_ctnl_free(mirror->ctnl);
	fw_flowtab_free(mirror->tab);
	unmap_host(mirror->host);
	free(mirror);
}

/* ---- what others ask --------------------------------------------------------------- */

void fw_mirror_watch(struct fw_mirror *mirror, fw_mirror_flow_fn fn, void *data)
{
	bool is_first = fn && !mirror->flow;

	mirror->flow = fn;
	mirror->flow_data = data;
	/* What follows is told at the pace of those who watch. */
	if (is_first)
		start_dump(mirror, 1);
}

void fw_mirror_stats(const struct fw_mirror *mirror,
		     struct fw_mirror_stats *ret)
{
	*ret = mirror->stats;
	ret->flows = fw_flowtab_count(mirror->tab);
	ret->shortened = mirror->lives.shortened;
	if (lost_records(mirror) != mirror->lost_known) { /* a moment ago */
		ret->in_sync = false;
		ret->stale_by = FW_MISSED_RECORDS;
	}
}

const char *fw_missed_name(enum fw_missed missed)
{
	static const char *const names[FW_MISSED_MAX] = {
		[FW_MISSED_EVENTS] = "events",
		[FW_MISSED_RECORDS] = "records",
		[FW_MISSED_DUMP] = "dump",
		[FW_MISSED_MEMORY] = "memory",
	};

	return missed < FW_MISSED_MAX ? names[missed] : NULL;
}

const struct fw_census *fw_mirror_census(const struct fw_mirror *mirror)
{
	return fw_flowtab_census(mirror->tab);
}

/* ---- where our bits of a mark are ---------------------------------------------------- */

void fw_mirror_set_shift(struct fw_mirror *mirror, uint8_t shift)
{
	if (shift == fw_ctnl_shift(mirror->ctnl))
		return;
	fw_ctnl_set_shift(mirror->ctnl, shift);
	/* marks of entries are turned as they were */
	fw_mirror_set_stale(mirror);
	(void)resync_if_stale(mirror);
}

int fw_mirror_carry_marks(struct fw_mirror *mirror, uint8_t from, uint8_t to)
{
	/* what its packets say of a flow is where the programs look first */
	fw_mirror_set_shift(mirror, to);
	return fw_ctnl_carry_marks(mirror->ctnl, from, to, NULL);
}
