/* SPDX-License-Identifier: GPL-2.0-only */

/* Paths below a pin directory, and what can be done with the pins there. */
#pragma once

#include <limits.h>

struct fw_pin_path {
	char text[PATH_MAX];
};

/*
 * Of the names below it, not of what is pinned there: one daemon has to find the
 * programs of another version, to refuse or to remove them.
 */
#define FW_PIN_LAYOUT "v1"

/** @brief A path below <pin_dir>/v1; cut off if it is too long. */
struct fw_pin_path fw_pin_path(const char *pin_dir, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/** @brief Pin an object as <pin_dir>/v1/<kind>/<name>; 0 or negative errno. */
int fw_pin_make(int fd, const char *pin_dir, const char *kind,
		const char *name);

/**
 * @brief Remove a directory with the pins in it; a missing one is fine.
 *
 * @return 0 or a negative errno, if something is left
 */
int fw_pin_remove_dir(const char *path);
