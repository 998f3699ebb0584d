/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * A packet as people describe it, made into a frame:
 *
 *   PACKET = ("in" | "out") INTERFACE HEADERS
 *   HEADERS = PROTOCOL ["from"] HOST ("->" | "to") HOST TERM...
 *   PROTOCOL = "tcp" | "udp" | "icmp" [TYPE] | another name | a number
 *   HOST   = ADDRESS | ADDRESS:PORT | [ADDRESS]:PORT
 *   TERM   = "flags" FLAG,... | "ttl" N | "length" N | "vlan" N | "id" N
 *          | "code" CODE | "fragment" ("first" | OFFSET ["more"])
 *          | "via" "ipsec" ["reqid" N]          (of what comes in)
 *          | "about" HEADERS          (of an ICMP error; the last term)
 */
#pragma once

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FW_FRAME_MOST 3000 /* what the kernel takes for a test run, and less */

/* Where a frame is sent to that is made: to the interface it is for, whoever has it. */
#define FW_FRAME_TO "\x02\0\0\0\0\x02"

struct fw_packetframe {
	char interface[IF_NAMESIZE];
	bool out;	/* it leaves by that, and is this host's */
	bool from_sa;	/* it came out of an SA of IPsec's, */
	uint32_t reqid; /* with this number; 0: not said */
	uint8_t frame[FW_FRAME_MOST];
	uint32_t len;
	char summary[512]; /* the description, with what was not said */
};

/* What is wrong with a description, and where. */
struct fw_packet_error {
	char *text; /* malloc()ed; NULL without memory */
	size_t at, len;
};

/**
 * @brief Read a description and make the frame, with right checksums.
 *
 * @param text  on one line
 * @return 0, or -EINVAL with *reterr filled
 */
int fw_packetframe_parse(const char *text, struct fw_packetframe *ret,
			 struct fw_packet_error *reterr);

/**
 * @brief Read "in eth0 [via ipsec [reqid N]]" and no more, of a frame from elsewhere.
 *
 * @return as fw_packetframe_parse(); `frame` and `summary` are not written
 */
int fw_packetframe_parse_place(const char *text, struct fw_packetframe *ret,
			       struct fw_packet_error *reterr);
