/* SPDX-License-Identifier: GPL-2.0-only */

/* Writing pcapng (draft-ietf-opsawg-pcapng), of which sections are named below. */
#include "user/pcapng.h"

#include <errno.h>
#include <string.h>

#include "user/proto.h"

/* Block types, section 11.1. */
enum {
	SECTION_HEADER = 0x0a0d0d0a, /* 4.1 */
	INTERFACE_DESCRIPTION = 1,   /* 4.2 */
	INTERFACE_STATISTICS = 5,    /* 4.6 */
	ENHANCED_PACKET = 6,	     /* 4.3 */
};

/* Options: 3.5 those of any block, then those of the block. */
enum {
	OPT_ENDOFOPT = 0,
	OPT_COMMENT = 1,
	SHB_USERAPPL = 4,
	IF_NAME = 2,
	IF_DESCRIPTION = 3,
	IF_TSRESOL = 9,
	EPB_FLAGS = 2,
	ISB_STARTTIME = 2,
	ISB_ENDTIME = 3,
	ISB_IFDROP = 5,
	ISB_USRDELIV = 8,
};

#define BYTE_ORDER_MAGIC 0x1a2b3c4du
#define NANOSECONDS	 9  /* if_tsresol: 10^-9 s */
#define INBOUND		 1u /* epb_flags */
#define OUTBOUND	 2u

/* A block that grows; the first failure stays. */
struct block {
	struct fw_buf buf;
	int error;
};

/* Everything is padded to 32 bits. */
static void put(struct block *block, const void *data, size_t len)
{
	size_t padded = (len + 3) / 4 * 4;

	if (block->error)
		return;
	block->error = fw_buf_reserve(&block->buf, padded);
	if (block->error)
		return;
	memset(block->buf.data + block->buf.len, 0, padded);
	if (len)
		memcpy(block->buf.data + block->buf.len, data, len);
	block->buf.len += padded;
}

static void put_u16s(struct block *block, uint16_t a, uint16_t b)
{
	const uint16_t both[] = { a, b };

	put(block, both, sizeof(both));
}

static void put_u32(struct block *block, uint32_t value)
{
	put(block, &value, sizeof(value));
}

/* 4.3: a moment in two halves, the upper one first. */
static void put_time(struct block *block, uint64_t time_ns)
{
	put_u32(block, (uint32_t)(time_ns >> 32));
	put_u32(block, (uint32_t)time_ns);
}

static void put_option(struct block *block, uint16_t code, const void *data,
		       size_t len)
{
	if (len > UINT16_MAX)
		len = UINT16_MAX;
	put_u16s(block, code, (uint16_t)len);
	put(block, data, len);
}

static void put_text(struct block *block, uint16_t code, const char *text)
{
	if (text)
		put_option(block, code, text, strlen(text));
}

static void put_time_option(struct block *block, uint16_t code,
			    uint64_t time_ns)
{
	put_u16s(block, code, sizeof(time_ns));
	put_time(block, time_ns);
}

/* Its length is at both ends, and known at the end. */
static void begin(struct block *block, uint32_t type)
{
	*block = (struct block){ 0 };
	put_u32(block, type);
	put_u32(block, 0);
}

static int end(struct block *block, FILE *out)
{
	uint32_t len;
	int r;

	put_u16s(block, OPT_ENDOFOPT, 0);
	len = (uint32_t)block->buf.len + 4;
	put_u32(block, len);
	r = block->error;
	if (r == 0) {
		memcpy(block->buf.data + 4, &len, sizeof(len));
		errno = 0;
		if (fwrite(block->buf.data, 1, len, out) != len)
			r = errno ? -errno : -EIO;
	}
	fw_buf_done(&block->buf);
	return r;
}

int fw_pcapng_section(FILE *out, const char *application)
{
	const uint64_t unknown = UINT64_MAX; /* how long the section is */
	struct block block;

	begin(&block, SECTION_HEADER);
	put_u32(&block, BYTE_ORDER_MAGIC);
	put_u16s(&block, 1, 0); /* version 1.0 */
	put(&block, &unknown, sizeof(unknown));
	put_text(&block, SHB_USERAPPL, application);
	return end(&block, out);
}

int fw_pcapng_interface(FILE *out, const struct fw_pcapng_interface *interface)
{
	const uint8_t resolution = NANOSECONDS;
	struct block block;

	begin(&block, INTERFACE_DESCRIPTION);
	put_u16s(&block, interface->link, 0);
	put_u32(&block, interface->snaplen);
	put_text(&block, IF_NAME, interface->name);
	put_text(&block, IF_DESCRIPTION, interface->description);
	put_option(&block, IF_TSRESOL, &resolution, sizeof(resolution));
	return end(&block, out);
}

int fw_pcapng_packet(FILE *out, const struct fw_pcapng_packet *packet)
{
	const uint32_t flags = packet->is_outbound ? OUTBOUND : INBOUND;
	struct block block;

	begin(&block, ENHANCED_PACKET);
	put_u32(&block, packet->interface);
	put_time(&block, packet->time_ns);
	put_u32(&block, packet->len);
	put_u32(&block, packet->wire_len);
	put(&block, packet->data, packet->len);
	put_text(&block, OPT_COMMENT, packet->comment);
	put_option(&block, EPB_FLAGS, &flags, sizeof(flags));
	return end(&block, out);
}

int fw_pcapng_stats(FILE *out, const struct fw_pcapng_stats *stats)
{
	struct block block;

	begin(&block, INTERFACE_STATISTICS);
	put_u32(&block, stats->interface);
	put_time(&block, stats->end_ns);
	put_time_option(&block, ISB_STARTTIME, stats->begin_ns);
	put_time_option(&block, ISB_ENDTIME, stats->end_ns);
	put_option(&block, ISB_IFDROP, &stats->dropped, sizeof(stats->dropped));
	put_option(&block, ISB_USRDELIV, &stats->delivered,
		   sizeof(stats->delivered));
	return end(&block, out);
}
