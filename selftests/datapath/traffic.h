/* SPDX-License-Identifier: GPL-2.0-only */

/* Packets that one rule drops when they leave, each counted when it was sent. */
#pragma once

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "selftests/datapath/room.h"

/* The rule; they leave by dpa. */
#define TRAFFIC_RULE "drop out proto udp to 192.0.2.2 port 9 label traffic\n"

#define MAX_SENDERS 8

/* A thread for each CPU, until it is told to stop. */
struct sender {
	pthread_t thread;
	cpu_set_t cpu;
	const atomic_bool *stop;
	uint64_t sent;
	bool is_wrong;
};

/** @brief Send so many, here and now; each has to be dropped. */
void send_traffic(unsigned int n);

/** @brief Begin to send from each CPU; how many threads there are. */
size_t start_senders(struct sender senders[MAX_SENDERS],
		     const atomic_bool *stop_all);

/** @brief End it; how many packets they have sent together. */
uint64_t end_senders(struct sender senders[MAX_SENDERS], size_t n,
		     atomic_bool *stop_all);
