/* SPDX-License-Identifier: GPL-2.0-only */

/* A string that grows. */
#include "str.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

static bool reserve(struct fw_str *str, size_t more)
{
	size_t capacity = str->capacity ? str->capacity : 64;
	char *s;

	if (str->is_broken)
		return false;
	while (capacity - str->n <= more)
		capacity *= 2;
	if (capacity == str->capacity)
		return true;
	s = realloc(str->s, capacity);
	if (!s) {
		str->is_broken = true;
		return false;
	}
	str->s = s;
	str->capacity = capacity;
	return true;
}

void fw_str_grow(struct fw_str *str, const char *s, size_t n)
{
	if (!reserve(str, n))
		return;
	memcpy(str->s + str->n, s, n);
	str->n += n;
	str->s[str->n] = '\0';
}

void fw_str_put_number(struct fw_str *str, uint64_t n)
{
	char digits[20]; /* of 2^64 - 1 */
	size_t i = sizeof(digits);

	do {
		digits[--i] = (char)('0' + n % 10);
		n /= 10;
	} while (n);
	fw_str_add(str, digits + i, sizeof(digits) - i);
}

void fw_str_addf(struct fw_str *str, const char *format, ...)
{
	char text[64];
	char *longer;
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (n >= 0 && (size_t)n < sizeof(text)) {
		fw_str_add(str, text, (size_t)n);
		return;
	}
	va_start(args, format);
	n = vasprintf(&longer, format, args);
	va_end(args);
	if (n < 0) {
		str->is_broken = true;
		return;
	}
	fw_str_add(str, longer, (size_t)n);
	free(longer);
}

void fw_str_insert(struct fw_str *str, size_t at, const char *s, size_t n)
{
	if (!reserve(str, n))
		return;
	memmove(str->s + at + n, str->s + at, str->n - at + 1);
	memcpy(str->s + at, s, n);
	str->n += n;
}

void fw_str_clear(struct fw_str *str)
{
	str->n = 0;
}

char *fw_str_take(struct fw_str *str)
{
	char *s = str->s;

	if (str->is_broken) {
		fw_str_done(str);
		return NULL;
	}
	if (!s)
		s = fw_mem_dup("", 0);
	*str = (struct fw_str){ 0 };
	return s;
}

void fw_str_done(struct fw_str *str)
{
	free(str->s);
	*str = (struct fw_str){ 0 };
}
