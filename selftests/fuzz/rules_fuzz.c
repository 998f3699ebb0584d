/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Any bytes as a rule file, and any bytes as an image.
 *
 * What compiles must print as text that compiles and prints the same, and its
 * image must give its texts back.
 */
#include <errno.h>

#include "rules/rules.h"

#include "fuzz.h"

/* What a file that the rules name holds; its name says so. */
static const char *text_of(const char *name)
{
	if (strstr(name, "address-port"))
		return "192.0.2.1 port 443\n::/0 port { 22, 80-90 }\nself port 1\n";
	if (strstr(name, "port"))
		return "80\n8000-8100\n";
	return "192.0.2.0/24\n2001:db8::/32\n";
}

static int read_fixed(void *ctx, const char *name, struct fw_text *ret,
		      const char **reterr)
{
	const char *text = text_of(name);

	(void)ctx;
	if (strstr(name, "none")) {
		*reterr = "no such file";
		return -ENOENT;
	}
	ret->name = strdup(name);
	ret->data = strdup(text);
	ret->len = strlen(text);
	return ret->name && ret->data ? 0 : -ENOMEM;
}

static struct fw_program *compile(const char *text, size_t len)
{
	struct fw_program *program = NULL;
	struct fw_diag diag = { 0 };
	char *printed = NULL;
	size_t n = 0;
	FILE *out;
	int r;

	r = fw_compile("fuzz.conf", text, len, read_fixed, NULL, &diag,
		       &program);
	must((r == 0) == (diag.errors == 0));
	must((r == 0) == (program != NULL));
	out = open_memstream(&printed, &n);
	must(out);
	fw_diag_print(&diag, out, true);
	(void)fclose(out);
	free(printed);
	fw_diag_done(&diag);
	return program;
}

static char *print(const struct fw_program *program)
{
	char *text = NULL;
	size_t n = 0;
	FILE *out;

	out = open_memstream(&text, &n);
	must(out);
	fw_program_print(program, out);
	(void)fclose(out);
	return text;
}

static void check_image(const struct fw_program *program)
{
	static const uint32_t default_slots[FW_DIR_MAX] = { 1, 2, 3 };
	struct fw_set_text *replaced;
	struct fw_image image = { 0 };
	struct fw_text *texts;
	size_t i, n, n_replaced;
	uint32_t *slots;

	slots = calloc(program->n_rows + 1, sizeof(*slots));
	must(slots);
	must(fw_emit(program, 1, slots, default_slots, &image) == 0);
	free(slots);
	must(fw_image_texts(&image, &texts, &n, &replaced, &n_replaced) == 0);
	must(n == program->n_texts);
	must(n_replaced == 0);
	for (i = 0; i < n; i++) {
		must(strcmp(texts[i].name, program->texts[i].name) == 0);
		must(texts[i].len == program->texts[i].len);
		must(memcmp(texts[i].data, program->texts[i].data,
			    texts[i].len) == 0);
	}
	fw_texts_free(texts, n);
	fw_image_done(&image);
}

static void check_fixed_point(const struct fw_program *program)
{
	struct fw_program *again;
	char *first = print(program);
	char *second;
	size_t i;

	again = compile(first, strlen(first));
	must(again);
	second = print(again);
	must(strcmp(first, second) == 0);
	must(again->n_rows == program->n_rows);
	for (i = 0; i < again->n_rows; i++) {
		must(strcmp(again->rows[i].label, program->rows[i].label) == 0);
		must(again->rows[i].flags == program->rows[i].flags);
		must(again->rows[i].rule == program->rows[i].rule);
		must(again->rows[i].families == program->rows[i].families);
	}
	fw_program_free(again);
	free(first);
	free(second);
}

static void read_annex(const struct fw_image *image)
{
	struct fw_set_text *replaced;
	struct fw_text *texts;
	size_t n, n_replaced;

	if (fw_image_texts(image, &texts, &n, &replaced, &n_replaced) < 0)
		return;
	fw_texts_free(texts, n);
	fw_set_texts_free(replaced, n_replaced);
}

/* The bytes as an image: a head that fits, so that the annex is reached. */
static void check_any_image(const uint8_t *data, size_t size)
{
	struct fw_image_head head = {
		.magic = FW_IMAGE_MAGIC,
		.abi = FW_ABI_VERSION,
		.size = (uint32_t)(sizeof(head) + size),
		.annex = sizeof(head),
		.annex_len = (uint32_t)size,
	};
	struct fw_image image = { .size = head.size };

	image.bytes = malloc(head.size);
	must(image.bytes);
	memcpy(image.bytes, &head, sizeof(head));
	if (size)
		memcpy(image.bytes + sizeof(head), data, size);
	read_annex(&image);
	/* And the bytes as the head itself. */
	if (size)
		memcpy(image.bytes, data, size);
	read_annex(&image);
	fw_image_done(&image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fw_program *program;

	check_any_image(data, size);
	program = compile((const char *)data, size);
	if (program) {
		check_image(program);
		check_fixed_point(program);
	}
	fw_program_free(program);
	return 0;
}
