/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The flow table: what dumps, events, records and maps say about each flow,
 * merged by original tuple. Pure: no system calls but for memory.
 *
 * A resync is mark and sweep: fw_flowtab_begin() opens a generation, whatever
 * is seen bears it, fw_flowtab_sweep() removes the rest. In between nothing is
 * forgotten, and news older than what is known does no harm: entries destroyed
 * meanwhile stay as dead ones until the sweep, because a piece of the dump that
 * was built before may still show them. The sweep itself may take its time: of what
 * there is news meanwhile is swept first.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kern/abi.h"
#include "user/census.h"
#include "user/ctnl.h"
#include "user/mirror.h"

/* Where a flow is known from; also what of it was seen in a generation. */
#define FW_SOURCE_CT	0x01 /* nf_conntrack has it */
#define FW_SOURCE_XFLOW 0x02 /* the map `xflows` has it */

#define FW_ENTRY_BPF	   0x01 /* inserted by BPF: no event will ever end it */
#define FW_ENTRY_DEAD	   0x02 /* gone; waits for the sweep */
#define FW_ENTRY_EVENT	   0x04 /* an event spoke about it in this generation */
#define FW_ENTRY_OURS	   0x08 /* the kernel's TCP state is as we wrote it */
#define FW_ENTRY_FIN_REPLY 0x10 /* the first FIN came with the answers */
#define FW_ENTRY_MOVED	   0x20 /* a record told a new state in this generation */
#define FW_ENTRY_SHORT	   0x40 /* we have shortened its life */
#define FW_ENTRY_LIVES	   0x80 /* and have given it a longer one since */

/*
 * One flow; a million of them is common, so every byte is looked at, and what a dump
 * or a record looks at first is together.
 */
struct fw_entry {
	struct fw_entry *next; /* same bucket */
	struct fw_tuple orig;
	uint32_t gen; /* in which it was seen last */
	uint16_t zone;
	uint8_t sources; /* FW_SOURCE_* */
	uint8_t seen;	 /* FW_SOURCE_*, in `gen` */
	uint8_t flags;	 /* FW_ENTRY_* */
	uint8_t asked;	 /* times that `flow_info` was asked */
	uint8_t kernel_tcp;
	uint8_t dir;
	uint32_t ct_id;
	uint32_t mark;
	uint32_t status;
	uint64_t expires_ns;
	uint64_t opened_ns;
	uint32_t ifindex;
	uint32_t slot;
	struct fw_tuple *reply;	       /* NULL: the inverse of `orig` */
	struct fw_flow_counts *counts; /* the kernel's; NULL: it has none */
};

/* It is known who let the flow in, or nobody can tell any more. */
#define FW_ASKED_ENOUGH 3

struct fw_flowtab;

/** @brief An empty table, or NULL without memory. */
struct fw_flowtab *fw_flowtab_new(void);
void fw_flowtab_free(struct fw_flowtab *tab);

/** @brief Set what is called for each flow right before it leaves the table. */
void fw_flowtab_set_gone(struct fw_flowtab *tab,
			 void (*fn)(void *data, const struct fw_entry *entry),
			 void *data);

/** @brief Did what was merged last bring a flow that had not been there? */
bool fw_flowtab_has_new(const struct fw_flowtab *tab);

/** @brief Did it change what people are shown of a flow that had been there? */
bool fw_flowtab_has_changed(const struct fw_flowtab *tab);

/**
 * @brief What fw_entry_flow() has shown of it before that.
 *
 * @param flow  as it is; gets the state and marks of before
 */
void fw_flowtab_before(const struct fw_flowtab *tab, struct fw_flow *flow);

/** @brief Flows in the table, those that expired since the last sweep too. */
size_t fw_flowtab_count(const struct fw_flowtab *tab);

/** @brief The same by protocol and state, borrowed; costs nothing to ask. */
const struct fw_census *fw_flowtab_census(const struct fw_flowtab *tab);

/** @brief Flows in the table that nf_conntrack has, or had before they expired. */
size_t fw_flowtab_count_ct(const struct fw_flowtab *tab);

/**
 * @brief How often this generation or the last one has shown that the picture was wrong.
 *
 * A flow that nobody had told of, one in another state, one that had ended before its
 * time, and one that had been taken for dead.
 */
size_t fw_flowtab_corrections(const struct fw_flowtab *tab);

/**
 * @brief When the first flow will be taken for dead unless there is news of it.
 *
 * @return CLOCK_MONOTONIC; UINT64_MAX if there is none. As what was merged since the begin of
 *         this generation, or the last one, says.
 */
uint64_t fw_flowtab_first_expiry(const struct fw_flowtab *tab);

/** @brief Get what merging these will look at on its way from memory. */
void fw_flowtab_prefetch(const struct fw_flowtab *tab, const struct fw_ct *cts,
			 size_t n);

/** @brief The entry of an original tuple, borrowed, or NULL. */
struct fw_entry *fw_flowtab_find(const struct fw_flowtab *tab,
				 const struct fw_tuple *orig, uint16_t zone);

/** @brief Open a generation; an open one is forgotten. */
void fw_flowtab_begin(struct fw_flowtab *tab, uint64_t now_ns);

/**
 * @brief Close a generation: remove what was not seen in it.
 *
 * @param sources  FW_SOURCE_* that were read completely; flows keep the others
 */
void fw_flowtab_sweep(struct fw_flowtab *tab, uint8_t sources);

/** @brief Give up a generation: everything stays but what is known to be dead. */
void fw_flowtab_abort(struct fw_flowtab *tab);

/**
 * @brief The same as fw_flowtab_sweep(), for fw_flowtab_sweep_some() to do.
 *
 * What is merged meanwhile is merged as if all had been swept already; what is looked
 * at may still show flows that are to be removed. fw_flowtab_begin() gives it up.
 */
void fw_flowtab_sweep_begin(struct fw_flowtab *tab, uint8_t sources);

/** @brief Likewise fw_flowtab_abort(). */
void fw_flowtab_abort_begin(struct fw_flowtab *tab);

/**
 * @brief Go on with a sweep, and with what else is to be tidied up.
 *
 * @param n  about so many flows
 * @return true if there is more to do
 */
bool fw_flowtab_sweep_some(struct fw_flowtab *tab, size_t n);

/**
 * @brief Merge what ctnetlink says.
 *
 * @param ret  receives the entry, borrowed; NULL if it is gone or the message
 *             was older than what is known
 * @return 0 or -ENOMEM
 */
int fw_flowtab_ct(struct fw_flowtab *tab, enum fw_ct_msg msg,
		  const struct fw_ct *ct, uint64_t now_ns,
		  struct fw_entry **ret);

/**
 * @brief Merge a FLOW_* or ADOPT record of our programs.
 *
 * A record has no expiry: until a dump tells it, FW_RECORD_LIFE_NS is assumed.
 *
 * @param ret  as for fw_flowtab_ct()
 * @return 0, -ENOMEM, or -ENOSPC if there are twice as many flows as make a crowd
 */
int fw_flowtab_record(struct fw_flowtab *tab, const struct fw_event *event,
		      struct fw_entry **ret);

/**
 * @brief Are there so many flows that most of them may have ended in silence?
 *
 * More than twice as many as are expected, those that the last sweep has left unless
 * fw_flowtab_expect() knows better, and some more. Then it is time for a dump.
 */
bool fw_flowtab_is_crowded(const struct fw_flowtab *tab);

/** @brief So many flows there are at least, somebody has counted; until the next sweep. */
void fw_flowtab_expect(struct fw_flowtab *tab, size_t n);

/** @brief A flow was deleted, from wherever it was; fine if it is unknown. */
void fw_flowtab_end(struct fw_flowtab *tab, const struct fw_tuple *orig,
		    uint16_t zone);

#define FW_RECORD_LIFE_NS (120ull * 1000000000)

/** @brief Merge an element of the map `xflows`; 0 or -ENOMEM. */
int fw_flowtab_xflow(struct fw_flowtab *tab, const struct fw_tuple *tuple,
		     const struct fw_xflow *xflow);

/** @brief Merge an element of the map `flow_info` into its flow. */
void fw_entry_info(struct fw_entry *entry, const struct fw_flow_info *info);

/** @brief Show an entry to the user; false if it has expired or is dead. */
bool fw_entry_flow(const struct fw_entry *entry, uint64_t now_ns,
		   struct fw_flow *ret);

/**
 * @brief The TCP state that the kernel should have for an entry of BPF.
 *
 * @return TCP_CONNTRACK_*; 0 if nothing needs to be written: the kernel tracks
 *         the flow itself, has the state, or the flow is not established yet
 */
uint8_t fw_entry_kernel_tcp_due(const struct fw_entry *entry);

/* What of a flow is shown to change. */
struct fw_entry_look {
	uint32_t status;    /* IPS_SEEN_REPLY, IPS_ASSURED */
	uint8_t tcp;	    /* enum fw_tcp_state */
	uint8_t kernel_tcp; /* TCP_CONNTRACK_*, if no other state is known */
};

/** @brief How it looks now; zeroed if NULL. */
struct fw_entry_look fw_entry_look(const struct fw_entry *entry);

/** @brief Where the census counts it; FW_CENSUS_NOBODY if it is dead or NULL. */
unsigned int fw_entry_cell(const struct fw_entry *entry);

/** @brief True for a flow of BPF that has not been answered to its end. */
bool fw_entry_is_half_open(const struct fw_entry *entry);

/**
 * @brief Walk over the table with pauses in which it may change in any way.
 *
 * What is there from the first call to the last is met exactly once; what comes or
 * goes in between, at most once, unless it comes again.
 *
 * @param at  0 to begin; where to go on with the next call
 * @param n   about so many entries, those with the same chain as the last one too
 * @param fn  returns 1 if it has had enough for this time, or a negative errno
 * @return 1 if there is more, 0 at the end, or what fn said went wrong
 */
int fw_flowtab_walk(const struct fw_flowtab *tab, uint64_t *at, size_t n,
		    int (*fn)(void *data, const struct fw_entry *entry),
		    void *data);

/** @brief Call `fn` for each entry until it returns something else than 0. */
int fw_flowtab_foreach(const struct fw_flowtab *tab,
		       int (*fn)(void *data, const struct fw_entry *entry),
		       void *data);
