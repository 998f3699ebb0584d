/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Capabilities.
 *
 * Loading may need more than running: CAP_SYS_ADMIN to mount bpffs and to reach
 * the kfuncs of nf_conntrack where that is a module. It is put aside, as rules
 * may outgrow the programs (fw_datapath_grow()).
 */
#include "user/privileges.h"

#include <cap-ng.h>
#include <errno.h>

int fw_privileges_drop(bool for_good)
{
	capng_type_t sets = CAPNG_EFFECTIVE;
	capng_select_t select = CAPNG_SELECT_CAPS;

	if (capng_get_caps_process() < 0)
		return -EPERM;
	if (for_good) {
		sets |= CAPNG_PERMITTED;
		/* Needs CAP_SETPCAP, which a container may not have. */
		if (capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP)) {
			sets |= CAPNG_BOUNDING_SET;
			select = CAPNG_SELECT_BOTH;
		}
	}
	for (unsigned int cap = 0; cap <= (unsigned int)CAP_LAST_CAP; cap++) {
		bool is_kept = cap == CAP_NET_ADMIN || cap == CAP_BPF ||
			       cap == CAP_PERFMON;
		capng_type_t from =
			cap == CAP_SYS_ADMIN ? CAPNG_EFFECTIVE : sets;

		if (!is_kept && capng_update(CAPNG_DROP, from, cap) < 0)
			return -EINVAL;
	}
	return capng_apply(select) < 0 ? -EPERM : 0;
}

int fw_privileges_raise(void)
{
	if (capng_get_caps_process() < 0)
		return -EPERM;
	for (unsigned int cap = 0; cap <= (unsigned int)CAP_LAST_CAP; cap++) {
		if (!capng_have_capability(CAPNG_PERMITTED, cap))
			continue;
		if (capng_update(CAPNG_ADD, CAPNG_EFFECTIVE, cap) < 0)
			return -EINVAL;
	}
	return capng_apply(CAPNG_SELECT_CAPS) < 0 ? -EPERM : 0;
}

bool fw_privileges_raised(void)
{
	return capng_get_caps_process() == 0 &&
	       capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_ADMIN);
}
