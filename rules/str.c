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

void fw_str_add(struct fw_str *str, const char *s, size_t n)
{
	if (!reserve(str, n))
		return;
	memcpy(str->s + str->n, s, n);
	str->n += n;
	str->s[str->n] = '\0';
}

void fw_str_puts(struct fw_str *str, const char *s)
{
	fw_str_add(str, s, strlen(s));
}

void fw_str_addf(struct fw_str *str, const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list args;
	int n;

	va_start(args, format);
	n = vasprintf(&text, format, args);
	va_end(args);
	if (n >= 0) {
		fw_str_add(str, text, (size_t)n);
	} else {
		text = NULL;
		str->is_broken = true;
	}
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
