/* SPDX-License-Identifier: GPL-2.0-only */

/* The mirror from inside: for its own files and their tests. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "user/lives.h"
#include "user/mirror.h"
#include "user/rest.h"
#include "user/xflows.h"

struct fw_ctnl;
struct fw_flowtab;
struct fw_host;
struct fw_timer;
struct fw_watch;
struct ring_buffer;

struct fw_mirror {
	struct fw_loop *loop;
	struct fw_ctnl *ctnl;
	struct fw_flowtab *tab;
	struct ring_buffer *ring;
	struct fw_watch *event_watch;
	struct fw_watch *ring_watch;
	struct fw_watch *dump_watch; /* NULL: no dump is running */
	struct fw_timer *timer;
	struct fw_timer *sweep_timer;
	struct fw_timer *read_timer; /* see read_at_pace() */
	fw_mirror_log_fn log;
	void *log_data;
	fw_mirror_flow_fn flow; /* NULL: nobody watches them */
	void *flow_data;
	struct fw_mirror_stats stats;
	uint64_t now_ns;      /* of the datagram or record being merged */
	uint64_t begin_ns;    /* of the running dump */
	uint64_t next_ns;     /* when the next one is due */
	uint64_t earliest_ns; /* before that nothing may start one */
	uint64_t spared_ns;   /* likewise, while what comes is too much */
	uint64_t calm_ns;     /* from then on it is not, unless is_paced */
	uint64_t reap_ns; /* likewise, for walks that free expired entries */
	uint64_t read_ns; /* when records and events were read last */
	struct fw_lives lives;
	struct fw_rest rest;  /* how long it may rest between dumps */
	unsigned int attempt; /* of the running dump, from 1 */
	unsigned int vain;    /* dumps in a row while which more was missed */
	unsigned int budget;  /* records left in this turn */
	bool is_lossy;	      /* something was missed since the dump began */
	bool is_congested;  /* events get lost in silence, see read_events() */
	bool is_paced;	    /* records and events are read by the timer */
	bool is_corrected;  /* the last dump had to write to conntrack */
	bool is_tightened;  /* since the dump began: another one is due */
	bool is_completing; /* a dump is whole, what it did not show goes away */
	const struct fw_host *host; /* shared with the programs */
	uint64_t
		lost_known; /* of its lost records: seen, and the picture stale */
	int flow_info_fd;
	struct fw_xflows xflows;
};

/** @brief The picture may be wrong until another dump has completed. */
void fw_mirror_set_stale(struct fw_mirror *mirror);

/** @brief Write to conntrack what is queued; what fails is found by the next dump. */
void fw_mirror_flush(struct fw_mirror *mirror);
