/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Is this interface in the rules, is that address ours? One multiplication, two
 * loads and one comparison (kern/host_abi.h). Looking into a table compiles in
 * user space too, where tests run it.
 */
#pragma once

#include "kern/host_abi.h"

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

static __always_inline const struct fw_iface *
iface_find(const struct fw_iface_table *t, __u32 ifindex, __u16 vlan)
{
	__u64 word = fw_iface_word(ifindex, vlan);
	__u64 hash = fw_iface_hash(t, word);
	__u64 shift = t->shift[fw_host_bucket(hash)];
	const struct fw_iface_slot *slot;

	slot = &t->at[fw_host_place(hash, shift, FW_IFACE_SLOTS)];
	return slot->key == word ? &slot->value : 0;
}

/* FW_SELF_* of an IPv4 address. */
static __always_inline __u8 self4_find(const struct fw_self4_table *t,
				       __be32 addr)
{
	__u64 hash = fw_self4_hash(t, addr);
	__u64 shift = t->shift[fw_host_bucket(hash)], slot;

	if (!shift)
		return 0;
	slot = t->at[fw_host_place(hash, shift, FW_SELF_SLOTS)];
	return (__be32)slot == addr ? (__u8)(slot >> 32) : 0;
}

/* FW_SELF_* of an IPv6 address. */
static __always_inline __u8 self6_find(const struct fw_self6_table *t,
				       const struct fw_addr *addr)
{
	const fw_addr_half *half = (const void *)addr, *own;
	__u64 hash = fw_self6_hash(t, half[0], half[1]);
	__u64 shift = t->shift[fw_host_bucket(hash)];
	const struct fw_self6_slot *slot;

	if (!shift)
		return 0;
	slot = &t->at[fw_host_place(hash, shift, FW_SELF_SLOTS)];
	own = (const void *)&slot->addr;
	return own[1] == half[1] && own[0] == half[0] ? (__u8)slot->flags : 0;
}

#ifdef __bpf__
/*
 * The interfaces of a generation, if they say that they are of it. Each address
 * depends on what was read before it, so also a processor that reads ahead sees
 * what is picked.
 */
static __always_inline const struct fw_iface_table *iface_table(__u32 gen)
{
	const volatile __u8 *pick = &host.iface_pick[gen % FW_HOST_PICKS];

	return &host.ifaces[*pick % FW_HOST_TABLES];
}

static __always_inline __u32 offload_epoch(void)
{
	const volatile __u32 *epoch = &host.offload_epoch;

	return *epoch;
}

/* Read before what is looked up in the tables: that is true as long as this is. */
static __always_inline __u32 iface_epoch(void)
{
	const volatile __u32 *epoch = &host.iface_epoch;

	return *epoch;
}

static __always_inline __u32 known_gen(void)
{
	const volatile __u32 *gen = &host.known_gen;

	return *gen;
}

/* FW_WATCH_*: what somebody wants to see. */
static __always_inline __u8 watched(void)
{
	const volatile __u8 *watch = &host.watch;

	return *watch;
}

/* Somebody wants to see what is dropped, or what rules log. */
static __always_inline bool is_watched(void)
{
	return watched() != 0;
}

static __always_inline const struct fw_self_table *self_table(void)
{
	const volatile __u8 *pick = &host.self_pick;

	return &host.selves[*pick % FW_HOST_TABLES];
}
#endif
