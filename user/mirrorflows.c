/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The flows of the picture: one found, all of them shown, some ended, those of a
 * generation handed over. What is asked here changes nothing of when it is brought up to date.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "user/ctmark.h"
#include "user/ctnl.h"
#include "user/flowtab.h"
#include "user/log.h"
#include "user/mirrorstate.h"
#include "user/util.h"

static bool is_ours_alone(const struct fw_mirror *mirror,
			  const struct fw_flow *flow)
{
	struct fw_xflow xflow;

	if (flow->ct_id)
		return false;
	/* an entry whose number nobody has told yet, or IPsec in transport mode */
	return (flow->orig.proto != IPPROTO_TCP &&
		flow->orig.proto != IPPROTO_UDP) ||
	       fw_xflows_find(&mirror->xflows, &flow->orig, &xflow);
}

bool fw_mirror_find(const struct fw_mirror *mirror,
		    const struct fw_tuple *tuple, struct fw_flow *ret)
{
	const struct fw_entry *entry = fw_flowtab_find(mirror->tab, tuple, 0);
	struct fw_tuple turned;

	if (!entry) {
		fw_tuple_invert(tuple, &turned);
		entry = fw_flowtab_find(mirror->tab, &turned, 0);
	}
	return entry && fw_entry_flow(entry, fw_now_ns(), ret);
}

/* ---- shown ------------------------------------------------------------------------- */

uint32_t fw_mirror_judged_by(const struct fw_mirror *mirror,
			     const struct fw_flow *flow)
{
	struct fw_flow_info info;
	struct fw_xflow xflow;

	if (is_ours_alone(mirror, flow))
		return fw_xflows_find(&mirror->xflows, &flow->orig, &xflow)
			       ? xflow.gen
			       : 0;
	return bpf_map_lookup_elem(mirror->flow_info_fd, &flow->orig, &info) < 0
		       ? 0
		       : info.gen;
}

struct each {
	int (*fn)(void *data, const struct fw_flow *flow);
	void *data;
	uint64_t now_ns;
};

static int show_entry(void *data, const struct fw_entry *entry)
{
	const struct each *each = data;
	struct fw_flow flow;

	if (!fw_entry_flow(entry, each->now_ns, &flow))
		return 0;
	return each->fn(each->data, &flow);
}

int fw_mirror_foreach(const struct fw_mirror *mirror,
		      int (*fn)(void *data, const struct fw_flow *flow),
		      void *data)
{
	struct each each = { .fn = fn, .data = data, .now_ns = fw_now_ns() };

	return fw_flowtab_foreach(mirror->tab, show_entry, &each);
}

int fw_mirror_walk(const struct fw_mirror *mirror, uint64_t *at, size_t n,
		   int (*fn)(void *data, const struct fw_flow *flow),
		   void *data)
{
	struct each each = { .fn = fn, .data = data, .now_ns = fw_now_ns() };

	return fw_flowtab_walk(mirror->tab, at, n, show_entry, &each);
}

void fw_mirror_count(const struct fw_mirror *mirror, struct fw_flow *flow)
{
	const struct fw_tuple *orig = &flow->orig;
	struct fw_flow_info info;
	struct fw_xflow xflow;

	if (flow->is_counted)
		return;
	if (is_ours_alone(mirror, flow) ||
	    (orig->proto != IPPROTO_TCP && orig->proto != IPPROTO_UDP)) {
		flow->is_counted =
			fw_xflows_find(&mirror->xflows, orig, &xflow);
		if (flow->is_counted)
			flow->counts = xflow.counts;
	} else if (flow->mark &
		   FW_MARK_TCP_MASK) { /* else it is the kernel's */
		flow->is_counted = bpf_map_lookup_elem(mirror->flow_info_fd,
						       orig, &info) == 0;
		if (flow->is_counted)
			flow->counts = info.counts;
	}
}

/* ---- ended -------------------------------------------------------------------------- */

/* What the kernel may pick up again by itself: see was_ended() in kern/flow.h. */
static void note_ended(struct fw_mirror *mirror, const struct fw_flow *flow)
{
	struct fw_flow_info info = { .opened_ns = flow->opened_ns,
				     .slot = flow->slot,
				     .ifindex = flow->ifindex,
				     .dir = flow->dir };

	(void)bpf_map_lookup_elem(mirror->flow_info_fd, &flow->orig, &info);
	info.ended = 1;
	if (bpf_map_update_elem(mirror->flow_info_fd, &flow->orig, &info,
				BPF_ANY) < 0)
		log_debug("cannot note the end of a flow: %s, ignoring",
			  strerror(errno));
}

/* The kernel's entry is only queued. */
static int kill_flow(struct fw_mirror *mirror, const struct fw_flow *flow,
		     uint64_t *killed)
{
	int r = 0;

	if (flow->orig.proto == IPPROTO_TCP)
		note_ended(mirror, flow);
	/* The kernel may track an echo as well, so it may be in both. */
	if (is_ours_alone(mirror, flow) || (flow->orig.proto != IPPROTO_TCP &&
					    flow->orig.proto != IPPROTO_UDP)) {
		r = fw_xflows_delete(&mirror->xflows, &flow->orig);
		if (r < 0)
			return r;
		if (is_ours_alone(mirror, flow))
			*killed += (uint64_t)r;
	}
	return is_ours_alone(mirror, flow)
		       ? 0
		       : fw_ctnl_queue_delete(mirror->ctnl, &flow->orig,
					      flow->zone, flow->ct_id);
}

int fw_mirror_kill(struct fw_mirror *mirror, const struct fw_flow *flows,
		   size_t n, uint64_t *ret_killed)
{
	uint64_t killed = 0;
	int error = 0;
	int r;

	fw_mirror_flush(mirror);
	for (size_t i = 0; i < n; i++) {
		r = kill_flow(mirror, &flows[i], &killed);
		if (r < 0 && !error)
			error = r;
		if (r == 0)
			fw_flowtab_end(mirror->tab, &flows[i].orig,
				       flows[i].zone);
	}
	r = fw_ctnl_flush(mirror->ctnl, &killed);
	if (r < 0 && !error)
		error = r;
	if (error) /* perhaps some are still there */
		fw_mirror_set_stale(mirror);
	*ret_killed = killed;
	return error;
}

/* ---- generations and marks ------------------------------------------------------------ */

static bool is_gen(uint32_t gen)
{
	return gen && gen <= FW_MARK_GEN_MAX;
}

int fw_mirror_forget_gen(struct fw_mirror *mirror, uint32_t gen, uint32_t heir)
{
	int r;

	if (!is_gen(gen) || (heir && !is_gen(heir)) || heir == gen)
		return -EINVAL;
	fw_rest_doubt(&mirror->rest);
	r = fw_ctnl_set_mark(mirror->ctnl, gen << FW_MARK_GEN_SHIFT,
			     FW_MARK_GEN_MASK, heir << FW_MARK_GEN_SHIFT, NULL);
	if (r < 0)
		return r;
	return fw_xflows_forget(&mirror->xflows, gen, heir);
}

int fw_mirror_forget_all(struct fw_mirror *mirror)
{
	fw_rest_doubt(&mirror->rest);
	/* Our own map is as new as the generations. */
	return fw_ctnl_clear_marks(mirror->ctnl, FW_MARK_GEN_MASK, NULL);
}

int fw_mirror_end_gen(struct fw_mirror *mirror, uint32_t gen)
{
	int r;

	if (!is_gen(gen))
		return -EINVAL;
	fw_rest_doubt(&mirror->rest);
	r = fw_ctnl_delete_mark(mirror->ctnl, gen << FW_MARK_GEN_SHIFT,
				FW_MARK_GEN_MASK, NULL);
	if (r < 0)
		return r;
	return fw_xflows_forget(&mirror->xflows, gen, gen);
}

uint32_t fw_mirror_mark(const struct fw_mirror *mirror,
			const struct fw_flow *flow)
{
	return fw_mark_turn_back(flow->mark, fw_ctnl_shift(mirror->ctnl));
}

int fw_mirror_claim_marks(struct fw_mirror *mirror, uint8_t shift)
{
	fw_rest_doubt(&mirror->rest);
	return fw_ctnl_claim_marks(mirror->ctnl, shift, NULL);
}
