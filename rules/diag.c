/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Recording what is wrong with a rule file, with its place.
 *
 * Messages quote the file, and the file may be anything: what is recorded is
 * always printable UTF-8 and never longer than a few lines of a terminal.
 */
#include "diag.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "str.h"

#define MAX_WARNINGS   50
#define EXCERPT_BEFORE 80
#define EXCERPT_AFTER  80
#define ELLIPSIS       "..."

/* ---- text that is safe to print ------------------------------------------ */

/* Length of the UTF-8 character at `s`, or 0 if it is none. */
static size_t utf8_length(const unsigned char *s, size_t n)
{
	size_t i, len;
	uint32_t code;

	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xc2 && s[0] <= 0xdf) {
		len = 2;
	} else if ((s[0] & 0xf0) == 0xe0) {
		len = 3;
	} else if (s[0] >= 0xf0 && s[0] <= 0xf4) {
		len = 4;
	} else {
		return 0;
	}
	if (len > n)
		return 0;
	code = s[0] & (0xffu >> (len + 1));
	for (i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (s[i] & 0x3fu);
	}
	if ((len == 3 && code < 0x800) || (len == 4 && code < 0x10000) ||
	    code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return 0;
	return len;
}

static bool is_control(unsigned char c)
{
	return (c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f;
}

#define BLOCK 64

/* Is a block plain?  Without a branch for each byte. */
static bool is_plain(const unsigned char p[BLOCK])
{
	unsigned char other = 0;
	int i;

	for (i = 0; i < BLOCK; i++)
		other |= (p[i] >= 0x7f) | ((p[i] < 0x20) & (p[i] != '\n'));
	return !other;
}

int64_t fw_text_find_binary(const char *s, size_t len)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t i = 0;

	for (;;) {
		size_t n;

		/* Nearly everything is plain. */
		while (len - i >= BLOCK && is_plain(p + i))
			i += BLOCK;
		while (i < len && p[i] < 0x7f && (p[i] >= 0x20 || p[i] == '\n'))
			i++;
		if (i == len)
			break;
		n = is_control(p[i]) ? 0 : utf8_length(p + i, len - i);

		if (n == 0)
			return (int64_t)i;
		i += n;
	}
	return -1;
}

/* Replace what must not reach a terminal, byte by byte: places stay right. */
static void make_printable(char *s, size_t len)
{
	unsigned char *p = (unsigned char *)s;
	size_t i = 0;

	while (i < len) {
		size_t n = utf8_length(p + i, len - i);

		if (n == 0 || is_control(p[i]) || p[i] == '\n' || p[i] == '\r')
			p[i] = '?';
		i += n ? n : 1;
	}
}

/* ---- recording ----------------------------------------------------------- */

__attribute__((format(printf, 1, 0))) static char *
format_text(const char *format, va_list args)
{
	char *text = NULL;
	int n;

	n = vasprintf(&text, format, args);
	if (n < 0)
		return NULL;
	make_printable(text, (size_t)n);
	return text;
}

/* The part of the line around a place, and where in it the place is. */
static char *excerpt(const struct fw_sources *sources, struct fw_span at,
		     struct fw_place place, uint32_t *ret_caret)
{
	const struct fw_text *text = &sources->texts[at.file];
	const char *here = text->data + at.off;
	size_t before = place.column - 1;
	size_t after = text->len - at.off;
	bool is_cut_before = before > EXCERPT_BEFORE;
	bool is_cut_after;
	struct fw_str str = { 0 };
	const char *end;

	if (is_cut_before)
		before = EXCERPT_BEFORE;
	/* Lines may be very long: look no further than is shown. */
	is_cut_after = after > EXCERPT_AFTER;
	if (is_cut_after)
		after = EXCERPT_AFTER;
	end = memchr(here, '\n', after);
	if (end) {
		is_cut_after = false;
		after = (size_t)(end - here);
		after -= after && end[-1] == '\r';
	}
	fw_str_puts(&str, is_cut_before ? ELLIPSIS : "");
	*ret_caret = (uint32_t)(str.n + before);
	fw_str_add(&str, here - before, before + after);
	fw_str_puts(&str, is_cut_after ? ELLIPSIS : "");
	if (!str.is_broken)
		make_printable(str.s, str.n);
	return fw_str_take(&str);
}

/* Takes `text`. */
static void record(struct fw_reporter *rep, enum fw_severity severity,
		   struct fw_span at, char *text)
{
	const struct fw_text *file = &rep->sources->texts[at.file];
	struct fw_diag *diag = rep->diag;
	struct fw_message *messages;
	struct fw_message m = { .severity = severity, .text = text };
	struct fw_place place;

	messages = fw_mem_grow(diag->messages, diag->n, sizeof(*messages));
	if (messages)
		diag->messages = messages;
	place = fw_sources_place(rep->sources, at);
	m.line = place.line;
	m.column = place.column;
	m.length = at.len ? at.len : 1;
	m.file = fw_mem_dup(file->name, strlen(file->name));
	m.source = excerpt(rep->sources, at, place, &m.caret);
	if (!messages || !text || !m.file || !m.source) {
		rep->is_broken = true;
		free(text);
		free(m.file);
		free(m.source);
		return;
	}
	messages[diag->n++] = m;
}

/* Count a message; false if there are too many of its kind to record it. */
static bool is_wanted(struct fw_reporter *rep, enum fw_severity severity)
{
	struct fw_diag *diag = rep->diag;

	switch (severity) {
	case FW_SEVERITY_ERROR:
		rep->is_muted = diag->errors >= FW_MAX_ERRORS;
		if (rep->is_muted) {
			diag->truncated = true;
		} else {
			diag->errors++;
		}
		break;
	case FW_SEVERITY_WARNING:
		rep->is_muted =
			diag->warnings++ >= MAX_WARNINGS && !rep->is_urgent;
		break;
	case FW_SEVERITY_NOTE:
		break;
	}
	return !rep->is_muted;
}

#define REPORT(severity)                                              \
	do {                                                          \
		va_list args;                                         \
                                                                      \
		if (!is_wanted(rep, severity))                        \
			return;                                       \
		va_start(args, format);                               \
		record(rep, severity, at, format_text(format, args)); \
		va_end(args);                                         \
	} while (0)

void fw_report_error(struct fw_reporter *rep, struct fw_span at,
		     const char *format, ...)
{
	REPORT(FW_SEVERITY_ERROR);
}

void fw_report_warning(struct fw_reporter *rep, struct fw_span at,
		       const char *format, ...)
{
	REPORT(FW_SEVERITY_WARNING);
}

void fw_report_note(struct fw_reporter *rep, struct fw_span at,
		    const char *format, ...)
{
	REPORT(FW_SEVERITY_NOTE);
}

void fw_report_hint(struct fw_reporter *rep, const char *format, ...)
{
	struct fw_diag *diag = rep->diag;
	struct fw_message *last;
	va_list args;

	if (rep->is_muted || diag->n == 0)
		return;
	last = &diag->messages[diag->n - 1];
	free(last->hint);
	va_start(args, format);
	last->hint = format_text(format, args);
	va_end(args);
}

bool fw_report_is_full(const struct fw_reporter *rep)
{
	return rep->is_broken || rep->diag->truncated;
}

/* A message with its notes, and where it is. */
struct group {
	struct fw_message *first;
	size_t n;
	size_t file;
};

static int compare_groups(const void *a, const void *b)
{
	const struct group *x = a;
	const struct group *y = b;

	if (x->file != y->file)
		return x->file < y->file ? -1 : 1;
	if (x->first->line != y->first->line)
		return x->first->line < y->first->line ? -1 : 1;
	if (x->first->column != y->first->column)
		return x->first->column < y->first->column ? -1 : 1;
	return (x->first > y->first) - (x->first < y->first);
}

static size_t file_number(const struct fw_sources *sources, const char *name)
{
	size_t i = 0;

	while (i < sources->n && strcmp(sources->texts[i].name, name) != 0)
		i++;
	return i;
}

static size_t collect_groups(struct fw_reporter *rep, struct group *groups)
{
	const struct fw_diag *diag = rep->diag;
	size_t i, n = 0;

	for (i = 0; i < diag->n; i++) {
		struct fw_message *m = &diag->messages[i];

		if (n && m->severity == FW_SEVERITY_NOTE) {
			groups[n - 1].n++;
		} else {
			groups[n++] = (struct group){
				m, 1, file_number(rep->sources, m->file)
			};
		}
	}
	return n;
}

void fw_report_sort(struct fw_reporter *rep)
{
	struct fw_diag *diag = rep->diag;
	_cleanup_free_ struct group *groups = NULL;
	_cleanup_free_ struct fw_message *sorted = NULL;
	size_t i, k = 0, n;

	if (diag->n == 0)
		return;
	groups = calloc(diag->n, sizeof(*groups));
	sorted = calloc(diag->n, sizeof(*sorted));
	if (!groups || !sorted)
		return; /* the order is a convenience */
	n = collect_groups(rep, groups);
	qsort(groups, n, sizeof(*groups), compare_groups);
	for (i = 0; i < n; i++) {
		memcpy(&sorted[k], groups[i].first,
		       groups[i].n * sizeof(*sorted));
		k += groups[i].n;
	}
	/* Back into the array that has room for more messages to come. */
	memcpy(diag->messages, sorted, diag->n * sizeof(*sorted));
}

void fw_diag_done(struct fw_diag *diag)
{
	size_t i;

	if (!diag)
		return;
	for (i = 0; i < diag->n; i++) {
		free(diag->messages[i].file);
		free(diag->messages[i].text);
		free(diag->messages[i].source);
		free(diag->messages[i].hint);
	}
	free(diag->messages);
	*diag = (struct fw_diag){ 0 };
}

/* ---- printing ------------------------------------------------------------ */

struct paint {
	const char *place;
	const char *severity[FW_SEVERITY_NOTE + 1];
	const char *caret;
	const char *off;
};

static const struct paint plain = { "", { "", "", "" }, "", "" };
static const struct paint coloured = {
	.place = "\033[1m",
	.severity = { "\033[1;31m", "\033[1;35m", "\033[1;36m" },
	.caret = "\033[1;32m",
	.off = "\033[0m",
};

static const char *const severities[] = {
	[FW_SEVERITY_ERROR] = "error",
	[FW_SEVERITY_WARNING] = "warning",
	[FW_SEVERITY_NOTE] = "note",
};

static bool is_continuation(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

/* The line with "^~~~" below it; tabs are repeated so that both line up. */
static void print_excerpt(const struct fw_message *m, FILE *out,
			  const struct paint *paint)
{
	size_t len = strlen(m->source);
	size_t i, end;
	int margin;

	margin = fprintf(out, " %u | ", m->line);
	fprintf(out, "%s\n%*s", m->source, margin > 2 ? margin - 2 : 1, "");
	fputs("| ", out);
	for (i = 0; i < m->caret && i < len; i++) {
		if (!is_continuation(m->source[i]))
			fputc(m->source[i] == '\t' ? '\t' : ' ', out);
	}
	fprintf(out, "%s^", paint->caret);
	end = (size_t)m->caret + m->length;
	for (i = (size_t)m->caret + 1; i < end && i < len; i++) {
		if (!is_continuation(m->source[i]))
			fputc('~', out);
	}
	fprintf(out, "%s\n", paint->off);
}

void fw_diag_print(const struct fw_diag *diag, FILE *out, bool colour)
{
	const struct paint *paint = colour ? &coloured : &plain;
	size_t i, shown = 0;

	for (i = 0; i < diag->n; i++) {
		const struct fw_message *m = &diag->messages[i];

		shown += m->severity == FW_SEVERITY_WARNING;
		fprintf(out, "%s%s:%u:%u:%s %s%s:%s %s\n", paint->place,
			m->file, m->line, m->column, paint->off,
			paint->severity[m->severity], severities[m->severity],
			paint->off, m->text);
		if (m->source[0])
			print_excerpt(m, out, paint);
		if (m->hint)
			fprintf(out, "hint: %s\n", m->hint);
	}
	if (diag->truncated) {
		fprintf(out, "too many errors, only the first %u are shown\n",
			(unsigned int)FW_MAX_ERRORS);
	}
	if (diag->warnings > shown) {
		fprintf(out, "%zu more warnings are not shown\n",
			diag->warnings - shown);
	}
}

/* ---- the nearest word ---------------------------------------------------- */

#define LONGEST_WORD 64

static unsigned int least(unsigned int a, unsigned int b)
{
	return a < b ? a : b;
}

unsigned int fw_edit_distance(const char *a, size_t a_len, const char *b,
			      size_t b_len, unsigned int limit)
{
	/* Rows of the usual matrix: before the last, last, and current. */
	unsigned int rows[3][LONGEST_WORD + 1];
	size_t i, j;

	if (a_len > LONGEST_WORD || b_len > LONGEST_WORD ||
	    a_len > b_len + limit || b_len > a_len + limit)
		return limit + 1;
	for (j = 0; j <= b_len; j++)
		rows[0][j] = (unsigned int)j;
	for (i = 1; i <= a_len; i++) {
		unsigned int *now = rows[i % 3];
		const unsigned int *last = rows[(i + 2) % 3];
		const unsigned int *older = rows[(i + 1) % 3];

		now[0] = (unsigned int)i;
		for (j = 1; j <= b_len; j++) {
			now[j] = last[j - 1] + (a[i - 1] != b[j - 1]);
			now[j] = least(now[j], last[j] + 1);
			now[j] = least(now[j], now[j - 1] + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
			    a[i - 2] == b[j - 1])
				now[j] = least(now[j], older[j - 2] + 1);
		}
	}
	return least(rows[a_len % 3][b_len], limit + 1);
}

struct fw_nearest fw_nearest_to(const char *word, size_t len)
{
	/* One slip in three letters is a typo; more is another word. */
	return (struct fw_nearest){
		.word = word,
		.len = len,
		.distance = len < 3 ? 2 : least((unsigned int)len / 3 + 1, 4),
	};
}

void fw_nearest_try(struct fw_nearest *nearest, const char *word, size_t len)
{
	unsigned int distance;

	if (nearest->distance == 0)
		return;
	distance = fw_edit_distance(nearest->word, nearest->len, word, len,
				    nearest->distance - 1);
	if (distance < nearest->distance) {
		nearest->best = word;
		nearest->best_len = len;
		nearest->distance = distance;
	}
}

void fw_nearest_try_word(struct fw_nearest *nearest, const char *word)
{
	fw_nearest_try(nearest, word, strlen(word));
}

bool fw_report_nearest(struct fw_reporter *rep,
		       const struct fw_nearest *nearest, const char *prefix)
{
	if (!nearest->best)
		return false;
	fw_report_hint(rep, "did you mean '%s%.*s'?", prefix,
		       (int)nearest->best_len, nearest->best);
	return true;
}
