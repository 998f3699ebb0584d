/* SPDX-License-Identifier: GPL-2.0-only */

/* Messages of the compiler as JSON, for people's programs and between ours. */
#pragma once

#include <jansson.h>

#include "rules/rules.h"

/** @brief The list of messages that `--json` prints. */
json_t *fw_messages_json(const struct fw_diag *diag);

/** @brief All that fw_diag_print() needs, for fw_messages_take(). */
json_t *fw_messages_pack(const struct fw_diag *diag);

/**
 * @brief The way back.
 *
 * @param json  whatever a daemon sent; checked
 * @param ret   zeroed by the caller; freed by fw_diag_done(), also on failure
 * @return 0, -EBADMSG, or -ENOMEM
 */
int fw_messages_take(const json_t *json, struct fw_diag *ret);

/* A file by the name that a daemon was told, and by the one that the user gave. */
struct fw_alias {
	char *sent;
	char *given;
};

/** @brief Call files as the user does; without memory some keep their names. */
void fw_messages_rename(struct fw_diag *diag, const struct fw_alias *aliases,
			size_t n);
