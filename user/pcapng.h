/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Writing pcapng (draft-ietf-opsawg-pcapng): a section header, a description of each
 * interface before its first packet, packets, statistics at the end. All numbers are
 * in the byte order of this machine, which the section header shows.
 *
 * Every function writes one block and returns 0 or a negative errno of the stream;
 * -ENOMEM: nothing was written.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define FW_PCAPNG_ETHERNET 1 /* LINKTYPE_ETHERNET */
#define FW_PCAPNG_RAW \
	101 /* LINKTYPE_RAW: IPv4 or IPv6 without a header before */

/** @brief Section header block; `application` is who has made the file. */
int fw_pcapng_section(FILE *out, const char *application);

struct fw_pcapng_interface {
	const char *name;	 /* NULL: it has none */
	const char *description; /* the same */
	uint16_t link;		 /* FW_PCAPNG_* */
	uint32_t snaplen; /* of a packet no more bytes than that; 0: all */
};

/** @brief Interface description block; interfaces are numbered from 0. */
int fw_pcapng_interface(FILE *out, const struct fw_pcapng_interface *interface);

struct fw_pcapng_packet {
	uint32_t interface; /* number */
	uint64_t time_ns;   /* since 1970 */
	const void *data;
	uint32_t len;	   /* bytes of `data` */
	uint32_t wire_len; /* of the packet */
	bool is_outbound;
	const char *comment; /* UTF-8 in one line; NULL: none */
};

/** @brief Enhanced packet block. */
int fw_pcapng_packet(FILE *out, const struct fw_pcapng_packet *packet);

struct fw_pcapng_stats {
	uint32_t interface; /* number */
	uint64_t begin_ns;  /* of the capture, since 1970 */
	uint64_t end_ns;
	uint64_t delivered; /* packets that are in the file */
	uint64_t dropped;   /* and those that are not, for want of room */
};

/** @brief Interface statistics block. */
int fw_pcapng_stats(FILE *out, const struct fw_pcapng_stats *stats);
