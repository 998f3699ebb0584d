/* SPDX-License-Identifier: GPL-2.0-only */

/* Lays out tables of interfaces and own addresses, and puts them in place. */
#include "user/hosttab.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include <bpf/bpf.h>

#include "rules/displace.h"
#include "user/util.h"

#define MAX_SEEDS 1000 /* about one of two does */

struct fw_hosttab {
	struct fw_host *host; /* as the programs see it */
	int inner, outer;     /* maps to wait with */
	bool is_settled; /* no packet is at work with addresses not picked */
	bool has_idle;	 /* nor with the table of interfaces not picked */
};

/* ---- layout --------------------------------------------------------------- */

static int choose_seeds(__u64 *seeds, size_t n)
{
	size_t size = n * sizeof(*seeds);

	if (getrandom(seeds, size, 0) != (ssize_t)size)
		return -EIO;
	for (size_t i = 0; i < n; i++)
		seeds[i] |=
			1; /* so that different keys are different products */
	return 0;
}

typedef uint64_t (*hash_fn)(const void *table, const void *entries, size_t i);

/*
 * Choose seeds and shifts, both in the table, for `n` entries, at most half as
 * many as slots. `*ret_keys` says where each of them goes. -EEXIST: two are
 * equal.
 */
static int lay_out(const void *table, __u64 *seeds, size_t n_seeds, __u8 *shift,
		   uint32_t slots, hash_fn hash, const void *entries, size_t n,
		   struct fw_displace_key **ret_keys)
{
	_cleanup_free_ struct fw_displace_key *keys =
		calloc(n + 1, sizeof(*keys));
	const struct fw_displace how = {
		.bucket_shift = 64 - FW_HOST_BUCKET_BITS,
		.place_shift = 64 - FW_HOST_BUCKET_BITS - FW_HOST_PLACE_BITS,
		.place_mask = slots - 1,
		.first_shift = 1, /* 0: no key is in the bucket */
		.shifts = shift,
	};
	int r = -EEXIST;

	if (!keys)
		return -ENOMEM;
	for (int i = 0; i < MAX_SEEDS && r == -EEXIST; i++) {
		r = choose_seeds(seeds, n_seeds);
		if (r < 0)
			return r;
		for (uint32_t k = 0; k < n; k++)
			keys[k] = (struct fw_displace_key){
				.hash = hash(table, entries, k),
				.entry = k,
			};
		r = fw_displace(&how, keys, n);
	}
	if (r == 0)
		*ret_keys = take_ptr(keys);
	return r;
}

/* ---- tables of each kind -------------------------------------------------- */

static uint64_t entry_word(const struct fw_iface_entry *entry)
{
	return fw_iface_word(entry->key.ifindex, entry->key.vlan);
}

static uint64_t hash_iface(const void *table, const void *entries, size_t i)
{
	const struct fw_iface_entry *e = entries;

	return fw_iface_hash(table, entry_word(&e[i]));
}

static uint64_t hash_self4(const void *table, const void *entries, size_t i)
{
	const struct fw_self_entry *e = entries;

	return fw_self4_hash(table, e[i].addr.w[3]);
}

static uint64_t hash_self6(const void *table, const void *entries, size_t i)
{
	const struct fw_self_entry *e = entries;
	uint64_t half[2];

	memcpy(half, &e[i].addr, sizeof(half));
	return fw_self6_hash(table, half[0], half[1]);
}

static int make_ifaces(const struct fw_iface_entry *entries, size_t n,
		       struct fw_iface_table *t)
{
	_cleanup_free_ struct fw_displace_key *keys = NULL;
	const struct fw_iface_entry *e;
	int r;

	r = lay_out(t, &t->seed, 1, t->shift, FW_IFACE_SLOTS, hash_iface,
		    entries, n, &keys);
	for (size_t i = 0; r == 0 && i < n; i++) {
		e = &entries[keys[i].entry];
		t->at[keys[i].place] =
			(struct fw_iface_slot){ entry_word(e), e->value };
	}
	return r;
}

static int make_selves4(const struct fw_self_entry *entries, size_t n,
			struct fw_self4_table *t)
{
	_cleanup_free_ struct fw_displace_key *keys = NULL;
	const struct fw_self_entry *e;
	int r;

	r = lay_out(t, &t->seed, 1, t->shift, FW_SELF_SLOTS, hash_self4,
		    entries, n, &keys);
	for (size_t i = 0; r == 0 && i < n; i++) {
		e = &entries[keys[i].entry];
		t->at[keys[i].place] = (uint64_t)e->flags << 32 | e->addr.w[3];
	}
	return r;
}

static int make_selves6(const struct fw_self_entry *entries, size_t n,
			struct fw_self6_table *t)
{
	_cleanup_free_ struct fw_displace_key *keys = NULL;
	const struct fw_self_entry *e;
	int r;

	r = lay_out(t, t->seed, ARRAY_SIZE(t->seed), t->shift, FW_SELF_SLOTS,
		    hash_self6, entries, n, &keys);
	for (size_t i = 0; r == 0 && i < n; i++) {
		e = &entries[keys[i].entry];
		t->at[keys[i].place] = (struct fw_self6_slot){
			.addr = e->addr,
			.flags = e->flags,
		};
	}
	return r;
}

static bool is_ipv4(const struct fw_addr *addr)
{
	return !(addr->w[0] | addr->w[1]) && addr->w[2] == htonl(0xffff);
}

/* Both families: IPv4 from the start of a copy on, IPv6 from its end. */
static int make_selves(const struct fw_self_entry *entries, size_t n,
		       struct fw_self_table *t)
{
	_cleanup_free_ struct fw_self_entry *copy =
		calloc(n + 1, sizeof(*copy));
	size_t n4 = 0, first6 = n;
	int r;

	if (!copy)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		if (is_ipv4(&entries[i].addr))
			copy[n4++] = entries[i];
		else
			copy[--first6] = entries[i];
	}
	r = make_selves4(copy, n4, &t->v4);
	return r < 0 ? r : make_selves6(copy + n4, n - n4, &t->v6);
}

/* ---- writing -------------------------------------------------------------- */

/* The kernel waits after each update of a map of maps (maybe_wait_bpf_programs()). */
static int wait_for_packets(const struct fw_hosttab *tables)
{
	const uint32_t zero = 0;

	return bpf_map_update_elem(tables->outer, &zero, &tables->inner,
				   BPF_ANY);
}

/* Packets see all of a table with this, or nothing. */
static void pick(__u8 *which, __u8 table)
{
	__atomic_store_n(which, table, __ATOMIC_RELEASE);
}

static __u8 other_than(__u8 picked)
{
	return (picked + 1u) % FW_HOST_TABLES;
}

static __u8 *iface_pick(struct fw_host *host, uint32_t gen)
{
	return &host->iface_pick[gen % FW_HOST_PICKS];
}

int fw_hosttab_settle(struct fw_hosttab *tables)
{
	int r = 0;

	if (!tables->has_idle)
		r = wait_for_packets(tables);
	tables->has_idle = r == 0;
	return r;
}

int fw_hosttab_put_ifaces(struct fw_hosttab *tables, uint32_t running,
			  uint32_t gen, const struct fw_iface_entry *entries,
			  size_t n)
{
	_cleanup_free_ struct fw_iface_table *t = calloc(1, sizeof(*t));
	struct fw_host *host = tables->host;
	__u8 other;
	int r;

	if (!t)
		return -ENOMEM;
	if (n > FW_MAX_IFACES)
		return -E2BIG;
	t->gen = gen;
	r = make_ifaces(entries, n, t);
	/* for those with the last table of this generation, or with another one */
	if (r == 0)
		r = fw_hosttab_settle(tables);
	if (r < 0)
		return r;
	tables->has_idle = false;
	other = other_than(*iface_pick(host, running));
	memcpy(&host->ifaces[other], t, sizeof(*t));
	pick(iface_pick(host, gen), other);
	/* what is read from now on is new; who has read before has the number before */
	__atomic_store_n(&host->iface_epoch, host->iface_epoch + 1,
			 __ATOMIC_RELEASE);
	fw_hosttab_end_epoch(tables);
	return 0;
}

/*
 * A new address is for packets that may be on their way already, so the wait
 * comes after it, unless nobody knows whether there was one: the daemon before
 * may have been killed.
 */
int fw_hosttab_put_selves(struct fw_hosttab *tables,
			  const struct fw_self_entry *entries, size_t n)
{
	_cleanup_free_ struct fw_self_table *t = calloc(1, sizeof(*t));
	struct fw_host *host = tables->host;
	__u8 other;
	int r;

	if (!t)
		return -ENOMEM;
	if (n > FW_MAX_SELF)
		return -E2BIG;
	r = make_selves(entries, n, t);
	if (r == 0 && !tables->is_settled)
		r = wait_for_packets(tables);
	if (r < 0)
		return r;
	other = other_than(host->self_pick);
	memcpy(&host->selves[other], t, sizeof(*t));
	pick(&host->self_pick, other);
	fw_hosttab_end_epoch(tables);
	tables->is_settled = wait_for_packets(tables) == 0;
	return 0;
}

void fw_hosttab_watch(struct fw_hosttab *tables, uint8_t mask, uint8_t kinds)
{
	volatile __u8 *watch = &tables->host->watch;

	*watch = (uint8_t)((*watch & ~mask) | (kinds & mask));
}

void fw_hosttab_snap(struct fw_hosttab *tables, uint16_t len)
{
	volatile __u16 *snap = &tables->host->snap;

	*snap = len;
}

void fw_hosttab_know(struct fw_hosttab *tables, uint32_t gen)
{
	__atomic_store_n(&tables->host->known_gen, gen, __ATOMIC_SEQ_CST);
}

/* One who writes: nothing gets lost between look and store. */
void fw_hosttab_end_epoch(struct fw_hosttab *tables)
{
	__u32 *epoch = &tables->host->offload_epoch;

	__atomic_store_n(epoch, *epoch + 1, __ATOMIC_RELEASE);
}

/* ---- reading -------------------------------------------------------------- */

int fw_hosttab_get_ifaces(const struct fw_hosttab *tables, uint32_t gen,
			  struct fw_iface_entry **ret_entries, size_t *ret_n)
{
	uint32_t picked = *iface_pick(tables->host, gen) % FW_HOST_TABLES;
	const struct fw_iface_table *t = &tables->host->ifaces[picked];
	struct fw_iface_entry *entries;
	size_t n = 0;

	if (!gen || t->gen != gen)
		return -ENOENT;
	entries = calloc(FW_IFACE_SLOTS, sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	for (size_t i = 0; i < FW_IFACE_SLOTS; i++) {
		const struct fw_iface_slot *slot = &t->at[i];

		if (!slot->key)
			continue;
		entries[n++] = (struct fw_iface_entry){
			.key = { .ifindex = (uint32_t)slot->key,
				 .vlan = (uint16_t)(slot->key >> 32) },
			.value = slot->value,
		};
	}
	*ret_entries = entries;
	*ret_n = n;
	return 0;
}

int fw_hosttab_get_selves(const struct fw_hosttab *tables,
			  struct fw_self_entry **ret_entries, size_t *ret_n)
{
	uint32_t picked = tables->host->self_pick % FW_HOST_TABLES;
	const struct fw_self_table *t = &tables->host->selves[picked];
	struct fw_self_entry *entries;
	size_t n = 0;

	entries = calloc(2 * (size_t)FW_SELF_SLOTS, sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	for (size_t i = 0; i < FW_SELF_SLOTS; i++) {
		if (t->v4.at[i])
			entries[n++] = (struct fw_self_entry){
				.addr = { .w = { 0, 0, htonl(0xffff),
						 (__be32)t->v4.at[i] } },
				.flags = (uint32_t)(t->v4.at[i] >> 32),
			};
		if (t->v6.at[i].flags)
			entries[n++] = (struct fw_self_entry){
				.addr = t->v6.at[i].addr,
				.flags = t->v6.at[i].flags,
			};
	}
	*ret_entries = entries;
	*ret_n = n;
	return 0;
}

/* ---- opening -------------------------------------------------------------- */

/* A map of maps with one map in it: what is in there is of no interest. */
static int make_maps_to_wait(struct fw_hosttab *tables)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts);

	tables->inner =
		bpf_map_create(BPF_MAP_TYPE_ARRAY, "fw_wait_inner",
			       sizeof(uint32_t), sizeof(uint32_t), 1, NULL);
	if (tables->inner < 0)
		return tables->inner;
	opts.inner_map_fd = (uint32_t)tables->inner;
	tables->outer =
		bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "fw_wait",
			       sizeof(uint32_t), sizeof(uint32_t), 1, &opts);
	return tables->outer < 0 ? tables->outer : 0;
}

static int map_tables(int map, struct fw_host **ret)
{
	void *host = mmap(NULL, sizeof(**ret), PROT_READ | PROT_WRITE,
			  MAP_SHARED, map, 0);

	if (host == MAP_FAILED)
		return -errno;
	*ret = host;
	return 0;
}

int fw_hosttab_open(int map, struct fw_hosttab **ret)
{
	struct fw_hosttab *tables = calloc(1, sizeof(*tables));
	int r;

	if (!tables)
		return -ENOMEM;
	tables->inner = tables->outer = -1;
	r = make_maps_to_wait(tables);
	if (r == 0)
		r = map_tables(map, &tables->host);
	if (r < 0) {
		fw_hosttab_free(tables);
		return r;
	}
	*ret = tables;
	return 0;
}

void fw_hosttab_free(struct fw_hosttab *tables)
{
	if (!tables)
		return;
	if (tables->host)
		(void)munmap(tables->host, sizeof(*tables->host));
	fw_closep(&tables->outer);
	fw_closep(&tables->inner);
	free(tables);
}
