/* SPDX-License-Identifier: GPL-2.0-only */

/* A string that grows. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Zeroed is empty. After a failure nothing is added any more. */
struct fw_str {
	char *s; /* NULL while nothing was added */
	size_t n;
	size_t capacity;
	bool is_broken; /* memory ran out */
};

/** @brief As fw_str_add(), also if there is no room yet. */
void fw_str_grow(struct fw_str *str, const char *s, size_t n);

static inline void fw_str_add(struct fw_str *str, const char *s, size_t n)
{
	if (str->is_broken || str->capacity - str->n <= n) {
		fw_str_grow(str, s, n);
		return;
	}
	memcpy(str->s + str->n, s, n);
	str->n += n;
	str->s[str->n] = '\0';
}

static inline void fw_str_puts(struct fw_str *str, const char *s)
{
	fw_str_add(str, s, strlen(s));
}

void fw_str_put_number(struct fw_str *str, uint64_t n);
void fw_str_addf(struct fw_str *str, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/** @brief Put a text in at a place below `n`. */
void fw_str_insert(struct fw_str *str, size_t at, const char *s, size_t n);

/** @brief Forget the text, keep the memory. */
void fw_str_clear(struct fw_str *str);

/** @brief The text, owned by the caller, or NULL if memory ran out. */
char *fw_str_take(struct fw_str *str);

void fw_str_done(struct fw_str *str);
