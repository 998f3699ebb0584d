/* SPDX-License-Identifier: GPL-2.0-only */

/* Paths below a pin directory, and what can be done with the pins there. */
#include "user/pins.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <bpf/bpf.h>

struct fw_pin_path fw_pin_path(const char *pin_dir, const char *format, ...)
{
	struct fw_pin_path path;
	va_list args;
	int n;

	n = snprintf(path.text, sizeof(path.text), "%s/" FW_PIN_LAYOUT,
		     pin_dir);
	if (n > 0 && (size_t)n < sizeof(path.text)) {
		va_start(args, format);
		(void)vsnprintf(path.text + n, sizeof(path.text) - (size_t)n,
				format, args);
		va_end(args);
	}
	return path;
}

int fw_pin_make(int fd, const char *pin_dir, const char *kind, const char *name)
{
	struct fw_pin_path path = fw_pin_path(pin_dir, "/%s/%s", kind, name);

	return bpf_obj_pin(fd, path.text);
}

int fw_pin_remove_dir(const char *path)
{
	const struct dirent *entry;
	DIR *dir;

	dir = opendir(path);
	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] != '.')
			(void)unlinkat(dirfd(dir), entry->d_name, 0);
	}
	(void)closedir(dir);
	return rmdir(path) < 0 ? -errno : 0;
}
