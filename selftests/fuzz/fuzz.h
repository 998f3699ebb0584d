/* SPDX-License-Identifier: GPL-2.0-only */

/* What the fuzz targets share: the entry point, and how an input is cut into parts. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** @brief A target: any bytes, which must neither crash nor break what must hold. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold; says what did not, and lets the sanitizer show who asked. */
static inline void fuzz_must(bool is_true, const char *what, int line)
{
	if (is_true)
		return;
	(void)fprintf(stderr, "line %d: must(%s)\n", line, what);
	abort();
}

#define must(x) fuzz_must(x, #x, __LINE__)

/* What is left of an input. */
struct fuzz_input {
	const uint8_t *at;
	size_t left;
};

/** @brief The next byte; 0 at the end. */
static inline uint8_t fuzz_byte(struct fuzz_input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->at++;
}

/**
 * @brief The next part: two bytes of length, low one first, and so many bytes.
 *
 * A copy of just this size, so that the sanitizer sees who reads behind it.
 *
 * @param ret_len  at most what is left
 * @return to be freed, with nothing behind it; aligned for any type
 */
static inline uint8_t *fuzz_part(struct fuzz_input *in, size_t *ret_len)
{
	size_t len = fuzz_byte(in);
	uint8_t *copy;

	len |= (size_t)fuzz_byte(in) << 8;
	if (len > in->left)
		len = in->left;
	copy = malloc(len);
	must(copy || !len);
	if (len)
		memcpy(copy, in->at, len);
	in->at += len;
	in->left -= len;
	*ret_len = len;
	return copy;
}

/** @brief All that is left as a text, to be freed; it ends at its first NUL. */
static inline char *fuzz_text(struct fuzz_input *in)
{
	char *text = strndup((const char *)in->at, in->left);

	must(text);
	in->left = 0;
	return text;
}
