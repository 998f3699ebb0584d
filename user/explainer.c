/* SPDX-License-Identifier: GPL-2.0-only */

/* The programs that only explain: loaded late, and run by BPF_PROG_TEST_RUN. */
#include "user/explainer.h"

#include <errno.h>
#include <stdlib.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "user/privileges.h"
#include "user/progs.h"
#include "user/util.h"

struct fw_explainer {
	struct dry_bpf *skel;
	struct fw_datapath_size size; /* of the programs beside it */
};

/* The maps of a growth are others, and so is its size. */
static bool fits(const struct fw_explainer *explainer,
		 const struct fw_datapath *dp)
{
	struct fw_datapath_size size = fw_datapath_size(dp);

	return explainer->size.image == size.image &&
	       explainer->size.slots == size.slots;
}

static int load(struct fw_explainer *explainer, const struct fw_datapath *dp,
		char **reterr)
{
	bool had = fw_privileges_raised();
	int maps[FW_MAP_MAX], r;

	for (int i = 0; i < FW_MAP_MAX; i++)
		maps[i] = fw_datapath_map(dp, (enum fw_map)i);
	explainer->size = fw_datapath_size(dp);
	/* If it does not suffice, the kernel says so, and reterr what for. */
	if (!had)
		(void)fw_privileges_raise();
	r = fw_progs_load_dry(explainer->size.image, maps, &explainer->skel,
			      reterr);
	if (!had)
		(void)fw_privileges_drop(false);
	return r;
}

int fw_explainer_ready(struct fw_explainer **explainer,
		       const struct fw_datapath *dp, char **reterr)
{
	struct fw_explainer *fresh;
	int r;

	if (*explainer && fits(*explainer, dp))
		return 0;
	fw_explainer_free(take_ptr(*explainer));
	fresh = calloc(1, sizeof(*fresh));
	if (!fresh)
		return -ENOMEM;
	r = load(fresh, dp, reterr);
	if (r < 0) {
		free(fresh);
		return r;
	}
	*explainer = fresh;
	return 0;
}

void fw_explainer_free(struct fw_explainer *explainer)
{
	if (!explainer)
		return;
	dry_bpf__destroy(explainer->skel);
	free(explainer);
}

static int read_note(const struct fw_explainer *explainer,
		     struct fw_explained *ret)
{
	uint32_t zero = 0;

	return bpf_map_lookup_elem(bpf_map__fd(explainer->skel->maps.explained),
				   &zero, ret);
}

static int write_note(const struct fw_explainer *explainer,
		      const struct fw_explained *note)
{
	uint32_t zero = 0;

	return bpf_map_update_elem(bpf_map__fd(explainer->skel->maps.explained),
				   &zero, note, BPF_ANY);
}

int fw_explainer_begin(const struct fw_explainer *explainer, bool from_sa,
		       uint32_t reqid)
{
	const struct fw_explained note = { .from_sa = from_sa, .reqid = reqid };

	return write_note(explainer, &note);
}

int fw_explainer_hide(const struct fw_explainer *explainer)
{
	struct fw_explained note;
	int r = read_note(explainer, &note);

	if (r < 0)
		return r;
	note.meta = (struct fw_meta){ 0 };
	return write_note(explainer, &note);
}

int fw_explainer_run(const struct fw_explainer *explainer,
		     const struct fw_explainer_at *at, const uint8_t *frame,
		     uint32_t len, struct fw_explained_hook *ret)
{
	struct xdp_md xdp = { .data_end = len, .ingress_ifindex = at->ifindex };
	struct __sk_buff skb = { .ifindex = at->ifindex,
				 .ingress_ifindex = at->hook == FW_HOOK_INGRESS
							    ? at->ifindex
							    : at->in_ifindex };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame,
		    .data_size_in = len, .repeat = 1);
	struct fw_explained said = { 0 };
	int r;

	opts.ctx_in = at->hook == FW_HOOK_XDP ? (void *)&xdp : (void *)&skb;
	opts.ctx_size_in = at->hook == FW_HOOK_XDP ? sizeof(xdp) : sizeof(skb);
	r = bpf_prog_test_run_opts(
		bpf_program__fd(fw_progs_get_dry(explainer->skel, at->hook)),
		&opts);
	if (r == 0)
		r = read_note(explainer, &said);
	if (r < 0)
		return r;
	*ret = said.hooks[at->hook];
	return ret->has_run ? 0 : -EIO;
}
