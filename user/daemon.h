/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * What the parts of fwctld share: one struct, and how it gets hold of the
 * datapath and lets go of it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "user/apply.h"
#include "user/control.h"
#include "user/datapath.h"
#include "user/mirror.h"
#include "user/paths.h"

struct fw_budgets;
struct fw_espmarks;
struct fw_explainer;
struct fw_captures;
struct fw_fill;
struct fw_loop;
struct fw_metrics;
struct fw_monitors;
struct fw_rulelog;
struct fw_steer;
struct fw_transport_watch;
struct fw_upkeep;

struct fw_daemon {
	struct fw_loop *loop;
	struct fw_paths paths;
	unsigned long netns;
	bool exit_on_unload;
	bool may_hold_hooks; /* there may be the table of cthooks.h */
	bool hooks_failed;   /* said already */
	time_t started;

	/* All or none; they go together. */
	struct fw_datapath *datapath;
	struct fw_apply *apply;
	struct fw_mirror *mirror;
	struct fw_fill *fill;
	struct fw_upkeep *upkeep;
	struct fw_transport_watch *transport;
	struct fw_budgets *budgets;
	struct fw_espmarks *espmarks;
	struct fw_steer *steer;
	struct fw_explainer *explainer; /* NULL until somebody asks */

	uint64_t openings;     /* how often they were opened */
	unsigned int listings; /* of flows, that clients are reading */
	unsigned int tops;     /* who watch the busiest flows */

	struct fw_control *control;
	struct fw_rulelog *rulelog;
	struct fw_monitors *monitors;
	struct fw_captures *captures;
	struct fw_metrics *metrics;
	char *metrics_address; /* "127.0.0.1:9477", or NULL: switched off */
	char *metrics_error;   /* why nobody listens there, or NULL */

	char *open_error; /* why pinned rules could not be adopted, or NULL */
	uint64_t loads;
	uint64_t failed_loads;
	uint64_t replacements; /* of sets, since the start */
	uint64_t failed_replacements;
	bool last_load_failed;
	uint64_t last_load_ns; /* how long the last successful one took */
	time_t last_load_time;
};

extern const struct fw_verb fw_daemon_verbs[];
extern const size_t fw_daemon_n_verbs;

/**
 * @brief Open the datapath with all that belongs to it, once.
 *
 * @param size    see fw_datapath_open()
 * @param reterr  on failure one line for the user, malloc()ed
 * @return 0, also if it is open already, or a negative errno
 */
int fw_daemon_open(struct fw_daemon *daemon,
		   const struct fw_datapath_size *size, char **reterr);

/** @brief Let go; what is pinned goes on filtering. */
void fw_daemon_close(struct fw_daemon *daemon);

/** @brief Take everything out of the kernel; 0 or a negative errno. */
int fw_daemon_remove(struct fw_daemon *daemon, char **reterr);

/**
 * @brief Hold the kernel's conntrack hooks, or let go of them, as the running rules
 * say; without rules nobody holds them.
 *
 * @return 0 if it was so already, 1 if it is so now, or a negative errno
 */
int fw_daemon_follow_option(struct fw_daemon *daemon);

/** @brief The running rules, borrowed; NULL: none. */
const struct fw_program *fw_daemon_program(const struct fw_daemon *daemon);

/** @brief True if there are rules; else the request has been answered. */
bool fw_daemon_check_loaded(const struct fw_daemon *daemon,
			    struct fw_request *request);

/* Handlers, one per verb; see fw_verb_fn. */
void fw_handle_load(void *data, struct fw_request *request, const json_t *args);
void fw_handle_unload(void *data, struct fw_request *request,
		      const json_t *args);
void fw_handle_status(void *data, struct fw_request *request,
		      const json_t *args);
void fw_handle_rules(void *data, struct fw_request *request,
		     const json_t *args);
void fw_handle_flows(void *data, struct fw_request *request,
		     const json_t *args);
void fw_handle_monitor(void *data, struct fw_request *request,
		       const json_t *args);
void fw_handle_capture(void *data, struct fw_request *request,
		       const json_t *args);
void fw_handle_flows_kill(void *data, struct fw_request *request,
			  const json_t *args);
void fw_handle_explain(void *data, struct fw_request *request,
		       const json_t *args);
void fw_handle_ipsec(void *data, struct fw_request *request,
		     const json_t *args);
void fw_handle_sets(void *data, struct fw_request *request, const json_t *args);
void fw_handle_set_replace(void *data, struct fw_request *request,
			   const json_t *args);
