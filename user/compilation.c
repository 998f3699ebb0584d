/* SPDX-License-Identifier: GPL-2.0-only */

/* The compilation of what a load brings along, on a thread of its own. */
#include "user/compilation.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "user/proto.h"
#include "user/util.h"

struct fw_compilation {
	struct fw_text *texts;
	size_t n;
	size_t bytes;
	pthread_t thread;
	bool has_thread;
	/* What it comes to; the thread's until it has been joined. */
	struct fw_diag diag;
	struct fw_program *program;
	int result;
};

/* ---- the texts ------------------------------------------------------------ */

/* What is left of the file that came along. */
struct rest {
	const char *data;
	size_t len;
};

static int take_text(const json_t *json, struct rest *rest, struct fw_text *ret)
{
	const json_t *size = json_object_get(json, "size");
	json_int_t n = json_integer_value(size);
	size_t len;
	int r;

	if (!json_is_integer(size) || n < 0 || (uint64_t)n > rest->len)
		return -EBADMSG;
	r = fw_json_bytes_get(json_object_get(json, "name"), &ret->name, &len);
	if (r < 0)
		return r;
	ret->len = (size_t)n;
	ret->data = malloc(ret->len + 1);
	if (!ret->data)
		return -ENOMEM;
	memcpy(ret->data, rest->data, ret->len);
	ret->data[ret->len] = '\0';
	rest->data += ret->len;
	rest->len -= ret->len;
	return 0;
}

static int take_texts(struct fw_compilation *compilation,
		      const struct fw_request *request, const json_t *list)
{
	size_t n = json_array_size(list);
	_cleanup_free_ char *data = NULL;
	struct rest rest;
	int r;

	if (!n)
		return -EBADMSG;
	r = fw_request_file(request, &data, &rest.len);
	if (r < 0)
		return r;
	rest.data = data;
	compilation->bytes = rest.len;
	compilation->texts = calloc(n, sizeof(*compilation->texts));
	if (!compilation->texts)
		return -ENOMEM;
	/* A text that is not complete is freed with the others. */
	while (compilation->n < n && r == 0) {
		size_t i = compilation->n++;

		r = take_text(json_array_get(list, i), &rest,
			      &compilation->texts[i]);
	}
	return r == 0 && rest.len ? -EBADMSG : r;
}

/* Skip what makes no difference in a path: "//" and "/./". */
static const char *skip_idle(const char *p)
{
	while (p[0] == '/' && (p[1] == '/' || (p[1] == '.' && p[2] == '/')))
		p += p[1] == '/' ? 1 : 2;
	return p;
}

static bool is_same_path(const char *a, const char *b)
{
	for (;; a++, b++) {
		a = skip_idle(a);
		b = skip_idle(b);
		if (*a != *b)
			return false;
		if (!*a)
			return true;
	}
}

/* The daemon opens no rule file itself: the client has read them all. */
static int read_sent(void *ctx, const char *name, struct fw_text *ret,
		     const char **reterr)
{
	const struct fw_compilation *compilation = ctx;

	for (size_t i = 0; i < compilation->n; i++) {
		const struct fw_text *text = &compilation->texts[i];

		if (!is_same_path(text->name, name))
			continue;
		*ret = (struct fw_text){ .name = strdup(name),
					 .data = malloc(text->len + 1),
					 .len = text->len };
		if (ret->name && ret->data) {
			memcpy(ret->data, text->data, text->len + 1);
			return 0;
		}
		free(ret->name);
		free(ret->data);
		*reterr = "out of memory";
		return -ENOMEM;
	}
	*reterr = "fwctl has not sent this file";
	return -ENOENT;
}

/* ---- the work --------------------------------------------------------------- */

static void compile(struct fw_compilation *compilation)
{
	static const struct fw_options quick = {
		.skip_passes = 1u << FW_PASS_DECIDED,
	};
	const struct fw_text *first = &compilation->texts[0];

	compilation->result = fw_compile_with(
		&quick, first->name, first->data, first->len, read_sent,
		compilation, &compilation->diag, &compilation->program);
}

static void *run(void *data)
{
	compile(data);
	return NULL;
}

int fw_compilation_begin(const struct fw_request *request, const json_t *args,
			 struct fw_compilation **ret)
{
	struct fw_compilation *compilation;
	int r;

	compilation = calloc(1, sizeof(*compilation));
	if (!compilation)
		return -ENOMEM;
	r = take_texts(compilation, request, json_object_get(args, "texts"));
	if (r < 0) {
		fw_compilation_free(compilation);
		return r;
	}
	/* Without a thread it takes a little longer, that is all. */
	compilation->has_thread = pthread_create(&compilation->thread, NULL,
						 run, compilation) == 0;
	if (!compilation->has_thread)
		compile(compilation);
	*ret = compilation;
	return 0;
}

size_t fw_compilation_bytes(const struct fw_compilation *compilation)
{
	return compilation->bytes;
}

static bool begins_a_rule(const char *line)
{
	static const enum fw_verdict verdicts[] = { FW_ACCEPT, FW_DROP,
						    FW_REJECT };

	line += strspn(line, " \t");
	for (size_t i = 0; i < ARRAY_SIZE(verdicts); i++) {
		const char *word = fw_verdict_name(verdicts[i]);

		if (strncmp(line, word, strlen(word)) == 0)
			return true;
	}
	return false;
}

static size_t count_rules(const struct fw_text *text)
{
	const char *line = text->data, *end = text->data + text->len;
	size_t n = 0;

	while (line) {
		n += begins_a_rule(line);
		line = memchr(line, '\n', (size_t)(end - line));
		line = line ? line + 1 : NULL;
	}
	return n;
}

size_t fw_compilation_rules(const struct fw_compilation *compilation)
{
	size_t n = 0;

	for (size_t i = 0; i < compilation->n; i++)
		n += count_rules(&compilation->texts[i]);
	return n;
}

static void wait_for(struct fw_compilation *compilation)
{
	if (compilation->has_thread)
		(void)pthread_join(compilation->thread, NULL);
	compilation->has_thread = false;
}

int fw_compilation_end(struct fw_compilation *compilation, struct fw_diag *diag,
		       struct fw_program **ret)
{
	wait_for(compilation);
	*diag = compilation->diag;
	compilation->diag = (struct fw_diag){ 0 };
	if (compilation->result == 0)
		*ret = take_ptr(compilation->program);
	return compilation->result;
}

void fw_compilation_free(struct fw_compilation *compilation)
{
	if (!compilation)
		return;
	wait_for(compilation);
	fw_program_free(compilation->program);
	fw_diag_done(&compilation->diag);
	fw_texts_free(compilation->texts, compilation->n);
	free(compilation);
}
