/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * A mirror in a network namespace of the test's own, with maps as the datapath
 * has them: what it shows must be what conntrack(8) lists, entry by entry,
 * whatever happened.
 *
 * Entries made while nf_conntrack_events is 0 send no events, like those that
 * BPF inserts; without protocol information their TCP state is NONE, likewise.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/loop.h"
#include "user/mirror.h"

#include "helpers.h"

/* Only maps; the tests are not linked with that of the daemon. */
struct fw_datapath {
	int map[FW_MAP_MAX];
};

struct fixture {
	struct fw_datapath dp;
	struct fw_loop *loop;
	struct fw_mirror *mirror;
	struct fw_timer *poll_timer;
	int emitter;
	/* of the loop that runs until something holds */
	bool (*holds)(struct fixture *f);
	uint64_t deadline_ns;
	bool is_met;
	unsigned int logs;
	const struct want *looked_for;
	char difference[1200]; /* where the picture differed last */
};

/* Entries of many kinds. */
#define ZOO 12
extern const struct want zoo[ZOO];

/** @brief A test with a mirror of its own, of an empty table. */
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int setup(void **state);
int teardown(void **state);

/**
 * @brief Move into a new namespace; ends the process with 77 if it may not, or
 * if there is no conntrack(8).
 */
void lab_enter(void);

/** @brief Make entries; fails the test if one is refused. */
void make(const struct want *want, size_t n);

/** @brief Like BPF: nothing will ever be told about these entries. */
void make_silent(const struct want *want, size_t n);

/** @brief A mark as our programs write it, with this state. */
uint32_t own(enum fw_tcp_state state);

/** @brief A record as our programs write it; of a rule in slot 11. */
struct fw_event record_of(const struct want *want, enum fw_event_type type,
			  enum fw_tcp_state tcp_state);

/** @brief Ask the mirror to be up to date; it has to be in sync then. */
void refresh(struct fixture *f);

/** @brief Whether mirror and conntrack(8) show the same; notes a difference. */
bool is_equal(struct fixture *f);

/** @brief Whether the mirror shows this entry. */
bool find_flow(struct fixture *f, const struct want *want, struct fw_flow *ret);

/** @brief Whether conntrack(8) lists the IPv4 entry of a number with a word. */
bool is_listed(const char *word, unsigned int number);

/** @brief How long a test waits for what has to come. */
uint64_t deadline_ns(void);

/** @brief Run the loop until `holds`, asked every few milliseconds, or too long. */
bool run_until(struct fixture *f, bool (*holds)(struct fixture *f));
