/* SPDX-License-Identifier: GPL-2.0-only */

/* Getting the files that a rule file names. */
#include "file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "str.h"

/* The path as the callback gets it: relative to the file that names it. */
static char *join(struct fw_compiler *c, struct fw_span at)
{
	const char *from = c->sources.texts[at.file].name;
	const char *path = fw_span_text(&c->sources, at);
	const char *slash = strrchr(from, '/');
	size_t len = at.len;
	struct fw_str str = { 0 };

	while (len > 2 && path[0] == '.' && path[1] == '/') {
		path += 2;
		len -= 2;
	}
	if (path[0] != '/' && slash)
		fw_str_add(&str, from, (size_t)(slash - from) + 1);
	fw_str_add(&str, path, len);
	return fw_str_take(&str);
}

bool fw_file_is_text(struct fw_compiler *c, uint32_t file)
{
	const struct fw_text *text = &c->sources.texts[file];
	struct fw_span at = { .file = file, .len = 1 };
	int64_t bad;

	bad = fw_text_find_binary(text->data, text->len);
	if (bad < 0)
		return true;
	at.off = (uint32_t)bad;
	fw_report_error(&c->rep, at, "this is not text: byte 0x%02x",
			(unsigned char)text->data[bad]);
	fw_report_hint(&c->rep, "a rule file is UTF-8 text");
	return false;
}

static void report_size(struct fw_compiler *c, struct fw_span at)
{
	fw_report_error(&c->rep, at, "the files have more than %u MB",
			FW_MAX_TEXT >> 20);
}

bool fw_file_begin(struct fw_compiler *c, struct fw_span at, uint32_t file)
{
	size_t len = c->sources.texts[file].len;

	if (len > FW_MAX_TEXT - c->n_read) {
		report_size(c, at);
		return false;
	}
	c->n_read += len;
	return true;
}

/* Ask the callback; the file then belongs to the sources. */
static int fetch(struct fw_compiler *c, struct fw_span at, const char *name)
{
	struct fw_text text = { 0 };
	const char *reason = NULL;
	int r;

	r = c->read ? c->read(c->ctx, name, &text, &reason) : -ENOENT;
	if (r < 0) {
		if (!reason) {
			reason = c->read ? strerror(-r)
					 : "files cannot be read here";
		}
		fw_report_error(&c->rep, at, "cannot read '%s': %s", name,
				reason);
		return -EINVAL;
	}
	if (text.len > FW_MAX_TEXT) {
		report_size(c, at);
		fw_text_done(&text);
		return -EINVAL;
	}
	/* Messages and the next reader know it by the name asked for. */
	free(text.name);
	text.name = fw_mem_dup(name, strlen(name));
	if (!text.name || !text.data) {
		fw_text_done(&text);
		c->rep.is_broken = true;
		return -EINVAL;
	}
	r = fw_sources_add(&c->sources, &text);
	if (r < 0)
		c->rep.is_broken = true;
	return r < 0 ? -EINVAL : r;
}

int fw_file_get(struct fw_compiler *c, struct fw_span at)
{
	_cleanup_free_ char *name = NULL;
	int r;

	if (at.len == 0) {
		fw_report_error(&c->rep, at, "the path is empty");
		return -EINVAL;
	}
	if (at.len > FW_MAX_PATH) {
		fw_report_error(&c->rep, at, "the path is longer than %u bytes",
				FW_MAX_PATH);
		return -EINVAL;
	}
	name = join(c, at);
	if (!name) {
		c->rep.is_broken = true;
		return -EINVAL;
	}
	r = fw_sources_find(&c->sources, name);
	if (r >= 0)
		return r;
	if (c->sources.n >= FW_MAX_FILES) {
		fw_report_error(&c->rep, at, "more than %u files are named",
				FW_MAX_FILES);
		return -EINVAL;
	}
	r = fetch(c, at, name);
	if (r >= 0 && !fw_file_is_text(c, (uint32_t)r))
		return -EINVAL;
	return r;
}
