/* SPDX-License-Identifier: GPL-2.0-only */

/* The compilation of what a load brings along, on a thread of its own. */
#include "user/compilation.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "user/proto.h"
#include "user/util.h"

/*
 * Comparisons in search of rules that can never match, before a load ends, and rows that
 * are looked at: some hundredths of a second mostly, tenths at most. `fwctl check`
 * looks longer, and at all.
 */
#define LOAD_SHADOW_STEPS (FW_SHADOW_STEPS / 10)
#define LOAD_SHADOW_ROWS  10000

/* The file that came along; the texts of a program stay in there. */
struct sent_file {
	struct fw_text_owner owner; /* first */
	unsigned int users;	    /* of the thread while there is one */
	char *data;		    /* mapped; NULL: it is empty */
	size_t bytes;
};

/* A text where it lies in the file; a NUL is behind it. */
struct sent_text {
	char *name;
	char *data;
	size_t len;
};

struct fw_compilation {
	struct sent_file *file;
	struct sent_text *texts;
	size_t n;
	pthread_t thread;
	bool has_thread;
	/* How far it is: the thread says so, and leaves the program alone then. */
	pthread_mutex_t mutex;
	pthread_cond_t has_come;
	bool is_known; /* there is a program, or an error */
	struct fw_program *accepted;
	/* What it comes to; the thread's until it has been joined. */
	struct fw_diag diag;
	struct fw_program *program;
	int result;
};

/* ---- the texts ------------------------------------------------------------ */

static void release(struct fw_text_owner *owner)
{
	struct sent_file *file = (struct sent_file *)owner;

	if (--file->users)
		return;
	if (file->data)
		(void)munmap(file->data, file->bytes);
	free(file);
}

static int map_file(const struct fw_request *request, struct sent_file **ret)
{
	struct sent_file *file = calloc(1, sizeof(*file));
	const char *data = NULL;
	int r;

	if (!file)
		return -ENOMEM;
	file->owner.release = release;
	file->users = 1;
	r = fw_request_map(request, &data, &file->bytes);
	file->data = (char *)(uintptr_t)data; /* nobody writes to it */
	if (r < 0)
		release(&file->owner);
	else
		*ret = file;
	return r;
}

static int take_text(const json_t *json, const struct sent_file *file,
		     struct sent_text *ret)
{
	json_int_t at = json_integer_value(json_object_get(json, "at"));
	const json_t *size = json_object_get(json, "size");
	json_int_t n = json_integer_value(size);
	size_t len;
	int r;

	if (!json_is_integer(size) || n < 0 || at < 0 ||
	    (uint64_t)at > file->bytes ||
	    (uint64_t)n >= file->bytes - (size_t)at || file->data[at + n])
		return -EBADMSG;
	r = fw_json_bytes_get(json_object_get(json, "name"), &ret->name, &len);
	if (r < 0)
		return r;
	ret->len = (size_t)n;
	ret->data = file->data + at;
	return 0;
}

static int take_texts(struct fw_compilation *compilation,
		      const struct fw_request *request, const json_t *list)
{
	size_t n = json_array_size(list), total = 0;
	int r;

	if (!n)
		return -EBADMSG;
	r = map_file(request, &compilation->file);
	if (r < 0)
		return r;
	compilation->texts = calloc(n, sizeof(*compilation->texts));
	if (!compilation->texts)
		return -ENOMEM;
	while (compilation->n < n && r == 0) {
		size_t i = compilation->n++;

		r = take_text(json_array_get(list, i), compilation->file,
			      &compilation->texts[i]);
		total += compilation->texts[i].len + 1;
	}
	/* They lie beside each other: all of them are looked at. */
	return r == 0 && total > compilation->file->bytes ? -EBADMSG : r;
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
		const struct sent_text *text = &compilation->texts[i];

		if (!is_same_path(text->name, name))
			continue;
		*ret = (struct fw_text){ .name = strdup(name),
					 .data = text->data,
					 .len = text->len,
					 .owner = &compilation->file->owner };
		if (ret->name) {
			compilation->file->users++;
			return 0;
		}
		*ret = (struct fw_text){ 0 };
		*reterr = "out of memory";
		return -ENOMEM;
	}
	*reterr = "fwctl has not sent this file";
	return -ENOENT;
}

/* ---- the work --------------------------------------------------------------- */

/* Wake whoever waits for a program, or to hear that there is none. */
static void announce(struct fw_compilation *compilation,
		     struct fw_program *program)
{
	(void)pthread_mutex_lock(&compilation->mutex);
	compilation->is_known = true;
	compilation->accepted = program;
	(void)pthread_cond_signal(&compilation->has_come);
	(void)pthread_mutex_unlock(&compilation->mutex);
}

static bool on_accepted(void *ctx, struct fw_program *program)
{
	announce(ctx, program);
	return true;
}

static void compile(struct fw_compilation *compilation)
{
	static const struct fw_options options = {
		.accepted = on_accepted,
		.shadow_steps = LOAD_SHADOW_STEPS,
		.shadow_rows = LOAD_SHADOW_ROWS,
	};

	compilation->result = fw_compile_with(
		&options, compilation->texts[0].name, NULL, 0, read_sent,
		compilation, &compilation->diag, &compilation->program);
	if (compilation->result < 0)
		announce(compilation, NULL);
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
	(void)pthread_mutex_init(&compilation->mutex, NULL);
	(void)pthread_cond_init(&compilation->has_come, NULL);
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
	size_t bytes = 0;

	for (size_t i = 0; i < compilation->n; i++)
		bytes += compilation->texts[i].len;
	return bytes;
}

static bool begins_a_rule(const char *line, const char *end)
{
	static const enum fw_verdict verdicts[] = { FW_ACCEPT, FW_DROP,
						    FW_REJECT };

	while (line < end && (*line == ' ' || *line == '\t'))
		line++;
	for (size_t i = 0; i < ARRAY_SIZE(verdicts); i++) {
		const char *word = fw_verdict_name(verdicts[i]);
		size_t len;

		/* A million lines of a set go no further. */
		if (line == end || *line != *word)
			continue;
		len = strlen(word);
		if ((size_t)(end - line) >= len && memcmp(line, word, len) == 0)
			return true;
	}
	return false;
}

static size_t count_rules(const struct sent_text *text)
{
	const char *line = text->data, *end = text->data + text->len;
	size_t n = 0;

	while (line) {
		n += begins_a_rule(line, end);
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

bool fw_compilation_has_word(const struct fw_compilation *compilation,
			     const char *word)
{
	for (size_t i = 0; i < compilation->n; i++) {
		const struct sent_text *text = &compilation->texts[i];

		if (memmem(text->data, text->len, word, strlen(word)))
			return true;
	}
	return false;
}

int fw_compilation_wait(struct fw_compilation *compilation,
			struct fw_program **ret)
{
	struct fw_program *program;

	(void)pthread_mutex_lock(&compilation->mutex);
	while (!compilation->is_known) {
		(void)pthread_cond_wait(&compilation->has_come,
					&compilation->mutex);
	}
	program = compilation->accepted;
	(void)pthread_mutex_unlock(&compilation->mutex);
	if (program) {
		*ret = program;
		return 0;
	}
	(void)fw_compilation_end(compilation);
	return compilation->result;
}

struct fw_diag *fw_compilation_end(struct fw_compilation *compilation)
{
	if (compilation->has_thread)
		(void)pthread_join(compilation->thread, NULL);
	compilation->has_thread = false;
	return &compilation->diag;
}

struct fw_program *fw_compilation_take(struct fw_compilation *compilation)
{
	return take_ptr(compilation->program);
}

void fw_compilation_free(struct fw_compilation *compilation)
{
	if (!compilation)
		return;
	(void)fw_compilation_end(compilation);
	(void)pthread_cond_destroy(&compilation->has_come);
	(void)pthread_mutex_destroy(&compilation->mutex);
	fw_program_free(compilation->program);
	fw_diag_done(&compilation->diag);
	for (size_t i = 0; i < compilation->n; i++)
		free(compilation->texts[i].name);
	free(compilation->texts);
	if (compilation->file)
		release(&compilation->file->owner);
	free(compilation);
}
