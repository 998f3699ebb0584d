/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The interfaces that a rule file declares, as they are in the kernel.
 *
 * Each generation has a table of its own, so the entries of a coming rule set
 * are complete before the first packet looks for them, and those of the running
 * one are left alone. Counters belong to the interface and go on from one
 * generation to the next.
 */
#include "user/cover.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/ethernet.h>
#include <stdlib.h>
#include <string.h>

#include "user/hosttab.h"
#include "user/log.h"
#include "user/offload.h"
#include "user/stats.h"
#include "user/steer.h"
#include "user/util.h"

#define MAX_VLANS 8 /* VLAN devices are never stacked deeper */

struct fw_cover {
	struct fw_datapath *dp;
	struct fw_hosttab *tables;
	const struct fw_offload *offload;
	uint32_t
		owner[FW_MAX_IFSLOTS]; /* ifindex; 0: free. Slot 0 stays free */
	bool is_full;  /* said already: some entries are left out */
	bool is_mixed; /* likewise: some mean two interfaces */
};

/* ---- counters of interfaces ----------------------------------------------- */

static void tell_slots(const struct fw_cover *cover)
{
	uint64_t used = 0;

	for (uint32_t slot = 1; slot < FW_MAX_IFSLOTS; slot++) {
		if (cover->owner[slot])
			used |= 1ull << slot;
	}
	fw_datapath_use_slots(cover->dp, used);
}

/* The slot of an interface, or 0, where all interfaces without one are counted. */
static uint32_t slot_of(struct fw_cover *cover, uint32_t ifindex)
{
	uint32_t free_slot = 0;

	for (uint32_t slot = FW_MAX_IFSLOTS - 1; slot > 0; slot--) {
		if (cover->owner[slot] == ifindex)
			return slot;
		if (cover->owner[slot] == 0)
			free_slot = slot;
	}
	if (free_slot == 0)
		return 0;
	fw_stats_iface_clear(cover->dp, free_slot);
	cover->owner[free_slot] = ifindex;
	tell_slots(cover);
	return free_slot;
}

/* ---- entries of the table ---------------------------------------------------- */

static int compare_entries(const void *a, const void *b)
{
	const struct fw_iface_entry *left = a, *right = b;

	return memcmp(&left->key, &right->key, sizeof(left->key));
}

static bool equal_entries(const struct fw_cover_set *a,
			  const struct fw_cover_set *b)
{
	return a->n_entries == b->n_entries &&
	       (a->n_entries == 0 ||
		memcmp(a->entries, b->entries,
		       a->n_entries * sizeof(*a->entries)) == 0);
}

int fw_cover_add(const struct fw_cover *cover, const struct fw_cover_set *have,
		 struct fw_cover_set *want)
{
	int r = 0;

	if (!have->is_known || have->gen != want->gen ||
	    !equal_entries(have, want)) {
		r = fw_hosttab_put_ifaces(cover->tables, have->gen, want->gen,
					  want->entries, want->n_entries);
	}
	want->is_known = r == 0;
	return r;
}

int fw_cover_adopt(struct fw_cover *cover, uint32_t gen,
		   struct fw_cover_set *ret)
{
	const struct fw_iface *value;
	int r;

	*ret = (struct fw_cover_set){ .gen = gen };
	r = fw_hosttab_get_ifaces(cover->tables, gen, &ret->entries,
				  &ret->n_entries);
	if (r < 0 && r != -ENOENT)
		return r;
	ret->is_known = r == 0;
	for (size_t i = 0; i < ret->n_entries; i++) {
		value = &ret->entries[i].value;
		if (value->slot > 0 && value->slot < FW_MAX_IFSLOTS)
			cover->owner[value->slot] = value->ifindex;
	}
	tell_slots(cover);
	if (ret->n_entries) {
		qsort(ret->entries, ret->n_entries, sizeof(*ret->entries),
		      compare_entries);
	}
	return 0;
}

/* ---- planning ------------------------------------------------------------------ */

static size_t count_members(const struct fw_program *program)
{
	size_t n = 0;

	for (size_t i = 0; i < program->n_zones; i++)
		n += program->zones[i].n;
	return n;
}

/* The entry of an interface in the list, made if it is the first of that name. */
static size_t list_iface(struct fw_cover_set *set, const struct fw_zone *zone,
			 const struct fw_zone_member *member)
{
	size_t i;

	for (i = 0; i < set->n; i++) {
		if (strcmp(set->ifaces[i].name, member->ifname) == 0)
			break;
	}
	if (i == set->n) {
		set->ifaces[i] = (struct fw_apply_iface){
			.name = member->ifname,
			.zone = zone->name,
			.at = member->at,
			.wanted = FW_MODE_AUTO,
			.mode = FW_MODE_AUTO,
		};
		set->n++;
	}
	/* Of several declarations one may say the mode. */
	if (set->ifaces[i].wanted == FW_MODE_AUTO)
		set->ifaces[i].wanted = member->mode;
	return i;
}

static void list_ifaces(const struct fw_program *program,
			struct fw_cover_set *set, uint64_t *zones)
{
	for (size_t z = 0; z < program->n_zones && z < FW_MAX_ZONES; z++) {
		const struct fw_zone *zone = &program->zones[z];

		for (size_t m = 0; m < zone->n; m++) {
			zones[list_iface(set, zone, &zone->members[m])] |= 1ull
									   << z;
		}
	}
}

static void add_entry(struct fw_cover_set *set, uint32_t ifindex, uint16_t vlan,
		      const struct fw_iface *value)
{
	set->entries[set->n_entries++] = (struct fw_iface_entry){
		.key = { .ifindex = ifindex, .vlan = vlan },
		.value = *value,
	};
}

/*
 * A VLAN device is seen twice: as itself by its own hooks, and as a tag on its
 * parent by the hooks there. Both ways lead to the same zones and counters.
 */
static void plan_iface(struct fw_cover *cover, const struct fw_link *link,
		       uint64_t zones, struct fw_apply_iface *iface,
		       struct fw_cover_set *set)
{
	struct fw_iface value = { .zones = zones, .ifindex = link->ifindex };

	value.slot = (__u16)slot_of(cover, link->ifindex);
	iface->ifindex = link->ifindex;
	iface->slot = value.slot;
	add_entry(set, link->ifindex, 0, &value);
	if (link->parent && link->vlan)
		add_entry(set, link->parent, link->vlan, &value);
}

/* The entry of an interface and a tag, among the first ones. */
static const struct fw_iface *find(const struct fw_cover_set *set, size_t n,
				   uint32_t ifindex, uint16_t vlan)
{
	for (size_t i = 0; i < n; i++) {
		const struct fw_iface_entry *entry = &set->entries[i];

		if (entry->key.ifindex == ifindex && entry->key.vlan == vlan)
			return &entry->value;
	}
	return NULL;
}

/* The entry of an interface itself, among those of the declared ones. */
static const struct fw_iface *declared(const struct fw_cover_set *set,
				       size_t n_declared, uint32_t ifindex)
{
	return find(set, n_declared, ifindex, 0);
}

/* The nearest declared device below an undeclared VLAN device, or NULL. */
static const struct fw_iface *carrier(const struct fw_cover_set *set,
				      size_t n_declared,
				      const struct fw_ifaces *links,
				      const struct fw_link *link)
{
	const struct fw_iface *value = NULL;

	for (int depth = 0; link && link->parent && depth < MAX_VLANS;
	     depth++) {
		value = declared(set, n_declared, link->parent);
		if (value)
			break;
		link = fw_ifaces_by_index(links, link->parent);
	}
	return value;
}

/*
 * What is forwarded from or to a VLAN device that nobody declared is, for the
 * stack, not of its parent: its entry says that it has the parent's zones.
 */
static int plan_carried(const struct fw_ifaces *links, struct fw_cover_set *set)
{
	size_t n_declared = set->n_entries, n = 0;
	const struct fw_iface *value;
	const struct fw_link *link;
	void *entries;

	while (fw_ifaces_at(links, n))
		n++;
	entries = reallocarray(set->entries, n_declared + n + 1,
			       sizeof(*set->entries));
	if (!entries)
		return -ENOMEM;
	set->entries = entries;
	for (size_t i = 0; i < n; i++) {
		link = fw_ifaces_at(links, i);
		if (declared(set, n_declared, link->ifindex))
			continue;
		value = carrier(set, n_declared, links, link);
		if (value)
			add_entry(set, link->ifindex, 0, value);
	}
	return 0;
}

/*
 * XDP of a bond runs on its slaves and is told of them alone: they have the
 * entries of the bond, also those of its VLAN devices, unless declared.
 */
static int plan_slaves(const struct fw_ifaces *links, struct fw_cover_set *set)
{
	size_t n_before = set->n_entries, n = 0;
	const struct fw_link *link;
	void *entries;

	for (size_t i = 0; (link = fw_ifaces_at(links, i)); i++)
		n += link->bond != 0;
	entries = reallocarray(set->entries, n_before * (n + 1) + 1,
			       sizeof(*set->entries));
	if (!entries)
		return -ENOMEM;
	set->entries = entries;
	for (size_t i = 0; (link = fw_ifaces_at(links, i)); i++) {
		if (!link->bond || declared(set, n_before, link->ifindex))
			continue;
		for (size_t e = 0; e < n_before; e++) {
			const struct fw_iface_entry of_bond = set->entries[e];

			/* a VLAN device of the slave's own may be declared */
			if (of_bond.key.ifindex != link->bond ||
			    find(set, n_before, link->ifindex,
				 of_bond.key.vlan))
				continue;
			add_entry(set, link->ifindex, of_bond.key.vlan,
				  &of_bond.value);
		}
	}
	return 0;
}

/* The lowest device below a VLAN device. */
static uint32_t base_of(const struct fw_ifaces *links,
			const struct fw_link *link)
{
	uint32_t base = 0;

	for (int depth = 0; link && link->parent && depth < MAX_VLANS;
	     depth++) {
		base = link->parent;
		link = fw_ifaces_by_index(links, base);
	}
	return base;
}

/* Whether it is a bond that has declared slaves. */
static bool has_slaves(const struct fw_cover_set *set, size_t n_declared,
		       const struct fw_ifaces *links, uint32_t bond)
{
	const struct fw_link *link;

	for (size_t i = 0; (link = fw_ifaces_at(links, i)); i++) {
		if (link->bond == bond &&
		    declared(set, n_declared, link->ifindex))
			return true;
	}
	return false;
}

/*
 * Routes name a bond, or a VLAN device on it, never a slave: where strict `antispoof`
 * asks, the table says which bond a declared slave is of, and what is on that.
 */
static int plan_routes(const struct fw_ifaces *links, struct fw_cover_set *set)
{
	size_t n_before = set->n_entries, n = 0;
	const struct fw_link *link;
	struct fw_iface bond = { 0 };
	void *entries;

	while (fw_ifaces_at(links, n))
		n++;
	entries = reallocarray(set->entries, n_before + 2 * n + 1,
			       sizeof(*set->entries));
	if (!entries)
		return -ENOMEM;
	set->entries = entries;
	for (size_t i = 0; i < n; i++) {
		link = fw_ifaces_at(links, i);
		bond.ifindex = link->bond;
		if (bond.ifindex && declared(set, n_before, link->ifindex))
			add_entry(set, link->ifindex, FW_VLAN_BOND, &bond);
		bond.ifindex = base_of(links, link);
		if (bond.ifindex &&
		    has_slaves(set, n_before, links, bond.ifindex))
			add_entry(set, link->ifindex, FW_VLAN_BELOW, &bond);
	}
	return 0;
}

/*
 * Two VLAN devices of one parent may have one number, and differ in the protocol of
 * their tags, which the programs do not look at. At the parent their packets are in
 * the zones that both are in.
 */
static bool merge_equal(struct fw_cover_set *set)
{
	struct fw_iface_entry *last;
	size_t n_before = set->n_entries;

	set->n_entries = n_before > 0;
	for (size_t i = 1; i < n_before; i++) {
		last = &set->entries[set->n_entries - 1];
		if (compare_entries(last, &set->entries[i]) == 0) {
			last->value.zones &= set->entries[i].value.zones;
			last->value.flags = 0;
		} else {
			set->entries[set->n_entries++] = set->entries[i];
		}
	}
	return set->n_entries != n_before;
}

static const struct fw_apply_iface *find_iface(const struct fw_cover_set *set,
					       uint32_t ifindex)
{
	for (size_t i = 0; i < set->n; i++) {
		if (set->ifaces[i].ifindex == ifindex)
			return &set->ifaces[i];
	}
	return NULL;
}

/* The declared interface whose XDP sees what comes in by a device; NULL: none. */
static const struct fw_apply_iface *with_xdp(const struct fw_cover_set *set,
					     const struct fw_link *link)
{
	const struct fw_apply_iface *iface = find_iface(set, link->ifindex);

	return iface || !link->bond ? iface : find_iface(set, link->bond);
}

/* What XDP may forward has no other tags: one of those would pass for it. */
static bool is_8021q(const struct fw_link *link)
{
	return link->vlan && link->vlan_proto == htons(ETH_P_8021Q);
}

/* Tags are seen by the programs of the device below, so it is the one that counts. */
static void plan_offload(const struct fw_cover *cover,
			 const struct fw_ifaces *links,
			 struct fw_cover_set *set)
{
	const struct fw_apply_iface *iface;
	const struct fw_link *link, *tagged;

	for (size_t i = 0; i < set->n_entries; i++) {
		struct fw_iface_entry *entry = &set->entries[i];

		link = fw_ifaces_by_index(links, entry->key.ifindex);
		tagged = fw_ifaces_by_index(links, entry->value.ifindex);
		iface = link ? with_xdp(set, link) : NULL;
		if (entry->key.vlan && (!tagged || !is_8021q(tagged)))
			continue;
		if (iface)
			entry->value.flags |= fw_offload_flags(
				cover->offload, link, iface->wanted);
	}
}

static void plan_ipsec(const struct fw_ifaces *links, struct fw_cover_set *set)
{
	const struct fw_link *link;

	for (size_t i = 0; i < set->n_entries; i++) {
		struct fw_iface_entry *entry = &set->entries[i];

		link = fw_ifaces_by_index(links, entry->value.ifindex);
		if (link && link->is_ipsec)
			entry->value.flags |= FW_IFACE_IPSEC;
	}
}

static void plan_steer(const struct fw_ifaces *links, struct fw_cover_set *set)
{
	const struct fw_apply_iface *iface;
	const struct fw_link *link;

	for (size_t i = 0; i < set->n_entries; i++) {
		struct fw_iface_entry *entry = &set->entries[i];

		link = fw_ifaces_by_index(links, entry->key.ifindex);
		iface = link && !entry->key.vlan ? with_xdp(set, link) : NULL;
		if (iface)
			entry->value.flags |=
				fw_steer_flags(links, link, iface->wanted);
	}
}

static void warn_once(bool *is_said, bool is_so, const char *what)
{
	if (is_so && !*is_said)
		log_warning("%s", what);
	*is_said = is_so;
}

/* Those that the rules name come first, and stay. */
static void cut_entries(struct fw_cover *cover, struct fw_cover_set *set)
{
	bool is_full = set->n_entries > FW_MAX_IFACES;

	if (is_full)
		set->n_entries = FW_MAX_IFACES;
	warn_once(
		&cover->is_full, is_full,
		"too many interfaces: VLAN devices that no rule names, or slaves, are left out");
}

static int plan(struct fw_cover *cover, const struct fw_ifaces *links,
		const struct fw_program *program, bool is_running,
		struct fw_cover_set *set)
{
	size_t n = count_members(program);
	_cleanup_free_ uint64_t *zones = NULL;
	const struct fw_link *link;

	zones = calloc(n + 1, sizeof(*zones));
	set->ifaces = calloc(n + 1, sizeof(*set->ifaces));
	set->entries = calloc(2 * n + 1, sizeof(*set->entries));
	if (!zones || !set->ifaces || !set->entries)
		return -ENOMEM;

	list_ifaces(program, set, zones);
	for (size_t i = 0; i < set->n; i++) {
		link = fw_ifaces_by_name(links, set->ifaces[i].name);
		if (link) {
			plan_iface(cover, link, zones[i], &set->ifaces[i], set);
			continue;
		}
		set->ifaces[i].error = strdup("does not exist (yet)");
		if (!set->ifaces[i].error)
			return -ENOMEM;
	}
	if (program->antispoof_strict && plan_routes(links, set) < 0)
		return -ENOMEM;
	if (plan_carried(links, set) < 0 || plan_slaves(links, set) < 0)
		return -ENOMEM;
	plan_ipsec(links, set);
	if (program->options & FW_OPT_OFFLOAD)
		plan_offload(cover, links, set);
	if (program->options & FW_OPT_ESP_STEER)
		plan_steer(links, set);
	if (is_running)
		cut_entries(cover, set);
	qsort(set->entries, set->n_entries, sizeof(*set->entries),
	      compare_entries);
	warn_once(
		&cover->is_mixed, merge_equal(set),
		"two declared VLAN devices of one parent have the same number: there, their packets are only in zones that have both");
	return set->n_entries > FW_MAX_IFACES ? -E2BIG : 0;
}

int fw_cover_plan(struct fw_cover *cover, const struct fw_ifaces *links,
		  const struct fw_program *program, uint32_t gen,
		  struct fw_cover_set *ret, char **reterr)
{
	struct fw_cover_set set = { .gen = gen };
	int r;

	r = plan(cover, links, program, !reterr, &set);
	if (r < 0) {
		if (r == -E2BIG) {
			fw_errorf(
				reterr,
				"too many interfaces: %zu entries, at most %d",
				set.n_entries, FW_MAX_IFACES);
		}
		fw_cover_set_done(&set);
		return r;
	}
	*ret = set;
	return 0;
}

/* ---- attaching ------------------------------------------------------------------- */

static void set_error(struct fw_apply_iface *iface, char *error)
{
	free((char *)(uintptr_t)iface->error);
	iface->error = error;
}

static int attach_one(const struct fw_cover *cover,
		      struct fw_apply_iface *iface, char **reterr)
{
	struct fw_attachment attachment;
	int r;

	r = fw_datapath_attach(cover->dp, iface->ifindex, iface->wanted,
			       &attachment, reterr);
	if (r == 0) {
		iface->mode = attachment.mode;
		iface->tcx = attachment.tcx;
		set_error(iface, NULL);
	}
	return r;
}

/*
 * XDP on a device can be in the way of XDP on another one, below it. What the
 * set does not want there goes first; TC stays, and judges until it is trimmed.
 */
static void leave_xdp(const struct fw_cover *cover,
		      const struct fw_cover_set *set)
{
	const struct fw_attachment *list;
	const struct fw_apply_iface *iface;
	char *error = NULL;
	size_t n;

	list = fw_datapath_attachments(cover->dp, &n);
	for (size_t i = 0; i < n; i++) {
		iface = find_iface(set, list[i].ifindex);
		if (list[i].mode == FW_MODE_TC ||
		    (iface && iface->wanted != FW_MODE_TC))
			continue;
		/* It may be gone; and what is left is detached in the end. */
		(void)fw_datapath_attach(cover->dp, list[i].ifindex, FW_MODE_TC,
					 NULL, &error);
		free(take_ptr(error));
	}
}

int fw_cover_attach(const struct fw_cover *cover, struct fw_cover_set *set,
		    struct fw_span *ret_at, char **reterr)
{
	char *error;
	int r;

	leave_xdp(cover, set);
	for (size_t i = 0; i < set->n; i++) {
		struct fw_apply_iface *iface = &set->ifaces[i];

		if (iface->ifindex == 0)
			continue;
		error = NULL;
		r = attach_one(cover, iface, &error);
		if (r == 0)
			continue;
		/* It went between looking and attaching: rtnetlink will say. */
		if (r == -ENODEV || !reterr) {
			set_error(iface, error);
			continue;
		}
		fw_errorf(reterr, "%s", error ? error : strerror(-r));
		free(error);
		*ret_at = iface->at;
		return r;
	}
	return 0;
}

void fw_cover_trim(struct fw_cover *cover, const struct fw_cover_set *set)
{
	const struct fw_attachment *list;
	size_t n;

	list = fw_datapath_attachments(cover->dp, &n);
	/* Backwards: the last one takes the place of one that is removed. */
	for (size_t i = n; i-- > 0;) {
		if (!find_iface(set, list[i].ifindex))
			(void)fw_datapath_detach(cover->dp, list[i].ifindex);
	}
	for (uint32_t slot = 1; slot < FW_MAX_IFSLOTS; slot++) {
		if (cover->owner[slot] && !find_iface(set, cover->owner[slot]))
			cover->owner[slot] = 0;
	}
	tell_slots(cover);
}

void fw_cover_gone(struct fw_cover *cover, uint32_t ifindex)
{
	(void)fw_datapath_detach(cover->dp, ifindex);
	for (uint32_t slot = 1; slot < FW_MAX_IFSLOTS; slot++) {
		if (cover->owner[slot] == ifindex)
			cover->owner[slot] = 0;
	}
	tell_slots(cover);
}

/* ---- birth and death ---------------------------------------------------------------- */

int fw_cover_new(struct fw_datapath *dp, struct fw_hosttab *tables,
		 const struct fw_offload *offload, struct fw_cover **ret)
{
	struct fw_cover *cover;

	cover = calloc(1, sizeof(*cover));
	if (!cover)
		return -ENOMEM;
	cover->dp = dp;
	cover->tables = tables;
	cover->offload = offload;
	*ret = cover;
	return 0;
}

void fw_cover_free(struct fw_cover *cover)
{
	free(cover);
}

void fw_cover_set_done(struct fw_cover_set *set)
{
	for (size_t i = 0; i < set->n; i++)
		set_error(&set->ifaces[i], NULL);
	free(set->ifaces);
	free(set->entries);
	*set = (struct fw_cover_set){ 0 };
}
