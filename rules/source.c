/* SPDX-License-Identifier: GPL-2.0-only */

/* The files that make up a rule file, and places in them. */
#include "source.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

void fw_text_done(struct fw_text *text)
{
	free(text->name);
	if (text->owner)
		text->owner->release(text->owner);
	else
		free(text->data);
	*text = (struct fw_text){ 0 };
}

int fw_sources_add(struct fw_sources *sources, struct fw_text *text)
{
	struct fw_cursor *cursors;
	struct fw_text *texts;

	texts = fw_mem_grow(sources->texts, sources->n, sizeof(*texts));
	if (!texts)
		goto fail;
	sources->texts = texts;
	cursors = fw_mem_grow(sources->cursors, sources->n, sizeof(*cursors));
	if (!cursors)
		goto fail;
	sources->cursors = cursors;
	texts[sources->n] = *text;
	cursors[sources->n] = (struct fw_cursor){ .off = 0, .line = 1 };
	*text = (struct fw_text){ 0 };
	return (int)sources->n++;

fail:
	fw_text_done(text);
	return -ENOMEM;
}

int fw_sources_find(const struct fw_sources *sources, const char *name)
{
	size_t i;

	for (i = 0; i < sources->n; i++) {
		if (strcmp(sources->texts[i].name, name) == 0)
			return (int)i;
	}
	return -ENOENT;
}

const char *fw_span_text(const struct fw_sources *sources, struct fw_span at)
{
	return sources->texts[at.file].data + at.off;
}

struct fw_span fw_span_join(struct fw_span first, struct fw_span last)
{
	if (first.file == last.file && last.off >= first.off)
		first.len = last.off - first.off + last.len;
	return first;
}

static void step_forward(struct fw_cursor *cursor, const char *data,
			 uint32_t off)
{
	const char *p = data + cursor->off;
	const char *end = data + off;

	while (p < end) {
		p = memchr(p, '\n', (size_t)(end - p));
		if (!p)
			break;
		p++;
		cursor->line++;
		cursor->line_off = (uint32_t)(p - data);
	}
	cursor->off = off;
}

static void step_back(struct fw_cursor *cursor, const char *data, uint32_t off)
{
	const char *newline;

	while (cursor->line_off > off) {
		cursor->line--;
		newline = memrchr(data, '\n', cursor->line_off - 1);
		cursor->line_off = newline ? (uint32_t)(newline - data) + 1 : 0;
	}
	cursor->off = off;
}

struct fw_place fw_sources_place(const struct fw_sources *sources,
				 struct fw_span at)
{
	struct fw_cursor *cursor = &sources->cursors[at.file];
	const char *data = sources->texts[at.file].data;

	if (at.off >= cursor->off) {
		step_forward(cursor, data, at.off);
	} else {
		step_back(cursor, data, at.off);
	}
	return (struct fw_place){
		.line = cursor->line,
		.column = at.off - cursor->line_off + 1,
	};
}

void fw_sources_done(struct fw_sources *sources)
{
	fw_texts_free(sources->texts, sources->n);
	free(sources->cursors);
	*sources = (struct fw_sources){ 0 };
}

void fw_texts_free(struct fw_text *texts, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		fw_text_done(&texts[i]);
	free(texts);
}
