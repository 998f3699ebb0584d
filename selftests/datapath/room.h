/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * A network and a mount namespace of the test's own, with its own bpf file
 * system: whatever a test does, nothing of it outlives the process.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/apply.h"
#include "user/datapath.h"
#include "user/loop.h"
#include "user/stats.h"

#define PIN_DIR	   "/sys/fs/bpf/fwctl/netns-1"
#define DEADLINE_S 10

/** @brief How many times slower than usual the machine is. */
unsigned int slowness(void);

/** @brief Move into new namespaces; ends the process with 77 if it may not. */
void room_enter(void);

/** @brief Run a shell command that has to succeed. */
void run(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** @brief In a child: nobody waits for what a test that failed has left. */
void die_with_parent(void);

/** @brief Exit status of a child that does this, 0 if it comes to the end. */
int status_of_child(void (*work)(void *data), void *data);

/** @brief Make a veth pair, both ends up and without IPv6. */
void make_pair(const char *name, const char *peer);

/** @brief A cmocka setup: the pair dpa, dpb. */
int make_devices(void **state);

uint32_t index_of(const char *name);

/** @brief Send frames of no known protocol out of an interface. */
void send_frames(const char *name, unsigned int n);

/** @brief Packets that a hook has counted for an interface slot. */
uint64_t packets_at(const struct fw_datapath *dp, uint32_t slot,
		    enum fw_hook hook);

/** @brief Number of programs at a TC hook: TCX, or filters without it. */
uint32_t count_tc(const char *name, bool ingress);

/** @brief Lines that a shell command prints with a word in them. */
int count_lines(const char *command, const char *word);

/** @brief Pins that `n` interfaces have, `n_xdp` of them with XDP. */
int pins_of(int n, int n_xdp);

/** @brief Program of the native and of the generic XDP hook; 0: none. */
uint32_t native_xdp(const char *name);
uint32_t generic_xdp(const char *name);

/** @brief Attach a generic XDP program that is not ours; its id. */
uint32_t add_foreign_xdp(const char *name);
void remove_foreign_xdp(const char *name);

/** @brief Put a filter that is not ours on the ingress of a clsact qdisc. */
void add_foreign_filter(const char *name);
void remove_foreign_filter(const char *name);

/** @brief Number of entries of a directory, without the dots; -1: none. */
int count_files(const char *path);

struct fw_datapath *open_datapath(void);

/** @brief Compile rules that have to be right. */
struct fw_program *compile(const char *text);

/** @brief Run the loop until `done` says so; fails at the deadline. */
void wait_until(struct fw_loop *loop, bool (*done)(void *data), void *data);
