/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Makes a compiled program the running one: counter slots, interfaces, own
 * addresses, image, switch. Also keeps interfaces and addresses current.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "rules/rules.h"
#include "user/datapath.h"

struct fw_apply;
struct fw_ifaces;
struct fw_loop;
struct fw_offload;

/* One declared interface as it is now. */
struct fw_apply_iface {
	const char *name;
	const char *zone;  /* first zone that has it */
	struct fw_span at; /* where the rule file declares it */
	uint32_t ifindex;  /* 0: does not exist at the moment */
	uint32_t slot;	   /* row of the `stats` map */
	enum fw_iface_mode wanted;
	enum fw_iface_mode mode; /* what runs; AUTO: nothing is attached */
	bool tcx;
	const char *error; /* why nothing is attached, or NULL */
};

/* What becomes of the flows of a generation whose number is used again. */
struct fw_forget {
	uint32_t gen;	    /* 0: of every generation */
	uint32_t heir;	    /* they are this one's from now on; 0: nobody's */
	bool is_ended;	    /* no: a load has ended them long ago */
	uint8_t mark_shift; /* where these marks are, see struct fw_image_head */
};

/* Cleans all traces of a generation; 0 or a negative errno. */
typedef int (*fw_apply_forget_fn)(void *data, const struct fw_forget *forget);

/* Rules with another `option mark-mask` take the place of running ones. */
struct fw_mark_move {
	uint8_t from, to;
	bool has_switched; /* no: they are about to */
};

/*
 * Before the switch: clears what others have where our bits will be. After it: moves
 * ours, which the programs do packet by packet until then. 0 or a negative errno.
 */
typedef int (*fw_apply_move_fn)(void *data, const struct fw_mark_move *move);

/**
 * @brief Start on an open datapath; adopts the rules that its image holds.
 *
 * Watches rtnetlink: an interface that appears under a declared name is
 * covered at once, own addresses are kept current.
 */
int fw_apply_new(struct fw_loop *loop, struct fw_datapath *dp,
		 struct fw_apply **ret, char **reterr);
void fw_apply_free(struct fw_apply *apply);

/**
 * @brief Set what is called before a generation number is given to new rules.
 *
 * Flows that an earlier rule set of the same number accepted must not pass as
 * judged by the new one: numbers come round after FW_MARK_GEN_MAX loads. They
 * stay flows that earlier rules accepted, and so are the flows of the generation
 * before the running one from then on. Numbers start from 1 again when the
 * programs are loaded afresh; what was before that, nobody has judged. If it
 * fails, so does the load.
 */
void fw_apply_set_forget(struct fw_apply *apply, fw_apply_forget_fn forget,
			 void *data);

/**
 * @brief Set what is called when a load moves our bits of the conntrack marks.
 *
 * Called at once if an earlier daemon could not complete that.
 */
void fw_apply_set_move(struct fw_apply *apply, fw_apply_move_fn move,
		       void *data);

/**
 * @brief There will be a load: do what takes time and needs no rules.
 *
 * What fails here, fw_apply_load() tries once more.
 */
void fw_apply_expect(struct fw_apply *apply);

/** @brief Free what no load has taken. */
void fw_apply_expect_nothing(struct fw_apply *apply);

/**
 * @brief Replace the running rules.
 *
 * Everything is prepared before one map update switches; if anything fails the
 * old rules keep running. Counters of rules with the same label go on.
 *
 * @param program  taken on success, the caller's on failure
 * @param ret_at   on failure the place in the program that it is about; its len
 *                 is 0 if there is none
 * @return 0, -E2BIG or -ENOSPC if the rules do not fit, what
 *         fw_datapath_attach() says of a declared interface that exists, or
 *         another negative errno
 */
int fw_apply_load(struct fw_apply *apply, struct fw_program *program,
		  struct fw_span *ret_at, char **reterr);

/**
 * @brief Give a named set of the running rules other content.
 *
 * A load of the same rules in all that packets, flows and counters see; the
 * rules stay those that were loaded, with the time of that.
 *
 * @param replacement  made of fw_apply_program(); in force on success, with the
 *                     old content in it; as it was on failure
 * @return as fw_apply_load()
 */
int fw_apply_replace(struct fw_apply *apply, struct fw_replacement *replacement,
		     char **reterr);

/** @brief The running rules, borrowed; NULL: none. */
const struct fw_program *fw_apply_program(const struct fw_apply *apply);

/** @brief What they cost a packet; of adopted ones nothing is known. */
struct fw_image_cost fw_apply_cost(const struct fw_apply *apply);

/** @brief Generation of the running rules; 0: none. */
uint32_t fw_apply_gen(const struct fw_apply *apply);

/** @brief Our bits of a conntrack mark, the lowest one. */
uint8_t fw_apply_mark_shift(const struct fw_apply *apply);

/** @brief Have rules since ended the flows of a generation (on-reload kill)? */
bool fw_apply_has_ended(const struct fw_apply *apply, uint32_t gen);

/** @brief When they were switched on, CLOCK_REALTIME; adopted ones: adoption. */
time_t fw_apply_time(const struct fw_apply *apply);

/** @brief Counter slot of a row of the running rules. */
uint32_t fw_apply_row_slot(const struct fw_apply *apply, size_t row);
uint32_t fw_apply_default_slot(const struct fw_apply *apply, enum fw_dir dir);

/** @brief Label that owns a slot, also of rules that are gone; NULL: none. */
const char *fw_apply_slot_label(const struct fw_apply *apply, uint32_t slot);

/** @brief True if the slot may have been another label's before. */
bool fw_apply_slot_is_reused(const struct fw_apply *apply, uint32_t slot);

/**
 * @brief The label that a slot had in the rules of a generation.
 *
 * @param gen  0: not known
 * @return borrowed; NULL: nobody knows any more
 */
const char *fw_apply_slot_label_at(const struct fw_apply *apply, uint32_t slot,
				   uint32_t gen);

/** @brief Declared interfaces; borrowed until the loop runs again. */
const struct fw_apply_iface *fw_apply_ifaces(const struct fw_apply *apply,
					     size_t *ret_n);

/** @brief As fw_hosttab_watch() and fw_hosttab_snap(). */
void fw_apply_watch(const struct fw_apply *apply, uint8_t mask, uint8_t kinds);
void fw_apply_snap(const struct fw_apply *apply, uint16_t len);

/** @brief Number of own addresses known. */
size_t fw_apply_self_count(const struct fw_apply *apply);

/** @brief The interfaces of this namespace, borrowed. */
const struct fw_ifaces *fw_apply_links(const struct fw_apply *apply);

/** @brief What XDP is told to forward, borrowed; for fw_offload_look(). */
const struct fw_offload *fw_apply_offload(const struct fw_apply *apply);

/** @brief Flows have been cut: XDP looks again before it forwards. */
void fw_apply_flows_cut(struct fw_apply *apply);

/** @brief Interface name by index, from the rtnetlink cache, or NULL. */
const char *fw_apply_ifname(const struct fw_apply *apply, uint32_t ifindex);
