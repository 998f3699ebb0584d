/* SPDX-License-Identifier: GPL-2.0-only */

/* Refusals that are about places in what a request brought along. */
#pragma once

#include "rules/rules.h"
#include "user/control.h"

/**
 * @brief The first error as one line of text, malloc()ed; NULL: there is none.
 */
char *fw_first_error(const struct fw_diag *diag);

/**
 * @brief Refuse a request for what stands in its texts.
 *
 * The client gets all messages, other readers at least the first error.
 *
 * @param diag  with one error at least, which is its first message
 */
void fw_refuse_texts(struct fw_request *request, enum fw_exit status,
		     const struct fw_diag *diag);
