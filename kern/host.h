/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Is this interface in the rules, is that address ours? Two loads and one
 * comparison (kern/host_abi.h); the tables are found once a packet. Looking
 * into a table compiles in user space too, where tests run it.
 */
#pragma once

#include "kern/host_abi.h"

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

static __always_inline const struct fw_iface *
iface_find(const struct fw_iface_table *t, __u32 ifindex, __u16 vlan)
{
	__u64 hash = fw_host_hash_iface(&t->head, ifindex, vlan);
	__u32 i = fw_host_bucket(&t->head, hash) & (FW_IFACE_SLOTS - 1);
	const struct fw_iface_entry *e;

	i = fw_host_place(&t->head, hash, t->shift[i]) & (FW_IFACE_SLOTS - 1);
	e = &t->at[i];
	if (e->key.ifindex != ifindex || e->key.vlan != vlan)
		return 0;
	return &e->value;
}

/* FW_SELF_* of an address. */
static __always_inline __u32 self_find(const struct fw_self_table *t,
				       const struct fw_addr *addr)
{
	const fw_addr_half *half = (const void *)addr, *own;
	__u64 hash = fw_host_hash(&t->head, half[0], half[1]);
	__u32 i = fw_host_bucket(&t->head, hash) & (FW_SELF_SLOTS - 1);
	const struct fw_self_entry *e;

	i = fw_host_place(&t->head, hash, t->shift[i]) & (FW_SELF_SLOTS - 1);
	e = &t->at[i];
	own = (const void *)&e->addr;
	return own[1] == half[1] && own[0] == half[0] ? e->flags : 0;
}

#ifdef __bpf__
/* The interfaces of a generation, or NULL; where user space prefers to put them first. */
static __always_inline const struct fw_iface_table *iface_table(__u32 gen)
{
	const struct fw_iface_table *t;
	void *map;

	for (__u32 i = 0; i < FW_IFACES_TABLES; i++) {
		__u32 index = (gen + i) % FW_IFACES_TABLES;

		map = bpf_map_lookup_elem(&ifaces, &index);
		if (unlikely(!map))
			continue;
		t = bpf_map_lookup_elem(map, &first);
		if (likely(t && t->head.gen == gen))
			return t;
	}
	return NULL;
}

static __always_inline const struct fw_self_table *self_table(void)
{
	void *map = bpf_map_lookup_elem(&selfaddrs, &first);

	return map ? bpf_map_lookup_elem(map, &first) : NULL;
}
#endif
