/* SPDX-License-Identifier: GPL-2.0-only */

/* A UDP datagram in Ethernet, as small as a frame may be. */
#pragma once

#include <linux/if_ether.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdint.h>

struct udp_frame {
	struct ethhdr eth;
	struct iphdr ip;
	struct udphdr udp;
	uint8_t data[18];
} __attribute__((packed));

#define UDP_FRAME_BE16(x) __builtin_bswap16(x)
#define UDP_FRAME_BE32(x) __builtin_bswap32(x)

/* Of the header with these addresses (RFC 1071), but for the complement. */
#define UDP_FRAME_SUM(from, to)                                           \
	(0x4500u + sizeof(struct udp_frame) - sizeof(struct ethhdr) +     \
	 (64u << 8 | IPPROTO_UDP) + ((from) >> 16) + ((from) & 0xffffu) + \
	 ((to) >> 16) + ((to) & 0xffffu))
#define UDP_FRAME_FOLD(sum) (((sum) & 0xffffu) + ((sum) >> 16))

/* Initializer: from and to are addresses in host order; from port 1234 to 9. */
#define UDP_FRAME(from, to)                                                   \
	{                                                                     \
		.eth = { .h_dest = { 2, 0, 0, 0, 0, 1 },                      \
			 .h_source = { 2, 0, 0, 0, 0, 2 },                    \
			 .h_proto = UDP_FRAME_BE16(ETH_P_IP) },               \
		.ip = { .ihl = 5,                                             \
			.version = 4,                                         \
			.ttl = 64,                                            \
			.protocol = IPPROTO_UDP,                              \
			.tot_len = UDP_FRAME_BE16(sizeof(struct udp_frame) -  \
						  sizeof(struct ethhdr)),     \
			.check = UDP_FRAME_BE16((uint16_t)~UDP_FRAME_FOLD(    \
				UDP_FRAME_FOLD(UDP_FRAME_SUM(from, to)))),    \
			.saddr = UDP_FRAME_BE32(from),                        \
			.daddr = UDP_FRAME_BE32(to) },                        \
		.udp = { .source = UDP_FRAME_BE16(1234),                      \
			 .dest = UDP_FRAME_BE16(9),                           \
			 .len = UDP_FRAME_BE16(sizeof(struct udphdr) + 18) }, \
	}
