/* SPDX-License-Identifier: GPL-2.0-only */

/* Lays out tables of interfaces and own addresses, and puts them in place. */
#include "user/hosttab.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <bpf/bpf.h>

#include "user/util.h"

#define MAX_SEEDS 1000 /* about one of two does */

static const uint32_t zero;

/* ---- layout --------------------------------------------------------------- */

/* The keys of one bucket follow each other, those of the largest come first. */
struct key {
	uint64_t hash;
	uint32_t bucket, in_bucket, entry;
};

struct layout {
	struct fw_host_head *head;
	uint16_t *shift;
	struct key *keys;
	size_t n;
	uint32_t *place; /* of each entry */
	bool *is_used;	 /* by place */
};

static int compare_keys(const void *a, const void *b)
{
	const struct key *left = a, *right = b;

	if (left->in_bucket != right->in_bucket)
		return left->in_bucket < right->in_bucket ? 1 : -1;
	if (left->bucket != right->bucket)
		return left->bucket < right->bucket ? -1 : 1;
	return 0;
}

static bool all_free(const struct layout *l, size_t first, uint32_t shift)
{
	const struct key *k = &l->keys[first];
	uint32_t at;

	for (uint32_t i = 0; i < k->in_bucket; i++) {
		at = fw_host_place(l->head, k[i].hash, shift);
		if (l->is_used[at])
			return false;
		for (uint32_t j = 0; j < i; j++)
			if (fw_host_place(l->head, k[j].hash, shift) == at)
				return false;
	}
	return true;
}

/* Find the shift of the bucket that starts with a key; false: there is none. */
static bool place_bucket(const struct layout *l, size_t first)
{
	const struct key *k = &l->keys[first];
	uint32_t shift, at;

	for (shift = 0; shift <= l->head->mask; shift++)
		if (all_free(l, first, shift))
			break;
	if (shift > l->head->mask)
		return false;
	l->shift[k->bucket] = (uint16_t)shift;
	for (uint32_t i = 0; i < k->in_bucket; i++) {
		at = fw_host_place(l->head, k[i].hash, shift);
		l->is_used[at] = true;
		l->place[k[i].entry] = at;
	}
	return true;
}

/* All hashes are known: find a place for each, or say that the seed is bad. */
static bool place_all(const struct layout *l, uint32_t *sizes)
{
	size_t slots = (size_t)l->head->mask + 1;

	memset(sizes, 0, slots * sizeof(*sizes));
	memset(l->shift, 0, slots * sizeof(*l->shift));
	memset(l->is_used, 0, slots * sizeof(*l->is_used));
	for (size_t i = 0; i < l->n; i++) {
		l->keys[i].bucket = fw_host_bucket(l->head, l->keys[i].hash);
		sizes[l->keys[i].bucket]++;
	}
	for (size_t i = 0; i < l->n; i++)
		l->keys[i].in_bucket = sizes[l->keys[i].bucket];
	qsort(l->keys, l->n, sizeof(*l->keys), compare_keys);
	for (size_t i = 0; i < l->n; i += l->keys[i].in_bucket)
		if (!place_bucket(l, i))
			return false;
	return true;
}

typedef uint64_t (*hash_fn)(const struct fw_host_head *head,
			    const void *entries, size_t i);

/*
 * Choose seed and shifts for `n` entries, at most half as many as slots, and
 * say where each of them goes. -EEXIST: two are equal.
 */
static int lay_out(struct fw_host_head *head, uint16_t *shift, hash_fn hash,
		   const void *entries, size_t n, uint32_t *place)
{
	_cleanup_free_ struct key *keys = calloc(n + 1, sizeof(*keys));
	_cleanup_free_ uint32_t *sizes = NULL;
	_cleanup_free_ bool *is_used = NULL;
	struct layout l = { head, shift, keys, n, place, NULL };
	size_t slots = 8;

	while (slots < 2 * n)
		slots *= 2;
	head->mask = (uint32_t)slots - 1;
	sizes = calloc(slots, sizeof(*sizes));
	is_used = calloc(slots, sizeof(*is_used));
	if (!keys || !sizes || !is_used)
		return -ENOMEM;
	l.is_used = is_used;
	for (int i = 0; i < MAX_SEEDS; i++) {
		if (getrandom(&head->seed, sizeof(head->seed), 0) !=
		    sizeof(head->seed))
			return -EIO;
		for (uint32_t k = 0; k < n; k++)
			keys[k] = (struct key){ .hash = hash(head, entries, k),
						.entry = k };
		if (place_all(&l, sizes))
			return 0;
	}
	return -EEXIST;
}

static uint64_t hash_iface(const struct fw_host_head *head, const void *entries,
			   size_t i)
{
	const struct fw_iface_entry *e = entries;

	return fw_host_hash_iface(head, e[i].key.ifindex, e[i].key.vlan);
}

static uint64_t hash_self(const struct fw_host_head *head, const void *entries,
			  size_t i)
{
	const struct fw_self_entry *e = entries;
	uint64_t words[2];

	memcpy(words, &e[i].addr, sizeof(words));
	return fw_host_hash(head, words[0], words[1]);
}

/* ---- writing -------------------------------------------------------------- */

/* Put a table of `size` bytes into a slot of the outer map. */
static int put_table(int map, uint32_t slot, const char *name,
		     const void *value, size_t size, int *table)
{
	_cleanup_close_ int fd = -1;
	int r;

	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, name, sizeof(uint32_t),
			    (uint32_t)size, 1, NULL);
	if (fd < 0)
		return fd;
	r = bpf_map_update_elem(fd, &zero, value, BPF_ANY);
	/* The kernel waits for the packets that look into the old one. */
	if (r == 0)
		r = bpf_map_update_elem(map, &slot, &fd, BPF_ANY);
	if (r < 0)
		return r;
	fw_closep(table);
	*table = take_fd(&fd);
	return 0;
}

int fw_hosttab_put_ifaces(int map, uint32_t slot, uint32_t gen,
			  const struct fw_iface_entry *entries, size_t n,
			  int *table)
{
	_cleanup_free_ struct fw_iface_table *t = calloc(1, sizeof(*t));
	_cleanup_free_ uint32_t *place = calloc(n + 1, sizeof(*place));
	int r;

	if (!t || !place)
		return -ENOMEM;
	if (n > FW_MAX_IFACES)
		return -E2BIG;
	t->head.gen = gen;
	r = lay_out(&t->head, t->shift, hash_iface, entries, n, place);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		t->at[place[i]] = entries[i];
	return put_table(map, slot, "fw_ifaces", t, sizeof(*t), table);
}

void fw_hosttab_cut_ifaces(int map, uint32_t slot, int *table)
{
	(void)bpf_map_delete_elem(map, &slot);
	fw_closep(table);
	*table = -1;
}

int fw_hosttab_put_selves(int map, const struct fw_self_entry *entries,
			  size_t n, int *table)
{
	_cleanup_free_ struct fw_self_table *t = calloc(1, sizeof(*t));
	_cleanup_free_ uint32_t *place = calloc(n + 1, sizeof(*place));
	int r;

	if (!t || !place)
		return -ENOMEM;
	if (n > FW_MAX_SELF)
		return -E2BIG;
	r = lay_out(&t->head, t->shift, hash_self, entries, n, place);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		t->at[place[i]] = entries[i];
	return put_table(map, zero, "fw_selfaddrs", t, sizeof(*t), table);
}

/* ---- reading -------------------------------------------------------------- */

/* The value of the table in a slot; `*ret_table` is -1 if there is none. */
static int get_table(int map, uint32_t slot, void *value, int *ret_table)
{
	_cleanup_close_ int fd = -1;
	uint32_t id;
	int r;

	*ret_table = -1;
	r = bpf_map_lookup_elem(map, &slot, &id);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	fd = bpf_map_get_fd_by_id(id);
	if (fd < 0)
		return fd;
	r = bpf_map_lookup_elem(fd, &zero, value);
	if (r == 0)
		*ret_table = take_fd(&fd);
	return r;
}

int fw_hosttab_get_ifaces(int map, uint32_t slot, uint32_t *ret_gen,
			  struct fw_iface_entry **ret_entries, size_t *ret_n,
			  int *ret_table)
{
	_cleanup_free_ struct fw_iface_table *t = calloc(1, sizeof(*t));
	_cleanup_free_ struct fw_iface_entry *entries = NULL;
	size_t n = 0;
	int r;

	entries = calloc(FW_IFACE_SLOTS, sizeof(*entries));
	if (!t || !entries)
		return -ENOMEM;
	r = get_table(map, slot, t, ret_table);
	if (r < 0)
		return r;
	for (size_t i = 0; i < FW_IFACE_SLOTS; i++)
		if (t->at[i].key.ifindex)
			entries[n++] = t->at[i];
	*ret_gen = t->head.gen;
	*ret_entries = take_ptr(entries);
	*ret_n = n;
	return 0;
}

int fw_hosttab_get_selves(int map, struct fw_self_entry **ret_entries,
			  size_t *ret_n, int *ret_table)
{
	_cleanup_free_ struct fw_self_table *t = calloc(1, sizeof(*t));
	_cleanup_free_ struct fw_self_entry *entries = NULL;
	size_t n = 0;
	int r;

	entries = calloc(FW_SELF_SLOTS, sizeof(*entries));
	if (!t || !entries)
		return -ENOMEM;
	r = get_table(map, zero, t, ret_table);
	if (r < 0)
		return r;
	for (size_t i = 0; i < FW_SELF_SLOTS; i++)
		if (t->at[i].flags)
			entries[n++] = t->at[i];
	*ret_entries = take_ptr(entries);
	*ret_n = n;
	return 0;
}
