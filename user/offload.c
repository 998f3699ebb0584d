/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Tells XDP what it may forward by itself, and when to look again.
 *
 * A packet that is redirected to a device which does not take it is lost, so what is
 * not known to work is left to the stack: a device is in the maps while its driver says
 * that it takes frames. All that the programs remember of flows is of an epoch, which
 * ends here as soon as something has changed by which the kernel forwards. Should
 * nobody end it, it ends by itself within a second (kern/offload.h), so a daemon
 * that has died costs speed of notice only.
 */
#include "user/offload.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <net/ethernet.h>

#include "kern/offload_abi.h"
#include "user/changes.h"
#include "user/counters.h"
#include "user/hosttab.h"
#include "user/log.h"
#include "user/loop.h"
#include "user/netdev.h"
#include "user/offloadwhy.h"
#include "user/util.h"

struct way {
	uint32_t ifindex; /* as routes name it */
	struct fw_offload_out out;
};

/* By ifindex, in order. */
struct ways {
	struct way *base;
	size_t n, size;
};

struct fw_offload {
	struct fw_loop *loop;
	const struct fw_datapath *dp;
	struct fw_hosttab *tables;
	struct fw_netdevs *netdevs; /* NULL: not wanted, or nobody tells */
	struct fw_changes *changes; /* NULL likewise */
	struct fw_timer *timer; /* to say that interfaces can do other things */
	bool is_wanted;
	bool asks_marks; /* no way is right, see fw_offload_asks_marks() */
	const char
		*why; /* why nothing is watched, NULL: it is, or need not be */
	struct ways ways; /* what the programs know */
	fw_offload_fn changed;
	void *data;
};

/* ---- lists of ways ------------------------------------------------------------------ */

static int add_way(struct ways *ways, const struct way *way)
{
	struct way *base;
	size_t size;

	if (ways->n == ways->size) {
		size = ways->size ? ways->size * 2 : 16;
		base = reallocarray(ways->base, size, sizeof(*base));
		if (!base)
			return -ENOMEM;
		ways->base = base;
		ways->size = size;
	}
	ways->base[ways->n++] = *way;
	return 0;
}

static const struct way *find_way(const struct ways *ways, uint32_t ifindex)
{
	for (size_t i = 0; i < ways->n; i++) {
		if (ways->base[i].ifindex == ifindex)
			return &ways->base[i];
	}
	return NULL;
}

static bool has_way(const struct ways *ways, const struct way *way)
{
	const struct way *other = find_way(ways, way->ifindex);

	return other && memcmp(other, way, sizeof(*way)) == 0;
}

static bool sends_by(const struct ways *ways, uint32_t tx_ifindex)
{
	for (size_t i = 0; i < ways->n; i++) {
		if (ways->base[i].out.tx_ifindex == tx_ifindex)
			return true;
	}
	return false;
}

/* ---- which devices can -------------------------------------------------------------- */

static uint64_t features_of(const struct fw_offload *offload, uint32_t ifindex)
{
	return offload->netdevs ? fw_netdevs_get(offload->netdevs, ifindex) : 0;
}

static bool is_ready(const struct fw_offload *offload)
{
	return offload->is_wanted && !offload->why;
}

uint16_t fw_offload_flags(const struct fw_offload *offload,
			  const struct fw_link *link, enum fw_iface_mode wanted)
{
	bool is_native = wanted == FW_MODE_XDP ||
			 (wanted == FW_MODE_AUTO && !link->is_virtual);
	unsigned int flags = 0;

	if (!is_ready(offload) || !is_native || link->is_port ||
	    !(features_of(offload, link->ifindex) & FW_XDP_CAN_REDIRECT))
		return 0;
	flags = FW_IFACE_OFFLOAD;
	/* Where senders of this machine may be, they leave checksums to the device. */
	if (link->is_virtual)
		flags |= FW_IFACE_PARTIAL;
	return (uint16_t)flags;
}

/* ---- ways out ------------------------------------------------------------------------ */

/* One VLAN device on a device that can send; of tags below tags nothing is known. */
static bool is_tagged_way(const struct fw_link *link, uint32_t below)
{
	return link->parent == below && link->vlan && !link->vlan_qos &&
	       (link->vlan_proto == htons(ETH_P_8021Q) ||
		link->vlan_proto == htons(ETH_P_8021AD));
}

static int add_ways_by(const struct fw_ifaces *links, uint32_t ifindex,
		       uint64_t features, struct ways *ret)
{
	struct way way = { .ifindex = ifindex, .out.tx_ifindex = ifindex };
	const struct fw_link *link;
	int r;

	if (features & FW_XDP_CAN_XMIT_SG)
		way.out.flags = FW_OUT_FRAGS;
	r = add_way(ret, &way);
	for (size_t i = 0; r == 0 && (link = fw_ifaces_at(links, i)); i++) {
		if (!is_tagged_way(link, ifindex))
			continue;
		way.ifindex = link->ifindex;
		way.out.vlan = link->vlan;
		way.out.vlan_proto = link->vlan_proto;
		r = add_way(ret, &way);
	}
	return r;
}

static int want_ways(const struct fw_offload *offload,
		     const struct fw_ifaces *links,
		     const struct fw_apply_iface *ifaces, size_t n,
		     struct ways *ret)
{
	const struct fw_link *link;
	uint64_t features;
	int r = 0;

	if (!is_ready(offload) || offload->asks_marks)
		return 0;
	for (size_t i = 0; r == 0 && i < n; i++) {
		link = fw_ifaces_by_index(links, ifaces[i].ifindex);
		if (!link || fw_offload_why_mode(ifaces[i].mode))
			continue;
		features = features_of(offload, link->ifindex);
		if (!fw_offload_why_device(link, features))
			r = add_ways_by(links, link->ifindex, features, ret);
	}
	if (ret->n > FW_MAX_OFFLOAD_OUT)
		ret->n = FW_MAX_OFFLOAD_OUT;
	return r;
}

/* A device is known before the first way by it, and until the last one is gone. */
static int put_ways(const struct fw_offload *offload, const struct ways *have,
		    const struct ways *want)
{
	int out = fw_datapath_map(offload->dp, FW_MAP_OFFLOAD_OUT);
	int devs = fw_datapath_map(offload->dp, FW_MAP_OFFLOAD_DEVS);
	int r = 0;

	for (size_t i = 0; i < have->n; i++) {
		if (!find_way(want, have->base[i].ifindex))
			(void)bpf_map_delete_elem(out, &have->base[i].ifindex);
	}
	for (size_t i = 0; r == 0 && i < want->n; i++) {
		const struct way *way = &want->base[i];

		if (has_way(have, way))
			continue;
		/* The kernel has forgotten a device that was gone in between. */
		r = bpf_map_update_elem(devs, &way->out.tx_ifindex,
					&way->out.tx_ifindex, BPF_ANY);
		if (r == 0)
			r = bpf_map_update_elem(out, &way->ifindex, &way->out,
						BPF_ANY);
	}
	for (size_t i = 0; i < have->n; i++) {
		uint32_t tx_ifindex = have->base[i].out.tx_ifindex;

		if (!sends_by(want, tx_ifindex))
			(void)bpf_map_delete_elem(devs, &tx_ifindex);
	}
	return r;
}

static bool equal_ways(const struct ways *a, const struct ways *b)
{
	return a->n == b->n &&
	       (a->n == 0 ||
		memcmp(a->base, b->base, a->n * sizeof(*a->base)) == 0);
}

/* What is half written is written again: nothing is known of it. */
static void put_no_ways(struct fw_offload *offload, const struct ways *want)
{
	static const struct ways none;

	(void)put_ways(offload, &offload->ways, &none);
	(void)put_ways(offload, want, &none);
	offload->ways.n = 0;
}

void fw_offload_update(struct fw_offload *offload,
		       const struct fw_ifaces *links,
		       const struct fw_apply_iface *ifaces, size_t n)
{
	struct ways want = { 0 };
	int r;

	/* To attach XDP to one end of a veth pair makes the other end able to send. */
	if (offload->netdevs && fw_netdevs_sync(offload->netdevs))
		(void)fw_timer_arm(offload->timer, 0, 0);
	r = want_ways(offload, links, ifaces, n, &want);
	if (r == 0 && equal_ways(&offload->ways, &want)) {
		free(want.base);
		return;
	}
	if (r == 0)
		r = put_ways(offload, &offload->ways, &want);
	if (r < 0) {
		log_warning("cannot tell XDP where to forward, nothing is: %s",
			    strerror(-r));
		put_no_ways(offload, &want);
		free(want.base);
	} else {
		free(offload->ways.base);
		offload->ways = want;
	}
	fw_offload_forget(offload);
}

/* ---- what changes -------------------------------------------------------------------- */

void fw_offload_forget(struct fw_offload *offload)
{
	fw_hosttab_end_epoch(offload->tables);
}

static void on_change(void *data)
{
	struct fw_offload *offload = data;
	bool asks_marks = fw_offload_asks_marks();

	fw_offload_forget(offload);
	if (asks_marks == offload->asks_marks)
		return;
	offload->asks_marks = asks_marks;
	offload->changed(offload->data);
}

static void on_features(void *data)
{
	const struct fw_offload *offload = data;

	offload->changed(offload->data);
}

static void on_timer(void *data)
{
	on_features(data);
}

static void stop_watching(struct fw_offload *offload)
{
	fw_netdevs_free(take_ptr(offload->netdevs));
	fw_changes_free(take_ptr(offload->changes));
}

static void start_watching(struct fw_offload *offload)
{
	int r;

	offload->why = NULL;
	r = fw_changes_new(offload->loop, on_change, offload,
			   &offload->changes);
	if (r < 0) {
		log_warning(
			"cannot follow routes and neighbours, XDP forwards nothing: %s",
			strerror(-r));
		offload->why = "fwctld cannot follow routes and neighbours";
		return;
	}
	offload->asks_marks = fw_offload_asks_marks();
	r = fw_netdevs_new(offload->loop, on_features, offload,
			   &offload->netdevs);
	if (r == 0)
		return;
	stop_watching(offload);
	offload->why = r == -EOPNOTSUPP
			       ? fw_offload_untold
			       : "fwctld cannot ask what drivers can do";
	if (r != -EOPNOTSUPP)
		log_warning("cannot ask what drivers can do with XDP: %s",
			    strerror(-r));
}

uint32_t fw_offload_flows(void)
{
	int cpus = fw_counters_cpus();

	return cpus > 0 ? fw_flow_cache_entries(FW_FLOW_CACHE_OFFLOAD,
						(uint32_t)cpus)
			: 0;
}

uint32_t fw_offload_verdicts(void)
{
	int cpus = fw_counters_cpus();

	return cpus > 0 ? fw_flow_cache_entries(FW_FLOW_CACHE_VERDICTS,
						(uint32_t)cpus)
			: 0;
}

void fw_offload_use(struct fw_offload *offload, bool is_wanted)
{
	if (is_wanted && !offload->is_wanted)
		start_watching(offload);
	if (!is_wanted) {
		stop_watching(offload);
		offload->why = NULL;
	}
	offload->is_wanted = is_wanted;
}

/* ---- birth and death ------------------------------------------------------------------ */

static int read_ways(const struct fw_offload *offload, struct ways *ret)
{
	int out = fw_datapath_map(offload->dp, FW_MAP_OFFLOAD_OUT);
	struct way way = { 0 };
	const uint32_t *last = NULL;
	int r = 0;

	while (r == 0 && bpf_map_get_next_key(out, last, &way.ifindex) == 0) {
		last = &way.ifindex;
		if (bpf_map_lookup_elem(out, &way.ifindex, &way.out) == 0)
			r = add_way(ret, &way);
	}
	return r;
}

int fw_offload_new(struct fw_loop *loop, const struct fw_datapath *dp,
		   struct fw_hosttab *tables, fw_offload_fn changed, void *data,
		   struct fw_offload **ret)
{
	struct fw_offload *offload;
	int r;

	offload = calloc(1, sizeof(*offload));
	if (!offload)
		return -ENOMEM;
	offload->loop = loop;
	offload->dp = dp;
	offload->tables = tables;
	offload->changed = changed;
	offload->data = data;
	offload->timer = fw_timer_new(loop, on_timer, offload);
	r = offload->timer ? read_ways(offload, &offload->ways) : -errno;
	if (r < 0) {
		fw_offload_free(offload);
		return r;
	}
	/* Nobody knows what has changed while no daemon ran. */
	fw_offload_forget(offload);
	*ret = offload;
	return 0;
}

void fw_offload_free(struct fw_offload *offload)
{
	if (!offload)
		return;
	stop_watching(offload);
	fw_timer_free(offload->timer);
	free(offload->ways.base);
	free(offload);
}

/* ---- questions ------------------------------------------------------------------------- */

const char *fw_offload_look_tcp(const struct fw_program *program)
{
	return fw_offload_why_tcp(program &&
				  program->options & FW_OPT_CT_HOOKS);
}

static const char *why_not(const struct fw_offload *offload,
			   const struct fw_ifaces *links,
			   const struct fw_apply_iface *iface)
{
	const struct fw_link *link;
	const char *why;

	if (!offload->is_wanted)
		return "the rules do not ask for it";
	if (offload->why)
		return offload->why;
	link = fw_ifaces_by_index(links, iface->ifindex);
	if (!link)
		return "it does not exist";
	/* What is on a VLAN device comes in and leaves by the one below it. */
	if (link->parent && find_way(&offload->ways, link->ifindex))
		return fw_offload_why_system(link->name);
	if (link->parent && link->vlan)
		return "XDP does not forward on the device below it";
	why = fw_offload_why_mode(iface->mode);
	if (!why)
		why = fw_offload_why_device(
			link, features_of(offload, link->ifindex));
	return why ? why : fw_offload_why_system(link->name);
}

struct fw_offload_state fw_offload_look(const struct fw_offload *offload,
					const struct fw_ifaces *links,
					const struct fw_apply_iface *iface)
{
	struct fw_offload_state state = { .is_wanted = offload->is_wanted };

	state.why = why_not(offload, links, iface);
	state.is_on = !state.why;
	return state;
}
