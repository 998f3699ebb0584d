/* SPDX-License-Identifier: GPL-2.0-only */

/* One entry of the flow table: what it says of its flow. */
#include "user/flowtab.h"

#include <netinet/in.h>

#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>

#include "user/util.h"

/* ---- states ------------------------------------------------------------------ */

/* Ours, by the kernel's; which side closes first, the flags tell. */
static uint8_t tcp_from_kernel(const struct fw_entry *entry)
{
	static const uint8_t states[TCP_CONNTRACK_MAX] = {
		[TCP_CONNTRACK_NONE] = FW_TCP_NONE,
		[TCP_CONNTRACK_SYN_SENT] = FW_TCP_SYN_SENT,
		[TCP_CONNTRACK_SYN_RECV] = FW_TCP_SYN_RECV,
		[TCP_CONNTRACK_ESTABLISHED] = FW_TCP_ESTABLISHED,
		[TCP_CONNTRACK_FIN_WAIT] = FW_TCP_FIN_ORIG,
		[TCP_CONNTRACK_CLOSE_WAIT] = FW_TCP_FIN_ORIG,
		[TCP_CONNTRACK_LAST_ACK] = FW_TCP_TIME_WAIT,
		[TCP_CONNTRACK_TIME_WAIT] = FW_TCP_TIME_WAIT,
		[TCP_CONNTRACK_CLOSE] = FW_TCP_CLOSE,
		[TCP_CONNTRACK_SYN_SENT2] = FW_TCP_SYN_SENT2,
	};
	uint8_t state;

	if (entry->kernel_tcp >= TCP_CONNTRACK_MAX)
		return FW_TCP_NONE;
	state = states[entry->kernel_tcp];
	if (state == FW_TCP_FIN_ORIG && entry->flags & FW_ENTRY_FIN_REPLY)
		return FW_TCP_FIN_REPLY;
	return state;
}

static uint8_t own_tcp(const struct fw_entry *entry)
{
	if (entry->orig.proto != IPPROTO_TCP)
		return FW_TCP_NONE;
	return (uint8_t)((entry->mark & FW_MARK_TCP_MASK) >> FW_MARK_TCP_SHIFT);
}

/* The state that people are shown. */
static uint8_t shown_tcp(const struct fw_entry *entry)
{
	uint8_t own = own_tcp(entry);

	return own ? own : tcp_from_kernel(entry);
}

/* The state of TCP that the kernel has is shown only if no other one is known. */
struct fw_entry_look fw_entry_look(const struct fw_entry *entry)
{
	struct fw_entry_look look = { 0 };

	if (!entry)
		return look;
	look.status = entry->status & (IPS_SEEN_REPLY | IPS_ASSURED);
	if (entry->orig.proto != IPPROTO_TCP)
		return look;
	look.tcp = shown_tcp(entry);
	if (look.tcp == FW_TCP_NONE)
		look.kernel_tcp = entry->kernel_tcp;
	return look;
}

unsigned int fw_entry_cell(const struct fw_entry *entry)
{
	if (!entry || entry->flags & FW_ENTRY_DEAD)
		return FW_CENSUS_NOBODY;
	return fw_census_cell(entry->orig.proto, shown_tcp(entry),
			      entry->status & IPS_SEEN_REPLY);
}

bool fw_entry_is_half_open(const struct fw_entry *entry)
{
	uint32_t state = entry->mark >> FW_MARK_TCP_SHIFT & 0xf;

	return entry->mark & FW_MARK_GEN_MASK &&
	       (state == FW_TCP_SYN_SENT || state == FW_TCP_SYN_RECV ||
		state == FW_TCP_SYN_SENT2 || state == FW_TCP_ADOPTED ||
		state == FW_TCP_ADOPTED_REPLY);
}

uint8_t fw_entry_kernel_tcp_due(const struct fw_entry *entry)
{
	/*
	 * A half-open flow gets none: a flood of SYNs would cost us twice, and
	 * the kernel makes no more of SYN_SENT than of nothing.
	 */
	static const uint8_t states[FW_TCP_STATE_MAX] = {
		[FW_TCP_ESTABLISHED] = TCP_CONNTRACK_ESTABLISHED,
		[FW_TCP_FIN_ORIG] = TCP_CONNTRACK_FIN_WAIT,
		[FW_TCP_FIN_REPLY] = TCP_CONNTRACK_FIN_WAIT,
		[FW_TCP_TIME_WAIT] = TCP_CONNTRACK_TIME_WAIT,
		[FW_TCP_CLOSE] = TCP_CONNTRACK_CLOSE,
		[FW_TCP_CLOSE_ORIG] = TCP_CONNTRACK_CLOSE,
		[FW_TCP_CLOSE_REPLY] = TCP_CONNTRACK_CLOSE,
	};
	uint8_t own = own_tcp(entry);

	/* BPF inserts into the default zone only. */
	if (own >= FW_TCP_STATE_MAX || entry->zone ||
	    !(entry->sources & FW_SOURCE_CT) || entry->flags & FW_ENTRY_DEAD)
		return 0;
	if (entry->kernel_tcp != TCP_CONNTRACK_NONE &&
	    !(entry->flags & FW_ENTRY_OURS))
		return 0;
	return states[own] == entry->kernel_tcp ? 0 : states[own];
}

bool fw_entry_flow(const struct fw_entry *entry, uint64_t now_ns,
		   struct fw_flow *ret)
{
	if (entry->flags & FW_ENTRY_DEAD || entry->expires_ns <= now_ns)
		return false;
	*ret = (struct fw_flow){
		.orig = entry->orig,
		.opened_ns = entry->opened_ns,
		.expires_ns = entry->expires_ns,
		.mark = entry->mark,
		.status = entry->status,
		.ifindex = entry->ifindex,
		.slot = entry->slot,
		.ct_id = entry->ct_id,
		.zone = entry->zone,
		.tcp_state = shown_tcp(entry),
		.kernel_tcp = entry->kernel_tcp,
		.dir = entry->dir,
		.replied = entry->status & IPS_SEEN_REPLY,
		.assured = entry->status & IPS_ASSURED,
		.is_counted = entry->counts,
	};
	if (entry->reply)
		ret->reply = *entry->reply;
	else
		fw_tuple_invert(&entry->orig, &ret->reply);
	if (entry->counts)
		ret->counts = *entry->counts;
	return true;
}

/* ---- what it is, shown ----------------------------------------------------------- */

void fw_entry_info(struct fw_entry *entry, const struct fw_flow_info *info)
{
	if (info->opened_ns)
		entry->opened_ns = info->opened_ns;
	entry->slot = info->slot;
	entry->ifindex = info->ifindex;
	entry->dir = info->dir;
}
