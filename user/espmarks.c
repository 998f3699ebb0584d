/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The marks of security associations. One that comes is written at once; when some have
 * gone, all associations are asked for a second later. While they cannot be told, XDP
 * is told that, and drops nothing for want of a state.
 */
#include "user/espmarks.h"

#include <errno.h>
#include <linux/xfrm.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <bpf/bpf.h>
#include <libmnl/libmnl.h>

#include "user/log.h"
#include "user/loop.h"
#include "user/netlink.h"
#include "user/sad.h"
#include "user/util.h"

#define LOOK_MS 1000

struct fw_espmarks {
	int map;
	struct mnl_socket *nl; /* NULL: no XFRM here */
	struct fw_watch *watch;
	struct fw_timer *timer;
	bool is_armed;
	bool is_full; /* said once */
	struct fw_esp_marks marks;
};

/* ---- where they are --------------------------------------------------------------- */

static bool has(const uint32_t *marks, size_t n, uint32_t mark)
{
	for (size_t i = 0; i < n; i++) {
		if (marks[i] == mark)
			return true;
	}
	return false;
}

void fw_espmarks_place(struct fw_esp_marks *now, const uint32_t *want, size_t n)
{
	now->unknown = n > FW_MAX_ESP_MARKS;
	for (size_t i = 0; i < FW_MAX_ESP_MARKS; i++) {
		if (!has(want, n, now->mark[i]))
			now->mark[i] = 0;
	}
	for (size_t i = 0, at = 0; i < n; i++) {
		if (has(now->mark, FW_MAX_ESP_MARKS, want[i]))
			continue;
		while (at < FW_MAX_ESP_MARKS && now->mark[at])
			at++;
		if (at < FW_MAX_ESP_MARKS)
			now->mark[at] = want[i];
	}
	now->n = 0;
	for (uint32_t i = 0; i < FW_MAX_ESP_MARKS; i++) {
		if (now->mark[i])
			now->n = i + 1;
	}
}

/* ---- which there are ---------------------------------------------------------------- */

/* One more than there is room for is enough to know. */
struct found {
	uint32_t marks[FW_MAX_ESP_MARKS + 1];
	size_t n;
};

static int collect(void *data, const struct fw_sad_entry *entry)
{
	struct found *found = data;

	if (entry->mask && entry->mark && found->n < ARRAY_SIZE(found->marks) &&
	    !has(found->marks, found->n, entry->mark))
		found->marks[found->n++] = entry->mark;
	return 0;
}

static void write_marks(struct fw_espmarks *marks)
{
	uint32_t zero = 0;

	if (bpf_map_update_elem(marks->map, &zero, &marks->marks, BPF_ANY) < 0)
		log_warning(
			"cannot tell XDP the marks of security associations: %s, ignoring",
			strerror(errno));
	if (marks->marks.unknown && !marks->is_full)
		log_warning(
			"the marks of security associations are more than %d, or cannot be told: option esp-unknown-spi drops nothing",
			FW_MAX_ESP_MARKS);
	marks->is_full = marks->marks.unknown;
}

static void look_later(struct fw_espmarks *marks)
{
	if (!marks->is_armed)
		marks->is_armed = fw_timer_arm(marks->timer, LOOK_MS, 0) == 0;
}

/* They cannot be told; who knows what is there has to say so. */
static void give_up(struct fw_espmarks *marks, int error)
{
	log_debug("cannot list security associations: %s, trying again",
		  strerror(error));
	marks->marks.unknown = 1;
	write_marks(marks);
	look_later(marks);
}

static void look(struct fw_espmarks *marks)
{
	struct fw_esp_marks before = marks->marks;
	struct found found = { 0 };
	int r;

	r = fw_sad_dump(collect, &found);
	if (r < 0) {
		give_up(marks, -r);
		return;
	}
	fw_espmarks_place(&marks->marks, found.marks, found.n);
	if (memcmp(&before, &marks->marks, sizeof(before)) != 0)
		write_marks(marks);
}

static void on_timer(void *data)
{
	struct fw_espmarks *marks = data;

	marks->is_armed = false;
	look(marks);
}

/* ---- news ------------------------------------------------------------------------------ */

static int on_message(const struct nlmsghdr *nlh, void *data)
{
	struct fw_espmarks *marks = data;
	struct fw_sad_entry entry;

	if (fw_sad_decode(nlh, &entry) < 0) {
		look_later(marks); /* some have gone */
		return MNL_CB_OK;
	}
	if (entry.mask && entry.mark &&
	    !has(marks->marks.mark, FW_MAX_ESP_MARKS, entry.mark))
		look(marks);
	return MNL_CB_OK;
}

static void on_readable(void *data, uint32_t events)
{
	struct fw_espmarks *marks = data;

	(void)events;
	if (fw_netlink_drain(marks->nl, on_message, marks) == 0)
		return;
	fw_netlink_discard(marks->nl);
	look(marks);
}

static int subscribe(struct fw_espmarks *marks)
{
	static const int groups[] = { XFRMNLGRP_SA, XFRMNLGRP_EXPIRE };
	int group;

	marks->nl =
		mnl_socket_open2(NETLINK_XFRM, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!marks->nl)
		return errno == EPROTONOSUPPORT ? 0 : -errno;
	if (mnl_socket_bind(marks->nl, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
		group = groups[i];
		if (mnl_socket_setsockopt(marks->nl, NETLINK_ADD_MEMBERSHIP,
					  &group, sizeof(group)) < 0)
			return -errno;
	}
	return 1;
}

static int start(struct fw_espmarks *marks, struct fw_loop *loop)
{
	uint32_t zero = 0;
	int r;

	if (bpf_map_lookup_elem(marks->map, &zero, &marks->marks) < 0)
		return -errno;
	marks->timer = fw_timer_new(loop, on_timer, marks);
	if (!marks->timer)
		return -errno;
	r = subscribe(marks);
	if (r <= 0)
		return r;
	marks->watch = fw_watch_new(loop, mnl_socket_get_fd(marks->nl), EPOLLIN,
				    on_readable, marks);
	if (!marks->watch)
		return -errno;
	look(marks);
	return 0;
}

int fw_espmarks_new(struct fw_loop *loop, int map, struct fw_espmarks **ret)
{
	struct fw_espmarks *marks;
	int r;

	marks = calloc(1, sizeof(*marks));
	if (!marks)
		return -ENOMEM;
	marks->map = map;
	r = start(marks, loop);
	if (r < 0) {
		fw_espmarks_free(marks);
		return r;
	}
	*ret = marks;
	return 0;
}

void fw_espmarks_free(struct fw_espmarks *marks)
{
	if (!marks)
		return;
	fw_watch_free(marks->watch);
	fw_timer_free(marks->timer);
	if (marks->nl)
		(void)mnl_socket_close(marks->nl);
	free(marks);
}
