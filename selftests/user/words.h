/* SPDX-License-Identifier: GPL-2.0-only */

/* Words of a command line, for tests of what reads them; behind cmocka.h. */
#pragma once

#include <string.h>

#define MAX_WORDS 40

/* Splits at blanks into at most MAX_WORDS; they last until the next call. */
static inline size_t split_words(const char *text, const char **words)
{
	static char copy[256];
	size_t n = 0;

	assert_true(strlen(text) < sizeof(copy));
	(void)strcpy(copy, text);
	for (char *w = strtok(copy, " "); w; w = strtok(NULL, " ")) {
		assert_true(n < MAX_WORDS);
		words[n++] = w;
	}
	return n;
}
