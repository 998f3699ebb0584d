/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * A connection table that fills up.
 *
 * What the programs are told holds for some seconds only: without a daemon they
 * take flows until the kernel refuses them. In between two looks they count
 * themselves, so that no flood, however fast, gets to the last entries.
 */
#include "user/fill.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "user/counters.h"
#include "user/ctsize.h"
#include "user/daemon.h"
#include "user/log.h"
#include "user/loop.h"
#include "user/util.h"

#define NS_PER_MS	1000000ull
#define LOOK_MS		1000ull
#define LOOK_OFTEN_MS	200ull	 /* if it is half full, or refuses */
#define OFTEN_PERCENT	50ull	 /* of nf_conntrack_max */
#define HOLDS_MS	3000ull	 /* what is told, and a daemon that is busy */
#define QUIET_MS	30000ull /* without a refusal: they are over */
#define TIGHT_PERCENT	75ull
#define TIGHTER_PERCENT 90ull
#define RELAXED_PERCENT 60ull
#define RELAXED_MS	60000ull /* so long below: it does not come and go */
#define TAKEN_PERCENT	95ull	 /* as many entries are taken by new flows */
#define TIGHT_LIFE_S	10u
#define TIGHTER_LIFE_S	5u /* a SYN that was lost is repeated before */

struct fw_fill {
	struct fw_daemon *daemon;
	struct fw_timer *timer;
	struct fw_ctsize size; /* at the last look */
	struct fw_fill_stats stats;
	uint64_t drops[FW_REASON_MAX]; /* of three reasons, at the last look */
	uint64_t quiet_ns;	       /* when refusals will be over */
	uint64_t told[FW_REFUSED_MAX]; /* refused when they began */
	uint64_t relax_ns;	       /* when lives may get longer again */
	int64_t told_room;
	uint64_t look_ms; /* the timer is armed with */
};

const char *fw_refusal_cause_name(enum fw_refusal_cause cause)
{
	static const char *const names[] = {
		[FW_REFUSED_FULL] = "full",
		[FW_REFUSED_MEMORY] = "memory",
		[FW_REFUSED_INSERT] = "insert",
		[FW_REFUSED_PRESSURE] = "pressure",
	};

	return names[cause];
}

static bool is_above(const struct fw_ctsize *size, uint64_t percent)
{
	return size->limit && size->entries * 100 >= size->limit * percent;
}

/* ---- what the programs are told ------------------------------------------------ */

static int64_t room_of(const struct fw_ctsize *size)
{
	int64_t room;

	if (!size->limit)
		return INT64_MAX;
	room = (int64_t)(size->limit * TAKEN_PERCENT / 100);
	room -= (int64_t)size->entries;
	return room > 0 ? room : 0;
}

static void tell(const struct fw_fill *fill, const struct fw_pressure *value)
{
	uint32_t zero = 0;
	int fd = fw_datapath_map(fill->daemon->datapath, FW_MAP_PRESSURE);

	if (bpf_map_update_elem(fd, &zero, value, BPF_ANY) < 0)
		log_debug("cannot tell the programs how full conntrack is: %m");
}

static void tell_programs(struct fw_fill *fill)
{
	const struct fw_pressure value = {
		.until_ns = fw_now_ns() + HOLDS_MS * NS_PER_MS,
		.room = room_of(&fill->size),
		.half_open = fill->stats.half_open_s,
	};

	tell(fill, &value);
	fill->told_room = value.room;
}

/* How many entries the programs have made since they were told. */
static uint64_t count_made(const struct fw_fill *fill)
{
	uint32_t zero = 0;
	int fd = fw_datapath_map(fill->daemon->datapath, FW_MAP_PRESSURE);
	struct fw_pressure value = { 0 };

	if (bpf_map_lookup_elem(fd, &zero, &value) < 0 ||
	    value.room >= fill->told_room)
		return 0;
	return (uint64_t)(fill->told_room - value.room);
}

/* ---- tight and relaxed --------------------------------------------------------- */

/* Programs first: what is shortened must not be made anew with a long life. */
static void set_life(struct fw_fill *fill, uint32_t seconds)
{
	fill->stats.half_open_s = seconds;
	tell_programs(fill);
	fw_mirror_tighten(fill->daemon->mirror, seconds);
}

static void be_tight(struct fw_fill *fill, uint32_t seconds)
{
	if (!fill->stats.is_tight) {
		log_warning(
			"the connection table fills up: %" PRIu64 " of %" PRIu64
			" entries; unanswered flows live %u s at most until it does no more",
			fill->size.entries, fill->size.limit, seconds);
	}
	fill->stats.is_tight = true;
	set_life(fill, seconds);
}

static void relax(struct fw_fill *fill)
{
	log_info("the connection table has room again: %" PRIu64 " of %" PRIu64
		 " entries",
		 fill->size.entries, fill->size.limit);
	fill->stats.is_tight = false;
	set_life(fill, 0);
}

/*
 * Lives get shorter as long as it is tight, never longer. A flood that goes on and
 * keeps the table half full would fill it soon if they did.
 */
static void set_pressure(struct fw_fill *fill)
{
	uint32_t life = fill->stats.half_open_s;
	uint64_t now_ns = fw_now_ns();

	if (is_above(&fill->size, RELAXED_PERCENT))
		fill->relax_ns = now_ns + RELAXED_MS * NS_PER_MS;
	if (is_above(&fill->size, TIGHTER_PERCENT)) {
		if (life != TIGHTER_LIFE_S)
			be_tight(fill, TIGHTER_LIFE_S);
	} else if (is_above(&fill->size, TIGHT_PERCENT)) {
		if (!life)
			be_tight(fill, TIGHT_LIFE_S);
	} else if (life && now_ns >= fill->relax_ns) {
		relax(fill);
	}
}

/* ---- refusals ------------------------------------------------------------------ */

/* How many packets were dropped for a reason, at all interfaces and hooks. */
static uint64_t count_drops(const struct fw_fill *fill, enum fw_reason reason)
{
	const struct fw_datapath *dp = fill->daemon->datapath;
	uint64_t used = fw_datapath_slots(dp);
	struct fw_counter sum = { 0 };

	for (uint32_t slot = 0; slot < FW_MAX_IFSLOTS; slot++) {
		for (int hook = 0; used >> slot & 1 && hook < FW_HOOK_MAX;
		     hook++) {
			fw_counters_add(fw_datapath_stats(dp),
					FW_STATS_INDEX(slot, hook, reason),
					(__u64 *)&sum);
		}
	}
	return sum.packets;
}

/* Since the last look; the counters of a new interface begin at 0 again. */
static uint64_t new_drops(struct fw_fill *fill, enum fw_reason reason)
{
	uint64_t now = count_drops(fill, reason);
	uint64_t gain =
		now > fill->drops[reason] ? now - fill->drops[reason] : 0;

	fill->drops[reason] = now;
	return gain;
}

/*
 * The kernel says -ENOMEM of a full table and of lack of memory. Programs cannot
 * tell them apart. We can if the table was never nearly full since the last look:
 * with all that was made since, and no other limit meanwhile.
 */
static bool may_have_been_full(const struct fw_ctsize *before,
			       const struct fw_ctsize *now, uint64_t made)
{
	struct fw_ctsize most = *before;

	most.entries += made;
	return before->limit != now->limit ||
	       is_above(&most, TIGHTER_PERCENT) ||
	       is_above(now, TIGHTER_PERCENT);
}

/* Counts what was refused since the last look; `is_full`: it may have been. */
static uint64_t count_refusals(struct fw_fill *fill, bool is_full)
{
	uint64_t full = new_drops(fill, FW_REASON_DROP_TABLE_FULL);
	uint64_t insert = new_drops(fill, FW_REASON_DROP_TABLE_INSERT);
	uint64_t pressure = new_drops(fill, FW_REASON_DROP_TABLE_PRESSURE);
	uint64_t *refused = fill->stats.refused;

	refused[is_full ? FW_REFUSED_FULL : FW_REFUSED_MEMORY] += full;
	refused[FW_REFUSED_INSERT] += insert;
	refused[FW_REFUSED_PRESSURE] += pressure;
	return full + insert + pressure;
}

/* What was refused since `told`, in words. */
static void describe(const struct fw_fill *fill, char *text, size_t size)
{
	static const char *const words[] = {
		[FW_REFUSED_FULL] = "the table was full",
		[FW_REFUSED_MEMORY] = "no memory",
		[FW_REFUSED_INSERT] = "chains too long",
		[FW_REFUSED_PRESSURE] = "the table was nearly full",
	};
	size_t len = 0;

	text[0] = '\0';
	for (size_t i = 0; i < FW_REFUSED_MAX && len < size; i++) {
		uint64_t n = fill->stats.refused[i] - fill->told[i];

		if (n)
			len += (size_t)snprintf(text + len, size - len,
						"%s%s: %" PRIu64,
						len ? ", " : "", words[i], n);
	}
}

static void begin_refusals(struct fw_fill *fill)
{
	char text[160];

	describe(fill, text, sizeof(text));
	log_warning("the connection table refuses new flows (%s); %" PRIu64
		    " of %" PRIu64 " entries in %" PRIu64
		    " buckets; what is established goes on",
		    text, fill->size.entries, fill->size.limit,
		    fill->size.buckets);
	fill->stats.is_refusing = true;
}

static void end_refusals(struct fw_fill *fill)
{
	char text[160];

	describe(fill, text, sizeof(text));
	log_info("the connection table takes new flows again; refused: %s",
		 text);
	fill->stats.is_refusing = false;
	memcpy(fill->told, fill->stats.refused, sizeof(fill->told));
}

static void watch_refusals(struct fw_fill *fill, bool is_full)
{
	uint64_t now_ns = fw_now_ns();

	if (count_refusals(fill, is_full)) {
		fill->quiet_ns = now_ns + QUIET_MS * NS_PER_MS;
		if (!fill->stats.is_refusing)
			begin_refusals(fill);
	} else if (fill->stats.is_refusing && now_ns >= fill->quiet_ns) {
		end_refusals(fill);
	}
}

/* ---- life ---------------------------------------------------------------------- */

static void set_look(struct fw_fill *fill)
{
	uint64_t ms =
		is_above(&fill->size, OFTEN_PERCENT) || fill->stats.is_refusing
			? LOOK_OFTEN_MS
			: LOOK_MS;

	if (ms != fill->look_ms && fw_timer_arm(fill->timer, ms, ms) == 0)
		fill->look_ms = ms;
}

static void tell_mirror(const struct fw_fill *fill)
{
	const struct fw_program *program = fw_daemon_program(fill->daemon);

	if (program)
		fw_mirror_set_timeouts(fill->daemon->mirror,
				       &program->timeouts);
}

static void on_look(void *data)
{
	struct fw_fill *fill = data;
	const struct fw_ctsize before = fill->size;
	uint64_t made = count_made(fill);

	fw_ctsize_read(&fill->size);
	tell_programs(fill);
	tell_mirror(fill);
	set_pressure(fill);
	watch_refusals(fill, may_have_been_full(&before, &fill->size, made));
	set_look(fill);
	/* Expired entries count until somebody walks over them; then we do. */
	if (is_above(&fill->size, TIGHT_PERCENT) &&
	    fw_mirror_reap(fill->daemon->mirror))
		fill->stats.reaps++;
}

int fw_fill_new(struct fw_daemon *daemon, struct fw_fill **ret, char **reterr)
{
	struct fw_fill *fill;
	int r;

	fill = calloc(1, sizeof(*fill));
	if (!fill)
		return -ENOMEM;
	fill->daemon = daemon;
	fill->timer = fw_timer_new(daemon->loop, on_look, fill);
	r = fill->timer ? fw_timer_arm(fill->timer, 0, LOOK_MS) : -errno;
	if (r < 0) {
		fw_errorf(reterr, "cannot watch the connection table: %s",
			  strerror(-r));
		fw_timer_free(fill->timer);
		free(fill);
		return r;
	}
	/* What was refused before us is somebody else's. */
	(void)new_drops(fill, FW_REASON_DROP_TABLE_FULL);
	(void)new_drops(fill, FW_REASON_DROP_TABLE_INSERT);
	(void)new_drops(fill, FW_REASON_DROP_TABLE_PRESSURE);
	*ret = fill;
	return 0;
}

void fw_fill_free(struct fw_fill *fill)
{
	const struct fw_pressure nothing = { 0 };

	if (!fill)
		return;
	tell(fill, &nothing);
	fw_timer_free(fill->timer);
	free(fill);
}

void fw_fill_stats(const struct fw_fill *fill, struct fw_fill_stats *ret)
{
	*ret = fill->stats;
}
