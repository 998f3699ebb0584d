/* SPDX-License-Identifier: GPL-2.0-only */

/* The programs for netfilter's hooks: loaded late, pinned, given up; see nfprogs.h. */
#include "user/nfprogs.h"

#include <unistd.h>

#include "user/pins.h"
#include "user/privileges.h"
#include "user/progs.h"
#include "user/util.h"

void fw_nfprogs_init(int progs[FW_LOCAL_MAX])
{
	for (int i = 0; i < FW_LOCAL_MAX; i++)
		progs[i] = -1;
}

bool fw_nfprogs_exist(const int progs[FW_LOCAL_MAX])
{
	return progs[FW_LOCAL_IN] >= 0 && progs[FW_LOCAL_OUT] >= 0;
}

int fw_nfprogs_load(const struct fw_datapath_size *size,
		    const int maps[FW_MAP_MAX], int ret[FW_LOCAL_MAX],
		    char **reterr)
{
	bool had = fw_privileges_raised();
	int r;

	/* If it does not suffice, the kernel says so, and reterr what for. */
	if (!had)
		(void)fw_privileges_raise();
	r = fw_progs_load_local(size, maps, ret, reterr);
	if (!had)
		(void)fw_privileges_drop(false);
	return r;
}

int fw_nfprogs_pin(const int progs[FW_LOCAL_MAX], const char *pin_dir)
{
	int r = 0;

	for (int i = 0; i < FW_LOCAL_MAX && r == 0; i++) {
		r = fw_pin_make(progs[i], pin_dir, "progs",
				fw_progs_local_name((enum fw_local)i));
	}
	if (r < 0)
		fw_nfprogs_unpin(pin_dir);
	return r;
}

void fw_nfprogs_unpin(const char *pin_dir)
{
	struct fw_pin_path path;

	for (int i = 0; i < FW_LOCAL_MAX; i++) {
		path = fw_pin_path(pin_dir, "/progs/%s",
				   fw_progs_local_name((enum fw_local)i));
		(void)unlink(path.text);
	}
}

void fw_nfprogs_close(int progs[FW_LOCAL_MAX])
{
	for (int i = 0; i < FW_LOCAL_MAX; i++)
		fw_closep(&progs[i]);
	fw_nfprogs_init(progs);
}
