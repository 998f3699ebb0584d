/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Asks the rules, in functions that the verifier walks once and not for each
 * of their callers. Such a function may not be given the image, only the number
 * of its generation; while one image takes over from another, both are there.
 */
#pragma once

/* The running image if it is of this generation, or else the one before it. */
static __always_inline const void *image_of(__u32 gen)
{
	const struct fw_image_head *head;
	void *map;

	for (__u32 slot = 0; slot < FW_IMAGE_SLOTS; slot++) {
		__u32 index = slot, zero = 0;

		map = bpf_map_lookup_elem(&rulesets, &index);
		if (!map)
			continue;
		head = bpf_map_lookup_elem(map, &zero);
		if (head && head->gen == gen)
			return head;
	}
	return NULL;
}

/*
 * True if the rules of this generation run by now. For who is at work with those
 * before them: another CPU may have judged a flow by the new ones already.
 */
static __noinline bool is_running(__u32 gen)
{
	const struct fw_image_head *head;
	void *map = bpf_map_lookup_elem(&rulesets, &first);

	head = map ? bpf_map_lookup_elem(map, &first) : NULL;
	return head && head->gen == gen;
}

/* match_first() with the rules of a generation; -1 also if there are none. */
__noinline int classify_first(struct match_io *io, __u32 gen, __u32 stateless)
{
	const struct fw_image_head *head = image_of(gen);

	return head ? match_first(head, fw_image_rules(head), io, stateless & 1)
		    : -1;
}

/* match_rest() the same way. */
__noinline int classify_rest(struct match_io *io, __u32 gen, __u32 stateless)
{
	const struct fw_image_head *head = image_of(gen);

	return head ? match_rest(head, fw_image_rules(head), io, stateless & 1)
		    : -1;
}
