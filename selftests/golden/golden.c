/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Compiles one rule file and prints one view of it, which golden.py compares
 * with the files in cases/.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rules/rules.h"

static int read_all(const char *name, struct fw_text *ret)
{
	char *data = NULL;
	size_t len = 0, n;
	FILE *file;

	file = fopen(name, "re");
	if (!file)
		return -errno;
	do {
		char *more = realloc(data, len + 65536 + 1);

		if (!more)
			break;
		data = more;
		n = fread(data + len, 1, 65536, file);
		len += n;
	} while (n > 0);
	(void)fclose(file);
	if (!data)
		return -ENOMEM;
	data[len] = '\0';
	*ret = (struct fw_text){ .name = strdup(name),
				 .data = data,
				 .len = len };
	return ret->name ? 0 : -ENOMEM;
}

static int read_file(void *ctx, const char *name, struct fw_text *ret,
		     const char **reterr)
{
	int r;

	(void)ctx;
	r = read_all(name, ret);
	if (r == -ENOENT)
		*reterr = "no such file";
	return r;
}

static int emit(const struct fw_program *program)
{
	static const uint32_t default_slots[FW_DIR_MAX] = { 1, 2, 3 };
	struct fw_image image;
	uint32_t *slots;
	int r;

	slots = calloc(program->n_rows + 1, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	r = fw_emit(program, 1, slots, default_slots, &image);
	free(slots);
	if (r < 0)
		return r;
	printf("%u bytes\n", image.size);
	fw_image_done(&image);
	return 0;
}

int main(int argc, char **argv)
{
	struct fw_program *program = NULL;
	struct fw_diag diag = { 0 };
	struct fw_text text = { 0 };
	int r;

	if (argc != 3) {
		fprintf(stderr, "usage: golden print|dump|check|emit FILE\n");
		return 2;
	}
	r = read_all(argv[2], &text);
	if (r < 0) {
		fprintf(stderr, "cannot read '%s': %s\n", argv[2],
			strerror(-r));
		return 2;
	}
	r = fw_compile(argv[2], text.data, text.len, read_file, NULL, &diag,
		       &program);
	fw_diag_print(&diag, stderr, false);
	if (r == 0 && strcmp(argv[1], "print") == 0) {
		fw_program_print(program, stdout);
	} else if (r == 0 && strcmp(argv[1], "dump") == 0) {
		fw_program_dump(program, stdout);
	} else if (r == 0 && strcmp(argv[1], "emit") == 0) {
		r = emit(program);
	}
	fw_program_free(program);
	fw_diag_done(&diag);
	free(text.name);
	free(text.data);
	return r < 0 ? 1 : 0;
}
