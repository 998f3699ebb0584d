/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The rule image in the kernel.
 *
 * An image is written once, before the outer map knows it, and never changed
 * after: a packet that has picked it up walks a constant.
 */
#include "user/rulesets.h"

#include <errno.h>

#include <bpf/bpf.h>
#include <linux/bpf.h>

#include "user/util.h"

#define CHUNK 4096u /* cells in one call, half a MiB */

static const uint32_t slot_zero;

static int write_singly(int fd, const struct fw_image *image, uint32_t first)
{
	int r;

	for (uint32_t i = first; i < image->n_cells; i++) {
		r = bpf_map_update_elem(fd, &i, &image->cells[i], BPF_ANY);
		if (r < 0)
			return r;
	}
	return 0;
}

static int write_cells(int fd, const struct fw_image *image)
{
	LIBBPF_OPTS(bpf_map_batch_opts, opts);
	uint32_t keys[CHUNK], n;
	int r;

	for (uint32_t first = 0; first < image->n_cells; first += n) {
		n = image->n_cells - first;
		n = n < CHUNK ? n : CHUNK;
		for (uint32_t i = 0; i < n; i++)
			keys[i] = first + i;
		r = bpf_map_update_batch(fd, keys, &image->cells[first], &n,
					 &opts);
		if (r < 0)
			return write_singly(fd, image, first);
	}
	return 0;
}

int fw_rulesets_make(const struct fw_image *image, int *ret_fd)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_INNER_MAP);
	_cleanup_close_ int fd = -1;
	int r;

	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "fw_image", sizeof(uint32_t),
			    FW_CELL_SIZE, image->n_cells, &opts);
	if (fd < 0)
		return fd;
	r = write_cells(fd, image);
	if (r < 0)
		return r;
	*ret_fd = take_fd(&fd);
	return 0;
}

int fw_rulesets_switch(const struct fw_datapath *dp, int image_fd)
{
	return bpf_map_update_elem(fw_datapath_map(dp, FW_MAP_RULESETS),
				   &slot_zero, &image_fd, BPF_ANY);
}

int fw_rulesets_clear(const struct fw_datapath *dp)
{
	return bpf_map_delete_elem(fw_datapath_map(dp, FW_MAP_RULESETS),
				   &slot_zero);
}

int fw_rulesets_open(const struct fw_datapath *dp, int *ret_fd)
{
	uint32_t id;
	int fd, r;

	r = bpf_map_lookup_elem(fw_datapath_map(dp, FW_MAP_RULESETS),
				&slot_zero, &id);
	if (r < 0)
		return r;
	fd = bpf_map_get_fd_by_id(id);
	if (fd < 0)
		return fd;
	*ret_fd = fd;
	return 0;
}

static int read_cells(int fd, const struct fw_image *image)
{
	int r;

	for (uint32_t i = 0; i < image->n_cells; i++) {
		r = bpf_map_lookup_elem(fd, &i, &image->cells[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Everything in one call; the keys come back in order. */
static int read_batch(int fd, const struct fw_image *image)
{
	LIBBPF_OPTS(bpf_map_batch_opts, opts);
	_cleanup_free_ uint32_t *keys = NULL;
	uint32_t n = image->n_cells, out = 0;
	int r;

	keys = calloc(n, sizeof(*keys));
	if (!keys)
		return -ENOMEM;
	r = bpf_map_lookup_batch(fd, NULL, &out, keys, image->cells, &n, &opts);
	if (r < 0 && r != -ENOENT)
		return r;
	return n == image->n_cells ? 0 : -EIO;
}

int fw_rulesets_read(int image_fd, struct fw_image *ret)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);
	struct fw_image image;
	int r;

	r = bpf_obj_get_info_by_fd(image_fd, &info, &len);
	if (r < 0)
		return r;
	if (info.type != BPF_MAP_TYPE_ARRAY ||
	    info.value_size != FW_CELL_SIZE || info.max_entries == 0 ||
	    info.max_entries > FW_MAX_CELLS)
		return -EBADMSG;

	image.n_cells = info.max_entries;
	image.cells = calloc(image.n_cells, sizeof(*image.cells));
	if (!image.cells)
		return -ENOMEM;
	r = read_batch(image_fd, &image);
	if (r < 0)
		r = read_cells(image_fd, &image);
	if (r < 0) {
		fw_image_done(&image);
		return r;
	}
	*ret = image;
	return 0;
}
