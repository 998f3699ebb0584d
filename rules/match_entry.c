/* SPDX-License-Identifier: GPL-2.0-only */

/* Lists of entries in the image, and references to them. */
#include <errno.h>
#include <string.h>

#include "match_part.h"

/* A counter, or where the rest of the rule is. */
static uint32_t slot_of(const struct fw_match_builder *b,
			const struct fw_match_part *p)
{
	return p->need & FW_MATCH_HAS_TERM ? b->rows[p->rule] : p->slot;
}

static struct fw_match_entry entry_of(const struct fw_match_builder *b,
				      const struct fw_match_part *p)
{
	uint32_t end = p->rule << FW_END_RULE_SHIFT | p->end;

	if (p->need & FW_MATCH_HAS_TERM)
		end |= FW_END_TERM;
	return (struct fw_match_entry){
		.ports = fw_match_ports(p->port_lo[0], p->port_hi[0],
					p->port_lo[1], p->port_hi[1]),
		.need = p->need,
		.end = end,
		.slot = slot_of(b, p),
	};
}

static void write_v4(const struct fw_match_builder *b,
		     const struct fw_match_part *p, struct fw_match_v4 *out)
{
	*out = (struct fw_match_v4){
		.e = entry_of(b, p),
		.addr = p->addr[0][0] | p->addr[1][0] >> 32,
	};
	out->e.shift[0] = (uint8_t)(32 - p->len[0]);
	out->e.shift[1] = (uint8_t)(32 - p->len[1]);
}

/* What to shift out of a word of an address, the first bits of which count. */
static uint8_t word_shift(int bits)
{
	return bits <= 0    ? FW_MATCH_SHIFT_ALL
	       : bits >= 64 ? 0
			    : (uint8_t)(64 - bits);
}

static void write_v6(const struct fw_match_builder *b,
		     const struct fw_match_part *p, struct fw_match_v6 *out)
{
	*out = (struct fw_match_v6){
		.e = entry_of(b, p),
		.addr = { p->addr[0][0], p->addr[0][1], p->addr[1][0],
			  p->addr[1][1] },
	};
	out->e.shift[0] = word_shift(p->len[0]);
	out->e.shift[1] = word_shift(p->len[0] - 64);
	out->e.shift[2] = word_shift(p->len[1]);
	out->e.shift[3] = word_shift(p->len[1] - 64);
}

__u64 fw_match_ref(uint32_t kind, uint32_t off, uint32_t rule)
{
	return (__u64)rule << (FW_REF_END_SHIFT + FW_END_RULE_SHIFT) | off |
	       FW_REF_ANY | kind;
}

/* Room for a list, with its length before it if a reference cannot say it. */
static uint32_t reserve(struct fw_match_builder *b, size_t n, size_t size)
{
	struct fw_match_long head = { .n = (uint32_t)n };
	uint32_t off;

	if (n <= FW_REF_MAX_ENTRIES)
		return fw_bytes_reserve(b->bytes, n * size, size);
	off = fw_bytes_reserve(b->bytes, sizeof(head) + n * size, FW_REF_ALIGN);
	if (off != FW_BYTES_FAILED)
		memcpy(fw_bytes_at(b->bytes, off), &head, sizeof(head));
	return off;
}

int fw_match_add_list(struct fw_match_builder *b, bool is_v6,
		      const struct fw_match_part *parts, const uint32_t *list,
		      size_t n, __u64 *ret_ref, struct fw_match_depth *depth)
{
	bool is_long = n > FW_REF_MAX_ENTRIES;
	size_t size =
		is_v6 ? sizeof(struct fw_match_v6) : sizeof(struct fw_match_v4);
	uint32_t off = reserve(b, n, size);
	size_t i;

	if (off == FW_BYTES_FAILED)
		return -ENOMEM;
	*ret_ref = fw_match_ref(is_long ? FW_REF_LONG : (uint32_t)n, off,
				parts[list[0]].rule);
	if (is_long)
		off += (uint32_t)sizeof(struct fw_match_long);
	for (i = 0; i < n; i++, off += (uint32_t)size) {
		void *to = fw_bytes_at(b->bytes, off);

		if (is_v6)
			write_v6(b, &parts[list[i]], to);
		else
			write_v4(b, &parts[list[i]], to);
	}
	b->stats.entries += n;
	if (n > depth->entries) {
		depth->entries = (uint32_t)n;
		depth->rule = parts[list[0]].rule;
	}
	return 0;
}
