/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * What the daemon says about a connection table that fills up: how many flows it
 * still takes, and how long those that nobody has answered may live.
 *
 * Asked only where a flow is opened, a handshake moves on, or its time begins anew. It
 * holds for some seconds; a daemon that died leaves nothing that keeps flows out.
 */
#pragma once

static __always_inline struct fw_pressure *pressure_now(void)
{
	struct fw_pressure *p = bpf_map_lookup_elem(&pressure, &first);

	return p && p->until_ns > bpf_ktime_get_coarse_ns() ? p : NULL;
}

/* Another flow would leave too little room. */
static __always_inline bool pressure_refuses(void)
{
	const struct fw_pressure *p = pressure_now();

	return p && p->room <= 0;
}

/*
 * Like pressure_refuses(), of a flow that is about to be made. CPUs that ask at
 * the same time may make one too many each, for which there is room enough.
 */
static __always_inline bool pressure_refuses_next(void)
{
	struct fw_pressure *p = pressure_now();

	if (!p)
		return false;
	if (p->room <= 0)
		return true;
	if (!is_dry)
		__sync_fetch_and_add(&p->room, -1);
	return false;
}

/* How long a flow may live, in seconds, that has not been answered yet. */
static __always_inline __u32 pressure_life(__u32 seconds)
{
	const struct fw_pressure *p = pressure_now();

	return p && p->half_open && p->half_open < seconds ? p->half_open
							   : seconds;
}
