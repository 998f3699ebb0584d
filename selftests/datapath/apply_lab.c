/* SPDX-License-Identifier: GPL-2.0-only */

/* What the tests of rule sets look at: entries and tables of interfaces. */
#include "selftests/datapath/apply_lab.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "user/hosttab.h"
#include "user/util.h"

int clean_up(void **state)
{
	(void)state;
	(void)system(
		"for d in dpa dpc dpd dpe dpx; do ip link del $d; done 2>/dev/null;"
		"rm -rf /sys/fs/bpf/fwctl");
	return 0;
}

const struct fw_apply_iface *iface(const struct daemon *d, const char *name)
{
	static const struct fw_apply_iface none;
	const struct fw_apply_iface *list;
	size_t n;

	list = fw_apply_ifaces(d->apply, &n);
	for (size_t i = 0; i < n; i++) {
		if (strcmp(list[i].name, name) == 0)
			return &list[i];
	}
	fail_msg("interface '%s' is not declared", name);
	return &none;
}

struct fw_hosttab *open_tables(const struct daemon *d)
{
	int fd = fw_datapath_map(d->dp, FW_MAP_HOST);
	struct fw_hosttab *tables;

	assert_int_equal(fw_hosttab_open(fd, &tables), 0);
	return tables;
}

/* The entries of a generation; how many. */
static size_t get_entries(const struct daemon *d, uint32_t gen,
			  struct fw_iface_entry **ret)
{
	struct fw_hosttab *tables = open_tables(d);
	size_t n = 0;
	int r;

	*ret = NULL;
	r = fw_hosttab_get_ifaces(tables, gen, ret, &n);
	assert_true(r == 0 || r == -ENOENT);
	fw_hosttab_free(tables);
	return n;
}

size_t count_entries(const struct daemon *d)
{
	_cleanup_free_ struct fw_iface_entry *entries = NULL;

	return get_entries(d, fw_apply_gen(d->apply), &entries);
}

bool find_entry(const struct daemon *d, const char *name, uint16_t vlan,
		struct fw_iface *ret)
{
	_cleanup_free_ struct fw_iface_entry *entries = NULL;
	uint32_t ifindex = index_of(name);
	size_t n = get_entries(d, fw_apply_gen(d->apply), &entries);

	for (size_t i = 0; i < n; i++) {
		if (entries[i].key.ifindex != ifindex ||
		    entries[i].key.vlan != vlan)
			continue;
		*ret = entries[i].value;
		return true;
	}
	return false;
}

bool dpc_is_covered(void *data)
{
	const struct daemon *d = data;
	const struct fw_apply_iface *dpc = iface(d, "dpc");

	return dpc->ifindex && dpc->ifindex == index_of("dpc") && !dpc->error;
}
