/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * One frame out of a capture file: the classic format (draft-ietf-opsawg-pcap), in either
 * byte order. Two headers with fixed places are not worth a library.
 */
#include "user/pcapfile.h"

#include <byteswap.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "user/util.h"

#define MAGIC	    0xa1b2c3d4u
#define MAGIC_NANO  0xa1b23c4du /* times in nanoseconds */
#define MAGIC_NG    0x0a0d0d0au
#define LINK_ETHER  1u
#define LINK_RAW    101u /* IPv4 or IPv6 */
#define LINK_IPV4   228u
#define LINK_IPV6   229u
#define RECORD_MOST 262144u
#define ETHER	    14u

struct head {
	uint32_t magic;
	uint32_t version, zone, sigfigs, snaplen;
	uint32_t link;
};

struct record {
	uint32_t s, ns;
	uint32_t len; /* in the file */
	uint32_t full;
};

static void closep(FILE **file)
{
	if (*file)
		(void)fclose(*file);
}

/* What people have who cannot use the file as it is. */
static int refuse(const char *path, const char *why, int r, char **reterr)
{
	fw_errorf(reterr, "%s: %s", path, why);
	return r;
}

static int read_head(FILE *file, const char *path, bool *ret_swap,
		     uint32_t *ret_link, char **reterr)
{
	struct head head;

	if (fread(&head, sizeof(head), 1, file) != 1)
		return refuse(path, "is no capture file", -EBADMSG, reterr);
	if (head.magic == MAGIC_NG)
		return refuse(
			path,
			"is of the format pcapng: make it a pcap by 'editcap -F pcap'",
			-EBADMSG, reterr);
	*ret_swap = head.magic == bswap_32(MAGIC) ||
		    head.magic == bswap_32(MAGIC_NANO);
	if (!*ret_swap && head.magic != MAGIC && head.magic != MAGIC_NANO)
		return refuse(path, "is no capture file", -EBADMSG, reterr);
	/* above are flags */
	*ret_link = (*ret_swap ? bswap_32(head.link) : head.link) & 0xffff;
	if (*ret_link == LINK_ETHER || *ret_link == LINK_RAW ||
	    *ret_link == LINK_IPV4 || *ret_link == LINK_IPV6)
		return 0;
	return refuse(path, "has frames that are neither Ethernet nor bare IP",
		      -EBADMSG, reterr);
}

/* The length of the next frame, whose bytes come now; 0: there is none. */
static uint32_t read_record(FILE *file, bool swap)
{
	struct record record;

	if (fread(&record, sizeof(record), 1, file) != 1)
		return 0;
	return swap ? bswap_32(record.len) : record.len;
}

int fw_pcapfile_read(const char *path, unsigned long number, uint8_t *frame,
		     size_t size, uint32_t *ret_len, char **reterr)
{
	__attribute__((cleanup(closep))) FILE *file = fopen(path, "re");
	uint32_t len, link, room;
	bool swap;
	int r;

	if (!file) {
		r = -errno;
		return refuse(path, strerror(-r), r, reterr);
	}
	r = read_head(file, path, &swap, &link, reterr);
	if (r < 0)
		return r;
	room = link == LINK_ETHER ? 0 : ETHER;
	for (unsigned long i = 1;; i++) {
		len = read_record(file, swap);
		if (!len || len > RECORD_MOST)
			return refuse(path, "has fewer frames", -ENOENT,
				      reterr);
		if (i == number)
			break;
		if (fseek(file, (long)len, SEEK_CUR) < 0)
			return refuse(path, strerror(errno), -errno, reterr);
	}
	if (len + room > size)
		return refuse(path,
			      "has a larger frame there than can be explained",
			      -EMSGSIZE, reterr);
	if (fread(frame + room, len, 1, file) != 1)
		return refuse(path, "ends inside the frame", -EBADMSG, reterr);
	*ret_len = len + room;
	if (!room)
		return 0;
	memset(frame, 0, ETHER);
	memcpy(frame + 12, frame[room] >> 4 == 6 ? "\x86\xdd" : "\x08\0", 2);
	return 0;
}
