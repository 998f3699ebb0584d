/* SPDX-License-Identifier: GPL-2.0-only */

/* Where a struct pkt is while its packet is judged. */
#pragma once

/*
 * One packet at a time on a CPU; each hook has its own, in case they nest. User
 * space writes where the counters of the CPU begin, before any packet comes.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, FW_HOOK_MAX + LOCAL_PLACES);
	__type(key, __u32);
	__type(value, struct pkt);
} work SEC(".maps");

/* Zero what lies from one offset to another, by words: both are multiples of 8. */
static __always_inline void clear(struct pkt *p, const __u32 from,
				  const __u32 to)
{
	char *at = (char *)p + from;

	__builtin_memset(__builtin_assume_aligned(at, 8), 0, to - from);
}

_Static_assert(offsetof(struct pkt, key.sport) % 8 == 0 &&
		       offsetof(struct pkt, io.state) % 8 == 0 &&
		       offsetof(struct pkt, flow.gen) % 8 == 0 &&
		       offsetof(struct pkt, zones) % 8 == 0,
	       "cleared by words");
_Static_assert(offsetof(struct pkt, base) + sizeof(struct fw_base) ==
		       sizeof(struct pkt),
	       "where user space writes it");

/* Not cleared. */
static __always_inline struct pkt *work_of(const enum fw_hook hook)
{
	return bpf_map_lookup_elem(&work, &hook_keys[hook]);
}

/* All but what is written before it is read: addresses, the walk's state, tuples. */
static __always_inline void work_clear(struct pkt *p)
{
	p->tuple.family = 0;
	clear(p, offsetof(struct pkt, key.sport),
	      offsetof(struct pkt, io.state));
	clear(p, offsetof(struct pkt, flow.gen), offsetof(struct pkt, zones));
}
