/* SPDX-License-Identifier: GPL-2.0-only */

/* From the intermediate form to the image of kern/abi.h, and some of it back. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kern/match_abi.h"

#include "annex.h"
#include "bytes.h"
#include "match.h"
#include "mem.h"

/* Programs read whole lines of the processor's cache. */
#define LINE 64

/* Bytes that a rule is compiled to: most of them to less. */
#define USUAL_ROW 128

static bool names_self(const struct fw_program *program, int32_t set)
{
	return set >= 0 && program->sets[set].has_self;
}

/* FW_STATELESS_*, but for what is in the tables. */
static uint32_t has_stateless(const struct fw_program *program)
{
	uint32_t has = 0, early = FW_STATELESS_EARLY;
	const struct fw_ir_row *row;
	size_t i;

	if (program->options &
	    FW_OFF_MARTIAN) /* loopback may be an own address */
		early = 0;
	for (i = 0; i < program->n_rows; i++) {
		row = &program->rows[i];
		if (!(row->flags & FW_ROW_STATELESS))
			continue;
		has = FW_STATELESS_RULES;
		if (names_self(program, row->src) ||
		    names_self(program, row->dst))
			early = 0;
	}
	return has ? has | early : 0;
}

static uint32_t has_front(const struct fw_bytes *bytes)
{
	const struct fw_match_head *head = fw_bytes_at(bytes, FW_IMAGE_RULES);

	return head->front[0].set || head->front[1].set ? FW_STATELESS_FRONT
							: 0;
}

static int add_annex(const struct fw_program *program, struct fw_bytes *bytes,
		     struct fw_image_head *head)
{
	size_t len = fw_annex_size(program);
	uint32_t at;

	if (len > FW_IMAGE_MAX)
		return -E2BIG;
	at = fw_bytes_reserve(bytes, len, LINE);
	if (at == FW_BYTES_FAILED)
		return bytes->size + len > FW_IMAGE_MAX ? -E2BIG : -ENOMEM;
	fw_annex_write(program, fw_bytes_at(bytes, at));
	head->annex = at;
	head->annex_len = (uint32_t)len;
	return 0;
}

static uint32_t system_timeouts(const struct fw_program *program)
{
	uint32_t bits = 0;
	int i;

	for (i = 0; i < FW_TIMEOUT_MAX; i++) {
		if (program->timeout_from[i].origin == FW_TIMEOUT_SYSTEM)
			bits |= 1u << i;
	}
	return bits;
}

int fw_emit(const struct fw_program *program, uint32_t gen,
	    const uint32_t *slots, const uint32_t default_slots[FW_DIR_MAX],
	    struct fw_image *ret)
{
	return fw_emit_to(NULL, 0, program, gen, slots, default_slots, ret);
}

int fw_emit_to(unsigned char *room, size_t len,
	       const struct fw_program *program, uint32_t gen,
	       const uint32_t *slots, const uint32_t default_slots[FW_DIR_MAX],
	       struct fw_image *ret)
{
	struct fw_image_head head = {
		.magic = FW_IMAGE_MAGIC,
		.abi = FW_ABI_VERSION,
		.gen = gen,
		.n_rows = (uint32_t)program->n_rows,
		.has_stateless = has_stateless(program),
		.options = program->options,
		.timeouts = program->timeouts,
		.system_timeouts = system_timeouts(program),
		.antispoof = program->antispoof,
		.antispoof_strict = program->antispoof_strict,
		.mark_shift = program->mark_shift,
		.esp_grace = program->esp_grace,
	};
	struct fw_match_stats stats = { 0 };
	struct fw_bytes bytes = { 0 };
	uint32_t at;
	int r;

	if (room)
		fw_bytes_lend(&bytes, room, len);
	fw_bytes_expect(&bytes,
			fw_annex_size(program) + program->n_rows * USUAL_ROW);
	/* What is reserved next begins where this ends. */
	r = fw_bytes_reserve(&bytes, FW_IMAGE_RULES, LINE) == FW_BYTES_FAILED
		    ? -ENOMEM
		    : 0;
	if (r == 0) {
		r = fw_match_build(program, slots, default_slots, &bytes, &at,
				   &stats);
	}
	if (r == 0 && at != FW_IMAGE_RULES)
		r = -EINVAL;
	if (r == 0)
		r = add_annex(program, &bytes, &head);
	if (r == 0 && bytes.size > FW_IMAGE_MAX)
		r = -E2BIG;
	if (r < 0) {
		fw_bytes_done(&bytes);
		return r;
	}
	head.has_stateless |= has_front(&bytes);
	head.remembers = (uint32_t)fw_image_remembers(&head);
	head.size = (uint32_t)bytes.size;
	memcpy(bytes.data, &head, sizeof(head));
	*ret = (struct fw_image){
		.bytes = bytes.data,
		.size = head.size,
		.is_lent = bytes.is_lent,
		.cost = { .most_steps = stats.most_steps,
			  .longest_list = stats.longest_list,
			  .slowest_row = stats.slowest_rule },
	};
	return 0;
}

void fw_image_set_past(struct fw_image *image, const struct fw_image_past *past)
{
	struct fw_image_head head;

	memcpy(&head, image->bytes, sizeof(head));
	head.ended_before = past->ended_before;
	head.adopt_until_ns = past->adopt_until_ns;
	head.mark_before = past->mark_before;
	memcpy(image->bytes, &head, sizeof(head));
}

void fw_image_done(struct fw_image *image)
{
	if (!image->is_lent)
		free(image->bytes);
	*image = (struct fw_image){ 0 };
}

/* ---- and back ------------------------------------------------------------- */

const struct fw_image_head *fw_image_head(const struct fw_image *image)
{
	return (const void *)image->bytes;
}

int fw_image_slots(const struct fw_image *image, size_t n_rows,
		   uint32_t *ret_slots, uint32_t default_slots[FW_DIR_MAX])
{
	struct fw_image_head head;
	struct fw_match_head match;

	if (image->size < sizeof(head))
		return -EBADMSG;
	memcpy(&head, image->bytes, sizeof(head));
	if (head.magic != FW_IMAGE_MAGIC || head.abi != FW_ABI_VERSION ||
	    head.n_rows != n_rows ||
	    image->size < FW_IMAGE_RULES + sizeof(match))
		return -EBADMSG;
	memcpy(&match, image->bytes + FW_IMAGE_RULES, sizeof(match));
	if (match.slots > image->size ||
	    (image->size - match.slots) / sizeof(*ret_slots) < n_rows)
		return -EBADMSG;
	memcpy(ret_slots, image->bytes + match.slots,
	       n_rows * sizeof(*ret_slots));
	memcpy(default_slots, match.default_slot, sizeof(match.default_slot));
	return 0;
}
