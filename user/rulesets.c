/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The rule image in the kernel.
 *
 * An image is written once, before the outer map knows it, and never changed
 * after: a packet that has picked it up walks a constant.
 */
#include "user/rulesets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <bpf/bpf.h>
#include <linux/bpf.h>

#include "kern/image.h"
#include "user/util.h"

static const uint32_t slot_zero, slot_before = 1;

uint32_t fw_rulesets_size(size_t bytes)
{
	uint32_t size = FW_IMAGE_MIN;

	/* A third more than needed, so that the next rules find room, too. */
	while (size / 4 * 3 < bytes && size < FW_IMAGE_MAX)
		size *= 2;
	return size;
}

/* The whole value would be copied twice by a system call. */
static int write_value(int fd, const struct fw_image *image)
{
	size_t len = image->size;
	void *value;

	value = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (value == MAP_FAILED)
		return -errno;
	memcpy(value, image->bytes, len);
	return munmap(value, len) < 0 ? -errno : 0;
}

int fw_rulesets_new(uint32_t size, int *ret_fd)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	int fd;

	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "fw_image", sizeof(uint32_t),
			    size + FW_IMAGE_SLACK, 1, &opts);
	if (fd < 0)
		return fd;
	*ret_fd = fd;
	return 0;
}

int fw_rulesets_make(const struct fw_image *image, uint32_t size, int *ret_fd)
{
	int r = 0;

	if (image->size > size)
		return -E2BIG;
	if (*ret_fd < 0)
		r = fw_rulesets_new(size, ret_fd);
	return r < 0 ? r : write_value(*ret_fd, image);
}

unsigned char *fw_rulesets_borrow(int image_fd, uint32_t size)
{
	void *room = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED,
			  image_fd, 0);

	return room == MAP_FAILED ? NULL : room;
}

void fw_rulesets_return(unsigned char *room, uint32_t size)
{
	if (room)
		(void)munmap(room, size);
}

/*
 * The kernel waits after each update for the packets that are at work
 * (maybe_wait_bpf_programs()); after a batch of them only since Linux 6.8.
 */
int fw_rulesets_keep(const struct fw_datapath *dp, int image_fd)
{
	return bpf_map_update_elem(fw_datapath_map(dp, FW_MAP_RULESETS),
				   &slot_before, &image_fd, BPF_ANY);
}

int fw_rulesets_put(int rulesets_fd, int image_fd)
{
	return bpf_map_update_elem(rulesets_fd, &slot_zero, &image_fd, BPF_ANY);
}

int fw_rulesets_switch(const struct fw_datapath *dp, int image_fd)
{
	return fw_rulesets_put(fw_datapath_map(dp, FW_MAP_RULESETS), image_fd);
}

void fw_rulesets_forget(const struct fw_datapath *dp)
{
	(void)bpf_map_delete_elem(fw_datapath_map(dp, FW_MAP_RULESETS),
				  &slot_before);
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

/* Copy what the head says to be there; `len` bytes are. */
static int copy_image(const void *value, size_t len, struct fw_image *ret)
{
	const struct fw_image_head *head = value;
	uint32_t size = head->size;

	if (size < sizeof(*head) || size > len)
		return -EBADMSG;
	ret->bytes = malloc(size);
	if (!ret->bytes)
		return -ENOMEM;
	memcpy(ret->bytes, value, size);
	ret->size = size;
	return 0;
}

int fw_rulesets_read(int image_fd, struct fw_image *ret)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);
	void *value;
	int r;

	r = bpf_obj_get_info_by_fd(image_fd, &info, &len);
	if (r < 0)
		return r;
	if (info.type != BPF_MAP_TYPE_ARRAY || info.max_entries != 1 ||
	    info.value_size < FW_IMAGE_MIN ||
	    info.value_size > FW_IMAGE_MAX + FW_IMAGE_SLACK ||
	    !(info.map_flags & BPF_F_MMAPABLE))
		return -EBADMSG;
	value = mmap(NULL, info.value_size, PROT_READ, MAP_SHARED, image_fd, 0);
	if (value == MAP_FAILED)
		return -errno;
	r = copy_image(value, info.value_size, ret);
	(void)munmap(value, info.value_size);
	return r;
}

uint32_t fw_rulesets_known_gen(int image_fd)
{
	const struct fw_image_head *head;
	uint32_t gen = 0;

	head = mmap(NULL, sizeof(*head), PROT_READ, MAP_SHARED, image_fd, 0);
	if (head == MAP_FAILED)
		return 0;
	if (head->magic == FW_IMAGE_MAGIC && fw_image_lets_known(head))
		gen = head->gen;
	(void)munmap((void *)head, sizeof(*head));
	return gen;
}

int fw_rulesets_end_carrying(int image_fd)
{
	struct fw_image_head *head;

	head = mmap(NULL, sizeof(*head), PROT_READ | PROT_WRITE, MAP_SHARED,
		    image_fd, 0);
	if (head == MAP_FAILED)
		return -errno;
	/* One byte: a packet sees it as it was or as it is. */
	head->mark_before = 0;
	return munmap(head, sizeof(*head)) < 0 ? -errno : 0;
}
