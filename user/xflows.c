/* SPDX-License-Identifier: GPL-2.0-only */

/* Flows that only our own maps know: read in pieces, found, deleted, handed over. */
#include <errno.h>
#include <stdlib.h>

#include <bpf/bpf.h>

#include "user/datapath.h"
#include "user/util.h"
#include "user/xflows.h"

#define FLOWS_PER_READ 512u

/* What is told of each. */
struct telling {
	fw_xflow_fn fn;
	void *data;
};

void fw_xflows_open(struct fw_xflows *xflows, const struct fw_datapath *dp)
{
	xflows->fds[0] = fw_datapath_map(dp, FW_MAP_XFLOWS);
	xflows->fds[1] = fw_datapath_map(dp, FW_MAP_XFLOWS_ANSWERED);
}

/* ---- all of them -------------------------------------------------------------------- */

/* Reads a piece into room for `n`: 1 at the end, 0 if there is more. */
static int read_piece(const struct telling *tell, int fd, void *in, void *out,
		      struct fw_tuple *tuples, struct fw_xflow *flows,
		      uint32_t n)
{
	int end, r = 0;
	uint32_t i;

	end = bpf_map_lookup_batch(fd, in, out, tuples, flows, &n, NULL);
	if (end < 0 && end != -ENOENT)
		return end;
	for (i = 0; i < n && r >= 0; i++)
		r = tell->fn(tell->data, &tuples[i], &flows[i]);
	return r < 0 ? r : end == -ENOENT;
}

static int read_pieces(const struct telling *tell, int fd, uint32_t n)
{
	_cleanup_free_ struct fw_tuple *tuples = NULL;
	_cleanup_free_ struct fw_xflow *flows = NULL;
	uint64_t cursor = 0; /* the kernel wants 32 bits of a hash map */
	bool is_first = true;
	int r;

	tuples = calloc(n, sizeof(*tuples));
	flows = calloc(n, sizeof(*flows));
	if (!tuples || !flows)
		return -ENOMEM;
	do {
		r = read_piece(tell, fd, is_first ? NULL : &cursor, &cursor,
			       tuples, flows, n);
		is_first = false;
	} while (r == 0);
	return r < 0 ? r : 0;
}

static int read_map(const struct telling *tell, int fd)
{
	uint32_t n = FLOWS_PER_READ;
	int r;

	/* A bucket that is fuller than a piece is read with larger ones. */
	do {
		r = read_pieces(tell, fd, n);
		n *= 4;
	} while (r == -ENOSPC && n <= FW_MAX_XFLOWS);
	return r;
}

int fw_xflows_each(const struct fw_xflows *xflows, fw_xflow_fn fn, void *data)
{
	const struct telling tell = { .fn = fn, .data = data };
	int r = 0;

	/* Flows move from the first map to the second one: so none is missed. */
	for (size_t i = 0; i < FW_XFLOW_MAPS && r == 0; i++)
		r = read_map(&tell, xflows->fds[i]);
	return r;
}

/* ---- one ---------------------------------------------------------------------------- */

/* In either map; what has expired may still be there, in the other one. */
bool fw_xflows_find(const struct fw_xflows *xflows, const struct fw_tuple *orig,
		    struct fw_xflow *ret)
{
	struct fw_xflow x;
	bool is_there = false;

	for (size_t i = 0; i < FW_XFLOW_MAPS; i++) {
		if (bpf_map_lookup_elem(xflows->fds[i], orig, &x) < 0 ||
		    (is_there && x.expires_ns < ret->expires_ns))
			continue;
		*ret = x;
		is_there = true;
	}
	return is_there;
}

int fw_xflows_delete(const struct fw_xflows *xflows,
		     const struct fw_tuple *tuple)
{
	int found = 0;
	int r;

	for (size_t i = 0; i < FW_XFLOW_MAPS; i++) {
		r = bpf_map_delete_elem(xflows->fds[i], tuple);
		if (r < 0 && r != -ENOENT)
			return r;
		found |= r == 0;
	}
	return found;
}

/* ---- all of a generation ------------------------------------------------------------ */

static int forget_one(int fd, const struct fw_tuple *tuple, uint32_t gen,
		      uint32_t heir)
{
	struct fw_xflow xflow;
	int r;

	if (bpf_map_lookup_elem(fd, tuple, &xflow) < 0 || xflow.gen != gen)
		return 0;
	/* A packet at this moment may lose its renewal, not more. */
	xflow.gen = heir;
	r = heir == gen ? bpf_map_delete_elem(fd, tuple)
			: bpf_map_update_elem(fd, tuple, &xflow, BPF_EXIST);
	return r == -ENOENT ? 0 : r;
}

static int forget_in_map(int fd, uint32_t gen, uint32_t heir)
{
	struct fw_tuple tuple;
	struct fw_tuple next;
	int r = 0;

	if (bpf_map_get_next_key(fd, NULL, &next) < 0)
		return 0;
	do { /* a deleted key would begin from the first one again */
		tuple = next;
		if (bpf_map_get_next_key(fd, &tuple, &next) < 0)
			return forget_one(fd, &tuple, gen, heir);
		r = forget_one(fd, &tuple, gen, heir);
	} while (r == 0);
	return r;
}

int fw_xflows_forget(const struct fw_xflows *xflows, uint32_t gen,
		     uint32_t heir)
{
	int r = 0;

	for (size_t i = 0; i < FW_XFLOW_MAPS && r == 0; i++)
		r = forget_in_map(xflows->fds[i], gen, heir);
	return r;
}
