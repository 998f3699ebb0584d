/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * What the tests against the kernel need: entries made by libnetfilter_conntrack,
 * the list that conntrack(8) prints, and a program that emits records.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kern/abi.h"

/* An entry to be made; addresses and ports are filled in from `number`. */
struct want {
	uint8_t proto;
	bool is_ipv6;
	uint16_t number;
	uint32_t timeout_s;
	uint32_t mark;
	uint32_t status;   /* beside IPS_CONFIRMED */
	uint8_t tcp_state; /* 0: no protocol information, like BPF */
	bool is_nat;	   /* answers go to another address */
};

/* One flow, in a form that can be compared. */
struct row {
	char text[512];
	long left_s;
};

struct rows {
	struct row *row;
	size_t n;
	size_t size; /* room */
};

/** @brief Make, change or delete an entry; 0 or a negative errno. */
int entry_create(const struct want *want);
int entry_update(const struct want *want);
int entry_delete(const struct want *want);

/** @brief The original tuple of the entry. */
struct fw_tuple entry_tuple(const struct want *want);

/** @brief Fill `ret` with what conntrack(8) lists; 0 or a negative errno. */
int list_rows(struct rows *ret);
/** @brief Room for one more row. */
struct row *rows_add(struct rows *rows);
void rows_sort(struct rows *rows);
void rows_free(struct rows *rows);

/** @brief Compare sorted rows; times may be `slack_s` apart. */
bool rows_equal(const struct rows *a, const struct rows *b, long slack_s,
		char *ret_difference, size_t size);

/** @brief Run a command quietly; its exit status. */
int run(const char *command);

/** @brief A number in /proc/sys/net/netfilter. */
long read_sysctl(const char *name);
int write_sysctl(const char *name, const char *value);

/** @brief A program that copies its packet into the ring buffer, or -errno. */
int emitter_new(int ring_fd);
int emit(int emitter_fd, const struct fw_event *event);
