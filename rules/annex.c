/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The rule text as bytes at the end of an image.
 *
 * A count, then of each text the lengths of name and data, name, data. If sets
 * were replaced there follow their count and of each one the length of its name,
 * 1 if it holds ports, its name, and its new content as another text. Numbers are 32 bits in the
 * order of the host, which is also that of the image. A text that only replaced
 * sets would read is empty.
 */
#include "annex.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

#define WORD sizeof(uint32_t)

static size_t text_size(const struct fw_text *text, size_t len)
{
	return 2 * WORD + strlen(text->name) + len;
}

/* Bytes of a text of the program that are worth keeping. */
static size_t useful_len(const struct fw_program *program, size_t i)
{
	uint32_t set = program->text_sets[i];

	if (set && program->named_sets[set - 1].replaced.name)
		return 0;
	return program->texts[i].len;
}

size_t fw_annex_size(const struct fw_program *program)
{
	bool is_replaced = false;
	size_t size = WORD;
	size_t i;

	for (i = 0; i < program->n_texts; i++) {
		size += text_size(&program->texts[i], useful_len(program, i));
	}
	for (i = 0; i < program->n_named_sets; i++) {
		const struct fw_named_set *set = &program->named_sets[i];

		if (!set->replaced.name)
			continue;
		size += 2 * WORD + strlen(set->name) +
			text_size(&set->replaced, set->replaced.len);
		is_replaced = true;
	}
	return is_replaced ? size + WORD : size;
}

static unsigned char *put(unsigned char *to, const void *from, size_t n)
{
	memcpy(to, from, n);
	return to + n;
}

static unsigned char *put_word(unsigned char *to, size_t value)
{
	uint32_t word = (uint32_t)value;

	return put(to, &word, sizeof(word));
}

static unsigned char *put_text(unsigned char *to, const struct fw_text *text,
			       size_t len)
{
	size_t name_len = strlen(text->name);

	to = put_word(to, name_len);
	to = put_word(to, len);
	to = put(to, text->name, name_len);
	return put(to, text->data, len);
}

static void put_replaced(unsigned char *to, const struct fw_program *program)
{
	size_t i, n = 0;

	for (i = 0; i < program->n_named_sets; i++)
		n += program->named_sets[i].replaced.name != NULL;
	if (!n)
		return;
	to = put_word(to, n);
	for (i = 0; i < program->n_named_sets; i++) {
		const struct fw_named_set *set = &program->named_sets[i];

		if (!set->replaced.name)
			continue;
		to = put_word(to, strlen(set->name));
		to = put_word(to, set->holds_ports);
		to = put(to, set->name, strlen(set->name));
		to = put_text(to, &set->replaced, set->replaced.len);
	}
}

void fw_annex_write(const struct fw_program *program, unsigned char *to)
{
	size_t i;

	to = put_word(to, program->n_texts);
	for (i = 0; i < program->n_texts; i++)
		to = put_text(to, &program->texts[i], useful_len(program, i));
	put_replaced(to, program);
}

/* What is left of the annex. */
struct cursor {
	const unsigned char *p;
	size_t left;
};

static bool get_word(struct cursor *cursor, uint32_t *ret)
{
	if (cursor->left < sizeof(*ret))
		return false;
	memcpy(ret, cursor->p, sizeof(*ret));
	cursor->p += sizeof(*ret);
	cursor->left -= sizeof(*ret);
	return true;
}

static int get_bytes(struct cursor *cursor, size_t n, char **ret)
{
	if (cursor->left < n)
		return -EBADMSG;
	*ret = fw_mem_dup((const char *)cursor->p, n);
	if (!*ret)
		return -ENOMEM;
	cursor->p += n;
	cursor->left -= n;
	return 0;
}

/* A string of `len` bytes. */
static int get_name(struct cursor *cursor, uint32_t len, char **ret)
{
	int r;

	r = get_bytes(cursor, len, ret);
	if (r < 0)
		return r;
	return memchr(*ret, '\0', len) ? -EBADMSG : 0;
}

static int get_text(struct cursor *cursor, struct fw_text *text)
{
	uint32_t name_len, len;
	int r;

	if (!get_word(cursor, &name_len) || !get_word(cursor, &len))
		return -EBADMSG;
	r = get_name(cursor, name_len, &text->name);
	if (r < 0)
		return r;
	r = get_bytes(cursor, len, &text->data);
	if (r < 0)
		return r;
	text->len = len;
	return 0;
}

static int get_set_text(struct cursor *cursor, struct fw_set_text *text)
{
	uint32_t len, holds_ports;
	int r;

	if (!get_word(cursor, &len) || !get_word(cursor, &holds_ports) ||
	    holds_ports > 1)
		return -EBADMSG;
	text->holds_ports = holds_ports;
	r = get_name(cursor, len, &text->set);
	return r < 0 ? r : get_text(cursor, &text->text);
}

/* Find the annex of an image that may be anything. */
static int find_annex(const struct fw_image *image, struct cursor *ret)
{
	struct fw_image_head head;

	if (image->size < sizeof(head))
		return -EBADMSG;
	memcpy(&head, image->bytes, sizeof(head));
	if (head.magic != FW_IMAGE_MAGIC || head.abi != FW_ABI_VERSION ||
	    head.annex < sizeof(head) || head.annex > image->size ||
	    head.annex_len > image->size - head.annex)
		return -EBADMSG;
	ret->p = image->bytes + head.annex;
	ret->left = head.annex_len;
	return 0;
}

/* The texts of an annex; the cursor ends behind them. */
static int get_texts(struct cursor *cursor, struct fw_text **ret, size_t *ret_n)
{
	struct fw_text *texts;
	uint32_t i, n;
	int r = 0;

	/* Even empty texts take two words: a bound before memory is taken. */
	if (!get_word(cursor, &n) || n < 1 || n > cursor->left / (2 * WORD))
		return -EBADMSG;
	texts = calloc(n, sizeof(*texts));
	if (!texts)
		return -ENOMEM;
	for (i = 0; i < n && r == 0; i++)
		r = get_text(cursor, &texts[i]);
	if (r < 0) {
		fw_texts_free(texts, n);
		return r;
	}
	*ret = texts;
	*ret_n = n;
	return 0;
}

/* What may follow them, up to the end of the annex. */
static int get_replaced(struct cursor *cursor, struct fw_set_text **ret,
			size_t *ret_n)
{
	struct fw_set_text *texts;
	uint32_t i, n;
	int r = 0;

	*ret = NULL;
	*ret_n = 0;
	if (cursor->left == 0)
		return 0;
	if (!get_word(cursor, &n) || n < 1 || n > cursor->left / (4 * WORD))
		return -EBADMSG;
	texts = calloc(n, sizeof(*texts));
	if (!texts)
		return -ENOMEM;
	for (i = 0; i < n && r == 0; i++)
		r = get_set_text(cursor, &texts[i]);
	if (r == 0 && cursor->left != 0)
		r = -EBADMSG;
	if (r < 0) {
		fw_set_texts_free(texts, n);
		return r;
	}
	*ret = texts;
	*ret_n = n;
	return 0;
}

int fw_image_texts(const struct fw_image *image, struct fw_text **ret_texts,
		   size_t *ret_n, struct fw_set_text **ret_replaced,
		   size_t *ret_n_replaced)
{
	struct cursor cursor;
	struct fw_text *texts;
	size_t n;
	int r;

	r = find_annex(image, &cursor);
	if (r == 0)
		r = get_texts(&cursor, &texts, &n);
	if (r < 0)
		return r;
	r = get_replaced(&cursor, ret_replaced, ret_n_replaced);
	if (r < 0) {
		fw_texts_free(texts, n);
		return r;
	}
	*ret_texts = texts;
	*ret_n = n;
	return 0;
}

void fw_set_texts_free(struct fw_set_text *texts, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		free(texts[i].set);
		fw_text_done(&texts[i].text);
	}
	free(texts);
}
