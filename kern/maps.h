/* SPDX-License-Identifier: GPL-2.0-only */

/* Every map, and who writes and who reads it. */
#pragma once

/*
 * The rule image. User space writes; each packet reads slot 0 once. Slot 1 has
 * the image before it, until no packet can be at work with that (classify.h).
 */
struct fw_image_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32)); /* clang: no BTF in here */
	__uint(value_size, FW_IMAGE_MIN + FW_IMAGE_SLACK); /* at least */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, FW_IMAGE_SLOTS);
	__type(key, __u32);
	__array(values, struct fw_image_map);
} rulesets SEC(".maps");

/*
 * Interfaces of the running and of the coming generation, addresses of this host
 * (kern/host_abi.h); user space writes, from rtnetlink. A variable: a program
 * knows its address, and no other variable is beside it in this map.
 */
struct fw_host host;

/*
 * Packets by interface, hook and reason, FW_STATS_ENTRIES for each CPU, one CPU
 * after the other (struct fw_base). Not atomic: a program is not interrupted by another one that
 * counts on the same CPU. User space maps it.
 *
 * Not a per-CPU array: that is made and freed counter by counter, a reader needs
 * a call for each, and a program has to read where the counter is.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, FW_STATS_ENTRIES); /* at least */
	__type(key, __u32);
	__type(value, struct fw_counter);
} stats SEC(".maps");

/*
 * Packets by rule, as many for each CPU; the same discipline. User space clears
 * a slot it reuses, and says when it loads how many there are: each costs 24
 * bytes on each CPU.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, FW_MAX_SLOTS); /* for each CPU */
	__type(key, __u32);
	__type(value, struct fw_rule_counter);
} rule_stats SEC(".maps");

/* Flows that the conntrack kfuncs refuse; programs write, user space reads. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, FW_MAX_XFLOWS);
	__type(key, struct fw_tuple);
	__type(value, struct fw_xflow);
} xflows SEC(".maps");

/*
 * Of these, the flows of addresses alone that were answered. Anybody can make first
 * packets and pings, of as many flows as a table holds; they push out each other.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, FW_MAX_XFLOWS);
	__type(key, struct fw_tuple);
	__type(value, struct fw_xflow);
} xflows_answered SEC(".maps");

/* Datagrams whose first fragment passed; programs only. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, FW_MAX_FRAGS);
	__type(key, struct fw_frag_key);
	__type(value, struct fw_frag);
} frags SEC(".maps");

/*
 * Who let a flow in, so an evicted entry costs a label in a list. Verdicts ask it, too:
 * what was cut stays cut, see was_ended(), what was ours is not adopted, see was_ours(),
 * and until a handshake ends the number of the other side's SYN is here, see
 * handshake.h; an evicted entry costs that as well. Programs write, and user space what
 * it kills.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, FW_MAX_FLOW_INFO);
	__type(key, struct fw_tuple);
	__type(value, struct fw_flow_info);
} flow_info SEC(".maps");

/* Records for the daemon (struct fw_event). */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, FW_EVENTS_BYTES);
} events SEC(".maps");

/* Packets for the daemon (struct fw_capture). */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, FW_CAPTURES_BYTES);
} captures SEC(".maps");

/*
 * How XDP forwards by itself (kern/offload_abi.h). User space writes where to,
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, FW_MAX_OFFLOAD_OUT);
	__type(key, __u32);
	__type(value, struct fw_offload_out);
} offload_out SEC(".maps");

/* and the devices that may send: ifindex -> ifindex. */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP_HASH);
	__uint(max_entries, FW_MAX_OFFLOAD_OUT);
	__type(key, __u32);
	__type(value, __u32);
} offload_devs SEC(".maps");

/*
 * What is remembered of flows; programs only. User space says when it loads how
 * many there are: fw_flow_cache_entries() for each CPU.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE); /* begins where a cache line does */
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct fw_cached_group);
} flow_cache SEC(".maps");

/* When the stack last had a packet to a next hop; programs only. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FW_OFFLOAD_HOPS);
	__type(key, __u32);
	__type(value, __u64); /* hash of the hop, jiffies */
} offload_hops SEC(".maps");

/* How many more of them this CPU may make, and what it had no room for. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct fw_capture_budget);
} capture_budget SEC(".maps");

/* How full the connection table is; user space writes, programs count down. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct fw_pressure);
} pressure SEC(".maps");

/*
 * Flows that the kernel's helpers expect, by where they go to -> the flow that has
 * announced them; see expect.h. Programs only, as what follows.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, FW_MAX_EXPECTED);
	__type(key, struct fw_tuple);
	__type(value, struct fw_tuple);
} expected SEC(".maps");

/* 1: there has been something in `expected`. Else nothing is looked for there. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} expects SEC(".maps");

/* How many records of packets this CPU may still make; user space reads. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, FW_LOG_BUDGETS);
	__type(key, __u32);
	__type(value, struct fw_log_budget);
} log_budgets SEC(".maps");

/*
 * Security associations that had packets (kern/esp_abi.h). Programs write, and only what
 * the kernel has a state for: packets that make up SPIs push out nobody.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, FW_MAX_SAS);
	__type(key, struct fw_sa_key);
	__type(value, struct fw_sa);
} sas SEC(".maps");

/* The marks that associations have; user space writes. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct fw_esp_marks);
} esp_marks SEC(".maps");

/* Which CPUs known associations are steered to; user space writes, but for `turn`. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct fw_esp_steer);
} esp_steer SEC(".maps");

/* The queues of these CPUs; user space writes, and says how many there may be. */
struct {
	__uint(type, BPF_MAP_TYPE_CPUMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32); /* length of the queue */
} esp_cpus SEC(".maps");

/* Packets by the CPU that they were steered to, as many CPUs; user space reads. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} esp_steered SEC(".maps");

/* What became of lookups of associations; user space reads. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct fw_esp_counts);
} esp_counts SEC(".maps");

/* How many rejects it may still make; programs only. */
struct fw_budget {
	__u64 reject_tat_ns; /* GCRA: theoretical arrival time of the next one */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct fw_budget);
} budgets SEC(".maps");
