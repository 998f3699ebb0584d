/* SPDX-License-Identifier: GPL-2.0-only */

/* Messages of the compiler as JSON, for people's programs and between ours. */
#include "user/messages.h"

#include <errno.h>
#include <string.h>

#include "user/proto.h"
#include "user/util.h"

static const char *const severities[] = {
	[FW_SEVERITY_ERROR] = "error",
	[FW_SEVERITY_WARNING] = "warning",
	[FW_SEVERITY_NOTE] = "note",
};

static json_t *message_json(const struct fw_message *message)
{
	return json_pack(
		"{s:s, s:o, s:I, s:I, s:I, s:o, s:o}", "severity",
		severities[message->severity], "file",
		fw_json_text(message->file), "line", (json_int_t)message->line,
		"column", (json_int_t)message->column, "length",
		(json_int_t)message->length, "text",
		fw_json_text(message->text), "hint",
		message->hint ? fw_json_text(message->hint) : json_null());
}

json_t *fw_messages_json(const struct fw_diag *diag)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < diag->n; i++) {
		(void)json_array_append_new(list,
					    message_json(&diag->messages[i]));
	}
	return list;
}

/* ---- between a daemon and a client ---------------------------------------------- */

static json_t *packed_text(const char *text)
{
	return text ? fw_json_bytes(text, strlen(text)) : json_null();
}

static json_t *pack_message(const struct fw_message *message)
{
	return json_pack(
		"{s:I, s:o, s:I, s:I, s:I, s:o, s:o, s:I, s:o}", "severity",
		(json_int_t)message->severity, "file",
		packed_text(message->file), "line", (json_int_t)message->line,
		"column", (json_int_t)message->column, "length",
		(json_int_t)message->length, "text", packed_text(message->text),
		"source", packed_text(message->source), "caret",
		(json_int_t)message->caret, "hint", packed_text(message->hint));
}

json_t *fw_messages_pack(const struct fw_diag *diag)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < diag->n; i++) {
		(void)json_array_append_new(list,
					    pack_message(&diag->messages[i]));
	}
	return json_pack("{s:I, s:I, s:b, s:o}", "errors",
			 (json_int_t)diag->errors, "warnings",
			 (json_int_t)diag->warnings, "truncated",
			 diag->truncated, "list", list);
}

/* A string into *ret; what is not there stays NULL. */
static int take_text(const json_t *json, const char *key, char **ret)
{
	const json_t *text = json_object_get(json, key);
	size_t len;

	return json_is_null(text) ? 0 : fw_json_bytes_get(text, ret, &len);
}

static int take_number(const json_t *json, const char *key, uint32_t *ret)
{
	const json_t *number = json_object_get(json, key);
	json_int_t value = json_integer_value(number);

	if (!json_is_integer(number) || value < 0 || value > UINT32_MAX)
		return -EBADMSG;
	*ret = (uint32_t)value;
	return 0;
}

static int take_message(const json_t *json, struct fw_message *ret)
{
	uint32_t severity = FW_SEVERITY_NOTE + 1;
	int r;

	r = take_number(json, "severity", &severity);
	if (r == 0)
		r = take_number(json, "line", &ret->line);
	if (r == 0)
		r = take_number(json, "column", &ret->column);
	if (r == 0)
		r = take_number(json, "length", &ret->length);
	if (r == 0)
		r = take_number(json, "caret", &ret->caret);
	if (r == 0)
		r = take_text(json, "file", &ret->file);
	if (r == 0)
		r = take_text(json, "text", &ret->text);
	if (r == 0)
		r = take_text(json, "source", &ret->source);
	if (r == 0)
		r = take_text(json, "hint", &ret->hint);
	if (r == 0 && (severity > FW_SEVERITY_NOTE || !ret->file ||
		       !ret->text || !ret->source))
		r = -EBADMSG;
	if (r == 0)
		ret->severity = (enum fw_severity)severity;
	return r;
}

int fw_messages_take(const json_t *json, struct fw_diag *ret)
{
	const json_t *list = json_object_get(json, "list");
	size_t n = json_array_size(list);
	uint32_t errors, warnings;
	int r;

	r = take_number(json, "errors", &errors);
	if (r == 0)
		r = take_number(json, "warnings", &warnings);
	if (r < 0 || !json_is_array(list))
		return -EBADMSG;
	ret->messages = calloc(n + 1, sizeof(*ret->messages));
	if (!ret->messages)
		return -ENOMEM;
	ret->errors = errors;
	ret->warnings = warnings;
	ret->truncated = json_is_true(json_object_get(json, "truncated"));
	while (ret->n < n && r == 0) {
		const json_t *message = json_array_get(list, ret->n);

		r = take_message(message, &ret->messages[ret->n++]);
	}
	return r;
}

static const char *given_name(const struct fw_alias *aliases, size_t n,
			      const char *sent)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(aliases[i].sent, sent) == 0)
			return aliases[i].given;
	}
	return sent;
}

void fw_messages_rename(struct fw_diag *diag, const struct fw_alias *aliases,
			size_t n)
{
	for (size_t i = 0; i < diag->n; i++) {
		struct fw_message *message = &diag->messages[i];
		char *copy = strdup(given_name(aliases, n, message->file));

		if (!copy)
			return;
		free(message->file);
		message->file = copy;
	}
}
