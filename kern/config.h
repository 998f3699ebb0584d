/* SPDX-License-Identifier: GPL-2.0-only */

/* Every knob that is set once, between opening and loading the programs. */
#pragma once

/* Whose layouts these are. The first, so that other versions find it here. */
const volatile __u32 fw_abi = FW_ABI_VERSION;

/* Ticks per second of jiffies, the unit of nf_conn.timeout. */
const volatile __u32 fw_hz = 250;

/* Elements of `flow_cache` of each CPU, a power of two, less one. */
const volatile __u32 fw_cache_mask = 0;

/* 1: a processor that sees a store sees those before it, too; and loads are so (x86). */
const volatile __u8 fw_is_ordered = 0;

/* Random per load; marks metadata as ours (struct fw_meta). */
const volatile __u64 fw_cookie = 0;

/*
 * Keys of maps that all packets ask, in no need of being written for each look: beside what
 * else they all read. Of what has one entry, and of `work`.
 */
const __u32 first = 0;
const __u32 hook_keys[FW_HOOK_MAX] = { FW_HOOK_XDP, FW_HOOK_INGRESS,
				       FW_HOOK_EGRESS };

/* Random per load; secrets of flow_hash(). */
const volatile __u64 fw_hash_keys[5] = { 0 };
