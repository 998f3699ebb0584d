/* SPDX-License-Identifier: GPL-2.0-only */

/* How long flows live: what the system says, and what is in force. */
#include "user/timeouts.h"

#include <stdio.h>

#include "user/proto.h"
#include "user/util.h"

#define SYSCTLS "/proc/sys/net/netfilter/"

void fw_timeouts_read(uint32_t ret[FW_TIMEOUT_MAX])
{
	for (int i = 0; i < FW_TIMEOUT_MAX; i++) {
		uint64_t seconds = 0;
		char path[96];

		(void)snprintf(path, sizeof(path), SYSCTLS "%s",
			       fw_timeout_sysctl((enum fw_timeout)i));
		ret[i] = 0;
		if (fw_read_number(path, &seconds) < 0)
			continue;
		ret[i] = seconds > UINT32_MAX ? UINT32_MAX : (uint32_t)seconds;
		if (!ret[i])
			ret[i] = 1; /* there is one, and it says: at once */
	}
}

static json_t *timeout_json(const struct fw_program *program,
			    enum fw_timeout timeout)
{
	const struct fw_timeout_from *from = &program->timeout_from[timeout];
	json_t *json;

	json = json_pack(
		"{s:s, s:I, s:s}", "timeout", fw_timeout_name(timeout),
		"seconds",
		(json_int_t)fw_timeout_seconds(&program->timeouts, timeout),
		"from",
		fw_timeout_origin_name((enum fw_timeout_origin)from->origin));
	if (!json)
		return NULL;
	if (from->origin == FW_TIMEOUT_SYSTEM)
		(void)fw_json_set(json, "sysctl",
				  json_sprintf("net.netfilter.%s",
					       fw_timeout_sysctl(timeout)));
	if (from->origin == FW_TIMEOUT_RULES) {
		(void)fw_json_set(json, "file", fw_json_text(from->file));
		(void)fw_json_set(json, "line", json_integer(from->line));
	}
	return json;
}

json_t *fw_timeouts_json(const struct fw_program *program)
{
	json_t *list = json_array();

	for (int i = 0; list && i < FW_TIMEOUT_MAX; i++) {
		(void)json_array_append_new(
			list, timeout_json(program, (enum fw_timeout)i));
	}
	return list;
}
