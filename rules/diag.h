/* SPDX-License-Identifier: GPL-2.0-only */

/* Recording what is wrong with a rule file, with its place. */
#pragma once

#include "source.h"

/* A word that may have been meant. */
struct fw_nearest {
	const char *word; /* what stands in the file; not NUL-terminated */
	size_t len;
	const char *best; /* NULL: nothing is near; borrowed from the caller */
	size_t best_len;
	unsigned int distance;
};

/* Where messages go, and the texts that they quote. */
struct fw_reporter {
	struct fw_diag *diag;
	const struct fw_sources *sources;
	bool is_muted;	/* the last message was not recorded, nor is its hint */
	bool is_broken; /* memory ran out */
	bool is_urgent; /* warnings are recorded however many there are */
};

void fw_report_error(struct fw_reporter *rep, struct fw_span at,
		     const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void fw_report_warning(struct fw_reporter *rep, struct fw_span at,
		       const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/** @brief Add a note to the message before it. */
void fw_report_note(struct fw_reporter *rep, struct fw_span at,
		    const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/** @brief Say what would be right; belongs to the message before it. */
void fw_report_hint(struct fw_reporter *rep, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/** @brief Sort the messages by place; notes stay with what they belong to. */
void fw_report_sort(struct fw_reporter *rep);

/** @brief Are there so many errors that nobody would read another one? */
bool fw_report_is_full(const struct fw_reporter *rep);

/* For "%.*s" with the text of a span, cut so that a message stays one line. */
#define FW_QUOTE_MAX 40
#define FW_QUOTE(rep, at)                                         \
	(int)((at).len < FW_QUOTE_MAX ? (at).len : FW_QUOTE_MAX), \
		fw_span_text((rep)->sources, at)

/** @brief Start a search for the word that may have been meant. */
struct fw_nearest fw_nearest_to(const char *word, size_t len);

/** @brief Offer a candidate, which must stay valid while `best` is used. */
void fw_nearest_try(struct fw_nearest *nearest, const char *word, size_t len);

/** @brief Offer a NUL-terminated candidate. */
void fw_nearest_try_word(struct fw_nearest *nearest, const char *word);

/** @brief Hint "did you mean ...?" with `prefix` before the word, if any is near. */
bool fw_report_nearest(struct fw_reporter *rep,
		       const struct fw_nearest *nearest, const char *prefix);

/**
 * @brief Edits that turn one word into the other: insert, delete, replace, swap
 *        neighbours.
 *
 * @return the number of edits, or `limit` + 1 if it is above `limit`
 */
unsigned int fw_edit_distance(const char *a, size_t a_len, const char *b,
			      size_t b_len, unsigned int limit);

/** @brief First byte that is not UTF-8 or is a control character, or -1. */
int64_t fw_text_find_binary(const char *s, size_t len);
