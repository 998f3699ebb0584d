/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The daemon's picture of the connection table: one flow table merged from
 * ctnetlink dumps, ctnetlink events and the ring buffer of our programs.
 *
 * Entries that BPF inserts send no netlink events; dumps, repeated, are what
 * makes the picture exact, events make it prompt. A lost event means "stale"
 * and a dump at once, never a wrong answer.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kern/abi.h"
#include "user/census.h"
#include "user/datapath.h"

struct fw_mirror;
struct fw_loop;

struct fw_flow {
	struct fw_tuple orig;  /* as the opener sends it */
	struct fw_tuple reply; /* as the answers come; differs under NAT */
	uint64_t opened_ns;    /* CLOCK_MONOTONIC; 0: not known */
	uint64_t expires_ns;   /* CLOCK_MONOTONIC */
	uint32_t mark;	       /* ours on top, see user/ctmark.h */
	uint32_t status;       /* IPS_* */
	uint32_t ifindex;      /* of the hook that judged it; 0: not known */
	uint32_t slot;	/* counter of the rule that let it in; 0: not known */
	uint32_t ct_id; /* 0: one of our own flows (echo, other protocols) */
	uint16_t zone;	/* of conntrack */
	uint8_t tcp_state;  /* enum fw_tcp_state; TCP only */
	uint8_t kernel_tcp; /* TCP_CONNTRACK_* as the kernel has it */
	uint8_t dir;	    /* enum fw_dir */
	bool replied;
	bool assured;
	bool is_counted; /* by the kernel, or see fw_mirror_count() */
	struct fw_flow_counts counts;
};

/* Upper ends of the buckets of struct fw_mirror_stats; the last has none. */
#define FW_RESYNC_BUCKETS 9
extern const double fw_resync_bounds_s[FW_RESYNC_BUCKETS - 1];

/* What has gone missing, so that the picture was stale until the next dump. */
enum fw_missed {
	FW_MISSED_EVENTS,  /* the kernel had no room for events of ctnetlink */
	FW_MISSED_RECORDS, /* our programs had none for records in the ring */
	FW_MISSED_DUMP,	   /* a dump was interrupted, or broke off */
	FW_MISSED_MEMORY,  /* the daemon had none for a flow */
	FW_MISSED_MAX,
};

struct fw_mirror_stats {
	bool in_sync;
	uint64_t flows;
	uint64_t events[3];		/* ctnetlink: new, update, destroy */
	uint64_t records[FW_EVENT_MAX]; /* ring buffer, by enum fw_event_type */
	uint64_t missed[FW_MISSED_MAX]; /* how often that was noticed */
	enum fw_missed
		stale_by; /* the last one; FW_MISSED_MAX: none since in sync */
	uint64_t lost_records; /* of flows, since the daemon started */
	uint64_t resyncs;      /* dumps completed */
	uint64_t state_writes; /* what was written back to conntrack */
	uint64_t shortened;    /* lives of flows, see fw_mirror_tighten() */
	uint64_t last_sync_ns; /* CLOCK_MONOTONIC; 0: never */
	uint64_t last_duration_ns;
	uint64_t durations_ns;			 /* of all dumps together */
	uint64_t by_duration[FW_RESYNC_BUCKETS]; /* each dump once */
};

/* A record of the ring buffer that is not about a flow (log, drop). */
typedef void (*fw_mirror_log_fn)(void *data, const struct fw_event *event);

int fw_mirror_new(struct fw_loop *loop, struct fw_datapath *dp,
		  fw_mirror_log_fn log, void *data, struct fw_mirror **ret,
		  char **reterr);
void fw_mirror_free(struct fw_mirror *mirror);

enum fw_flow_news { FW_FLOW_OPENED, FW_FLOW_CHANGED, FW_FLOW_CLOSED };

/*
 * A flow came into the picture, is in another state than before, or left it; both are
 * borrowed. `before` is NULL unless it changed.
 */
typedef void (*fw_mirror_flow_fn)(void *data, enum fw_flow_news news,
				  const struct fw_flow *flow,
				  const struct fw_flow *before);

/**
 * @brief Tell somebody about each flow that comes, changes and goes, by packets or because
 *        a dump has shown it; the table is dumped once a second then, if that
 *        costs little.
 *
 * @param fn  NULL: nobody any more
 */
void fw_mirror_watch(struct fw_mirror *mirror, fw_mirror_flow_fn fn,
		     void *data);

/** @brief Find the flow of a packet's tuple, either way; not by names of NAT. */
bool fw_mirror_find(const struct fw_mirror *mirror,
		    const struct fw_tuple *tuple, struct fw_flow *ret);

/**
 * @brief Bring the picture up to date now: drain, dump, sweep.
 *
 * For answers to the user about small tables, and for what is to be exact; bounded by
 * the time a dump takes.
 */
int fw_mirror_refresh(struct fw_mirror *mirror);

/**
 * @brief Merge what waits to be merged, some ms of it at most, and begin a dump.
 *
 * The picture is as exact then as the last dump and what was said since. No dump is begun
 * soon after another one: that takes a third of the time at most.
 */
void fw_mirror_catch_up(struct fw_mirror *mirror);

/** @brief What the programs have counted of a flow, unless the kernel counts it. */
void fw_mirror_count(const struct fw_mirror *mirror, struct fw_flow *flow);

/** @brief The mark of a flow as the kernel has it. */
uint32_t fw_mirror_mark(const struct fw_mirror *mirror,
			const struct fw_flow *flow);

/** @brief Call `fn` for each flow that has not expired, until it returns != 0. */
int fw_mirror_foreach(const struct fw_mirror *mirror,
		      int (*fn)(void *data, const struct fw_flow *flow),
		      void *data);

/**
 * @brief The same in pieces, between which the picture goes on to change.
 *
 * @param at  0 to begin, as for fw_flowtab_walk()
 * @param n   about so many flows are looked at
 * @param fn  returns 1 if it has had enough for this time, or a negative errno
 * @return 1 if there is more, 0 at the end, or what fn said went wrong
 */
int fw_mirror_walk(const struct fw_mirror *mirror, uint64_t *at, size_t n,
		   int (*fn)(void *data, const struct fw_flow *flow),
		   void *data);

/**
 * @brief End flows: delete them wherever they are.
 *
 * Those that have ended meanwhile are no error.
 *
 * @param flows       from fw_mirror_foreach()
 * @param ret_killed  receives the number of those that were still there
 * @return 0, or the first error; others may have been deleted all the same
 */
int fw_mirror_kill(struct fw_mirror *mirror, const struct fw_flow *flows,
		   size_t n, uint64_t *ret_killed);

/** @brief The generation whose rules have judged a flow; 0: not known any more. */
uint32_t fw_mirror_judged_by(const struct fw_mirror *mirror,
			     const struct fw_flow *flow);

void fw_mirror_stats(const struct fw_mirror *mirror,
		     struct fw_mirror_stats *ret);

/** @brief A word for what was missed: "events", "records", "dump", "memory". */
const char *fw_missed_name(enum fw_missed missed);

/** @brief Flows by protocol and state, borrowed; no walk, however many there are. */
const struct fw_census *fw_mirror_census(const struct fw_mirror *mirror);

/**
 * @brief Walk the table so that the kernel frees expired entries, which count.
 *
 * Does nothing if a dump runs, which does it as well, or if so many walks would
 * cost more than a twentieth of a processor.
 *
 * @return true if it was done
 */
bool fw_mirror_reap(struct fw_mirror *mirror);

/**
 * @brief What flows live that move on while fw_mirror_tighten() shortens them.
 *
 * @param timeouts  of the running rules; copied
 */
void fw_mirror_set_timeouts(struct fw_mirror *mirror,
			    const struct fw_timeouts *timeouts);

/**
 * @brief Let no unanswered flow of BPF live longer than this from now on.
 *
 * Those that are there are shortened as dumps find them, at once first; what the
 * programs make is theirs to shorten.
 *
 * @param half_open_s  0: they live as they were made
 */
void fw_mirror_tighten(struct fw_mirror *mirror, uint32_t half_open_s);

/**
 * @brief Give every entry that still bears `gen` another generation.
 *
 * Called before a generation number is used again after FW_MARK_GEN_MAX loads,
 * so that an old flow cannot pass as judged by the new rules.
 *
 * @param heir  0: none, as if nobody had judged them
 */
int fw_mirror_forget_gen(struct fw_mirror *mirror, uint32_t gen, uint32_t heir);

/**
 * @brief Say where our bits of a mark are (struct fw_image_head); FW_MARK_SHIFT
 *        unless said.
 */
void fw_mirror_set_shift(struct fw_mirror *mirror, uint8_t shift);

/** @brief Clear bits of every mark that were others' and will be ours. */
int fw_mirror_claim_marks(struct fw_mirror *mirror, uint8_t shift);

/** @brief Move our bits of every mark to where they are from now on. */
int fw_mirror_carry_marks(struct fw_mirror *mirror, uint8_t from, uint8_t to);

/** @brief Clear our generation from every entry, whichever it bears. */
int fw_mirror_forget_all(struct fw_mirror *mirror);

/** @brief Delete every flow that still bears `gen`. */
int fw_mirror_end_gen(struct fw_mirror *mirror, uint32_t gen);
