/* SPDX-License-Identifier: GPL-2.0-only */

/* Packets that one rule drops when they leave, each counted when it was sent. */
#include "selftests/datapath/traffic.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <string.h>
#include <sys/socket.h>

#include "selftests/datapath/udp_frame.h"
#include "user/util.h"

static int open_sender(struct sockaddr_ll *ret_to)
{
	int fd;

	*ret_to = (struct sockaddr_ll){
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_IP),
		.sll_ifindex = (int)index_of("dpa"),
		.sll_halen = ETH_ALEN,
	};
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	return fd;
}

/*
 * One packet that the rule "traffic" drops when it leaves. The program runs
 * while we are in sendto(), and its verdict comes back as ENOBUFS.
 */
static bool send_one(int fd, const struct sockaddr_ll *to)
{
	const struct udp_frame frame = UDP_FRAME(0xc0000201, 0xc0000202);

	return sendto(fd, &frame, sizeof(frame), 0, (const void *)to,
		      sizeof(*to)) < 0 &&
	       errno == ENOBUFS;
}

void send_traffic(unsigned int n)
{
	struct sockaddr_ll to;
	_cleanup_close_ int fd = open_sender(&to);

	for (unsigned int i = 0; i < n; i++)
		assert_true(send_one(fd, &to));
}

static void *run_sender(void *data)
{
	struct sender *sender = data;
	struct sockaddr_ll to;
	_cleanup_close_ int fd = open_sender(&to);

	(void)sched_setaffinity(0, sizeof(sender->cpu), &sender->cpu);
	while (!atomic_load(sender->stop) && !sender->is_wrong) {
		sender->is_wrong = !send_one(fd, &to);
		sender->sent++;
	}
	return NULL;
}

size_t start_senders(struct sender senders[MAX_SENDERS],
		     const atomic_bool *stop_all)
{
	cpu_set_t cpus;
	size_t n = 0;

	assert_int_equal(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
	for (size_t cpu = 0; cpu < CPU_SETSIZE && n < MAX_SENDERS; cpu++) {
		struct sender *sender = &senders[n];

		if (!CPU_ISSET(cpu, &cpus))
			continue;
		*sender = (struct sender){ .stop = stop_all };
		CPU_SET(cpu, &sender->cpu);
		assert_int_equal(pthread_create(&sender->thread, NULL,
						run_sender, sender),
				 0);
		n++;
	}
	return n;
}

uint64_t end_senders(struct sender senders[MAX_SENDERS], size_t n,
		     atomic_bool *stop_all)
{
	uint64_t sum = 0;

	atomic_store(stop_all, true);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(pthread_join(senders[i].thread, NULL), 0);
		assert_false(senders[i].is_wrong);
		assert_true(senders[i].sent > 0);
		sum += senders[i].sent;
	}
	return sum;
}
