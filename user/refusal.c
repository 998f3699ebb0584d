/* SPDX-License-Identifier: GPL-2.0-only */

/* Refusals that are about places in what a request brought along. */
#include "user/refusal.h"

#include "user/messages.h"
#include "user/util.h"

char *fw_first_error(const struct fw_diag *diag)
{
	char *text = NULL;

	for (size_t i = 0; i < diag->n && !text; i++) {
		const struct fw_message *message = &diag->messages[i];

		if (message->severity != FW_SEVERITY_ERROR)
			continue;
		fw_errorf(&text, "%s:%u:%u: error: %s", message->file,
			  message->line, message->column, message->text);
	}
	return text;
}

void fw_refuse_texts(struct fw_request *request, enum fw_exit status,
		     const struct fw_diag *diag)
{
	_cleanup_free_ char *text = fw_first_error(diag);

	fw_reply_refusal(
		request, status, text ? text : "what was sent is wrong",
		json_pack("{s:o}", "messages", fw_messages_pack(diag)));
}
