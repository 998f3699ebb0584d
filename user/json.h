/* SPDX-License-Identifier: GPL-2.0-only */

/* Reading members of a JSON object, with something to print if they are missing. */
#pragma once

#include <jansson.h>

static inline const char *
fw_json_get_text(const json_t *object, const char *key, const char *fallback)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : fallback;
}

static inline long long fw_json_get(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}
