/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Which rule owns which row of `rule_stats`.
 *
 * A freed slot keeps its label until it is given away, and slots are given away
 * in a circle: running flows of a rule that is gone show its name for as long
 * as possible. Once a slot has another label, those that are left are nobody's.
 * The circle is as large as the map of the running programs, for a larger map needs
 * other programs; it is doubled when nothing in it is free.
 */
#include "user/slots.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "kern/abi.h"
#include "user/stats.h"
#include "user/util.h"

#define BUCKETS 262144u

struct slot {
	char *label;
	uint32_t hash; /* of the label */
	uint32_t next; /* in its bucket; 0 ends it, for slot 0 is never used */
	bool is_used;
	bool is_new;	 /* taken in this round */
	bool is_seen;	 /* assigned in this round */
	bool has_counts; /* perhaps, of an earlier label */
	uint64_t
		since; /* the load when it ceased to be of another one; 0: never */
};

struct fw_slots {
	struct slot slot[FW_MAX_SLOTS];
	uint32_t bucket[BUCKETS];
	uint32_t last;	      /* the slot given away last */
	uint32_t size;	      /* slots below it are given away */
	uint32_t size_before; /* what it was when this round began */
	uint32_t n_used;
	bool is_zero; /* a slot without a label has counted nothing */
};

uint32_t fw_slots_size(size_t n_labels)
{
	uint32_t size = FW_SLOTS_MIN;

	/* Slot 0 is nobody's. */
	while (size <= n_labels && size < FW_MAX_SLOTS)
		size *= 2;
	return size;
}

struct fw_slots *fw_slots_new(uint32_t size, bool is_zero)
{
	struct fw_slots *slots;

	/* What is above `size` is never touched, and so costs nothing. */
	slots = calloc(1, sizeof(*slots));
	if (slots) {
		slots->size = slots->size_before = size;
		slots->is_zero = is_zero;
	}
	return slots;
}

void fw_slots_free(struct fw_slots *slots)
{
	if (!slots)
		return;
	for (size_t i = 0; i < FW_MAX_SLOTS; i++)
		free(slots->slot[i].label);
	free(slots);
}

/* By words: byte for byte it would be the longest part of an assignment. */
static uint32_t hash_of(const char *label)
{
	size_t n = strlen(label);
	uint64_t hash = n, word;

	while (n) {
		size_t len = n < sizeof(word) ? n : sizeof(word);

		word = 0;
		memcpy(&word, label, len);
		hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
		hash ^= hash >> 32;
		label += len;
		n -= len;
	}
	return (uint32_t)hash;
}

static uint32_t *bucket_of(struct fw_slots *slots, uint32_t hash)
{
	return &slots->bucket[hash % BUCKETS];
}

/* A used slot with this label, or 0. */
static uint32_t find(struct fw_slots *slots, const char *label, uint32_t hash)
{
	uint32_t i;

	for (i = *bucket_of(slots, hash); i; i = slots->slot[i].next) {
		if (slots->slot[i].hash == hash &&
		    strcmp(slots->slot[i].label, label) == 0)
			return i;
	}
	return 0;
}

/* A free slot; if there is none, the circle becomes larger. 0: it cannot. */
static uint32_t find_free(struct fw_slots *slots)
{
	uint32_t slot = slots->last;

	if (slots->n_used + 1 >= slots->size) {
		if (slots->size >= FW_MAX_SLOTS)
			return 0;
		slots->size *= 2;
	}
	do {
		slot = slot + 1 < slots->size ? slot + 1 : 1;
	} while (slots->slot[slot].is_used);
	return slot;
}

/* Put a label on a free slot. */
static int take(struct fw_slots *slots, const char *label, uint32_t hash,
		uint32_t slot)
{
	struct slot *s = &slots->slot[slot];
	bool has_counts = s->label || !slots->is_zero;
	uint32_t *bucket;
	char *copy;

	copy = strdup(label);
	if (!copy)
		return -ENOMEM;
	free(s->label);
	bucket = bucket_of(slots, hash);
	*s = (struct slot){
		.label = copy,
		.hash = hash,
		.next = *bucket,
		.is_used = true,
		.is_seen = true,
		.has_counts = has_counts,
	};
	*bucket = slot;
	slots->n_used++;
	return 0;
}

/* The label stays, for people who ask about a flow of a rule that is gone. */
static void release(struct fw_slots *slots, uint32_t slot)
{
	struct slot *s = &slots->slot[slot];
	uint32_t *link;

	for (link = bucket_of(slots, s->hash); *link != slot;
	     link = &slots->slot[*link].next)
		;
	*link = s->next;
	s->is_used = false;
	s->is_new = false;
	slots->n_used--;
}

void fw_slots_begin(struct fw_slots *slots, uint32_t size)
{
	slots->size = slots->size_before = size;
	for (size_t i = 1; i < size; i++) {
		slots->slot[i].is_new = false;
		slots->slot[i].is_seen = false;
	}
}

int fw_slots_assign(struct fw_slots *slots, const char *label,
		    uint32_t *ret_slot)
{
	uint32_t hash = hash_of(label);
	uint32_t slot;
	int r;

	slot = find(slots, label, hash);
	if (slot) {
		slots->slot[slot].is_seen = true;
		*ret_slot = slot;
		return 0;
	}

	slot = find_free(slots);
	if (!slot)
		return -ENOSPC;
	r = take(slots, label, hash, slot);
	if (r < 0)
		return r;
	slots->slot[slot].is_new = true;
	slots->last = slot;
	*ret_slot = slot;
	return 0;
}

uint32_t fw_slots_needed(const struct fw_slots *slots)
{
	return slots->size;
}

void fw_slots_clear_new(const struct fw_slots *slots,
			const struct fw_datapath *dp)
{
	for (uint32_t i = 1; i < slots->size; i++) {
		if (slots->slot[i].is_new && slots->slot[i].has_counts)
			fw_stats_rule_clear(dp, i);
	}
}

int fw_slots_claim(struct fw_slots *slots, const char *label, uint32_t slot)
{
	if (slot == 0 || slot >= slots->size)
		return -ERANGE;
	if (slots->slot[slot].is_used)
		return strcmp(slots->slot[slot].label, label) == 0 ? 0 : -EBUSY;
	if (slot > slots->last)
		slots->last = slot;
	return take(slots, label, hash_of(label), slot);
}

void fw_slots_commit(struct fw_slots *slots, uint64_t load)
{
	for (uint32_t i = 1; i < slots->size; i++) {
		struct slot *s = &slots->slot[i];

		if (s->is_used && s->is_new && s->has_counts)
			s->since = load;
		if (s->is_used && !s->is_seen)
			release(slots, i);
	}
}

void fw_slots_abort(struct fw_slots *slots)
{
	for (uint32_t i = 1; i < slots->size; i++) {
		if (!slots->slot[i].is_used || !slots->slot[i].is_new)
			continue;
		release(slots, i);
		slots->slot[i].since = FW_SLOTS_NEVER;
	}
	slots->size = slots->size_before;
}

const char *fw_slots_label(const struct fw_slots *slots, uint32_t slot)
{
	return slot < FW_MAX_SLOTS ? slots->slot[slot].label : NULL;
}

uint64_t fw_slots_since(const struct fw_slots *slots, uint32_t slot)
{
	return slot < FW_MAX_SLOTS ? slots->slot[slot].since : 0;
}
