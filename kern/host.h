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

/* Addresses are read as two words. */
typedef __u64 __attribute__((may_alias)) host_word;

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

/* FW_SELF_* of an address, which lies at a multiple of 8 bytes. */
static __always_inline __u32 self_find(const struct fw_self_table *t,
				       const struct fw_addr *addr)
{
	const host_word *w = (const void *)addr;
	__u64 hash = fw_host_hash(&t->head, w[0], w[1]);
	__u32 i = fw_host_bucket(&t->head, hash) & (FW_SELF_SLOTS - 1);
	const struct fw_self_entry *e;

	i = fw_host_place(&t->head, hash, t->shift[i]) & (FW_SELF_SLOTS - 1);
	e = &t->at[i];
	if (e->addr.w[3] != addr->w[3] || e->addr.w[2] != addr->w[2] ||
	    e->addr.w[1] != addr->w[1] || e->addr.w[0] != addr->w[0])
		return 0;
	return e->flags;
}

#ifdef __bpf__
/* The interfaces of a generation, or NULL. */
static __always_inline const struct fw_iface_table *iface_table(__u32 gen)
{
	const struct fw_iface_table *t;
	void *map;

	for (__u32 slot = 0; slot < FW_IFACES_TABLES; slot++) {
		__u32 index = slot, zero = 0;

		map = bpf_map_lookup_elem(&ifaces, &index);
		if (!map)
			continue;
		t = bpf_map_lookup_elem(map, &zero);
		if (t && t->head.gen == gen)
			return t;
	}
	return NULL;
}

static __always_inline const struct fw_self_table *self_table(void)
{
	__u32 zero = 0;
	void *map = bpf_map_lookup_elem(&selfaddrs, &zero);

	return map ? bpf_map_lookup_elem(map, &zero) : NULL;
}
#endif
