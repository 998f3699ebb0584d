/* SPDX-License-Identifier: GPL-2.0-only */

/* Bytes as text (RFC 4648 section 4, with padding): packets in JSON. */
#pragma once

#include <stddef.h>

/**
 * @brief Encode.
 *
 * @param ret_len  of the text
 * @return the text with a NUL behind it, malloc()ed; NULL without memory
 */
char *fw_base64_encode(const void *data, size_t len, size_t *ret_len);

/**
 * @brief Decode.
 *
 * @param ret_data  malloc()ed
 * @return 0, -EBADMSG if it is not what fw_base64_encode() makes, or -ENOMEM
 */
int fw_base64_decode(const char *text, size_t len, void **ret_data,
		     size_t *ret_len);
