/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The rule text as bytes at the end of an image.
 *
 * A count, then of each text the lengths of name and data, name, data. Numbers
 * are 32 bits in the order of the host, which is also that of the image.
 */
#include "annex.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

#define WORD sizeof(uint32_t)

size_t fw_annex_size(const struct fw_text *texts, size_t n)
{
	size_t size = WORD;
	size_t i;

	for (i = 0; i < n; i++)
		size += 2 * WORD + strlen(texts[i].name) + texts[i].len;
	return size;
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

void fw_annex_write(const struct fw_text *texts, size_t n, unsigned char *to)
{
	size_t i;

	to = put_word(to, n);
	for (i = 0; i < n; i++) {
		size_t name_len = strlen(texts[i].name);

		to = put_word(to, name_len);
		to = put_word(to, texts[i].len);
		to = put(to, texts[i].name, name_len);
		to = put(to, texts[i].data, texts[i].len);
	}
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

static int get_text(struct cursor *cursor, struct fw_text *text)
{
	uint32_t name_len, len;
	int r;

	if (!get_word(cursor, &name_len) || !get_word(cursor, &len))
		return -EBADMSG;
	r = get_bytes(cursor, name_len, &text->name);
	if (r < 0)
		return r;
	if (memchr(text->name, '\0', name_len))
		return -EBADMSG;
	r = get_bytes(cursor, len, &text->data);
	if (r < 0)
		return r;
	text->len = len;
	return 0;
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

int fw_image_texts(const struct fw_image *image, struct fw_text **ret_texts,
		   size_t *ret_n)
{
	struct fw_text *texts;
	struct cursor cursor;
	uint32_t i, n;
	int r;

	r = find_annex(image, &cursor);
	if (r < 0)
		return r;
	/* Even empty texts take two words: a bound before memory is taken. */
	if (!get_word(&cursor, &n) || n < 1 || n > cursor.left / (2 * WORD))
		return -EBADMSG;
	texts = calloc(n, sizeof(*texts));
	if (!texts)
		return -ENOMEM;
	for (i = 0; i < n && r == 0; i++)
		r = get_text(&cursor, &texts[i]);
	if (r == 0 && cursor.left != 0)
		r = -EBADMSG;
	if (r < 0) {
		fw_texts_free(texts, n);
		return r;
	}
	*ret_texts = texts;
	*ret_n = n;
	return 0;
}
