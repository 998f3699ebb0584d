/* SPDX-License-Identifier: GPL-2.0-only */

/* Programs for rules that are on their way, loaded on a thread. */
#include "user/upcoming.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "user/progs.h"
#include "user/rulesets.h"
#include "user/util.h"

struct fw_upcoming {
	struct fw_datapath_size size;
	int maps[FW_MAP_MAX];
	pthread_t thread;
	bool has_thread;
	/* The thread's until it has been joined. */
	struct fwctl_bpf *skel;
	int image_fd;
	/* Another descriptor of the same. */
	int lent_fd;
};

/*
 * The map for an image takes some milliseconds to clear, and the kernel some to
 * wait for packets of programs that see none yet: here nobody waits for it.
 */
static void put_empty_image(struct fw_upcoming *upcoming)
{
	const struct fwctl_bpf *skel = upcoming->skel;
	int fd = bpf_map__fd(fw_progs_map(skel, FW_MAP_RULESETS));

	if (upcoming->image_fd >= 0 &&
	    fw_rulesets_put(fd, upcoming->image_fd) < 0)
		(void)close(take_fd(&upcoming->image_fd));
}

static void *run(void *data)
{
	struct fw_upcoming *upcoming = data;
	char *error = NULL;

	/* Who needs them loads them once more, and says what is wrong. */
	if (fw_progs_load(&upcoming->size, upcoming->maps, upcoming->image_fd,
			  &upcoming->skel, &error) < 0) {
		upcoming->skel = NULL;
		/* nor is there an image in its place */
		fw_closep(&upcoming->image_fd);
		upcoming->image_fd = -1;
	} else {
		put_empty_image(upcoming);
	}
	free(error);
	return NULL;
}

int fw_upcoming_begin(const struct fw_datapath_size *size,
		      const int maps[FW_MAP_MAX], struct fw_upcoming **ret)
{
	struct fw_upcoming *upcoming;
	int r;

	upcoming = calloc(1, sizeof(*upcoming));
	if (!upcoming)
		return -ENOMEM;
	upcoming->size = *size;
	upcoming->image_fd = -1;
	upcoming->lent_fd = -1;
	(void)fw_rulesets_new(size->image, &upcoming->image_fd);
	if (upcoming->image_fd >= 0)
		upcoming->lent_fd =
			fcntl(upcoming->image_fd, F_DUPFD_CLOEXEC, 3);
	memcpy(upcoming->maps, maps, sizeof(upcoming->maps));
	r = pthread_create(&upcoming->thread, NULL, run, upcoming);
	if (r) {
		fw_upcoming_free(upcoming);
		return -r;
	}
	upcoming->has_thread = true;
	*ret = upcoming;
	return 0;
}

const struct fw_datapath_size *
fw_upcoming_size(const struct fw_upcoming *upcoming)
{
	return &upcoming->size;
}

int fw_upcoming_image(const struct fw_upcoming *upcoming)
{
	return upcoming->lent_fd;
}

static void join(struct fw_upcoming *upcoming)
{
	if (upcoming->has_thread)
		(void)pthread_join(upcoming->thread, NULL);
	upcoming->has_thread = false;
}

struct fwctl_bpf *fw_upcoming_take(struct fw_upcoming *upcoming,
				   int *ret_image_fd)
{
	join(upcoming);
	*ret_image_fd = take_fd(&upcoming->image_fd);
	return take_ptr(upcoming->skel);
}

void fw_upcoming_free(struct fw_upcoming *upcoming)
{
	if (!upcoming)
		return;
	join(upcoming);
	fw_closep(&upcoming->image_fd);
	fw_closep(&upcoming->lent_fd);
	fwctl_bpf__destroy(upcoming->skel);
	free(upcoming);
}
